"""Copies of a SQLite database as a SQLite file, by the online backup API."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from holdfast.engines.copying import Content, Copy
from holdfast.engines.names import quote_identifier
from holdfast.engines.sqlite import dump
from holdfast.engines.sqltext import SQLITE, iter_statements
from holdfast.errors import BackupError

extensions = (".db", ".sqlite", ".sqlite3")


@contextmanager
def writing(raw: sqlite3.Connection, path: Path) -> Iterator[Mapping[str, Any]]:
    """All pages in one go: in steps, every write in between would make it begin anew."""
    with closing(sqlite3.connect(path, isolation_level=None)) as copy:
        copy.execute("PRAGMA synchronous = OFF")
        raw.backup(copy)
        # A file in WAL mode cannot be read where nothing can be written beside it.
        copy.execute("PRAGMA journal_mode = DELETE").fetchall()
    yield {}


def content(raw: sqlite3.Connection, table: str) -> Content:
    """The number of rows; what they hold is proven by the bytes of the file."""
    return Content(raw.execute(f"SELECT count(*) FROM {quote_identifier(table)}").fetchone()[0], "")


@contextmanager
def opened(path: Path, known: Mapping[str, Any], only: str | None) -> Iterator[Copy]:
    """Read the file as SQL text, through a temporary file of it."""
    if path.with_name(path.name + "-wal").exists():
        raise BackupError(
            f"{path} is a database in use, part of which is in {path.name}-wal",
            hint="connect to it and back it up",
        )
    # Immutable: no locks, which closing the file elsewhere in this process would take away.
    location = f"file:{quote(str(path.resolve()))}?immutable=1"
    with closing(sqlite3.connect(location, uri=True)) as copy, tempfile.TemporaryFile() as text:
        copy.execute("BEGIN")
        contents = {name: dump.content(copy, name) for name in dump.tables(copy, only)}
        found = dump.write(copy, only, partial(_put, text))
        text.seek(0)
        yield Copy(iter_statements(_texts(text), SQLITE), found, contents)


def _put(file: IO[bytes], data: bytes) -> None:
    file.write(data)


def _texts(file: IO[bytes]) -> Iterator[str]:
    return iter(lambda: file.readline().decode("utf-8", "surrogateescape"), "")
