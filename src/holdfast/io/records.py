"""CSV text as records, with what the standard library's reader cannot tell: which fields were quoted."""

from __future__ import annotations

import codecs
import io
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, TextIO

from holdfast.errors import ConfigurationError, ImportFailed, InvalidQuery
from holdfast.io.files import reading

# The rest of a quoted field with its closing quote. Possessive, so a long field is read once.
_CLOSING = re.compile(r'[^"]*+(?:""[^"]*+)*+"')
_NO_DELIMITERS = frozenset('"\r\n.+-')
_BLOCK = 1 << 20


class Quoted(str):
    """A field that stood in quotes. It compares as its text does; only untyped columns ask."""

    __slots__ = ()


Fields = list[str | None]


@dataclass(frozen=True, slots=True)
class Record:
    """One record, the line it starts on, and what is wrong with it, if anything; NULL is ``None``."""

    line: int
    fields: Fields
    fault: str | None = None


@dataclass(slots=True)
class Batch:
    """Sound records of equal width with their lines, and those that are not sound.

    ``null`` is the text that still stands for NULL, or ``None`` where that has been put in its place.
    """

    null: str | None
    lines: list[int] = field(default_factory=list)
    rows: list[Fields] = field(default_factory=list)
    bad: list[Record] = field(default_factory=list)

    def resolve(self) -> None:
        """Put NULLs in their place, because from here on some texts that look like one stood in quotes."""
        if self.null is not None:
            self.rows = [resolved(fields, self.null) for fields in self.rows]
            self.null = None


def resolved(fields: Fields, null: str | None) -> Fields:
    """Fields that stood without quotes, with ``None`` for NULL."""
    return [None if text == null else text for text in fields]


def check_delimiter(delimiter: str) -> None:
    """Refuse what could be part of a number or of the quoting."""
    known = isinstance(delimiter, str) and len(delimiter) == 1
    if not known or delimiter in _NO_DELIMITERS or delimiter.isalnum():
        raise InvalidQuery(f"the delimiter cannot be {delimiter!r}", hint="use ',', ';', '|' or a tab")


@dataclass(frozen=True, slots=True)
class Source:
    """A CSV file that is read from its start as often as needed.

    A stream is copied into a temporary file first, because its types are found before its rows are read.
    """

    name: str
    path: Path
    delimiter: str
    encoding: str
    null: str

    def fail(self, line: int, what: str, hint: str | None = None) -> NoReturn:
        raise ImportFailed(f"{self.name}, line {line}: {what}", hint=hint)

    def header(self) -> list[str]:
        """The names of the columns.

        Raises:
            ImportFailed: if the file cannot be read, is empty, or names a column twice or not at all.
        """
        with self._open() as file:
            first = next(records(file, self.delimiter), None)
        if first is None:
            raise ImportFailed(f"{self.name} is empty", hint="the first line must name the columns")
        if first.fault is not None:
            self.fail(first.line, first.fault)
        names = [str(name or "") for name in first.fields]
        seen: set[str] = set()
        for position, name in enumerate(names, 1):
            if not name:
                self.fail(1, f"column {position} has no name", "a DataFrame is written with index=False")
            if name in seen:
                self.fail(1, f"two columns are named {name!r}", "name them apart")
            seen.add(name)
        return names

    def batches(self, width: int, size: int) -> Iterator[Batch]:
        """The records after the header, some ``size`` at a time.

        A blank line is a NULL where there is one column, and nothing where there are several.
        """
        delimiter, null = self.delimiter, self.null
        with self._open() as file:
            numbered = enumerate(file, 1)
            _read_header(numbered, delimiter)
            batch = Batch(null)
            for number, line in numbered:
                if '"' in line:
                    batch.resolve()
                    record = _quoted_record(number, line, numbered, delimiter, null)
                    if len(record.fields) == width and record.fault is None:
                        batch.lines.append(number)
                        batch.rows.append(record.fields)
                    else:
                        batch.bad.append(_ragged(record, width))
                else:
                    fields: Fields = line.rstrip("\r\n").split(delimiter)  # type: ignore[assignment]
                    if len(fields) == width:
                        batch.lines.append(number)
                        batch.rows.append(fields if batch.null is not None else resolved(fields, null))
                    elif fields != [""]:
                        batch.bad.append(_ragged(Record(number, resolved(fields, null)), width))
                if len(batch.rows) + len(batch.bad) >= size:
                    yield batch
                    batch = Batch(null)
            if batch.rows or batch.bad:
                yield batch

    @contextmanager
    def _open(self) -> Iterator[TextIO]:
        try:
            with (
                reading(self.path) as file,
                io.TextIOWrapper(file, encoding=self.encoding, newline="") as text,
            ):
                yield text
        except UnicodeDecodeError as exc:
            at = _first_undecodable(self.path, self.encoding)
            raise ImportFailed(
                f"{self.name} is not {self.encoding.removesuffix('-sig')} text at byte {at}",
                hint="give encoding=, such as 'latin-1' or 'utf-16'",
            ) from exc
        except Unclosed as exc:
            self.fail(exc.line, "a quoted field is opened and never closed")


