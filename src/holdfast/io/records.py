"""CSV text as records, with what the standard library's reader cannot tell: which fields were quoted."""

from __future__ import annotations

import codecs
import csv
import io
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TextIO

from holdfast.errors import ConfigurationError, ImportFailed, InvalidQuery
from holdfast.io.files import reading

# The rest of a quoted field with its closing quote. Possessive, so a long field is read once.
_CLOSING = re.compile(r'[^"]*+(?:""[^"]*+)*+"')
_NO_DELIMITERS = frozenset('"\r\n.+-')
# A single column whose name holds one of these is a file of several columns, in nearly every case.
OTHER_DELIMITERS = ";\t|,"
_UNNAMED = (
    "a DataFrame is written with index=False",
    "name it, or leave out the delimiter at the end of each line",
)
_SHOWN = 60
_BLOCK = 1 << 20
# Characters that are split into fields at once: each may become an object of fifty bytes.
_LINES = 1 << 18


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


@dataclass(frozen=True, slots=True)
class Batch:
    """Sound records of equal width with their lines, by column, and those that are not sound.

    ``null`` is the text that still stands for NULL, or ``None`` where that has been put in its place,
    because some texts that look like it stood in quotes.
    """

    null: str | None
    lines: Sequence[int]
    columns: Sequence[Sequence[str | None]]
    bad: Sequence[Record]
    last: int
    "The last line of the file that belongs to it."

    def records(self) -> list[Record]:
        """The sound records one by one."""
        rows = zip(*self.columns, strict=True)
        return [Record(line, resolved(row, self.null)) for line, row in zip(self.lines, rows, strict=True)]


def resolved(fields: Sequence[str | None], null: str | None) -> Fields:
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
            line = file.readline()
            first = next(records(chain([line] if line else [], file), self.delimiter), None)
        if first is None:
            raise ImportFailed(f"{self.name} is empty", hint="the first line must name the columns")
        if first.fault is not None:
            self.fail(first.line, first.fault)
        names = [str(name or "") for name in first.fields]
        seen: set[str] = set()
        for position, name in enumerate(names, 1):
            if not name:
                self.fail(1, f"column {position} has no name", _UNNAMED[position > 1])
            if name in seen:
                self.fail(1, f"two columns are named {name!r}", "name them apart")
            seen.add(name)
        if len(names) == 1 and not line.startswith('"'):
            self._refuse_other_delimiter(names[0])
        return names

    def _refuse_other_delimiter(self, name: str) -> None:
        other = next((mark for mark in OTHER_DELIMITERS if mark in name), None)
        if other is not None:
            self.fail(
                1,
                f"the only column is {name[:_SHOWN]!r}",
                f"give delimiter={other!r}, or put the name in quotes if it is one",
            )

    def batches(self, width: int, *, after: int = 0, keep_quoted: bool = False) -> Iterator[Batch]:
        """The records after the header, as many at a time as memory stays flat with.

        A blank line is a NULL where there is one column, and nothing where there are several.
        ``after``: the line behind which to begin, if not that of the header. ``keep_quoted``: each text
        that stood in quotes is a :class:`Quoted`.
        """
        with self._open() as file:
            first = 1 + (_pass_lines(file, after) if after else _pass_header(file, self.delimiter))
            while lines := file.readlines(_LINES):
                block = _Block(lines, file, first, width, self.delimiter, self.null)
                batch = block.plain() or (None if keep_quoted else block.quoted()) or block.any()
                first = batch.last + 1
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
    origin: Path | TextIO | BinaryIO, *, delimiter: str = ",", encoding: str = "utf-8", null: str = ""
) -> Iterator[Source]:
    """A file, or an open stream of text or bytes, as a :class:`Source`."""
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
    with tempfile.NamedTemporaryFile("wb", suffix=".csv") as copy:
        try:
            while block := origin.read(_BLOCK):
                if isinstance(block, str):
                    block, encoding = block.encode(), "utf-8-sig"
                copy.write(block)
        except UnicodeError as exc:
            raise ImportFailed(f"{name} is not the text it says it is", hint="give a file") from exc
        copy.flush()
        yield Source(name, Path(copy.name), delimiter, encoding, null)


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


