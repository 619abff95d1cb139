"""Listing checkpoints: what is asked for, some at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langgraph.checkpoint.base import CheckpointTuple

from holdfast.engines.base import Engine
from holdfast.memory.langgraph.checkpoints import AFTER, Place, Rows, Stored, is_storable
from holdfast.memory.langgraph.tables import CHECKPOINTS, KEYS
from holdfast.types.codec import INT64_MAX, INT64_MIN


@dataclass(slots=True)
class Query:
    """The checkpoints that satisfy conditions, the newest first; ``next`` gives some more of them."""

    condition: str
    given: list[Any]
    rest: Mapping[str, Any]
    "What the metadata are compared with once they are read."
    limit: int | None
    last: Place | None = field(default=None, init=False)
    is_over: bool = field(default=False, init=False)

    @classmethod
    def of(
        cls,
        engine: Engine,
        place: Sequence[str | None],
        filter: Mapping[str, Any],
        before: str | None,
        limit: int | None,
    ) -> Query:
        """A query for a thread, a namespace and an id, each where it is given."""
        parts, given = ["TRUE"], []
        for name, value in zip(KEYS[CHECKPOINTS], place, strict=True):
            if value is not None:
                parts.append(f'"{name}" = ?')
                given.append(value)
        if before is not None:
            parts.append('"checkpoint_id" < ?')
            given.append(before)
        rest = {}
        for key, value in filter.items():
            if _is_simple(key, value):
                sql, values = engine.documents.among('"metadata"', key, [value])
                parts.append(f"({sql})")
                given += values
            else:
                rest[key] = value
        return cls(" AND ".join(parts), given, rest, limit)

    def next(self, rows: Rows, count: int) -> list[CheckpointTuple]:
        """The next ones, empty at the end."""
        while not self.is_over:
            if self.limit is not None and not self.rest:
                count = min(count, self.limit)
            found = self._page(rows, count)
            self.is_over = len(found) < count
            found = [stored for stored in found if self._fits(stored.metadata)]
            if self.limit is not None:
                found = found[: self.limit]
                self.limit -= len(found)
                self.is_over = self.is_over or self.limit == 0
            if found:
                rows.add_writes(found)
                tuples = rows.tuples(found)
                if tuples:
                    return tuples
        return []

    def _page(self, rows: Rows, count: int) -> list[Stored]:
        condition, given = self.condition, self.given
        if self.last is not None:
            condition += AFTER
            given = [*given, self.last[2], self.last[0], self.last[1]]
        found = rows.page(condition, given, count) if count else []
        if found:
            self.last = found[-1].place
        return found

    def _fits(self, metadata: Mapping[str, Any]) -> bool:
        return all(metadata.get(key) == value for key, value in self.rest.items())


def _is_simple(key: Any, value: Any) -> bool:
    """Whether the database finds the same as a comparison in Python would."""
    if not isinstance(key, str) or not is_storable(key):
        return False
    if type(value) is str:
        return is_storable(value)
    if type(value) is int:
        return INT64_MIN <= value <= INT64_MAX
    return type(value) is bool
