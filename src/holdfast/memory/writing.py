"""How memories are written: the truth, its vectors and its history, all in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, TypeVar
from uuid import UUID

from holdfast.core import bulk
from holdfast.core.executor import Executor
from holdfast.core.transaction import Transaction
from holdfast.engines.base import Fragment, OwnedVector
from holdfast.errors import (
    AlreadyExists,
    Error,
    NotFoundError,
    SerializationFailure,
    UniqueViolation,
)
from holdfast.memory import tables
from holdfast.memory.records import Record, vector_of
from holdfast.memory.rows import Shape, digest
from holdfast.memory.scope import Scope, now
from holdfast.memory.tables import COLUMNS, CURRENT_MODEL

CHUNK = 5_000
_TRIES = 3
DELETED = "deleted"
UNDONE_TO_NOTHING = "undo to nothing"
_CHANGING = [name for name in COLUMNS if name not in ("ttl", "expires_at")]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes into one store for one tenant; every method is part of an open transaction."""

    executor: Executor
    shape: Shape
    scope: Scope
    ttl: int | None = None
    """How long what is inserted lives, in microseconds."""

    def insert(self, record: Record, exists_ok: bool) -> UUID:
        """Write a record, and return its id, or that of the passage with the same text."""
        for _ in range(_TRIES):
            found = self._new(record)
            if found is None:
                found = self._known(record, exists_ok)
            if found is not None:
                return found
        raise SerializationFailure("another transaction keeps changing this memory", hint="run it again")

    def _new(self, record: Record) -> UUID | None:
        """Write a record of an id and a text that are new, else do nothing."""
        values = self.shape.values(record, self.scope.agent_id, now(), self.ttl)
        marks = ", ".join("?" * len(COLUMNS))
        rows = self.executor.rows(
            f"INSERT INTO {self.shape.table} ({self.shape.names}) VALUES ({marks}) "
            f'ON CONFLICT DO NOTHING RETURNING "n", {CURRENT_MODEL}',
            [*self.shape.encoded(values), self.shape.layout.table],
        )
        if not rows:
            return None
        self._put_vectors([(rows[0][0], str(record.id), record)], rows[0][1])
        return record.id

    def _known(self, record: Record, exists_ok: bool) -> UUID | None:
        """What there is already instead of a record; ``None`` if it has gone meanwhile, or does now."""
        if self._make_room(record):
            return None
        if self._rows('"id" = ?', str(record.id)):
            if not exists_ok:
                raise _exists()
            self.update(record, _exists())
            self._set_expiry(record.id)
            return record.id
        same = self._rows('"digest" = ?', digest(record))
        return UUID(same[0][0]) if same else None

    def _make_room(self, record: Record) -> int:
        """Remove what stands in the way of a record and has expired."""
        table = self.shape.table
        numbers = self.executor.rows(
            f'SELECT "n" FROM {table} WHERE "user_id" = ? AND ("id" = ? OR "digest" = ?) '
            f'AND "expires_at" <= ?{self.executor.engine.features.row_locks}',
            (self.scope.user_id, str(record.id), digest(record), now()),
        )
        return self.forget([n for (n,) in numbers])

    def _set_expiry(self, id: UUID) -> None:
        self.executor.run(
            f'UPDATE {self.shape.table} SET "ttl" = CAST(? AS BIGINT), "expires_at" = CAST(? AS BIGINT) '
            'WHERE "user_id" = ? AND "id" = ?',
            [self.ttl, None if self.ttl is None else now() + self.ttl, self.scope.user_id, str(id)],
        )

    def _rows(self, condition: str, value: object) -> list[tuple[str]]:
        # Of all of the user's agents: an id is one of theirs only once.
        return self.executor.rows(
            f'SELECT "id" FROM {self.shape.table} WHERE "user_id" = ? AND {condition}',
            (self.scope.user_id, value),
        )

    def insert_many(self, records: Sequence[Record], exists_ok: bool) -> list[UUID]:
        """Write records at once where all are new, else one by one."""
        columns = self.shape.columns(records, self.scope.agent_id, now(), self.ttl)
        texts = [text for text in columns.get("digest", []) if text is not None]
        if len(set(columns["id"])) == len(records) and len(set(texts)) == len(texts):
            try:
                with Transaction(self.executor):
                    self._load(records, columns)
                return [record.id for record in records]
            except UniqueViolation:
                pass
        written = []
        for number, record in enumerate(records, 1):
            try:
                written.append(self.insert(record, exists_ok))
            except Error as exc:
                exc.row_number = number
                raise
        return written

    def _load(self, records: Sequence[Record], columns: dict[str, list[Any]]) -> None:
        table = self.shape.table
        # New rows have greater numbers than any row before: a range of them, and not each by its id.
        (last,) = self.executor.rows(f'SELECT max("n") FROM {table}')[0]
        rows = list(zip(*columns.values(), strict=True))
        bulk.insert_many(self.executor, self.shape.layout.table, rows, columns=list(columns))
        found = zip(columns["id"], records, strict=True)
        given = [(id, record) for id, record in found if vector_of(record) is not None]
        if given:
            # Not by the index that begins with the user, who may have many.
            numbers = dict(
                self.executor.rows(
                    f'SELECT "id", "n" FROM {table} WHERE "n" > ? AND ("user_id" || \'\') = ?',
                    (last or 0, self.scope.user_id),
                )
            )
            self._put_vectors([(numbers[id], id, record) for id, record in given])

    def _put_vectors(self, records: Sequence[tuple[int, str, Record]], current: str | None = None) -> None:
        """Write the vectors of records; ``current`` is the current model, where it was just read."""
        layout, user_id = self.shape.layout, self.scope.user_id
        rows = [
            OwnedVector(n, user_id, getattr(record, "agent_id", None), id, layout.model, vector)
            for n, id, record in records
            if (vector := vector_of(record)) is not None
        ]
        if rows:
            current = current or self.executor.scalar(f"SELECT {CURRENT_MODEL}", [layout.table])
            tables.check_model(self.executor, layout, current)
            self.put(rows)

    def put(self, rows: Sequence[OwnedVector]) -> None:
        """Write vectors as they are."""
        put, kind = self.executor.engine.vectors.put, self.shape.layout.vector_kind
        self.executor.drive(lambda raw: put(raw, self.shape.vectors, kind, rows))

    def update(self, record: Record, missing: Error | None = None, operation: str = "update") -> None:
        """Make the memory of that id the given record; what it was stays in the history."""
        numbers = self.locked((f'{self.shape.table}."id" = ?', [str(record.id)]))
        if not numbers:
            raise missing or NotFoundError("there is no memory of that id", hint="insert() adds one")
        if self._is(numbers[0], record):
            return
        self._remember(numbers, operation)
        # How long it lives is not part of the record, and stays.
        changes = ", ".join(f"{self.executor.engine.quote(name)} = ?" for name in _CHANGING)
        values = self.shape.encoded(self.shape.values(record, self.scope.agent_id, now()))[: len(_CHANGING)]
        try:
            self.executor.run(f'UPDATE {self.shape.table} SET {changes} WHERE "n" = ?', [*values, numbers[0]])
        except UniqueViolation as exc:
            raise AlreadyExists("another passage has this text already") from exc
        self.executor.run(f'DELETE FROM {self.shape.vectors} WHERE "n" = ?', numbers)
        self._put_vectors([(numbers[0], str(record.id), record)])

    def _is(self, number: int, record: Record) -> bool:
        rows = self.executor.rows(
            f'SELECT {self.shape.listing} FROM {self.shape.source} WHERE {self.shape.table}."n" = ?',
            (self.shape.layout.model, number),
        )
        return self.shape.record(rows[0]) == record

    def locked(self, condition: Fragment) -> list[int]:
        """The numbers of the memories of this tenant that satisfy a condition, kept as they are."""
        sql, given = self.scope.present(self.shape.table)
        rows = self.executor.rows(
            f'SELECT {self.shape.table}."n" FROM {self.shape.table} WHERE {sql} AND {condition[0]} '
            f'ORDER BY {self.shape.table}."n"{self.executor.engine.features.row_locks}',
            [*given, *condition[1]],
        )
        return [n for (n,) in rows]

    def delete(self, condition: Fragment, operation: str = "delete") -> int:
        """Remove memories; what they were stays in the history."""
        numbers = self.locked(condition)
        for some in _chunks(numbers):
            self._remember(some, operation)
            marks = ", ".join("?" * len(some))
            self.executor.run(f'DELETE FROM {self.shape.table} WHERE "n" IN ({marks})', some)
        return len(numbers)

    def restore(self, record: Record) -> None:
        """Bring back a memory that is gone; the time in which it was so becomes a row of the history.

        Raises:
            AlreadyExists: if another passage has its text by now.
        """
        quote, history = self.executor.engine.quote, self.shape.history
        own = ["kind", "written_at", "operation", "ended_at"]
        kept = ", ".join(quote(name) for name in COLUMNS if name not in own)
        numbering, number, branch = self._version(history, '"n"')
        latest = ", ".join(f"{name} DESC" for name in self.shape.age)
        mine = 'WHERE "user_id" = ? AND "id" = ?', [self.scope.user_id, str(record.id)]
        self.executor.run(
            f"INSERT INTO {history} ({kept}, {', '.join(map(quote, own))}, {numbering}) "
            f"SELECT {kept}, '{DELETED}', \"ended_at\", 'undo', CAST(? AS BIGINT), {number} FROM {history} "
            f"{mine[0]} ORDER BY {latest} LIMIT 1",
            [now(), *branch, *mine[1]],
        )
        if self._new(record) is None:
            raise AlreadyExists("another passage has this text by now")
        self.executor.run(
            f'UPDATE {self.shape.table} SET ("ttl", "expires_at") = (SELECT "ttl", "expires_at" '
            f"FROM {history} {mine[0]} ORDER BY {latest} LIMIT 1) {mine[0]}",
            mine[1] * 2,
        )

    def forget(self, numbers: Sequence[int]) -> int:
        """Remove memories with all that they were; return how many."""
        table, history = self.shape.table, self.shape.history
        for some in _chunks(numbers):
            marks = ", ".join("?" * len(some))
            self.executor.run(
                f'DELETE FROM {history} WHERE ("user_id", "id") IN '
                f'(SELECT "user_id", "id" FROM {table} WHERE "n" IN ({marks}))',
                some,
            )
            self.executor.run(f'DELETE FROM {table} WHERE "n" IN ({marks})', some)
        return len(numbers)

    def sweep(self) -> int:
        """Remove what has expired, whoever it belonged to; return how many memories that were."""
        at, locks = now(), self.executor.engine.features.row_locks
        expired = self.executor.rows(
            f'SELECT "n" FROM {self.shape.table} WHERE "expires_at" <= ? ORDER BY "n"{locks}', [at]
        )
        count = self.forget([n for (n,) in expired])
        self.executor.run(f'DELETE FROM {self.shape.history} WHERE "expires_at" <= ?', [at])
        return count

    def refresh(self, ids: Sequence[UUID]) -> None:
        """Let memories live as long again as when they were written."""
        at = now()
        for some in _chunks(ids):
            self.executor.run(
                f'UPDATE {self.shape.table} SET "expires_at" = CAST(? AS BIGINT) + "ttl" '
                f'WHERE "user_id" = ? AND "id" IN ({", ".join("?" * len(some))}) AND "expires_at" > ?',
                [at, self.scope.user_id, *map(str, some), at],
            )

    def _remember(self, numbers: Sequence[int], operation: str) -> None:
        """Write what memories are now into the history, before a change."""
        table, layout = self.shape.table, self.shape.layout
        columns = ", ".join(f"{table}.{self.executor.engine.quote(name)}" for name in COLUMNS)
        numbering, number, branch = self._version(table, f'{table}."n"')
        self.executor.run(
            f"INSERT INTO {self.shape.history} "
            f'({self.shape.names}, "embedding", "embedding_model", "operation", "ended_at", {numbering}) '
            f'SELECT {columns}, {self.shape.vectors}."embedding", {self.shape.vectors}."model", '
            f"CAST(? AS TEXT), CAST(? AS BIGINT), {number} FROM {self.shape.source} "
            f'WHERE {table}."n" IN ({", ".join("?" * len(numbers))})',
            [operation, now(), *branch, layout.model, *numbers],
        )

    def _version(self, table: str, number: str) -> tuple[str, str, list[str]]:
        """The columns by which a version of a memory in ``table`` is told apart, and their values."""
        if not self.shape.is_versioned:
            return '"n"', number, []
        return '"version", "branch"', f"{self.next_version(table)}, CAST(? AS TEXT)", [token_hex(6)]

    def next_version(self, table: str) -> str:
        """SQL for the number of the next past version of a memory in ``table``."""
        return (
            f'(SELECT coalesce(max(past."version"), 0) + 1 FROM {self.shape.history} AS past '
            f'WHERE past."user_id" = {table}."user_id" AND past."id" = {table}."id")'
        )


def _exists() -> AlreadyExists:
    return AlreadyExists("there is a memory of that id already", hint="exists_ok=True replaces it")


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]
