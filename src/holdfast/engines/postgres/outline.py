"""A PostgreSQL schema as the statements that make it, from the catalogue: what ``pg_dump`` would write.

They are read without a search path, so that the server writes every name in full.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.engines.postgres.dump import create_extension, rows
from holdfast.errors import BackupError

_OWN = (
    "NOT EXISTS (SELECT FROM pg_depend AS e WHERE e.classid = '{}'::regclass AND e.objid = {}.oid "
    "AND e.deptype = 'e')"
)
_TYPES = f"""
SELECT CASE t.typtype
    WHEN 'e' THEN format('CREATE TYPE %I.%I AS ENUM (%s)', n.nspname, t.typname,
        (SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder)
         FROM pg_enum WHERE enumtypid = t.oid))
    WHEN 'd' THEN format('CREATE DOMAIN %I.%I AS %s%s%s%s%s', n.nspname, t.typname,
        format_type(t.typbasetype, t.typtypmod),
        (SELECT format(' COLLATE %I.%I', cn.nspname, l.collname) FROM pg_collation AS l
         JOIN pg_namespace AS cn ON cn.oid = l.collnamespace JOIN pg_type AS b ON b.oid = t.typbasetype
         WHERE l.oid = t.typcollation AND l.oid <> b.typcollation),
        ' DEFAULT ' || t.typdefault, CASE WHEN t.typnotnull THEN ' NOT NULL' END,
        (SELECT string_agg(format(' CONSTRAINT %I %s', conname, pg_get_constraintdef(oid)), '')
         FROM pg_constraint WHERE contypid = t.oid AND contype = 'c'))
    WHEN 'r' THEN (SELECT format('CREATE TYPE %I.%I AS RANGE (SUBTYPE = %s)', n.nspname, t.typname,
        format_type(rngsubtype, NULL)) FROM pg_range WHERE rngtypid = t.oid)
    ELSE format('CREATE TYPE %I.%I AS (%s)', n.nspname, t.typname,
        (SELECT string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attnum)
         FROM pg_attribute WHERE attrelid = t.typrelid AND attnum > 0 AND NOT attisdropped))
    END
FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace
LEFT JOIN pg_class AS c ON c.oid = t.typrelid
WHERE n.nspname = $1 AND (t.typtype IN ('e', 'd', 'r') OR (t.typtype = 'c' AND c.relkind = 'c'))
AND {_OWN.format("pg_type", "t")} ORDER BY t.oid
"""
_SEQUENCES = f"""
SELECT format('CREATE SEQUENCE %I.%I AS %s START WITH %s INCREMENT BY %s MINVALUE %s MAXVALUE %s CACHE %s%s',
    n.nspname, c.relname, format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmin, s.seqmax,
    s.seqcache, CASE WHEN s.seqcycle THEN ' CYCLE' END)
FROM pg_class AS c JOIN pg_sequence AS s ON s.seqrelid = c.oid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND {_OWN.format("pg_class", "c")}
AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
    AND d.deptype = 'i')
AND ($2::oid[] IS NULL OR EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass
    AND d.objid = c.oid AND d.deptype = 'a' AND d.refobjid = ANY($2::oid[]))) ORDER BY c.oid
"""
_OWNED = """
SELECT format('ALTER SEQUENCE %I.%I OWNED BY %I.%I.%I', n.nspname, c.relname, n.nspname, t.relname, a.attname)
FROM pg_depend AS d JOIN pg_class AS c ON c.oid = d.objid AND c.relkind = 'S'
JOIN pg_class AS t ON t.oid = d.refobjid JOIN pg_namespace AS n ON n.oid = t.relnamespace
JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'a' AND d.refobjid = ANY($1::oid[]) ORDER BY c.oid
"""
_COUNTERS = """
SELECT format('%I.%I', n.nspname, c.relname)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND n.nspname = $1 AND ($2::oid[] IS NULL OR EXISTS (SELECT FROM pg_depend AS d
    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
    AND d.refobjid = ANY($2::oid[]))) ORDER BY c.oid
"""
_FUNCTIONS = f"""
SELECT pg_get_functiondef(p.oid), to_jsonb(p) ->> 'prosqlbody' IS NOT NULL OR EXISTS (
    SELECT FROM unnest(p.prorettype || p.proargtypes::oid[] || coalesce(p.proallargtypes, '{{}}'))
    AS used (oid)
    JOIN pg_type AS t ON t.oid = used.oid LEFT JOIN pg_type AS e ON e.oid = t.typelem
    JOIN pg_class AS c ON c.oid IN (t.typrelid, e.typrelid) WHERE c.relkind <> 'c')
FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname = $1 AND p.prokind <> 'a' AND {_OWN.format("pg_proc", "p")}
AND ($2::oid[] IS NULL OR EXISTS (
    SELECT FROM pg_trigger AS g WHERE g.tgfoid = p.oid AND g.tgrelid = ANY($2::oid[])))
