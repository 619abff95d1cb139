"""Everything a user can say to a database: an index of verbs, each of which lives in a room of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from holdfast.core import health, query, rows, schema, transaction
from holdfast.core.executor import Executor
from holdfast.core.health import Health
from holdfast.core.passing import PassingExecutor
from holdfast.core.progress import track
from holdfast.core.query import Params, Result
from holdfast.core.retry import until_reached
from holdfast.core.rows import Row
from holdfast.core.transaction import Transaction
from holdfast.core.where import OrderBy, Where
from holdfast.engines.base import UNSET
from holdfast.engines.names import check_identifier
from holdfast.engines.registry import engine_for
from holdfast.errors import ClosedError, Error, InvalidQuery
from holdfast.settings import Target
from holdfast.urls import path_of

if TYPE_CHECKING:
    import threading
    from datetime import datetime, timedelta

    import pandas as pd
    import polars as pl
    import pyarrow as pa
    import sqlalchemy
    from numpy.typing import NDArray
    from opentelemetry.trace import TracerProvider

    from holdfast.backup.listing import Backup
    from holdfast.backup.retention import Pruned
    from holdfast.backup.verify import Report
    from holdfast.core.paging import Page
    from holdfast.inspection.report import Summary
    from holdfast.io.arrays import ArrayInfo
    from holdfast.transfer.differing import Difference
    from holdfast.tuning.advice import Advices
    from holdfast.tuning.doctor import Findings
    from holdfast.tuning.explain import Plan
    from holdfast.tuning.slow_log import SlowLog
    from holdfast.tuning.slow_queries import SlowQueries

T = TypeVar("T")
PathLike = str | os.PathLike[str]
Columns = Sequence[str] | str | None
MOST_HANDLES = 4096
RECONNECT_SECONDS = 10.0
Rows = Iterable[Any]
"""Dicts, tuples, dataclasses, Pydantic models; or a DataFrame, or Arrow data."""


class Table:
    """One table of a database: the same verbs as :class:`Database`, without the table's name.

    >>> runs = db.table("runs")
    >>> runs.insert({"id": 1, "acc": 0.9})
    1
    """

    __slots__ = ("_executor", "name")

    def __init__(self, executor: Executor, name: str) -> None:
        self._executor = executor
        self.name = name

    def __repr__(self) -> str:
        return f"<Table {self.name!r}>"

    def _repr_html_(self) -> str | None:
        """The first rows as an HTML table, which Jupyter shows; ``None`` where there is no such table."""
        from holdfast.core import preview

        try:
            columns = [column["name"] for column in self.get_columns()]
            shown = [tuple(row.values()) for row in self.select(limit=preview.MOST_ROWS)]
        except Error:
            return None
        return preview.table(columns, shown, f"{self.name}: the first {len(shown)} rows")

    def insert(self, row: Row, *, idempotency_key: str | None = None) -> Any:
        """Write one row and return its primary key (a tuple if it has several columns).

        With an ``idempotency_key``, a text of your own, the row is written once however often the call is
        made: again, it returns the first one's key. Keys are kept for seven days. Such a call goes on by
        itself after a lost connection.

        Raises:
            ColumnNotFound: if ``row`` names a column the table lacks.
            ValueRefused: if a value would not come back as it went in.
            IntegrityError: if a constraint is not met.
            KeyReused: if the idempotency key was given to another call.
        """
        if idempotency_key is None:
            return rows.insert(self._executor, self.name, row)
        from holdfast.core import idempotency

        call = ("insert", self.name, row)
        return idempotency.once(
            self._executor, idempotency_key, call, lambda: rows.insert(self._executor, self.name, row)
        )

    def insert_many(
        self,
        rows: Rows,
        *,
        on_conflict: str = "error",
        key: str | Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        batch_size: int | None = None,
        progress: bool | None = False,
        idempotency_key: str | None = None,
    ) -> int:
        """Write all rows or none, and return how many were written.

        ``rows`` may be a list or a generator of dicts, tuples, dataclasses or Pydantic models, a pandas or
        polars DataFrame, an Arrow table or a RecordBatchReader. Values without names are those of
        ``columns``, by default all columns of the table; of rows with names ``columns`` picks. Rows may
        differ in their columns; a column that a row lacks takes its default.

        ``on_conflict`` says what happens to a row whose ``key`` (by default the primary key) is there
        already: ``"error"``, ``"ignore"`` it, ``"update"`` the columns given, or ``"replace"`` all columns.
        ``idempotency_key`` is as for :meth:`insert`, and wants the rows as a list.

        Raises:
            Error: with ``row_number``, counted from 1, of the row at fault.
            KeyNotUnique: if no unique index covers ``key``; the hint is the index to create.
        """
        from holdfast.core import bulk

        def write() -> int:
            with track(f"insert {self.name}", total=_length(rows), show=progress) as advance:
                return bulk.insert_many(
                    self._executor,
                    self.name,
                    rows,
                    on_conflict=on_conflict,
                    key=key,
                    columns=columns,
                    batch_size=batch_size,
                    advance=advance,
                )

        if idempotency_key is None:
            return write()
        from holdfast.core import idempotency

        call = ("insert_many", self.name, idempotency.checked_rows(rows), on_conflict, key, columns)
        return int(idempotency.once(self._executor, idempotency_key, call, write))

    def upsert(
        self, row: Row, key: str | Sequence[str] | None = None, *, idempotency_key: str | None = None
    ) -> Any:
        """Insert ``row``, or update the row that has the same ``key``; return the primary key.

        One atomic statement; columns that ``row`` does not name keep their values.
        ``key`` defaults to the primary key; any other key needs a unique index. ``idempotency_key`` is as
        for :meth:`insert`.

        Raises:
            KeyNotUnique: if no unique index covers ``key``; the hint is the index to create.
        """
        if idempotency_key is None:
            return rows.upsert(self._executor, self.name, row, key)
        from holdfast.core import idempotency

        call = ("upsert", self.name, row, key)
        return idempotency.once(
            self._executor, idempotency_key, call, lambda: rows.upsert(self._executor, self.name, row, key)
        )

    def upsert_many(
        self,
        rows: Rows,
        key: str | Sequence[str] | None = None,
        *,
        columns: Sequence[str] | None = None,
        batch_size: int | None = None,
        progress: bool | None = False,
    ) -> int:
        """Insert or update all rows by ``key``, all or none: ``insert_many(on_conflict="update")``."""
        return self.insert_many(
            rows, on_conflict="update", key=key, columns=columns, batch_size=batch_size, progress=progress
        )

    def update_many(
        self,
        rows: Rows,
        key: str | Sequence[str] = "id",
        *,
        columns: Sequence[str] | None = None,
        batch_size: int | None = None,
        progress: bool | None = False,
    ) -> int:
        """Change the rows found by ``key``, all or none, and return how many there were.

        ``rows`` and ``columns`` are as for :meth:`insert_many`.

        Raises:
            InvalidQuery: if a row lacks the key; ``row_number`` says which.
        """
        from holdfast.core import bulk

        with track(f"update {self.name}", total=_length(rows), show=progress) as advance:
            return bulk.update_many(
                self._executor,
                self.name,
                rows,
                key,
                columns=columns,
                batch_size=batch_size,
                advance=advance,
            )

    def select(
        self,
        columns: Columns = None,
        where: Where = None,
        params: Params = None,
        order_by: OrderBy = None,
        limit: int | None = None,
        offset: int | None = None,
        distinct: bool = False,
    ) -> list[dict[str, Any]]:
        """The rows that satisfy ``where``, as dicts.

        ``where`` is text with ``?`` or ``:name`` and ``params``, a dict
        (``{"a": 1, "b": None, "c": [1, 2], "d >=": 3}``), or a SQLAlchemy expression. ``order_by`` takes
        column names with ASC or DESC and NULLS FIRST or LAST; NULLs come last, or first with DESC.

        Text filters are the caller's own SQL: give values through ``params``, never inside the text.
        """
        return rows.select(
            self._executor, self.name, columns, where, params, order_by, limit, offset, distinct
        )

    def get(self, key: Any) -> dict[str, Any]:
        """The row with that primary key (a tuple if it has several columns).

        Raises:
            NotFoundError: if there is none.
        """
        return rows.get(self._executor, self.name, key)

    def find_one(
        self,
        columns: Columns = None,
        where: Where = None,
        params: Params = None,
        order_by: OrderBy = None,
        offset: int | None = None,
    ) -> dict[str, Any] | None:
        """The first row that satisfies ``where``, or ``None``."""
        return rows.find_one(self._executor, self.name, columns, where, params, order_by, offset=offset)

    def count(self, where: Where = None, params: Params = None) -> int:
        """How many rows satisfy ``where``."""
        return rows.count(self._executor, self.name, where, params)

    def exists(self, where: Where = None, params: Params = None) -> bool:
        """Whether any row satisfies ``where``."""
        return rows.exists(self._executor, self.name, where, params)

    def update(self, data: Row, where: Where = None, params: Params = None, *, all_rows: bool = False) -> int:
        """Set the columns of ``data`` in the rows that satisfy ``where``; return how many there were.

        Raises:
            WhereRequired: without ``where``, unless ``all_rows=True``.
        """
        return rows.update(self._executor, self.name, data, where, params, all_rows=all_rows)

    def delete(self, where: Where = None, params: Params = None, *, all_rows: bool = False) -> int:
        """Remove the rows that satisfy ``where``; return how many there were.

        Raises:
            WhereRequired: without ``where``, unless ``all_rows=True``.
        """
        return rows.delete(self._executor, self.name, where, params, all_rows=all_rows)

    def stream(
        self,
        columns: Columns = None,
        where: Where = None,
        params: Params = None,
        order_by: OrderBy = None,
        *,
        batch_size: int = 10_000,
    ) -> Iterator[dict[str, Any]]:
        """The rows one by one with flat memory; writing to the database in between is fine."""
        return query.stream(
            self._executor, self.name, columns, where, params, order_by, batch_size=batch_size
        )

    def paginate(
        self,
        order_by: OrderBy = None,
        limit: int = 100,
        after: str | None = None,
        where: Where = None,
        params: Params = None,
        *,
        columns: Sequence[str] | str | None = None,
    ) -> Page:
        """One page in ``order_by``; ``page.next`` and ``page.previous`` go into ``after``.

        Keyset pagination: pages stay true while rows are inserted and deleted, and where an index begins
        with the columns of the order, a late page costs what the first one does. The primary key breaks
        ties, or unique columns that are NOT NULL. ``columns`` are those that the rows have, by default all.

        Raises:
            InvalidQuery: for a token that was changed, or is of another order, table or filter.
        """
        from holdfast.core import paging

        return paging.paginate(
            self._executor, self.name, order_by, limit, after, where, params, columns=columns
        )

    def create_index(
        self,
        columns: str | Sequence[str],
        unique: bool = False,
        name: str | None = None,
        where: str | None = None,
        method: str | None = None,
    ) -> str:
        """Create an index, by default named ``idx_<table>_<columns>``; the same one twice is harmless."""
        from holdfast.core import indexes

        return indexes.create_index(
            self._executor, self.name, columns, unique=unique, name=name, where=where, method=method
        )

    def list_indexes(self) -> list[dict[str, Any]]:
        """The indexes: name, table, columns, unique, primary_key, constraint, partial, sql."""
        from holdfast.core import indexes

        return indexes.list_indexes(self._executor, self.name)

    def enable_search(self, columns: str | Sequence[str], language: str = "english") -> None:
        """Make the table searchable by the words of these text columns, and keep it so whoever writes.

        The database itself does that, with triggers or an index. The same settings twice are harmless,
        others replace the first. ``language`` says how words are reduced to their stems; ``"simple"``
        takes them as they are.

        Raises:
            InvalidQuery: if a column holds no text, or the language is not known.
            NotSupported: on SQLite, if the table has no primary key.
        """
        from holdfast.search import fulltext

        fulltext.enable(self._executor, self.name, columns, language)

    def search(
        self, text: str, limit: int | None = 20, where: Where = None, params: Params = None
    ) -> list[dict[str, Any]]:
        """The rows that hold every word of ``text``, the best first, each with ``score`` and ``snippet``.

        ``"several words"`` in double quotes stand in a row, ``micro*`` begins a word, ``-word`` excludes.
        Any other text is taken for its words, and text without words finds nothing. ``snippet`` is the part
        of the row's text with the most matches, marked ``**so**``. If the table has a column of that name,
        ours is ``search_score`` or ``search_snippet``.

        Raises:
            SchemaError: if the search is not enabled; the hint is the call that does it.
        """
        from holdfast.search import fulltext

        return fulltext.search(self._executor, self.name, text, limit, where, params)

    def disable_search(self) -> None:
        """Take the search off the table; its rows stay as they are. Without one, nothing happens."""
        from holdfast.search import fulltext

        fulltext.disable(self._executor, self.name)

    def get_columns(self) -> list[dict[str, Any]]:
        """Name, declared type, nullable, default and primary_key of each column, in order."""
        return schema.get_columns(self._executor, self.name)

    def add_column(self, column: str, definition: str | type) -> None:
        """Add a column; the rows that are there take its default."""
        schema.add_column(self._executor, self.name, column, definition)

    def drop_column(self, column: str) -> None:
        """Drop a column with the indexes and constraints it is part of."""
        schema.drop_column(self._executor, self.name, column)

    def rename_column(self, column: str, new_name: str) -> None:
        """Give a column another name; keys, indexes, triggers and views follow."""
        schema.rename_column(self._executor, self.name, column, new_name)

    def alter_column(
        self,
        column: str,
        *,
        type: str | type | None = None,
        nullable: bool | None = None,
        default: Any = UNSET,
    ) -> None:
        """Change a column's type, whether it may be NULL, or its default (SQL text, ``None`` for none)."""
        schema.alter_column(self._executor, self.name, column, type=type, nullable=nullable, default=default)

    def add_foreign_key(
        self,
        columns: str | Sequence[str],
        references: str,
        keys: str | Sequence[str] | None = None,
        *,
        on_delete: str | None = None,
        on_update: str | None = None,
    ) -> None:
        """Make ``columns`` refer to ``keys`` (by default the primary key) of the table ``references``."""
        schema.add_foreign_key(
            self._executor, self.name, columns, references, keys, on_delete=on_delete, on_update=on_update
        )

    def save_array(
        self,
        array: NDArray[Any],
        key: Any = None,
        column: str = "data",
        metadata: Any = None,
        *,
        compress: bool | str = "auto",
    ) -> Any:
        """Write one NumPy array under ``key``, in the place of one that is there; return the key.

        A missing table is made: ``id`` (TEXT or INTEGER, as the key is), ``dtype``, ``shape``, ``metadata``
        and the array in ``column``. Without a key the database numbers it. ``compress="auto"`` tries
        parts of the array with zstd, if that is installed, and compresses what gets smaller by a fifth.

        Raises:
            ValueRefused: for what would not come back as it is, such as arrays of Python objects.
            MissingDependency: for ``compress=True`` without the extra ``compress``.
        """
        from holdfast.io import arrays

        return arrays.save(self._executor, self.name, array, key, column, metadata, compress=compress)

    def save_arrays(
        self,
        arrays: Mapping[Any, NDArray[Any]] | Iterable[Any],
        column: str = "data",
        metadata: Mapping[Any, Any] | None = None,
        *,
        compress: bool | str = "auto",
    ) -> list[Any]:
        """Write arrays by key, all or none; return the keys.

        ``arrays`` is a dict, or anything that gives arrays or pairs of a key and an array, such as a
        generator; ``metadata`` is by key too.
        """
        from holdfast.io.arrays import save_many

        return save_many(self._executor, self.name, arrays, column, metadata, compress=compress)

    def load_array(
        self,
        key: Any,
        column: str = "data",
        *,
        rows: slice | None = None,
        max_bytes: int | None = None,
    ) -> NDArray[Any]:
        """The array under ``key``, exactly as it was saved, and read-only.

        ``rows=slice(start, stop)`` reads and proves that part along the first axis, and not the rest of an
        array in C order. Nothing larger than ``max_bytes`` (by default 4 GiB) is allocated.

        Raises:
            NotFoundError: if there is no such row, or no array in it.
            DatabaseError: if the array is damaged: all that is read is compared with its checksums.
        """
        from holdfast.io import arrays

        return arrays.load(self._executor, self.name, key, column, rows=rows, max_bytes=max_bytes)

    def load_arrays(
        self,
        keys: Iterable[Any] | None = None,
        where: Where = None,
        params: Params = None,
        column: str = "data",
        *,
        max_bytes: int | None = None,
    ) -> dict[Any, NDArray[Any]]:
        """The arrays under ``keys``, or of the rows that satisfy ``where``, as a dict; all of one moment.

        ``max_bytes`` is for all of them together.
        """
        from holdfast.io import arrays

        return arrays.load_many(self._executor, self.name, keys, where, params, column, max_bytes=max_bytes)

    def verify_array(self, key: Any, column: str = "data") -> ArrayInfo:
        """Compare all of a stored array with its checksums, with flat memory, and say what it is.

        Raises:
            DatabaseError: if it is damaged.
        """
        from holdfast.io import arrays

        return arrays.verify(self._executor, self.name, key, column)


