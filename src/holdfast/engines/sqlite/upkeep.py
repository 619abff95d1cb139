"""Keeping a SQLite file in shape."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from holdfast.engines.base import Column, Run, TableInfo
from holdfast.engines.names import quote_identifier
from holdfast.engines.sqlite import fulltext
from holdfast.errors import NotSupported

_ROWID_NAMES = ("rowid", "_rowid_", "oid")

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
    """What ANALYZE counted, which is the first number of each index of the table."""
    if not run("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1'").fetchall():
        return None
    rows = run(
        "SELECT max(CAST(substr(stat, 1, instr(stat || ' ', ' ')) AS INTEGER)) FROM sqlite_stat1 "
        "WHERE tbl = ? COLLATE NOCASE",
        (table,),
    ).fetchall()
    return None if rows[0][0] is None else int(rows[0][0])


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
