"""A number of 64 bits for what each row says, whichever engine it came from.

Rows that are equal have the same number; two others have it by a chance of 1 in 2**64. Such numbers are
keyed: those of one process compare, those of two do not.
"""

from __future__ import annotations

import secrets
from array import array
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

import numpy as np

from holdfast.transfer.content import json_texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from holdfast.types import Kind

    Numbers: TypeAlias = NDArray[np.uint64]

Values = Sequence[Any]
Form = Callable[[Values], "Numbers"]
"""How the values of a column are numbered: those that count as equal alike."""
_KEY, _NULL = np.uint64(secrets.randbits(64)), np.uint64(secrets.randbits(64))
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_NUMERIC = frozenset({"integer", "float", "decimal"})


def form_of(one: Kind, other: Kind) -> Form | None:
    """How two columns are compared; ``None`` if they cannot be."""
    if one.name == other.name:
        return _FORMS[one.name]
    return _NUMBER if {one.name, other.name} <= _NUMERIC else None


def digests(forms: Sequence[Form], columns: Sequence[Values]) -> Numbers:
    """The numbers of rows that are given as columns."""
    total = np.full(len(columns[0]), _KEY)
    for form, values in zip(forms, columns, strict=True):
        total ^= form(values)
        # The last step of SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number
        # generators", 2014. Every bit of what came before changes half of the bits.
        total ^= total >> np.uint64(30)
        total *= _FIRST
        total ^= total >> np.uint64(27)
        total *= _SECOND
        total ^= total >> np.uint64(31)
    return total


def _as_they_are(values: Values) -> Values:
    return values


def _odd(value: Any) -> int:
    """SQLite's columns may hold anything, whatever they are declared as."""
    return hash((type(value).__name__, repr(value)))


def _hashing(*expected: type, plain: Callable[[Values], Values] = _as_they_are) -> Form:
    usual = frozenset({*expected, type(None)})

    def numbers(values: Values) -> Numbers:
        values = plain(values)
        if usual.issuperset(map(type, values)):
            found: Iterable[int] = map(hash, values)
        else:
            found = (hash(value) if type(value) in usual else _odd(value) for value in values)
        return np.fromiter(found, np.int64, len(values)).view(np.uint64)

    return numbers


def _where_usual(values: Values, usual: type, pack: Callable[[Values], Numbers]) -> Numbers:
    """What ``pack`` makes of the values of a type, among NULLs and others."""
    found = pack([value if type(value) is usual else usual() for value in values])
    for place, value in enumerate(values):
        if value is None:
            found[place] = _NULL
        elif type(value) is not usual:
            found[place] = np.int64(_odd(value)).view(np.uint64)
    return found


def _packed_integers(values: Values) -> Numbers:
    return np.array(array("q", values)).view(np.uint64)


def _packed_floats(values: Values) -> Numbers:
    # Without the sign of zero, and one NaN.
    floats = np.array(array("d", values)) + 0.0
    floats[np.isnan(floats)] = np.nan
    return floats.view(np.uint64)


def _integers(values: Values) -> Numbers:
    try:
        return _packed_integers(values)
    except TypeError:
        return _where_usual(_whole(values), int, _packed_integers)


def _whole(values: Values) -> Values:
    """True is 1 here."""
    return [int(value) if type(value) is bool else value for value in values]


def _floats(values: Values) -> Numbers:
    if {float}.issuperset(map(type, values)):
        return _packed_floats(values)
    return _where_usual(values, float, _packed_floats)


def _number_texts(values: Values) -> Values:
    return [_number_text(value) if value is not None else None for value in values]


def _number_text(value: Any) -> str:
    """All the digits of a number: 1, 1.0 and Decimal("1.00") are one."""
    if not isinstance(value, (int, float, Decimal)):
        return repr(value)
    exact = Decimal(value)
    if not exact.is_finite():
        return "NaN" if exact.is_nan() else str(exact)
    text = f"{exact:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _uuids(values: Values) -> Values:
    return [value.bytes if type(value) is UUID else value for value in values]


def _bytes(values: Values) -> Values:
    return [bytes(value) if isinstance(value, (bytearray, memoryview)) else value for value in values]


_NUMBER = _hashing(str, plain=_number_texts)
_FORMS: dict[str, Form] = {
    "integer": _integers,
    "boolean": _integers,
    "float": _floats,
    "decimal": _NUMBER,
    "text": _hashing(str),
    "date": _hashing(date),
    "time": _hashing(time),
    "timestamp": _hashing(datetime),
    "timestamptz": _hashing(datetime),
    "json": _hashing(str, plain=json_texts),
    "bytes": _hashing(bytes, plain=_bytes),
    "uuid": _hashing(bytes, plain=_uuids),
    "other": _hashing(str, plain=lambda values: list(map(repr, values))),
}
TEXT = _FORMS["text"]
