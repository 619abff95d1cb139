"""Writing a backup of a database, or of one table, while others go on reading and writing."""

from __future__ import annotations

from pathlib import Path

from holdfast.backup import formats, plain
from holdfast.backup.content import content_of, outside, translated
from holdfast.core.executor import Executor
from holdfast.core.progress import track
from holdfast.core.transaction import Transaction


def backup_database(executor: Executor, path: Path, *, progress: bool | None = None) -> Path:
    """Write everything there is at one moment; return ``path``.

    Raises:
        BackupError: if something cannot be carried, named; what was at ``path`` is still there.
        TransactionError: inside a transaction.
    """
    return _write(executor, None, path, progress)


def backup_table(executor: Executor, table: str, path: Path, *, progress: bool | None = None) -> Path:
    """Write one table with its rows, indexes and triggers; return ``path``.

    Raises:
        TableNotFound: with the nearest name there is.
    """
    return _write(executor, table, path, progress)


def _write(executor: Executor, table: str | None, path: Path, progress: bool | None) -> Path:
    outside(executor, "a backup")
    formats.check(path)
    dump = executor.engine.dump
    with (
        track(f"backup {path.name}", show=progress) as advance,
        plain.writing(path, executor.engine.name) as file,
        Transaction(executor, isolation="REPEATABLE READ", read_only=True),
        translated(executor),
    ):
        raw = executor.driver_connection()
        tables = {name: content_of(executor, name, advance) for name in dump.tables(raw, table)}
        longest = max((content.longest for content in tables.values()), default=0)
        file.finish(tables, dump.write(raw, table, longest, file.put))
    return path
