"""The file around a backup's SQL text: a first line that says what it is, and a last one that proves it.

::

    -- Holdfast backup, format 1: sqlite, 2026-01-31T12:00:00+00:00
    ... statements ...
    -- Holdfast trailer <SHA-256 of all bytes before this line and of the JSON that follows> {...}

Both are comments, so ``sqlite3`` and ``psql`` read the file too. The trailer is written last: without it, or
with one byte changed anywhere, the file is not a backup.
"""

from __future__ import annotations

import codecs
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from holdfast._version import __version__
from holdfast.backup.content import Content
from holdfast.core.progress import Advance
from holdfast.errors import BackupCorrupt, BackupError

FORMAT = 1
_FIRST = b"-- Holdfast backup, format "
_TRAILER = b"-- Holdfast trailer "
_BLOCK = 1 << 20
_LONGEST_TRAILER = 1 << 26


class Writer:
    """A backup that is being written."""

    def __init__(self, file: IO[bytes], engine: str) -> None:
        self._file = file
        self._sum = sha256()
        self._engine = engine
        self._created = datetime.now(UTC).isoformat(timespec="seconds")
        self.put(_FIRST + f"{FORMAT}: {engine}, {self._created}\n".encode())

    def put(self, data: bytes) -> None:
        self._sum.update(data)
        self._file.write(data)

    def finish(self, tables: Mapping[str, Content], known: Mapping[str, Any]) -> None:
        """Write the trailer; ``known`` is what the engine needs to put the tables in their places."""
        manifest = {
            "format": FORMAT,
            "engine": self._engine,
            "created": self._created,
            "tool": f"holdfast {__version__}",
            "tables": {name: [content.rows, content.hash] for name, content in tables.items()},
            **known,
            "end": True,
        }
        text = json.dumps(manifest).encode()
        self.put(b"\n")
        self._sum.update(text)
        self._file.write(_TRAILER + self._sum.hexdigest().encode() + b" " + text + b"\n")


@contextmanager
def writing(path: Path, engine: str) -> Iterator[Writer]:
    """Write beside ``path``, and put the file in its place once it is whole and on the disk.

    Raises:
        BackupError: if it cannot be written; what was at ``path`` is still there.
    """
    try:
        if path.is_dir():
            raise BackupError(f"{path} is a directory", hint="name a file in it")
        descriptor, name = tempfile.mkstemp(prefix=".holdfast-", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb", buffering=_BLOCK) as file:
                yield Writer(file, engine)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
        _sync_folder(path.parent)
    except OSError as exc:
        if isinstance(exc, ConnectionError | TimeoutError | PermissionError) and not exc.filename:
            raise
        raise BackupError(f"{path} cannot be written: {exc.strerror or exc}") from exc


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@dataclass(frozen=True)
class Source:
    """An open backup whose bytes are those that were written; ``manifest`` is ``None`` for a foreign file."""

    path: Path
    size: int
    manifest: Mapping[str, Any] | None
    file: IO[bytes]
    digest: str

    @property
    def tables(self) -> dict[str, Content]:
        listed = self.manifest["tables"] if self.manifest else {}
        return {name: Content(rows, digest) for name, (rows, digest) in listed.items()}

    def text(self, advance: Advance | None = None) -> Iterator[str]:
        """The SQL text in pieces, checked once more at its end."""
        decode = codecs.getincrementaldecoder("utf-8-sig" if self.manifest is None else "utf-8")()
        found = sha256()
        try:
            for block in _blocks(self.file, self.size):
                found.update(block)
                yield decode.decode(block)
                if advance is not None:
                    advance(len(block))
            yield decode.decode(b"", final=True)
        except UnicodeDecodeError as exc:
            raise BackupError(f"{self.path} is not UTF-8 text") from exc
        if found.hexdigest() != self.digest:
            raise BackupCorrupt(f"{self.path} changed while it was read")


def _blocks(file: IO[bytes], size: int) -> Iterator[bytes]:
    file.seek(0)
    while size and (block := file.read(min(_BLOCK, size))):
        size -= len(block)
        yield block


@contextmanager
def opened(path: Path, *, unverified: bool = False) -> Iterator[Source]:
    """Open a backup after checking every byte of it; ``unverified`` also opens files of other programs.

    Raises:
        BackupCorrupt: if it is cut short or changed.
        BackupError: if there is none, or it is not ours.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError as exc:
        raise BackupError(f"there is no backup {path}") from exc
    except OSError as exc:
        raise BackupError(f"{path} cannot be read: {exc.strerror}") from exc
    with file:
        yield _checked(path, file, unverified)


def _checked(path: Path, file: IO[bytes], unverified: bool) -> Source:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(len(_FIRST))
    last, start = _last_line(file, size)
    if not (head.startswith(_FIRST) or _FIRST.startswith(head) or last.startswith(_TRAILER)):
        if not unverified:
            raise BackupError(
                f"{path} was not written by Holdfast, so nothing can tell whether it is whole",
                hint="unverified=True runs it as it is",
            )
        return Source(path, size, None, file, _sum(file, size).hexdigest())
    if not last.startswith(_TRAILER) or not last.endswith(b"}\n"):
        raise BackupCorrupt(f"{path} is cut short: its end is missing", hint="use another backup")
    stated, _, text = last[len(_TRAILER) : -1].partition(b" ")
    found = _sum(file, start)
    digest = found.hexdigest()
    found.update(text)
    if found.hexdigest().encode() != stated:
        raise BackupCorrupt(
            f"{path} is not as it was written: its checksum differs", hint="use another backup"
        )
    manifest = json.loads(text)
    if manifest["format"] > FORMAT:
        raise BackupError(f"{path} was written by a newer Holdfast", hint="pip install --upgrade holdfast")
    return Source(path, start, manifest, file, digest)


def _sum(file: IO[bytes], size: int) -> Any:
    found = sha256()
    for block in _blocks(file, size):
        found.update(block)
    return found


def _last_line(file: IO[bytes], size: int) -> tuple[bytes, int]:
    """The last line with its newline, and where it begins."""
    tail, start = b"", size
    while start and size - start < _LONGEST_TRAILER:
        step = min(max(len(tail), 1 << 16), start)
        start -= step
        file.seek(start)
        tail = file.read(step) + tail
        newline = tail.rfind(b"\n", 0, -1)
        if newline >= 0:
            return tail[newline + 1 :], start + newline + 1
    return tail, start
