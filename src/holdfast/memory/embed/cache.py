"""Vectors that were made before, in a table of the same database, for every process that has it open.

A row belongs to a user, so that nobody learns from it what another one has embedded. The text itself is not
kept, only its SHA-256.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence

import numpy as np

from holdfast.core import schema
from holdfast.core.executor import Executor
from holdfast.core.transaction import Transaction
from holdfast.errors import DatabaseBusy, Error, ReadOnlyError, SerializationFailure, TableNotFound
from holdfast.memory.embed.texts import Embed, vectors_of
from holdfast.memory.records import Vector

TABLE = "hf_embeddings"
_COLUMNS = {
    "user_id": "TEXT NOT NULL",
    "model": "TEXT NOT NULL",
    "sha256": "TEXT NOT NULL",
    "embedding": "BLOB NOT NULL",
    "dimension": "BIGINT NOT NULL",
    "made_at": "BIGINT NOT NULL",
}
_AT_ONCE = 500
_RECENT = 256
_ALL = 2**62


class EmbeddingCache:
    """The kept vectors of one user and model; at most about ``size`` of them, the newest."""

    def __init__(self, executor: Executor, user_id: str, model: str, size: int) -> None:
        self._executor, self._owner, self._size = executor, [user_id, model], size
        self._recent: OrderedDict[str, Vector] = OrderedDict()
        self._lock = threading.Lock()
        self._unpruned = 0

    def asked(self, embed: Embed, text: str, dimension: int | None = None) -> Vector:
        """The vector of a query, kept in this process alone: who only reads waits for no writer.

        One of another ``dimension`` than the others is not kept.
        """
        with self._lock:
            if text in self._recent:
                self._recent.move_to_end(text)
                return self._recent[text]
        vector = self.find([text]).get(text)
        if vector is None or dimension not in (None, len(vector)):
            (vector,) = vectors_of(embed, [text])
        if dimension not in (None, len(vector)):
            return vector
        with self._lock:
            self._recent[text] = vector
            if len(self._recent) > _RECENT:
                self._recent.popitem(last=False)
        return vector

    def find(self, texts: Sequence[str]) -> dict[str, Vector]:
        """The vectors there are, by text."""
        digests = {_digest(text): text for text in texts}
        found: dict[str, Vector] = {}
        for some in _pieces(list(digests)) if self._is_there() else ():
            for digest, dimension, stored in self._read(some):
                # A blob that was cut is made anew.
                if len(stored) == 4 * dimension:
                    found[digests[digest]] = np.frombuffer(stored, dtype="<f4")
        return found

    def _read(self, digests: Sequence[str]) -> list[tuple[str, int, bytes]]:
        marks = ", ".join("?" * len(digests))
        try:
            return self._executor.rows(
                f'SELECT "sha256", "dimension", "embedding" FROM "{TABLE}" '
                f'WHERE "user_id" = ? AND "model" = ? AND "sha256" IN ({marks})',
                [*self._owner, *digests],
            )
        except TableNotFound:
            if self._executor.in_transaction:
                raise
            return []

    def keep(self, made: dict[str, Vector]) -> None:
        """Keep vectors for the next time, where that can be done; without, they are only made again."""
        try:
            self._ensure()
            with Transaction(self._executor):
                self._write(made)
            self._unpruned += len(made)
            if self._unpruned * 100 >= self._size:
                self.prune(self._size)
        except (ReadOnlyError, SerializationFailure, DatabaseBusy):
            if self._executor.in_transaction:
                raise

    def _ensure(self) -> None:
        if self._is_there():
            return
        try:
            with Transaction(self._executor):
                schema.create_table(
                    self._executor, TABLE, _COLUMNS, primary_key=["user_id", "model", "sha256"]
                )
        except Error:
            # Another process may have made it at the same moment.
            if not self._is_there():
                raise

    def _write(self, made: dict[str, Vector]) -> None:
        now = time.time_ns() // 1000
        rows = [
            (*self._owner, _digest(text), vector.astype("<f4").tobytes(), len(vector), now)
            for text, vector in made.items()
        ]
        sql = (
            f'INSERT INTO "{TABLE}" ("user_id", "model", "sha256", "embedding", "dimension", "made_at") '
            'VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT ("user_id", "model", "sha256") DO UPDATE SET '
            '"embedding" = excluded."embedding", "dimension" = excluded."dimension"'
        )
        # In one order, so that two writers do not wait for each other.
        self._executor.send_many(self._executor.native(sql), sorted(rows, key=lambda row: row[2]))

    def prune(self, keep: int) -> int:
        """Remove all but the newest ``keep`` vectors; how many there were to remove."""
        self._unpruned = 0
        if not self._is_there():
            return 0
        return self._executor.run(
            f'DELETE FROM "{TABLE}" WHERE "user_id" = ? AND "model" = ? AND "sha256" IN (SELECT "sha256" '
            f'FROM "{TABLE}" WHERE "user_id" = ? AND "model" = ? '
            f'ORDER BY "made_at" DESC, "sha256" LIMIT {_ALL} OFFSET ?)',
            [*self._owner, *self._owner, keep],
        ).rowcount

    def _is_there(self) -> bool:
        key = ("embeddings",)
        if self._executor.plans.get(key):
            return True
        is_there = schema.table_exists(self._executor, TABLE)
        if is_there and not self._executor.in_transaction:
            self._executor.keep(key, True)
        return is_there


def forget(executor: Executor, user_id: str) -> int:
    """Remove every vector that is kept for a user; how many there were."""
    if not schema.table_exists(executor, TABLE):
        return 0
    return executor.run(f'DELETE FROM "{TABLE}" WHERE "user_id" = ?', (user_id,)).rowcount


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _pieces(digests: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(digests), _AT_ONCE):
        yield digests[start : start + _AT_ONCE]
