"""The file of a portable archive: an uncompressed ZIP file whose comment is the SHA-256 of all before it.

Nothing is ever unpacked to a path. An archive is opened after each of its bytes was checked, and after its
entries were found to be those that it may have, one behind the other, in their order.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, Self

from holdfast.backup.apart import digest
from holdfast.errors import BackupCorrupt

SCHEMA, MANIFEST = "schema.json", "manifest.json"
_SEAL = b"Holdfast archive, SHA-256 "
_SEAL_SIZE = len(_SEAL) + 64
_MOST_JSON = 256 << 20
_LOCAL_HEADER = 30
_BLOCK = 1 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)


def rows_entry(number: int) -> str:
    """The name of the entry with the rows of so many-th a table, counted from 1."""
    return f"tables/{number:04}.parquet"


class Writer:
    """An archive that is being written into an empty file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True)
        self.entries: dict[str, list[Any]] = {}

    def add(self, name: str, data: IO[bytes]) -> None:
        """Copy an open file from its beginning into an entry."""
        info = zipfile.ZipInfo(name, _EPOCH)
        info.external_attr = 0o600 << 16
        found, size = sha256(), 0
        data.seek(0)
        with self._zip.open(info, "w", force_zip64=True) as entry:
            while block := data.read(_BLOCK):
                found.update(block)
                size += len(block)
                entry.write(block)
        self.entries[name] = [size, found.hexdigest()]

    def add_json(self, name: str, value: Any) -> None:
        self.add(name, io.BytesIO(json.dumps(value, indent=1).encode()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the ZIP file and seal it, unless something failed: nobody will read it then."""
        if kind is not None:
            self._zip.fp = None
            return
        self._zip.comment = bytes(_SEAL_SIZE)
        self._zip.close()
        end = self._file.seek(0, os.SEEK_END) - _SEAL_SIZE
        found = digest(self._file, end).hexdigest().encode()
        self._file.seek(end)
        self._file.write(_SEAL + found)
        self._file.flush()


@dataclass(frozen=True)
class Reader:
    """An archive whose bytes and entries were checked."""

    path: Path
    file: IO[bytes]
    places: Mapping[str, tuple[int, int]]
    "Where the bytes of each entry begin, and how many they are."

    def json(self, name: str) -> Any:
        """The value in an entry.

        Raises:
            BackupCorrupt: if it is too large or no JSON.
        """
        start, size = self.places[name]
        try:
            if size > _MOST_JSON:
                raise ValueError
            self.file.seek(start)
            return json.loads(self.file.read(size))
        except (ValueError, RecursionError) as exc:
            raise _not_ours(self.path) from exc

    def open(self, name: str) -> Part:
        return Part(self.file, *self.places[name])


class Part(io.RawIOBase):
    """Some of the bytes of a file, as a file of their own."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self._file, self._start, self._size, self._at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._start + self._at)
        data = self._file.read(max(0, min(len(buffer), self._size - self._at)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def read(path: Path, file: IO[bytes]) -> Reader:
    """Check every byte of an open file, and that it is an archive.

    Raises:
        BackupCorrupt: if it is not what was written, or no archive.
    """
    end = file.seek(0, os.SEEK_END) - _SEAL_SIZE
    file.seek(max(end, 0))
    seal = file.read()
    if end < 0 or not seal.startswith(_SEAL):
        raise BackupCorrupt(
            f"{path} does not end as an archive does: it is cut short, or another program wrote it",
            hint="use another backup",
        )
    if digest(file, end).hexdigest().encode() != seal[len(_SEAL) :]:
        raise BackupCorrupt(
            f"{path} is not as it was written: its checksum differs", hint="use another backup"
        )
    try:
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
            places = _places(archive, file)
    except (zipfile.BadZipFile, ValueError, EOFError, UnicodeError, NotImplementedError) as exc:
        raise _not_ours(path) from exc
    return Reader(path, file, places)


def _places(archive: zipfile.ZipFile, file: IO[bytes]) -> dict[str, tuple[int, int]]:
    """Where the entries are: only such as an archive has, and nothing besides or between them."""
    infos = archive.infolist()
    tables = [rows_entry(number) for number in range(1, len(infos) - 1)]
    if [info.filename for info in infos] != [SCHEMA, *tables, MANIFEST]:
        raise ValueError
    places: dict[str, tuple[int, int]] = {}
    at = 0
    for info in infos:
        kind = info.external_attr >> 16 & 0o170000
        if info.header_offset != at or kind or info.compress_type or info.file_size != info.compress_size:
            raise ValueError
        # Where the data begins is only said in front of it.
        with archive.open(info):
            file.seek(at)
            head = file.read(_LOCAL_HEADER)
        begin = (
            at + _LOCAL_HEADER + sum(int.from_bytes(head[place : place + 2], "little") for place in (26, 28))
        )
        places[info.filename] = (begin, info.file_size)
        at = begin + info.file_size
    if archive.start_dir != at:
        raise ValueError
    return places


def _not_ours(path: Path) -> BackupCorrupt:
    return BackupCorrupt(
        f"{path} does not hold what an archive holds", hint="use another backup, from a source you trust"
    )
