"""Writing a backup of a database, or of one table, while others go on reading and writing."""

from __future__ import annotations

from pathlib import Path

from holdfast.backup.content import outside
from holdfast.backup.files import publishing
from holdfast.backup.formats import format_of
from holdfast.backup.remote import sent
from holdfast.core.executor import Executor
from holdfast.core.progress import track


def write(executor: Executor, table: str | None, path: Path, *, progress: bool | None = None) -> Path:
    """Write everything there is at one moment, or one table with its indexes and triggers; return ``path``.

    Raises:
        BackupError: if something cannot be carried, named; what was at ``path`` is still there.
        NotSupported: if the extension stands for no format, or for one of whole databases.
        TableNotFound: with the nearest name there is.
        TransactionError: inside a transaction.
    """
    outside(executor, "a backup")
    form = format_of(path, executor.engine)
    with (
        track(f"backup {path.name}", show=progress) as advance,
        sent(path) as here,
        publishing(here) as beside,
    ):
        form.write(executor, table, beside, advance)
    return path
