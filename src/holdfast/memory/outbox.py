"""What an index outside of the database has not seen yet, noted by triggers in the transaction of each write.

The truth is in SQLite. Beside the vectors of a store lies a table of changes, each a number that only grows
and the memory whose vector was written or removed, whoever did it. The list ``hf_lance`` says for each store
and model which Lance table, in which version, has all changes up to a number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from holdfast.core import schema
from holdfast.core.executor import Executor
from holdfast.core.transaction import Transaction
from holdfast.memory.tables import Layout

STATE = "hf_lance"
UNUSABLE = ""
"""The name of the Lance table where there are vectors and none has them."""
_EVENTS = {"added": ("INSERT", ["NEW"]), "changed": ("UPDATE", ["OLD", "NEW"]), "gone": ("DELETE", ["OLD"])}
VectorRow = tuple[int, str, str | None, bytes]
"""The number of a memory, its user and agent, and its vector as it is stored."""


@dataclass(frozen=True, slots=True)
class Graph:
    """An index over vectors that was asked for: HNSW's m and ef_construction."""

    links: int
    effort: int


@dataclass(frozen=True, slots=True)
class Mark:
    """The Lance table and the version of it that has all changes up to ``floor``.

    ``lance`` is ``None`` as long as there is none and no vector before ``floor``.
    """

    lance: str | None
    version: int
    floor: int
    graph: Graph | None = None


