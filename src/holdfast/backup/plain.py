"""Readable SQL text: a first line that says what it is, and a last one that proves it.

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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO

from holdfast.backup.content import content_of, translated
from holdfast.backup.files import blocks, digest, reading
from holdfast.backup.manifest import FORMAT, Manifest, now
from holdfast.core.executor import Executor
from holdfast.core.progress import Advance
from holdfast.core.transaction import Transaction
from holdfast.engines.sqltext import iter_statements
from holdfast.errors import BackupCorrupt, BackupError

_FIRST = b"-- Holdfast backup, format "
_TRAILER = b"-- Holdfast trailer "
_BUFFER = 1 << 20
_LONGEST_TRAILER = 1 << 26


def write(executor: Executor, table: str | None, path: Path, advance: Advance | None) -> None:
    """Write the database or one table, as it is at one moment, into the file ``path``."""
    dump = executor.engine.dump
    with (
        path.open("wb", buffering=_BUFFER) as file,
        Transaction(executor, isolation="REPEATABLE READ", read_only=True),
        translated(executor),
    ):
        text = _Text(file, executor.engine.name)
        raw = executor.driver_connection()
        tables = {name: content_of(executor, name, advance) for name in dump.tables(raw, table)}
        longest = max((content.longest for content in tables.values()), default=0)
        known = dump.write(raw, table, longest, text.put)
        text.finish(Manifest(executor.engine.name, text.created, tables, known))


class _Text:
    """A backup that is being written."""

    def __init__(self, file: IO[bytes], engine: str) -> None:
        self._file = file
        self._sum = sha256()
        self.created = now()
        self.put(_FIRST + f"{FORMAT}: {engine}, {self.created}\n".encode())

    def put(self, data: bytes) -> None:
        self._sum.update(data)
        self._file.write(data)

    def finish(self, manifest: Manifest) -> None:
        text = json.dumps(manifest.as_json()).encode()
        self.put(b"\n")
        self._sum.update(text)
        self._file.write(_TRAILER + self._sum.hexdigest().encode() + b" " + text + b"\n")


@dataclass(frozen=True)
class Plain:
    """An open file whose bytes are those that were written; ``manifest`` is ``None`` for a foreign one."""

    path: Path
    size: int
    manifest: Manifest | None
    file: IO[bytes]
    digest: str

    def load(self, executor: Executor, table: str | None, advance: Advance | None) -> None:
        known = None if self.manifest is None else self.manifest.as_json()
        raw = executor.driver_connection()
        executor.engine.dump.load(
            raw, iter_statements(self._text(advance), executor.engine.lexicon), known, table
        )

    def _text(self, advance: Advance | None = None) -> Iterator[str]:
        """The SQL text in pieces, checked once more at its end."""
        decode = codecs.getincrementaldecoder("utf-8-sig" if self.manifest is None else "utf-8")()
        found = sha256()
        try:
            for block in blocks(self.file, self.size):
                found.update(block)
                yield decode.decode(block)
                if advance is not None:
                    advance(len(block))
            yield decode.decode(b"", final=True)
        except UnicodeDecodeError as exc:
            raise BackupError(f"{self.path} is not UTF-8 text") from exc
        if found.hexdigest() != self.digest:
            raise BackupCorrupt(f"{self.path} changed while it was read")


@contextmanager
def opened(path: Path, *, unverified: bool) -> Iterator[Plain]:
    """Open a backup after checking every byte of it; ``unverified`` also opens files of other programs.

    Raises:
        BackupCorrupt: if it is cut short or changed.
        BackupError: if there is none, or it is not ours.
    """
    with reading(path) as file:
        yield _checked(path, file, unverified)


def _checked(path: Path, file: IO[bytes], unverified: bool) -> Plain:
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
        return Plain(path, size, None, file, digest(file, size).hexdigest())
    if not last.startswith(_TRAILER) or not last.endswith(b"}\n"):
        raise BackupCorrupt(f"{path} is cut short: its end is missing", hint="use another backup")
    stated, _, text = last[len(_TRAILER) : -1].partition(b" ")
    found = digest(file, start)
    of_text = found.hexdigest()
    found.update(text)
    if found.hexdigest().encode() != stated:
        raise BackupCorrupt(
            f"{path} is not as it was written: its checksum differs", hint="use another backup"
        )
    return Plain(path, start, Manifest.of_json(path, json.loads(text)), file, of_text)


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
