"""How each kind of value is written in a CSV field, and read back from one.

NULL is an empty field without quotes, bytes and arrays are ``\\x`` with hexadecimal digits, JSON is its text,
moments are ISO text, booleans are ``true`` and ``false``. In a column without a type of its own, text stands
in quotes and numbers do not.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn
from uuid import UUID

from holdfast.engines.base import Column
from holdfast.errors import DatabaseError, NotSupported, ValueRefused
from holdfast.io.records import OTHER_DELIMITERS, Quoted
from holdfast.types.array import frame, has_mark, is_array, unframe
from holdfast.types.kinds import KindName
from holdfast.types.temporal import parse_timestamp

Write = Callable[[Iterable[Any]], list[str]]
Read = Callable[[str], Any]
Texts = Sequence[str | None]
ReadAll = Callable[[Texts, str | None], Sequence[Any]]

_BOOLEANS = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0"), False),
}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


# Writing


_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def _hex(value: bytes) -> str:
    return "\\x" + value.hex()


_TEXTS: dict[type, Callable[[Any], str]] = {
    str: str,
    int: str,
    float: repr,
    bool: lambda value: "true" if value else "false",
    Decimal: str,
    datetime: lambda value: value.isoformat(" "),
    date: date.isoformat,
    time: time.isoformat,
    UUID: str,
    bytes: _hex,
}
_NESTED = (dict, list)
# Equal values have equal texts; not so of numbers, where 1 == True and Decimal("1.0") == Decimal("1").
_SAME_IF_EQUAL = frozenset({str})


def writer(name: str, kind: KindName | None, *, delimiter: str, null: str, spreadsheet_safe: bool) -> Write:
    """A function that turns values of one column into fields; ``kind`` is ``None`` where it is unknown."""
    special = re.compile(f'[{re.escape(delimiter)}"\r\n\ufeff]').search

    def quoted(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    def field(value: Any) -> str:
        if value is None:
            return null
        text = _text(name, kind, value)
        if spreadsheet_safe and type(value) is str and text.startswith(_FORMULA):
            text = "'" + text
        if not text or text == null or special(text) or (kind == "other" and type(value) is str):
            return quoted(text)
        return text

    def fields(values: Iterable[Any]) -> list[str]:
        values = list(values)
        types = set(map(type, values)) - {type(None)}
        if types == {int} and not null:
            return ["" if value is None else str(value) for value in values]
        if types <= _SAME_IF_EQUAL and kind != "json":
            known = {value: field(value) for value in set(values)}
            return [known[value] for value in values]
        return [field(value) for value in values]

    return fields


def line(fields: Iterable[str | None], delimiter: str, null: str = "") -> str:
    """One line of texts with its end; ``None`` is NULL."""
    write = writer("", "text", delimiter=delimiter, null=null, spreadsheet_safe=False)
    texts = write(None if field is None else str(field) for field in fields)
    if len(texts) == 1 and texts[0][:1] != '"' and any(mark in texts[0] for mark in OTHER_DELIMITERS):
        # Without quotes it would be taken for the names of several columns.
        texts = [f'"{texts[0]}"']
    return delimiter.join(texts) + "\n"


def is_misread(kind: KindName | None, value: Any) -> bool:
    """Whether a file would bring back another value, for it is none of its column's kind.

    SQLite lets other programs put any value into any column.
    """
    if type(value) is bytes:
        return kind not in ("bytes", "other", None)
    if type(value) is float:
        return kind == "text" and not math.isfinite(value)
    if type(value) is not str or kind is None or kind not in READERS:
        return False
    try:
        READERS[kind](value)
    except ValueError:
        return False
    return True


def _text(name: str, kind: KindName | None, value: Any) -> str:
    cause = None
    try:
        if kind == "json" or (type(value) in _NESTED and kind is None):
            return _json(value)
        as_text = _TEXTS.get(type(value))
        if as_text is not None and not is_misread(kind, value):
            return as_text(value)
        if is_array(value) and kind in ("bytes", None):
            return _hex(frame(value))
    except (TypeError, ValueError) as exc:
        cause = exc
    raise NotSupported(
        f"column {name!r} holds a {type(value).__name__}, for which CSV has no text that would be read back",
        hint=f'export a query that says how, such as SELECT CAST("{name}" AS TEXT) AS "{name}"',
    ) from cause


# Reading


def reader(column: Column, *, carries_types: bool) -> Read:
    """A function that reads one field of ``column``; it raises ``ValueError`` with what is wrong.

    ``carries_types`` says that values of a column without a known type keep types of their own.
    """
    name = column.codec.kind.name
    return _any if name == "other" and carries_types else READERS.get(name, str)


def _integer(text: str) -> int:
    try:
        if "_" not in text:
            return int(text)
    except ValueError:
        # pandas writes whole numbers with gaps as 1.0
        whole, _, zeros = text.partition(".")
        if zeros and not zeros.strip("0"):
            return _integer(whole)
    raise _refusal("no whole number")


def _float(text: str) -> float:
    number = None
    try:
        if "_" not in text:
            number = float(text)
    except ValueError:
        pass
    if number is None:
        raise _refusal("no number")
    if math.isinf(number) and any(map(str.isdigit, text)):
        raise _refusal("larger than a float can be")
    return number


def read_decimal(text: str) -> Decimal:
    try:
        if "_" not in text:
            return Decimal(text)
    except InvalidOperation:
        pass
    raise _refusal("no decimal number")


def _boolean(text: str) -> bool:
    found = _BOOLEANS.get(text.strip().casefold())
    if found is None:
        raise _refusal("neither true nor false")
    return found


def _timestamp(text: str) -> datetime:
    found = parse_timestamp(text)
    if found is None:
        raise _refusal("no timestamp such as YYYY-MM-DD HH:MM:SS")
    return found


def read_bytes(text: str) -> Any:
    try:
        if text.startswith("\\x"):
            value = bytes.fromhex(text[2:])
            return unframe(value) if has_mark(value) else value
    except (ValueError, DatabaseError):
        pass
    raise _refusal("no bytes, which are written as \\x and hexadecimal digits")


def _json_value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_not_json)
    except (ValueError, RecursionError):
        raise _refusal("no JSON") from None


def _not_json(name: str) -> NoReturn:
    raise ValueError(name)


def _any(text: str) -> Any:
    if type(text) is Quoted:
        return str(text)
    for read, write in ((int, str), (float, repr)):
        try:
            value = read(text)
        except ValueError:
            continue
        if write(value) == text:
            return value
    return read_bytes(text) if re.fullmatch(r"\\x(?:[0-9a-f]{2})*", text) else text


def _refusal(what: str) -> ValueRefused:
    return ValueRefused(f"is {what}")


READERS: dict[KindName, Read] = {
    "integer": _integer,
    "float": _float,
    "decimal": read_decimal,
    "boolean": _boolean,
    "timestamp": _timestamp,
    "timestamptz": _timestamp,
    "bytes": read_bytes,
    "json": _json_value,
}


# Reading a column at once. What is not as most of its kind are is a ``ValueError``, and is read one by one.


def _all_texts(texts: Texts, null: str | None) -> Sequence[Any]:
    if null is None:
        return [text if text is None else str(text) for text in texts]
    return [None if text == null else text for text in texts] if null in texts else texts


def _all_numbers(read: Read) -> ReadAll:
    def read_all(texts: Texts, null: str | None) -> Sequence[Any]:
        given: Sequence[Any] = texts
        if null in texts or None in texts:
            given = [text for text in texts if text is not None and text != null]
        if "_" in "".join(given):
            raise ValueError
        if given is texts:
            return list(map(read, given))
        return [None if text is None or text == null else read(text) for text in texts]

    return read_all


_read_floats = _all_numbers(float)


def _all_floats(texts: Texts, null: str | None) -> Sequence[Any]:
    found = _read_floats(texts, null)
    if math.inf in found or -math.inf in found:
        # As a word, or as a number that is too large: one by one they are told apart.
        raise ValueError
    return found


AT_ONCE: dict[KindName, ReadAll] = {
    "text": _all_texts,
    "integer": _all_numbers(int),
    "float": _all_floats,
}
