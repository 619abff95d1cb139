"""What a SQLite file holds, read from its schema table and its pragmas."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from holdfast.engines.base import Column, Cursor, Run, TableInfo
from holdfast.engines.names import IDEMPOTENCY_TABLE, SYNC_PREFIX, quote_identifier
from holdfast.engines.sqltext import SQLITE, first_word, tokens
from holdfast.types import TypeMap

_OWN = "name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"


def _not_of_sync(name: str) -> str:
    return f"substr({name}, 1, {len(SYNC_PREFIX)}) <> '{SYNC_PREFIX}'"


def describe(run: Run, table: str, types: TypeMap) -> TableInfo | None:
    found = run(
        "SELECT type, wr FROM pragma_table_list WHERE schema IN ('main', 'temp') AND name = ?", (table,)
    ).fetchall()
    if not found:
        return None
    (kind, without_rowid) = found[0]
    rows = run(
        'SELECT name, type, "notnull", dflt_value, pk, hidden FROM pragma_table_xinfo(?) WHERE hidden <> 1',
        (table,),
    ).fetchall()
    key = tuple(name for _, name in sorted((row[4], row[0]) for row in rows if row[4]))
    rowid_key = _rowid_key(run, table, rows, without_rowid)
    columns = tuple(
        Column(
            name=name,
            type=type_text,
            nullable=not not_null and not (pk and (without_rowid or name == rowid_key)),
            default=default,
            primary_key=bool(pk),
            codec=types.codec(type_text),
            generated=hidden in (2, 3),
            identity=name == rowid_key,
        )
        for name, type_text, not_null, default, pk, hidden in rows
    )
    return TableInfo(table, columns, key, is_view=kind == "view", rowid_key=rowid_key)


def _rowid_key(run: Run, table: str, rows: list[Any], without_rowid: int) -> str | None:
    keys = [(name, type_text) for name, type_text, _, _, pk, _ in rows if pk]
    if without_rowid or len(keys) != 1 or keys[0][1].upper() != "INTEGER":
        return None
    indexed = run("SELECT 1 FROM pragma_index_list(?) WHERE origin = 'pk'", (table,)).fetchall()
    return None if indexed else str(keys[0][0])


def tables(run: Run) -> list[str]:
    """The tables, but for those that a search keeps for itself."""
    sql = (
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual') "
        f"AND {_OWN} AND NOT (type = 'virtual' AND substr(name, 1, 10) = 'hf_search_') "
        f"AND name <> '{IDEMPOTENCY_TABLE}' AND {_not_of_sync('name')} ORDER BY name"
    )
    return [name for (name,) in run(sql).fetchall()]


def views(run: Run) -> list[str]:
    return [
        name for (name,) in run("SELECT name FROM sqlite_master WHERE type = 'view' ORDER BY name").fetchall()
    ]


def elsewhere(run: Run) -> list[str]:
    """A file has one schema."""
    return []


def unique_keys(run: Run, table: str) -> list[frozenset[str]]:
    """The column sets of which no two rows are alike: the key, and whole unique indexes."""
    key = run("SELECT name FROM pragma_table_info(?) WHERE pk", (table,)).fetchall()
    found = [frozenset(name for (name,) in key)] if key else []
    listed = run('SELECT name FROM pragma_index_list(?) WHERE "unique" AND NOT partial', (table,)).fetchall()
    for (index,) in listed:
        names = [name for (name,) in run("SELECT name FROM pragma_index_info(?)", (index,)).fetchall()]
        if None not in names:
            found.append(frozenset(names))
    return found


def indexes(run: Run, table: str | None) -> list[dict[str, Any]]:
    listed = run(
        'SELECT m.tbl_name, l.name, l."unique", l.origin, l.partial, s.sql FROM sqlite_master AS m '
        "JOIN pragma_index_list(m.name) AS l LEFT JOIN sqlite_master AS s "
        "ON s.type = 'index' AND s.name = l.name "
        "WHERE m.type = 'table' AND (? IS NULL OR m.name = ?) "
        f"AND substr(m.name, 1, 10) <> 'hf_search_' AND {_not_of_sync('m.name')} ORDER BY l.name",
        (table, table),
    ).fetchall()
    return [
        {
            "name": name,
            "table": owner,
            "columns": [
                column
                for (column,) in run(
                    "SELECT name FROM pragma_index_info(?) ORDER BY seqno", (name,)
                ).fetchall()
            ],
            "unique": bool(unique),
            "primary_key": origin == "pk",
            "constraint": origin != "c",
            "partial": bool(partial),
            "sql": sql,
        }
        for owner, name, unique, origin, partial, sql in listed
    ]


def foreign_keys(run: Run, table: str) -> list[dict[str, Any]]:
    rows = run(
        # The pragma has the table as the foreign key wrote it, in whatever case.
        "SELECT id, \"from\", coalesce((SELECT m.name FROM sqlite_master AS m WHERE m.type = 'table' "
        'AND m.name = f."table" COLLATE NOCASE), f."table"), "to", on_delete, on_update '
        "FROM pragma_foreign_key_list(?) AS f ORDER BY id DESC, seq",
        (table,),
    ).fetchall()
    found: dict[int, dict[str, Any]] = {}
    for number, column, other, key, on_delete, on_update in rows:
        entry = found.setdefault(
            number,
            {
                "columns": [],
                "references": other,
                "keys": [],
                "on_delete": on_delete,
                "on_update": on_update,
            },
        )
        entry["columns"].append(column)
        entry["keys"].append(key)
    for entry in found.values():
        if None in entry["keys"]:
            key = run("SELECT name FROM pragma_table_info(?) WHERE pk ORDER BY pk", (entry["references"],))
            entry["keys"] = [name for (name,) in key.fetchall()]
    return list(found.values())


def create_sql(run: Run, table: str) -> str:
    rows = run(
        "SELECT sql FROM sqlite_master WHERE type IN ('table', 'view') AND name = ?", (table,)
    ).fetchall()
    return str(rows[0][0]) if rows else ""


def triggers(run: Run, table: str | None) -> list[dict[str, Any]]:
    """The triggers, but for those of a search."""
    rows = run(
        "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger' "
        "AND name NOT LIKE 'hf\\_search\\_%' ESCAPE '\\' AND (? IS NULL OR tbl_name = ?) ORDER BY name",
        (table, table),
    ).fetchall()
    return [{"name": name, "table": owner, "sql": sql} for name, owner, sql in rows]


def others(run: Run) -> list[tuple[str, str, str | None]]:
    """The triggers, but for those of a search and of a sync."""
    return run(
        "SELECT 'trigger', name || ' on ' || tbl_name, tbl_name FROM sqlite_master "
        "WHERE type = 'trigger' AND name NOT LIKE 'hf\\_search\\_%' ESCAPE '\\' "
        f"AND {_not_of_sync('name')} ORDER BY name"
    ).fetchall()


def result_types(raw: sqlite3.Connection, sql: str, cursor: Cursor) -> list[str] | None:
    """The declared types of a query's columns, which the driver does not tell.

    SQLite works them out for a view: the query becomes a temporary one for a moment.
    """
    query = _query_of(sql)
    if query is None:
        return None
    name = quote_identifier("holdfast result types")
    read_only = raw.execute("PRAGMA query_only").fetchone()[0]
    try:
        if read_only:
            raw.execute("PRAGMA query_only = OFF")
        raw.execute(f"CREATE TEMP VIEW {name} AS {query}")
        try:
            return [row[2] for row in raw.execute(f"PRAGMA temp.table_info({name})").fetchall()]
        finally:
            raw.execute(f"DROP VIEW temp.{name}")
    except sqlite3.Error:
        return None
    finally:
        if read_only:
            with contextlib.suppress(sqlite3.Error):
                raw.execute("PRAGMA query_only = ON")


def _query_of(sql: str) -> str | None:
    """``sql`` without parameters if it is a query, or the query of what a writing statement returns."""
    verb = first_word(sql, SQLITE)
    pieces = [("NULL" if token.kind == "mark" else token.text, token) for token in tokens(sql, SQLITE)]
    if verb in ("SELECT", "WITH", "VALUES"):
        return "".join(text for text, _ in pieces).rstrip().rstrip(";")
    words = [
        i for i, (text, token) in enumerate(pieces) if token.kind == "word" and text.upper() == "RETURNING"
    ]
    table = _written_table([token for _, token in pieces if token.is_code], verb)
    if verb not in ("INSERT", "REPLACE", "UPDATE", "DELETE") or not words or table is None:
        return None
    returned = "".join(text for text, _ in pieces[words[-1] + 1 :]).rstrip().rstrip(";")
    return f"SELECT {returned} FROM {table}"


def _written_table(code: list[Any], verb: str) -> str | None:
    before = {"INSERT": "INTO", "REPLACE": "INTO", "DELETE": "FROM", "UPDATE": "UPDATE"}.get(verb)
    for token, after in pairwise(code):
        if token.text.upper() == before:
            return str(after.text)
    return None


def has_binary(types: Sequence[str]) -> bool:
    """SQLite has one form of its values."""
    return False
