"""Folders of a running process, and files that are written in one and then put in their place.

A process that is killed leaves its folder behind. The next one that works in the same place removes it: a
folder is held under ``flock`` while it is in use, which the kernel drops however the process ends. It is a
folder, because SQLite keeps files beside its own, and no lock on a file of SQLite's may be touched.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_SUFFIX = ".tmp"


@contextmanager
def own_folder(parent: Path, prefix: str = ".holdfast-") -> Iterator[Path]:
    """A new folder in ``parent``, gone after the block, or else when the next one is made there.

    Raises:
        OSError: if there can be none.
    """
    _sweep(parent, prefix)
    is_ours = False
    while not is_ours:
        folder, locks = parent / f"{prefix}{secrets.token_hex(6)}{_SUFFIX}", list[int]()
        try:
            try:
                folder.mkdir(mode=0o700)
                locks += _locked(folder, wait=True)
                # Somebody who swept may have been quicker.
                is_ours = folder.exists()
                if is_ours:
                    yield folder
            finally:
                _remove(folder, locks)
        except KeyboardInterrupt:
            # It may have come while the folder was removed.
            _remove(folder, locks)
            raise


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The name of a file to be written, which takes the place of ``path`` for good if the block ends well.

    Links are followed. If the block fails, what was at ``path`` is as it was.

    Raises:
        IsADirectoryError: if ``path`` is a folder.
        OSError: if it cannot be written.
    """
    target = path.resolve()
    with contextlib.suppress(FileNotFoundError):
        mode = target.stat().st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(f"{path} is a folder")
        if not stat.S_ISREG(mode):
            raise FileExistsError(None, "there is something that is not a file")
    with own_folder(target.parent) as folder:
        beside = folder / target.name
        yield beside
        # SQLite says nothing of it when closing could not bring the file beside its own into it.
        if any(other != beside for other in folder.iterdir()):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        is_new = not target.exists()
        beside.replace(target)
    try:
        sync(target.parent)
    except OSError:
        # It may not last. Where nothing was before, nothing is again, so that the caller can try once more.
        if is_new:
            target.unlink(missing_ok=True)
        raise


@contextmanager
def held(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Whether ``folder`` is held by this block alone, among all that ask this way.

    Where no lock can be had, as on Windows, it is.
    """
    locks = _locked(folder, wait=wait)
    try:
        yield bool(locks) or sys.platform == "win32"
    finally:
        while locks:
            os.close(locks.pop())


def lasting_folder(path: Path, mode: int = 0o777) -> None:
    """Make a folder, and those above it that are missing, so that a power cut does not take it away.

    Raises:
        OSError: if it cannot be made.
    """
    if path.is_dir():
        return
    lasting_folder(path.parent)
    path.mkdir(mode=mode, exist_ok=True)
    sync(path.parent)


def _sweep(parent: Path, prefix: str) -> None:
    """Remove the folders of processes that are gone."""
    if sys.platform == "win32":
        return
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        left = [entry.name for entry in entries if entry.name.startswith(prefix)]
        for folder in [parent / name for name in left if name.endswith(_SUFFIX)]:
            if locks := _locked(folder, wait=False):
                _remove(folder, locks)


def _locked(folder: Path, *, wait: bool) -> list[int]:
    """A lock on a folder, or none if another has it or none can be had here, as on some file systems."""
    if sys.platform == "win32":
        return []
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return []
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return []
    return [descriptor]


def _remove(folder: Path, locks: list[int]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    while locks:
        # If this is done again, the number may be another file's by then.
        os.close(locks.pop())


def sync(path: Path) -> None:
    """Make a file, or the names in a folder, last; not every system can open a folder."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
