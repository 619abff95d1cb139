"""Exact search by vector where the database has none: a tenant's vectors as a matrix, kept until a write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from holdfast.core.executor import Executor
from holdfast.memory.records import Vector
from holdfast.memory.rows import Shape
from holdfast.memory.scope import Scope

# Fewer rows than one in so many are gathered before they are compared.
_SPARSE = 4
# How far a float32 product may be from the true one.
_NOISE = 1e-5
# So many vectors fit into the processor's cache.
_AT_ONCE = 512


def product(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    """``left @ right`` of finite numbers."""
    # OpenBLAS may also compute with what lies beside them, and NumPy warns of that (numpy/numpy#24067).
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        found: NDArray[Any] = left @ right
    return found


@dataclass(frozen=True, slots=True)
class Matrix:
    """The vectors of a tenant, each of length one, with the numbers and the ids of their memories."""

    numbers: NDArray[np.int64]
    ids: list[str]
    directions: Vector

    def nearest(self, vector: Vector, count: int, among: Sequence[int] | None) -> list[tuple[int, float]]:
        """The nearest memories and their cosine distances, ties by id; ``among`` are the ones allowed."""
        asked = vector.astype(np.float64)
        asked /= np.linalg.norm(asked)
        places = None if among is None else self._places(among)
        likeness = self._likeness(asked.astype(np.float32), places)
        if count < len(likeness):
            least = np.partition(likeness, len(likeness) - count)[len(likeness) - count]
            some = np.flatnonzero(likeness >= least - _NOISE)
        else:
            some = np.arange(len(likeness))
        if places is not None:
            some = places[some]
        exact = self.directions[some].astype(np.float64)
        distances = 1.0 - product(exact, asked) / np.linalg.norm(exact, axis=1)
        found = sorted(zip(distances.tolist(), some.tolist(), strict=True), key=self._order)
        return [(int(self.numbers[place]), distance) for distance, place in found[:count]]

    def _order(self, found: tuple[float, int]) -> tuple[float, str]:
        # Equal vectors differ in the last digits.
        return round(found[0], 9), self.ids[found[1]]

    def _places(self, among: Sequence[int]) -> NDArray[np.int64]:
        given = np.array(among, dtype=np.int64)
        places = np.searchsorted(self.numbers, given)
        places = np.minimum(places, len(self.numbers) - 1)
        found: NDArray[np.int64] = places[self.numbers[places] == given]
        return found

    def _likeness(self, asked: Vector, places: NDArray[np.int64] | None) -> Vector:
        if places is None:
            return product(self.directions, asked)
        if len(places) * _SPARSE < len(self.numbers):
            return product(self.directions[places], asked)
        found: Vector = product(self.directions, asked)[places]
        return found


class Matrices:
    """The matrices of one store for each connection, as nobody else can say that they are still true."""

    def __init__(self) -> None:
        self._kept: WeakKeyDictionary[Any, tuple[Any, dict[str, Matrix | None]]] = WeakKeyDictionary()

    def matrix(self, executor: Executor, shape: Shape, scope: Scope) -> Matrix | None:
        """The matrix of all vectors of a model; ``None`` where there are none."""
        state: Callable[[Any], Any] = executor.engine.vectors.state
        raw = executor.driver_connection()
        now = (executor.drive(state), shape.layout.table)
        model, kept = shape.layout.model, self._kept.get(raw)
        matrices = kept[1] if kept is not None and kept[0] == now else {}
        if model not in matrices:
            if not matrices:
                self._kept.pop(raw, None)
            matrix = _read(executor, shape, scope)
            # What a transaction has written may not be kept in the end.
            if executor.in_transaction:
                return matrix
            matrices[model] = matrix
            self._kept[raw] = (now, matrices)
        return matrices[model]


def _read(executor: Executor, shape: Shape, scope: Scope) -> Matrix | None:
    vectors, layout = executor.engine.vectors, shape.layout
    stored = vectors.read(layout.vector_kind, f'{shape.vectors}."embedding"')
    sql, given = scope.condition(shape.vectors)
    found: Matrix = executor.fetch(
        executor.native(f'SELECT "n", "id", {stored} FROM {shape.vectors} WHERE {sql} AND "model" = ?'),
        [*given, layout.model],
        lambda cursor: _joined(executor, shape, iter(partial(cursor.fetchmany, _AT_ONCE), [])),
    )
    return found if found.ids else None


def matrix_of(executor: Executor, shape: Shape, rows: Sequence[Any]) -> Matrix:
    """A matrix of rows of a number, an id and a stored vector."""
    starts = range(0, len(rows), _AT_ONCE)
    return _joined(executor, shape, (rows[start : start + _AT_ONCE] for start in starts))


def _joined(executor: Executor, shape: Shape, portions: Iterable[Sequence[Any]]) -> Matrix:
    decode, kind = executor.engine.vectors.decode_many, shape.layout.vector_kind
    numbers: list[int] = []
    ids: list[str] = []
    # It grows where it is; an array would be copied, and need as much again.
    data, width = bytearray(), 0
    for rows in portions:
        found = decode(kind, [row[2] for row in rows])
        width = found.shape[1]
        data += (found / np.linalg.norm(found, axis=1, keepdims=True)).data
        numbers += [row[0] for row in rows]
        ids += [row[1] for row in rows]
    directions = np.frombuffer(data, dtype=np.float32).reshape(len(numbers), width)
    return _sorted(Matrix(np.array(numbers, dtype=np.int64), ids, directions))


def _sorted(matrix: Matrix) -> Matrix:
    """By number. The database would sort the vectors with them; most often they are in order already."""
    numbers = matrix.numbers
    if (numbers[:-1] < numbers[1:]).all():
        return matrix
    order = np.argsort(numbers)
    return Matrix(numbers[order], [matrix.ids[place] for place in order], matrix.directions[order])
