"""Many rows in few statements: each statement costs SQLite more than the rows in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any

from holdfast.engines.base import Run, TableInfo
from holdfast.engines.names import quote_identifier
from holdfast.engines.writing import Batch, Load

ROWS = 100
ROWS_OF_UPDATES = 500
MOST_PARAMETERS = 32_000
# Values that are equal in Python exactly where they are equal in SQLite, whatever a column is declared as.
_EXACT = frozenset({"integer", "text", "uuid", "date", "time", "timestamp", "timestamptz", "boolean"})


@dataclass(frozen=True, slots=True)
class Flat:
    """Statements of many rows each. ``keys``: the columns by which rows are sorted, and must differ."""

    many: str
    single: str
    rows: int
    keys: tuple[int, ...] = ()
    least: int = 2
    overlaps: bool = False

    def write(self, raw: Any, batches: Iterable[Batch]) -> int:
        if not self.keys:
            return sum(self._send(raw, batch) for batch in batches)
        parts = list(batches)
        columns = [
            list(chain.from_iterable(column)) for column in zip(*(b.columns for b in parts), strict=True)
        ]
        batch = Batch(columns, len(columns[0]))
        order = _order([columns[place] for place in self.keys])
        if order is None:
            return int(raw.executemany(self.single, batch.rows()).rowcount)
        in_order = itemgetter(*order)
        return self._send(raw, Batch(list(map(in_order, columns)), batch.count))

    def _send(self, raw: Any, batch: Batch) -> int:
        columns, step, many, execute = batch.columns, self.rows, self.many, raw.execute
        width, written = len(columns), 0
        whole = batch.count - batch.count % step
        flat: list[Any] = [None] * (width * step)
        for start in range(0, whole, step):
            for place, column in enumerate(columns):
                flat[place::width] = column[start : start + step]
            written += execute(many, flat).rowcount
        if whole < batch.count:
            rest = zip(*(column[whole:] for column in columns), strict=True)
            written += raw.executemany(self.single, rest).rowcount
        return written


def _order(keys: list[list[Any]]) -> list[int] | None:
    """The places of the rows by their keys; ``None`` if a key comes twice."""
    import numpy as np

    if len(keys) == 1 and set(map(type, keys[0])) == {int}:
        numbers = np.array(keys[0], np.int64)
        order = numbers.argsort()
        return None if (np.diff(numbers[order]) == 0).any() else order.tolist()
    found = keys[0] if len(keys) == 1 else list(zip(*keys, strict=True))
    return None if len(set(found)) < len(found) else sorted(range(len(found)), key=found.__getitem__)


def writer(run: Run, load: Load) -> Flat | None:
    """Flat statements where they are faster and do the same as single ones."""
    info = load.info
    most = ROWS if load.verb == "insert" else ROWS_OF_UPDATES
    rows = min(most, MOST_PARAMETERS // max(1, len(load.columns)))
    if info.is_view or rows < 2 or not load.columns or _refers_to_itself(run, info.name):
        return None
    if load.verb == "update":
        return _updating(run, load, rows)
    # With an index to keep up, flat statements lose to single ones.
    if run(
        "SELECT 1 FROM pragma_index_list(?) AS l, pragma_table_list AS t WHERE t.name = ? "
        "AND NOT (t.wr AND l.origin = 'pk')",
        (info.name, info.name),
    ).fetchall():
        return None
    marks = f"({', '.join('?' * len(load.columns))})"
    names = ", ".join(quote_identifier(column.name) for column in load.columns)
    many = f"INSERT INTO {quote_identifier(info.name)} ({names}) VALUES {', '.join([marks] * rows)}"
    return Flat(many + load.conflict, load.single, rows)


def _updating(run: Run, load: Load, rows: int) -> Flat | None:
    info, places = load.info, {column.name: place for place, column in enumerate(load.columns, 1)}
    if any(info.column(name).codec.kind.name not in _EXACT for name in load.keys):
        return None
    if not _is_unique(run, info, load.keys) or "COLLATE" in _declared(run, info.name):
        return None
    table, given = quote_identifier(info.name), quote_identifier("holdfast given")
    marks = f"({', '.join('?' * len(load.columns))})"
    sets = ", ".join(f"{quote_identifier(name)} = {given}.column{places[name]}" for name in load.changed)
    match = " AND ".join(
        f"{table}.{quote_identifier(name)} = {given}.column{places[name]}" for name in load.keys
    )
    many = f"UPDATE {table} SET {sets} FROM (VALUES {', '.join([marks] * rows)}) AS {given} WHERE {match}"
    return Flat(many, load.single, rows, tuple(places[name] - 1 for name in load.keys))


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


def row_at_fault(exc: BaseException | None, table: str) -> None:
    """SQLite names no row."""


def greatest_given(run: Run, sequence: str, value: int) -> None:
    """SQLite looks at the table for the next key, and has no sequences."""
