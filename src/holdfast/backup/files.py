"""Files of backups: written beside their place and put there whole, and read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from holdfast.errors import BackupError, Error
from holdfast.folders import replacing


@contextmanager
def publishing(path: Path) -> Iterator[Path]:
    """The name of a new, empty file beside ``path`` that takes its place for good if the block ends well.

    Raises:
        BackupError: if it cannot be written; what was at ``path`` is still there.
    """
    try:
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
