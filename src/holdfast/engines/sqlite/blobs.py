"""Reading a part of one binary value of a SQLite file, straight from its pages."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from holdfast.engines.base import Blob, Run, TableInfo
from holdfast.engines.names import quote_identifier as quote
from holdfast.errors import InvalidQuery

# Opening a value costs as much as reading this many bytes of it.
_SMALL = 1 << 16


@contextmanager
def opened(
    raw: Any, info: TableInfo, column: str, condition: str, values: Sequence[Any]
) -> Iterator[Blob | None]:
    """The value of the one row that satisfies ``condition``, as it is now; ``None`` without such a row.

    A SELECT copies a value twice, the second time as a whole; this copies what is read, once.
    """
    name, source = quote(column), f"FROM {quote(info.name)} WHERE {condition}"
    small = f"typeof({name}) <> 'blob' OR length({name}) <= {_SMALL}"
    row = raw.execute(f"SELECT {small}, CASE WHEN {small} THEN {name} END {source}", values).fetchone()
    if row is None or row[0]:
        yield row and _held(info, column, row[1])
        return
    # The row's number and the value have to be of one moment.
    own = not raw.in_transaction
    if own:
        raw.execute("BEGIN")
    try:
        blob = _incremental(raw, info, column, source, values)
        if blob is None:
            row = raw.execute(f"SELECT {name} {source}", values).fetchone()
            yield row and _held(info, column, row[0])
            return
        with blob:
            yield Blob(len(blob), lambda start, stop: _part(blob, start, stop))
    finally:
        if own and raw.in_transaction:
            raw.execute("ROLLBACK")


def _held(info: TableInfo, column: str, value: Any) -> Blob:
    if value is None:
        return Blob(None)
    if not isinstance(value, bytes):
        raise InvalidQuery(
            f"{info.name}.{column} holds a {type(value).__name__}, not bytes", hint="select() reads any value"
        )
    view = memoryview(value)
    return Blob(len(view), lambda start, stop: view[start:stop])


def _part(blob: Any, start: int, stop: int) -> bytes:
    blob.seek(start)
    found: bytes = blob.read(stop - start)
    return found


def _incremental(raw: Any, info: TableInfo, column: str, source: str, values: Sequence[Any]) -> Any:
    """An open value, or ``None``: views, computed columns and tables WITHOUT ROWID have none."""
    taken = {name.lower() for name in info.names}
    free = (name for name in ("rowid", "_rowid_", "oid") if name not in taken)
    number = quote(info.rowid_key) if info.rowid_key else next(free, None)
    if info.is_view or number is None:
        return None
    try:
        row = raw.execute(f"SELECT {number} {source}", values).fetchone()
        return raw.blobopen(info.name, column, row[0], readonly=True) if row else None
    except sqlite3.OperationalError:
        return None


def keep_as_it_is(run: Run, table: str, column: str) -> None:
    """SQLite compresses nothing."""
