"""A PostgreSQL schema as SQL text, written by ``pg_dump`` from the snapshot of our own transaction."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psycopg import RawCursor

from holdfast.engines.base import Run
from holdfast.engines.copying import Content
from holdfast.engines.names import quote_identifier as quote
from holdfast.engines.postgres.embedded import bin_directory
from holdfast.engines.postgres.load import load
from holdfast.engines.postgres.programs import dumping
from holdfast.errors import BackupError, Error, NotSupported, TableNotFound, did_you_mean
from holdfast.folders import own_folder

if TYPE_CHECKING:
    from holdfast.settings import Target

__all__ = ["content", "imitate", "load", "scratch", "tables", "write"]

STATEMENT_SIZE = 4_000_000
UNOWNED = ("--no-owner", "--no-privileges", "--no-tablespaces")
# How values are written must not depend on the session, the role or the database.
_FORMS = {
    "extra_float_digits": "1",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "TimeZone": "UTC",
    "lc_monetary": "C",
}
# How a hash of rows begins that is made column by column.
_HASH = "2:"
# The second sum is of the product of a hash's halves, so that no two hashes can make up for each other.
_SUMS = ("sum(hash)", "sum((hash & 4294967295) * ((hash >> 32) & 2147483647))")
_SUMS_OF_TEXT = tuple(f"sum(hashtextextended(text, {seed}))" for seed in (0, 1))
# Drawn once: no text that anybody has.
_NULL = "NULL 5f0d2c9ab7e341d6"
_PATIENCE = ("idle_in_transaction_session_timeout", "statement_timeout")
_OWNER = "'holdfast_verify_' || pid || '_' || (extract(epoch FROM backend_start) * 1000000)::bigint"
_NOT_OF_EXTENSION = (
    "NOT EXISTS (SELECT FROM pg_depend AS e WHERE e.classid = 'pg_class'::regclass "
    "AND e.objid = c.oid AND e.deptype = 'e')"
)


def rows(raw: Any, sql: str, params: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    return RawCursor(raw).execute(sql, params).fetchall()


def _relations(raw: Any, kinds: str) -> list[tuple[str, str]]:
    """Name and kind of what the current schema holds, but for partitions and what extensions brought."""
    return [
        (name, kind)
        for name, kind in rows(
            raw,
            "SELECT c.relname::text, c.relkind::text FROM pg_class AS c JOIN pg_namespace AS n "
            "ON n.oid = c.relnamespace WHERE n.nspname = current_schema() AND NOT c.relispartition "
            f'AND c.relkind = ANY($1::text[]) AND {_NOT_OF_EXTENSION} ORDER BY c.relname::text COLLATE "C"',
            (list(kinds),),
        )
    ]


def schema_of(raw: Any) -> str:
    schema = rows(raw, "SELECT current_schema()::text")[0][0]
    if schema is None:
        raise BackupError("no schema of the search_path exists", hint="create one, or set search_path")
    return str(schema)


def tables(raw: Any, only: str | None) -> list[str]:
    """The tables whose rows a backup holds.

    Raises:
        BackupError: if there is one whose content pg_dump does not write.
    """
    schema_of(raw)
    found = dict(_relations(raw, "rpf"))
    if only is not None and only not in found:
        raise TableNotFound(f"there is no table {only!r}", hint=did_you_mean(only, found, "tables"))
    chosen = {only: found[only]} if only is not None else found
    for name, kind in chosen.items():
        if kind == "f":
            raise BackupError(f"the rows of the foreign table {name!r} are in another database")
        if kind == "p" and only is not None:
            raise BackupError(f"{name!r} is partitioned", hint="back up the whole database")
    return list(chosen)


def content(
    raw: Any, table: str, advance: Callable[[int], None] | None = None, like: str | None = None
) -> Content:
    """Let the server hash each row, from its first column to its last, and add up the hashes.

    ``like`` is a hash to compare with: a backup of an earlier version has one of the text of whole rows.
    """
    source = place_of(raw, table)
    set_forms(raw)
    is_old = like is not None and not like.startswith(_HASH)
    row = 'ROW(t.*)::text COLLATE "C" AS text' if is_old else f"{_row_hash(raw, table)} AS hash"
    sums = ", ".join(_SUMS_OF_TEXT if is_old else _SUMS)
    # OFFSET keeps what is in the brackets from being made once for each use of it.
    ((count, *found),) = rows(
        raw, f"SELECT count(*), {sums} FROM (SELECT {row} FROM {source} AS t OFFSET 0) AS r"
    )
    if advance is not None:
        advance(count)
    text = "".join(f"{int(one or 0) % 2**64:016x}" for one in found)
    return Content(count, text if is_old else _HASH + text)


def _row_hash(raw: Any, table: str) -> str:
    """Each column's text is hashed with the hash of those before it as the seed."""
    found = rows(
        raw,
        "SELECT attname::text, atttypid IN ('text'::regtype, 'varchar'::regtype) FROM pg_attribute "
        "WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        (f"{quote(schema_of(raw))}.{quote(table)}",),
    )
    said = "0::bigint"
    for name, is_text in found:
        column = f"t.{quote(name)}"
        # What a cast to text does, the type's owner may choose; concat takes what it is written as.
        text = column if is_text else f"CASE WHEN {column} IS NOT NULL THEN concat({column}) END"
        said = f"hashtextextended(coalesce({text}, '{_NULL}') COLLATE \"C\", {said})"
    return said


