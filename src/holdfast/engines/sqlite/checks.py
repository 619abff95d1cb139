"""What can be wrong with a SQLite file."""

from __future__ import annotations

import re
import shlex
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

from holdfast.engines.base import Run
from holdfast.engines.checks import Check, Finding
from holdfast.engines.names import quote_identifier as quote
from holdfast.engines.sqlite.mounts import network_file_system
from holdfast.errors import DatabaseError
from holdfast.settings import Target

# https://www.sqlite.org/wal.html#walresetbug
_SOUND_WAL = (3, 51, 3)
_WITHDRAWN = (3, 52, 0)
_MOST_PROBLEMS = 5
_MUCH = 16 << 20
_OF_AN_INDEX = re.compile(r"(?:row \d+ missing from|wrong # of entries in|non-unique entry in) index (.+)")


def _integrity(run: Run, target: Target) -> Iterator[Finding]:
    try:
        problems = [text for (text,) in run(f"PRAGMA integrity_check({_MOST_PROBLEMS})").fetchall()]
    except (DatabaseError, sqlite3.DatabaseError) as exc:
        # The one when it is begun, the other while its answers are read.
        problems = [exc.message if isinstance(exc, DatabaseError) else str(exc)]
    if problems == ["ok"]:
        return
    indexes = [_OF_AN_INDEX.fullmatch(problem) for problem in problems]
    if all(indexes):
        names = dict.fromkeys(found[1] for found in indexes if found)
        yield Finding(
            "integrity",
            "error",
            f"the index {', '.join(names)} does not agree with its table: queries by it miss rows",
            "it can be made again of the table, unless that breaks its own rule",
            sql=tuple(f"REINDEX {quote(name)}" for name in names),
            is_safe=True,
        )
        return
    for problem in problems:
        yield Finding(
            "integrity",
            "error",
            f"the file is damaged: {' '.join(problem.split())[:200]}",
            "restore the newest verified backup; without one, this saves what is left into another file:",
            command=_recovering(target.path) if target.path else None,
        )


def _recovering(path: Path) -> str:
    other = path.with_name(f"recovered-{path.name}")
    return f"sqlite3 {shlex.quote(str(path))} .recover | sqlite3 {shlex.quote(str(other))}"


def _foreign_keys(run: Run, target: Target) -> Iterator[Finding]:
    rows = run(
        'SELECT "table", "parent", count(*), count(rowid) FROM pragma_foreign_key_check GROUP BY 1, 2 '
        "ORDER BY 1, 2"
    ).fetchall()
    for table, parent, count, numbered in rows:
        text = table.replace("'", "''")
        places = f"SELECT rowid FROM pragma_foreign_key_check('{text}')"
        yield Finding(
            "foreign keys",
            "error",
            f"{count:,} rows of {table} refer to rows of {parent} that are not there",
            "write what they refer to, or remove them:",
            table,
            sql=(f"DELETE FROM {quote(table)} WHERE rowid IN ({places})",) if numbered == count else (),
        )


def _place(run: Run, target: Target) -> Iterator[Finding]:
    if target.path is None:
        return
    path = target.path
    kind = network_file_system(path)
    if kind is not None:
        yield Finding(
            "network file system",
            "error",
            f"the file is on a network file system ({kind}), where SQLite's locks cannot be trusted",
            "move it to a local disk, or copy it to a PostgreSQL server:",
            command=f"holdfast copy {shlex.quote(str(path))} postgresql://user@host/database",
        )
    if path.stat().st_mode & stat.S_IWOTH:
        yield Finding(
            "rights",
            "warning",
            "everybody on this machine may write the file",
            "take that right away:",
            command=f"chmod o-w {shlex.quote(str(path))}",
        )
    free = shutil.disk_usage(path).free
    if free < path.stat().st_size:
        yield Finding(
            "room",
            "warning",
            f"the disk has {free >> 20:,} MiB left, less than the file takes: VACUUM and backups need that",
            "make room on it",
        )


def _journal(run: Run, target: Target) -> Iterator[Finding]:
    if target.path is None:
        return
    mode = run("PRAGMA journal_mode").fetchall()[0][0]
    if mode != "wal" and network_file_system(target.path) is None:
        yield Finding(
            "journal",
            "error" if mode in ("off", "memory") else "note",
            f"journal_mode is {mode}: "
            + (
                "a crash during a write damages the file"
                if mode in ("off", "memory")
                else "readers and a writer wait for each other"
            ),
            "with a write-ahead log they do not, which Holdfast sets where it may write:",
            sql=("PRAGMA journal_mode = WAL",),
            is_safe=True,
        )
    log = target.path.with_name(target.path.name + "-wal")
    size = log.stat().st_size if log.exists() else 0
    if size > max(_MUCH, target.path.stat().st_size):
        yield Finding(
            "write-ahead log",
            "warning",
            f"the write-ahead log has {size >> 20:,} MiB, more than the database: a reader has stayed long",
            "end that reader, then write it back:",
            sql=("PRAGMA wal_checkpoint(TRUNCATE)",),
            is_safe=True,
        )


def _free_pages(run: Run, target: Target) -> Iterator[Finding]:
    free, pages, size = (
        int(run(f"PRAGMA {name}").fetchall()[0][0]) for name in ("freelist_count", "page_count", "page_size")
    )
    if free * size > _MUCH and free * 4 > pages:
        yield Finding(
            "unused space",
            "note",
            f"{free * size >> 20:,} MiB of {pages * size >> 20:,} MiB are unused",
            "give them back:",
            sql=("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"),
            is_safe=True,
        )


def _version(run: Run, target: Target) -> Iterator[Finding]:
    yield from of_version(sqlite3.sqlite_version_info)


def of_version(version: tuple[int, ...]) -> Iterator[Finding]:
    """What is known of a version of SQLite."""
    shown = ".".join(map(str, version))
    if version < _SOUND_WAL:
        yield Finding(
            "version",
            "note",
            f"SQLite {shown} is older than 3.51.3: several processes that write the write-ahead log back at "
            "the same moment can damage the file, though that is rare",
            "use a Python with a newer SQLite, or have one process at a time write",
        )
    elif version == _WITHDRAWN:
        yield Finding(
            "version",
            "warning",
            f"SQLite {shown} was withdrawn by its authors",
            "use a Python with SQLite 3.51.3, or with 3.53 or newer",
        )


CHECKS: tuple[tuple[str, Check], ...] = (
    ("integrity", _integrity),
    ("foreign keys", _foreign_keys),
    ("the file's place", _place),
    ("the journal", _journal),
    ("unused space", _free_pages),
    ("the version", _version),
)
