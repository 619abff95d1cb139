"""Tables as JSON Lines, or as one JSON array of objects; neither is held in memory.

What JSON has no word for is text: dates and moments in ISO form, bytes and arrays as ``\\\\x`` with
hexadecimal digits, and in a REAL column the three numbers ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``.
The column's type reads it back. Decimals are numbers with all their digits.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from decimal import Decimal
from json.encoder import encode_basestring as quoted
from pathlib import Path
from typing import Any, BinaryIO, TextIO
from uuid import UUID

from holdfast.core import query
from holdfast.core.executor import Executor
from holdfast.core.progress import track
from holdfast.core.transaction import Transaction
from holdfast.engines.base import Column
from holdfast.errors import ColumnNotFound, ImportFailed, InvalidQuery, NotSupported, ValueRefused
from holdfast.io import entries, jsonrejects, jsontext, resuming, values
from holdfast.io.arrow import stream_typed
from holdfast.io.files import publishing
from holdfast.io.guess import type_of_values
from holdfast.types.array import frame, is_array
from holdfast.types.kinds import KindName

_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_dumps = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


# Writing


def export(
    executor: Executor,
    table_or_sql: str,
    path: Path | TextIO,
    *args: Any,
    is_array: bool,
    progress: bool | None = None,
    **kwargs: Any,
) -> int:
    """Write the rows of a table or a query and return how many there were.

    Raises:
        NotSupported: if a value has no form in JSON that would be read back; the file that was there stays.
    """
    names, types, batches = stream_typed(executor, table_or_sql, *args, **kwargs)
    query.refuse_same_names(names)
    # A column of a table that has no type keeps whatever is put into it; a query just does not say.
    unsaid: KindName | None = "other" if query.is_table(executor, table_or_sql) else None
    kinds = [executor.engine.types.codec(text).kind.name if text else unsaid for text in types]
    keys = (quoted(name).replace("%", "%%") for name in names)
    row = ("{" + ",".join(f"{key}:%s" for key in keys) + "}").__mod__
    between, before, after = (",\n", "[\n", "\n]\n") if is_array else ("\n", "", "\n")
    written = 0
    with track(f"export {table_or_sql[:40]}", show=progress) as advance, publishing(path) as file:
        file.write(before)
        for batch in batches:
            columns = [
                _texts(name, kind, column)
                for name, kind, column in zip(names, kinds, zip(*batch, strict=True), strict=True)
            ]
            lines = between.join(map(row, zip(*columns, strict=True)))
            file.write(between + lines if written else lines)
            written += len(batch)
            if advance:
                advance(len(batch))
        file.write(after)
    return written


def _texts(name: str, kind: KindName | None, column: Iterable[Any]) -> list[str]:
    column = list(column)
    types = set(map(type, column))
    if kind != "json" and types == {int}:
        return list(map(str, column))
    if kind not in values.READERS and types == {str}:
        return list(map(quoted, column))
    return ["null" if value is None else _json(name, kind, value) for value in column]


def _json(name: str, kind: KindName | None, value: Any) -> str:
    try:
        if kind == "json" or isinstance(value, (dict, list)):
            return _dumps(value)
        if type(value) is float and not math.isfinite(value) and kind in ("float", None):
            return f'"{value}"'.replace("inf", "Infinity").replace("nan", "NaN")
        as_text = _TEXTS.get(type(value))
        lost = (kind == "other" and type(value) is bytes) or values.is_misread(kind, value)
        if as_text is not None and not lost:
            return as_text(value)
        if is_array(value) and kind in ("bytes", None):
            return quoted("\\x" + frame(value).hex())
    except (TypeError, ValueError) as exc:
        raise _no_form(name, value) from exc
    raise _no_form(name, value)


def _no_form(name: str, value: Any) -> NotSupported:
    return NotSupported(
        f"column {name!r} holds a {type(value).__name__}, for which JSON has no form that would be read back",
        hint=f'export a query that says how, such as SELECT CAST("{name}" AS TEXT) AS "{name}"',
    )


def _number(value: Decimal) -> str:
    if not value.is_finite():
        raise ValueError
    return str(value)


_TEXTS: dict[type, Callable[[Any], str]] = {
    str: quoted,
    int: str,
    bool: lambda value: "true" if value else "false",
    float: _dumps,
    Decimal: _number,
    datetime: lambda value: f'"{value.isoformat()}"',
    date: lambda value: f'"{value.isoformat()}"',
    time: lambda value: f'"{value.isoformat()}"',
    UUID: lambda value: f'"{value}"',
    bytes: lambda value: f'"\\\\x{value.hex()}"',
}


# Reading


@dataclass(frozen=True, slots=True)
class Documents:
    """The objects of a file, read from its start as often as needed."""

    name: str
    path: Path
    is_array: bool
    refuse: jsontext.Refuse | None = None
    "Takes what is no object; otherwise that is an error."

    def items(self, *, exact: bool | None) -> Iterator[jsontext.Item]:
        decode = jsontext.decoder(exact=exact)
        read = jsontext.array if self.is_array else jsontext.lines
        for number, value in read(self.path, self.name, decode, self.refuse):
            if type(value) is dict:
                yield number, value
                continue
            what = f"an object is needed, not {_WORDS.get(type(value), 'a number')}"
            if self.refuse is None:
                raise ImportFailed(f"{self.place(number)}: {what}")
            self.refuse(number, what, jsonrejects.text_of(value))

    def place(self, number: int) -> str:
        return f"{self.name}, {'object' if self.is_array else 'line'} {number}"

    def types(self, known: Sequence[str] = ()) -> dict[str, str]:
        """A type for each key that is not ``known``, from the whole file."""
        samples: dict[str, dict[type, Any]] = {}
        skipped = set(known)
        for _, row in self.items(exact=None):
            for key, value in row.items():
                if key not in skipped:
                    samples.setdefault(key, {})[type(value)] = value
        return {key: self._type(key, list(found.values())) for key, found in samples.items()}

    def _type(self, key: str, found: list[Any]) -> str:
        if any(isinstance(value, (dict, list)) for value in found):
            return "JSON"
        if any(isinstance(value, Decimal) for value in found):
            found = [value for value in found if not isinstance(value, float)]
        try:
            return type_of_values(found) or "TEXT"
        except TypeError as exc:
            raise ImportFailed(
                f"{self.name}: {key!r} holds {exc}, for which there is no column type",
                hint="make the table first, with JSON as the type of that column",
            ) from None


_WORDS = {list: "an array", str: "a text", bool: "true or false", type(None): "null"}


def load(
    executor: Executor,
    table: str,
    path: Path | BinaryIO,
    if_exists: str = "append",
    *,
    is_array: bool,
    extra_columns: str = "error",
    rejects: Path | None = None,
    progress: bool | None = None,
    resume: bool = False,
) -> int:
    """Load the objects of a file, all or none, and return how many there were.

    A key that an object lacks takes the column's default; ``null`` is NULL. With ``rejects``, bad objects go
    to that file with their place and the reason, and the rest is loaded.

    Raises:
        ImportFailed: naming the file and the line, or the place in the array, of the first bad object.
    """
    if resume and rejects is not None:
        raise InvalidQuery(
            "rejects cannot be kept by an import that resumes", hint="leave out one of the two"
        )
    with spooled(path) as (file, name):
        documents = Documents(name, file, is_array)
        if rejects is not None:
            return _load_sound(executor, table, documents, if_exists, extra_columns, rejects, progress)
        options = {"format": "json" if is_array else "jsonl"} if resume else None
        steps = resuming.steps(executor, table, path, if_exists, options)
        return entries.load(
            executor, table, _Entries(documents), if_exists, extra_columns, progress, steps=steps
        )


def _load_sound(
    executor: Executor,
    table: str,
    documents: Documents,
    if_exists: str,
    extra_columns: str,
    rejects: Path,
    progress: bool | None,
) -> int:
    entries.check(if_exists, extra_columns)
    with (
        track(f"import {table}", show=progress) as advance,
        Transaction(executor),
        jsonrejects.rejecting(rejects, documents.path, is_array=documents.is_array) as bad,
    ):
        tolerant = _Entries(replace(documents, refuse=lambda *_: None))
        entries.prepare(executor, table, tolerant, if_exists, extra_columns)
        columns, takes = entries.taking(executor, table, extra_columns)
        exact = _is_exact(columns)
        convert = _converter(columns, takes, exact=exact)

        def converted(row: tuple[int, dict[str, Any]]) -> dict[str, Any]:
            try:
                return convert(row[1])
            except ColumnNotFound as exc:
                raise ColumnNotFound(f"{documents.place(row[0])}: {exc.message}", hint=exc.hint) from exc

        items = replace(documents, refuse=bad.add).items(exact=exact)
        return jsonrejects.load_sound(executor, table, items, converted, bad, advance)


@contextmanager
def spooled(origin: Path | BinaryIO) -> Iterator[tuple[Path, str]]:
    """A path to read from as often as needed, and what to call it; a stream is copied into a file first."""
    if isinstance(origin, Path):
        yield origin, str(origin)
        return
    with tempfile.NamedTemporaryFile() as copy:
        shutil.copyfileobj(origin, copy, 1 << 20)
        copy.flush()
        yield Path(copy.name), str(getattr(origin, "name", "the stream"))


@dataclass(frozen=True, slots=True)
class _Entries:
    """The objects of a file as :mod:`holdfast.io.entries` takes them."""

    documents: Documents

    @property
    def is_inert(self) -> None:
        """These are rows."""

    @property
    def name(self) -> str:
        return self.documents.name

    def names(self) -> None:
        """Not known before all was read."""

    def given(self, columns: Sequence[Column]) -> None:
        """Each says itself which it has."""

    def place(self, number: int) -> str:
        if self.documents.is_array:
            return self.documents.place(number)
        for row, (line, _) in enumerate(self.documents.items(exact=False), 1):
            if row == number:
                return self.documents.place(line)
        return self.name

    def types(self, known: Sequence[str]) -> dict[str, str]:
        return self.documents.types(known)

    def rows(self, columns: Sequence[Column], takes: Callable[[str], bool]) -> Iterator[dict[str, Any]]:
        """Each object in the order of the table's columns, its values read as their types have it."""
        exact = _is_exact(columns)
        convert = _converter(columns, takes, exact=exact)
        for _, given in self.documents.items(exact=exact):
            yield convert(given)