def place_of(raw: Any, table: str) -> str:
    """A table in FROM, without those that inherit from it."""
    kind = dict(_relations(raw, "rp")).get(table)
    if kind is None:
        raise TableNotFound(f"there is no table {table!r}")
    return f"{'ONLY ' if kind == 'r' else ''}{quote(schema_of(raw))}.{quote(table)}"


def set_forms(raw: Any) -> None:
    """Have values written alike whatever the session says, until the transaction ends."""
    settings = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in _FORMS.items())
    rows(raw, f"SELECT {settings}")


def write(raw: Any, only: str | None, put: Callable[[bytes], None]) -> dict[str, Any]:
    """Write the current schema, or one table with what belongs to it; return what restoring needs to know."""
    known = surroundings(raw)
    schema = known["schema"]
    for name, place in known["extensions"]:
        put(f"{create_extension(name, place)};\n".encode())
    if only is not None:
        for text in _trigger_functions(raw, schema, only):
            put(f"\n{text.rstrip()};\n".encode())
    scope = f"--schema={pattern(schema)}" if only is None else f"--table={pattern(schema)}.{pattern(only)}"
    at_once = max(1, min(100, STATEMENT_SIZE // max(_longest(raw, only), 1)))
    with dumping(raw, [*UNOWNED, "--inserts", f"--rows-per-insert={at_once}", scope]) as lines:
        for line in without_meta_commands(lines):
            put(line)
    return known if only is None else {**known, "views": []}


def _longest(raw: Any, only: str | None) -> int:
    """The bytes of the longest row's text."""
    set_forms(raw)
    found = [
        rows(raw, f"SELECT coalesce(max(octet_length(ROW(t.*)::text)), 0) FROM {place_of(raw, name)} AS t")
        for name in tables(raw, only)
    ]
    return max((row[0] for ((row),) in found), default=0)


def surroundings(raw: Any) -> dict[str, Any]:
    """What a script of the current schema needs to know and is not in it; no timeout will end the writing."""
    schema = schema_of(raw)
    rows(raw, "SELECT " + ", ".join(f"set_config('{name}', '0', true)" for name in _PATIENCE))
    extensions = rows(
        raw,
        "SELECT e.extname::text, n.nspname::text FROM pg_extension AS e "
        "JOIN pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname <> 'plpgsql' ORDER BY 1",
    )
    return {
        "schema": schema,
        "views": [name for name, _ in _relations(raw, "vm")],
        "sequences": _owned_sequences(raw, schema),
        "extensions": [list(row) for row in extensions],
    }


def create_extension(name: str, place: str) -> str:
    """The statement without which types of the extension are unknown."""
    return f"CREATE EXTENSION IF NOT EXISTS {quote(name)} WITH SCHEMA {quote(place)}"


def pattern(name: str) -> str:
    # Within double quotes pg_dump takes every character as it is.
    return '"' + name.replace('"', '""') + '"'


def _trigger_functions(raw: Any, schema: str, table: str) -> list[str]:
    found = rows(
        raw,
        "SELECT DISTINCT pg_get_functiondef(t.tgfoid) FROM pg_trigger AS t "
        "JOIN pg_proc AS p ON p.oid = t.tgfoid JOIN pg_namespace AS n ON n.oid = p.pronamespace "
        "WHERE n.nspname = $1 AND NOT t.tgisinternal AND t.tgrelid = to_regclass($2)",
        (schema, f"{quote(schema)}.{quote(table)}"),
    )
    return [text for (text,) in found]


def _owned_sequences(raw: Any, schema: str) -> dict[str, list[str]]:
    found = rows(
        raw,
        "SELECT t.relname::text, array_agg(s.relname::text) FROM pg_class AS s JOIN pg_depend AS d "
        "ON d.classid = 'pg_class'::regclass AND d.objid = s.oid AND d.deptype IN ('a', 'i') "
        "JOIN pg_class AS t ON t.oid = d.refobjid JOIN pg_namespace AS n ON n.oid = s.relnamespace "
        "WHERE s.relkind = 'S' AND d.refclassid = 'pg_class'::regclass AND n.nspname = $1 GROUP BY 1",
        (schema,),
    )
    return {table: list(names) for table, names in found}


def without_meta_commands(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Leave out ``\\restrict`` before the first statement and its ``\\unrestrict``, which only psql knows."""
    end, in_head = None, True
    for line in lines:
        if in_head and line.startswith(b"\\restrict "):
            end = b"\\un" + line[1:]
        elif line != end:
            yield line
        in_head = in_head and (line.startswith((b"--", b"\\")) or not line.strip())


@contextmanager
def scratch(run: Run, target: Target) -> Iterator[Target]:
    """An empty database that is gone after the block: on the same server, or else on one from the wheel.

    Raises:
        NotSupported: if the role may not create a database, and there is no wheel that will do.
    """
    ((version,),) = run("SELECT current_setting('server_version_num')::int / 10000").fetchall()
    allowed = run("SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user").fetchall()
    if allowed and allowed[0][0]:
        _sweep(run)
        name = f"{_own_scratch(run)}_{secrets.token_hex(4)}"
        run(f"CREATE DATABASE {quote(name)} TEMPLATE template0")
        try:
            yield replace(target, dbname=name)
        finally:
            # A pooler keeps a connection to it.
            run(f"DROP DATABASE IF EXISTS {quote(name)} WITH (FORCE)")
    elif _has_wheel(version):
        with own_folder(Path(tempfile.gettempdir()), "holdfast-verify-") as folder:
            yield type(target)("postgresql+embedded", directory=folder / "data")
    else:
        raise NotSupported(
            "verifying needs a scratch database, and this role may not create one",
            hint="ALTER ROLE ... CREATEDB, or pip install 'holdfast[embedded]' for a server of its own",
        )


def _own_scratch(run: Run) -> str:
    """The beginning of the names of this connection's scratch databases, which says whose they are."""
    return str(run(f"SELECT {_OWNER} FROM pg_stat_activity WHERE pid = pg_backend_pid()").fetchall()[0][0])


def _sweep(run: Run) -> None:
    """Drop the scratch databases of this role whose connection is gone; one in use cannot be dropped."""
    left = run(
        "SELECT datname::text FROM pg_database WHERE datname ~ '^holdfast_verify_[0-9]+_[0-9]+_[0-9a-f]+$' "
        "AND datdba = (SELECT oid FROM pg_roles WHERE rolname = current_user) AND NOT EXISTS ("
        f"SELECT FROM pg_stat_activity WHERE starts_with(pg_database.datname, {_OWNER} || '_'))"
    ).fetchall()
    for (name,) in left:
        with suppress(Error):
            run(f"DROP DATABASE IF EXISTS {quote(name)}")


def _has_wheel(version: int) -> bool:
    return any(bin_directory(major) for major in range(version, version + 20))


def imitate(raw: Any, manifest: Mapping[str, Any]) -> None:
    """Give a scratch database the schema of the backup, and this session its search path."""
    name = quote(manifest["schema"])
    cursor = RawCursor(raw)
    cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {name}")
    cursor.execute(f"SET search_path = {name}")
