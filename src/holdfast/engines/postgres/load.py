"""Running the text of a backup in one transaction, in the place of the tables that it names.

``pg_dump`` writes for an empty database. What it does to the session stays inside the transaction, and what
hangs on the tables from outside of the backup (foreign keys, views, grants) is taken off and put back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import psycopg
from psycopg import RawCursor

from holdfast.engines.copying import Fill, RawRows, Script
from holdfast.engines.names import unquote_identifier
from holdfast.engines.sqltext import POSTGRES, Token, first_word, tokens
from holdfast.errors import BackupError, SchemaError

_LEADING = re.compile(r"(?:\s+|--[^\n]*(?:\n|\Z)|\\(?:un)?restrict[^\n]*(?:\n|\Z))*")
_SETTING = re.compile(r"SET (\w+) = ")
_NAME = r'(?:"(?:[^"]|"")+"|[^\s".(;]+)'
_MADE = re.compile(rf"CREATE (TYPE|DOMAIN|SEQUENCE) ({_NAME}\.{_NAME})")
_PROGRAM = re.compile(r"CREATE (FUNCTION|PROCEDURE|AGGREGATE) ")
_KEPT_SETTINGS = frozenset({"lock_timeout", "client_encoding"})
_OF_TRANSACTIONS = frozenset({"BEGIN", "START", "COMMIT", "END"})
_DEPENDED_ON, _DENIED, _EXISTS = "2BP01", "42501", ("42710", "42P07", "42723")
_ANCHORS = {
    "INDEX": "ON",
    "TRIGGER": "ON",
    "POLICY": "ON",
    "CONSTRAINT": "ON",
    "RULE": "TO",
    "STATISTICS": "FROM",
}
_DEPENDENT_VIEWS = """
WITH RECURSIVE dependent (oid, depth) AS (
    SELECT r.ev_class, 1 FROM pg_rewrite AS r JOIN pg_depend AS d
    ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
    WHERE d.refobjid = ANY($1::oid[]) AND r.ev_class <> d.refobjid
    UNION
    SELECT r.ev_class, o.depth + 1 FROM dependent AS o JOIN pg_depend AS d ON d.refobjid = o.oid
    JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
    WHERE d.refclassid = 'pg_class'::regclass AND r.ev_class <> o.oid
)
SELECT c.oid, c.oid::regclass::text, c.relkind = 'v' AND NOT c.relhastriggers
    AND (SELECT count(*) = 1 FROM pg_rewrite WHERE ev_class = c.oid),
    format('CREATE VIEW %s%s AS %s', c.oid::regclass,
        ' WITH (' || array_to_string(c.reloptions, ', ') || ')', rtrim(pg_get_viewdef(c.oid), ';'))
FROM dependent JOIN pg_class AS c ON c.oid = dependent.oid
WHERE c.oid <> ALL($1::oid[]) AND c.relkind IN ('v', 'm')
GROUP BY c.oid ORDER BY max(depth)
"""
_FOREIGN_KEYS = """
SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname),
    format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
