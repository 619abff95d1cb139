"""Loading rows that come with values of their own: objects of JSON, batches of Arrow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from holdfast.core import bulk, schema
from holdfast.core.executor import Executor
from holdfast.core.progress import Advance, track
from holdfast.core.sources import Chunk, Source
from holdfast.engines.base import Column
from holdfast.errors import (
    ColumnNotFound,
    Error,
    ImportFailed,
    IntegrityError,
    ValueRefused,
    did_you_mean,
)
from holdfast.io import loading, values
from holdfast.io.resuming import Steps
from holdfast.types.codec import INT64_MAX, INT64_MIN

EXTRA_COLUMNS = ("error", "ignore", "add")


class Entries(Protocol):
    """Rows that can be read more than once, unless their columns are known beforehand."""

    @property
    def name(self) -> str:
        """What to call them in a message."""
        ...

    def names(self) -> list[str] | None:
        """The columns, or ``None`` where each row has its own."""
        ...

    def place(self, number: int) -> str:
        """Where the row of that number stands."""
        ...

    def types(self, known: Sequence[str]) -> dict[str, str]:
        """A type for each column that is not ``known``."""
        ...

    def given(self, columns: Sequence[Column]) -> list[str] | None:
        """Those of ``columns`` that each row has, in its order; ``None`` where rows are dicts."""
        ...

    def rows(self, columns: Sequence[Column], takes: Callable[[str], bool]) -> Iterator[Any]:
        """The rows, or chunks of them; ``takes`` is asked of a name that is none of ``columns``."""
        ...

    @property
    def is_inert(self) -> bool | None:
        """For chunks, whether reading on runs no code that might use the database; ``None`` for rows."""
        ...


def load(
    executor: Executor,
    table: str,
    found: Entries,
    if_exists: str,
    extra_columns: str,
    progress: bool | None,
    *,
    steps: Steps | None = None,
) -> int:
    """Write the rows, all or none unless ``steps`` say else, and return how many there were.

    Raises:
        ImportFailed: naming the place of the first bad row.
    """
    check(if_exists, extra_columns)
    steps = steps or Steps(executor)
    if not steps.is_done:
        with track(f"import {table}", show=progress) as advance, steps:
            if_exists = if_exists if steps.is_new else "append"
            prepare(executor, table, found, if_exists, extra_columns)
            _write(executor, table, found, extra_columns, steps, advance)
    return steps.loaded


def check(if_exists: str, extra_columns: str) -> None:
    """Refuse what these arguments cannot be."""
    loading.one_of("if_exists", if_exists, loading.IF_EXISTS)
    loading.one_of("extra_columns", extra_columns, EXTRA_COLUMNS)


def prepare(executor: Executor, table: str, found: Entries, if_exists: str, extra_columns: str) -> None:
    """Make the table ready for the rows' columns: created, widened or emptied as asked."""
    names = found.names()
    types: dict[str, str] = {}
    if not schema.table_exists(executor, table):
        types = found.types(())
        names = list(types)
        if not names:
            raise ImportFailed(
                f"{found.name} holds no row that names a column, and there is no table {table!r}",
                hint=f"make the table first: db.create_table({table!r}, {{...}})",
            )
    elif extra_columns == "add":
        known = executor.describe(table).names
        types = found.types(known)
        names = [*known, *types]
    loading.prepare_columns(
        executor,
        table,
        names or [],
        lambda wanted: {name: types[name] for name in wanted},
        if_exists,
        extra_columns,
        found.name,
    )


def taking(executor: Executor, table: str, extra_columns: str) -> tuple[list[Column], Callable[[str], bool]]:
    """The columns that rows may have, and what is asked of a name that is none of them."""
    info = executor.describe(table)
    computed = {column.name for column in info.columns if column.generated}

    def takes(name: str) -> bool:
        if extra_columns == "error" and name not in computed:
            raise ColumnNotFound(
                f"table {table!r} has no column {name!r}",
                hint=f"{did_you_mean(name, info.names, 'columns')}; or extra_columns='ignore' or 'add'",
            )
        return False

    return [column for column in info.columns if not column.generated], takes


def _write(
    executor: Executor,
    table: str,
    found: Entries,
    extra_columns: str,
    steps: Steps,
    advance: Advance | None,
) -> None:
    columns, takes = taking(executor, table, extra_columns)
    rows = found.rows(columns, takes)
    try:
        if found.is_inert is not None and steps.is_one:
            source = Source(rows, lambda: bool(found.is_inert))
            written = bulk.insert_many(executor, table, source, advance=advance)
            steps.passed(written, written)
            return
        given = found.given(columns) or None
        for part in steps.parts(rows if found.is_inert is None else _one_by_one(rows)):
            written = bulk.insert_many(executor, table, part.rows(), columns=given, advance=advance)
            steps.passed(steps.position + part.count, written)
            if not part.is_last:
                steps.commit()
    except Error as exc:
        kinds = (ValueRefused, IntegrityError, ColumnNotFound, ImportFailed)
        if exc.row_number is None or not isinstance(exc, kinds):
            raise
        said = exc.message.removeprefix(f"row {exc.row_number}: ")
        if isinstance(exc, ImportFailed):
            # It says where already, and the number of a row says less.
            raise ImportFailed(said, hint=exc.hint) from exc
        kind = ColumnNotFound if isinstance(exc, ColumnNotFound) else ImportFailed
        raise kind(f"{found.place(steps.position + exc.row_number)}: {said}", hint=exc.hint) from exc


def _one_by_one(chunks: Iterator[Chunk]) -> Iterator[Any]:
    for chunk in chunks:
        for part in chunk.arrow.plain({}) if chunk.arrow else (chunk,):
            yield from zip(*part.columns, strict=True)


def within_64_bits(value: Any) -> Any:
    """The value, if it is no integer that is too large for a column; what is said then has its name."""
    if type(value) is int and not INT64_MIN <= value <= INT64_MAX:
        raise ValueRefused("the number does not fit 64 bits", hint="declare the column NUMERIC or TEXT")
    return value


def read(name: str, reader: values.Read, value: Any) -> Any:
    """The value as its column's type has it; a refusal names the column."""
    try:
        return reader(value)
    except ValueRefused as exc:
        raise ValueRefused(f"column {name!r}: {_said(exc)}", hint=exc.hint) from exc


def _said(exc: ValueRefused) -> str:
    return f"the value {exc.message}" if exc.message.startswith("is ") else exc.message
