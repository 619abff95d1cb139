"""Writing a backup of a database, or of one table, while others go on reading and writing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from holdfast.backup.content import outside
from holdfast.backup.files import publishing, refuse_data
from holdfast.backup.formats import format_of
from holdfast.backup.remote import is_here, sent
from holdfast.core.executor import Executor
from holdfast.core.progress import track
from holdfast.errors import BackupError, NotSupported


def write(
    executor: Executor,
    table: str | None,
    path: Path,
    *,
    recipients: Sequence[str] | None = None,
    progress: bool | None = None,
) -> Path:
    """Write everything there is at one moment, or one table with its indexes and triggers; return ``path``.

    Raises:
        BackupError: if something cannot be carried, named; what was at ``path`` is still there.
        NotSupported: if the extension stands for no format, for one of whole databases, or for one that
            ``recipients`` cannot be given to.
        TableNotFound: with the nearest name there is.
        TransactionError: inside a transaction.
    """
    outside(executor, "a backup")
    form = format_of(path, executor.engine)
    if recipients is not None and not form.is_portable:
        raise NotSupported(
            "only the portable archive can be encrypted", hint=f"name it {path.with_suffix('.hfz').name}"
        )
    given = {} if recipients is None else {"recipients": recipients}
    live = executor.target.path
    if live is not None and is_here(path) and path.exists() and live.exists() and path.samefile(live):
        raise BackupError(f"{path} is the database itself", hint="name a new file")
    if is_here(path):
        refuse_data(path)
    with (
        track(f"backup {path.name}", show=progress) as advance,
        sent(path) as here,
        publishing(here) as beside,
    ):
        form.write(executor, table, beside, advance, **given)
    return path
