"""Many rows at a time: the rows, and how those who know both engines write them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from functools import cache
from typing import Any

import sqlalchemy as sa
from experiments import NAMES, Row, made
from measure import left_out
from measure import rows as rows_of
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column

import holdfast

ROWS = rows_of(50_000)
Ways = dict[str, Callable[[], object]]
"""How all rows are inserted, upserted and updated once, or come from a DataFrame or an Arrow table."""

_turns = itertools.count()


def _shuffled(rows: list[Row]) -> list[Row]:
    changes = [{"id": row["id"], "accuracy": row["accuracy"]} for row in rows]
    random.Random(1).shuffle(changes)
    return changes


GIVEN = made(ROWS)
# Two that differ, in turn: a row that stays as it is costs some of the contenders less.
UPSERTS = [made(ROWS, 0.5), made(ROWS, 0.75)]
UPDATES = [_shuffled(rows) for rows in UPSERTS]


def upserts() -> list[Row]:
    return UPSERTS[next(_turns) % 2]


def updates() -> list[Row]:
    return UPDATES[next(_turns) % 2]


@cache
def arrow() -> Any:
    import pyarrow

    return pyarrow.Table.from_pylist(GIVEN)


@cache
def frame() -> Any:
    import pandas

    return pandas.DataFrame(GIVEN)


@cache
def polars_frame() -> Any:
    import polars

    return polars.DataFrame(GIVEN)


def with_holdfast(db: holdfast.Database, table: str) -> Ways:
    return {
        "insert": lambda: db.insert_many(table, GIVEN),
        "upsert": lambda: db.upsert_many(table, upserts()),
        "update": lambda: db.update_many(table, updates()),
        "from_dataframe": lambda: db.from_dataframe(frame(), table, if_exists="append"),
        "from_arrow": lambda: db.from_arrow(arrow(), table, if_exists="append"),
    }


def with_core(engine: sa.Engine, name: str, insert: Callable[..., Any]) -> Ways:
    table = sa.Table(name, sa.MetaData(), autoload_with=engine)
    upsert = insert(table)
    changed = {name: upsert.excluded[name] for name in NAMES[1:]}
    upsert = upsert.on_conflict_do_update(index_elements=["id"], set_=changed)
    change = sa.update(table).where(table.c.id == sa.bindparam("key"))
    change = change.values(accuracy=sa.bindparam("new"))

    def run(statement: Any, rows: list[Row]) -> None:
        with engine.begin() as con:
            con.execute(statement, rows)

    return {
        "insert": lambda: run(sa.insert(table), GIVEN),
        "upsert": lambda: run(upsert, upserts()),
        "update": lambda: run(change, [{"key": row["id"], "new": row["accuracy"]} for row in updates()]),
    }


def orm_model(name: str) -> Any:
    """A mapped class of the table."""

    class Base(DeclarativeBase):
        pass

    texts = {column: mapped_column(sa.Text) for column in ("name", "ts", "parameters")}
    key, number = mapped_column(sa.BigInteger, primary_key=True), mapped_column(sa.Double)
    return type("Experiment", (Base,), {"__tablename__": name, "id": key, "accuracy": number, **texts})


def with_orm(engine: sa.Engine, name: str) -> Ways:
    model = orm_model(name)

    def run(statement: Any, rows: list[Row]) -> None:
        with Session(engine) as session, session.begin():
            session.execute(statement, rows)

    return {
        "insert": lambda: run(sa.insert(model), GIVEN),
        "update": lambda: run(sa.update(model), updates()),
    }


def with_dataset(db: Any, name: str) -> Ways:
    table = db[name]

    def within(verb: Callable[..., Any], rows: list[Row], *args: Any) -> None:
        db.begin()
        verb(rows, *args)
        db.commit()

    # Its upsert_many asks for each row whether it is there: minutes for this many.
    return {
        "insert": lambda: within(table.insert_many, GIVEN),
        "update": lambda: within(table.update_many, updates(), ["id"]),
    }


def peewee_model(db: Any, name: str) -> Any:
    """A model of the table."""
    import peewee

    meta = type("Meta", (), {"database": db, "table_name": name})
    texts = {column: peewee.TextField() for column in ("name", "ts", "parameters")}
    key, number = peewee.BigIntegerField(primary_key=True), peewee.DoubleField()
    return type("Experiment", (peewee.Model,), {"Meta": meta, "id": key, "accuracy": number, **texts})


def with_peewee(db: Any, name: str) -> Ways:
    import peewee

    model = peewee_model(db, name)
    kept = [getattr(model, column) for column in NAMES[1:]]

    def insert() -> None:
        with db.atomic():
            for batch in peewee.chunked(GIVEN, 1000):
                model.insert_many(batch).execute()

    def upsert() -> None:
        with db.atomic():
            for batch in peewee.chunked(upserts(), 1000):
                model.insert_many(batch).on_conflict(conflict_target=[model.id], preserve=kept).execute()

    return {"insert": insert, "upsert": upsert}


def with_pandas(con: Any, name: str) -> Ways:
    given = frame()
    return {"from_dataframe": lambda: given.to_sql(name, con, if_exists="append", index=False)}


def with_polars(engine: sa.Engine, name: str) -> Ways:
    given = polars_frame()
    return {"from_arrow": lambda: given.write_database(name, engine, if_table_exists="append")}


def refuse_different_work(counts: dict[str, int]) -> None:
    """Stop where a contender did not commit all rows."""
    failed = {who.partition(" (")[0] for who in left_out}
    short = {who: count for who, count in counts.items() if count != ROWS and who not in failed}
    if short:
        raise RuntimeError(f"instead of {ROWS} rows: {short}")
