"""Many rows at a time: the rows, and how those who know both engines write them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

import holdfast

ROWS = 50_000
COLUMNS = {
    "id": "INTEGER PRIMARY KEY",
    "name": "TEXT",
    "ts": "TEXT",
    "accuracy": "REAL",
    "parameters": "TEXT",
}
NAMES = list(COLUMNS)

Row = dict[str, Any]
Ways = dict[str, Callable[[], object]]
"""How all rows are inserted, upserted and updated once."""

_turns = itertools.count()


def _made(shift: float) -> list[Row]:
    return [
        {
            "id": number,
            "name": f"run {number % 1000}",
            "ts": "2024-05-17T12:30:00",
            "accuracy": number / 4 + shift,
            "parameters": '{"lr": 0.001, "layers": 4, "batch": 32}',
        }
        for number in range(1, ROWS + 1)
    ]


def _shuffled(rows: list[Row]) -> list[Row]:
    changes = [{"id": row["id"], "accuracy": row["accuracy"]} for row in rows]
    random.Random(1).shuffle(changes)
    return changes


GIVEN = _made(0.25)
# Two that differ, in turn: a row that stays as it is costs some of the contenders less.
UPSERTS = [_made(0.5), _made(0.75)]
UPDATES = [_shuffled(rows) for rows in UPSERTS]


def upserts() -> list[Row]:
    return UPSERTS[next(_turns) % 2]


def updates() -> list[Row]:
    return UPDATES[next(_turns) % 2]


def repeated(way: Callable[[], object], before: Callable[[], object]) -> Callable[[int], None]:
    """``way`` n times, each time after ``before``, which everybody pays alike."""

    def repeat(n: int) -> None:
        for _ in range(n):
            before()
            way()

    return repeat


def with_holdfast(db: holdfast.Database, table: str) -> Ways:
    return {
        "insert": lambda: db.insert_many(table, GIVEN),
        "upsert": lambda: db.upsert_many(table, upserts()),
        "update": lambda: db.update_many(table, updates()),
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
