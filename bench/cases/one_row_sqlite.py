"""One row at a time in a SQLite file: get by key, insert and commit, update and commit."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

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

TITLE = "One row at a time, SQLite"
IS_HERE = True
LIBRARIES = ("SQLAlchemy", "sqlite-utils", "dataset")

TABLE = "experiments"
NAMES = list(ROW)
GET = f"SELECT id, {', '.join(NAMES)} FROM {TABLE} WHERE id = ?"
INSERT = f"INSERT INTO {TABLE} ({', '.join(NAMES)}) VALUES (?, ?, ?, ?)"
INSERT_WITH_KEY = f"INSERT INTO {TABLE} (id, {', '.join(NAMES)}) VALUES (?, ?, ?, ?, ?)"
UPDATE = f"UPDATE {TABLE} SET accuracy = ? WHERE id = ?"


@contextmanager
def cases(folder: Path) -> Iterator[list[Case]]:
    with ExitStack() as stack:
        fast = _contenders(folder, "NORMAL", stack)
        safe = _contenders(folder, "FULL", stack)
        yield [
            _case("get by key", "get", fast, 500, 2.5),
            _case("insert and commit", "insert", fast, 100, 1.6),
            _case("insert with a key and commit", "insert with key", fast, 100, 1.6),
            _case("update and commit, where text", "update", fast, 100, 1.6),
            _case("update and commit, where dict", "update by dict", fast, 100, 1.6),
            _case("insert and commit, synchronous FULL", "insert", safe, 20),
            _case("update and commit, synchronous FULL", "update", safe, 20),
        ]
    for synchronous in ("NORMAL", "FULL"):
        refuse_different_work({path.name: _left_in(path) for path in folder.glob(f"*-{synchronous}.db")})


def _case(name: str, verb: str, contenders: dict[str, Ways], calls: int, goal: float | None = None) -> Case:
    plain = verb.removesuffix(" by dict")
    chosen = {who: ways.get(verb) or ways.get(plain) for who, ways in contenders.items()}
    return Case(name, tuple(Contender(who, way) for who, way in chosen.items() if way), calls, goal)


def _contenders(folder: Path, synchronous: str, stack: ExitStack) -> dict[str, Ways]:
    """Every contender with a file of its own, the same rows in each."""
    pragmas = [f"PRAGMA synchronous = {synchronous}", "PRAGMA foreign_keys = ON"]

    def fresh(name: str) -> Path:
        path = folder / f"{name}-{synchronous}.db"
        with closing(sqlite3.connect(path)) as con:
            con.execute("PRAGMA journal_mode = WAL")
            con.execute(f"CREATE TABLE {TABLE} ({', '.join(map(' '.join, COLUMNS.items()))})")
            con.executemany(INSERT, itertools.repeat(tuple(ROW.values()), ROWS))
            con.commit()
        return path

    def raw(name: str) -> sqlite3.Connection:
        con = stack.enter_context(closing(sqlite3.connect(fresh(name))))
        for pragma in pragmas:
            con.execute(pragma)
        return con

    bare = raw("raw")
    db = stack.enter_context(holdfast.connect(fresh("holdfast"), durability=synchronous.lower()))

    def peer() -> Ways:
        import dataset

        other = dataset.connect(f"sqlite:///{fresh('dataset')}", on_connect_statements=pragmas)
        stack.callback(other.close)
        return with_dataset(other, TABLE)

    needed = {
        "sqlite3": _raw(bare),
        "sqlite3, rows as dicts": _raw_dicts(bare),
        "sqlite3, autocommit": _raw_autocommit(raw("autocommit")),
        US: with_holdfast(db, TABLE),
        "SQLAlchemy Core": with_core(_engine(fresh("core"), pragmas, stack), TABLE),
    }
    return needed | ready({"sqlite-utils": lambda: _sqlite_utils(raw("sqlite-utils")), "dataset": peer})


def _left_in(path: Path) -> tuple[Any, ...]:
    with closing(sqlite3.connect(path)) as con:
        found: tuple[Any, ...] = con.execute(CHANGED + TABLE).fetchone()
    return found


def _raw(con: sqlite3.Connection) -> Ways:
    def get(n: int) -> None:
        for key in keys(n):
            con.execute(GET, (key,)).fetchone()

    def insert(n: int) -> None:
        for _ in range(n):
            con.execute(INSERT, (ROW["name"], ROW["ts"], ROW["accuracy"], ROW["parameters"]))
            con.commit()

    def insert_with_key(n: int) -> None:
        for key in new_keys(n):
            con.execute(INSERT_WITH_KEY, (key, ROW["name"], ROW["ts"], ROW["accuracy"], ROW["parameters"]))
            con.commit()

    def update(n: int) -> None:
        for key, value in changes(n):
            con.execute(UPDATE, (value, key))
            con.commit()

    return {"get": get, "insert": insert, "insert with key": insert_with_key, "update": update}


def _raw_dicts(con: sqlite3.Connection) -> Ways:
    def get(n: int) -> None:
        names = tuple(COLUMNS)
        for key in keys(n):
            dict(zip(names, con.execute(GET, (key,)).fetchone(), strict=True))

    return {"get": get}


def _raw_autocommit(con: sqlite3.Connection) -> Ways:
    con.isolation_level = None

    def insert(n: int) -> None:
        for _ in range(n):
            con.execute(INSERT, (ROW["name"], ROW["ts"], ROW["accuracy"], ROW["parameters"]))

    def insert_with_key(n: int) -> None:
        for key in new_keys(n):
            con.execute(INSERT_WITH_KEY, (key, ROW["name"], ROW["ts"], ROW["accuracy"], ROW["parameters"]))

    def update(n: int) -> None:
        for key, value in changes(n):
            con.execute(UPDATE, (value, key))

    return {"insert": insert, "insert with key": insert_with_key, "update": update}


def _engine(path: Path, pragmas: list[str], stack: ExitStack) -> sa.Engine:
    engine = sa.create_engine(f"sqlite:///{path}")
    stack.callback(engine.dispose)

    @sa.event.listens_for(engine, "connect")
    def _connected(raw: Any, record: Any) -> None:
        for pragma in pragmas:
            raw.execute(pragma)

    return engine


def _sqlite_utils(con: sqlite3.Connection) -> Ways:
    import sqlite_utils

    table: Any = sqlite_utils.Database(con)[TABLE]

    def get(n: int) -> None:
        for key in keys(n):
            table.get(key)

    def insert(n: int) -> None:
        for _ in range(n):
            table.insert(ROW)

    def insert_with_key(n: int) -> None:
        for key in new_keys(n):
            table.insert({"id": key, **ROW})

    def update(n: int) -> None:
        for key, value in changes(n):
            table.update(key, {"accuracy": value})

    return {"get": get, "insert": insert, "insert with key": insert_with_key, "update": update}
