"""Items by how near they are in meaning, each by the nearest of its vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from holdfast.core.executor import Executor
from holdfast.engines.base import Fragment
from holdfast.memory.langgraph.tables import ITEMS, VECTORS
from holdfast.memory.matrix import Matrix
from holdfast.memory.records import Vector

Ranked = list[tuple[int, float | None]]
"""The numbers of items, the most alike first, with the cosine; those without a vector last, with ``None``."""


class Likeness:
    """Ranks items by the cosine to a vector: in the database if it can, else in a matrix of this process."""

    def __init__(self, executor: Executor, kind: str, model: str) -> None:
        self._executor, self._kind, self._model = executor, kind, model
        self._vectors = executor.engine.vectors
        # For each connection, as nobody else can say that it is still true.
        self._kept: WeakKeyDictionary[Any, tuple[Any, Matrix]] = WeakKeyDictionary()

    def ranked(self, condition: Fragment, vector: Vector, count: int) -> Ranked:
        """The first ``count`` of the items that satisfy a condition; all of them are compared."""
        distance = self._vectors.distance(self._kind, 'v."embedding"')
        if distance is None:
            return self._by_matrix(condition, vector, count)
        sql, given = condition
        rows = self._executor.rows(
            f'SELECT "{ITEMS}"."n", min({distance}) FROM "{ITEMS}" '
            f'LEFT JOIN "{VECTORS}" AS v ON v."n" = "{ITEMS}"."n" AND v."model" = ? '
            f'WHERE {sql} GROUP BY "{ITEMS}"."n" ORDER BY 2 NULLS LAST, 1 LIMIT ?',
            [self._vectors.asked(vector), self._model, *given, count],
        )
        return [(n, None if far is None else 1.0 - far) for n, far in rows]

    def _by_matrix(self, condition: Fragment, vector: Vector, count: int) -> Ranked:
        sql, given = condition
        rows = self._executor.rows(
            f'SELECT "{ITEMS}"."n", v."v" FROM "{ITEMS}" '
            f'LEFT JOIN "{VECTORS}" AS v ON v."n" = "{ITEMS}"."n" AND v."model" = ? '
            f'WHERE {sql} ORDER BY "{ITEMS}"."n"',
            [self._model, *given],
        )
        item_of = {v: n for n, v in rows if v is not None}
        ranked: dict[int, float | None] = dict(self._nearest(item_of, vector, count))
        for n, v in rows:
            if len(ranked) >= count:
                break
            if v is None:
                ranked[n] = None
        return list(ranked.items())[:count]

    def _nearest(self, item_of: dict[int, int], vector: Vector, count: int) -> dict[int, float]:
        best: dict[int, float] = {}
        if not item_of or not count:
            return best
        matrix, tries = self._matrix(list(item_of)), count
        while len(matrix.numbers):
            found = matrix.nearest(vector, tries, list(item_of))
            best = {}
            for v, far in found:
                best.setdefault(item_of[v], 1.0 - far)
            # Items have several vectors: so many of the nearest may be of a few.
            if len(best) >= count or len(found) < tries:
                break
            tries *= 4
        return best

    def _matrix(self, wanted: Sequence[int]) -> Matrix:
        """A matrix that has at least the vectors of these numbers."""
        state = self._executor.drive(self._vectors.state)
        if state is None:
            # Nothing tells whether what was read is still true.
            return self._read(sorted(wanted))
        raw = self._executor.driver_connection()
        kept = self._kept.get(raw)
        if kept is not None and kept[0] == state:
            return kept[1]
        matrix = self._renewed(None if kept is None else kept[1])
        # What a transaction has written may not be kept in the end.
        if not self._executor.in_transaction:
            self._kept[raw] = (state, matrix)
        return matrix

    def _renewed(self, old: Matrix | None) -> Matrix:
        """The matrix of all vectors there are: numbers are not given twice, so only new ones are read."""
        rows = self._executor.rows(
            f'SELECT "v" FROM "{VECTORS}" WHERE "model" = ? ORDER BY "v"', [self._model]
        )
        numbers = np.array([v for (v,) in rows], dtype=np.int64)
        if old is None:
            return self._read(None)
        stays = np.isin(old.numbers, numbers)
        new = self._read(numbers[~np.isin(numbers, old.numbers)].tolist())
        if not stays.any():
            return new
        ids = [id for id, is_kept in zip(old.ids, stays.tolist(), strict=True) if is_kept]
        kept = old if stays.all() else Matrix(old.numbers[stays], ids, old.directions[stays])
        if not len(new.numbers):
            return kept
        return Matrix(
            np.concatenate([kept.numbers, new.numbers]),
            kept.ids + new.ids,
            np.concatenate([kept.directions, new.directions]),
        )

    def _read(self, numbers: list[int] | None) -> Matrix:
        stored = self._vectors.read(self._kind, '"embedding"')
        select = f'SELECT "v", "n", {stored} FROM "{VECTORS}" WHERE "model" = ?'
        rows: list[tuple[Any, ...]] = []
        if numbers is None:
            rows = self._executor.rows(f'{select} ORDER BY "v"', [self._model])
        else:
            for at in range(0, len(numbers), 1000):
                some = numbers[at : at + 1000]
                marks = ", ".join("?" * len(some))
                rows += self._executor.rows(
                    f'{select} AND "v" IN ({marks}) ORDER BY "v"', [self._model, *some]
                )
        if not rows:
            return Matrix(np.empty(0, dtype=np.int64), [], np.empty((0, 0), dtype=np.float32))
        found = np.stack([self._vectors.decode(self._kind, row[2]) for row in rows]).astype(np.float32)
        found /= np.linalg.norm(found, axis=1, keepdims=True)
        # Equal ones in the order in which their items came.
        ids = [f"{row[1]:020}" for row in rows]
        return Matrix(np.array([row[0] for row in rows], dtype=np.int64), ids, found)
