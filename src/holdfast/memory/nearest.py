"""The nearest memories to a vector: what a backend answers, and how the SQL databases do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from holdfast.core.executor import Executor
from holdfast.engines.base import Fragment
from holdfast.errors import NotSupported
from holdfast.memory.matrix import Matrices
from holdfast.memory.records import Vector
from holdfast.memory.rows import Shape
from holdfast.memory.scope import Scope

Leg = list[tuple[int, float]]
"""The numbers of memories, the best first, with the measure of the leg."""


@dataclass(frozen=True, slots=True)
class Among:
    """The memories that may be found: those of a tenant in one store, and of them what a filter leaves.

    ``condition`` is about the rows of ``shape.table`` and holds the tenant's, the filter's, and that nothing
    has expired. Without a filter ``is_filtered`` is false, and the tenant alone decides: should something
    that has expired be found then, the search asks again with ``is_filtered``.
    """

    executor: Executor
    shape: Shape
    scope: Scope
    condition: Fragment
    is_filtered: bool

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

    def nearest(self, among: Among, vector: Vector, count: int) -> Nearest:
        """The nearest memories, all of them compared.

        Raises:
            NotSupported: if this server has no pgvector.
        """
        layout, vectors = among.shape.layout, among.executor.engine.vectors
        distance = vectors.distance(layout.vector_kind, f'{among.shape.vectors}."embedding"')
        if distance is None:
            return Nearest(self._by_matrix(among, vector, count))
        return Nearest(_exact(among, distance, vector, count))

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


def _exact(among: Among, distance: str, vector: Vector, count: int) -> Leg:
    """Compare each vector that the filter leaves."""
    table, own = among.shape.table, among.shape.vectors
    source, (sql, given) = own, among.scope.condition(own)
    if among.is_filtered:
        source = f'{table} JOIN {own} ON {own}."n" = {table}."n"'
        # The tenant once: a planner without statistics would take two for very few rows.
        sql, given = among.condition
    rows = among.executor.rows(
        f'SELECT {own}."n", {distance} FROM {source} '
        f'WHERE {own}."model" = ? AND {sql} ORDER BY 2, {own}."id" LIMIT ?',
        [among.executor.engine.vectors.asked(vector), among.shape.layout.model, *given, count],
    )
    return list(rows)
