"""The last line of a backup, which proves the rest: ``-- Holdfast trailer <SHA-256> {manifest}``.

The sum is that of all bytes before the line and of the JSON in it. ``sqlite3``, ``psql`` and ``pg_restore``
read over it. It is written last: without it, or with one byte changed anywhere, a file is not a backup.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from holdfast.backup.apart import MARK, End, digest
from holdfast.backup.manifest import Manifest
from holdfast.errors import BackupCorrupt


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
    file.write(b"\n" + MARK + found.hexdigest().encode() + b" " + text + b"\n")


def seal_file(path: Path, manifest: Manifest) -> None:
    """End a file that an engine's own tool wrote, and that nobody has open."""
    with path.open("rb+") as file, ThreadPoolExecutor(1) as aside:
        size = file.seek(0, os.SEEK_END)
        summing = aside.submit(digest, file, size)
        # The disk is at work while the sum is made; what comes after it is little.
        os.fsync(file.fileno())
        found = summing.result()
        file.seek(size)
        seal(file, found, manifest)


def checked(path: Path, end: End) -> Seal:
    """What the end of a file proves.

    Raises:
        BackupCorrupt: if the file is not as it was written.
    """
    if not end.is_whole:
        raise cut_short(path)
    if end.found != end.stated:
        raise BackupCorrupt(
            f"{path} is not as it was written: its checksum differs", hint="use another backup"
        )
    return Seal(end.size, end.digest, Manifest.of_json(path, json.loads(end.text)))


def cut_short(path: Path) -> BackupCorrupt:
    """The error for a file without its end."""
    return BackupCorrupt(f"{path} is cut short: its end is missing", hint="use another backup")