def _pass_header(file: TextIO, delimiter: str) -> int:
    """Read the header; how many lines it takes."""
    taken: list[str] = []
    numbered = enumerate(_going_on(taken, file), 1)
    first = next(numbered, None)
    if first is not None:
        _quoted_record(*first, numbered, delimiter, "")
    return len(taken)


def _pass_lines(file: TextIO, count: int) -> int:
    next(islice(file, count, count), None)
    return count


def _going_on(lines: list[str], file: Iterator[str]) -> Iterator[str]:
    """The lines, and then those that follow in the file, which are put behind them."""
    yield from lines
    for line in file:
        lines.append(line)
        yield line


@dataclass(frozen=True, slots=True)
class _Block:
    """Some lines of a file, in three ways: the faster two give nothing where they cannot be sure."""

    lines: list[str]
    file: TextIO
    first: int
    width: int
    delimiter: str
    null: str

    def plain(self) -> Batch | None:
        """Without any quotes, and all of the same width."""
        text = "".join(self.lines)
        if "\r" in text:
            text = text.replace("\r\n", "\n")
        if '"' in text or "\r" in text:
            return None
        if set(map(str.count, self.lines, repeat(self.delimiter))) != {self.width - 1}:
            return None
        flat = text.removesuffix("\n").replace("\n", self.delimiter).split(self.delimiter)
        columns = [flat[place :: self.width] for place in range(self.width)]
        return Batch(self.null, self._numbers(), columns, (), self._last())

    def quoted(self) -> Batch | None:
        """With quotes, but none around a text that means NULL without them, and all of the same width."""
        text = "".join(self.lines)
        if text.count('"') % 2 or self._has_quoted_null(text):
            return None
        try:
            rows = list(self._reader())
        except csv.Error:
            return None
        if set(map(len, rows)) != {self.width}:
            return None
        numbers: Sequence[int] = self._numbers()
        if len(rows) < len(numbers):
            reader = self._reader()
            numbers = [self.first, *(self.first + reader.line_num for _ in reader)][:-1]
        return Batch(self.null, numbers, list(zip(*rows, strict=True)), (), self._last())

    def _reader(self) -> Any:
        return csv.reader(self.lines, delimiter=self.delimiter, strict=True)

    def _has_quoted_null(self, text: str) -> bool:
        null = '"' + self.null.replace('"', '""') + '"'
        before = (self.delimiter + null, "\n" + null, "\r" + null)
        # Quotes within quotes look like an empty text, and the search below is slow where there are many.
        if not text.startswith(null) and not any(found in text for found in before):
            return False
        mark, null = re.escape(self.delimiter), re.escape(null)
        return re.search(f"(?:^|{mark}|\r){null}(?:{mark}|\r|$)", text, re.MULTILINE) is not None

    def any(self) -> Batch:
        """One record after the other."""
        taken = 0

        def numbered() -> Iterator[tuple[int, str]]:
            nonlocal taken
            for taken, line in enumerate(_going_on(self.lines, self.file), 1):
                yield self.first + taken - 1, line

        more = numbered()
        numbers: list[int] = []
        rows: list[Fields] = []
        bad: list[Record] = []
        for number, line in more:
            record = self._record(number, line, more)
            if record.fault is None and len(record.fields) == self.width:
                numbers.append(number)
                rows.append(record.fields)
            elif line.strip("\r\n"):
                bad.append(_ragged(record, self.width))
            if taken == len(self.lines):
                break
        return Batch(None, numbers, list(zip(*rows, strict=True)), bad, self._last())

    def _record(self, number: int, line: str, more: Iterator[tuple[int, str]]) -> Record:
        if '"' in line:
            return _quoted_record(number, line, more, self.delimiter, self.null)
        return Record(number, resolved(line.rstrip("\r\n").split(self.delimiter), self.null))

    def _numbers(self) -> range:
        return range(self.first, self.first + len(self.lines))

    def _last(self) -> int:
        return self.first + len(self.lines) - 1


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