ORDER BY p.oid
"""
_TABLES = """
SELECT c.relname::text, format('CREATE %sTABLE %I.%I (%s)%s',
    CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED ' END, n.nspname, c.relname, (
        SELECT string_agg(format('%I %s%s%s%s%s', a.attname, format_type(a.atttypid, a.atttypmod),
            CASE WHEN l.oid <> t.typcollation THEN format(' COLLATE %I.%I', ln.nspname, l.collname) END,
            CASE WHEN a.attidentity <> '' THEN (SELECT format(
                ' GENERATED %s AS IDENTITY (SEQUENCE NAME %I.%I '
                'START WITH %s INCREMENT BY %s MINVALUE %s MAXVALUE %s CACHE %s%s)',
                CASE a.attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END, sn.nspname, sc.relname,
                s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache,
                CASE WHEN s.seqcycle THEN ' CYCLE' END)
                FROM pg_depend AS d JOIN pg_class AS sc ON sc.oid = d.objid AND sc.relkind = 'S'
                JOIN pg_sequence AS s ON s.seqrelid = sc.oid
                JOIN pg_namespace AS sn ON sn.oid = sc.relnamespace
                WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'i' AND d.refobjid = c.oid
                AND d.refobjsubid = a.attnum) END,
            CASE WHEN f.oid IS NULL THEN ''
                WHEN a.attgenerated = '' THEN ' DEFAULT ' || pg_get_expr(f.adbin, f.adrelid)
                ELSE format(' GENERATED ALWAYS AS (%s) %s', pg_get_expr(f.adbin, f.adrelid),
                    CASE a.attgenerated WHEN 's' THEN 'STORED' ELSE 'VIRTUAL' END) END,
            CASE WHEN a.attnotnull THEN ' NOT NULL' END), ', ' ORDER BY a.attnum)
        FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
        LEFT JOIN pg_attrdef AS f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
        LEFT JOIN pg_collation AS l ON l.oid = a.attcollation
        LEFT JOIN pg_namespace AS ln ON ln.oid = l.collnamespace
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
    ' WITH (' || array_to_string(c.reloptions, ', ') || ')'),
    c.relkind = 'p' OR c.relhassubclass OR c.reloftype <> 0
    OR EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhrelid = c.oid)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = ANY($1::oid[])
ORDER BY c.relname::text COLLATE "C"
"""
_STORAGE = """
SELECT format('ALTER TABLE ONLY %s ALTER COLUMN %I SET STORAGE %s', a.attrelid::regclass, a.attname,
    CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END)
FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
WHERE a.attrelid = ANY($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped AND a.attstorage <> t.typstorage
ORDER BY a.attrelid, a.attnum
"""
_CONSTRAINTS = """
SELECT format('ALTER TABLE ONLY %s ADD CONSTRAINT %I %s', conrelid::regclass, conname,
    pg_get_constraintdef(oid))
FROM pg_constraint WHERE conrelid = ANY($1::oid[]) AND contype::text = ANY($2::text[])
ORDER BY position(contype::text IN 'cpux'), oid
"""
_INDEXES = """
SELECT pg_get_indexdef(i.indexrelid) FROM pg_index AS i WHERE i.indrelid = ANY($1::oid[])
AND NOT EXISTS (SELECT FROM pg_constraint AS k
    WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))
ORDER BY i.indexrelid
"""
_VIEWS = """
WITH RECURSIVE view (oid, depth) AS (
    SELECT c.oid, 1 FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relkind IN ('v', 'm')
    UNION
    SELECT r.ev_class, v.depth + 1 FROM view AS v
    JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = v.oid
    JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid WHERE r.ev_class <> v.oid
)
SELECT format('CREATE %sVIEW %s%s AS %s', CASE c.relkind WHEN 'm' THEN 'MATERIALIZED ' END, c.oid::regclass,
    ' WITH (' || array_to_string(c.reloptions, ', ') || ')', rtrim(pg_get_viewdef(c.oid), ';')), c.oid
FROM view JOIN pg_class AS c ON c.oid = view.oid JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND NOT EXISTS (SELECT FROM pg_depend AS e WHERE e.classid = 'pg_class'::regclass
    AND e.objid = c.oid AND e.deptype = 'e')
GROUP BY c.oid, c.relkind, c.reloptions ORDER BY max(view.depth), c.oid
"""
_TRIGGERS = """
SELECT pg_get_triggerdef(oid), CASE tgenabled WHEN 'O' THEN NULL
    ELSE format('ALTER TABLE ONLY %s %s TRIGGER %I', tgrelid::regclass, CASE tgenabled WHEN 'D' THEN 'DISABLE'
    WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, tgname) END
FROM pg_trigger WHERE tgrelid = ANY($1::oid[]) AND NOT tgisinternal ORDER BY oid
"""
_COMMENTS = """
SELECT format('COMMENT ON %s %s%s IS %L',
    CASE WHEN d.objsubid > 0 THEN 'COLUMN' WHEN c.relkind = 'v' THEN 'VIEW' WHEN c.relkind = 'm'
    THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END, c.oid::regclass, '.' || quote_ident(a.attname), d.description)
