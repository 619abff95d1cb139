"""Copies of a PostgreSQL schema in pg_dump's custom format."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from holdfast.engines.copying import Content, Copy, RawRows
from holdfast.engines.postgres import dump
from holdfast.engines.postgres.programs import dumping, restoring
from holdfast.engines.sqltext import POSTGRES, iter_statements

extensions = (".dump",)
_BLOCK = 1 << 16
_HEAD, _END = b" FROM stdin;\n", b"\\.\n"


@contextmanager
def writing(raw: Any, path: Path) -> Iterator[Mapping[str, Any]]:
    """Let ``pg_dump`` write while the block asks for what it holds, both on one snapshot."""
    known = dump.surroundings(raw)
    # The fastest compression: the default takes three times as long.
    arguments = [
        "--format=custom",
        "--compress=1",
        f"--file={path}",
        f"--schema={dump.pattern(known['schema'])}",
    ]
    with dumping(raw, arguments) as output:
        yield known
        output.read()


def content(raw: Any, table: str) -> Content:
    """As :mod:`dump` has it: what comes back is proven, not only the bytes of the file."""
    return dump.content(raw, table)


@contextmanager
def opened(path: Path, known: Mapping[str, Any], only: str | None) -> Iterator[Copy]:
    """Let ``pg_restore`` turn the file into SQL text: what is before the rows, the rows, what is after."""
    yield Copy(_script(path, known), {}, None)


def _script(path: Path, known: Mapping[str, Any]) -> Iterator[str | RawRows]:
    for name, place in known.get("extensions", ()):
        yield dump.create_extension(name, place)
    for section in ("pre-data", "data", "post-data"):
        with restoring(path, [*dump.UNOWNED, f"--section={section}"]) as lines:
            if section == "data":
                yield from _rows(lines)
            else:
                yield from iter_statements(_texts(dump.without_meta_commands(lines)), POSTGRES)


def _texts(lines: Iterable[bytes]) -> Iterator[str]:
    decode = codecs.getincrementaldecoder("utf-8")()
    return (decode.decode(line) for line in lines)


def _rows(lines: IO[bytes]) -> Iterator[str | RawRows]:
    """The section of the rows, in which nothing else holds lines that look like these."""
    waiting: list[bytes] = []
    for line in lines:
        if not waiting and (not line.strip() or line.startswith((b"--", b"\\"))):
            continue
        waiting.append(line)
        if waiting[0].startswith(b"COPY "):
            if line.endswith(_HEAD):
                rows = RawRows(b"".join(waiting).decode(), _until_end(lines))
                yield rows
                # What nobody took is read over.
                for _ in rows.blocks:
                    pass
                waiting = []
        elif line.endswith(b";\n"):
            yield from iter_statements([b"".join(waiting).decode()], POSTGRES)
            waiting = []


def _until_end(lines: IO[bytes]) -> Iterator[bytes]:
    waiting: list[bytes] = []
    size = 0
    for line in iter(lines.readline, _END):
        waiting.append(line)
        size += len(line)
        if size > _BLOCK:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)
