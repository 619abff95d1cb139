"""Backups on other machines' storage, by any file system that fsspec knows: ``s3://``, ``sftp://``, ...

A backup is made in a temporary file here and sent whole, under another name first; it is read by fetching it.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from holdfast.errors import BackupError, ConfigurationError, Error, MissingDependency
from holdfast.urls import path_of


def place_of(path: str | os.PathLike[str]) -> Path:
    """A path, or for a URL what fsspec makes of it, which is used like one.

    Raises:
        MissingDependency: if the extra ``remote``, or the package for that kind of storage, is not installed.
        ConfigurationError: if the URL is not understood, or holds a password.
    """
    if not isinstance(path, str) or "://" not in path:
        return cast(Path, path) if hasattr(path, "protocol") else path_of(path)
    parts = urlsplit(path)
    if parts.scheme == "file":
        return Path(parts.path)
    if parts.password:
        raise ConfigurationError(
            f"the URL of a backup on {parts.hostname} holds a password",
            hint="put it where fsspec's package for that storage looks for it, such as ~/.ssh or ~/.aws",
        )
    try:
        from upath import UPath
    except ImportError as exc:
        raise MissingDependency("universal-pathlib", "remote") from exc
    try:
        return cast(Path, UPath(path))
    except ValueError as exc:
        raise ConfigurationError(f"there is no storage {parts.scheme}://", hint=str(exc)) from exc


def is_here(path: Path) -> bool:
    """Whether a place is a file of this machine."""
    return isinstance(path, Path)


@contextmanager
def fetched(path: Path) -> Iterator[Path]:
    """A file of this machine with the content of ``path``, for as long as the block runs.

    Raises:
        BackupError: if it cannot be fetched.
    """
    if is_here(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
        here = Path(folder) / path.name
        remote: Any = path
        with _telling(path):
            remote.fs.get_file(remote.path, str(here))
        yield here


@contextmanager
def sent(path: Path) -> Iterator[Path]:
    """A new file of this machine, whose content is at ``path`` once the block has ended well.

    Raises:
        BackupError: if it cannot be sent; what was at ``path`` is still there.
    """
    if is_here(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
        here = Path(folder) / path.name
        yield here
        remote: Any = path
        beside: Any = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
        with _telling(path):
            remote.fs.makedirs(remote.parent.path, exist_ok=True)
            try:
                remote.fs.put_file(str(here), beside.path)
                if remote.fs.size(beside.path) != here.stat().st_size:
                    raise BackupError(f"{path.name} did not arrive whole", hint="try again")
                remote.fs.mv(beside.path, remote.path)
            finally:
                if remote.fs.exists(beside.path):
                    remote.fs.rm_file(beside.path)


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    try:
        yield
    except Error:
        raise
    except ImportError as exc:
        missing = MissingDependency(f"for {urlsplit(str(path)).scheme}://", "remote")
        # The extra brings fsspec; each kind of storage wants a package besides, which fsspec names.
        missing.hint = f"fsspec says: {exc}"
        raise missing from exc
    except FileNotFoundError as exc:
        raise BackupError(f"there is no backup {path}") from exc
    # Each kind of storage has errors of its own.
    except Exception as exc:
        raise BackupError(f"{path} cannot be reached: {type(exc).__name__}") from exc
