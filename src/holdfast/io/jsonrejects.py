"""Loading JSON with a file for bad objects: each with its place, the reason and all its keys."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from json.encoder import encode_basestring as quoted
from pathlib import Path
from typing import Any, TextIO

from holdfast.core import bulk
from holdfast.core.executor import Executor
from holdfast.core.progress import Advance
from holdfast.errors import Error, InvalidQuery
from holdfast.io import loading
from holdfast.io.files import publishing

# Objects that are written in one go, and again in halves if one of them is at fault.
_PART = 1_000
_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

Object = dict[str, Any]
Row = tuple[int, Object]


@dataclass(slots=True)
class Rejects:
    """A file of JSON Lines, or of one array, that takes objects with their place and what is wrong."""

    file: TextIO
    is_array: bool
    waiting: list[tuple[int, str]] = field(default_factory=list)
    written: int = 0

    def add(self, number: int, reason: str, given: Object | str) -> None:
        """Take an object, or the text of a line that is none."""
        found: Object = {"text": given} if isinstance(given, str) else given
        place, why = "object" if self.is_array else "line", "reason"
        while {place, why} & found.keys():
            place, why = f"_{place}", f"_{why}"
        self.waiting.append((number, text_of({place: number, why: reason, **found})))

    def flush(self) -> None:
        """Write what was taken, in the order of the places."""
        for _, text in sorted(self.waiting):
            if self.is_array:
                self.file.write(",\n" if self.written else "[\n")
            self.file.write(text if self.is_array else text + "\n")
            self.written += 1
        self.waiting.clear()

    def close(self) -> None:
        self.flush()
        if self.is_array:
            self.file.write("\n]\n" if self.written else "[\n\n]\n")


@contextmanager
def rejecting(path: Path, given: Path, *, is_array: bool) -> Iterator[Rejects]:
    """The file ``path`` for what is bad in the file ``given``; it appears when all was read."""
    if path.exists() and given.exists() and path.samefile(given):
        raise InvalidQuery("rejects names the file that is imported", hint="name another file")
    with publishing(path) as file:
        rejects = Rejects(file, is_array)
        yield rejects
        rejects.close()


def load_sound(
    executor: Executor,
    table: str,
    items: Iterator[Row],
    convert: Callable[[Row], Object],
    rejects: Rejects,
    advance: Advance | None,
) -> int:
    """Write those objects that nothing speaks against, and return how many there were."""

    def write(part: Sequence[Row]) -> int:
        return bulk.insert_many(executor, table, [convert(row) for row in part])

    def refuse(row: Row, exc: Error) -> None:
        rejects.add(row[0], exc.message.removeprefix("row 1: "), row[1])

    written = 0
    while part := list(islice(items, _PART)):
        written += loading.in_halves(executor, part, write, refuse)
        rejects.flush()
        if advance:
            advance(len(part))
    return written


def text_of(value: Any) -> str:
    """JSON with all digits of a Decimal."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{quoted(key)}:{text_of(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(text_of, value)) + "]"
    return _dumps(value)