@dataclass(frozen=True, slots=True)
class Outbox:
    """The changes of one store's vectors of one model that its index has not seen."""

    executor: Executor
    layout: Layout

    @property
    def table(self) -> str:
        return self.executor.engine.quote(f"{self.layout.table}_outbox")

    @property
    def _key(self) -> list[object]:
        return [self.layout.table, self.layout.model]

    def _trigger(self, name: str) -> str:
        return f"{self.layout.table}_{name}"

    def attend(self) -> None:
        """Begin to note changes, if that has not begun or was ended by a drop of the table."""
        executor, quote = self.executor, self.executor.engine.quote
        is_begun = [schema.table_exists(executor, name) for name in (STATE, f"{self.layout.table}_outbox")]
        if all(is_begun) and self.look() is not None:
            return
        vectors = quote(self.layout.vectors)
        with Transaction(executor):
            schema.create_table(
                executor,
                STATE,
                {
                    "table_name": "TEXT NOT NULL",
                    "model": "TEXT NOT NULL",
                    "lance": "TEXT",
                    "version": "BIGINT NOT NULL",
                    "floor": "BIGINT NOT NULL",
                    "links": "BIGINT",
                    "effort": "BIGINT",
                },
                primary_key=["table_name", "model"],
                if_not_exists=True,
            )
            schema.create_table(
                executor,
                f"{self.layout.table}_outbox",
                {
                    "change": "INTEGER PRIMARY KEY AUTOINCREMENT",
                    "n": "BIGINT NOT NULL",
                    "model": "TEXT NOT NULL",
                },
                if_not_exists=True,
            )
            if not self._is_attended():
                self._begin()
            known = f'SELECT 1 FROM "{STATE}" WHERE "table_name" = ? AND "model" = ?'
            if not executor.rows(known, self._key):
                # What was written before is in no Lance table that could be known.
                there = executor.rows(f'SELECT 1 FROM {vectors} WHERE "model" = ? LIMIT 1', self._key[1:])
                self._put(Mark(UNUSABLE if there else None, 0, self.last()))

    def _is_attended(self) -> bool:
        marks = ", ".join("?" * len(_EVENTS))
        return bool(
            self.executor.scalar(
                "SELECT count(*) = ? FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ? "
                f"AND name IN ({marks})",
                [len(_EVENTS), self.layout.vectors, *map(self._trigger, _EVENTS)],
            )
        )

    def _begin(self) -> None:
        executor, quote = self.executor, self.executor.engine.quote
        # Of no model is it known what was written without being noted.
        executor.run(f'DELETE FROM "{STATE}" WHERE "table_name" = ?', self._key[:1])
        executor.run(f"DELETE FROM {self.table}")
        for name, (event, rows) in _EVENTS.items():
            notes = "".join(
                f'INSERT INTO {self.table} ("n", "model") VALUES ({row}."n", {row}."model"); ' for row in rows
            )
            trigger = quote(self._trigger(name))
            executor.run(f"DROP TRIGGER IF EXISTS {trigger}")
            executor.run(
                f"CREATE TRIGGER {trigger} AFTER {event} ON {quote(self.layout.vectors)} BEGIN {notes}END"
            )

    def look(self) -> tuple[Mark, list[int]] | None:
        """The mark, and the memories changed since; ``None`` if changes are not noted."""
        rows = self.executor.rows(
            f'SELECT o."n", s."links", s."effort", s."lance", s."version", s."floor" FROM "{STATE}" AS s '
            f'LEFT JOIN {self.table} AS o ON o."model" = s."model" AND o."change" > s."floor" '
            'WHERE s."table_name" = ? AND s."model" = ? AND (SELECT count(*) FROM sqlite_master '
            "WHERE type = 'trigger' AND name IN (?, ?, ?)) = 3",
            [*self._key, *map(self._trigger, _EVENTS)],
        )
        if not rows:
            return None
        _, links, effort, lance, version, floor = rows[0]
        graph = None if links is None else Graph(links, effort)
        return Mark(lance, version, floor, graph), list(
            dict.fromkeys(row[0] for row in rows if row[0] is not None)
        )

    def last(self) -> int:
        """The number of the last change."""
        return int(
            self.executor.scalar(
                "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = ?), 0)",
                [f"{self.layout.table}_outbox"],
            )
        )

    def batch(self, floor: int, most: int) -> tuple[int, list[int]]:
        """The next changes after ``floor``: the number of the last one, and the memories they are about."""
        rows = self.executor.rows(
            f'SELECT "change", "n" FROM {self.table} WHERE "change" > ? AND "model" = ? '
            'ORDER BY "change" LIMIT ?',
            [floor, self.layout.model, most],
        )
        return (rows[-1][0] if rows else floor), list(dict.fromkeys(n for _, n in rows))

    def settle(self, mark: Mark) -> None:
        """Note what the index has seen by now, and forget the changes up to there."""
        with Transaction(self.executor):
            self._put(mark)
            # Nobody waits for those of a model without a Lance table.
            self.executor.run(
                f'DELETE FROM {self.table} WHERE "change" <= ? AND ("model" = ? OR "model" NOT IN '
                f'(SELECT "model" FROM "{STATE}" WHERE "table_name" = ?))',
                [mark.floor, self.layout.model, self.layout.table],
            )

    def _put(self, mark: Mark) -> None:
        self.executor.run(
            f'INSERT INTO "{STATE}" '
            '("table_name", "model", "lance", "version", "floor", "links", "effort") '
            "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            '"lance" = excluded."lance", "version" = excluded."version", "floor" = excluded."floor", '
            '"links" = excluded."links", "effort" = excluded."effort"',
            [*self._key, mark.lance, mark.version, mark.floor]
            + ([None, None] if mark.graph is None else [mark.graph.links, mark.graph.effort]),
        )

    def end(self) -> None:
        """Forget all of it, after the store was dropped."""
        with Transaction(self.executor):
            schema.drop_table(self.executor, f"{self.layout.table}_outbox", if_exists=True)
            self.executor.run(f'DELETE FROM "{STATE}" WHERE "table_name" = ?', [self.layout.table])

    # What the truth has

    def vectors(self, numbers: Sequence[int]) -> list[VectorRow]:
        """The vectors of these memories, of those that have one."""
        marks = ", ".join("?" * len(numbers))
        return self._rows(f'"n" IN ({marks})', [*numbers]) if numbers else []

    def all_vectors(self, most: int) -> Iterator[list[VectorRow]]:
        """All vectors in lists of at most ``most``; what changes meanwhile may be missing or old."""
        after = -(2**63)
        while rows := self._rows('"n" > ?', [after], most):
            yield rows
            after = rows[-1][0]

    def _rows(self, condition: str, given: list[int], most: int = -1) -> list[VectorRow]:
        executor, vectors = self.executor, self.executor.engine.quote(self.layout.vectors)
        stored = executor.engine.vectors.read(self.layout.vector_kind, '"embedding"')
        return executor.rows(
            f'SELECT "n", "user_id", "agent_id", {stored} FROM {vectors} '
            f'WHERE "model" = ? AND {condition} ORDER BY "n" LIMIT ?',
            [self.layout.model, *given, most],
        )
