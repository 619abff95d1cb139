"""How good and how fast the search by vector is, on the user's own memories."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import InvalidQuery
from holdfast.memory.matrix import product
from holdfast.memory.records import Vector
from holdfast.memory.sql_store import SQLStore

_AT_ONCE = 5_000
# How far a distance in float32 may be from the true one.
_NOISE = 1e-5


@dataclass(frozen=True, slots=True)
class Recall:
    """How much of the ``k`` nearest a search finds, and the median milliseconds of one search.

    ``compared_ms`` is what reading and comparing all vectors took for each query, many at a time.
    """

    k: int
    queries: int
    vectors: int
    recall: float
    search_ms: float
    compared_ms: float

    def __str__(self) -> str:
        return (
            f"recall@{self.k} {self.recall:.4f} over {self.queries} queries in {self.vectors:,} vectors; "
            f"a search takes {self.search_ms:.1f} ms"
        )


def measure_recall(store: SQLStore, *, k: int = 10, queries: int = 100) -> Recall:
    """Take memories as queries, and compare what a search by vector finds with what is nearest.

    All vectors of this user's current model are read and compared here, outside of any index. Of memories
    that are equally far it does not matter which one is found.

    Raises:
        InvalidQuery: if there are no vectors.
        NotSupported: if this server has no pgvector.
    """
    model = next((model.name for model in store.models() if model.is_current), "")
    asked = list(sampled(store, model, queries))
    if not asked:
        raise InvalidQuery("there are no vectors to search", hint="give the memory an embedder")
    begun = perf_counter()
    bounds, count = _bounds(store, model, np.array([vector for _, vector in asked], dtype=np.float64), k)
    compared = (perf_counter() - begun) / len(asked)
    found, times = 0, []
    for (_, vector), bound in zip(asked, bounds, strict=True):
        begun = perf_counter()
        hits = store.query(vector=vector, top_k=k)
        times.append(perf_counter() - begun)
        found += sum(hit.distance is not None and hit.distance <= bound + _NOISE for hit in hits)
    share = float(found / (len(asked) * min(k, count)))
    return Recall(k, len(asked), count, share, median(times) * 1000, compared * 1000)


def sampled(store: SQLStore, model: str, count: int) -> Iterator[tuple[UUID, Vector]]:
    """Some memories of this user that have a vector of a model, from all over, with it."""
    shape, executor = store._shape(), store._executor
    sql, given = store._scope.condition(shape.vectors)
    counting = f'SELECT count(*) FROM {shape.vectors} WHERE {sql} AND "model" = ?'
    total = executor.scalar(counting, [*given, model])
    step = max(1, total // count)
    numbers = executor.rows(
        f'SELECT "n" FROM (SELECT "n", row_number() OVER (ORDER BY "n") AS place FROM {shape.vectors} '
        f'WHERE {sql} AND "model" = ?) AS numbered WHERE place % ? = 0 ORDER BY "n" LIMIT ?',
        [*given, model, step, count],
    )
    for (n,) in numbers:
        for id, vector in _read(store, model, "= ?", [n]):
            yield UUID(id), vector


def vector_by(store: SQLStore, id: UUID, model: str) -> Vector | None:
    """The vector of a memory by a model."""
    found = list(_read(store, model, 'IS NOT NULL AND "id" = ?', [str(id)]))
    return found[0][1] if found else None


def _bounds(
    store: SQLStore, model: str, asked: NDArray[np.float64], k: int
) -> tuple[NDArray[np.float64], int]:
    """How far the last of the ``k`` nearest is from each query, and how many vectors there are."""
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    best = np.empty((len(asked), 0))
    count, last = 0, -1
    while True:
        rows = list(_read(store, model, f'> ? ORDER BY "n" LIMIT {_AT_ONCE}', [last], numbers=True))
        if not rows:
            break
        last, count = rows[-1][0], count + len(rows)
        some = np.array([vector for _, vector in rows], dtype=np.float64)
        some /= np.linalg.norm(some, axis=1, keepdims=True)
        best = np.sort(np.hstack([best, 1.0 - product(asked, some.T)]), axis=1)[:, :k]
    return best[:, -1], count


def _read(
    store: SQLStore, model: str, which: str, given: list[Any], *, numbers: bool = False
) -> Iterator[tuple[Any, Vector]]:
    shape, vectors = store._shape(), store._executor.engine.vectors
    stored = vectors.read(shape.layout.vector_kind, f'{shape.vectors}."embedding"')
    sql, tenant = store._scope.condition(shape.vectors)
    key = '"n"' if numbers else '"id"'
    for found, vector in store._executor.rows(
        f'SELECT {key}, {stored} FROM {shape.vectors} WHERE {sql} AND "model" = ? AND "n" {which}',
        [*tenant, model, *given],
    ):
        yield found, vectors.decode(shape.layout.vector_kind, vector)
