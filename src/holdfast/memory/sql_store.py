"""A store of memories in a SQL database: the verbs, for one user and perhaps one agent."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any
from uuid import UUID

from holdfast.core.executor import Executor
from holdfast.core.progress import track
from holdfast.core.rows import count_argument
from holdfast.core.transaction import Transaction
from holdfast.database import Database
from holdfast.engines.base import Fragment
from holdfast.errors import (
    ConfigurationError,
    InvalidQuery,
    NotFoundError,
    ValueRefused,
    WhereRequired,
    did_you_mean,
)
from holdfast.memory import tables
from holdfast.memory.filters import Filters, compiled
from holdfast.memory.history import Change, Historian, undone
from holdfast.memory.matrix import Matrices
from holdfast.memory.paging import Page, beyond, cursor_of
from holdfast.memory.records import (
    Record,
    Vector,
    as_id,
    as_moment,
    as_vector,
    microseconds,
    records_of,
)
from holdfast.memory.rows import Shape, changed
from holdfast.memory.scope import scope_of
from holdfast.memory.search import MODES, Hits, Question, Searcher, half_life_of
from holdfast.memory.writing import Writer
from holdfast.types.text import storable

Embed = Callable[[Sequence[str]], Any]
"""Takes texts and gives a vector for each; its attribute ``model``, if it has one, names the vectors."""
DEFAULT_MODEL = "default"


class SQLStore:
    """Memories in SQLite or PostgreSQL, of one user and where one is given of one agent.

    No filter, cursor, id or record reaches what is another's. Made from a ``Database`` it takes part in the
    transaction of the thread; made from a URL it has a database of its own, which :meth:`close` closes.
    """

    engine_name: str | None = None

    def __init__(
        self,
        kind: str,
        database: Database,
        *,
        user_id: str = "default",
        agent_id: str | None = None,
        name: str | None = None,
        dimension: int | None = None,
        embed: Embed | None = None,
        is_owner: bool = False,
    ) -> None:
        self._database, self._is_owner = database, is_owner
        self._executor: Executor = database._executor
        if self.engine_name not in (None, self._executor.engine.name):
            raise ConfigurationError(
                f"{type(self).__name__} works on another kind of database than {self._executor.engine.name}",
                hint="holdfast.memory.open() takes any",
            )
        self._scope = scope_of(user_id, agent_id)
        self._kind, self._name = kind, kind if name is None else name
        self._dimension, self._embed = _dimension(dimension), embed
        self._model = str(getattr(embed, "model", None) or DEFAULT_MODEL)
        self._agreed: int | None = None
        self._matrices = Matrices()
        self._shape()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name!r} in {self._database.url}>"

    def __enter__(self) -> SQLStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database, if it was opened for this memory alone."""
        if self._is_owner:
            self._database.close()

    @property
    def name(self) -> str:
        """The name of the memory, as it was given."""
        return self._name

    @property
    def table_name(self) -> str:
        """The table that the memory lies in, for :func:`get_db_model` and for looking at it."""
        return tables.table_name(self._kind, self._name)

    @property
    def user_id(self) -> str:
        """Whose memories these are."""
        return self._scope.user_id

    @property
    def agent_id(self) -> str | None:
        """The agent whose memories these are; ``None`` for all of the user's."""
        return self._scope.agent_id

    @property
    def dimension(self) -> int | None:
        """How many numbers a vector has; ``None`` until there is one."""
        known = self._dimension or self._agreed or self._shape().layout.dimension
        if known is None:
            layout = tables.found(self._executor, self._kind, self._name)
            known = None if layout is None else layout.dimension
        return known

    def _shape(self) -> Shape:
        """How rows are written and read, worked out once and again when the schema has changed."""
        key = ("memory", self._kind, self._name, self._model, self._dimension)
        shape: Shape | None = self._executor.plans.get(key)
        if shape is None:
            layout = tables.ensure(self._executor, self._kind, self._name, self._dimension, self._model)
            # Connections that were open before another process made the tables must learn of the search.
            self._executor.forget()
            if self._executor.in_transaction:
                # It may be that of a vector which is not kept in the end.
                layout = dataclasses.replace(layout, dimension=None)
            shape = self._executor.keep(key, Shape(self._executor, layout))
        return shape

    # Writing

    def insert(self, record: Record, exists_ok: bool = False) -> UUID:
        """Write a memory and return its id.

        A passage with a text that is there already is not written: the id of the first one is returned.
        Without an embedding the store's embedder makes one, before the transaction begins. With ``exists_ok``
        a memory of the same id becomes ``record``, and what it was stays in the history.

        Raises:
            AlreadyExists: if there is a memory of that id.
            ValueRefused: if the embedding has another dimension than the others.
        """
        return self._insert([record], exists_ok)[0]

    def upsert(self, record: Record) -> UUID:
        """Write a memory, or make the one of the same id ``record``: ``insert(record, exists_ok=True)``."""
        return self.insert(record, exists_ok=True)

    def insert_many(
        self, records: Iterable[Record], exists_ok: bool = False, progress: bool | None = False
    ) -> list[UUID]:
        """Write all memories or none and return their ids, as :meth:`insert` would.

        Raises:
            Error: with ``row_number``, counted from 1, of the record at fault.
        """
        given = records_of(records)
        with track(f"insert {self._name}", total=len(given), show=progress) as advance:
            ids = self._insert(given, exists_ok) if given else []
            if advance is not None:
                advance(len(ids))
        return ids

    def _insert(self, given: Sequence[Record], exists_ok: bool) -> list[UUID]:
        records = self._ready(given)
        writer = self._writer()
        with Transaction(self._executor):
            dimension = self._dimension_of(records)
            if len(records) == 1:
                ids = [writer.insert(records[0], exists_ok)]
            else:
                ids = writer.insert_many(records, exists_ok)
        self._agree_on(dimension)
        return ids

    def update(self, record: Record) -> UUID:
        """Make the memory of the same id ``record``; what it was stays in the history.

        Raises:
            NotFoundError: if there is none.
            AlreadyExists: if another passage has that text.
        """
        records = self._ready([record])
        with Transaction(self._executor):
            dimension = self._dimension_of(records)
            self._writer().update(records[0])
        self._agree_on(dimension)
        return records[0].id

    def delete(self, filters: Filters = None, *, all_rows: bool = False) -> int:
        """Remove the memories that satisfy ``filters``; return how many there were.

        Raises:
            WhereRequired: without filters, unless ``all_rows=True``.
        """
        if not filters and not all_rows:
            raise WhereRequired("delete() without filters would remove all", hint="all_rows=True means that")
        condition = compiled(self._executor.engine, self._shape().table, filters)
        with Transaction(self._executor):
            return self._writer().delete(condition)

    def delete_table(self) -> None:
        """Remove all memories of this user (and agent) with their history, and the table once it is empty."""
        shape, executor = self._shape(), self._executor
        with Transaction(executor):
            for table in (shape.layout.table, shape.layout.vectors, shape.layout.history):
                executor.engine.alter.hold(executor.run, table)
            for table in (shape.history, shape.table):
                sql, given = self._scope.condition(table)
                executor.run(f"DELETE FROM {table} WHERE {sql}", given)
            if not executor.rows(
                f"SELECT 1 FROM {shape.table} UNION ALL SELECT 1 FROM {shape.history} LIMIT 1"
            ):
                tables.drop(executor, shape.layout)

    def save(self) -> None:
        """Do nothing: what was written is kept already. It is there for code that calls it."""

    def _writer(self) -> Writer:
        return Writer(self._executor, self._shape(), self._scope)

    def _ready(self, given: Sequence[Record]) -> list[Record]:
        """The records as they will be stored: their owner filled in, their texts embedded."""
        records = []
        for number, record in enumerate(records_of(given), 1):
            try:
                records.append(self._scope.own(record))
            except ValueRefused as exc:
                exc.row_number = number
                raise
        if self._embed is not None:
            wanted = [at for at, record in enumerate(records) if _wants_vector(record)]
            vectors = self._vectors([getattr(records[at], "text", "") for at in wanted])
            for at, vector in zip(wanted, vectors, strict=True):
                records[at] = changed(records[at], embedding=vector)
        return records

    def _vectors(self, texts: Sequence[str]) -> list[Vector]:
        """What the embedder makes of texts, checked."""
        if not texts or self._embed is None:
            return []
        found = list(self._embed(list(texts)))
        if len(found) != len(texts):
            raise ValueRefused(f"the embedder gave {len(found)} vectors for {len(texts)} texts")
        return [as_vector(vector) for vector in found]

    def _dimension_of(self, records: Sequence[Record]) -> int | None:
        """The dimension of the store, which its first vector says; others are refused."""
        layout = self._shape().layout
        known = layout.dimension or self._agreed
        for number, record in enumerate(records, 1):
            vector: Vector | None = getattr(record, "embedding", None)
            if vector is None:
                continue
            if known is None:
                wanted = self._dimension or len(vector)
                known = tables.set_dimension(self._executor, layout, wanted)
            if len(vector) != known:
                error = ValueRefused(
                    f"the embedding has {len(vector)} numbers, and this memory's have {known}",
                    hint="an embedder of another model needs a memory of another name",
                )
                error.row_number = number
                raise error
        return known

    def _agree_on(self, dimension: int | None) -> None:
        if not self._executor.in_transaction:
            self._agreed = dimension

    # History

    def history(self, id: UUID | str) -> list[Change]:
        """Every change of a memory, the first one first: ``operation``, ``record`` and ``at``.

        Raises:
            NotFoundError: if this user has never had it.
        """
        changes = self._historian().changes(as_id(id))
        if not changes:
            raise NotFoundError("there has been no memory of that id")
        return changes

    def as_of(self, time: datetime, filters: Filters = None) -> list[Record]:
        """The memories that there were at a time, as they were then, the oldest first."""
        return self._historian().as_of(as_moment(time, "time"), filters)

    def undo(self, id: UUID | str) -> Record | None:
        """Take the last change of a memory back and return what it is now, ``None`` if it is gone.

        Once more takes the change before that back. Undoing is a change in the history itself.

        Raises:
            NotFoundError: if there is no change to take back.
            AlreadyExists: if another passage has the text by now.
        """
        with Transaction(self._executor):
            return undone(self._historian(), self._writer(), as_id(id))

    def _historian(self) -> Historian:
        return Historian(self._executor, self._shape(), self._scope)

    # Reading

    def get(self, id: UUID | str) -> Record:
        """The memory of that id.

        Raises:
            NotFoundError: if there is none of this user's.
            ValueRefused: if it is no UUID.
        """
        found = self._read((f'{self._shape().table}."id" = ?', [str(as_id(id))]))
        if not found:
            raise NotFoundError("there is no memory of that id")
        return found[0]

    def get_all(self, filters: Filters = None, limit: int | None = None) -> list[Record]:
        """All memories that satisfy ``filters``, or the first ``limit``, the oldest first."""
        return self._read(self._filter(filters), limit=limit)

    def get_all_paginated(self, filters: Filters = None, page_size: int = 1000) -> Iterator[list[Record]]:
        """All memories that satisfy ``filters`` in lists of ``page_size``, the oldest first.

        Whoever writes meanwhile: each one that was there and stays is seen once.
        """
        page = self.page(limit=page_size, filters=filters)
        while page:
            yield page
            if page.next is None:
                return
            page = self.page(page.next, limit=page_size, filters=filters)

    def page(
        self, after: str | None = None, limit: int = 100, reverse: bool = False, filters: Filters = None
    ) -> Page:
        """The oldest ``limit`` memories, with ``reverse`` the newest; ``page.next`` goes into ``after``.

        Raises:
            InvalidQuery: if ``after`` is no cursor.
        """
        if count_argument("limit", limit) == 0:
            raise InvalidQuery("limit must be at least 1")
        sql, given = self._filter(filters)
        place, values = beyond(self._shape().table, after, reverse=reverse)
        # One more shows whether there is a next page.
        found = self._read((f"{sql} AND {place}", [*given, *values]), limit=limit + 1, reverse=reverse)
        is_last = len(found) <= limit
        return Page(found[:limit], None if is_last else cursor_of(found[limit - 1]))

    def query_date(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        filters: Filters = None,
        limit: int | None = None,
    ) -> list[Record]:
        """The memories made from ``start`` to ``end``, both with their zone and both included."""
        sql, given = self._filter(filters)
        column = f'{self._shape().table}."created_at"'
        for operator, moment, noun in ((">=", start, "start"), ("<=", end, "end")):
            if moment is not None:
                sql += f" AND {column} {operator} ?"
                given.append(microseconds(as_moment(moment, noun)))
        return self._read((sql, given), limit=limit)

    def query(
        self,
        text: str | None = None,
        vector: Any = None,
        top_k: int = 10,
        filters: Filters = None,
        mode: str | None = None,
        *,
        recency: timedelta | float | None = None,
    ) -> Hits:
        """The ``top_k`` memories that are nearest to a text or a vector, the best first.

        ``mode`` is ``"vector"``, ``"text"`` or ``"hybrid"``; left out, it is by vector if there is one or an
        embedder to make it of ``text``, else by text. By text a memory needs one of the words, and those
        with more and rarer ones come first. Hybrid takes the best of both, at least 50 each, and ranks them
        by reciprocal rank fusion; with ``recency``, a half-life, older memories lose. Memories without a
        vector are not found by one.

        Raises:
            InvalidQuery: if what the mode needs is not given.
            ValueRefused: for a vector of another dimension, of zeros, or with NaN.
            NotSupported: by vector, if this server has no pgvector.
        """
        half_life = half_life_of(recency)
        mode = self._mode(text, vector, mode)
        if half_life is not None and mode != "hybrid":
            raise InvalidQuery("recency goes with mode='hybrid'")
        count = count_argument("top_k", top_k)
        if count == 0:
            raise InvalidQuery("top_k must be at least 1")
        asked = None if mode == "text" else self._asked(text, vector)
        words = None if mode == "vector" else text
        condition, is_filtered = self._within(self._filter(filters)), bool(filters)
        searcher = Searcher(
            self._executor, self._shape(), self._scope, self._matrices, condition, is_filtered
        )
        return Question(words, asked, count, half_life).ask(searcher)

    def query_text(self, text: str, top_k: int = 10, filters: Filters = None) -> Hits:
        """The memories with the words of ``text``: ``query(text, mode="text")``."""
        return self.query(text, top_k=top_k, filters=filters, mode="text")

    def _mode(self, text: str | None, vector: Any, mode: str | None) -> str:
        if mode is None:
            mode = "vector" if vector is not None or self._embed is not None else "text"
        if mode not in MODES:
            raise InvalidQuery(
                f"unknown mode {str(mode)[:40]!r}", hint=did_you_mean(str(mode), MODES, "modes")
            )
        if text is not None and (not isinstance(text, str) or not text.strip()):
            raise InvalidQuery("a query needs a text that is not empty, or a vector")
        if text is None and (vector is None or mode != "vector"):
            raise InvalidQuery(
                f"a query by {mode} needs a text" + (" or a vector" if mode == "vector" else "")
            )
        if mode != "text" and vector is None and self._embed is None:
            raise InvalidQuery(
                f"a query by {mode} needs a vector", hint="give vector=, or open the memory with embed="
            )
        return mode

    def _asked(self, text: str | None, vector: Any) -> Vector:
        """The vector of a query."""
        found = as_vector(vector) if vector is not None else self._vectors([storable(text or "")])[0]
        dimension = self.dimension
        if dimension is not None and len(found) != dimension:
            raise ValueRefused(
                f"the query's vector has {len(found)} numbers, and this memory's have {dimension}"
            )
        return found

    def size(self, filters: Filters = None) -> int:
        """How many memories satisfy ``filters``."""
        sql, given = self._within(self._filter(filters))
        return int(self._executor.scalar(f"SELECT count(*) FROM {self._shape().table} WHERE {sql}", given))

    def list_data_sources(self) -> list[str]:
        """The different values of ``data_source``, sorted."""
        table = self._shape().table
        sql, given = self._within((f'{table}."data_source" IS NOT NULL', []))
        rows = self._executor.rows(f'SELECT DISTINCT {table}."data_source" FROM {table} WHERE {sql}', given)
        return sorted(name for (name,) in rows)

    def list_loaded_data(self) -> list[str]:
        """The names of the stores here that hold passages of this user which are no agent's own."""
        names = []
        for layout in tables.stores(self._executor):
            quoted = self._executor.engine.quote(layout.table)
            found = self._executor.rows(
                f'SELECT 1 FROM {quoted} WHERE {quoted}."user_id" = ? AND {quoted}."agent_id" IS NULL '
                f"AND {quoted}.\"kind\" = 'passage' LIMIT 1",
                (self._scope.user_id,),
            )
            if found and layout.name not in names:
                names.append(layout.name)
        return names

    def _filter(self, filters: Filters) -> Fragment:
        return compiled(self._executor.engine, self._shape().table, filters)

    def _within(self, condition: Fragment) -> Fragment:
        """A condition, and that of the tenant, which nothing leaves out."""
        sql, given = self._scope.condition(self._shape().table)
        return f"{sql} AND ({condition[0]})", [*given, *condition[1]]

    def _read(self, condition: Fragment, *, limit: int | None = None, reverse: bool = False) -> list[Record]:
        shape, direction = self._shape(), "DESC" if reverse else "ASC"
        sql, given = self._within(condition)
        text = (
            f"SELECT {shape.listing} FROM {shape.source} WHERE {sql} "
            f'ORDER BY {shape.table}."created_at" {direction}, {shape.table}."id" {direction}'
        )
        values: list[Any] = [shape.layout.model, *given]
        if limit is not None:
            text += " LIMIT ?"
            values.append(count_argument("limit", limit))
        return [shape.record(row) for row in self._executor.rows(text, values)]


class SQLiteStorageConnector(SQLStore):
    """Memories in a SQLite file."""

    engine_name = "sqlite"


class PostgresStorageConnector(SQLStore):
    """Memories in a PostgreSQL database."""

    engine_name = "postgres"


CONNECTORS: dict[str, type[SQLStore]] = {
    str(each.engine_name): each for each in (SQLiteStorageConnector, PostgresStorageConnector)
}


def _wants_vector(record: Record) -> bool:
    return getattr(record, "embedding", record) is None and bool(getattr(record, "text", ""))


def _dimension(given: Any) -> int | None:
    if given is None or (isinstance(given, int) and not isinstance(given, bool) and given > 0):
        return given
    raise ConfigurationError("dimension is the number of numbers in a vector", hint="leave it out if unsure")
