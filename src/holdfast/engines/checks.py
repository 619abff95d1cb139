"""What an engine can tell of its own health."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from holdfast.engines.base import Run

if TYPE_CHECKING:
    from holdfast.settings import Target

Severity = Literal["error", "warning", "note"]
Fix = Literal["analyze", "optimize", "vacuum", "create_index"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a database that somebody should know.

    ``severity`` is ``"error"`` where data are damaged or can be lost, ``"warning"`` where something will go
    wrong or is slow, else ``"note"``. ``evidence`` is what was seen, ``remedy`` what mends it. ``fix`` is the
    verb that can be called for that without any risk, on ``table`` and ``columns`` where it takes them.
    """

    check: str
    severity: Severity
    evidence: str
    remedy: str
    table: str | None = None
    columns: tuple[str, ...] = ()
    fix: Fix | None = None

    def __str__(self) -> str:
        return f"{self.severity}: {self.evidence}\n    {self.remedy}"


class Checks(Protocol):
    """Looking for trouble; nothing is changed."""

    def findings(self, run: Run, target: Target) -> Iterator[Finding]: ...
