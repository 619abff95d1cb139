"""Many rows in few statements: each statement costs SQLite more than the rows in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter, length_hint
from typing import Any

from holdfast.engines.base import Run, TableInfo
from holdfast.engines.names import quote_identifier
from holdfast.engines.writing import Batch, Load

ROWS = 100
ROWS_OF_UPDATES = 500
MOST_PARAMETERS = 32_000
# Values that are equal in Python exactly where they are equal in SQLite, whatever a column is declared as.
_EXACT = frozenset({"integer", "text", "uuid", "date", "time", "timestamp", "timestamptz", "boolean"})
# The two others are of values that the driver cannot hand over.
_FAULTS = (sqlite3.Error, OverflowError, UnicodeEncodeError)
# What a value, a constraint or a trigger may be at fault for.
_CODES_OF_ROWS = {
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_TOOBIG,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
}
_HAS_RULES = (
    "SELECT 1 FROM (SELECT * FROM sqlite_master UNION ALL SELECT * FROM sqlite_temp_master) "
    "WHERE tbl_name = ? COLLATE NOCASE AND (type = 'trigger' OR sql LIKE '%CONFLICT%') LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class Single:
    """One statement for each row."""

    single: str
    least: int = 1
    overlaps: bool = False
    finds_fault: bool = True

    def write(self, raw: Any, batches: Iterable[Batch]) -> int:
        written = before = 0
        for batch in batches:
            written += _one_by_one(raw, self.single, list(batch.rows()), before)
            before += batch.count
        return written


@dataclass(frozen=True, slots=True)
class Flat:
    """Statements of many new rows each.

    ``indexed`` is the name of a table with an index. SQLite keeps a copy of each page that such a statement
    writes, to undo it, which costs more than the statement saves; but for one that is to end at a row at
    fault. Triggers and declared conflicts would heed that, too: a table with any has single statements.
    """

    many: str
    single: str
    rows: int
    width: int
    indexed: str = ""
    least: int = 2
    overlaps: bool = False
    finds_fault: bool = True

    def write(self, raw: Any, batches: Iterable[Batch]) -> int:
        if self.indexed and raw.execute(_HAS_RULES, (self.indexed,)).fetchone():
            return Single(self.single).write(raw, batches)
        written = before = 0
        for batch in batches:
            step = self.rows * len(batch.columns)
            flat = _flat(batch.columns, batch.count)
            for start in range(0, len(flat), step):
                written += self._send(raw, flat[start : start + step], before)
                before += self.rows
            before += batch.count % -self.rows
        return written

    def _send(self, raw: Any, flat: list[Any], before: int) -> int:
        width = self.width
        if len(flat) < self.rows * width:
            return _one_by_one(raw, self.single, _rows_of(flat, width), before)
        changes = raw.total_changes
        try:
            return int(raw.execute(self.many, flat).rowcount)
        except _FAULTS as exc:
            if not _may_be_a_row(raw, exc):
                raise
            if kept := raw.total_changes - changes:
                # The rows before the one at fault would be in the way.
                if self.indexed:
                    exc.at_row = before + kept + 1  # type: ignore[union-attr]
                raise
            return _one_by_one(raw, self.single, _rows_of(flat, width), before)


@dataclass(frozen=True, slots=True)
class Sorted:
    """Statements that change many rows each, in the order of their ``keys``, which must differ."""

    many: str
    single: str
    rows: int
    keys: tuple[int, ...]
    least: int = 2
    overlaps: bool = False
    finds_fault: bool = True

    def write(self, raw: Any, batches: Iterable[Batch]) -> int:
        parts = list(batches)
        columns = [
            list(chain.from_iterable(column)) for column in zip(*(b.columns for b in parts), strict=True)
        ]
        order = _order([columns[place] for place in self.keys])
        if order is None:
            return _one_by_one(raw, self.single, list(zip(*columns, strict=True)), 0)
        try:
            return self._send(raw, list(map(itemgetter(*order), columns)))
        except _FAULTS as exc:
            if _may_be_a_row(raw, exc):
                # Setting the same values again changes nothing, and all will be undone.
                _one_by_one(raw, self.single, list(zip(*columns, strict=True)), 0)
            raise

    def _send(self, raw: Any, columns: list[Sequence[Any]]) -> int:
        count, width, written = len(columns[0]), len(columns), 0
        step, flat = self.rows * width, _flat(columns, count)
        whole = len(flat) - len(flat) % step
        for start in range(0, whole, step):
            written += raw.execute(self.many, flat[start : start + step]).rowcount
        if whole < len(flat):
            written += raw.executemany(self.single, _rows_of(flat[whole:], width)).rowcount
        return written


def _flat(columns: Sequence[Sequence[Any]], count: int) -> list[Any]:
    """The values of all rows behind each other."""
    width = len(columns)
    flat: list[Any] = [None] * (width * count)
    for place, column in enumerate(columns):
        flat[place::width] = column
    return flat


def _rows_of(flat: list[Any], width: int) -> list[Sequence[Any]]:
    return [flat[start : start + width] for start in range(0, len(flat), width)]


def _one_by_one(raw: Any, single: str, rows: list[Any], before: int) -> int:
    """``before`` is the number of rows before these; an error says which row it was."""
    waiting = iter(rows)
    try:
        return int(raw.executemany(single, waiting).rowcount)
    except _FAULTS as exc:
        if _may_be_a_row(raw, exc):
            # A row is taken when the one before it has been written.
            exc.at_row = before + len(rows) - length_hint(waiting)  # type: ignore[union-attr]
        raise


def _may_be_a_row(raw: Any, exc: Exception) -> bool:
    """Whether a row may be at fault, and the transaction can go on."""
    if not isinstance(exc, sqlite3.Error):
        return True
    code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return raw.in_transaction and code & 0xFF in _CODES_OF_ROWS


def _order(keys: list[list[Any]]) -> list[int] | None:
    """The places of the rows by their keys; ``None`` if a key comes twice."""
    import numpy as np

    if len(keys) == 1 and set(map(type, keys[0])) == {int}:
        numbers = np.array(keys[0], np.int64)
        order = numbers.argsort()
        return None if (np.diff(numbers[order]) == 0).any() else order.tolist()
    found = keys[0] if len(keys) == 1 else list(zip(*keys, strict=True))
    return None if len(set(found)) < len(found) else sorted(range(len(found)), key=found.__getitem__)


def writer(run: Run, load: Load) -> Single | Flat | Sorted:
    """Flat statements where they are faster and do the same as single ones."""
    info = load.info
    most = ROWS if load.verb == "insert" else ROWS_OF_UPDATES
    rows = min(most, MOST_PARAMETERS // max(1, len(load.columns)))
    if info.is_view or rows < 2 or not load.columns or _refers_to_itself(run, info.name):
        return Single(load.single)
    if load.verb == "update":
        return _updating(run, load, rows)
    is_indexed = run(
        "SELECT 1 FROM pragma_index_list(?) AS l, pragma_table_list AS t WHERE t.name = ? "
        "AND NOT (t.wr AND l.origin = 'pk')",
        (info.name, info.name),
    ).fetchall()
    if is_indexed and load.conflict:
        return Single(load.single)
    marks = f"({', '.join('?' * len(load.columns))})"
    names = ", ".join(quote_identifier(column.name) for column in load.columns)
    into = f"INSERT {'OR FAIL ' if is_indexed else ''}INTO {quote_identifier(info.name)} ({names})"
    many = f"{into} VALUES {', '.join([marks] * rows)}"
    indexed = info.name if is_indexed else ""
    return Flat(many + load.conflict, load.single, rows, len(load.columns), indexed)


def _updating(run: Run, load: Load, rows: int) -> Single | Sorted:
    info, places = load.info, {column.name: place for place, column in enumerate(load.columns, 1)}
    if any(info.column(name).codec.kind.name not in _EXACT for name in load.keys):
        return Single(load.single)
    if not _is_unique(run, info, load.keys) or "COLLATE" in _declared(run, info.name):
        return Single(load.single)
    table, given = quote_identifier(info.name), quote_identifier("holdfast given")
    marks = f"({', '.join('?' * len(load.columns))})"
    sets = ", ".join(f"{quote_identifier(name)} = {given}.column{places[name]}" for name in load.changed)
    match = " AND ".join(
        f"{table}.{quote_identifier(name)} = {given}.column{places[name]}" for name in load.keys
    )
    many = f"UPDATE {table} SET {sets} FROM (VALUES {', '.join([marks] * rows)}) AS {given} WHERE {match}"
    return Sorted(many, load.single, rows, tuple(places[name] - 1 for name in load.keys))


def _is_unique(run: Run, info: TableInfo, keys: tuple[str, ...]) -> bool:
    if set(keys) == set(info.primary_key):
        return True
    listed = run(
        'SELECT name FROM pragma_index_list(?) WHERE "unique" AND NOT partial', (info.name,)
    ).fetchall()
    return any(
        {name for (name,) in run("SELECT name FROM pragma_index_info(?)", (index,)).fetchall()} == set(keys)
        for (index,) in listed
    )


def _declared(run: Run, table: str) -> str:
    found = run("SELECT sql FROM sqlite_master WHERE tbl_name = ?", (table,)).fetchall()
    return " ".join(sql for (sql,) in found if sql).upper()


def _refers_to_itself(run: Run, table: str) -> bool:
    """Whether a row may refer to one that comes after it, which a statement of both would let pass."""
    found = run('SELECT "table" FROM pragma_foreign_key_list(?)', (table,)).fetchall()
    return any(other.lower() == table.lower() for (other,) in found)


def row_at_fault(exc: BaseException | None, table: str) -> int | None:
    """The row that was being written, as noted in the error."""
    number: int | None = getattr(exc, "at_row", None)
    return number


def greatest_given(run: Run, sequence: str, value: int) -> None:
    """SQLite looks at the table for the next key, and has no sequences."""
