"""A store of memories in a SQL database: the verbs, for one user and perhaps one agent."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from holdfast.core.executor import Executor
from holdfast.core.progress import track
from holdfast.core.transaction import Transaction
from holdfast.database import Database
from holdfast.errors import (
    ConfigurationError,
    NotFoundError,
    ValueRefused,
    WhereRequired,
)
from holdfast.memory import indexing, tables
from holdfast.memory.advice import Advice, Measure, advise
from holdfast.memory.caching import CacheInfo, QueryCache, next_end
from holdfast.memory.embed.texts import Embed
from holdfast.memory.embedding import Embedding
from holdfast.memory.erasing import Report, erase
from holdfast.memory.filters import Filters, compiled
from holdfast.memory.history import Change, Historian, undone
from holdfast.memory.models import Model, Models
from holdfast.memory.nearest import Among, InDatabase, VectorLeg
from holdfast.memory.paging import Page
from holdfast.memory.reading import Reader
from holdfast.memory.records import Record, as_id, as_moment, lifetime, records_of
from holdfast.memory.rows import Shape
from holdfast.memory.scope import scope_of
from holdfast.memory.search import Asking, Hits, Searcher, asking_of
from holdfast.memory.tables import ModelChanged
from holdfast.memory.writing import Writer
from holdfast.sync import notes


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
        refresh_ttl: bool = False,
        cache: bool = False,
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
        self._embedding = Embedding(embed, dimension)
        self._embedding.keep_in(self._executor, self._scope.user_id)
        self._leg, self._refresh_ttl = self._vector_leg(), refresh_ttl
        self._cache = QueryCache() if cache else None
        self._shape()

    def _vector_leg(self) -> VectorLeg:
        """How this backend finds what is nearest to a vector."""
        return InDatabase()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name!r} in {self._database.url}>"

    def __enter__(self) -> Self:
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
        known = self._embedding.dimension or self._embedding.known(self._shape().layout)
        if known is None:
            layout = tables.found(self._executor, self._kind, self._name)
            known = None if layout is None else layout.dimension
        return known

    def _shape(self, of_model: str | None = None) -> Shape:
        """How rows are written and read, worked out once and again when the schema has changed."""
        model, dimension = self._embedding.model, self._embedding.dimension
        key = ("memory", self._kind, self._name, model, dimension, of_model)
        shape: Shape | None = self._executor.plans.get(key)
        if shape is None and of_model is not None:
            layout = self._models().layout(of_model)
            shape = self._executor.keep(key, Shape(self._executor, layout))
        if shape is None:
            layout = tables.ensure(self._executor, self._kind, self._name, dimension, model)
            # Connections that were open before another process made the tables must learn of the search.
            self._executor.forget()
            if self._executor.in_transaction:
                # It may be that of a vector which is not kept in the end.
                layout = dataclasses.replace(layout, dimension=None)
            shape = self._executor.keep(key, Shape(self._executor, layout))
        return shape

    # Writing

    def insert(
        self, record: Record, exists_ok: bool = False, *, ttl: timedelta | float | None = None
    ) -> UUID:
        """Write a memory and return its id.

        A passage with a text that is there already is not written: the id of the first one is returned.
        Without an embedding the store's embedder makes one, before the transaction begins. With ``exists_ok``
        a memory of the same id becomes ``record``, and what it was stays in the history. ``ttl``, a timedelta
        or seconds, is how long the memory lives: no verb returns it after that, and :meth:`sweep` removes it.

        Raises:
            AlreadyExists: if there is a memory of that id.
            ConfigurationError: if the store has gone over to another model since it was opened.
            ValueRefused: if the embedding has another dimension than the others.
        """
        return self._insert([record], exists_ok, lifetime(ttl))[0]

    def upsert(self, record: Record, *, ttl: timedelta | float | None = None) -> UUID:
        """Write a memory, or make the one of the same id ``record``: ``insert(record, exists_ok=True)``."""
        return self.insert(record, exists_ok=True, ttl=ttl)

    def insert_many(
        self,
        records: Iterable[Record],
        exists_ok: bool = False,
        progress: bool | None = False,
        *,
        ttl: timedelta | float | None = None,
    ) -> list[UUID]:
        """Write all memories or none and return their ids, as :meth:`insert` would.

        Raises:
            Error: with ``row_number``, counted from 1, of the record at fault.
        """
        given, lives = records_of(records), lifetime(ttl)
        with track(f"insert {self._name}", total=len(given), show=progress) as advance:
            ids = self._insert(given, exists_ok, lives) if given else []
            if advance is not None:
                advance(len(ids))
        return ids

    def _insert(self, given: Sequence[Record], exists_ok: bool, ttl: int | None) -> list[UUID]:
        records = self._ready(given)
        writer = self._writer(ttl)
        with Transaction(self._executor):
            dimension = self._embedding.settle(self._executor, self._shape().layout, records)
            if len(records) == 1:
                ids = [writer.insert(records[0], exists_ok)]
            else:
                ids = writer.insert_many(records, exists_ok)
        self._agree_on(dimension)
        return ids

    def update(self, record: Record) -> UUID:
        """Make the memory of the same id ``record``; what it was stays in the history, and when it expires.

        Raises:
            NotFoundError: if there is none.
            AlreadyExists: if another passage has that text.
        """
        records = self._ready([record])
        with Transaction(self._executor):
            dimension = self._embedding.settle(self._executor, self._shape().layout, records)
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
        condition = self._reader().filter(filters)
        with Transaction(self._executor):
            return self._writer().delete(condition)

    def sweep(self) -> int:
        """Remove the memories that have expired, with their history; return how many there were.

        It goes through the whole store, whoever they belonged to. Until then they are kept, and not shown.
        """
        with Transaction(self._executor):
            return self._writer().sweep()

    def models(self) -> list[Model]:
        """The models of which this store has vectors; its current one is that of a new memory or a query."""
        return self._models().all()

    def _models(self) -> Models:
        return Models(self._executor, self._shape())

    def create_vector_index(self, model: str | None = None, *, m: int = 16, ef_construction: int = 64) -> str:
        """Build an index over the vectors of a model, by default the current one; return its name.

        For stores of very many memories on PostgreSQL: HNSW over halves of the numbers, whose candidates are
        ranked again by the numbers themselves. A search asks it where it pays, and compares all that are left
        where a filter leaves few; :attr:`Hits.complete` is false where the index was asked. Outside of a
        transaction it is built beside the writers. Writing costs much more with it: load first.
        :meth:`advise_index` measures what it would bring.

        Raises:
            NotSupported: on SQLite, without pgvector, or for more than 4,000 numbers.
            ConfigurationError: if there are no vectors yet.
        """
        return indexing.create(self._executor, self._shape(model).layout, m, ef_construction)

    def index_metadata(self, key: str) -> None:
        """Build an index by which filters on a key of the metadata find few memories among very many.

        ``key`` is as in a filter; ``data_source`` and ``doc_id`` can be it, too. Equality, ``$in`` and
        comparisons use it wherever the planner finds that it pays. Outside of a transaction PostgreSQL builds
        it beside the writers. It is the store's, for all users; the same once more builds it anew.

        Raises:
            InvalidQuery: for another field.
            NotSupported: on SQLite, for a key with other characters than letters, digits, blanks and _.:@+-
        """
        indexing.index_key(self._executor, self._shape().layout, key)

    def drop_metadata_index(self, key: str) -> None:
        """Remove the index of :meth:`index_metadata`, if there is one."""
        indexing.unindex_key(self._executor, self._shape().layout, key)

    def advise_index(self, k: int = 10, *, queries: int = 20, sample: int = 20_000) -> Advice:
        """Measure on this memory's own vectors what an index would bring; nothing that it builds is kept.

        A random ``sample`` of them is copied, and so many others are asked for their ``k`` nearest: comparing
        all, and on PostgreSQL by HNSW over the numbers and over their halves. It says for each way how many
        of the true answers it found, how long a query took, and what the index costs.

        Raises:
            ConfigurationError: if there are fewer than twice ``queries`` vectors.
        """
        return advise(self._executor, self._shape(), self._scope, Measure(k, queries, sample))

    def drop_vector_index(self, model: str | None = None) -> None:
        """Remove the index over the vectors of a model, if there is one."""
        indexing.drop(self._executor, self._shape(model).layout)

    def erase(self, user_id: str) -> Report:
        """Remove all that this database's stores have of this user, and prove that nothing is left.

        The memories of all stores and agents go with what they were and all vectors, in one transaction. Then
        the tables are written anew, on SQLite the whole file, since removed rows leave their bytes there;
        nobody can write meanwhile. Backups are not touched. Where memories are synced, the other side removes
        them with the next run; until then the report is not clean. ``user_id`` must be this memory's own, so
        that nobody is erased by a slip.

        Raises:
            ValueRefused: if it is another's, or this memory is one agent's only.
            TransactionError: inside a transaction.
        """
        if user_id != self.user_id or self.agent_id is not None:
            raise ValueRefused(
                "erase() removes the user that the memory was opened for, with all agents",
                hint="open it with that user_id and without agent_id",
            )
        return erase(self._executor, self.user_id)

    def delete_table(self) -> None:
        """Remove all memories of this user (and agent) with their history, and the table once it is empty.

        The empty table of a memory that is synced stays.
        """
        shape, executor = self._shape(), self._executor
        with Transaction(executor):
            for table in (shape.layout.table, shape.layout.vectors, shape.layout.history):
                executor.engine.alter.hold(executor.run, table)
            for table in (shape.history, shape.table):
                sql, given = self._scope.condition(table)
                executor.run(f"DELETE FROM {table} WHERE {sql}", given)
            # What is synced is the other side's as well, and its tables stay.
            if not notes.is_synced(executor, shape.layout.table) and not executor.rows(
                f"SELECT 1 FROM {shape.table} UNION ALL SELECT 1 FROM {shape.history} LIMIT 1"
            ):
                tables.drop(executor, shape.layout)
        self._embedding.forget()

    def save(self) -> None:
        """Do nothing: what was written is kept already. It is there for code that calls it."""

    def _writer(self, ttl: int | None = None) -> Writer:
        return Writer(self._executor, self._shape(), self._scope, ttl)

    def _ready(self, given: Sequence[Record]) -> list[Record]:
        """The records as they will be stored: their owner filled in, their texts embedded."""
        records = []
        for number, record in enumerate(records_of(given), 1):
            try:
                records.append(self._scope.own(record))
            except ValueRefused as exc:
                exc.row_number = number
                raise
        return self._embedding.filled(records, self._embedding.known(self._shape().layout))

    def _agree_on(self, dimension: int | None) -> None:
        if not self._executor.in_transaction:
            self._embedding.agree_on(self._shape().layout, dimension)

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
        found = self._reader().records((f'{self._shape().table}."id" = ?', [str(as_id(id))]))
        if not found:
            raise NotFoundError("there is no memory of that id")
        self._refresh(found)
        return found[0]

    def get_all(self, filters: Filters = None, limit: int | None = None) -> list[Record]:
        """All memories that satisfy ``filters``, or the first ``limit``, the oldest first."""
        reader = self._reader()
        return reader.records(reader.filter(filters), limit=limit)

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
        return self._reader().page(after, limit, reverse, filters)

    def query_date(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        filters: Filters = None,
        limit: int | None = None,
    ) -> list[Record]:
        """The memories made from ``start`` to ``end``, both with their zone and both included."""
        return self._reader().between(start, end, filters, limit)

    def query(
        self,
        text: str | None = None,
        vector: Any = None,
        top_k: int = 10,
        filters: Filters = None,
        mode: str | None = None,
        *,
        recency: timedelta | float | None = None,
        model: str | None = None,
    ) -> Hits:
        """The ``top_k`` memories that are nearest to a text or a vector, the best first.

        ``mode`` is ``"vector"``, ``"text"`` or ``"hybrid"``; left out, it is by vector if there is one or an
        embedder to make it of ``text``, else by text. By text a memory needs one of the words, and those
        with more and rarer ones come first. Hybrid takes the best of both, at least 50 each, and ranks them
        by reciprocal rank fusion; with ``recency``, a half-life, older memories lose. Memories without a
        vector are not found by one. ``model`` names the vectors to compare with, if not the current ones.

        Raises:
            InvalidQuery: if what the mode needs is not given.
            ValueRefused: for a vector of another dimension, of zeros, or with NaN.
            NotSupported: by vector, if this server has no pgvector.
        """
        asking = asking_of(text, vector, top_k, mode, recency, model, self._embedding.embed is not None)
        # What fades is another answer each moment, and what is refreshed is written.
        if self._cache is None or asking.half_life is not None or self._refresh_ttl:
            hits = self._answer(asking, filters)
            self._refresh([hit.record for hit in hits])
            return hits
        shape = self._shape(model)
        key = repr((asking.key, compiled(self._executor.engine, shape.table, filters)))
        return self._cache.answer(
            self._executor,
            key,
            lambda: next_end(self._executor, shape, self._scope),
            lambda: self._answer(asking, filters),
        )

    def _answer(self, asking: Asking, filters: Filters) -> Hits:
        def answer() -> Hits:
            model = asking.model
            dimension = self.dimension if model is None else self._shape(model).layout.dimension
            by_text = asking.mode == "text"
            asked = None if by_text else self._embedding.asked(asking.text, asking.vector, dimension, model)
            return asking.question(asked).ask(self._searcher(filters, model))

        try:
            return answer()
        except (ModelChanged, ValueRefused):
            # A dimension may be refused from what was known before the change.
            self._executor.forget()
            return answer()

    def cache_info(self) -> CacheInfo:
        """How often a query was answered by ``cache=True`` already, and how often not."""
        return (self._cache or QueryCache()).info()

    def query_text(self, text: str, top_k: int = 10, filters: Filters = None) -> Hits:
        """The memories with the words of ``text``: ``query(text, mode="text")``."""
        return self.query(text, top_k=top_k, filters=filters, mode="text")

    def size(self, filters: Filters = None) -> int:
        """How many memories satisfy ``filters``."""
        return self._reader().size(filters)

    def list_data_sources(self) -> list[str]:
        """The different values of ``data_source``, sorted."""
        return self._reader().data_sources()

    def list_loaded_data(self) -> list[str]:
        """The names of the stores here that hold passages of this user which are no agent's own."""
        return self._reader().loaded_data()

    def _searcher(self, filters: Filters, model: str | None) -> Searcher:
        reader = Reader(self._executor, self._shape(model), self._scope)
        filter = reader.filter(filters) if filters else None
        among = Among(self._executor, reader.shape, self._scope, filter)
        return Searcher(among, self._leg, is_current=model is None)

    def _refresh(self, records: Sequence[Record]) -> None:
        if self._refresh_ttl and records:
            with Transaction(self._executor):
                self._writer().refresh([record.id for record in records])

    def _reader(self) -> Reader:
        return Reader(self._executor, self._shape(), self._scope)


class SQLiteStorageConnector(SQLStore):
    """Memories in a SQLite file."""

    engine_name = "sqlite"


class PostgresStorageConnector(SQLStore):
    """Memories in a PostgreSQL database."""

    engine_name = "postgres"


CONNECTORS: dict[str, type[SQLStore]] = {
    str(each.engine_name): each for each in (SQLiteStorageConnector, PostgresStorageConnector)
}
