"""Files of backups: written beside their place and put there whole, and read."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from holdfast.errors import BackupError, Error


@contextmanager
def publishing(path: Path) -> Iterator[Path]:
    """The name of a new, empty file beside ``path`` that takes its place for good if the block ends well.

    Raises:
        BackupError: if it cannot be written; what was at ``path`` is still there.
    """
    beside = path.with_name(f".holdfast-{secrets.token_hex(6)}.tmp")
    try:
        if path.is_dir():
            raise BackupError(f"{path} is a directory", hint="name a file in it")
        os.close(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            yield beside
            with beside.open("rb+") as file:
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except Error:
        # Some of ours are OSErrors by kind, such as a lost connection; they are not about the file.
        raise
    except OSError as exc:
        raise BackupError(f"{path} cannot be written: {exc.strerror or exc}") from exc


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def reading(path: Path) -> Iterator[IO[bytes]]:
    """The file of a backup.

    Raises:
        BackupError: if there is none, or it cannot be read.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError as exc:
        raise BackupError(f"there is no backup {path}") from exc
    except OSError as exc:
        raise BackupError(f"{path} cannot be read: {exc.strerror}") from exc
    with file:
        yield file
