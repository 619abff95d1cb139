"""JSON Lines and JSON arrays as Python values one at a time, however long the file is."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from holdfast.errors import ImportFailed
from holdfast.io.files import reading

Item = tuple[int, Any]
"""A value, and the number of its line (JSON Lines) or its place in the array, from 1."""

Refuse = Callable[[int, str, str], None]
"""Takes the place of a text, what is wrong with it, and the text."""

_BLOCK = 1 << 18
_MOST_OBJECT = 1 << 28
_SPACE = re.compile(r"[ \t\r\n]*")
# The longest word or escape that a block can end in the middle of: "-Infinity", "\\ud83d\\udf0a".
_LONGEST_WORD = 16
_MOST_DIGITS = 17


def decoder(*, exact: bool | None) -> json.JSONDecoder:
    """A strict decoder; ``exact`` reads numbers with a point as ``Decimal``, ``None`` only where need be."""
    return json.JSONDecoder(
        parse_float=_nearest if exact is None else _decimal if exact else None,
        parse_constant=_no_constant,
        object_pairs_hook=_distinct,
    )


def lines(path: Path, name: str, decode: json.JSONDecoder, refuse: Refuse | None = None) -> Iterator[Item]:
    """The values of a JSON Lines file; lines without any are passed over.

    A line that is no JSON goes to ``refuse``, if that is given.

    Raises:
        ImportFailed: if the file is empty, is not UTF-8, or a line is no JSON.
    """
    offset = number = 0
    with reading(path) as file:
        for number, raw in enumerate(file, 1):
            text = _text(raw, offset, name)
            offset += len(raw)
            if number == 1:
                text = text.removeprefix("\ufeff")
            if not text.isspace() and text:
                try:
                    value = decode.decode(text)
                except (ValueError, RecursionError) as exc:
                    if refuse is None:
                        raise ImportFailed(f"{name}, line {number} is no JSON: {_reason(exc)}") from exc
                    refuse(number, f"is no JSON: {_reason(exc)}", text.rstrip("\r\n"))
                else:
                    yield number, value
    if not number:
        raise _empty(name)


def array(path: Path, name: str, decode: json.JSONDecoder, refuse: Refuse | None = None) -> Iterator[Item]:
    """The values of one JSON array, of which no more than one and a block are in memory.

    ``refuse`` is never called: behind what is no JSON nobody knows where the next object begins.

    Raises:
        ImportFailed: if the file is empty, is not UTF-8, or is no JSON array.
    """
    with reading(path) as file:
        window = _Window(name, _blocks(file, name))
        first = window.next_character()
        if not first:
            raise _empty(name)
        if first != "[":
            raise ImportFailed(
                f"{name} does not start with an array of objects",
                hint="if each line is an object of its own, give format='jsonl'",
            )
        window.at += 1
        number = 0
        if window.next_character() != "]":
            while True:
                number += 1
                yield number, window.value(decode, number)
                mark = window.next_character()
                if mark == "]":
                    break
                if mark != ",":
                    window.fail(number, "a comma or ] is missing after it" if mark else "the file ends there")
                window.at += 1
        window.at += 1
        if window.next_character():
            raise ImportFailed(f"{name} goes on after its array", hint="keep one array in a file")


class _Window:
    """The part of a text that is looked at, and where."""

    def __init__(self, name: str, blocks: Iterator[str]) -> None:
        self.name = name
        self.text = ""
        self.at = 0
        self._blocks = blocks

    def more(self) -> bool:
        """Let go of what was read and take another block, at least as long as what is left."""
        rest = self.text[self.at :]
        taken: list[str] = []
        wanted = max(1, len(rest))
        while wanted > 0 and (block := next(self._blocks, "")):
            taken.append(block)
            wanted -= len(block)
        self.text, self.at = rest + "".join(taken), 0
        return bool(taken)

    def next_character(self) -> str:
        """The next character that is no space, or nothing at the end."""
        while True:
            found = _SPACE.match(self.text, self.at)
            self.at = found.end() if found else self.at
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def value(self, decode: json.JSONDecoder, number: int) -> Any:
        self.next_character()
        while True:
            try:
                value, end = decode.raw_decode(self.text, self.at)
            except json.JSONDecodeError as exc:
                cut = exc.pos >= len(self.text) - _LONGEST_WORD or exc.msg.startswith("Unterminated")
                if len(self.text) - self.at > _MOST_OBJECT:
                    self.fail(number, f"it is longer than {_MOST_OBJECT >> 20} MiB", exc)
                if not (cut and self.more()):
                    self.fail(number, f"it is no JSON: {exc.msg}", exc)
            except (ValueError, RecursionError) as exc:
                self.fail(number, f"it is no JSON: {_reason(exc)}", exc)
            else:
                self.at = end
                return value

    def fail(self, number: int, what: str, cause: Exception | None = None) -> NoReturn:
        raise ImportFailed(f"{self.name}, object {number}: {what}") from cause


def _blocks(file: BinaryIO, name: str) -> Iterator[str]:
    decode = codecs.getincrementaldecoder("utf-8")()
    read = 0
    while True:
        block = file.read(_BLOCK)
        kept = len(decode.getstate()[0])
        try:
            text = decode.decode(block, final=not block)
        except UnicodeDecodeError as exc:
            raise _no_text(name, read - kept + exc.start) from exc
        yield text.removeprefix("\ufeff") if read == 0 else text
        if not block:
            return
        read += len(block)


def _text(raw: bytes, offset: int, name: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as exc:
        raise _no_text(name, offset + exc.start) from exc


def _reason(exc: Exception) -> str:
    if isinstance(exc, json.JSONDecodeError):
        return f"{exc.msg} at character {exc.colno}"
    return str(exc) if isinstance(exc, _Fault) else "a number or a nesting is too large"


class _Fault(ValueError):
    """What JSON text may hold by the letter of the standard library, and not here."""


def _nearest(text: str) -> float | Decimal:
    """A float, unless there are more digits than any float is written with."""
    digits = text.lower().partition("e")[0].lstrip("-").replace(".", "").strip("0")
    return float(text) if len(digits) <= _MOST_DIGITS else _decimal(text)


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise _Fault("a number is too large") from None


def _no_constant(name: str) -> NoReturn:
    raise _Fault(f'{name} is no JSON; write null, or "{name}" for a REAL column')


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Fault("an object names a key twice")
    return found


def _empty(name: str) -> ImportFailed:
    return ImportFailed(f"{name} is empty", hint="an empty table is written as one empty line, or as []")


def _no_text(name: str, at: int) -> ImportFailed:
    return ImportFailed(f"{name} is not utf-8 text at byte {at}", hint="convert it to UTF-8 first")
