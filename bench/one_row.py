"""One row at a time: the work of every contender, and how those who know both engines do it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import sqlalchemy as sa
from measure import rows

import holdfast

ROWS = rows(10_000)
KEYS = [(number * 7919) % ROWS + 1 for number in range(ROWS)]
COLUMNS = {
    "id": "INTEGER PRIMARY KEY",
    "name": "TEXT",
    "ts": "TEXT",
    "accuracy": "REAL",
    "parameters": "TEXT",
}
ROW = {
    "name": "baseline",
    "ts": "2024-05-17T12:30:00",
    "accuracy": 0.9375,
    "parameters": '{"lr": 0.001, "layers": 4, "batch": 32}',
}
CHANGED = "SELECT count(*) AS n, sum(CASE WHEN accuracy = 0.9375 THEN 0 ELSE 1 END) AS changed FROM "
"""What the same work leaves behind: how many rows, and how many of them were updated."""

Ways = dict[str, Callable[[int], None]]
"""A loop for each verb: get, insert, insert with key, update, update by dict."""

_numbers = itertools.count(ROWS + 1)


def keys(n: int) -> Iterator[int]:
    """Keys of rows that are there, in an order that follows no pages."""
    return itertools.islice(itertools.cycle(KEYS), n)


def changes(n: int) -> Iterator[tuple[int, float]]:
    """Keys with values that were never there: SQLite writes nothing where a row stays as it is."""
    return zip(keys(n), map(float, _numbers), strict=False)


def new_keys(n: int) -> Iterator[int]:
    """Keys that no row has yet, growing."""
    return itertools.islice(_given, n)


_given = itertools.count(10**9)


def refuse_different_work(left_behind: Mapping[str, tuple[Any, ...]]) -> None:
    """Stop where a contender did not commit what the others did."""
    if len(set(left_behind.values())) > 1:
        raise RuntimeError(f"the contenders did not do the same: {dict(left_behind)}")


def with_holdfast(db: holdfast.Database, table: str) -> Ways:
    def get(n: int) -> None:
        for key in keys(n):
            db.get(table, key)

    def insert(n: int) -> None:
        for _ in range(n):
            db.insert(table, ROW)

    def insert_with_key(n: int) -> None:
        for key in new_keys(n):
            db.insert(table, {"id": key, **ROW})

    def update(n: int) -> None:
        for key, value in changes(n):
            db.update(table, {"accuracy": value}, where="id = ?", params=[key])

    def update_by_dict(n: int) -> None:
        for key, value in changes(n):
            db.update(table, {"accuracy": value}, {"id": key})

    return _ways(get, insert, insert_with_key, update) | {"update by dict": update_by_dict}


def with_core(engine: sa.Engine, name: str) -> Ways:
    table = sa.Table(name, sa.MetaData(), autoload_with=engine)
    select = sa.select(table).where(table.c.id == sa.bindparam("key"))
    change = sa.update(table).where(table.c.id == sa.bindparam("key"))
    change = change.values(accuracy=sa.bindparam("new"))

    def get(n: int) -> None:
        for key in keys(n):
            with engine.connect() as con:
                dict(con.execute(select, {"key": key}).mappings().one())

    def insert(n: int) -> None:
        for _ in range(n):
            with engine.begin() as con:
                con.execute(sa.insert(table), ROW)

    def insert_with_key(n: int) -> None:
        for key in new_keys(n):
            with engine.begin() as con:
                con.execute(sa.insert(table), {"id": key, **ROW})

    def update(n: int) -> None:
        for key, value in changes(n):
            with engine.begin() as con:
                con.execute(change, {"key": key, "new": value})

    return _ways(get, insert, insert_with_key, update)


def with_dataset(db: Any, name: str) -> Ways:
    table = db[name]

    def get(n: int) -> None:
        for key in keys(n):
            table.find_one(id=key)

    def insert(n: int) -> None:
        for _ in range(n):
            table.insert(ROW)

    def insert_with_key(n: int) -> None:
        for key in new_keys(n):
            table.insert({"id": key, **ROW})

    def update(n: int) -> None:
        for key, value in changes(n):
            table.update({"id": key, "accuracy": value}, ["id"])

    return _ways(get, insert, insert_with_key, update)


def _ways(*loops: Callable[[int], None]) -> Ways:
    return dict(zip(("get", "insert", "insert with key", "update"), loops, strict=True))
