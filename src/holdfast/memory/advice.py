"""What an index over the vectors of a memory would bring, measured on a copy of some of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from holdfast.core.executor import Executor
from holdfast.core.rows import count_argument
from holdfast.core.transaction import Transaction
from holdfast.engines.base import OwnedVector
from holdfast.engines.nearest import VectorIndex, VectorIndexing, VectorTarget
from holdfast.errors import ConfigurationError, InvalidQuery
from holdfast.memory.matrix import matrix_of
from holdfast.memory.records import Vector
from holdfast.memory.rows import Shape
from holdfast.memory.scope import Scope

_COPY = "hf_advice"
_QUICK = 20.0
_ENOUGH = 0.99


@dataclass(frozen=True, slots=True)
class Way:
    """One way to search: the share of the true answers it found, and what it costs.

    ``milliseconds`` is the median of a query, ``seconds`` what building took, ``bytes`` the index's size.
    """

    name: str
    recall: float
    milliseconds: float
    seconds: float = 0.0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Advice:
    """What was measured on ``measured`` of ``count`` vectors, and in words what follows from it."""

    ways: list[Way]
    k: int
    measured: int
    count: int

    def __str__(self) -> str:
        lines = [
            f"{way.name}: recall@{self.k} {way.recall:.3f}, {way.milliseconds:.2f} ms a query"
            + (f", built in {way.seconds:.1f} s, {way.bytes / 2**20:.1f} MiB" if way.bytes else "")
            for way in self.ways
        ]
        return "\n".join([f"measured on {self.measured} of {self.count} vectors", *lines, self.verdict])

    @property
    def verdict(self) -> str:
        """What to do."""
        exact = self.ways[0].milliseconds * self.count / max(self.measured, 1)
        said = f"comparing all {self.count} takes about {exact:.0f} ms"
        if exact <= _QUICK:
            return f"{said}: no index is needed"
        good = [way for way in self.ways[1:] if way.recall >= _ENOUGH]
        if not good:
            return f"{said}: no index that was measured finds enough"
        return f"{said}, with an index {good[-1].milliseconds:.1f} ms: create_vector_index() builds it"


@dataclass(frozen=True, slots=True)
class Measure:
    """How much is measured: the nearest ``k``, of so many ``queries``, among a ``sample``."""

    k: int
    queries: int
    sample: int

    def __post_init__(self) -> None:
        for name in ("k", "queries", "sample"):
            if count_argument(name, getattr(self, name)) == 0:
                raise InvalidQuery(f"{name} must be at least 1")


def advise(executor: Executor, shape: Shape, scope: Scope, measure: Measure) -> Advice:
    """Measure; in one transaction on PostgreSQL, which keeps nothing."""
    vectors, layout, own = executor.engine.vectors, shape.layout, shape.vectors
    sql, given = scope.condition(own)
    within = f'{own} WHERE {sql} AND {own}."model" = ?'
    given = [*given, layout.model]
    count = int(executor.scalar(f"SELECT count(*) FROM {within}", given))
    if count < 2 * measure.queries:
        raise ConfigurationError(
            f"with {count} vectors there is nothing to measure", hint="queries= takes a smaller number"
        )
    stored = vectors.read(layout.vector_kind, f'{own}."embedding"')
    rows = executor.rows(
        f'SELECT "n", "id", {stored} FROM {within} ORDER BY random() LIMIT ?',
        [*given, measure.sample + measure.queries],
    )
    asked = [vectors.decode(layout.vector_kind, row[2]) for row in rows[: measure.queries]]
    matrix = matrix_of(executor, shape, rows[measure.queries :])
    took, true = _asked(asked, lambda vector: [n for n, _ in matrix.nearest(vector, measure.k, None)])
    ways = [Way("exact", 1.0, took)]
    indexes = executor.engine.vector_index
    distance = vectors.distance(layout.vector_kind, '"embedding"')
    if indexes is not None and distance is not None:
        with Transaction(executor):
            target = _copied(executor, shape, rows[measure.queries :], len(asked[0]))
            ways = _measured(executor, indexes, target, asked, true, measure.k)
            executor.run(f'DROP TABLE "{_COPY}"')
    return Advice(ways, measure.k, len(matrix.numbers), count)


def _copied(executor: Executor, shape: Shape, rows: Sequence[Any], dimension: int) -> VectorTarget:
    layout, vectors = shape.layout, executor.engine.vectors
    executor.run(f'CREATE TEMP TABLE "{_COPY}" (LIKE {shape.vectors}) ON COMMIT DROP')
    owned = [
        OwnedVector(n, "", None, id, layout.model, vectors.decode(layout.vector_kind, stored))
        for n, id, stored in rows
    ]
    executor.drive(lambda raw: vectors.put(raw, f'"{_COPY}"', layout.vector_kind, owned))
    executor.run(f'ANALYZE "{_COPY}"')
    return VectorTarget(_COPY, layout.model, dimension)


def _measured(
    executor: Executor,
    indexes: VectorIndexing,
    target: VectorTarget,
    asked: Sequence[Vector],
    true: Sequence[Sequence[int]],
    k: int,
) -> list[Way]:
    vectors = executor.engine.vectors

    def by(index: VectorIndex) -> Callable[[Vector], list[int]]:
        def ask(vector: Vector) -> list[int]:
            sql, given = indexes.nearest(target, index, f'"{_COPY}"', ("TRUE", []), vectors.asked(vector), k)
            return [row[0] for row in executor.rows(sql, given)]

        return ask

    name = indexes.name(target)
    found = [Way("exact", 1.0, _asked(asked, by(VectorIndex(name)))[0])]
    for noun, is_halved in (("HNSW", False), ("HNSW over halves", True)):
        index = VectorIndex(name, is_halved=is_halved)
        begun = time.perf_counter()
        indexes.create(executor.run, target, index, beside=False)
        seconds = time.perf_counter() - begun
        took, answers = _asked(asked, by(index))
        recall = float(
            np.mean([len({*got} & {*want}) / len(want) for got, want in zip(answers, true, strict=True)])
        )
        found.append(Way(noun, recall, took, seconds, indexes.size(executor.run, index)))
    return found


def _asked(asked: Sequence[Vector], ask: Callable[[Vector], list[int]]) -> tuple[float, list[list[int]]]:
    """The median milliseconds of the queries, and their answers."""
    took, answers = [], []
    for vector in asked:
        begun = time.perf_counter()
        answers.append(ask(vector))
        took.append(1000 * (time.perf_counter() - begun))
    return statistics.median(took), answers