FROM pg_constraint WHERE contype = 'f' AND conparentid = 0
AND confrelid = ANY($1::oid[]) AND conrelid <> ALL($1::oid[])
"""
_RIGHTS = """
SELECT format('ALTER TABLE %s OWNER TO %I', c.oid::regclass, pg_get_userbyid(c.relowner))
FROM pg_class AS c WHERE c.oid = ANY($1::oid[]) AND c.relkind <> 'S'
AND pg_get_userbyid(c.relowner) <> current_user
UNION ALL
SELECT format('GRANT %s ON %s%s TO %s%s', a.privilege_type, CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' END,
    c.oid::regclass, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
    CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' END)
FROM pg_class AS c CROSS JOIN LATERAL aclexplode(c.relacl) AS a
WHERE c.oid = ANY($1::oid[]) AND a.grantee <> c.relowner
"""


class _Cursor:
    """Runs whole texts: unprepared, because they are long and never come again."""

    def __init__(self, raw: Any) -> None:
        self._cursor = RawCursor(raw)

    def run(self, sql: str) -> None:
        self._cursor.execute(sql.encode())

    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._cursor.execute(sql.encode(), params).fetchall()

    def copy(self, rows: RawRows) -> None:
        with self._cursor.copy(rows.sql.encode()) as copy:
            for block in rows.blocks:
                copy.write(block)

    def attempt(self, sql: str, *ignored: str) -> bool:
        """Run a statement that may fail in one of these ways; tell whether it was done."""
        self.run("SAVEPOINT holdfast_attempt")
        try:
            self.run(sql)
        except psycopg.Error as exc:
            if exc.sqlstate not in ignored:
                raise
            self.run("ROLLBACK TO SAVEPOINT holdfast_attempt")
            return False
        finally:
            if self._cursor.connection.info.transaction_status != psycopg.pq.TransactionStatus.INERROR:
                self.run("RELEASE SAVEPOINT holdfast_attempt")
        return True


def load(raw: Any, statements: Script, manifest: Mapping[str, Any] | None, only: str | None) -> None:
    """Drop the tables that a backup names and run its statements; without a manifest, just run them.

    Raises:
        SchemaError: if something that cannot be put back depends on one of the tables; names it.
        BackupError: if the backup is of another schema.
    """
    threshold = raw.prepare_threshold
    # The driver counts statements by their texts, and would keep all of these.
    raw.prepare_threshold = None
    try:
        _load(_Cursor(raw), statements, manifest, only)
    finally:
        raw.prepare_threshold = threshold


def _load(cursor: _Cursor, statements: Script, manifest: Mapping[str, Any] | None, only: str | None) -> None:
    schema, path = cursor.rows("SELECT current_schema()::text, current_setting('search_path')")[0]
    settings = {name for (name,) in cursor.rows("SELECT name FROM pg_settings")} - _KEPT_SETTINGS
    if manifest is None:
        for item in statements:
            if isinstance(item, RawRows):
                cursor.copy(item)
            elif isinstance(item, str):
                _run_foreign(cursor, _bare(item), settings)
        _set_path(cursor, path)
        return
    if manifest["schema"] != schema:
        raise BackupError(
            f"the backup is of the schema {manifest['schema']!r}, and this connection works in {schema!r}",
            hint="connect with options='-c search_path=...'",
        )
    # Without a path the catalogue writes every name in full.
    _set_path(cursor, "")
    put_back = _clear(
        cursor, schema, [only] if only else list(manifest["tables"]), [] if only else manifest["views"]
    )
    own = {name: table for table, names in manifest["sequences"].items() for name in names}
    for item in statements:
        if isinstance(item, Fill):
            _fill(cursor, item, only, path)
            continue
        if isinstance(item, RawRows):
            if only in (None, _subject(item.sql)):
                cursor.copy(item)
            continue
        statement = _bare(item)
        if only is None:
            _run(cursor, statement, settings)
        elif _belongs(statement, only, own):
            _run_part(cursor, statement, settings)
    for statement in put_back:
        cursor.run(statement)
    _set_path(cursor, path)


def _fill(cursor: _Cursor, item: Fill, only: str | None, path: str) -> None:
    if item.table is None or only in (None, item.table):
        _set_path(cursor, path)
        item.write()
        _set_path(cursor, "")


def _set_path(cursor: _Cursor, path: str) -> None:
    cursor.rows("SELECT set_config('search_path', $1, true)", (path,))


def _bare(statement: str) -> str:
    """A statement without the comments before it."""
    start = _LEADING.match(statement)
    assert start is not None
    return statement[start.end() :]


def _run(cursor: _Cursor, statement: str, settings: set[str]) -> None:
    """Run one of pg_dump's statements where the database need not be empty."""
    if made := _MADE.match(statement):
        # One that others use stays as it is; its name is what matters to the tables.
        cursor.attempt(f"DROP {made[1]} IF EXISTS {made[2]}", _DEPENDED_ON)
        cursor.attempt(statement, *_EXISTS)
    elif _PROGRAM.match(statement):
        cursor.run("CREATE OR REPLACE" + statement.removeprefix("CREATE"))
    else:
        _run_plain(cursor, statement, settings)


def _run_part(cursor: _Cursor, statement: str, settings: set[str]) -> None:
    """Run a statement that one table of a backup needs; what is here already for all tables stays."""
    if _MADE.match(statement) or _PROGRAM.match(statement):
        cursor.attempt(statement, *_EXISTS)
    else:
        _run_plain(cursor, statement, settings)


def _run_plain(cursor: _Cursor, statement: str, settings: set[str]) -> None:
    if setting := _SETTING.match(statement):
        # A newer pg_dump sets what an older server does not know.
        if setting[1] in settings:
            cursor.run("SET LOCAL" + statement.removeprefix("SET"))
    elif statement.startswith("SELECT pg_catalog.set_config('search_path'"):
        _set_path(cursor, "")
    elif statement.startswith("CREATE SCHEMA "):
        # IF NOT EXISTS asks for the right to create one even where there is nothing to create.
        name = unquote_identifier(statement.split(maxsplit=2)[2])
        if not cursor.rows("SELECT 1 FROM pg_namespace WHERE nspname = $1", (name,)):
            cursor.run(statement)
    elif statement.startswith(("COMMENT ON SCHEMA ", "COMMENT ON EXTENSION ")):
        cursor.attempt(statement, _DENIED)
    elif statement.startswith("CREATE EXTENSION "):
        # Where it cannot be had, the first statement that needs it says so.
        cursor.attempt(statement, _DENIED, "0A000", "58P01", "22023", "3F000")
    elif statement:
        cursor.run(statement)


def _run_foreign(cursor: _Cursor, statement: str, settings: set[str]) -> None:
    """Run a statement of a file that is not ours, whose transactions and settings are not ours either."""
    verb = first_word(statement[:200], POSTGRES)
    if verb == "ROLLBACK":
        raise BackupError("the file says that it was not written to its end: ROLLBACK")
    if verb == "COPY" and re.search(r"\bFROM\s+stdin\b", statement[:10_000], re.IGNORECASE):
        raise BackupError(
            "the file holds COPY data", hint="write it with pg_dump --inserts, or load it with psql"
        )
    if verb not in _OF_TRANSACTIONS:
        _run_plain(cursor, statement, settings)


# What one table of a backup needs


def _belongs(statement: str, table: str, own: Mapping[str, str]) -> bool:
    """Whether a statement makes or fills ``table``; ``own`` maps sequences to the tables that own them."""
    if statement.startswith(("SET ", "SELECT pg_catalog.set_config", "CREATE SCHEMA ", "CREATE EXTENSION ")):
        return True
    if _PROGRAM.match(statement) or statement.startswith(("CREATE TYPE ", "CREATE DOMAIN ")):
        return True
    name = _subject(statement)
    if name is None:
        return False
    return own.get(name, name) == table


def _subject(statement: str) -> str | None:
    """The table or the sequence that one of pg_dump's statements is about, without its schema."""
    code = list(islice((token for token in tokens(statement, POSTGRES) if token.is_code), 100))
    words = [token.text.upper() if token.kind == "word" else "" for token in code]
    if words[:1] == ["INSERT"]:
        return _name(code, 2)
    if words[:1] == ["COPY"]:
        return _name(code, 1)
    if words[:1] == ["SELECT"] and words[3:4] == ["SETVAL"]:
        inner = [token for token in tokens(unquote_identifier(code[5].text), POSTGRES) if token.is_code]
        return _name(inner, 0)
    if words[:1] not in (["CREATE"], ["ALTER"], ["COMMENT"]):
        return None
    kind = next((at for at in range(1, min(5, len(words))) if words[at] in _ANCHORS), None)
    if kind is not None:
        anchor = next((at for at in range(kind + 2, len(words)) if words[at] == _ANCHORS[words[kind]]), None)
        return None if anchor is None else _name(code, anchor + 1)
    kind = next(
        (at for at in range(1, min(5, len(words))) if words[at] in {"TABLE", "COLUMN", "SEQUENCE"}), None
    )
    return None if kind is None else _name(code, kind + 1)


def _name(code: list[Token], at: int) -> str | None:
    """The second part of the qualified name that begins at a token."""
    while at < len(code) and code[at].text.upper() in {"ONLY", "IF", "NOT", "EXISTS"}:
        at += 1
    if at + 2 < len(code) and code[at + 1].text == ".":
        return unquote_identifier(code[at + 2].text)
    return None


# What hangs on the tables


def _clear(cursor: _Cursor, schema: str, tables: list[str], views: list[str]) -> list[str]:
    """Drop what a backup replaces, and return the statements that put back what is not in it."""
    found = cursor.rows(
        "SELECT c.oid, c.relname::text, c.relkind::text, c.oid::regclass::text FROM pg_class AS c "
        "JOIN pg_namespace AS n ON n.oid = c.relnamespace "
        "WHERE n.nspname = $1 AND c.relname = ANY($2::text[])",
        (schema, [*tables, *views]),
    )
    for _, name, kind, _ in found:
        if (kind in "rp") != (name in tables):
            raise SchemaError(
                f"{name!r} is a {'table' if kind in 'rp' else 'view'} here and none in the backup",
                hint="rename or drop it first",
            )
    oids = [oid for oid, *_ in found]
    outside = cursor.rows(_DEPENDENT_VIEWS, (oids,))
    fixed = [name for _, name, is_plain, _ in outside if not is_plain]
    if fixed:
        raise SchemaError(
            f"{', '.join(fixed)} depends on a table that the backup replaces and is not in the backup",
            hint="drop it, restore, and create it again",
        )
    owned = cursor.rows(
        "SELECT objid FROM pg_depend WHERE classid = 'pg_class'::regclass AND deptype IN ('a', 'i') "
        "AND refclassid = 'pg_class'::regclass AND refobjid = ANY($1::oid[]) AND refobjsubid > 0 "
        "AND objid IN (SELECT oid FROM pg_class WHERE relkind = 'S')",
        (oids,),
    )
    foreign_keys = cursor.rows(_FOREIGN_KEYS, (oids,))
    rights = cursor.rows(_RIGHTS, ([*oids, *(oid for oid, *_ in outside), *(oid for (oid,) in owned)],))
    for drop, _ in foreign_keys:
        cursor.run(drop)
    for _, name, *_ in reversed(outside):
        cursor.run(f"DROP VIEW {name}")
    kinds = {"v": "VIEW", "m": "MATERIALIZED VIEW"}
    _drop(cursor, [f"{kinds[kind]} {name}" for _, _, kind, name in found if kind in kinds])
    here = [name for _, _, kind, name in found if kind in "rp"]
    _drop(cursor, [f"TABLE {', '.join(here)}"] if here else [])
    return [sql for *_, sql in outside] + [add for _, add in foreign_keys] + [sql for (sql,) in rights]


def _drop(cursor: _Cursor, things: list[str]) -> None:
    """Drop things that may depend on each other, in whatever order works.

    Raises:
        SchemaError: if something else depends on one; the message is PostgreSQL's list of it.
    """
    while things:
        left = [thing for thing in things if not cursor.attempt(f"DROP {thing}", _DEPENDED_ON)]
        if len(left) == len(things):
            _refuse(cursor, left[0])
        things = left


def _refuse(cursor: _Cursor, thing: str) -> None:
    try:
        cursor.run(f"DROP {thing}")
    except psycopg.errors.DependentObjectsStillExist as exc:
        raise SchemaError(
            f"the backup cannot replace what it names: {exc.diag.message_detail or exc.diag.message_primary}",
            hint="drop what depends on it, restore, and create it again",
        ) from exc
