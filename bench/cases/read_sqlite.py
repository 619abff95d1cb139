"""A whole table out of a SQLite file: as dicts, one row after the other, and as frames."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from experiments import NAMES, as_dicts, made
from measure import US, Case, ready
from read import (
    ROWS,
    with_core,
    with_dataset,
    with_holdfast,
    with_orm,
    with_pandas,
    with_peewee,
)
from sqlite_files import TABLE, Files
from ways import Ways, case, consume, in_worker

TITLE = f"{ROWS:,} rows out of SQLite"
IS_HERE = True
LIBRARIES = (
    "SQLAlchemy",
    "sqlite-utils",
    "dataset",
    "peewee",
    "pandas",
    "polars",
    "pyarrow",
    "connectorx",
    "adbc-driver-sqlite",
    "scitex-db",
)
LIMIT, PANDAS = "sqlite3, generated dicts", "pandas.read_sql"
SELECT = f"SELECT * FROM {TABLE}"


@contextmanager
def cases(folder: Path) -> Iterator[list[Case]]:
    with ExitStack() as stack:
        contenders = ready(_makers(Files(folder, stack, made(ROWS))), needed=(US, LIMIT, PANDAS))
        yield [
            case("select to dicts", "dicts", contenders, LIMIT, 1.1),
            case("stream", "stream", contenders, LIMIT),
            case("to_dataframe", "dataframe", contenders, PANDAS, 0.75),
            case("to_arrow", "arrow", contenders, PANDAS, 0.75),
            case("to_polars", "polars", contenders, PANDAS, 0.75),
        ]


def _makers(files: Files) -> dict[str, Callable[[], Ways]]:
    def apart(**ways: str) -> Callable[[], Ways]:
        """Each way in a process of its own, on a file of its own."""
        return lambda: {
            what: in_worker(way, files.path(f"apart-{way.replace(' ', '-')}"), files.stack)
            for what, way in ways.items()
        }

    return {
        LIMIT: lambda: _raw(files.driver("raw")),
        "sqlite3, dict(zip)": lambda: _zipped(files.driver("zipped")),
        "sqlite3, tuples": lambda: _tuples(files.driver("tuples")),
        US: lambda: with_holdfast(files.ours("holdfast"), TABLE),
        "SQLAlchemy Core": lambda: with_core(files.engine("core"), TABLE),
        "SQLAlchemy ORM, objects": lambda: with_orm(files.engine("orm"), TABLE),
        "sqlite-utils": lambda: _sqlite_utils(files.sqlite_utils("utils")),
        "dataset": lambda: with_dataset(files.dataset("dataset"), TABLE),
        "peewee": lambda: with_peewee(files.peewee("peewee"), TABLE),
        "scitex-db": lambda: _scitex(files.scitex("scitex")),
        PANDAS: lambda: with_pandas(files.driver("pandas"), TABLE),
        "polars.read_database": lambda: _polars(files.driver("polars")),
        "connectorx, own process": apart(
            dataframe="connectorx to pandas", arrow="connectorx to arrow", polars="connectorx to polars"
        ),
        "ADBC, own process": apart(arrow="adbc to arrow", polars="adbc to polars"),
    }


def _raw(con: sqlite3.Connection) -> Ways:
    def stream() -> None:
        cursor = con.execute(SELECT)
        while found := cursor.fetchmany(1000):
            consume(as_dicts(found))

    return {"dicts": lambda: as_dicts(con.execute(SELECT)), "stream": stream}


def _zipped(con: sqlite3.Connection) -> Ways:
    return {"dicts": lambda: [dict(zip(NAMES, row, strict=True)) for row in con.execute(SELECT)]}


def _tuples(con: sqlite3.Connection) -> Ways:
    return {"dicts": lambda: con.execute(SELECT).fetchall(), "stream": lambda: consume(con.execute(SELECT))}


def _sqlite_utils(table: Any) -> Ways:
    return {"dicts": lambda: list(table.rows), "stream": lambda: consume(table.rows)}


def _scitex(db: Any) -> Ways:
    return {
        "dicts": lambda: db.get_rows(TABLE, return_as="dict"),
        "dataframe": lambda: db.get_rows(TABLE),
    }


def _polars(con: sqlite3.Connection) -> Ways:
    import polars

    return {"polars": lambda: polars.read_database(SELECT, con)}
