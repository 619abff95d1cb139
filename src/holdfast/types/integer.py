"""Whole numbers of 16, 32 or 64 bits."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from holdfast.errors import ValueRefused
from holdfast.types.codec import Codec, plain, wrong_type
from holdfast.types.kinds import Kind

_FLOAT_EXACT = 2**53


def codec(kind: Kind) -> Codec:
    """Take whole numbers that fit; both drivers raise by themselves on an ``int`` beyond 64 bits."""
    bits = kind.bits or 64
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def encode(value: Any) -> int | None:
        value = plain(value)
        if value is None:
            return None
        number = _whole(value)
        if not low <= number <= high:
            raise ValueRefused(f"the number does not fit {bits} bits", hint=_wider(bits))
        return number

    return Codec(kind, frozenset({int}) if bits == 64 else frozenset(), encode, None)


def _whole(value: Any) -> int:
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if value.is_integer() and abs(value) <= _FLOAT_EXACT:
            return int(value)
        raise ValueRefused(
            "the float is no whole number of at most 2**53", hint="round it first, or declare the column REAL"
        )
    if isinstance(value, Decimal):
        # A huge exponent would make int() build a number of as many digits.
        if value.is_finite() and value.adjusted() < 20 and value == value.to_integral_value():
            return int(value)
        raise ValueRefused(
            "the Decimal is no whole number that fits", hint="round it first, or declare the column NUMERIC"
        )
    raise wrong_type(value, "an integer", "convert it with int(value), or declare the column otherwise")


def _wider(bits: int) -> str:
    return "declare the column BIGINT" if bits < 64 else "declare the column NUMERIC or TEXT"
