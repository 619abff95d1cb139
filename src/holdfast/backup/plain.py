"""Readable SQL text: a first line that says what it is, and a last one that proves it.

::

    -- Holdfast backup, format 2: sqlite, 2026-01-31T12:00:00+00:00
    ... statements ...
    -- Holdfast trailer <SHA-256> {...}

Both are comments, so ``sqlite3`` and ``psql`` read the file too.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO

from holdfast.backup.apart import blocks, digest, end_of
from holdfast.backup.content import content_of, translated
from holdfast.backup.files import reading
from holdfast.backup.manifest import FORMAT, Manifest, name_of, now
from holdfast.backup.trailer import checked, cut_short, seal
from holdfast.core.executor import Executor
from holdfast.core.progress import Advance
from holdfast.core.transaction import Transaction
from holdfast.engines.copying import Content
from holdfast.engines.sqltext import iter_statements
from holdfast.errors import BackupCorrupt, BackupError, NotABackup

_FIRST = b"-- Holdfast backup, format "
_BUFFER = 1 << 20


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
        known = dump.write(raw, table, text.put)
        text.finish(Manifest(executor.engine.name, name_of(executor.target), text.created, tables, known))


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
        seal(self._file, self._sum, manifest)


@dataclass(frozen=True)
class Plain:
    """An open file whose bytes are those that were written; ``manifest`` is ``None`` for a foreign one."""

    path: Path
    size: int
    manifest: Manifest | None
    file: IO[bytes]
    digest: str

    @property
    def left_behind(self) -> tuple[str, ...]:
        return ()

    def load(
        self, executor: Executor, table: str | None, advance: Advance | None
    ) -> Mapping[str, Content] | None:
        known = None if self.manifest is None else self.manifest.as_json()
        statements = iter_statements(self._text(advance), executor.engine.lexicon)
        executor.engine.dump.load(executor.driver_connection(), statements, known, table)
        return None if self.manifest is None else self.manifest.tables

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
def opened(path: Path, *, unverified: bool, identity: Path | None = None) -> Iterator[Plain]:
    """Open a backup after checking every byte of it; ``unverified`` also opens files of other programs.

    Raises:
        BackupCorrupt: if it is cut short or changed.
        BackupError: if there is none, or it is not ours.
    """
    with reading(path) as file:
        yield _checked(path, file, unverified)


def _checked(path: Path, file: IO[bytes], unverified: bool) -> Plain:
    head = file.read(len(_FIRST))
    end = end_of(file)
    if end is not None:
        found = checked(path, end)
        return Plain(path, found.size, found.manifest, file, found.digest)
    if head.startswith(_FIRST) or _FIRST.startswith(head):
        raise cut_short(path)
    if not unverified:
        raise NotABackup(
            f"{path} was not written by Holdfast, so nothing can tell whether it is whole",
            hint="unverified=True runs it as it is",
        )
    size = file.seek(0, os.SEEK_END)
    return Plain(path, size, None, file, digest(file, size).hexdigest())
