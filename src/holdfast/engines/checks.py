"""What an engine can tell of its own health."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from holdfast.engines.base import Run
from holdfast.engines.names import legible

if TYPE_CHECKING:
    from holdfast.settings import Target

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a database that somebody should know.

    ``severity`` is ``"error"`` where data are damaged or can be lost, ``"warning"`` where something will go
    wrong or is slow, else ``"note"``. ``evidence`` is what was seen, ``remedy`` what mends it in words.
    ``sql`` are the statements that do, where statements can, and ``command`` is a line for the shell; both
    can be pasted as they are. ``is_safe`` says that ``sql`` loses nothing and keeps nobody from working for
    long: ``doctor(fix=)`` runs it.
    """

    check: str
    severity: Severity
    evidence: str
    remedy: str
    table: str | None = None
    columns: tuple[str, ...] = ()
    sql: tuple[str, ...] = ()
    command: str | None = None
    is_safe: bool = False

    def __str__(self) -> str:
        pasted = [*(f"{statement};" for statement in self.sql), *([self.command] if self.command else ())]
        return legible("\n    ".join((f"{self.severity}: {self.evidence}", self.remedy, *pasted)))


Check = Callable[[Run, "Target"], Iterator[Finding]]


class Checks(Protocol):
    """Looking for trouble; nothing is changed."""

    @property
    def CHECKS(self) -> Sequence[tuple[str, Check]]:  # noqa: N802
        """What is looked for, each on its own: one that may not be looked at is no end to the others."""
        ...