@contextmanager
def open_source(
    origin: Path | TextIO, *, delimiter: str = ",", encoding: str = "utf-8", null: str = ""
) -> Iterator[Source]:
    """A file, or an open text stream, as a :class:`Source`."""
    check_delimiter(delimiter)
    try:
        # A byte order mark is no part of the first column's name.
        known = codecs.lookup(encoding).name
        encoding = "utf-8-sig" if known == "utf-8" else known
    except LookupError as exc:
        raise ConfigurationError(f"unknown encoding {encoding!r}", hint="such as 'utf-8'") from exc
    if isinstance(origin, Path):
        yield Source(str(origin), origin, delimiter, encoding, null)
        return
    name = str(getattr(origin, "name", "the stream"))
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="", suffix=".csv") as copy:
        try:
            shutil.copyfileobj(origin, copy, _BLOCK)
        except UnicodeError as exc:
            raise ImportFailed(f"{name} is not the text it says it is", hint="give a file") from exc
        copy.flush()
        yield Source(name, Path(copy.name), delimiter, "utf-8-sig", null)


class Unclosed(Exception):
    """The text ended inside quotes."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


def records(lines: Iterable[str], delimiter: str = ",", null: str = "") -> Iterator[Record]:
    """Read CSV as RFC 4180 has it, one record at a time.

    ``lines`` keep their ends, as a file opened with ``newline=""`` gives them. A quote inside a field that
    does not start with one is taken as it is.

    >>> [record.fields for record in records(["a,'b\\n", '"c, d",\\n'])]
    [['a', "'b"], ['c, d', None]]

    Raises:
        Unclosed: if the text ends inside quotes.
    """
    numbered = enumerate(lines, 1)
    for number, line in numbered:
        yield _quoted_record(number, line, numbered, delimiter, null)


def _read_header(numbered: Iterator[tuple[int, str]], delimiter: str) -> None:
    first = next(numbered, None)
    if first is not None:
        _quoted_record(*first, numbered, delimiter, "")


def _ragged(record: Record, width: int) -> Record:
    fault = record.fault or f"{len(record.fields)} fields, but the header has {width}"
    return Record(record.line, record.fields, fault)


def _quoted_record(
    start: int, line: str, more: Iterator[tuple[int, str]], delimiter: str, null: str
) -> Record:
    """The record that begins with ``line``, which may go on in the lines that follow."""
    fields: Fields = []
    at = 0
    while True:
        if not line.startswith('"', at):
            end = line.find(delimiter, at)
            text = line[at:end] if end >= 0 else line[at:].rstrip("\r\n")
            fields.append(None if text == null else text)
            if end < 0:
                return Record(start, fields)
            at = end + 1
            continue
        pieces: list[str] = []
        at += 1
        while (closing := _CLOSING.match(line, at)) is None:
            pieces.append(line[at:])
            following = next(more, None)
            if following is None:
                raise Unclosed(start)
            line, at = following[1], 0
        pieces.append(line[at : closing.end() - 1])
        fields.append(Quoted("".join(pieces).replace('""', '"')))
        at = closing.end()
        if line.startswith(delimiter, at):
            at += 1
        elif line[at:].rstrip("\r\n"):
            return Record(start, fields, f"text follows the closing quote of field {len(fields)}")
        else:
            return Record(start, fields)


def _first_undecodable(path: Path, encoding: str) -> int:
    # The decoder of utf-8-sig counts from behind the mark.
    decoder = codecs.getincrementaldecoder(encoding.removesuffix("-sig"))()
    read = 0
    with reading(path) as file:
        while True:
            block = file.read(_BLOCK)
            kept = len(decoder.getstate()[0])
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as exc:
                return read - kept + exc.start
            if not block:
                return read
            read += len(block)
