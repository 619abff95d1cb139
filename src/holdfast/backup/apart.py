"""The last line of a file and the sum of what is before it, read in a process of its own where it must be.

Closing a SQLite file in the process that has a connection to it takes that connection's locks away, so
nothing here may open one: ``python apart.py FILE`` does, and prints what it found. Only the standard
library is used, so that the process starts at once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

MARK = b"-- Holdfast trailer "
_MAGIC = b"SQLite format 3\0"
# Starts five times as fast as this file does.
_SHOW_ENDS = """
import sys
with open(sys.argv[1], "rb") as file:
    head = file.read(16)
    file.seek(max(0, file.seek(0, 2) - (1 << 20)))
    sys.stdout.buffer.write(head + file.read())
"""
_BLOCK = 1 << 20
_LONGEST = 1 << 26


@dataclass(frozen=True, slots=True)
class End:
    """A trailer as it stands: the text of it, the sum that it states and the one that was found.

    ``size`` and ``digest`` are those of the bytes before it.
    """

    size: int
    digest: str
    stated: str
    found: str
    text: str
    is_whole: bool


def read(path: Path) -> tuple[int, End | None, bool]:
    """The size of a file, its trailer, and whether it is a SQLite database that ends where it should.

    The file is not opened in this process.

    Raises:
        OSError: if it cannot be read.
    """
    size, end, is_database = json.loads(_asked([__file__], path))
    return size, None if end is None else End(**end), is_database


def is_foreign(path: Path) -> bool:
    """Whether a file is a SQLite database without a trailer: somebody's data, and no backup.

    Raises:
        OSError: if it cannot be read.
    """
    shown = _asked(["-S", "-c", _SHOW_ENDS], path)
    head, tail = shown[: len(_MAGIC)], shown[len(_MAGIC) :]
    last = tail[tail.rfind(b"\n", 0, -1) + 1 :]
    # A trailer that is longer than what was shown is one of very many tables: its beginning is not there.
    return head == _MAGIC and not last.startswith(MARK) and not last.endswith(b"}\n")


def _asked(program: list[str], path: Path) -> bytes:
    command = [sys.executable, "-I", *program, str(path)]
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise OSError(said.rpartition("\n")[2] or "it cannot be read")
    return done.stdout


def end_of(file: IO[bytes]) -> End | None:
    """The trailer of an open file, and ``None`` if it has none."""
    last, start = _last_line(file, file.seek(0, os.SEEK_END))
    if not last.startswith(MARK):
        return None
    stated, _, text = last[len(MARK) : -1].partition(b" ")
    found = digest(file, start)
    before = found.hexdigest()
    found.update(text)
    texts = (stated.decode("latin-1"), found.hexdigest(), text.decode("utf-8", "replace"))
    return End(start, before, *texts, last.endswith(b"}\n"))


def _is_database(file: IO[bytes], size: int) -> bool:
    file.seek(0)
    head = file.read(100)
    page = int.from_bytes(head[16:18], "big")
    pages = int.from_bytes(head[28:32], "big")
    return head.startswith(_MAGIC) and pages * (65_536 if page == 1 else page) == size


def blocks(file: IO[bytes], size: int) -> Iterator[bytes]:
    """The first ``size`` bytes of a file."""
    file.seek(0)
    while size and (block := file.read(min(_BLOCK, size))):
        size -= len(block)
        yield block


def digest(file: IO[bytes], size: int) -> Any:
    """The SHA-256 of the first ``size`` bytes of a file."""
    found = sha256()
    for block in blocks(file, size):
        found.update(block)
    return found


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


if __name__ == "__main__":
    with Path(sys.argv[1]).open("rb") as opened:
        ending = end_of(opened)
        length = opened.seek(0, os.SEEK_END)
        print(json.dumps([length, ending and asdict(ending), _is_database(opened, length)]))
