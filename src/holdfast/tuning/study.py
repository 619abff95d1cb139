"""The statements of a workload, read, and what the database itself says of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from holdfast.core.executor import Executor
from holdfast.core.query import bound
from holdfast.core.transaction import Transaction
from holdfast.engines.plans import Step
from holdfast.errors import Error, InvalidQuery
from holdfast.tuning.candidates import Candidate
from holdfast.tuning.expressions import Expression, Place
from holdfast.tuning.slow_log import Asked
from holdfast.tuning.statement import Parsed, Write, parsed
from holdfast.tuning.trials import Query, definition, planned

_FAR = 50_000
_BEGINNING = 3


class Study:
    """The statements, read, and what the database itself says of them."""

    def __init__(self, executor: Executor, asked: Mapping[str, Asked], skipped: dict[str, str]) -> None:
        self._executor = executor
        catalog = executor.engine.catalog
        schema = {table: list(executor.describe(table).names) for table in catalog.tables(executor.run)}
        home = executor.engine.plans.home(executor.run)
        self.queries: list[Query] = []
        self.writes: dict[Write, int] = {}
        self._rows: dict[str, dict[str, Any]] = {}
        for name, one in asked.items():
            try:
                read = parsed(
                    one.sql,
                    executor.engine.lexicon,
                    executor.engine.name,
                    schema,
                    executor.engine.plans.WAYS,
                    home=home,
                )
            except InvalidQuery as exc:
                skipped[name] = exc.message
                continue
            if read.write is not None:
                self.writes[read.write] = self.writes.get(read.write, 0) + one.written
            if read.sql is not None and read.tables:
                self._add(name, one, read, skipped)
            elif read.sql is not None:
                skipped[name] = "it reads no table that is here"
            if read.write is not None and read.write.verb == "delete":
                for child, look in self._referring(read.write.table, schema):
                    self._add(f"{name}, which looks for its rows in {child}", one, look, skipped)
        self.tables = sorted({table for query in self.queries for table in query.tables})

    def _add(self, name: str, asked: Asked, read: Parsed, skipped: dict[str, str]) -> None:
        assert read.sql is not None
        try:
            native, values = bound(self._executor, read.sql, self._values(read))
        except Error as exc:
            skipped[name] = exc.message
            return
        self.queries.append(
            Query(
                name,
                native,
                values,
                frozenset(map(self._possible, read.candidates)),
                read.tables,
                asked.calls,
                asked.is_fixed,
                read.patterns,
            )
        )

    def _possible(self, one: Candidate) -> Candidate:
        """Where an index cannot include columns, they come last among those that it is read by."""
        if self._executor.engine.features.includes_columns:
            return one
        return replace(one, columns=(*one.columns, *one.include), include=())

    def _values(self, one: Parsed) -> dict[str, Any]:
        """Values for the marks, of a row in the middle of what they are compared with; none is ever kept."""
        # A LIMIT, or something that is computed, has no such place.
        return {mark: 10 if place is None else self._value(place) for mark, place in one.marks.items()}

    def _value(self, place: Place) -> Any:
        value = None if isinstance(place.key, Expression) else self._row(place.table).get(place.key)
        if value is None:
            value = self._some(place.table, place.key)
        return value if place.ending is None or value is None else str(value)[:_BEGINNING] + place.ending

    def _some(self, table: str, key: str) -> Any:
        """What an expression, or a column that is seldom filled, has in one of its rows."""
        quote = self._executor.engine.quote
        sql = key.value if isinstance(key, Expression) else quote(key)
        rows = self._executor.run(
            f"SELECT {sql} FROM (SELECT * FROM {quote(table)} LIMIT {_FAR}) AS part WHERE {sql} IS NOT NULL "
            f"LIMIT 1"
        ).fetchall()
        return rows[0][0] if rows else None

    def _row(self, table: str) -> dict[str, Any]:
        if table not in self._rows:
            run, quoted = self._executor.run, self._executor.engine.quote(table)
            names = self._executor.describe(table).names
            count = f"SELECT count(*) FROM (SELECT 1 FROM {quoted} LIMIT {_FAR}) AS counted"
            middle = int(run(count).fetchall()[0][0]) // 2
            columns = ", ".join(map(self._executor.engine.quote, names))
            rows = run(f"SELECT {columns} FROM {quoted} LIMIT 1 OFFSET {middle:d}").fetchall()
            self._rows[table] = dict(zip(names, rows[0], strict=True)) if rows else {}
        return self._rows[table]

    def _referring(self, parent: str, schema: Iterable[str]) -> Iterator[tuple[str, Parsed]]:
        """What a database looks for before it lets a row go: those that refer to it."""
        catalog, quote = self._executor.engine.catalog, self._executor.engine.quote
        for child in schema:
            for key in catalog.foreign_keys(self._executor.run, child):
                if key["references"] != parent:
                    continue
                columns = tuple(key["columns"])
                terms = " AND ".join(f"{quote(column)} = :p{n}" for n, column in enumerate(columns))
                marks = {f"p{n}": Place(child, column) for n, column in enumerate(columns)}
                sql = f"SELECT 1 FROM {quote(child)} WHERE {terms}"
                yield child, Parsed((Candidate(child, columns),), sql, marks, frozenset({child}))

    def indexes(self) -> list[dict[str, Any]]:
        every = self._executor.engine.catalog.indexes(self._executor.run, None)
        return [index for index in every if index["table"] in self.tables]

    def as_it_is(self) -> dict[str, Step]:
        """How the statements are run now, by what the planner knows."""
        return {
            query.name: step
            for query in self.queries
            if (step := apart(self._executor, lambda q=query: self._planned(q))) is not None
        }

    def _planned(self, query: Query) -> Step:
        return planned(self._executor, self._executor.send, query)

    def wanted(self) -> list[Candidate]:
        """The candidates, without those that the planner would leave alone, where it can be asked."""
        every = {candidate for query in self.queries for candidate in query.candidates}
        # Of those that do the same the first is taken: a plain one.
        ordered = sorted(every, key=lambda c: (c.table, _computed(c), c.columns, c.include, c.where or ""))
        imagine = self._executor.engine.plans.imagining(self._executor.send)
        if imagine is None:
            return ordered
        return [candidate for candidate in ordered if self._is_used(candidate, imagine)]

    def _is_used(self, candidate: Candidate, imagine: Any) -> bool:
        asked = [query for query in self.queries if candidate in query.candidates]

        def ask() -> bool:
            with imagine(definition(self._executor, candidate, "hf_imagined")) as name:
                return any(step.index == name for query in asked for step in self._planned(query).walk())

        # It cannot imagine every kind; what it cannot is tried.
        return apart(self._executor, ask) is not False


def _computed(candidate: Candidate) -> int:
    return sum(isinstance(key, Expression) for key in candidate.columns)


class _Done(Exception):
    """Ends a transaction that nothing is to be kept of."""


def apart(executor: Executor, action: Any) -> Any:
    """What ``action`` gives, in a transaction that is taken back; ``None`` where the database refuses."""
    found = None
    try:
        with Transaction(executor, read_only=True):
            found = action()
            raise _Done
    except (_Done, Error):
        return found
