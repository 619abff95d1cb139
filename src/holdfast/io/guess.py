"""Column types for data that comes without them: CSV text, and Python values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from holdfast.types.array import is_array
from holdfast.types.codec import INT64_MAX, INT64_MIN, plain
from holdfast.types.temporal import parse_date, parse_timestamp

_FLOAT_EXACT = 2**53
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE][+-][0-9]+)?")
_BOOLEANS = frozenset({"true", "false", "True", "False", "TRUE", "FALSE"})


@dataclass(slots=True)
class TextGuess:
    """The narrowest type that gives every text of a column back.

    A number must print as it was written: ``007``, ``+1``, ``1e5`` and long digits make the column TEXT.
    Zeros at the end are allowed where all numbers have as many decimals (``1.50``, ``2.25``), for then they
    tell nothing; ``1.9`` beside ``1.10`` are versions, and TEXT.
    """

    type: str | None = None
    _largest: int = 0
    _decimals: set[int] = field(default_factory=set)
    _ends_in_zero: bool = False

    def add(self, texts: list[str]) -> None:
        """Take more texts, NULLs left out."""
        if not texts or self.type == "TEXT":
            return
        if self.type is None:
            self.type = next((name for name in _ORDER if self._holds(name, texts)), "TEXT")
        elif not self._holds(self.type, texts):
            widens = self.type == "INTEGER" and self._largest <= _FLOAT_EXACT
            self.type = "REAL" if widens and self._widen(texts) else "TEXT"

    def result(self) -> str:
        """The type, after all texts were added; TEXT where there were none."""
        if self.type == "REAL" and self._ends_in_zero and len(self._decimals) > 1:
            return "TEXT"
        return self.type or "TEXT"

    def _holds(self, name: str, texts: list[str]) -> bool:
        if name == "INTEGER":
            return self._are_integers(texts)
        if name == "REAL":
            return self._are_floats(texts)
        return all(map(_CHECKS[name], texts))

    def _widen(self, texts: list[str]) -> bool:
        self._decimals.add(0)
        return self._are_floats(texts)

    def _are_integers(self, texts: list[str]) -> bool:
        try:
            numbers = list(map(int, texts))
        except ValueError:
            return False
        if list(map(str, numbers)) != texts or min(numbers) < INT64_MIN or max(numbers) > INT64_MAX:
            return False
        self._largest = max(self._largest, max(numbers), -min(numbers))
        return True

    def _are_floats(self, texts: list[str]) -> bool:
        decimals: set[int] = set()
        ends_in_zero = False
        for text in texts:
            parts = _NUMBER.fullmatch(text)
            if parts is None:
                return False
            number = float(text)
            printed = repr(number)
            digits = parts[1] or ""
            if text.startswith("-") and not number:
                return False
            if printed != text and printed != text + ".0" and not _same_number(text, printed):
                return False
            decimals.add(len(digits))
            ends_in_zero = ends_in_zero or (digits.endswith("0") and printed != text)
        self._decimals |= decimals
        self._ends_in_zero |= ends_in_zero
        return True


def _same_number(text: str, printed: str) -> bool:
    return printed != "inf" and Decimal(text) == Decimal(printed)


def _is_naive(text: str) -> bool:
    found = parse_timestamp(text)
    return found is not None and found.tzinfo is None and len(text) > 10


def _is_aware(text: str) -> bool:
    found = parse_timestamp(text)
    return found is not None and found.tzinfo is not None


_CHECKS: dict[str, Callable[[str], Any]] = {
    "BOOLEAN": _BOOLEANS.__contains__,
    "DATE": lambda text: parse_date(text) is not None,
    "TIMESTAMP": _is_naive,
    "TIMESTAMPTZ": _is_aware,
}
_ORDER = ("INTEGER", "REAL", *_CHECKS)

# A bool is an int and a datetime is a date, so the order matters.
_PYTHON: tuple[tuple[tuple[type, ...], str], ...] = (
    ((bool,), "BOOLEAN"),
    ((int,), "INTEGER"),
    ((float,), "REAL"),
    ((str,), "TEXT"),
    ((bytes, bytearray, memoryview), "BLOB"),
    ((dict, list), "JSON"),
    ((datetime,), "TIMESTAMP"),
    ((date,), "DATE"),
    ((time,), "TIME"),
    ((Decimal,), "NUMERIC"),
    ((UUID,), "UUID"),
)
_WIDER = {
    frozenset({"INTEGER", "REAL"}): "REAL",
    frozenset({"INTEGER", "NUMERIC"}): "NUMERIC",
}


def type_of_values(values: Iterable[Any]) -> str | None:
    """The type that holds all of ``values``, ``None`` if there are none but NULLs.

    Raises:
        TypeError: naming the Python types, if no type holds them all.
    """
    found: dict[str, str] = {}
    values = list(values)
    for value in _one_of_each(values):
        name = type(value).__name__
        found.setdefault(_type_of(value) or name, name)
    if not found:
        return None
    if len(found) == 1 and next(iter(found)) in _KNOWN:
        return next(iter(found))
    wider = _WIDER.get(frozenset(found))
    if wider is None:
        names = sorted(found.values())
        if len(set(names)) < len(names):
            # A datetime with a zone and one without have one name in Python.
            names = sorted(f"{name} ({kind})" for kind, name in found.items())
        raise TypeError(" and ".join(names))
    return wider


def _one_of_each(values: list[Any]) -> Iterable[Any]:
    """A value of each Python type, and all where the type alone does not tell: a datetime may have a zone."""
    by_type = {type(value): value for value in values}
    by_type.pop(type(None), None)
    if any(issubclass(found, datetime) for found in by_type):
        return (value for value in values if value is not None)
    return by_type.values()


def _type_of(value: Any) -> str | None:
    if is_array(value):
        return "BLOB"
    if not isinstance(value, _KNOWN_TO_PYTHON):
        value = plain(value)
    for types, name in _PYTHON:
        if isinstance(value, types):
            return "TIMESTAMPTZ" if isinstance(value, datetime) and value.utcoffset() is not None else name
    return None


_KNOWN_TO_PYTHON = tuple(kind for kinds, _ in _PYTHON for kind in kinds)
_KNOWN = frozenset({"TIMESTAMPTZ", *(name for _, name in _PYTHON)})
