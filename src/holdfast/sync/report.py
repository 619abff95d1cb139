"""What a sync did, and how it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Report:
    """What one run did. ``pushed`` and ``pulled`` are rows that were written at the hub, and here.

    ``conflicts`` counts clashes that the policy decided, ``quarantined`` the rows that one side would not
    take, ``paused`` the tables that were left out, with the reason.
    """

    pushed: int = 0
    pulled: int = 0
    conflicts: int = 0
    quarantined: int = 0
    paused: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        text = f"{self.pushed} rows pushed, {self.pulled} pulled, {self.conflicts} conflicts"
        if self.quarantined:
            text += f", {self.quarantined} quarantined"
        return text + "".join(f"; {table} is paused: {why}" for table, why in self.paused.items())

    def as_dict(self) -> dict[str, Any]:
        return {
            "pushed": self.pushed,
            "pulled": self.pulled,
            "conflicts": self.conflicts,
            "quarantined": self.quarantined,
            "paused": dict(self.paused),
        }


@dataclass(frozen=True)
class Plan:
    """What the first run would do with a table: rows on one side alone, alike, and different."""

    table: str
    here_only: int
    hub_only: int
    alike: int
    different: int


@dataclass(frozen=True)
class Quarantined:
    """A row that one side would not take. ``direction`` is ``"push"`` where that was the hub."""

    table: str
    key: tuple[Any, ...]
    direction: str
    reason: str


@dataclass(frozen=True)
class Status:
    """How a replica stands: changes that wait here, by table, changes of the hub that were not read yet.

    ``lag`` counts changes at the hub that are committed and cannot be read yet, since an older transaction is
    still open there.
    """

    replica: str
    pending: Mapping[str, int]
    behind: Mapping[str, int]
    lag: int
    in_flight: bool
    quarantined: tuple[Quarantined, ...]
    paused: Mapping[str, str]
    conflicts: int

    @property
    def is_quiet(self) -> bool:
        """Whether there is nothing to do."""
        return not (any(self.pending.values()) or any(self.behind.values()) or self.in_flight)


@dataclass(frozen=True)
class Conflict:
    """A clash that was decided: what the row was, what this side and the hub made of it, what it became."""

    id: str
    at: str
    replica: str
    table: str
    key: Mapping[str, Any]
    kind: str
    columns: tuple[str, ...]
    base: Mapping[str, Any] | None
    ours: Mapping[str, Any] | None
    hub: Mapping[str, Any] | None
    result: Mapping[str, Any] | None
    resolved: str | None
