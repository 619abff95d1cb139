"""A backup of what is about to be changed, made without being asked."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from holdfast.backup.archive import write
from holdfast.core.executor import Executor
from holdfast.errors import BackupError, Error, MissingDependency, NotSupported


def keep(executor: Executor, place: Path, why: str, *, hint: str, table: str | None = None) -> Path:
    """Write a backup beside ``place``, named by the reason and the time; return its path.

    Raises:
        BackupError: if it could not be written; ``hint`` says how to go on without.
    """
    suffix = ".sql" if table else executor.engine.copies.extensions[0]
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    path = place.with_name(f"{place.stem}.{why}-{moment}{suffix}")
    try:
        try:
            write(executor, table, path, progress=False)
        except (MissingDependency, NotSupported):
            # The engine's own programs are not here, or cannot work on this connection.
            path = path.with_suffix(".hfz")
            write(executor, table, path, progress=False)
    except Error as exc:
        raise BackupError(f"what is there could not be kept: {exc.message}", hint=hint) from exc
    return path
