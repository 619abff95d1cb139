"""Keeping a PostgreSQL database in shape."""

from __future__ import annotations

from holdfast.engines.base import Run


def vacuum(run: Run) -> None:
    run("VACUUM")


def analyze(run: Run) -> None:
    run("ANALYZE")


def optimize(run: Run) -> None:
    run("VACUUM (ANALYZE)")


def size(run: Run) -> int:
    """Bytes of the database on the server's disk."""
    return int(run("SELECT pg_database_size(current_database())").fetchall()[0][0])


def version(run: Run) -> str:
    return f"PostgreSQL {run('SHOW server_version').fetchall()[0][0]}"
