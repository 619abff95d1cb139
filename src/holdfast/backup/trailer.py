"""The last line of a backup, which proves the rest: ``-- Holdfast trailer <SHA-256> {manifest}``.

The sum is that of all bytes before the line and of the JSON in it. ``sqlite3``, ``psql`` and ``pg_restore``
read over it. It is written last: without it, or with one byte changed anywhere, a file is not a backup.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from holdfast.backup.files import digest
from holdfast.backup.manifest import Manifest
from holdfast.errors import BackupCorrupt

_MARK = b"-- Holdfast trailer "
_LONGEST = 1 << 26


@dataclass(frozen=True, slots=True)
class Seal:
    """What a trailer proves: so many bytes, and the SHA-256 of them."""

    size: int
    digest: str
    manifest: Manifest


def seal(file: IO[bytes], found: Any, manifest: Manifest) -> None:
    """End a file whose bytes so far, with the newline that comes now, have the sum ``found``."""
    text = json.dumps(manifest.as_json()).encode()
    found.update(b"\n" + text)
    file.write(b"\n" + _MARK + found.hexdigest().encode() + b" " + text + b"\n")


def seal_file(path: Path, manifest: Manifest) -> None:
    """End a file that an engine's own tool wrote."""
    with path.open("rb+") as file:
        seal_at = file.seek(0, os.SEEK_END)
        found = digest(file, seal_at)
        file.seek(seal_at)
        seal(file, found, manifest)


def unsealed(path: Path, file: IO[bytes]) -> Seal | None:
    """Check every byte of a file; ``None`` if it has no trailer.

    Raises:
        BackupCorrupt: if it is not as it was written.
    """
    last, start = _last_line(file, file.seek(0, os.SEEK_END))
    if not last.startswith(_MARK):
        return None
    if not last.endswith(b"}\n"):
        raise cut_short(path)
    stated, _, text = last[len(_MARK) : -1].partition(b" ")
    found = digest(file, start)
    before = found.hexdigest()
    found.update(text)
    if found.hexdigest().encode() != stated:
        raise BackupCorrupt(
            f"{path} is not as it was written: its checksum differs", hint="use another backup"
        )
    return Seal(start, before, Manifest.of_json(path, json.loads(text)))


def cut_short(path: Path) -> BackupCorrupt:
    """The error for a file without its end."""
    return BackupCorrupt(f"{path} is cut short: its end is missing", hint="use another backup")


def _last_line(file: IO[bytes], size: int) -> tuple[bytes, int]:
    """The last line with its newline, and where it begins."""
    tail, start = b"", size
    while start and size - start < _LONGEST:
        step = min(max(len(tail), 1 << 16), start)
        start -= step
        file.seek(start)
        tail = file.read(step) + tail
        newline = tail.rfind(b"\n", 0, -1)
        if newline >= 0:
            return tail[newline + 1 :], start + newline + 1
    return tail, start
