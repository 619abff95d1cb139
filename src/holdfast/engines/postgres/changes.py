"""Changes noted by triggers for each statement; a position is the number of a transaction.

Transactions end in another order than they began in, so a position is settled only when all before it have
ended: below the oldest one that a snapshot takes for running. Notes are only ever added, so that nobody waits
for who takes them away.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

from holdfast.engines.base import Column, Run
from holdfast.engines.changes import APPLYING, UNNOTED, Carried, Tracked, listed, matching
from holdfast.engines.names import SYNC_PREFIX, quote_identifier
from holdfast.engines.postgres.vectors import VECTOR, asked
from holdfast.errors import ValueRefused
from holdfast.types import Codec, Storage, TypeMap

_TEXT = TypeMap(Storage.NATIVE).codec("text")
_TURN = 7_466_291_845_511_003
numbered = ("BIGINT NOT NULL", "row_number() OVER ()")
# A session plans a trigger once. What it was planned for, mostly one row, may then be a hundred thousand.
_PLANS = "SET enable_nestloop = off"
_NOW = "pg_catalog.pg_current_xact_id()::text::bigint"


def log(run: Run, table: Tracked) -> list[str]:
    notes = quote_identifier(table.log)
    return [
        f'CREATE TABLE {notes} ("n" BIGINT GENERATED ALWAYS AS IDENTITY, "had" BIGINT NOT NULL, '
        f'"tried" BIGINT NOT NULL DEFAULT 0, {_columns(table)})',
        f'CREATE INDEX {quote_identifier(table.log + "_n")} ON {notes} ("n")',
        *_triggers(run, table, "log", APPLYING),
    ]


def feed(run: Run, table: Tracked) -> list[str]:
    notes = quote_identifier(table.feed)
    return [
        f'CREATE TABLE {notes} ("position" BIGINT NOT NULL, "had" BIGINT NOT NULL, {_columns(table)})',
        f'CREATE INDEX {quote_identifier(table.feed + "_position")} ON {notes} ("position")',
        *_triggers(run, table, "feed", UNNOTED),
    ]


def _columns(table: Tracked) -> str:
    named = [*zip(table.keys, table.key, strict=True), *zip(table.notes("b"), table.others, strict=True)]
    return ", ".join(f'"{name}" {column.type}' for name, column in named)


def _triggers(run: Run, table: Tracked, role: str, guard: str) -> list[str]:
    when = f"WHEN (current_setting('{guard}.on', true) IS DISTINCT FROM 'yes')"
    ((schema,),) = run("SELECT current_schema()::text").fetchall()
    own, here = quote_identifier(table.name), quote_identifier(schema)
    notes = f"{here}.{quote_identifier(getattr(table, role))}"
    keys, others = [c.name for c in table.key], [c.name for c in table.others]
    is_feed = role == "feed"
    first, now = (["position"], "now_at, ") if is_feed else ([], "")
    declared = f"DECLARE now_at bigint := {_NOW}; " if is_feed else ""
    into = f"INSERT INTO {notes} ({listed([*first, 'had', *table.keys])}"

    def was(source: str, where: str = "") -> str:
        source = f" FROM {source} AS o{where}"
        kept = "".join(f", {name}" for name in map(quote_identifier, table.notes("b")))
        noted = f"{into}{kept}) SELECT {now}1, {listed([*keys, *others], 'o.')}{source}"
        parts = (f"{into}", f") SELECT {'$1, ' if is_feed else ''}1, {listed(keys, 'o.')}", source)
        left = f"{_of_what_is_left(table, parts)}{' USING now_at' if is_feed else ''}"
        return f"IF {_are_there(others)} THEN {noted}; ELSE {left}; END IF" if others else noted

    new = f"{into}) SELECT {now}0, {listed(keys, 'w.')} FROM new_rows AS w"
    alike = matching("o", "w", [(name, name) for name in keys])
    came = f"{new} WHERE NOT EXISTS (SELECT FROM old_rows AS o WHERE {alike})"
    left = was("old_rows", f" WHERE NOT EXISTS (SELECT FROM new_rows AS w WHERE {alike})")
    # A hub needs what a row was only where it is gone.
    put = [was("old_rows"), came] if role == "log" else [left, new]
    old_rows, new_rows = "OLD TABLE AS old_rows", "NEW TABLE AS new_rows"
    made = [
        ("insert", "AFTER INSERT", f"REFERENCING {new_rows}", [new]),
        ("update", "AFTER UPDATE", f"REFERENCING {old_rows} {new_rows}", put),
        ("delete", "AFTER DELETE", f"REFERENCING {old_rows}", [was("old_rows")]),
        ("truncate", "BEFORE TRUNCATE", "", [was(f"{here}.{own}")]),
    ]
    statements = []
    for event, head, referencing, body in made:
        name = quote_identifier(f"{SYNC_PREFIX}{table.number}_{role}_{event}")
        # Whoever writes to the table need not have any right on the notes.
        statements += [
            f"CREATE OR REPLACE FUNCTION {here}.{name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER "
            f"SET search_path = pg_catalog, pg_temp {_PLANS} AS $holdfast$ "
            f"{declared}BEGIN {'; '.join(body)}; RETURN NULL; END "
            "$holdfast$",
            f"CREATE TRIGGER {name} {head} ON {own} {referencing} FOR EACH STATEMENT {when} "
            f"EXECUTE FUNCTION {here}.{name}()",
        ]
    return statements


def _are_there(names: Sequence[str]) -> str:
    """Whether a table that a trigger is of still has the columns."""
    return (
        "(SELECT count(*) FROM pg_attribute WHERE attrelid = TG_RELID AND NOT attisdropped "
        f"AND attname = ANY ({_texts(names)}::name[])) = {len(names)}"
    )


def _of_what_is_left(table: Tracked, parts: tuple[str, str, str]) -> str:
    """The same note where columns were dropped since, of those that are there; the table is paused then."""
    into, values, source = map(_text, parts)
    noted, own = (
        f"COALESCE(string_agg({each}, '' ORDER BY c.noted), '')"
        for each in ("', ' || c.noted", "', o.' || quote_ident(c.own)")
    )
    pairs = f"{_texts([c.name for c in table.others])}, {_texts(table.notes('b'))}"
    return (
        f"EXECUTE (SELECT {into} || {noted} || {values} || {own} || {source} FROM unnest({pairs}) "
        "AS c (own, noted) WHERE EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = TG_RELID "
        "AND NOT a.attisdropped AND a.attname = c.own))"
    )


def _texts(names: Sequence[str]) -> str:
    return f"ARRAY[{', '.join(map(_text, names))}]"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def forget(run: Run, table: Tracked) -> None:
    for role in ("log", "feed"):
        for event in ("insert", "update", "delete", "truncate"):
            name = quote_identifier(f"{SYNC_PREFIX}{table.number}_{role}_{event}")
            run(f"DROP FUNCTION IF EXISTS {name}() CASCADE")
    for name in (table.log, table.flight, table.feed):
        run(f"DROP TABLE IF EXISTS {quote_identifier(name)}")


def first(table: Tracked, condition: str) -> str:
    notes, keys = quote_identifier(table.log), listed(table.keys)
    columns = listed(["had", "tried", *table.keys, *table.notes("b")], "n.")
    pairs = [(key, key) for key in table.keys]
    return (
        f"SELECT DISTINCT ON ({listed(table.keys, 'n.')}) {columns} FROM {notes} AS n JOIN "
        f"(SELECT DISTINCT {keys} FROM (SELECT n.* FROM {notes} AS n "
        f'WHERE {condition} ORDER BY n."n" LIMIT ?) '
        f'AS noted) AS picked ON {matching("n", "picked", pairs)} ORDER BY {listed(table.keys, "n.")}, n."n"'
    )


def position(run: Run, table: Tracked) -> int:
    ((found,),) = run("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint").fetchall()
    return int(found)


def upcoming(run: Run, table: Tracked) -> int:
    return here(run, table)


def here(run: Run, table: Tracked) -> int:
    ((found,),) = run(f"SELECT {_NOW}").fetchall()
    return int(found)


def hold(run: Run, tables: Sequence[Tracked]) -> None:
    names = ", ".join(quote_identifier(table.name) for table in tables)
    if names:
        run(f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE")


def turn(run: Run) -> None:
    run("SELECT pg_advisory_xact_lock(?)", (_TURN,))


def applying(run: Run, *, on: bool) -> None:
    run("SELECT set_config(?, ?, true)", (f"{APPLYING}.on", "yes" if on else ""))


def unnoted(run: Run, *, on: bool) -> None:
    run("SELECT set_config(?, ?, true)", (f"{UNNOTED}.on", "yes" if on else ""))


def copying(run: Run, table: Tracked, role: str) -> AbstractContextManager[None]:
    """The triggers note the rows of a statement at once."""
    return nullcontext()


def stage(name: str, select: str) -> list[str]:
    quoted = quote_identifier(name)
    return [
        f"DROP TABLE IF EXISTS pg_temp.{quoted}",
        f"CREATE TEMPORARY TABLE {quoted} ON COMMIT DROP AS {select}",
    ]


def staged(run: Run, name: str, keys: Sequence[str]) -> None:
    """Without figures the planner takes the table for a small one, and looks through it again and again."""
    run(f"ANALYZE pg_temp.{quote_identifier(name)}")


def carried(column: Column) -> Carried:
    kind, type_text = column.codec.kind, column.type
    if kind.name == "other":
        text = replace(column, type="TEXT", codec=_TEXT, collation=None)
        given, cast = "CAST({} AS TEXT)", f"CAST({{}} AS {type_text})"
        if type_text.startswith(VECTOR):
            # Elsewhere it is what SQLite has of it: little-endian floats.
            vector = replace(text, codec=Codec(_TEXT.kind, frozenset(), _as_vector, None))
            # Two texts may stand for one vector.
            return Carried("bytes", vector, given, cast, f"vector_send({cast})", decode=_as_floats)
        return Carried(f"other {type_text}", text, given, cast, given)
    decode = None if kind.name == "bytes" else column.codec.decode
    compare = "{}"
    if kind.name == "float":
        compare = f"float{4 if kind.bits == 32 else 8}send({{}})"
    elif type_text == "JSON":
        compare = "CAST({} AS TEXT)"
    elif kind.name == "text":
        compare = '{} COLLATE "C"'
    return Carried(kind.name, column, compare=compare, decode=decode)


def _as_floats(text: str) -> bytes:
    import numpy as np

    return np.fromstring(text[1:-1], "<f4", sep=",").tobytes()


def _as_vector(stored: Any) -> str | None:
    import numpy as np

    if stored is None:
        return None
    if not isinstance(stored, bytes) or not stored or len(stored) % 4:
        raise ValueRefused("the bytes are no vector", hint="a vector is float32 numbers, one after the other")
    return asked(np.frombuffer(stored, "<f4"))


def same(carried: Carried, left: str, right: str) -> str:
    return f"{carried.compare.format(left)} IS NOT DISTINCT FROM {carried.compare.format(right)}"


def identity(run: Run) -> str:
    ((found,),) = run(
        "SELECT (SELECT system_identifier FROM pg_control_system())::text || ' ' || "
        "(SELECT oid FROM pg_database WHERE datname = current_database())::text"
    ).fetchall()
    return str(found)
