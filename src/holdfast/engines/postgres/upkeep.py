"""Keeping a PostgreSQL database in shape."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from holdfast.engines.base import Column, Fragment, Run, TableInfo
from holdfast.engines.names import quote_identifier

# These have no order by which rows could be grouped; their text tells them apart.
_UNORDERED = frozenset({"XML", "POINT", "LINE", "LSEG", "BOX", "PATH", "POLYGON", "CIRCLE"})

SAMPLES = True


def vacuum(run: Run) -> None:
    run("VACUUM")


def analyze(run: Run) -> None:
    run("ANALYZE")


def optimize(run: Run) -> None:
    run("VACUUM (ANALYZE)")


def scrub(run: Run, tables: Sequence[str], searched: Sequence[str]) -> str | None:
    """Write tables and their indexes anew: removed rows leave their bytes in both.

    What the planner has taken down of their texts is written anew with them, and then has to go itself.
    """
    for table in tables:
        run(f"VACUUM (FULL, ANALYZE) {quote_identifier(table)}")
    before = _file_of_samples(run)
    run("VACUUM (FULL) pg_catalog.pg_statistic")
    if _file_of_samples(run) == before:
        return "the planner's samples of texts are the database owner's: VACUUM FULL pg_catalog.pg_statistic"
    old = run(
        "SELECT count(*) FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid() "
        "AND datname = current_database() AND age(backend_xmin) > 1"
    ).fetchall()[0][0]
    return "a transaction that began before may still see what was removed, and keeps it" if old else None


def _file_of_samples(run: Run) -> Any:
    # Without the right to it, the command does nothing and says so in a warning.
    return run("SELECT pg_relation_filenode('pg_catalog.pg_statistic')").fetchall()[0][0]


def state(run: Run) -> Any:
    """The snapshot of this moment, which every transaction that ends changes, but not on a standby."""
    return run(
        "SELECT CASE WHEN NOT pg_is_in_recovery() THEN CAST(pg_current_snapshot() AS TEXT) END"
    ).fetchall()[0][0]


def size(run: Run) -> int:
    """Bytes of the database on the server's disk."""
    return int(run("SELECT pg_database_size(current_database())").fetchall()[0][0])


def version(run: Run) -> str:
    return f"PostgreSQL {run('SHOW server_version').fetchall()[0][0]}"


def rough_count(run: Run, table: str) -> int | None:
    """What VACUUM, ANALYZE or autovacuum counted last; a table with partitions is the sum of them."""
    rows = run(
        "SELECT sum(c.reltuples) FILTER (WHERE c.reltuples >= 0)::bigint FROM pg_class c "
        "WHERE c.relkind IN ('r', 'm') AND c.oid IN (SELECT relid FROM pg_partition_tree(to_regclass(?)) "
        "UNION SELECT to_regclass(?)::oid)",
        (quote_identifier(table), quote_identifier(table)),
    ).fetchall()
    return None if rows[0][0] is None else int(rows[0][0])


def estimate(run: Run, info: TableInfo) -> int | None:
    """What the planner makes of the table's pages: right also where nobody has counted for long, or ever."""
    plan = run(f"EXPLAIN (FORMAT JSON) SELECT 1 FROM {quote_identifier(info.name)}").fetchall()[0][0]
    return int((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]["Plan Rows"])


def table_sizes(run: Run) -> dict[str, int]:
    """With indexes and what is stored apart; a table with partitions is the sum of them."""
    rows = run(
        "SELECT c.relname::text, coalesce((SELECT sum(pg_total_relation_size(p.relid)) "
        "FROM pg_partition_tree(c.oid) AS p), pg_total_relation_size(c.oid))::bigint FROM pg_class AS c "
        "WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'm') "
        "AND NOT c.relispartition"
    ).fetchall()
    return dict(rows)


def sample(run: Run, info: TableInfo, rows: int, of: int) -> list[Fragment]:
    """All rows of some pages that chance picks, the same each time."""
    table = quote_identifier(info.name)
    kind = run("SELECT relkind::text FROM pg_class WHERE oid = to_regclass(?)", (table,)).fetchall()[0][0]
    share = f" TABLESAMPLE SYSTEM ({min(100 * rows / of, 100):.6f}) REPEATABLE (0)"
    return [(f"FROM {table}{share if kind in 'rmp' else ''} LIMIT ?", [rows])]


def row_locator(run: Run, info: TableInfo) -> list[str]:
    """A key of integers, which the server compares fastest; else where the row lies.

    The place is unique only within one partition.
    """
    table = quote_identifier(info.name)
    if info.primary_key and all(info.column(name).codec.kind.name == "integer" for name in info.primary_key):
        return [f"{table}.{quote_identifier(name)}" for name in info.primary_key]
    return [f"{table}.tableoid", f"{table}.ctid"]


def comparable(raw: Any, column: Column, expression: str) -> str:
    """``json`` has no equality; ``jsonb`` of the same content has."""
    base = column.type.removesuffix("[]")
    suffix = "[]" if base != column.type else ""
    if base == "JSON":
        return f"{expression}::jsonb{suffix}"
    return f"{expression}::text{suffix}" if base in _UNORDERED else expression
