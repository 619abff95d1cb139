"""What memories were: every version, the state at a time, and the way back.

The history has a row for each version that has ended, with the operation that ended it. A row of the kind
``deleted`` stands for the time in which a memory was gone, where undoing ended that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from holdfast.core.executor import Executor
from holdfast.engines.base import Fragment
from holdfast.errors import NotFoundError
from holdfast.memory.filters import Filters, compiled
from holdfast.memory.records import Record, Source, microseconds, moment_of
from holdfast.memory.rows import Shape, changed
from holdfast.memory.scope import Scope, now
from holdfast.memory.writing import DELETED, UNDONE_TO_NOTHING, Writer

GOING = {"delete": "delete", UNDONE_TO_NOTHING: "undo"}
"""Operations after which a memory is gone, and what they are called."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a memory: ``insert``, ``update``, ``delete`` or ``undo``, and what it was from then on.

    ``record`` is ``None`` where it was gone.
    """

    operation: str
    record: Record | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Historian:
    """Reads the history of one store for one tenant."""

    executor: Executor
    shape: Shape
    scope: Scope

    def changes(self, id: UUID) -> list[Change]:
        """All changes of a memory, the first one first."""
        changes, operation = [], "insert"
        for row in self._ended((f'{self.shape.history}."id" = ?', [str(id)])):
            kind, written_at, ended_at, next_operation = row[-5:-1]
            if kind != DELETED:
                changes.append(Change(operation, self._then(row), moment_of(written_at)))
                if next_operation in GOING:
                    changes.append(Change(GOING[next_operation], None, moment_of(ended_at)))
            operation = "insert" if next_operation in GOING else next_operation
        for row in self._present((f'{self.shape.table}."id" = ?', [str(id)])):
            changes.append(Change(operation, self.shape.record(row), moment_of(row[-1])))
        return changes

    def as_of(self, moment: datetime, filters: Filters) -> list[Record]:
        """The memories that there were at a time, as they were, the oldest first."""
        at, engine = microseconds(moment), self.executor.engine
        found: dict[UUID, Record] = {}
        # In this order: what changes meanwhile is then found twice and not missed.
        sql, given = compiled(engine, self.shape.table, filters)
        for row in self._present((f'{self.shape.table}."written_at" <= ? AND {sql}', [at, *given])):
            record = self.shape.record(row)
            found[record.id] = record
        sql, given = compiled(engine, self.shape.history, filters)
        then = f'{self.shape.history}."written_at" <= ? AND {self.shape.history}."ended_at" > ? AND {sql}'
        for row in self._ended((then, [at, at, *given])):
            if row[-5] != DELETED:
                record = self._then(row)
                found[record.id] = record
        return sorted(found.values(), key=lambda record: (record.created_at, str(record.id)))

    def _present(self, condition: Fragment) -> list[Any]:
        sql, given = self.scope.present(self.shape.table)
        return self.executor.rows(
            f'SELECT {self.shape.listing}, {self.shape.table}."written_at" FROM {self.shape.source} '
            f"WHERE {sql} AND ({condition[0]})",
            [self.shape.layout.model, *given, *condition[1]],
        )

    def _ended(self, condition: Fragment) -> Sequence[Any]:
        table, present = self.shape.history, self.shape.table
        sql, given = self.scope.present(table)
        # With a memory that has expired all that it was is gone.
        gone = " AND ".join(f'{present}."{name}" = {table}."{name}"' for name in ("user_id", "id"))
        return self.executor.rows(
            f'SELECT {self.shape.listing_of_history}, {table}."kind", {table}."written_at", '
            f'{table}."ended_at", {table}."operation", {table}."embedding_model" FROM {table} '
            f"WHERE {sql} AND ({condition[0]}) AND NOT EXISTS (SELECT 1 FROM {present} WHERE {gone} "
            f'AND {present}."expires_at" <= ?) ORDER BY {", ".join(self.shape.age)}',
            [*given, *condition[1], now()],
        )

    def _then(self, row: Sequence[Any]) -> Record:
        """What a memory was; a vector of a model that is not the current one is left out."""
        record = self.shape.record(row)
        if isinstance(record, Source) or row[-1] == self.shape.layout.model:
            return record
        return changed(record, embedding=None)


def undone(historian: Historian, writer: Writer, id: UUID) -> Record | None:
    """Take the last change of a memory back, and give what it is now; part of an open transaction.

    Raises:
        NotFoundError: if there is none to take back.
    """
    writer.locked((f'{writer.shape.table}."id" = ?', [str(id)]))
    states: list[Record | None] = []
    for change in historian.changes(id):
        if change.operation == "undo":
            states.pop()
        else:
            states.append(change.record)
    if len(states) < 2:
        raise NotFoundError("there is no change of that memory to take back", hint="history(id) has them all")
    before = states[-2]
    if before is None:
        writer.delete((f'{writer.shape.table}."id" = ?', [str(id)]), UNDONE_TO_NOTHING)
    elif states[-1] is None:
        writer.restore(before)
    else:
        writer.update(before, operation="undo")
    return before
