"""A number for what rows say, whatever their order and whichever engine they came from."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Values = Sequence[Any]
_MODULUS = 2**128


@dataclass(slots=True)
class Content:
    """The rows seen so far, and the sum of their hashes; only numbers of one process can be compared.

    Python's hash of a tuple is that of its values, and values of one kind that are equal have the same:
    1.50 and 1.5 as decimals, a moment in two zones. It is keyed where it is not that of a number. Numbers
    have the same hash modulo 2**61 - 1, and -1 has that of -2, so integers are summed up besides, and -1 is
    counted.
    """

    kinds: Sequence[str]
    rows: int = 0
    total: int = 0

    def add(self, columns: Sequence[Values], count: int) -> None:
        """Take in ``count`` rows, given as columns."""
        seen: list[Values] = []
        for place, (kind, values) in enumerate(zip(self.kinds, columns, strict=True), 1):
            form = _FORMS.get(kind)
            seen.append(values if form is None else form(values))
            if kind in _NUMBERS:
                self.total += place * (values.count(-1) + _sum_of_integers(values))
        self.total = (self.total + sum(map(hash, zip(*seen, strict=True)))) % _MODULUS
        self.rows += count


_NUMBERS = frozenset({"integer", "float", "decimal"})


def _sum_of_integers(values: Values) -> int:
    # SQLite's columns may hold anything, whatever they are declared as.
    return sum(value for value in values if type(value) is int)


def _floats(values: Values) -> Values:
    """NaN is hashed by what object it is."""
    return ["NaN" if value != value else value for value in values]


def _plain(value: Any) -> Any:
    if type(value) is float:
        return int(value) if value.is_integer() else value
    if type(value) is dict:
        return {name: _plain(one) if type(one) in _PARTS else one for name, one in value.items()}
    return [_plain(one) if type(one) in _PARTS else one for one in value] if type(value) is list else value


_PARTS = frozenset({float, dict, list})


_encode = json.JSONEncoder(sort_keys=True, default=repr).encode


# No value holds it: it parts the texts of many values that are written as one, which takes a third less time.
_BETWEEN = secrets.token_hex(16)
# How Python writes a float that is a whole number; looking for one in a text takes less time than in a value.
_find_whole = re.compile(r"[.]0(?![0-9])|e[+]").search


def json_texts(values: Values) -> list[str]:
    """JSON values as texts that are equal where they are, whatever the order of their keys."""
    spread: list[Any] = [_BETWEEN] * (2 * len(values) - 1)
    spread[::2] = values
    texts = _encode(spread)[1:-1].split(f', "{_BETWEEN}", ') if values else []
    for place, text in enumerate(texts):
        if (".0" in text or "e+" in text) and _find_whole(text):
            texts[place] = _encode(_plain(values[place]))
    return texts


def _bytes(values: Values) -> Values:
    return [bytes(value) if isinstance(value, (bytearray, memoryview)) else value for value in values]


def _others(values: Values) -> Values:
    return list(map(repr, values))


_FORMS: dict[str, Callable[[Values], Values]] = {
    "float": _floats,
    "decimal": _floats,
    "json": json_texts,
    "bytes": _bytes,
    "other": _others,
}
