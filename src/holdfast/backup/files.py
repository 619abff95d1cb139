"""Files of backups: written beside their place and put there whole, and read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from holdfast.backup import apart
from holdfast.errors import BackupError, Error
from holdfast.folders import replacing


@contextmanager
def publishing(path: Path) -> Iterator[Path]:
    """The name of a new, empty file beside ``path`` that takes its place for good if the block ends well.

    Raises:
        BackupError: if it cannot be written; what was at ``path`` is still there.
    """
    try:
        refuse_live(path.resolve())
        with replacing(path) as beside:
            os.close(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            yield beside
    except IsADirectoryError as exc:
        raise BackupError(f"{path} is a directory", hint="name a file in it") from exc
    except Error:
        # Some of ours are OSErrors by kind, such as a lost connection; they are not about the file.
        raise
    except OSError as exc:
        raise BackupError(f"{path} cannot be written: {exc.strerror or exc}") from exc


def refuse_live(path: Path) -> None:
    """Refuse a SQLite database that somebody has open, whose newest rows are in a file beside it.

    Raises:
        BackupError: if it is one.
    """
    if path.with_name(path.name + "-wal").exists():
        raise BackupError(f"{path} is a database in use", hint="name a new file")


def refuse_data(path: Path) -> None:
    """Refuse to replace a SQLite database that is no backup, whether somebody has it open or not.

    Raises:
        BackupError: if it is one.
    """
    try:
        is_data = path.is_file() and apart.is_foreign(path)
    except OSError as exc:
        raise BackupError(f"{path} cannot be read: {exc}", hint="name a new file") from exc
    if is_data:
        raise BackupError(f"{path} is a database and no backup", hint="name a new file, or remove it first")


def expect_file(path: Path) -> None:
    """Refuse what is not there, and what reading would wait for.

    Raises:
        BackupError: if it is not a file.
    """
    if not path.is_file():
        raise BackupError(f"{path} is not a file" if path.exists() else f"there is no backup {path}")


@contextmanager
def reading(path: Path) -> Iterator[IO[bytes]]:
    """The file of a backup.

    Raises:
        BackupError: if there is none, or it cannot be read.
    """
    expect_file(path)
    try:
        file = path.open("rb")
    except OSError as exc:
        raise BackupError(f"{path} cannot be read: {exc.strerror}") from exc
    with file:
        yield file
