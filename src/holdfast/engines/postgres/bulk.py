"""Many rows by binary COPY: into the table itself, or by way of a temporary one."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from psycopg import Error, RawCursor

from holdfast.engines.base import Column, Run
from holdfast.engines.names import quote_identifier
from holdfast.engines.writing import Batch, Load
from holdfast.types import Kind

LEAST = 20
# Further copies of a key are few; each round of them is a COPY of its own.
ROUNDS = 4
GIVEN = "holdfast_given"
_TYPES = {
    "text": "text",
    "boolean": "bool",
    "decimal": "numeric",
    "date": "date",
    "time": "time",
    "timestamp": "timestamp",
    "timestamptz": "timestamptz",
    # Its binary form is that of a text; jsonb has a version before it.
    "json": "text",
    "bytes": "bytea",
    "uuid": "uuid",
}
# Equal in Python exactly where they are equal in PostgreSQL: NaN is not, nor are the texts of a jsonb.
_EXACT = frozenset(
    {"integer", "text", "uuid", "date", "time", "timestamp", "timestamptz", "boolean", "decimal", "bytes"}
)
Rows = list[Sequence[Any]]
_EXACT_TEXTS = ("TEXT", "CHARACTER VARYING")


@dataclass(frozen=True, slots=True)
class _Copy:
    """COPY into one table: its text, the types of its values, and which of them are jsonb."""

    sql: str
    types: tuple[str, ...]
    jsonb: tuple[int, ...]

    def send(self, cursor: Any, batches: Iterable[Batch]) -> int:
        with cursor.copy(self.sql) as copy:
            copy.set_types(self.types)
            for batch in batches:
                rows = (self._versioned(batch) if self.jsonb else batch).rows()
                # A tuple that nobody keeps is filled again by zip, and a loop would keep it.
                deque(map(copy.write_row, rows), maxlen=0)
        return int(cursor.rowcount)

    def _versioned(self, batch: Batch) -> Batch:
        columns = list(batch.columns)
        for place in self.jsonb:
            columns[place] = [text if text is None else "\x01" + text for text in columns[place]]
        return Batch(columns, batch.count)


@dataclass(frozen=True, slots=True)
class Straight:
    """Rows that are all new."""

    copy: _Copy
    least: int = LEAST
    overlaps: bool = True
    finds_fault: bool = False

    def write(self, raw: Any, batches: Iterable[Batch]) -> int:
        return self.copy.send(RawCursor(raw), batches)


@dataclass(frozen=True, slots=True)
class Staged:
    """Rows that go into a temporary table first, and from there to where they belong in one statement.

    A key that comes again must find what its first row left behind: where there are ``keys``, such rows
    wait for the next round.
    """

    copy: _Copy
    create: str
    apply: str
    single: str
    keys: tuple[int, ...]
    least: int = LEAST
    overlaps: bool = True
    finds_fault: bool = False

    def write(self, raw: Any, batches: Iterable[Batch]) -> int:
        cursor = RawCursor(raw)
        cursor.execute(self.create)
        written, again = self._first_round(cursor, batches)
        for _ in range(ROUNDS):
            if len(again) < LEAST:
                break
            rows, again = self._apart(again)
            written += self._round(cursor, rows)
        cursor.execute(f"DROP TABLE pg_temp.{GIVEN}")
        if again:
            cursor.executemany(self.single, again)
            written += cursor.rowcount
        return written

    def _first_round(self, cursor: Any, batches: Iterable[Batch]) -> tuple[int, Rows]:
        """The rows go out as they come in; only where a key came twice they are taken apart."""
        kept: list[Batch] = []
        seen: set[Any] = set()

        def watched() -> Iterator[Batch]:
            for batch in batches:
                if self.keys:
                    kept.append(batch)
                    seen.update(zip(*(batch.columns[place] for place in self.keys), strict=True))
                yield batch

        sent = self.copy.send(cursor, watched())
        if not self.keys or len(seen) == sent:
            cursor.execute(self.apply)
            return cursor.rowcount, []
        first, again = self._apart(chain.from_iterable(batch.rows() for batch in kept))
        return self._round(cursor, first), again

    def _round(self, cursor: Any, rows: Rows) -> int:
        cursor.execute(f"TRUNCATE pg_temp.{GIVEN}")
        self.copy.send(cursor, [Batch(list(zip(*rows, strict=True)), len(rows))])
        cursor.execute(self.apply)
        return int(cursor.rowcount)

    def _apart(self, rows: Iterable[Sequence[Any]]) -> tuple[Rows, Rows]:
        """The first row of each key, and the others."""
        seen: set[Any] = set()
        first: Rows = []
        again: Rows = []
        for row in rows:
            key = tuple([row[place] for place in self.keys])
            (again if key in seen else first).append(row)
            seen.add(key)
        return first, again


def writer(run: Run, load: Load) -> Straight | Staged | None:
    """By COPY, where it takes all types and does what INSERT would do."""
    info = load.info
    types = [_type(column) for column in load.columns]
    if not types or None in types or info.is_view:
        return None
    plain = load.verb == "insert" and not load.conflict
    if not _may_copy(run, load, staged=not plain):
        return None
    table = quote_identifier(info.name)
    names = ", ".join(quote_identifier(column.name) for column in load.columns)
    copy = _Copy(
        f"COPY {table if plain else f'pg_temp.{GIVEN}'} ({names}) FROM STDIN (FORMAT BINARY)",
        tuple(text for text in types if text),
        tuple(place for place, column in enumerate(load.columns) if column.type == "JSONB"),
    )
    if plain:
        return Straight(copy)
    names_of = [column.name for column in load.columns]
    return Staged(
        copy,
        f"CREATE TEMPORARY TABLE {GIVEN} ON COMMIT DROP AS SELECT {names} FROM {table} WITH NO DATA",
        _apply(load, table, names),
        load.single,
        tuple(map(names_of.index, load.keys)),
    )


def _apply(load: Load, table: str, names: str) -> str:
    if load.verb == "insert":
        return f"INSERT INTO {table} ({names}) SELECT {names} FROM pg_temp.{GIVEN}{load.conflict}"
    sets = ", ".join(f"{name} = g.{name}" for name in map(quote_identifier, load.changed))
    match = " AND ".join(f"t.{name} = g.{name}" for name in map(quote_identifier, load.keys))
    return f"UPDATE {table} AS t SET {sets} FROM pg_temp.{GIVEN} AS g WHERE {match}"


def _type(column: Column) -> str | None:
    kind: Kind = column.codec.kind
    if kind.name == "integer":
        return {16: "int2", 32: "int4", 64: "int8"}[kind.bits or 64]
    if kind.name == "float":
        return "float4" if kind.bits == 32 else "float8"
    return _TYPES.get(kind.name)


def _may_copy(run: Run, load: Load, *, staged: bool) -> bool:
    """Whether COPY is allowed and obeys what INSERT and UPDATE obey.

    It takes values for GENERATED ALWAYS keys and knows neither rules nor row security. A row that refers
    to another of the same table is checked at the end of a statement, so that the order of rows would not
    matter any more. And keys must be equal here exactly where they are equal there.
    """
    (found,) = run(
        "SELECT c.relhasrules OR row_security_active(c.oid) OR EXISTS (SELECT FROM pg_constraint AS k "
        "WHERE k.contype = 'f' AND k.conrelid = c.oid AND k.confrelid = c.oid), "
        "has_database_privilege(current_database(), 'TEMP'), "
        "ARRAY(SELECT a.attname::text FROM pg_attribute AS a LEFT JOIN pg_collation AS l "
        "ON l.oid = a.attcollation WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
        "AND (a.attidentity = 'a' OR NOT coalesce(l.collisdeterministic, true))) "
        "FROM pg_class AS c WHERE c.oid = to_regclass(?)",
        (quote_identifier(load.info.name),),
    ).fetchall()
    special, may_stage, inexact = found
    if special or (staged and not may_stage) or {column.name for column in load.columns} & set(inexact):
        return False
    return all(_is_exact(load.info.column(name)) for name in load.keys)


def _is_exact(column: Column) -> bool:
    kind = column.codec.kind.name
    return kind in _EXACT and (kind != "text" or column.type.startswith(_EXACT_TEXTS))


def row_at_fault(exc: BaseException | None, table: str) -> int | None:
    """The row that a COPY into the table itself failed at; errors at the end of a statement have none."""
    if isinstance(exc, Error) and (exc.sqlstate or "").startswith("54"):
        # Rows that are too large are found out together, when a page is full.
        return None
    start = f"COPY {table}, "
    for line in ((exc.diag.context if isinstance(exc, Error) else None) or "").splitlines():
        if line.startswith(start) and (number := re.match(r"\D*(\d+)", line[len(start) :])):
            return int(number[1])
    return None


def greatest_given(run: Run, sequence: str, value: int) -> None:
    """Move a sequence past values given by hand, never back, so that the next one is free."""
    run(
        "SELECT setval(s.name, ?) FROM (SELECT ?::text::regclass) AS s (name) "
        "WHERE ?::bigint > coalesce(pg_sequence_last_value(s.name), 0)",
        (value, sequence, value),
    )
