"""The nearest memories to a vector: what a backend answers, and how the SQL databases do."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

from holdfast.core.executor import Executor
from holdfast.engines.base import Fragment
from holdfast.engines.nearest import VectorIndex
from holdfast.errors import NotSupported
from holdfast.memory import indexing
from holdfast.memory.matrix import Matrices
from holdfast.memory.records import Vector
from holdfast.memory.rows import Shape
from holdfast.memory.scope import Scope

ALL: Fragment = ("TRUE", [])
Leg = list[tuple[int, float]]
"""The numbers of memories, the best first, with the measure of the leg."""
_WORTH = 500
_MOST_SHARES = 1000


@dataclass(frozen=True, slots=True)
class Among:
    """The memories that may be found: those of a tenant in one store, and of them what a filter leaves.

    ``filter`` is about the rows of ``shape.table``. Without one the tenant alone decides: should something
    that has expired be found then, the search asks again with a filter that leaves all.
    """

    executor: Executor
    shape: Shape
    scope: Scope
    filter: Fragment | None = None

    @property
    def is_filtered(self) -> bool:
        """Whether more than the tenant decides."""
        return self.filter is not None

    @property
    def condition(self) -> Fragment:
        """The rows of ``shape.table`` that are the tenant's, have not expired and pass the filter."""
        sql, given = self.scope.present(self.shape.table)
        if self.filter is None:
            return sql, given
        # It leaves fewer than the tenant does, as a rule: what comes first is looked at first.
        more, values = self.filter
        return f"({more}) AND {sql}", [*values, *given]

    def numbers(self) -> list[int]:
        """The numbers of these memories, whether they have a vector or not."""
        sql, given = self.condition
        table = self.shape.table
        return [n for (n,) in self.executor.rows(f'SELECT {table}."n" FROM {table} WHERE {sql}', given)]


@dataclass(frozen=True, slots=True)
class Nearest:
    """A leg by vector with its cosine distances; ``is_complete`` where nothing can be missing."""

    leg: Leg
    is_complete: bool = True


class VectorLeg(Protocol):
    """How a backend finds the nearest memories: the part of a search that is its own.

    It gives at most ``count`` numbers of memories ``among`` those that have a vector of the model
    ``among.shape.layout.model``, the nearest first and ties by id. A number of a memory that is gone
    meanwhile does no harm: the search asks again.
    """

    def nearest(self, among: Among, vector: Vector, count: int) -> Nearest: ...


class InDatabase:
    """Compares in the database where it has distances, else in a matrix of this process."""

    def __init__(self) -> None:
        self._matrices = Matrices()
        self._shares: dict[str, tuple[float, float]] = {}

    def nearest(self, among: Among, vector: Vector, count: int) -> Nearest:
        """The nearest memories, all of them compared.

        Raises:
            NotSupported: if this server has no pgvector.
        """
        layout, vectors = among.shape.layout, among.executor.engine.vectors
        distance = vectors.distance(layout.vector_kind, f'{among.shape.vectors}."embedding"')
        if distance is None:
            return Nearest(self._by_matrix(among, vector, count))
        index = indexing.known(among.executor, layout)
        if index is not None and not self._leaves_few(among, index):
            found = _by_index(among, index, vector, count)
            if found is not None:
                return Nearest(found, is_complete=False)
        return Nearest(_exact(among, distance, vector, count))

    def _leaves_few(self, among: Among, index: VectorIndex) -> bool:
        """Whether comparing what a filter leaves costs less than asking the index.

        That looks at about as many rows as it must to meet enough that pass: in ``rows`` of which ``left``
        pass that is some 100 * rows / left, each several times as dear as one that is only compared.
        """
        key = repr((among.shape.layout.table, index.name, among.scope, among.filter))
        share, until = self._shares.get(key, (0.0, 0.0))
        if until < time.monotonic():
            share = indexing.share(among.executor, among.shape.table, among.condition, index.rows)
            if len(self._shares) >= _MOST_SHARES:
                self._shares.clear()
            self._shares[key] = share, time.monotonic() + indexing.FRESH
        return (share * index.rows) ** 2 <= _WORTH * index.rows

    def _by_matrix(self, among: Among, vector: Vector, count: int) -> Leg:
        executor = among.executor
        if executor.drive(executor.engine.vectors.state) is None:
            raise NotSupported(
                "this memory cannot be searched by vector: it was made on a server without pgvector, or "
                "without the right to create it",
                hint="have an administrator install pgvector and run CREATE EXTENSION vector, and write the "
                "memories into one of another name; mode='text' works as it is",
            )
        matrix = self._matrices.matrix(executor, among.shape, among.scope)
        if matrix is None:
            return []
        numbers = among.numbers() if among.is_filtered else None
        return matrix.nearest(vector, count, numbers) if numbers is None or numbers else []


def _by_index(among: Among, index: VectorIndex, vector: Vector, count: int) -> Leg | None:
    """What the index of the model gives; ``None`` where a filter was in its way."""
    executor, (source, condition) = among.executor, _from(among)
    indexes = indexing.part(executor)
    sql, given = indexes.nearest(
        indexing.target(among.shape.layout, len(vector)),
        index,
        source,
        condition,
        executor.engine.vectors.asked(vector),
        count,
    )
    rows = executor.rows(sql, given)
    return [(n, distance) for n, distance, _ in rows] if rows and rows[0][2] else None


def _from(among: Among) -> tuple[str, Fragment]:
    """The vectors of memories among these, and the condition on them."""
    table, own = among.shape.table, among.shape.vectors
    if not among.is_filtered:
        return own, among.scope.condition(own)
    # The tenant once: a planner without statistics would take two for very few rows.
    return f'{table} JOIN {own} ON {own}."n" = {table}."n"', among.condition


def _exact(among: Among, distance: str, vector: Vector, count: int) -> Leg:
    """Compare each vector that the filter leaves."""
    own, (source, (sql, given)) = among.shape.vectors, _from(among)
    rows = among.executor.rows(
        f'SELECT {own}."n", {distance} FROM {source} '
        f'WHERE {own}."model" = ? AND {sql} ORDER BY 2, {own}."id" LIMIT ?',
        [among.executor.engine.vectors.asked(vector), among.shape.layout.model, *given, count],
    )
    return list(rows)
