"""An embedded PostgreSQL with its default settings, over a Unix socket, and how each contender gets to it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import sqlalchemy as sa
from experiments import COLUMNS

import holdfast


class Server:
    """The server in a folder; it and what is opened here are closed with ``stack``."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        folder.chmod(0o711)  # started by root, the server runs as another user and must get to its data
        self.stack = stack
        self.db = stack.enter_context(holdfast.connect(f"postgresql+embedded:///{folder}/pg"))
        self.at = self.db.engine.url
        host, port = str(self.at.host), str(self.at.port)
        self.url = sa.URL.create(
            "postgresql+psycopg",
            username=self.at.username,
            database=self.at.database,
            query={"host": host, "port": port},
        )
        self.uri = f"postgresql://{self.at.username}@/{self.at.database}?host={host}&port={port}"
        self.uri_with_host = (
            f"postgresql://{self.at.username}@{quote(host, safe='')}:{port}/{self.at.database}"
        )

    def table(self, name: str, rows: Iterable[dict[str, Any]] = ()) -> str:
        self.db.create_table(name, COLUMNS)
        self.db.insert_many(name, rows)
        return name

    def driver(self) -> psycopg.Connection[Any]:
        con = psycopg.connect(self.uri, autocommit=True)
        self.stack.callback(con.close)
        return con

    def engine(self) -> sa.Engine:
        engine = sa.create_engine(self.url)
        self.stack.callback(engine.dispose)
        return engine

    def dataset(self) -> Any:
        import dataset

        db = dataset.connect(self.url.render_as_string(hide_password=False))
        self.stack.callback(db.close)
        return db

    def peewee(self) -> Any:
        import peewee

        port = int(str(self.at.port))
        db = peewee.PostgresqlDatabase(self.at.database, user=self.at.username, host=self.at.host, port=port)
        self.stack.callback(db.close)
        db.connect()
        return db

    def adbc(self) -> Any:
        from adbc_driver_postgresql import dbapi

        con = dbapi.connect(self.uri)
        self.stack.callback(con.close)
        return con