def _place(path: PathLike | TextIO) -> Path | TextIO:
    """A path, or an open text stream as it is."""
    return path_of(path) if isinstance(path, (str, os.PathLike)) or not hasattr(path, "closed") else path


def _length(rows: Any) -> int | None:
    return len(rows) if hasattr(rows, "__len__") else None


class Database:
    """A SQLite file or a PostgreSQL database; made by :func:`holdfast.connect`.

    Each call that writes is all or nothing. One object may be used from many threads; each has its own
    connection and its own transaction.

    >>> with holdfast.connect("runs.db") as db:
    ...     db.create_table("runs", {"id": "INTEGER PRIMARY KEY", "acc": float})
    ...     db.insert("runs", {"acc": 0.9})
    1
    """

    def __init__(self, target: Target, options: Mapping[str, Any], *, if_not_exists: bool = False) -> None:
        self._engine = engine_for(target.scheme)
        given = options.get("timeout")
        self._target = target
        # A database in memory is there while a connection is.
        passes = options.get("pool") == "null" and not target.is_memory
        self._executor = (PassingExecutor if passes else Executor)(
            self._engine,
            target,
            self._engine.connect.create(target, options),
            timeout=self._engine.features.default_timeout if given is None else float(given),
            is_private=target.is_memory,
            patience=options.get("reconnect_timeout", RECONNECT_SECONDS),
        )
        self._if_not_exists = if_not_exists
        self._handles: dict[str, Table] = {}
        self._slow_log: SlowLog | None = None
        self.record_queries(options.get("slow_log") is not False)
        # Only what was asked for is taken to be all that is ever asked.
        self._is_complete = bool(options.get("slow_log"))
        self._is_traced = False
        self.trace_queries(bool(options.get("telemetry")))
        try:
            with self._executor.impatient():
                self._executor.session()
            self._executor.pass_on()
        except BaseException:
            self._executor.close()
            raise

    def __repr__(self) -> str:
        return f"<Database {self._target.masked_url}{'' if self.is_open else ', closed'}>"

    # Connection

    @property
    def is_open(self) -> bool:
        """Whether :meth:`close` has not been called."""
        return self._executor.is_open

    @property
    def url(self) -> str:
        """Where the database is, with any password masked."""
        return self._target.masked_url

    @property
    def engine(self) -> sqlalchemy.Engine:
        """The SQLAlchemy engine: the same pool, and in this thread's transaction the same transaction."""
        if not self.is_open:
            raise ClosedError("this database has been closed", hint="connect again")
        return self._executor.sqlalchemy

    def health(self) -> Health:
        """How the database does: whether it answers, the pool, what was tried again, the last error.

        It asks once, and raises nothing while the database is away.

        >>> db.health().is_ok
        True
        """
        return health.check(self._executor)

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Wait until the database answers, for up to ``timeout`` seconds.

        To wait for a server that is not there yet, ``connect(url, wait_until_ready=60)``.

        Raises:
            ConnectionFailed: if it did not answer in time.
        """
        health.wait_until_ready(self._executor, timeout)

    def close(self) -> None:
        """Give all connections back. A transaction that is still open is rolled back. Twice is harmless.

        What another thread is in the middle of comes to its end: a statement, or a transaction, which is
        rolled back when its block is left. What that thread asks for next raises :class:`ClosedError`.
        """
        self._executor.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if exc is None and self.is_open and self._executor.in_transaction:
                self.commit()
        finally:
            self.close()

    # Rows

    def table(self, name: str) -> Table:
        """A table by its name, with the same verbs; it need not exist yet."""
        handle = self._handles.get(name) if isinstance(name, str) else None
        if handle is None:
            if len(self._handles) >= MOST_HANDLES:
                self._handles.clear()
            handle = self._handles[check_identifier(name, "table name")] = Table(self._executor, name)
        return handle

    __getitem__ = table

    def insert(self, table: str, row: Row, *, idempotency_key: str | None = None) -> Any:
        """Write one row and return its primary key. See :meth:`Table.insert`."""
        return self.table(table).insert(row, idempotency_key=idempotency_key)

    def insert_many(
        self,
        table: str,
        rows: Rows,
        *,
        on_conflict: str = "error",
        key: str | Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        batch_size: int | None = None,
        progress: bool | None = False,
        idempotency_key: str | None = None,
    ) -> int:
        """Write all rows or none. See :meth:`Table.insert_many`."""
        return self.table(table).insert_many(
            rows,
            on_conflict=on_conflict,
            key=key,
            columns=columns,
            batch_size=batch_size,
            progress=progress,
            idempotency_key=idempotency_key,
        )

    def upsert(
        self,
        table: str,
        row: Row,
        key: str | Sequence[str] | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> Any:
        """Insert a row or update the one with the same key. See :meth:`Table.upsert`."""
        return self.table(table).upsert(row, key, idempotency_key=idempotency_key)

    def upsert_many(
        self,
        table: str,
        rows: Rows,
        key: str | Sequence[str] | None = None,
        *,
        columns: Sequence[str] | None = None,
        batch_size: int | None = None,
        progress: bool | None = False,
    ) -> int:
        """Insert or update all rows by key. See :meth:`Table.upsert_many`."""
        return self.table(table).upsert_many(
            rows, key, columns=columns, batch_size=batch_size, progress=progress
        )

    def update_many(
        self,
        table: str,
        rows: Rows,
        key: str | Sequence[str] = "id",
        *,
        columns: Sequence[str] | None = None,
        batch_size: int | None = None,
        progress: bool | None = False,
    ) -> int:
        """Change the rows found by key. See :meth:`Table.update_many`."""
        return self.table(table).update_many(
            rows, key, columns=columns, batch_size=batch_size, progress=progress
        )

    def select(
        self,
        table: str,
        columns: Columns = None,
        where: Where = None,
        params: Params = None,
        order_by: OrderBy = None,
        limit: int | None = None,
        offset: int | None = None,
        distinct: bool = False,
    ) -> list[dict[str, Any]]:
        """The rows that satisfy ``where``, as dicts. See :meth:`Table.select`."""
        return self.table(table).select(columns, where, params, order_by, limit, offset, distinct)

    def get(self, table: str, key: Any) -> dict[str, Any]:
        """The row with that primary key. See :meth:`Table.get`."""
        return self.table(table).get(key)

    def find_one(
        self,
        table: str,
        columns: Columns = None,
        where: Where = None,
        params: Params = None,
        order_by: OrderBy = None,
        offset: int | None = None,
    ) -> dict[str, Any] | None:
        """The first row that satisfies ``where``, or ``None``."""
        return self.table(table).find_one(columns, where, params, order_by, offset)

    def count(self, table: str, where: Where = None, params: Params = None) -> int:
        """How many rows satisfy ``where``."""
        return self.table(table).count(where, params)

    def exists(self, table: str, where: Where = None, params: Params = None) -> bool:
        """Whether any row satisfies ``where``."""
        return self.table(table).exists(where, params)

    def update(
        self,
        table: str,
        data: Row,
        where: Where = None,
        params: Params = None,
        *,
        all_rows: bool = False,
    ) -> int:
        """Change the rows that satisfy ``where``. See :meth:`Table.update`."""
        return self.table(table).update(data, where, params, all_rows=all_rows)

    def delete(
        self, table: str, where: Where = None, params: Params = None, *, all_rows: bool = False
    ) -> int:
        """Remove the rows that satisfy ``where``. See :meth:`Table.delete`."""
        return self.table(table).delete(where, params, all_rows=all_rows)

    def stream(
        self, table_or_sql: str, *args: Any, batch_size: int = 10_000, **kwargs: Any
    ) -> Iterator[dict[str, Any]]:
        """The rows of a table or of a query one by one with flat memory.

        For a table the arguments are those of :meth:`Table.stream`; for a query, its ``params``.
        """
        return query.stream(self._executor, table_or_sql, *args, batch_size=batch_size, **kwargs)

    def paginate(
        self,
        table: str,
        order_by: OrderBy = None,
        limit: int = 100,
        after: str | None = None,
        where: Where = None,
        params: Params = None,
        *,
        columns: Sequence[str] | str | None = None,
    ) -> Page:
        """One page of a table. See :meth:`Table.paginate`."""
        return self.table(table).paginate(order_by, limit, after, where, params, columns=columns)

    # Free SQL

    def execute(self, sql: str, params: Params = None) -> Result:
        """Run one statement of your own SQL, with ``?`` or ``:name`` for its values.

        >>> db.execute("SELECT count(*) FROM runs WHERE acc > ?", [0.5]).scalar()
        1
        """
        return query.execute(self._executor, sql, params).framed_by(_frame)

    def executemany(self, sql: str, params: Iterable[Params]) -> int:
        """Run one statement for each set of values, all or none; return how many rows it changed."""
        return query.executemany(self._executor, sql, params)

    def query(self, sql: str, params: Params = None) -> list[dict[str, Any]]:
        """The rows of your own SQL as dicts: ``execute(sql, params).rows``."""
        return query.select(self._executor, sql, params)

    # Transactions

    def transaction(self, *, isolation: str | None = None, read_only: bool = False) -> Transaction:
        """``with db.transaction():`` all of the block is kept, or nothing; nested, a savepoint.

        After a statement failed in the database the transaction can only be rolled back; wrap a statement
        that may fail in a nested one to go on.
        """
        return Transaction(self._executor, isolation=isolation, read_only=read_only)

    atomic = transaction

    def begin_transaction(self, *, isolation: str | None = None, read_only: bool = False) -> None:
        """Open a transaction by hand; :meth:`commit` or :meth:`rollback` ends it."""
        transaction.begin_by_hand(self._executor, isolation=isolation, read_only=read_only)

    def commit(self) -> None:
        """Keep the work of the transaction that was begun by hand."""
        transaction.end_by_hand(self._executor, keep=True)

    def rollback(self) -> None:
        """Undo the work of the transaction that was begun by hand."""
        transaction.end_by_hand(self._executor, keep=False)

    def run_transaction(
        self,
        work: Callable[[], T],
        *,
        retries: int = 5,
        isolation: str | None = None,
        read_only: bool = False,
    ) -> T:
        """Call ``work`` in a transaction, and again from its start when it met a concurrent one."""
        return transaction.run_transaction(
            self._executor, work, retries=retries, isolation=isolation, read_only=read_only
        )

    # Schema

    def create_table(
        self,
        name: str,
        columns: Mapping[str, str | type],
        *,
        primary_key: str | Sequence[str] | None = None,
        foreign_keys: Any = None,
        unique: str | Sequence[str | Sequence[str]] | None = None,
        checks: str | Sequence[str] | None = None,
        if_not_exists: bool | None = None,
    ) -> None:
        """Create a table from column names and types: SQL texts of either dialect, or Python types.

        ``foreign_keys`` is such as ``{"user_id": "users(id) ON DELETE CASCADE"}``. INTEGER is 64 bits and
        REAL is double precision on both engines; ``INTEGER PRIMARY KEY`` and ``SERIAL PRIMARY KEY``
        generate their values.

        Raises:
            TableExists: if there is one, unless ``if_not_exists=True``, which leaves it as it is.
        """
        schema.create_table(
            self._executor,
            name,
            columns,
            primary_key=primary_key,
            foreign_keys=foreign_keys,
            unique=unique,
            checks=checks,
            if_not_exists=self._if_not_exists if if_not_exists is None else if_not_exists,
        )

    def drop_table(self, name: str, *, if_exists: bool = False) -> None:
        """Drop a table that no foreign key and no view depends on."""
        schema.drop_table(self._executor, name, if_exists=if_exists)

    def rename_table(self, name: str, new_name: str) -> None:
        """Give a table another name; foreign keys, indexes, triggers and views follow."""
        schema.rename_table(self._executor, name, new_name)

    def table_exists(self, name: str) -> bool:
        """Whether there is a table or a view of that name."""
        return schema.table_exists(self._executor, name)

    def list_tables(self) -> list[str]:
        """The names of the tables, by code point."""
        return schema.list_tables(self._executor)

    def list_views(self) -> list[str]:
        """The names of the views, by code point."""
        return schema.list_views(self._executor)

    def get_columns(self, table: str) -> list[dict[str, Any]]:
        """Name, declared type, nullable, default and primary_key of each column, in order."""
        return self.table(table).get_columns()

    def add_column(self, table: str, column: str, definition: str | type) -> None:
        """Add a column; the rows that are there take its default."""
        self.table(table).add_column(column, definition)

    def drop_column(self, table: str, column: str) -> None:
        """Drop a column with the indexes and constraints it is part of."""
        self.table(table).drop_column(column)

    def rename_column(self, table: str, column: str, new_name: str) -> None:
        """Give a column another name; keys, indexes, triggers and views follow."""
        self.table(table).rename_column(column, new_name)

    def alter_column(
        self,
        table: str,
        column: str,
        *,
        type: str | type | None = None,
        nullable: bool | None = None,
        default: Any = UNSET,
    ) -> None:
        """Change a column's type, nullability or default. See :meth:`Table.alter_column`."""
        self.table(table).alter_column(column, type=type, nullable=nullable, default=default)

    def add_foreign_key(
        self,
        table: str,
        columns: str | Sequence[str],
        references: str,
        keys: str | Sequence[str] | None = None,
        *,
        on_delete: str | None = None,
        on_update: str | None = None,
    ) -> None:
        """Make columns refer to another table. See :meth:`Table.add_foreign_key`."""
        self.table(table).add_foreign_key(columns, references, keys, on_delete=on_delete, on_update=on_update)

    def create_index(
        self,
        table: str,
        columns: str | Sequence[str],
        unique: bool = False,
        name: str | None = None,
        where: str | None = None,
        method: str | None = None,
    ) -> str:
        """Create an index, by default named ``idx_<table>_<columns>``; the same one twice is harmless."""
        return self.table(table).create_index(columns, unique, name, where, method)

    def drop_index(self, table_or_name: str, name: str | None = None) -> None:
        """Drop an index: ``drop_index(name)`` or ``drop_index(table, name)``."""
        from holdfast.core import indexes

        indexes.drop_index(self._executor, table_or_name, name)

    def list_indexes(self, table: str | None = None) -> list[dict[str, Any]]:
        """The indexes of a table, or of all tables."""
        from holdfast.core import indexes

        return indexes.list_indexes(self._executor, table)

    # Search

    def enable_search(self, table: str, columns: str | Sequence[str], language: str = "english") -> None:
        """Make a table searchable by the words of its text columns. See :meth:`Table.enable_search`."""
        self.table(table).enable_search(columns, language)

    def search(
        self,
        table: str,
        text: str,
        limit: int | None = 20,
        where: Where = None,
        params: Params = None,
    ) -> list[dict[str, Any]]:
        """The rows that hold every word of ``text``, the best first. See :meth:`Table.search`."""
        return self.table(table).search(text, limit, where, params)

    def disable_search(self, table: str) -> None:
        """Take the search off a table. See :meth:`Table.disable_search`."""
        self.table(table).disable_search()

    # In and out

    def to_dataframe(self, table_or_sql: str, *args: Any, **kwargs: Any) -> pd.DataFrame:
        """A table or a query as a pandas DataFrame; declared types rule, also where there are no rows.

        For a table the arguments are those of :meth:`Table.select`; for a query, its ``params``.
        """
        from holdfast.io import frames

        return frames.to_dataframe(self._executor, table_or_sql, *args, **kwargs)

    def from_dataframe(
        self,
        df: pd.DataFrame,
        table: str,
        if_exists: str = "fail",
        *,
        progress: bool | None = None,
    ) -> int:
        """Write a DataFrame's rows, all or none; NaN, NaT and NA become NULL.

        A missing table is created from the frame. ``if_exists`` is ``"fail"``, ``"append"`` or ``"replace"``.
        A named index is written as columns, an unnamed one of labels as the column ``index``.
        A polars DataFrame goes to :meth:`from_arrow`.
        """
        from holdfast.io import frames

        return frames.from_dataframe(self._executor, df, table, if_exists, progress=progress)

    def export_to_csv(
        self, table: str, path: PathLike | TextIO, *, progress: bool | None = None, **options: Any
    ) -> int:
        """Write a table as CSV and return how many rows there were; NULL is an empty field, ``""`` is ''."""
        from holdfast.io import csv

        return csv.export_table(self._executor, table, _place(path), progress=progress, **options)

    def export_query_to_csv(
        self,
        sql: str,
        path: PathLike | TextIO,
        params: Params = None,
        *,
        progress: bool | None = None,
        **options: Any,
    ) -> int:
        """Write the rows of a query as CSV and return how many there were."""
        from holdfast.io import csv

        return csv.export_query(self._executor, sql, _place(path), params, progress=progress, **options)

    def import_from_csv(
        self,
        table: str,
        path: PathLike | TextIO,
        if_exists: str = "append",
        *,
        extra_columns: str = "error",
        rejects: PathLike | None = None,
        resume: bool = False,
        progress: bool | None = None,
        **options: Any,
    ) -> int:
        """Load a CSV file, all rows or none, and return how many there were.

        An empty field is NULL and ``""`` is ''. A missing table is created from the data; existing types win.
        ``extra_columns`` is ``"error"``, ``"ignore"`` or ``"add"``; bad rows stop the import, or go to the
        file ``rejects``. With ``resume`` rows are committed as they come in, and a call after a crash goes on
        behind the last of them; the count is that of all calls together.

        Raises:
            ImportFailed: naming file, line and column of the first bad row; nothing was written.
        """
        from holdfast.io import csv

        return csv.import_table(
            self._executor,
            table,
            _place(path),
            if_exists,
            extra_columns=extra_columns,
            rejects=Path(rejects) if rejects is not None else None,
            resume=resume,
            progress=progress,
            **options,
        )

    def export(
        self,
        table_or_sql: str,
        path: PathLike,
        *args: Any,
        format: str | None = None,
        progress: bool | None = None,
        **options: Any,
    ) -> int:
        """Write a table or a query in the format of the path's extension; return how many rows there were.

        The formats are csv, tsv, jsonl, json, parquet and feather; those of text may also end in ``.gz`` or
        ``.zst``. For a table the arguments are those of :meth:`Table.select`, for a query its ``params``;
        CSV and TSV have options besides. The file appears when it is whole, in the place of an older one.

        Raises:
            NotSupported: if the format has no form for a value; the file that was there stays.
        """
        from holdfast.io import formats

        return formats.export(
            self._executor, table_or_sql, path_of(path), *args, format=format, progress=progress, **options
        )

    def load(
        self,
        table: str,
        path: PathLike,
        if_exists: str = "append",
        *,
        format: str | None = None,
        extra_columns: str = "error",
        resume: bool = False,
        progress: bool | None = None,
        **options: Any,
    ) -> int:
        """Load a file in the format of its extension, all rows or none; return how many there were.

        A missing table is created from the data; existing types win. ``if_exists`` is ``"append"``,
        ``"fail"`` or ``"replace"``; ``extra_columns`` is ``"error"``, ``"ignore"`` or ``"add"``. CSV and TSV
        take the options of :meth:`import_from_csv`, JSON ``rejects``, and every format ``resume``.

        Raises:
            ImportFailed: naming the file and the place of the first bad row; nothing was written.
        """
        from holdfast.io import formats

        return formats.load(
            self._executor,
            table,
            path_of(path),
            if_exists,
            format=format,
            extra_columns=extra_columns,
            resume=resume,
            progress=progress,
            **options,
        )

    def to_arrow(self, table_or_sql: str, *args: Any, **kwargs: Any) -> pa.Table:  # type: ignore[name-defined]
        """A table or a query as an Arrow table; declared types rule, also where there are no rows.

        For a table the arguments are those of :meth:`Table.select`; for a query, its ``params``.

        Raises:
            NotSupported: if a column holds what its Arrow type cannot.
        """
        from holdfast.io import arrow

        return arrow.to_arrow(self._executor, table_or_sql, *args, **kwargs)

    def from_arrow(
        self, data: Any, table: str, if_exists: str = "fail", *, progress: bool | None = None
    ) -> int:
        """Write the rows of Arrow data, all or none; return how many there were.

        ``data`` is a Table, a RecordBatch, a RecordBatchReader, or whatever offers an Arrow stream, such as
        a polars DataFrame. A missing table is created from its schema.

        Raises:
            ImportFailed: if a column or a value cannot go into a table as it is; nothing was written.
        """
        from holdfast.io import arrowrows

        return arrowrows.from_arrow(self._executor, data, table, if_exists, progress=progress)

    def to_polars(self, table_or_sql: str, *args: Any, **kwargs: Any) -> pl.DataFrame:
        """A table or a query as a polars DataFrame; arguments as :meth:`to_arrow`."""
        from holdfast.io import arrow

        return arrow.to_polars(self._executor, table_or_sql, *args, **kwargs)

    # Blobs

    def store_blob(self, table: str, row: Row) -> Any:
        """Write a row that holds bytes, creating its table where there is none; return its key."""
        from holdfast.io import blobs

        return blobs.store(self._executor, table, row)

    def get_blob(self, table: str, column: str, where: Where = None, params: Params = None) -> bytes:
        """The bytes of one column of the first row that satisfies ``where``.

        Raises:
            NotFoundError: if there is no such row, or its value is NULL.
        """
        from holdfast.io import blobs

        blob: bytes = blobs.get(self._executor, table, column, where, params)
        return blob

    # Arrays

    def save_array(
        self,
        table: str,
        array: NDArray[Any],
        key: Any = None,
        column: str = "data",
        metadata: Any = None,
        *,
        compress: bool | str = "auto",
    ) -> Any:
        """Write one NumPy array under a key. See :meth:`Table.save_array`."""
        return self.table(table).save_array(array, key, column, metadata, compress=compress)

    def save_arrays(
        self,
        table: str,
        arrays: Mapping[Any, NDArray[Any]] | Iterable[Any],
        column: str = "data",
        metadata: Mapping[Any, Any] | None = None,
        *,
        compress: bool | str = "auto",
    ) -> list[Any]:
        """Write arrays by key, all or none. See :meth:`Table.save_arrays`."""
        return self.table(table).save_arrays(arrays, column, metadata, compress=compress)

    def load_array(
        self,
        table: str,
        key: Any,
        column: str = "data",
        *,
        rows: slice | None = None,
        max_bytes: int | None = None,
    ) -> NDArray[Any]:
        """The array under a key, or a part of it. See :meth:`Table.load_array`."""
        return self.table(table).load_array(key, column, rows=rows, max_bytes=max_bytes)

    def load_arrays(
        self,
        table: str,
        keys: Iterable[Any] | None = None,
        where: Where = None,
        params: Params = None,
        column: str = "data",
        *,
        max_bytes: int | None = None,
    ) -> dict[Any, NDArray[Any]]:
        """The arrays under some keys, or of some rows. See :meth:`Table.load_arrays`."""
        return self.table(table).load_arrays(keys, where, params, column, max_bytes=max_bytes)

    def verify_array(self, table: str, key: Any, column: str = "data") -> ArrayInfo:
        """Compare all of a stored array with its checksums. See :meth:`Table.verify_array`."""
        return self.table(table).verify_array(key, column)

    # Upkeep

    def vacuum(self) -> None:
        """Give unused space back. Not inside a transaction."""
        from holdfast.inspection import upkeep

        upkeep.vacuum(self._executor)

    def analyze(self) -> None:
        """Renew the planner's statistics."""
        from holdfast.inspection import upkeep

        upkeep.analyze(self._executor)

    def optimize(self) -> None:
        """What the engine advises from time to time: statistics, and a checkpoint or a vacuum."""
        from holdfast.inspection import upkeep

        upkeep.optimize(self._executor)

    def get_stats(self) -> dict[str, Any]:
        """``size`` in bytes, ``table_count``, ``tables`` (the rows of each), ``rows``, and more."""
        from holdfast.inspection import report

        return report.stats(self._executor)

    @property
    def summary(self) -> Summary:
        """The tables with their columns and row counts; print it."""
        from holdfast.inspection import report

        return report.summary(self._executor)

    def __call__(self) -> None:
        """Print :attr:`summary`."""
        print(self.summary)

    def explain(self, sql: str, params: Params = None, *, analyze: bool = False) -> Plan:
        """How the database will run a statement, and in words what is slow about it; print it.

        The plan is the same tree of steps on every engine; ``plan.text`` is the engine's own. With
        ``analyze`` the statement is run and measured, and what it changed is taken back.

        >>> print(db.explain("SELECT * FROM runs WHERE id = ?", [1]))
        search runs (rowid=?)

        Raises:
            InvalidQuery: for a statement that has no plan, such as CREATE TABLE.
        """
        from holdfast.tuning import explain

        return explain.explain(self._executor, sql, params, analyze=analyze)

    def record_queries(self, on: bool = True) -> None:
        """Begin to record what is asked of this database, in all threads, or end it; both forget the past.

        It is on from the start, unless ``connect(url, slow_log=False)`` says otherwise, and takes some 2 %
        of the time of a ``get`` from a SQLite file. All calls are counted; of statements that take less than
        0.26 ms only each 31st is measured.
        """
        from holdfast.tuning.slow_log import SlowLog

        self._slow_log = SlowLog(self._engine.lexicon) if on else None
        self._executor.recorder = self._slow_log
        self._is_complete = on

    def trace_queries(self, on: bool = True, *, tracer_provider: TracerProvider | None = None) -> None:
        """Begin to make an OpenTelemetry span of every statement, in all threads, or end it.

        ``connect(url, telemetry=True)`` begins at once. Spans follow the semantic conventions for databases
        and hold no value of a statement; without a ``tracer_provider`` the global one makes them. Off, it
        costs nothing. Needs the extra ``telemetry``.

        Raises:
            MissingDependency: if OpenTelemetry's API is not installed.
        """
        if not on and not self._is_traced:
            return
        from holdfast.tuning import telemetry

        telemetry.trace(self._executor, on, tracer_provider)
        self._is_traced = on

    def slow_queries(
        self, limit: int | None = 20, *, plans: bool = False, source: str | None = None
    ) -> SlowQueries:
        """The statements that took the most time together, alike but for their values; print it.

        Each says what this object measured, in ``process``, and what PostgreSQL's pg_stat_statements counted
        of everybody, in ``server``; ``source`` is ``"process"`` or ``"server"`` for one of them alone.
        ``plans`` adds how each is run now, which need not be how its worst call was run. What only looks at
        the catalogue is left out: most of that Holdfast asks for itself. No value is ever shown.

        >>> print(db.slow_queries(1))  # doctest: +SKIP
        0.3 ms in 9 calls, half under 0.02 ms, 95 % under 0.04 ms, 9 rows: SELECT acc FROM runs WHERE id = ?

        Raises:
            ConfigurationError: if nothing is recorded.
            NotSupported: if the server has no statistics.
        """
        from holdfast.tuning import slow_queries

        return slow_queries.slow_queries(self._executor, self._slow_log, limit, plans=plans, source=source)

    def suggest_indexes(
        self,
        workload: Iterable[str] | None = None,
        *,
        most_rows: int = 200_000,
        complete: bool | None = None,
    ) -> Advices:
        """What would make statements faster, each tried on a copy and measured; print it.

        Indexes to make, also partial and covering ones, those to drop because another one does their work,
        and statistics to renew. ``workload`` are statements, one that comes often as often as it comes, by
        default those that :meth:`slow_queries` knows of. Their values are not needed. With ``complete``,
        which that default has if recording was asked for, they are all that is ever asked, and indexes
        that none of them uses are named too. The copy has at most ``most_rows`` of each table on PostgreSQL,
        all of the file on SQLite; nothing is built in the database itself but by ``.apply()`` of what is
        returned. Needs the extra ``tuning``.

        >>> for advice in db.suggest_indexes(["SELECT * FROM runs WHERE acc > 0.9"]):
        ...     print(advice)

        Raises:
            ConfigurationError: without a workload, if nothing was recorded.
            MissingDependency: if sqlglot is not installed.
            TransactionError: inside a transaction.
        """
        from holdfast.tuning import advise, slow_queries

        own = self._is_complete or self._slow_log is None
        is_complete = workload is None and own if complete is None else complete
        asked = slow_queries.workload(self._executor, self._slow_log) if workload is None else workload
        return advise.suggest(self._executor, asked, most_rows, complete=is_complete)

    def doctor(
        self,
        *,
        backups: PathLike | None = None,
        every: str | timedelta = "02:00",
        fix: PathLike | None = None,
    ) -> Findings:
        """What is wrong with the database, or will be, the worst first; print it. Nothing is changed.

        It looks for damage, rows that refer to nothing, settings that lose data, versions that do harm or
        get no fixes, collations that have changed, logs and dead rows that grow, connections that run out,
        foreign keys without an index, indexes that do nothing, statistics that are not there, and statements
        that want an index, of those that this object records or else pg_stat_statements counts. Each finding
        has the statements (``sql``) or the shell's line (``command``) that mend it. ``backups`` is the folder
        of backups made ``every`` so often: none that is overdue goes unsaid.
        With ``fix``, the path of a backup that is written first, what can be mended without any risk is.

        >>> db.doctor().is_healthy
        True
        """
        from holdfast.tuning import doctor

        others = []
        if backups is not None:
            from holdfast.backup import schedule
            from holdfast.backup.remote import place_of

            plan = schedule.plan_of(place_of(backups), every, None, {})
            others = schedule.findings(self._executor, plan, every)
        found = doctor.examine(self._executor, others, self._slow_log)
        if fix is None or not any(finding.is_safe for finding in found):
            return found
        self.backup_database(fix)
        doctor.mend(self._executor, found)
        return doctor.examine(self._executor, others, self._slow_log)

    def diff(
        self,
        other: Database,
        tables: Iterable[str] | None = None,
        *,
        exclude: Iterable[str] = (),
        limit: int | None = 100,
        rows: bool = False,
        progress: bool | None = None,
    ) -> Difference:
        """What this database, ``a``, and another one, ``b``, hold that is not the same.

        See :func:`holdfast.diff`.
        """
        from holdfast.transfer.diff import diff

        return diff(
            self._executor,
            executor_of(other),
            tables,
            exclude=exclude,
            limit=limit,
            rows=rows,
            progress=progress,
        )

    def delete_duplicates(
        self,
        table: str,
        columns: Columns = None,
        keep: str = "first",
        dry_run: bool = False,
    ) -> int:
        """Remove rows that are alike in ``columns`` but one of each; return how many.

        NULLs equal each other. ``keep`` is ``"first"`` or ``"last"`` by primary key; ``dry_run`` only counts.
        """
        from holdfast.tuning import duplicates

        return duplicates.delete_duplicates(self._executor, table, columns, keep, dry_run)

    # Backup

    def backup_database(
        self, path: PathLike, *, recipients: Sequence[str] | None = None, progress: bool | None = None
    ) -> Path:
        """Write all there is at one moment and return the path; readers and writers go on.

        The extension says how: ``.sql`` is readable text; ``.db``, ``.sqlite`` or ``.sqlite3`` a copy of a
        SQLite database; ``.dump`` pg_dump's custom format; ``.hfz`` the portable archive, which every engine
        restores. ``path`` may be a URL that fsspec knows, such as ``s3://bucket/lab.sql`` (extra ``remote``),
        here and wherever a backup is named. An archive is encrypted with age for ``recipients``, public keys
        such as ``["age1..."]``.
        """
        from holdfast.backup import archive
        from holdfast.backup.remote import place_of

        return archive.write(self._executor, None, place_of(path), recipients=recipients, progress=progress)

    def backup_table(
        self,
        table: str,
        path: PathLike,
        *,
        recipients: Sequence[str] | None = None,
        progress: bool | None = None,
    ) -> Path:
        """Write a backup of one table."""
        from holdfast.backup import archive
        from holdfast.backup.remote import place_of

        return archive.write(self._executor, table, place_of(path), recipients=recipients, progress=progress)

    def restore_database(
        self,
        path: PathLike,
        *,
        into: PathLike | None = None,
        table: str | None = None,
        dry_run: bool = False,
        keep_old: bool = True,
        unverified: bool = False,
        identity: PathLike | None = None,
        progress: bool | None = None,
    ) -> Report:
        """Put the tables of a backup in the place of those that are here, all or none.

        The new data is compared with what the backup says it holds before anything is kept. Tables that the
        backup does not name stay as they are. What is replaced is backed up first, beside the database or
        the backup, unless ``keep_old=False``; the report names the file.

        ``into`` is the path or URL of a new database to make instead. ``dry_run`` proves the backup in a
        scratch database and says what would be replaced. ``unverified=True`` takes a file of another
        program. ``identity`` is the file with the secret key of an encrypted archive.

        Raises:
            BackupCorrupt: if the file is cut short or changed; the database is as it was.
            BackupError: if the backup does not fit here, or ``into`` holds something already.
        """
        from holdfast.backup import restore, verify
        from holdfast.backup.remote import place_of

        key = _key(identity)
        how = restore.How(unverified=unverified, keep_old=keep_old, identity=key, progress=progress)
        if dry_run:
            return verify.rehearse(self._executor, place_of(path), table, key)
        if into is not None:
            return restore.restore_into(os.fspath(into), place_of(path), table, how)
        return restore.restore(self._executor, place_of(path), table, how)

    def restore_table(
        self,
        table: str,
        path: PathLike,
        *,
        keep_old: bool = True,
        unverified: bool = False,
        identity: PathLike | None = None,
        progress: bool | None = None,
    ) -> Report:
        """Put one table of a backup in the place of the one that is here."""
        return self.restore_database(
            path,
            table=table,
            keep_old=keep_old,
            unverified=unverified,
            identity=identity,
            progress=progress,
        )

    def verify_backup(self, path: PathLike, *, identity: PathLike | None = None) -> Report:
        """Restore a backup into a scratch database and compare it with what it says it holds.

        ``identity`` is the file with the secret key of an encrypted archive.
        """
        from holdfast.backup import verify
        from holdfast.backup.remote import place_of

        key = _key(identity)
        return verify.verify_backup(self._executor, place_of(path), key)

    def list_backups(self, folder: PathLike, *, identity: PathLike | None = None) -> list[Backup]:
        """The backups in a folder, of any database, the newest first; each is checked to its last byte.

        ``identity`` is the file with the secret key of encrypted archives; one that it does not open is
        listed as ``is_closed``.
        """
        from holdfast.backup import listing
        from holdfast.backup.remote import place_of

        return listing.list_backups(place_of(folder), _key(identity))

    def prune_backups(
        self,
        folder: PathLike,
        *,
        keep_last: int = 0,
        keep_daily: int = 0,
        keep_weekly: int = 0,
        keep_monthly: int = 0,
        keep_yearly: int = 0,
        dry_run: bool = False,
        identity: PathLike | None = None,
    ) -> Pruned:
        """Remove the backups in a folder that no rule keeps.

        A backup is kept if it is one of the last ones, or the newest of one of the last days, ISO weeks,
        months or years (of UTC) that have one. Each database's backups are counted by themselves, by the
        time that stands in them and not by that of the file. Only backups that are as they were written
        count; damaged ones stay, and so does the newest sound one. Encrypted archives count with the key that
        opens them, in the file ``identity``; without it they stay.

        >>> path = db.backup_database("lab.sql")
        >>> pruned = db.prune_backups(path.parent, keep_last=5, keep_daily=7, keep_monthly=12)
        >>> pruned.removed
        []

        Raises:
            InvalidQuery: if no rule keeps any.
        """
        from holdfast.backup import retention
        from holdfast.backup.remote import place_of

        keep = retention.Keep(keep_last, keep_daily, keep_weekly, keep_monthly, keep_yearly)
        return retention.prune_backups(place_of(folder), keep, dry_run=dry_run, identity=_key(identity))

    def backup_if_due(
        self,
        folder: PathLike,
        every: str | timedelta = "02:00",
        *,
        extension: str | None = None,
        recipients: Sequence[str] | None = None,
        identity: PathLike | None = None,
        **keep: int,
    ) -> Path | None:
        """Make a backup if one is due, prove it by restoring it, and then prune; ``None`` if none is due.

        ``every`` is a time of day (``"02:00"``), a span (``"90m"``, ``"6h"``, ``"1d"``, ``"1w"``) or a
        timedelta. Whether a backup is due follows from the sound ones of this database in ``folder``: one
        that was missed is made up for. ``keep`` are the rules of :meth:`prune_backups`; without one nothing
        is removed. Nothing is removed either after a backup that failed.

        ``recipients`` are the public keys for whom archives are encrypted, and ``identity`` is the file with
        the secret key of one of them: without it nothing could be proven.

        Raises:
            BackupCorrupt: if the new backup could not be proven.
            DatabaseBusy: if another process makes one there.
        """
        from holdfast.backup import schedule
        from holdfast.backup.remote import place_of

        key = schedule.Key(recipients, _key(identity))
        plan = schedule.plan_of(place_of(folder), every, extension, keep, key)
        return schedule.run_due(self._executor, plan)

    def next_backup(
        self, folder: PathLike, every: str | timedelta = "02:00", *, identity: PathLike | None = None
    ) -> datetime:
        """When the next backup is due, in UTC; one that is overdue was due in the past, or is now."""
        from holdfast.backup import schedule
        from holdfast.backup.remote import place_of

        key = schedule.Key(identity=_key(identity))
        return schedule.due(self._executor, schedule.plan_of(place_of(folder), every, None, {}, key))

    def schedule_backups(
        self,
        folder: PathLike,
        every: str | timedelta = "02:00",
        *,
        extension: str | None = None,
        recipients: Sequence[str] | None = None,
        identity: PathLike | None = None,
        stop: threading.Event | None = None,
        tell: Callable[[Path | Error], None] | None = None,
        **keep: int,
    ) -> None:
        """Do :meth:`backup_if_due` whenever it is time, until ``stop`` is set.

        ``tell`` is called with the path of each backup that was made, and with each failure.

        What fails is logged by the logger ``holdfast.backup`` and tried again after a minute, and then each
        time after twice as long, up to half an hour.
        """
        from holdfast.backup import schedule
        from holdfast.backup.remote import place_of

        key = schedule.Key(recipients, _key(identity))
        plan = schedule.plan_of(place_of(folder), every, extension, keep, key)
        schedule.run_forever(self._executor, plan, stop=stop, tell=tell)


def _key(identity: PathLike | None) -> Path | None:
    return None if identity is None else Path(identity)


def _frame(result: Result) -> pd.DataFrame:
    from holdfast.io import frames

    return frames.result_to_dataframe(result)


def executor_of(db: Database) -> Executor:
    """What runs the statements of a database.

    Raises:
        InvalidQuery: if it is none, but a path for example.
    """
    if not isinstance(db, Database):
        raise InvalidQuery(
            f"{type(db).__name__!r} is not an open database",
            hint="holdfast.connect() opens one, by path or URL",
        )
    return db._executor


def open_database(
    url: PathLike | None,
    options: Mapping[str, Any],
    *,
    engine: str | None = None,
    if_not_exists: bool = False,
) -> Database:
    """Resolve a URL and options, and open what they name."""
    from holdfast.settings import resolve

    return open_target(resolve(url, engine=engine, **options), if_not_exists=if_not_exists)  # type: ignore[arg-type]


def open_target(target: Target, *, if_not_exists: bool = False) -> Database:
    """Open what was resolved before."""
    return until_reached(
        lambda: Database(target, target.options, if_not_exists=if_not_exists),
        target.options.get("wait_until_ready", 0.0),
    )
