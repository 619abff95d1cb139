"""Many rows at a time into a SQLite file: insert, upsert where half are there, update by shuffled keys."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from bulk import (
    GIVEN,
    ROWS,
    Ways,
    arrow,
    frame,
    refuse_different_work,
    updates,
    upserts,
    with_core,
    with_dataset,
    with_holdfast,
    with_orm,
    with_pandas,
    with_peewee,
    with_polars,
)
from experiments import NAMES
from measure import US, Case, Contender, ready
from sqlalchemy.dialects.sqlite import insert
from sqlite_files import INSERT, TABLE, Files
from ways import in_worker, repeated

TITLE = f"{ROWS:,} rows at a time, SQLite"
IS_HERE = True
LIBRARIES = (
    "SQLAlchemy",
    "sqlite-utils",
    "dataset",
    "peewee",
    "pandas",
    "polars",
    "adbc-driver-sqlite",
    "scitex-db",
)

LIMIT = "sqlite3, executemany"
# The quickest way there is for new rows; its tuples are ready made, too.
FLAT, ROWS_OF_ONE = "sqlite3, 100 rows a statement", 100
UPSERT = f"{INSERT} ON CONFLICT (id) DO UPDATE SET " + ", ".join(f"{n} = excluded.{n}" for n in NAMES[1:])
UPDATE = f"UPDATE {TABLE} SET accuracy = ? WHERE id = ?"
BEFORE = {
    "upsert": f"DELETE FROM {TABLE} WHERE id > {ROWS // 2}",
    "update": "SELECT 1",
}


@contextmanager
def cases(folder: Path) -> Iterator[list[Case]]:
    with ExitStack() as stack:
        files = Files(folder, stack)
        contenders = ready(_makers(files), needed=(US, LIMIT, FLAT))
        cons = {who: files.driver(name) for who, (name, _) in contenders.items()}
        yield [
            _case("insert_many from dicts", "insert", contenders, cons, 1.11),
            _case("update_many by shuffled keys", "update", contenders, cons, 0.33),
            _case("upsert_many, half of the rows there", "upsert", contenders, cons),
            _case("from_dataframe", "from_dataframe", contenders, cons),
            _case("from_arrow", "from_arrow", contenders, cons),
        ]
        count = f"SELECT count(*) FROM {TABLE}"
        refuse_different_work({who: con.execute(count).fetchone()[0] for who, con in cons.items()})


def _case(
    name: str,
    verb: str,
    contenders: dict[str, tuple[str, Ways]],
    cons: dict[str, sqlite3.Connection],
    goal: float | None = None,
) -> Case:
    before = BEFORE.get(verb, f"DELETE FROM {TABLE}")
    chosen = tuple(
        Contender(who, repeated(ways[verb], _statement(cons[who], before)))
        for who, (_, ways) in contenders.items()
        if verb in ways
    )
    return Case(name, chosen, 1, goal, unit="ms")


def _statement(con: Any, sql: str) -> Callable[[], object]:
    return lambda: con.execute(sql)


def _makers(files: Files) -> dict[str, Callable[[], tuple[str, Ways]]]:
    """Every contender with a file of its own."""
    return {
        FLAT: lambda: ("flat", _flat(files.driver("flat"))),
        LIMIT: lambda: ("raw", _raw(files.driver("raw"))),
        US: lambda: ("holdfast", with_holdfast(files.ours("holdfast"), TABLE)),
        "SQLAlchemy Core": lambda: ("core", with_core(files.engine("core"), TABLE, insert)),
        "SQLAlchemy ORM": lambda: ("orm", with_orm(files.engine("orm"), TABLE)),
        "sqlite-utils": lambda: ("utils", _sqlite_utils(files.sqlite_utils("utils"))),
        "dataset": lambda: ("dataset", with_dataset(files.dataset("dataset"), TABLE)),
        "peewee": lambda: ("peewee", with_peewee(files.peewee("peewee"), TABLE)),
        "pandas": lambda: ("pandas", with_pandas(files.driver("pandas", "DEFERRED"), TABLE)),
        "polars": lambda: ("polars", with_polars(files.engine("polars"), TABLE)),
        "ADBC, own process": lambda: (
            "adbc",
            {"from_arrow": in_worker("adbc ingest", files.path("adbc"), files.stack)},
        ),
        "scitex-db": lambda: ("scitex", _scitex(files.scitex("scitex"))),
    }


def _raw(con: sqlite3.Connection) -> Ways:
    """The rows as the driver wants them are made beforehand, so that only its own work is left."""
    given = [tuple(row.values()) for row in GIVEN]

    def run(sql: str, rows: Any) -> None:
        con.execute("BEGIN IMMEDIATE")
        con.executemany(sql, rows)
        con.execute("COMMIT")

    return {
        "insert": lambda: run(INSERT, given),
        "upsert": lambda: run(UPSERT, [tuple(row.values()) for row in upserts()]),
        "update": lambda: run(UPDATE, [(row["accuracy"], row["id"]) for row in updates()]),
        "from_dataframe": lambda: run(INSERT, frame().itertuples(index=False, name=None)),
        "from_arrow": lambda: run(INSERT, zip(*(c.to_pylist() for c in arrow().columns), strict=True)),
    }


def _flat(con: sqlite3.Connection) -> Ways:
    given = [tuple(row.values()) for row in GIVEN]
    marks = f"({', '.join('?' * len(NAMES))})"
    many = f"INSERT INTO {TABLE} VALUES {', '.join([marks] * ROWS_OF_ONE)}"
    whole = ROWS - ROWS % ROWS_OF_ONE

    def insert() -> None:
        con.execute("BEGIN IMMEDIATE")
        for start in range(0, whole, ROWS_OF_ONE):
            con.execute(many, list(chain.from_iterable(given[start : start + ROWS_OF_ONE])))
        con.executemany(INSERT, given[whole:])
        con.execute("COMMIT")

    return {"insert": insert}


def _sqlite_utils(table: Any) -> Ways:
    return {
        "insert": lambda: table.insert_all(GIVEN, batch_size=1000),
        "upsert": lambda: table.upsert_all(upserts(), pk="id", batch_size=1000),
    }


def _scitex(db: Any) -> Ways:
    return {"insert": lambda: db.insert_many(TABLE, GIVEN)}
