"""The vectors of one store by their models: written beside those in use, and then made the current ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from holdfast.core.executor import Executor
from holdfast.core.transaction import Transaction
from holdfast.engines.base import OwnedVector
from holdfast.errors import ConfigurationError, InvalidQuery, ValueRefused, did_you_mean
from holdfast.memory import tables
from holdfast.memory.records import Vector
from holdfast.memory.rows import Shape
from holdfast.memory.scope import unexpired


@dataclass(frozen=True, slots=True)
class Model:
    """A model of which a store has vectors: its name, their dimension and how many there are."""

    name: str
    dimension: int
    count: int
    is_current: bool


class Text(NamedTuple):
    """The text of a memory, with the number and the version that its vector is written for."""

    n: int
    written_at: int
    text: str


@dataclass(frozen=True, slots=True)
class Models:
    """Works on the vectors of a whole store, whoever they belong to; nothing of theirs is handed out."""

    executor: Executor
    shape: Shape

    def all(self) -> list[Model]:
        """The models of this store, by name."""
        layout, vectors = self.shape.layout, self.shape.vectors
        current = self.executor.scalar(f"SELECT {tables.CURRENT_MODEL}", [layout.table])
        rows = self.executor.rows(f'SELECT "model", count(*) FROM {vectors} GROUP BY "model"')
        counts: dict[str, int] = dict(rows)
        return [
            Model(name, dimension, counts.get(name, 0), name == current)
            for name, dimension in tables.dimensions(self.executor, layout).items()
        ]

    def missing(self, model: str, after: int = 0, limit: int = 500) -> list[Text]:
        """The next memories with a text and no vector of ``model``, by their numbers."""
        table, vectors = self.shape.table, self.shape.vectors
        alive, moment = unexpired(table)
        rows = self.executor.rows(
            f'SELECT {table}."n", {table}."written_at", {table}."text" FROM {table} '
            f'WHERE {table}."n" > ? AND {table}."text" <> \'\' AND {alive} AND NOT EXISTS '
            f'(SELECT 1 FROM {vectors} WHERE {vectors}."n" = {table}."n" AND {vectors}."model" = ?) '
            f'ORDER BY {table}."n" LIMIT ?',
            [after, *moment, model, limit],
        )
        return [Text(*row) for row in rows]

    def add(self, model: str, given: Sequence[tuple[Text, Vector]]) -> int:
        """Write vectors of ``model`` for texts from :meth:`missing`; return for how many.

        Left out is what has changed or gone meanwhile, or has got its vector.

        Raises:
            ValueRefused: if a vector has another dimension than the others of the model.
        """
        if not given:
            return 0
        layout = dataclasses.replace(self.shape.layout, model=model)
        vectors = {text.n: (text.written_at, vector) for text, vector in given}
        with Transaction(self.executor):
            self._settle(layout, [vector for _, vector in given])
            table, marks = self.shape.table, ", ".join("?" * len(vectors))
            known = self.executor.rows(
                f'SELECT {table}."n", "user_id", "agent_id", "id", "written_at" FROM {table} '
                f'WHERE {table}."n" IN ({marks}) AND NOT EXISTS (SELECT 1 FROM {self.shape.vectors} AS v '
                f'WHERE v."n" = {table}."n" AND v."model" = ?){self.executor.engine.features.row_locks}',
                [*vectors, model],
            )
            rows = [
                OwnedVector(n, user_id, agent_id, id, model, vectors[n][1])
                for n, user_id, agent_id, id, written_at in known
                if written_at == vectors[n][0]
            ]
            put = self.executor.engine.vectors.put
            self.executor.drive(lambda raw: put(raw, self.shape.vectors, layout.vector_kind, rows))
        return len(rows)

    def _settle(self, layout: tables.Layout, vectors: Sequence[Vector]) -> None:
        known = tables.dimensions(self.executor, layout).get(layout.model)
        known = known or tables.set_dimension(self.executor, layout, len(vectors[0]))
        if wrong := [vector for vector in vectors if len(vector) != known]:
            raise ValueRefused(
                f"a vector of {layout.model!r} has {len(wrong[0])} numbers, and its others have {known}"
            )

    def switch(self, model: str, *, partly: bool = False) -> None:
        """Make ``model`` the current one, while nobody writes.

        Raises:
            ConfigurationError: if memories that have a vector have none of this model, unless ``partly``.
        """
        layout, vectors = self.shape.layout, self.shape.vectors
        with Transaction(self.executor):
            self._known(model)
            self.executor.engine.alter.hold(self.executor.run, layout.table)
            lacking = self.executor.scalar(
                f'SELECT count(*) FROM {vectors} WHERE "model" = {tables.CURRENT_MODEL} AND NOT EXISTS '
                f'(SELECT 1 FROM {vectors} AS other WHERE other."n" = {vectors}."n" AND other."model" = ?)',
                [layout.table, model],
            )
            if lacking and not partly:
                raise ConfigurationError(
                    f"{lacking} memories of {layout.name!r} have no vector of the model {model!r} yet",
                    hint="embed them first",
                )
            self.executor.run(
                f'UPDATE "{tables.STORES}" SET "model" = ? WHERE "table_name" = ?', (model, layout.table)
            )
        self.executor.forget()

    def drop(self, model: str) -> int:
        """Remove the vectors of a model that is not the current one; return how many there were.

        Raises:
            ConfigurationError: for the current one.
        """
        layout = self.shape.layout
        with Transaction(self.executor):
            self._known(model)
            if model == self.executor.scalar(f"SELECT {tables.CURRENT_MODEL}", [layout.table]):
                raise ConfigurationError(
                    f"{model!r} is the current model", hint="switch to another one first"
                )
            count = self.executor.run(f'DELETE FROM {self.shape.vectors} WHERE "model" = ?', [model]).rowcount
            self.executor.run(
                f'DELETE FROM "{tables.MODELS}" WHERE "table_name" = ? AND "model" = ?', (layout.table, model)
            )
        self.executor.forget()
        return int(count)

    def _known(self, model: str) -> int:
        """The dimension of a model.

        Raises:
            InvalidQuery: if the store has no vectors of it.
        """
        found = tables.dimensions(self.executor, self.shape.layout)
        if model not in found:
            raise InvalidQuery(
                f"this memory has no vectors of the model {model!r}",
                hint=did_you_mean(str(model), sorted(found), "models"),
            )
        return found[model]

    def layout(self, model: str) -> tables.Layout:
        """The layout as it is for one of the models.

        Raises:
            InvalidQuery: if the store has no vectors of it.
        """
        return dataclasses.replace(self.shape.layout, model=model, dimension=self._known(model))
