"""What a PostgreSQL database holds, read from its system catalogue. Only the current schema is looked at."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from holdfast.engines.base import Column, Cursor, Run, TableInfo
from holdfast.engines.names import IDEMPOTENCY_TABLE, SYNC_PREFIX, quote_identifier
from holdfast.types import TypeMap

_KINDS = "('r', 'p', 'v', 'm', 'f')"
# Names sort by code point, as on SQLite; ::text because the type "name" has its own order.
_BY_NAME = 'ORDER BY c.relname::text COLLATE "C"'
# https://github.com/postgres/postgres/blob/master/src/include/catalog/pg_type.dat
_BY_OID = {
    16: "boolean",
    17: "bytea",
    20: "bigint",
    21: "smallint",
    23: "integer",
    25: "text",
    114: "json",
    700: "real",
    701: "double precision",
    1042: "bpchar",
    1043: "varchar",
    1082: "date",
    1083: "time",
    1114: "timestamp",
    1184: "timestamptz",
    1700: "numeric",
    2950: "uuid",
    3802: "jsonb",
}
# A 32-bit float is the shortest decimal that means it only in text.
_IN_BINARY = frozenset(_BY_OID.values()) - {"real"} | {
    "character varying",
    "character",
    "time without time zone",
    "timestamp without time zone",
    "timestamp with time zone",
}
_VIEWS = {"v": "VIEW", "m": "MATERIALIZED VIEW"}
_PERSISTENCE = {"u": "UNLOGGED ", "t": "TEMPORARY "}
_RULES = {"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}


def describe(run: Run, table: str, types: TypeMap) -> TableInfo | None:
    rows = run(
        "SELECT c.relkind::text, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull, "
        "pg_get_expr(d.adbin, d.adrelid), a.attidentity::text, a.attgenerated::text, l.collname::text, "
        "array_position(k.conkey, a.attnum), pg_get_serial_sequence(?, a.attname::text) "
        "FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
        "LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
        "LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum "
        "LEFT JOIN pg_collation AS l ON l.oid = a.attcollation "
        "LEFT JOIN pg_constraint AS k ON k.conrelid = c.oid AND k.contype = 'p' "
        f"WHERE c.relname = ? AND n.nspname = current_schema() AND c.relkind IN {_KINDS} "
        "ORDER BY a.attnum",
        (quote_identifier(table), table),
    ).fetchall()
    if not rows:
        return None
    named = [row for row in rows if row[1] is not None]
    key = tuple(name for _, name in sorted((row[8], row[1]) for row in named if row[8] is not None))
    columns = tuple(
        Column(
            name=name,
            type=type_text.upper() if type_text.islower() and '"' not in type_text else type_text,
            nullable=not not_null,
            default=None if generated or sequence else default,
            primary_key=position is not None,
            codec=types.codec(type_text),
            generated=bool(generated),
            identity=bool(identity or sequence),
            collation=collation,
            sequence=sequence,
        )
        for _, name, type_text, not_null, default, identity, generated, collation, position, sequence in named
    )
    return TableInfo(table, columns, key, is_view=rows[0][0] in ("v", "m"))


def _relations(run: Run, kinds: str) -> list[str]:
    rows = run(
        "SELECT c.relname::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
        f"WHERE n.nspname = current_schema() AND c.relkind IN {kinds} AND NOT c.relispartition "
        f"AND c.relname <> '{IDEMPOTENCY_TABLE}' "
        f"AND NOT starts_with(c.relname::text, '{SYNC_PREFIX}') {_BY_NAME}"
    ).fetchall()
    return [name for (name,) in rows]


def tables(run: Run) -> list[str]:
    return _relations(run, "('r', 'p', 'f')")


def views(run: Run) -> list[str]:
    return _relations(run, "('v', 'm')")


def elsewhere(run: Run) -> list[str]:
    """The other schemas with tables or views that this user may look into."""
    rows = run(
        "SELECT nspname::text FROM pg_namespace AS n WHERE nspname IS DISTINCT FROM current_schema() "
        "AND NOT starts_with(nspname::text, 'pg_') AND nspname <> 'information_schema' "
        "AND has_schema_privilege(n.oid, 'USAGE') AND EXISTS (SELECT FROM pg_class AS c "
        "WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f')) ORDER BY 1"
    ).fetchall()
    return [name for (name,) in rows]


def unique_keys(run: Run, table: str) -> list[frozenset[str]]:
    """The column sets of which no two rows are alike: whole, immediate unique indexes on plain columns."""
    rows = run(
        "SELECT array_agg(a.attname::text) FROM pg_index AS i "
        "CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS u (attnum, position) "
        "LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = u.attnum "
        "WHERE i.indrelid = to_regclass(?) AND i.indisunique AND i.indimmediate AND i.indpred IS NULL "
        "AND u.position <= i.indnkeyatts GROUP BY i.indexrelid",
        (quote_identifier(table),),
    ).fetchall()
    return [frozenset(names) for (names,) in rows if None not in names]


def indexes(run: Run, table: str | None) -> list[dict[str, Any]]:
    """The indexes, but for those that a search keeps for itself."""
    rows = run(
        "SELECT t.relname::text, c.relname::text, i.indisunique, i.indisprimary, k.oid IS NOT NULL, "
        "i.indpred IS NOT NULL, pg_get_indexdef(i.indexrelid), "
        "ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS u (attnum, position) "
        "LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = u.attnum "
        "WHERE u.position <= i.indnkeyatts ORDER BY u.position) "
        "FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid "
        "JOIN pg_class AS t ON t.oid = i.indrelid JOIN pg_namespace AS n ON n.oid = t.relnamespace "
        "LEFT JOIN pg_constraint AS k ON k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x') "
        "WHERE n.nspname = current_schema() AND (?::text IS NULL OR t.relname = ?::text) "
        "AND left(c.relname::text, 10) <> 'hf_search_' "
        f"AND NOT starts_with(t.relname::text, '{SYNC_PREFIX}') "
        f"{_BY_NAME}",
        (table, table),
    ).fetchall()
    return [
        {
            "name": name,
            "table": owner,
            "columns": columns,
            "unique": unique,
            "primary_key": primary,
            "constraint": constraint,
            "partial": partial,
            "sql": None if constraint else sql,
        }
        for owner, name, unique, primary, constraint, partial, sql, columns in rows
    ]


def foreign_keys(run: Run, table: str) -> list[dict[str, Any]]:
    # A table of another schema is named with it. A key that refers to partitions has a copy for each of them.
    rows = run(
        "SELECT CASE WHEN f.relnamespace = current_schema()::regnamespace THEN '' "
        "ELSE f.relnamespace::regnamespace || '.' END || f.relname, "
        "k.confdeltype::text, k.confupdtype::text, "
        "ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS u (attnum, position) "
        "JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = u.attnum ORDER BY u.position), "
        "ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS u (attnum, position) "
        "JOIN pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = u.attnum ORDER BY u.position) "
        "FROM pg_constraint AS k JOIN pg_class AS f ON f.oid = k.confrelid "
        "WHERE k.contype = 'f' AND k.conrelid = to_regclass(?) AND NOT EXISTS "
        "(SELECT FROM pg_constraint AS p WHERE p.oid = k.conparentid AND p.conrelid = k.conrelid) "
        "ORDER BY k.oid",
        (quote_identifier(table),),
    ).fetchall()
    return [
        {
            "columns": columns,
            "references": other,
            "keys": keys,
            "on_delete": _RULES[on_delete],
            "on_update": _RULES[on_update],
        }
        for other, on_delete, on_update, columns, keys in rows
    ]


def triggers(run: Run, table: str | None) -> list[dict[str, Any]]:
    """The triggers, but for those of a search and those that partitions have of their table."""
    rows = run(
        "SELECT t.tgname::text, c.relname::text, pg_get_triggerdef(t.oid) FROM pg_trigger AS t "
        "JOIN pg_class AS c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal AND t.tgparentid = 0 "
        "AND c.relnamespace = current_schema()::regnamespace AND left(t.tgname::text, 10) <> 'hf_search_' "
        'AND (?::text IS NULL OR c.relname = ?::text) ORDER BY t.tgname::text COLLATE "C"',
        (table, table),
    ).fetchall()
    return [{"name": name, "table": owner, "sql": sql} for name, owner, sql in rows]


def others(run: Run) -> list[tuple[str, str, str | None]]:
    """Triggers, policies, and what a schema holds besides its tables."""
    here = "current_schema()::regnamespace"
    return run(
        "SELECT 'trigger', t.tgname || ' on ' || c.relname, c.relname::text FROM pg_trigger AS t "
        f"JOIN pg_class AS c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal AND c.relnamespace = {here} "
        f"AND NOT starts_with(t.tgname::text, '{SYNC_PREFIX}') "
        "UNION ALL SELECT 'policy', p.polname || ' on ' || c.relname, c.relname::text FROM pg_policy AS p "
        f"JOIN pg_class AS c ON c.oid = p.polrelid WHERE c.relnamespace = {here} "
        "UNION ALL SELECT 'rule', r.rulename || ' on ' || c.relname, c.relname::text FROM pg_rewrite AS r "
        f"JOIN pg_class AS c ON c.oid = r.ev_class WHERE c.relkind IN ('r', 'p') AND c.relnamespace = {here} "
        "UNION ALL SELECT 'function', proname::text, NULL FROM pg_proc "
        f"WHERE pronamespace = {here} AND NOT starts_with(proname::text, '{SYNC_PREFIX}') AND NOT EXISTS "
        "(SELECT FROM pg_depend AS d WHERE d.objid = pg_proc.oid AND d.deptype = 'e') "
        "UNION ALL SELECT 'type', typname::text, NULL FROM pg_type AS t "
        f"WHERE typnamespace = {here} AND (typtype IN ('e', 'd', 'r') OR typtype = 'c' AND EXISTS "
        "(SELECT FROM pg_class AS c WHERE c.oid = t.typrelid AND c.relkind = 'c')) AND NOT EXISTS "
        "(SELECT FROM pg_depend AS d WHERE d.objid = t.oid AND d.deptype = 'e') "
        "UNION ALL SELECT 'sequence', c.relname::text, NULL FROM pg_class AS c "
        f"WHERE c.relkind = 'S' AND c.relnamespace = {here} AND NOT EXISTS "
        "(SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype IN ('a', 'i')) ORDER BY 1, 2"
    ).fetchall()


def create_sql(run: Run, table: str) -> str:
    """The statement that makes a table with its constraints, put together from the catalogue."""
    regclass = quote_identifier(table)
    found = run(
        "SELECT c.relkind::text, c.relpersistence::text, pg_get_viewdef(c.oid, true), "
        "CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END "
        "FROM pg_class AS c WHERE c.oid = to_regclass(?)",
        (regclass,),
    ).fetchall()
    kind, persistence, query, partition_key = found[0]
    if kind in _VIEWS:
        return f"CREATE {_VIEWS[kind]} {regclass} AS\n{query}"
    constraints = run(
        "SELECT 'CONSTRAINT ' || quote_ident(conname) || ' ' || pg_get_constraintdef(oid, true) "
        "FROM pg_constraint WHERE conrelid = to_regclass(?) AND contype IN ('p', 'u', 'f', 'c', 'x') "
        "ORDER BY position(contype::text IN 'pufcx'), conname::text COLLATE \"C\"",
        (regclass,),
    ).fetchall()
    lines = ",\n".join(
        f"    {text}" for text in [*_column_lines(run, regclass), *(c for (c,) in constraints)]
    )
    partitions = f" PARTITION BY {partition_key}" if partition_key else ""
    return f"CREATE {_PERSISTENCE.get(persistence, '')}TABLE {regclass} (\n{lines}\n){partitions}"


def _column_lines(run: Run, regclass: str) -> list[str]:
    # A default that takes the next value of a sequence of the column's own is what SERIAL stands for;
    # a text of its own would name a sequence that is not there yet.
    rows = run(
        "SELECT quote_ident(a.attname) || ' ' || CASE WHEN a.attidentity = '' AND s.seqrelid IS NOT NULL "
        "AND pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%' "
        "THEN replace(replace(format_type(a.atttypid, NULL), 'integer', 'serial'), 'int', 'serial') "
        "ELSE format_type(a.atttypid, a.atttypmod) "
        "|| CASE WHEN l.oid <> t.typcollation THEN ' COLLATE ' || quote_ident(l.collname) ELSE '' END "
        "|| CASE a.attidentity WHEN 'd' THEN ' GENERATED BY DEFAULT AS IDENTITY' "
        "WHEN 'a' THEN ' GENERATED ALWAYS AS IDENTITY' ELSE '' END "
        "|| CASE WHEN a.attidentity <> '' AND (s.seqstart <> 1 OR s.seqincrement <> 1) "
        "THEN format(' (START WITH %s INCREMENT BY %s)', s.seqstart, s.seqincrement) ELSE '' END "
        "|| CASE WHEN a.attgenerated <> '' "
        "THEN ' GENERATED ALWAYS AS (' || pg_get_expr(d.adbin, d.adrelid) || ') ' "
        "|| CASE a.attgenerated WHEN 's' THEN 'STORED' ELSE 'VIRTUAL' END "
        "WHEN d.oid IS NOT NULL THEN ' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid) ELSE '' END END "
        "|| CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END "
        "FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid "
        "LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum "
        "LEFT JOIN pg_collation AS l ON l.oid = a.attcollation "
        "LEFT JOIN pg_sequence AS s ON s.seqrelid = pg_get_serial_sequence(?, a.attname::text)::regclass "
        "WHERE a.attrelid = to_regclass(?) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        (regclass, regclass),
    ).fetchall()
    return [text for (text,) in rows]


def result_types(raw: Any, sql: str, cursor: Cursor) -> list[str] | None:
    """The types of a query's columns, as far as the house knows them."""
    types = [_of_result(item) for item in cursor.description or ()]
    return types if any(types) else None


def _of_result(item: Any) -> str:
    found = _BY_OID.get(item.type_code, "")
    # An expression has no digits of its own, and a scale below zero is none that others know.
    if found == "numeric" and item.precision is not None and 0 <= item.scale <= item.precision:
        return f"numeric({item.precision},{item.scale})"
    return found


def has_binary(types: Sequence[str]) -> bool:
    """Whether the driver reads all of them in binary; of a type it does not know it would give bytes."""
    return all(map(_is_binary, types))


@lru_cache(maxsize=1024)
def _is_binary(type_text: str) -> bool:
    return re.sub(r"\([0-9,]+\)", "", type_text).lower() in _IN_BINARY
