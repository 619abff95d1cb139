"""What can be wrong with a SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from holdfast.engines.base import Run
from holdfast.engines.checks import Finding
from holdfast.engines.sqlite.mounts import network_file_system
from holdfast.settings import Target

# https://www.sqlite.org/wal.html#walresetbug
_SOUND_WAL = (3, 51, 3)
_MOST_PROBLEMS = 5
_MUCH = 16 << 20


def findings(run: Run, target: Target) -> Iterator[Finding]:
    """Damage first, then what may lead to it, then what is slow."""
    yield from _integrity(run)
    yield from _foreign_keys(run)
    if target.path is not None:
        yield from _place(run, target.path)
    yield from _free_pages(run)
    if sqlite3.sqlite_version_info < _SOUND_WAL:
        yield Finding(
            "version",
            "note",
            f"SQLite {sqlite3.sqlite_version} is older than 3.51.3: several processes that write the "
            "write-ahead log back at the same moment can damage the file, though that is rare",
            "use a Python with a newer SQLite, or have one process at a time write",
        )


def _integrity(run: Run) -> Iterator[Finding]:
    problems = [text for (text,) in run(f"PRAGMA integrity_check({_MOST_PROBLEMS})").fetchall()]
    for problem in problems if problems != ["ok"] else []:
        yield Finding(
            "integrity",
            "error",
            f"the file is damaged: {' '.join(problem.split())[:200]}",
            "restore_database() the newest verified backup; sqlite3's `.recover` saves what is left",
        )


def _foreign_keys(run: Run) -> Iterator[Finding]:
    rows = run(
        'SELECT "table", "parent", count(*) FROM pragma_foreign_key_check GROUP BY 1, 2 ORDER BY 1, 2'
    ).fetchall()
    for table, parent, count in rows:
        yield Finding(
            "foreign keys",
            "error",
            f"{count:,} rows of {table} refer to rows of {parent} that are not there",
            f"PRAGMA foreign_key_check('{table}') names them: delete them, or write what they refer to",
            table,
        )


def _place(run: Run, path: Path) -> Iterator[Finding]:
    kind = network_file_system(path)
    if kind is not None:
        yield Finding(
            "network file system",
            "error",
            f"the file is on a network file system ({kind}), where SQLite's locks cannot be trusted",
            "move it to a local disk, or copy_database() to a PostgreSQL server",
        )
    mode = run("PRAGMA journal_mode").fetchall()[0][0]
    if mode in ("off", "memory"):
        yield Finding(
            "journal",
            "error",
            f"journal_mode is {mode}: a crash during a write damages the file",
            "connect with Holdfast, which sets WAL",
        )
    log = path.with_name(path.name + "-wal")
    size = log.stat().st_size if log.exists() else 0
    if size > max(_MUCH, path.stat().st_size):
        yield Finding(
            "write-ahead log",
            "warning",
            f"the write-ahead log has {size >> 20:,} MiB, more than the database: a reader has stayed long",
            "end that reader, then optimize()",
            fix="optimize",
        )


def _free_pages(run: Run) -> Iterator[Finding]:
    free, pages, size = (
        int(run(f"PRAGMA {name}").fetchall()[0][0]) for name in ("freelist_count", "page_count", "page_size")
    )
    if free * size > _MUCH and free * 4 > pages:
        yield Finding(
            "unused space",
            "note",
            f"{free * size >> 20:,} MiB of {pages * size >> 20:,} MiB are unused",
            "vacuum() gives them back",
            fix="vacuum",
        )