FROM pg_description AS d JOIN pg_class AS c ON c.oid = d.objoid
LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = d.objsubid AND d.objsubid > 0
WHERE d.classoid = 'pg_class'::regclass AND d.objoid = ANY($1::oid[]) ORDER BY d.objoid, d.objsubid
"""

_LEFT = f"""
SELECT kind, name FROM (
    SELECT 'policy' AS kind, p.polname || ' on ' || c.relname AS name, c.relnamespace AS place,
    c.relname AS owner
    FROM pg_policy AS p JOIN pg_class AS c ON c.oid = p.polrelid
    UNION ALL SELECT 'rule', r.rulename || ' on ' || c.relname, c.relnamespace, c.relname
    FROM pg_rewrite AS r JOIN pg_class AS c ON c.oid = r.ev_class
    WHERE c.relkind = 'r' OR r.rulename <> '_RETURN'
    UNION ALL SELECT 'statistics', stxname::text, stxnamespace, NULL FROM pg_statistic_ext
    UNION ALL SELECT 'aggregate', proname::text, pronamespace, NULL FROM pg_proc AS p
    WHERE prokind = 'a' AND {_OWN.format("pg_proc", "p")}
    UNION ALL SELECT 'operator', oprname::text, oprnamespace, NULL FROM pg_operator AS p
    WHERE {_OWN.format("pg_operator", "p")}
    UNION ALL SELECT 'collation', collname::text, collnamespace, NULL FROM pg_collation AS p
    WHERE {_OWN.format("pg_collation", "p")}
    UNION ALL SELECT 'text search configuration', cfgname::text, cfgnamespace, NULL FROM pg_ts_config AS p
    WHERE {_OWN.format("pg_ts_config", "p")}
) AS found WHERE place = current_schema()::regnamespace AND ($1::text IS NULL OR owner = $1) ORDER BY 1, 2
"""


def left_of(raw: Any, only: str | None) -> list[tuple[str, str]]:
    """What is in the schema and in none of the statements."""
    return [(kind, name) for kind, name in rows(raw, _LEFT, (only,))]


def statements(
    raw: Any, known: Mapping[str, Any], tables: Sequence[str], only: str | None
) -> list[str | tuple[str]]:
    """The statements in an order that works, and the place of each table's rows.

    Raises:
        BackupError: if a table's rows are spread over others, which only ``pg_dump`` writes.
    """
    ((path,),) = rows(raw, "SELECT current_setting('search_path')")
    _set_path(raw, "")
    try:
        return _statements(raw, known, tables, only)
    finally:
        _set_path(raw, path)


def _set_path(raw: Any, path: str) -> None:
    rows(raw, "SELECT set_config('search_path', $1, true)", (path,))


def _statements(
    raw: Any, known: Mapping[str, Any], tables: Sequence[str], only: str | None
) -> list[str | tuple[str]]:
    schema = known["schema"]
    found = rows(
        raw,
        "SELECT c.oid FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
        "WHERE n.nspname = $1 AND c.relname = ANY($2::text[])",
        (schema, list(tables)),
    )
    oids = [oid for (oid,) in found]
    scope = None if only is None else oids

    def texts(sql: str, *params: Any) -> list[str]:
        return [row[0] for row in rows(raw, sql, params)]

    made = rows(raw, _TABLES, (oids,))
    _refuse_spread([name for name, _, is_spread in made if is_spread])
    programs = [
        (text.replace("CREATE OR REPLACE ", "CREATE ", 1).rstrip(), is_late)
        for text, is_late in rows(raw, _FUNCTIONS, (schema, scope))
    ]
    views = rows(raw, _VIEWS, (schema,)) if only is None else []
    triggers = rows(raw, _TRIGGERS, ([*oids, *(oid for _, oid in views)],))
    return [
        *(create_extension(name, place) for name, place in known["extensions"]),
        "SET check_function_bodies = false",
        *texts(_TYPES, schema),
        *texts(_SEQUENCES, schema, scope),
        *(text for text, is_late in programs if not is_late),
        *(text for _, text, _ in made),
        *texts(_OWNED, oids),
        *texts(_STORAGE, oids),
        *((name,) for name, *_ in made),
        *_counters(raw, texts(_COUNTERS, schema, scope)),
        *(text for text, is_late in programs if is_late),
        *texts(_CONSTRAINTS, oids, ["c", "p", "u", "x"]),
        *texts(_INDEXES, oids),
        *texts(_CONSTRAINTS, oids, ["f"]),
        *(text for text, _ in views),
        *(text for pair in triggers for text in pair if text),
        *texts(_COMMENTS, [*oids, *(oid for _, oid in views)]),
    ]


def _refuse_spread(names: Sequence[str]) -> None:
    if names:
        raise BackupError(
            f"{names[0]!r} is partitioned, typed or inherits, which this format does not hold",
            hint="back it up as .dump or .sql",
        )


def _counters(raw: Any, names: Sequence[str]) -> list[str]:
    found = []
    for name in names:
        ((value, is_called),) = rows(raw, f"SELECT last_value, is_called FROM {name}")
        text = name.replace("'", "''")
        found.append(f"SELECT pg_catalog.setval('{text}', {value}, {str(is_called).lower()})")
    return found
