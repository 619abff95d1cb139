"""What a copy does, or did: what maps to what, and what stays behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ColumnCopy:
    """One column: its type in the source, and in the target; ``target`` is ``None`` if there is none."""

    table: str
    column: str
    source: str
    target: str | None


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """Something of the source that the copy lacks, and why."""

    kind: str
    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.reason}"


@dataclass(frozen=True)
class CopyReport:
    """The rows of each table, the type of each column, and what stays behind with its reason; print it.

    ``refused`` are the columns and tables whose rows cannot be carried: only a dry run gives any, the copy
    itself raises. ``is_dry_run`` says that nothing was written.
    """

    source: str
    target: str
    tables: Mapping[str, int]
    columns: Sequence[ColumnCopy]
    left_behind: Sequence[LeftBehind]
    refused: Sequence[LeftBehind] = ()
    is_dry_run: bool = False

    def __str__(self) -> str:
        verb = "would copy" if self.is_dry_run else "copied"
        rows = sum(self.tables.values())
        lines = [f"{self.source} to {self.target}: {verb} {len(self.tables)} tables, {rows:,} rows"]
        width = max(map(len, self.tables), default=0)
        lines += [f"  {name:<{width}}  {count:>12,}" for name, count in self.tables.items()]
        lines += [f"  - left behind: {item}" for item in self.left_behind]
        return "\n".join(lines + [f"  ! cannot be copied: {item}" for item in self.refused])
