"""How memories are read: those of a tenant that satisfy a condition, in the order of their making."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from holdfast.core.executor import Executor
from holdfast.core.rows import count_argument
from holdfast.engines.base import Fragment
from holdfast.errors import InvalidQuery
from holdfast.memory import indexing, tables
from holdfast.memory.filters import Filters, compiled
from holdfast.memory.paging import Page, beyond, cursor_of
from holdfast.memory.records import Record, as_moment, microseconds
from holdfast.memory.rows import Shape
from holdfast.memory.scope import Scope


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads one store for one tenant."""

    executor: Executor
    shape: Shape
    scope: Scope

    def filter(self, filters: Filters) -> Fragment:
        """A filter as a condition."""
        is_indexed = partial(indexing.has_index, self.executor, self.shape.layout)
        return compiled(self.executor.engine, self.shape.table, filters, is_indexed)

    def within(self, condition: Fragment) -> Fragment:
        """A condition, and that of the tenant, which nothing leaves out; nothing that expired, either."""
        sql, given = self.scope.present(self.shape.table)
        return f"{sql} AND ({condition[0]})", [*given, *condition[1]]

    def records(
        self, condition: Fragment, *, limit: int | None = None, reverse: bool = False
    ) -> list[Record]:
        """The memories that satisfy a condition, the oldest first or with ``reverse`` the newest."""
        shape, direction = self.shape, "DESC" if reverse else "ASC"
        sql, given = self.within(condition)
        text = (
            f"SELECT {shape.listing} FROM {shape.source} WHERE {sql} "
            f'ORDER BY {shape.table}."created_at" {direction}, {shape.table}."id" {direction}'
        )
        values: list[Any] = [shape.layout.model, *given]
        if limit is not None:
            text += " LIMIT ?"
            values.append(count_argument("limit", limit))
        return [shape.record(row) for row in self.executor.rows(text, values)]

    def page(self, after: str | None, limit: int, reverse: bool, filters: Filters) -> Page:
        """The memories after a cursor."""
        if count_argument("limit", limit) == 0:
            raise InvalidQuery("limit must be at least 1")
        sql, given = self.filter(filters)
        place, values = beyond(self.shape.table, after, reverse=reverse)
        # One more shows whether there is a next page.
        found = self.records((f"{sql} AND {place}", [*given, *values]), limit=limit + 1, reverse=reverse)
        is_last = len(found) <= limit
        return Page(found[:limit], None if is_last else cursor_of(found[limit - 1]))

    def between(
        self, start: datetime | None, end: datetime | None, filters: Filters, limit: int | None
    ) -> list[Record]:
        """The memories made between two times, both included."""
        sql, given = self.filter(filters)
        for operator, moment, noun in ((">=", start, "start"), ("<=", end, "end")):
            if moment is not None:
                sql += f' AND {self.shape.table}."created_at" {operator} ?'
                given.append(microseconds(as_moment(moment, noun)))
        return self.records((sql, given), limit=limit)

    def size(self, filters: Filters) -> int:
        """How many memories satisfy a filter."""
        sql, given = self.within(self.filter(filters))
        return int(self.executor.scalar(f"SELECT count(*) FROM {self.shape.table} WHERE {sql}", given))

    def data_sources(self) -> list[str]:
        """The different values of ``data_source``, sorted."""
        table = self.shape.table
        sql, given = self.within((f'{table}."data_source" IS NOT NULL', []))
        rows = self.executor.rows(f'SELECT DISTINCT {table}."data_source" FROM {table} WHERE {sql}', given)
        return sorted(name for (name,) in rows)

    def loaded_data(self) -> list[str]:
        """The names of the stores here that hold passages of this user which are no agent's own."""
        names = []
        for layout in tables.stores(self.executor):
            quoted = self.executor.engine.quote(layout.table)
            sql, given = Scope(self.scope.user_id, None).present(quoted)
            found = self.executor.rows(
                f'SELECT 1 FROM {quoted} WHERE {sql} AND {quoted}."agent_id" IS NULL '
                f"AND {quoted}.\"kind\" = 'passage' LIMIT 1",
                given,
            )
            if found and layout.name not in names:
                names.append(layout.name)
        return names
