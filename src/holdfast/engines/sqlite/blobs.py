"""Reading a part of one binary value of a SQLite file, straight from its pages."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from holdfast.engines.base import Blob, Run, TableInfo
from holdfast.engines.names import quote_identifier as quote
from holdfast.errors import InvalidQuery

# Opening a value costs as much as reading this many bytes of it.
_SMALL = 1 << 16
# From here on the copies that a parameter needs cost more than a second look at the row.
_LARGE = 1 << 20
# The size of a page in a file made for arrays.
_PAGE = 1 << 15
# Who would see the empty bytes: a check, a computed column, an index; without row numbers nothing is filled.
_WATCHES = re.compile(r"\b(check|unique|as|without)\b", re.IGNORECASE)


@contextmanager
def opened(
    raw: Any, info: TableInfo, column: str, condition: str, values: Sequence[Any], at_once: int
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


def _row_number(info: TableInfo) -> str | None:
    taken = {name.lower() for name in info.names}
    free = (name for name in ("rowid", "_rowid_", "oid") if name not in taken)
    return quote(info.rowid_key) if info.rowid_key else next(free, None)


def _incremental(raw: Any, info: TableInfo, column: str, source: str, values: Sequence[Any]) -> Any:
    """An open value, or ``None``: views, computed columns and tables WITHOUT ROWID have none."""
    number = _row_number(info)
    if info.is_view or number is None:
        return None
    try:
        row = raw.execute(f"SELECT {number} {source}", values).fetchone()
        return raw.blobopen(info.name, column, row[0], readonly=True) if row else None
    except sqlite3.OperationalError:
        return None


def keep_as_it_is(run: Run, table: str, column: str) -> None:
    """SQLite compresses nothing."""


def enlarge_pages(raw: Any) -> None:
    """Give an empty file the pages that large values are written and read fastest with.

    A file keeps its page size while it is in WAL mode. One that somebody else has open stays as it is.
    """
    ((used, size),) = raw.execute("SELECT page_count, page_size FROM pragma_page_count, pragma_page_size")
    if used > 1 or size >= _PAGE or not raw.execute("PRAGMA database_list").fetchall()[0][2]:
        return
    with contextlib.suppress(sqlite3.OperationalError):
        (mode,) = raw.execute("PRAGMA journal_mode").fetchone()
        try:
            raw.execute("PRAGMA journal_mode = DELETE").fetchall()
            raw.execute(f"PRAGMA page_size = {_PAGE}")
            raw.execute("VACUUM")
        finally:
            raw.execute(f"PRAGMA journal_mode = {mode}").fetchall()


def room(raw: Any, info: TableInfo, length: int) -> str | None:
    """A parameter is copied twice, as a whole; a value that is filled is copied from the array to its pages.

    The same as a parameter it is only where nobody looks at the row in between.
    """
    if length < _LARGE or info.is_view or _row_number(info) is None:
        return None
    others = raw.execute(
        "SELECT type, sql FROM main.sqlite_master WHERE lower(tbl_name) = lower(?) AND sql IS NOT NULL "
        "UNION ALL SELECT 'temp', sql FROM temp.sqlite_master WHERE lower(tbl_name) = lower(?)",
        (info.name, info.name),
    ).fetchall()
    if [kind for kind, _ in others] != ["table"] or _WATCHES.search(others[0][1]):
        return None
    return "zeroblob(?)"


def fill(
    raw: Any,
    statement: tuple[str, Sequence[Any]],
    info: TableInfo,
    column: str,
    condition: tuple[str, Sequence[Any]],
    parts: Sequence[Any],
) -> None:
    """Pages stay in memory until they are filled, or each would be written twice."""
    # Inside a transaction OFF would be taken for the next one only; a number holds at once.
    spills = raw.execute("PRAGMA cache_spill").fetchone()[0]
    raw.execute(f"PRAGMA cache_spill = {1 << 30}")
    try:
        raw.execute(*statement)
        found = f"SELECT {_row_number(info)} FROM {quote(info.name)} WHERE {condition[0]}"
        (number,) = raw.execute(found, condition[1]).fetchone()
        with raw.blobopen(info.name, column, number) as blob:
            for part in parts:
                blob.write(part)
    finally:
        raw.execute(f"PRAGMA cache_spill = {spills}")
