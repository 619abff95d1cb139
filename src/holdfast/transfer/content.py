"""A number for what rows say, whatever their order and whichever engine they came from."""

from __future__ import annotations

import json
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
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value


_encode = json.JSONEncoder(sort_keys=True, default=repr).encode


def json_texts(values: Values) -> list[str]:
    """JSON values as texts that are equal where they are, whatever the order of their keys."""
    return [_encode(_plain(value)) for value in values]


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
