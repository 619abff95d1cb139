"""Keeping a SQLite file in shape."""

from __future__ import annotations

from holdfast.engines.base import Run


def vacuum(run: Run) -> None:
    run("VACUUM")


def analyze(run: Run) -> None:
    run("ANALYZE")


def optimize(run: Run) -> None:
    run("PRAGMA optimize").fetchall()
    run("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def size(run: Run) -> int:
    """Bytes of the database: pages in use and free, without the write-ahead log."""
    rows = run("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchall()
    return int(rows[0][0])


def version(run: Run) -> str:
    return f"SQLite {run('SELECT sqlite_version()').fetchall()[0][0]}"
