"""Keeping a SQLite file in shape."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from holdfast.engines.base import Column, Fragment, Run, TableInfo
from holdfast.engines.names import quote_identifier
from holdfast.engines.sqlite import fulltext
from holdfast.errors import NotSupported

_ROWID_NAMES = ("rowid", "_rowid_", "oid")
_PARTS = 64
"Of a table that is sampled; each is a few pages."
_SMALLEST_ROW = 4

SAMPLES = False


def vacuum(run: Run) -> None:
    run("VACUUM")
    # In WAL mode the file itself shrinks only when the log has been written back.
    run("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def analyze(run: Run) -> None:
    run("ANALYZE")


def optimize(run: Run) -> None:
    run("PRAGMA optimize").fetchall()
    run("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def scrub(run: Run, tables: Sequence[str], searched: Sequence[str]) -> str | None:
    """Write the searches and the file anew: removed rows leave their bytes in both."""
    for table in searched:
        index = fulltext.find(run, table)
        if index is not None:
            name = quote_identifier(index.name)
            run(f"INSERT INTO {name} ({name}) VALUES ('rebuild')")
    run("VACUUM")
    is_busy = run("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0]
    return "another connection is reading, and the write-ahead log cannot be emptied" if is_busy else None


def state(run: Run) -> Any:
    """What another connection has written moves the first number, and what this one has the second."""
    return run("SELECT data_version, total_changes() FROM pragma_data_version").fetchall()[0]


def size(run: Run) -> int:
    """Bytes of the database: pages in use and free, without the write-ahead log."""
    rows = run("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchall()
    return int(rows[0][0])


def version(run: Run) -> str:
    return f"SQLite {run('SELECT sqlite_version()').fetchall()[0][0]}"


def rough_count(run: Run, table: str) -> int | None:
    """What ANALYZE counted, which is the first number of each index of the table but a partial one."""
    if not run("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1'").fetchall():
        return None
    rows = run(
        "SELECT max(CAST(substr(stat, 1, instr(stat || ' ', ' ')) AS INTEGER)) FROM sqlite_stat1 "
        "WHERE tbl = ? COLLATE NOCASE "
        "AND (idx IS NULL OR idx NOT IN (SELECT name FROM pragma_index_list(?) WHERE partial))",
        (table, table),
    ).fetchall()
    return None if rows[0][0] is None else int(rows[0][0])


def estimate(run: Run, info: TableInfo) -> int | None:
    """What ANALYZE counted, or how far the rows' numbers go: at most as many as the file has room for."""
    counted = rough_count(run, info.name)
    bounds = _bounds(run, info) if counted is None else None
    return counted if bounds is None else min(bounds[1] - bounds[0] + 1, size(run) // _SMALLEST_ROW)


def _bounds(run: Run, info: TableInfo) -> tuple[int, int] | None:
    """The first and the last row's number, of a table that has such."""
    kinds = run("SELECT type, wr FROM pragma_table_list WHERE name = ?", (info.name,)).fetchall()
    if kinds[0] != ("table", 0) or all(name in map(str.lower, info.names) for name in _ROWID_NAMES):
        return None
    (number,), table = row_locator(run, info), quote_identifier(info.name)
    low, high = run(
        f"SELECT (SELECT min({number}) FROM {table}), (SELECT max({number}) FROM {table})"
    ).fetchall()[0]
    return None if low is None else (low, high)


def table_sizes(run: Run) -> dict[str, int]:
    """Every page is looked at; not every SQLite can do it."""
    if not run("SELECT 1 FROM pragma_module_list WHERE name = 'dbstat'").fetchall():
        return {}
    rows = run(
        "SELECT s.tbl_name, sum(d.pgsize) FROM dbstat AS d JOIN sqlite_schema AS s ON s.name = d.name "
        "WHERE d.aggregate = TRUE GROUP BY s.tbl_name"
    ).fetchall()
    return dict(rows)


def sample(run: Run, info: TableInfo, rows: int, of: int) -> list[Fragment]:
    """Some rows after each of many numbers that are equally far apart."""
    table, bounds = quote_identifier(info.name), _bounds(run, info)
    if bounds is None:
        return [(f"FROM {table} LIMIT ?", [rows])]
    (number,), (low, high) = row_locator(run, info), bounds
    step = -(-(high - low + 1) // _PARTS)
    return [
        (
            f"FROM {table} WHERE {number} BETWEEN ? AND ? LIMIT ?",
            [start, min(start + step - 1, high), -(-rows // _PARTS)],
        )
        for start in range(low, high + 1, step)
    ]


def row_locator(run: Run, info: TableInfo) -> list[str]:
    """The row's number under a name that no column has; the primary key where rows have no number."""
    table = quote_identifier(info.name)
    has_none = run("SELECT wr FROM pragma_table_list WHERE name = ?", (info.name,)).fetchall()[0][0]
    taken = {name.lower() for name in info.names}
    free = [name for name in _ROWID_NAMES if name not in taken]
    if free and not has_none:
        return [f"{table}.{free[0]}"]
    if info.primary_key:
        return [f"{table}.{quote_identifier(name)}" for name in info.primary_key]
    raise NotSupported(
        f"the rows of {info.name!r} cannot be told apart: its columns hide the row's number",
        hint=f"rename one of the columns {', '.join(_ROWID_NAMES)}",
    )


def comparable(raw: sqlite3.Connection, column: Column, expression: str) -> str:
    """JSON is text here, which is equal when its content is, whatever the order of its keys."""
    if column.codec.kind.name != "json":
        return expression
    # Once for each connection: SQLite refuses to replace a function while a statement is being read.
    if not raw.execute("SELECT 1 FROM pragma_function_list WHERE name = 'holdfast_json'").fetchall():
        raw.create_function("holdfast_json", 1, _canonical, deterministic=True)
    return f"holdfast_json({expression})"


def _canonical(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.dumps(json.loads(value, parse_float=_number), sort_keys=True, ensure_ascii=False)
    except (ValueError, RecursionError):
        return value


def _number(text: str) -> int | float:
    number = float(text)
    return int(number) if number.is_integer() else number