def _is_exact(columns: Sequence[Column]) -> bool:
    return any(column.codec.kind.name == "decimal" for column in columns)


def _converter(
    columns: Sequence[Column], takes: Callable[[str], bool], *, exact: bool
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What makes a row of an object; ``takes`` is asked of a key that is none of ``columns``."""
    readers = [(column.name, _reader(column, exact=exact)) for column in columns]
    known = {column.name for column in columns}

    def convert(given: dict[str, Any]) -> dict[str, Any]:
        if not given.keys() <= known:
            for key in given.keys() - known:
                takes(key)
        row = {}
        for name, read in readers:
            if name in given:
                value = given[name]
                row[name] = value if read is None or value is None else entries.read(name, read, value)
        return row

    return convert


def _reader(column: Column, *, exact: bool) -> values.Read | None:
    kind = column.codec.kind.name
    if kind in ("json", "other"):
        return _as_floats if exact else _finite
    return _READERS.get(kind)


def _float(value: Any) -> Any:
    if type(value) is str:
        return _NOT_FINITE.get(value, value)
    return _finite(float(value)) if type(value) is Decimal else _finite(value)


def _finite(value: Any) -> Any:
    if type(value) is float and math.isinf(value):
        raise ValueRefused("the number is larger than a float can be")
    return value


def _as_floats(value: Any) -> Any:
    """The value with floats, as JSON in a database has them, in the place of decimals."""
    if type(value) is Decimal:
        return _finite(float(value))
    if type(value) is dict:
        return {key: _as_floats(item) for key, item in value.items()}
    return [_as_floats(item) for item in value] if type(value) is list else value


def _decimal(value: Any) -> Any:
    return values.read_decimal(value) if type(value) is str else value


def _bytes(value: Any) -> Any:
    return values.read_bytes(value) if type(value) is str else value


_READERS: dict[KindName, values.Read] = {
    "integer": entries.within_64_bits,
    "float": _float,
    "decimal": _decimal,
    "bytes": _bytes,
}
