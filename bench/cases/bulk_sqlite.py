"""Many rows at a time into a SQLite file: insert, upsert where half are there, update by shuffled keys."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import dataset
import sqlalchemy as sa
import sqlite_utils
from bulk import (
    COLUMNS,
    GIVEN,
    NAMES,
    ROWS,
    Ways,
    repeated,
    updates,
    upserts,
    with_core,
    with_dataset,
    with_holdfast,
)
from measure import US, Case, Contender
from sqlalchemy.dialects.sqlite import insert

import holdfast

TITLE = f"{ROWS:,} rows at a time, SQLite"
LIBRARIES = ("SQLAlchemy", "sqlite-utils", "dataset")

TABLE = "experiments"
INSERT = f"INSERT INTO {TABLE} VALUES (?, ?, ?, ?, ?)"
UPSERT = f"{INSERT} ON CONFLICT (id) DO UPDATE SET " + ", ".join(f"{n} = excluded.{n}" for n in NAMES[1:])
UPDATE = f"UPDATE {TABLE} SET accuracy = ? WHERE id = ?"
PRAGMAS = ["PRAGMA synchronous = NORMAL", "PRAGMA foreign_keys = ON"]
EMPTY = f"DELETE FROM {TABLE}"
HALF = f"DELETE FROM {TABLE} WHERE id > {ROWS // 2}"


@contextmanager
def cases(folder: Path) -> Iterator[list[Case]]:
    with ExitStack() as stack:
        contenders = _contenders(folder, stack)
        yield [
            _case("insert_many from dicts", "insert", contenders, 1.11),
            _case("update_many by shuffled keys", "update", contenders, 0.33),
            _case("upsert_many, half of the rows there", "upsert", contenders),
        ]


def _case(name: str, verb: str, contenders: dict[str, tuple[Any, Ways]], goal: float | None = None) -> Case:
    before = {"insert": EMPTY, "upsert": HALF, "update": "SELECT 1"}[verb]
    chosen = tuple(
        Contender(who, repeated(ways[verb], _statement(con, before)))
        for who, (con, ways) in contenders.items()
        if verb in ways
    )
    return Case(name, chosen, 1, goal, unit="ms")


def _statement(con: Any, sql: str) -> Callable[[], object]:
    return lambda: con.execute(sql)


def _contenders(folder: Path, stack: ExitStack) -> dict[str, tuple[Any, Ways]]:
    """Every contender with a file of its own, and what makes it ready: its own connection where it can be."""

    def fresh(name: str) -> Path:
        path = folder / f"{name}.db"
        with closing(sqlite3.connect(path)) as con:
            con.execute("PRAGMA journal_mode = WAL")
            con.execute(f"CREATE TABLE {TABLE} ({', '.join(map(' '.join, COLUMNS.items()))})")
        return path

    def opened(path: Path) -> sqlite3.Connection:
        con = stack.enter_context(closing(sqlite3.connect(path, isolation_level=None)))
        for pragma in PRAGMAS:
            con.execute(pragma)
        return con

    db = stack.enter_context(holdfast.connect(fresh("holdfast"), durability="normal"))
    peer = dataset.connect(f"sqlite:///{fresh('dataset')}", on_connect_statements=PRAGMAS)
    stack.callback(peer.close)
    bare, utils = opened(fresh("raw")), opened(fresh("utils"))
    return {
        "sqlite3, executemany": (bare, _raw(bare)),
        US: (db, with_holdfast(db, TABLE)),
        "SQLAlchemy Core": (
            opened(fresh("core")),
            with_core(_engine(folder / "core.db", stack), TABLE, insert),
        ),
        "sqlite-utils": (utils, _sqlite_utils(utils)),
        "dataset": (opened(folder / "dataset.db"), with_dataset(peer, TABLE)),
    }


def _raw(con: sqlite3.Connection) -> Ways:
    """The rows as the driver wants them are made beforehand, so that only its own work is left."""
    given = [tuple(row.values()) for row in GIVEN]

    def run(sql: str, rows: list[tuple[Any, ...]]) -> None:
        con.execute("BEGIN IMMEDIATE")
        con.executemany(sql, rows)
        con.execute("COMMIT")

    return {
        "insert": lambda: run(INSERT, given),
        "upsert": lambda: run(UPSERT, [tuple(row.values()) for row in upserts()]),
        "update": lambda: run(UPDATE, [(row["accuracy"], row["id"]) for row in updates()]),
    }


def _engine(path: Path, stack: ExitStack) -> sa.Engine:
    engine = sa.create_engine(f"sqlite:///{path}")
    stack.callback(engine.dispose)

    @sa.event.listens_for(engine, "connect")
    def _connected(raw: Any, record: Any) -> None:
        for pragma in PRAGMAS:
            raw.execute(pragma)

    return engine


def _sqlite_utils(con: sqlite3.Connection) -> Ways:
    table: Any = sqlite_utils.Database(con)[TABLE]
    return {
        "insert": lambda: table.insert_all(GIVEN, batch_size=1000),
        "upsert": lambda: table.upsert_all(upserts(), pk="id", batch_size=1000),
    }
