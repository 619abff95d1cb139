"""Floating-point numbers of 64 bits, or of 32 in an existing PostgreSQL column."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from holdfast.errors import ValueRefused
from holdfast.types.codec import Codec, plain, wrong_type
from holdfast.types.kinds import Kind


def portable(kind: Kind) -> Codec:
    """Take floats that SQLite keeps: it makes NULL of NaN, and loses the sign of -0.0."""

    def encode(value: Any) -> float | None:
        # True of every ordinary float: neither zero nor NaN.
        if type(value) is float and value and value == value:
            return value
        value = plain(value)
        return None if value is None else kept_by_sqlite(_float(value))

    decode = None if kind.affinity == "real" else _int_to_float
    return Codec(kind, frozenset(), encode, decode)


def native(kind: Kind) -> Codec:
    """Take every float; in a 32-bit column only those that come back from it as they are."""

    def encode(value: Any) -> float | None:
        if kind.bits == 32 and type(value).__name__ == "float32":
            # The shortest decimal that means it, which is how the server writes it, too.
            return float(str(value))
        value = plain(value)
        if value is None:
            return None
        number = _float(value)
        if kind.bits == 32:
            _check_32_bits(number)
        return number

    return Codec(kind, frozenset() if kind.bits == 32 else frozenset({float}), encode, None)


def kept_by_sqlite(number: float) -> float:
    """Return ``number``, or refuse the two floats that SQLite changes."""
    if number != number:
        raise ValueRefused("SQLite would store NaN as NULL", hint="store None")
    if number == 0.0 and math.copysign(1.0, number) < 0:
        raise ValueRefused(
            "SQLite would drop the sign of -0.0", hint="add 0.0 to it to drop the sign yourself"
        )
    return number


def _float(value: Any) -> float:
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int):
        return _exactly(value, "the integer is not exactly a 64-bit float")
    if isinstance(value, Decimal):
        return _exactly(value, "the Decimal is not exactly a 64-bit float")
    raise wrong_type(value, "a float", "convert it with float(value), or declare the column otherwise")


def _exactly(value: int | Decimal, reason: str) -> float:
    try:
        number = float(value)
        if number == value:
            return number
    except (OverflowError, ValueError):
        pass
    raise ValueRefused(reason, hint="round it with float(value), or declare the column NUMERIC")


def _check_32_bits(number: float) -> None:
    """Refuse a number of which the server, writing the shortest decimal for 32 bits, would make another."""
    import numpy as np

    with np.errstate(over="ignore"):
        shortest = float(str(np.float32(number)))
    if number == number and shortest != number:
        raise ValueRefused(
            "the float has more digits than a 32-bit column holds",
            hint="declare the column DOUBLE PRECISION, or round it with numpy.float32(value)",
        )


def _int_to_float(value: Any) -> Any:
    if type(value) is int:
        number = float(value)
        return number if number == value else value
    return value
