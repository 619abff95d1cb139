"""Reading a part of one binary value of PostgreSQL, in binary, with flat memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from psycopg import RawCursor

from holdfast.engines.base import Blob, Changed, Run, TableInfo
from holdfast.engines.names import quote_identifier as quote

# Up to here a value comes with the question how long it is.
_SMALL = 1 << 17
# The driver holds an answer twice before it hands it out, so a large value is fetched in pieces.
_PIECE = 1 << 20
# Up to here that does not matter, and all of it comes fastest in one go.
_WHOLE = 1 << 24


@contextmanager
def opened(
    raw: Any, info: TableInfo, column: str, condition: str, values: Sequence[Any], at_once: int
) -> Iterator[Blob | None]:
    """The value of the one row that satisfies ``condition``; ``None`` without such a row.

    It is read by statements of their own. A row that somebody replaces in between raises ``Changed``:
    then the value is to be opened again.
    """
    cursor = RawCursor(raw)
    name, source = quote(column), f"FROM {quote(info.name)} WHERE {condition}"

    def ask(sql: str, *more: Any) -> Any:
        return cursor.execute(sql, [*values, *more], binary=True, prepare=True).fetchone()

    version = "'', ''" if info.is_view else "xmin::text, ctid::text"
    packed = f"pg_column_size({name}) < octet_length({name})"
    small = f"octet_length({name}) <= {max(_SMALL, min(at_once, _WHOLE))}"
    row = ask(f"SELECT octet_length({name}), CASE WHEN {small} THEN {name} END, {packed}, {version} {source}")
    if row is None or row[0] is None or row[1] is not None:
        yield row and _held(row[1])
        return
    # A part of a compressed value costs as much as all that lies before it.
    if info.is_view or row[2]:
        row = ask(f"SELECT {name} {source}")
        yield row and _held(row[0])
        return
    first, size = len(values) + 1, row[0]
    part = f"SELECT substring({name} FROM ${first}::int4 FOR ${first + 1}::int4), {version} {source}"

    def read(start: int, stop: int) -> memoryview:
        is_all = stop - start > _PIECE and stop - start > size - _PIECE
        found = ask(f"SELECT {name}, {version} {source}") if is_all else ask(part, start + 1, stop - start)
        if found is None or found[1:] != row[3:]:
            raise Changed
        return memoryview(found[0])[start:stop] if is_all else memoryview(found[0])

    yield Blob(size, read, None if size <= _WHOLE else _PIECE)


def _held(value: bytes | None) -> Blob:
    if value is None:
        return Blob(None)
    view = memoryview(value)
    return Blob(len(view), lambda start, stop: view[start:stop])


def keep_as_it_is(run: Run, table: str, column: str) -> None:
    """Let the server not try to compress the column: it takes two thirds of the time of a write."""
    run(f"ALTER TABLE {quote(table)} ALTER COLUMN {quote(column)} SET STORAGE EXTERNAL")


def enlarge_pages(raw: Any) -> None:
    """The server's pages are all of one size."""


def room(raw: Any, info: TableInfo, length: int) -> str | None:
    """The server takes a value whole."""
    return None


def fill(
    raw: Any,
    statement: tuple[str, Sequence[Any]],
    info: TableInfo,
    column: str,
    condition: tuple[str, Sequence[Any]],
    parts: Sequence[Any],
) -> None:
    raise NotImplementedError
