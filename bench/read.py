"""Reading a whole table: how those who know both engines do it."""

from __future__ import annotations

from typing import Any

import pandas
import sqlalchemy as sa
from bulk import orm_model, peewee_model
from measure import rows
from sqlalchemy.orm import Session
from ways import Ways, consume

import holdfast

ROWS = rows(100_000)


def with_holdfast(db: holdfast.Database, table: str) -> Ways:
    return {
        "dicts": lambda: db.select(table),
        "stream": lambda: consume(db.stream(table)),
        "dataframe": lambda: db.to_dataframe(table),
        "arrow": lambda: db.to_arrow(table),
        "polars": lambda: db.to_polars(table),
    }


def with_core(engine: sa.Engine, name: str) -> Ways:
    select = sa.select(sa.Table(name, sa.MetaData(), autoload_with=engine))

    def dicts() -> None:
        with engine.connect() as con:
            [dict(row) for row in con.execute(select).mappings()]

    def stream() -> None:
        with engine.connect() as con:
            found = con.execution_options(yield_per=1000).execute(select).mappings()
            consume(map(dict, found))

    return {"dicts": dicts, "stream": stream}


def with_orm(engine: sa.Engine, name: str) -> Ways:
    model = orm_model(name)

    def objects() -> None:
        with Session(engine) as session:
            session.scalars(sa.select(model)).all()

    def stream() -> None:
        with Session(engine) as session:
            consume(session.scalars(sa.select(model).execution_options(yield_per=1000)))

    return {"dicts": objects, "stream": stream}


def with_dataset(db: Any, name: str) -> Ways:
    table = db[name]
    return {"dicts": lambda: list(table.all()), "stream": lambda: consume(table.find(_step=1000))}


def with_peewee(db: Any, name: str) -> Ways:
    model = peewee_model(db, name)
    return {
        "dicts": lambda: list(model.select().dicts()),
        "stream": lambda: consume(model.select().dicts().iterator()),
    }


def with_pandas(con: Any, name: str) -> Ways:
    return {
        what: lambda: pandas.read_sql(f"SELECT * FROM {name}", con)
        for what in ("dataframe", "arrow", "polars")
    }


def with_connectorx(uri: str, name: str) -> Ways:
    import connectorx
    import polars

    def read(kind: str) -> Any:
        return connectorx.read_sql(uri, f"SELECT * FROM {name}", return_type=kind)

    return {
        "dataframe": lambda: read("pandas"),
        "arrow": lambda: read("arrow"),
        "polars": lambda: polars.read_database_uri(f"SELECT * FROM {name}", uri, engine="connectorx"),
    }
