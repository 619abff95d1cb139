"""SQLite files with the same table and settings, one for each contender, and how each opens its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from experiments import COLUMNS

import holdfast

TABLE = "experiments"
INSERT = f"INSERT INTO {TABLE} VALUES (?, ?, ?, ?, ?)"
PRAGMAS = ["PRAGMA synchronous = NORMAL", "PRAGMA foreign_keys = ON"]


class Files:
    """A folder of them; what is opened here is closed with ``stack``."""

    def __init__(self, folder: Path, stack: ExitStack, rows: Iterable[dict[str, Any]] = ()) -> None:
        self.folder, self.stack = folder, stack
        self.rows = [tuple(row.values()) for row in rows]

    def path(self, name: str) -> Path:
        """A file, made when it is first asked for."""
        path = self.folder / f"{name}.db"
        if not path.exists():
            with closing(sqlite3.connect(path)) as con:
                con.execute("PRAGMA journal_mode = WAL")
                con.execute(f"CREATE TABLE {TABLE} ({', '.join(map(' '.join, COLUMNS.items()))})")
                con.executemany(INSERT, self.rows)
                con.commit()
                con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return path

    def driver(self, name: str, isolation_level: str | None = None) -> sqlite3.Connection:
        con = sqlite3.connect(self.path(name), isolation_level=isolation_level)  # type: ignore[arg-type]
        self.stack.callback(con.close)
        for pragma in PRAGMAS:
            con.execute(pragma)
        return con

    def ours(self, name: str) -> holdfast.Database:
        return self.stack.enter_context(holdfast.connect(self.path(name), durability="normal"))

    def engine(self, name: str) -> sa.Engine:
        engine = sa.create_engine(f"sqlite:///{self.path(name)}")
        self.stack.callback(engine.dispose)

        @sa.event.listens_for(engine, "connect")
        def _connected(raw: Any, record: Any) -> None:
            for pragma in PRAGMAS:
                raw.execute(pragma)

        return engine

    def dataset(self, name: str) -> Any:
        import dataset

        db = dataset.connect(f"sqlite:///{self.path(name)}", on_connect_statements=PRAGMAS)
        self.stack.callback(db.close)
        return db

    def sqlite_utils(self, name: str) -> Any:
        import sqlite_utils

        return sqlite_utils.Database(self.driver(name))[TABLE]

    def peewee(self, name: str) -> Any:
        import peewee

        db = peewee.SqliteDatabase(str(self.path(name)), pragmas={"synchronous": "normal", "foreign_keys": 1})
        self.stack.callback(db.close)
        db.connect()
        return db

    def scitex(self, name: str) -> Any:
        import scitex_db

        return self.stack.enter_context(scitex_db.SQLite3(str(self.path(name))))
