"""What a restored or verified backup held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Report:
    """The rows of each table that a backup holds, and what is wrong with it; print it.

    ``engine`` and ``created`` (in UTC) are ``None`` for a file of another program. ``replaced`` are the
    tables that were there before, and ``kept`` is the backup of them that was made first. ``left_behind`` is
    what a portable archive has and this database cannot hold, each with the reason.
    """

    path: Path
    engine: str | None
    created: str | None
    tables: Mapping[str, int]
    problems: Sequence[str] = field(default=())
    replaced: Sequence[str] = field(default=())
    kept: Path | None = None
    left_behind: Sequence[str] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether everything was there, and as it was when the backup was made."""
        return not self.problems

    def __str__(self) -> str:
        rows = sum(self.tables.values())
        made = f", {self.engine}, {self.created}" if self.engine else ""
        counted = f"{_counted(len(self.tables), 'table')}, {_counted(rows, 'row')}"
        lines = [f"{self.path}{made}: {counted}, {'ok' if self.ok else 'NOT OK'}"]
        width = max(map(len, self.tables), default=0)
        marks = dict.fromkeys(self.replaced, "  replaces the one that is there")
        lines += [
            f"  {name:<{width}}  {count:>12,}{marks.get(name, '')}" for name, count in self.tables.items()
        ]
        lines += [f"  what was there is kept in {self.kept}"] if self.kept else []
        lines += [f"  - left behind: {item}" for item in self.left_behind]
        return "\n".join(lines + [f"  ! {problem}" for problem in self.problems])


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
