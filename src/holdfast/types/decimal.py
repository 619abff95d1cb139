"""Exact decimal numbers; SQLite has none, so there only those go in that its numbers bring back."""

from __future__ import annotations

from decimal import Context, Decimal
from typing import Any

from holdfast.errors import ValueRefused
from holdfast.types.codec import INT64_MAX, INT64_MIN, Codec, plain, wrong_type
from holdfast.types.kinds import Kind

# PostgreSQL's numeric: digits before and after the point.
_MOST_BEFORE, _MOST_AFTER = 131_072, 16_383
_WIDE = Context(prec=1_000)


def portable(kind: Kind) -> Codec:
    """Store a number that SQLite keeps, read a ``Decimal`` with the declared scale."""
    unit = Decimal(1).scaleb(-kind.scale) if kind.scale is not None and kind.scale >= 0 else None

    def encode(value: Any) -> int | float | None:
        number = _decimal(value, kind)
        return None if number is None else as_sqlite_number(number)

    def decode(value: Any) -> Any:
        if type(value) is int:
            number = Decimal(value)
        elif type(value) is float:
            number = Decimal(repr(value))
        else:
            return value
        if unit is None or not number.is_finite():
            return number
        scaled = number.quantize(unit, context=_WIDE)
        return scaled if scaled == number else number

    return Codec(kind, frozenset(), encode, decode)


def native(kind: Kind) -> Codec:
    """Hand the driver a ``Decimal`` that the column holds without rounding."""

    def encode(value: Any) -> Decimal | None:
        return _decimal(value, kind)

    return Codec(kind, frozenset(), encode, None)


def as_sqlite_number(number: Decimal) -> int | float:
    """Return the int or float that stands for exactly this ``number``.

    Raises:
        ValueRefused: if there is none; a float carries 15 to 17 digits.
    """
    if not number.is_finite():
        raise _not_finite()
    if number.adjusted() < 20 and number == number.to_integral_value():
        whole = int(number)
        if INT64_MIN <= whole <= INT64_MAX:
            return whole
    nearest = float(number)
    if Decimal(repr(nearest)) == number:
        return nearest
    raise ValueRefused(
        "the number has more digits than SQLite keeps (15 to 17)",
        hint="declare the column TEXT, or use PostgreSQL",
    )


def _decimal(value: Any, kind: Kind) -> Decimal | None:
    if type(value) is not Decimal:
        value = plain(value)
        if value is None:
            return None
    if isinstance(value, Decimal):
        number = value if type(value) is Decimal else Decimal(value)
    elif isinstance(value, int):
        number = Decimal(int(value))
    elif isinstance(value, float):
        number = Decimal(float.__repr__(value))
    else:
        raise wrong_type(value, "a decimal", "pass Decimal(value)")
    if not number.is_finite():
        raise _not_finite()
    _check_digits(number, kind)
    return number


def _check_digits(number: Decimal, kind: Kind) -> None:
    if not number:
        return
    _, digits, exponent = number.as_tuple()
    after = -int(exponent)
    for digit in reversed(digits):
        if digit:
            break
        after -= 1
    before = number.adjusted() + 1
    if before > _MOST_BEFORE or after > _MOST_AFTER:
        raise ValueRefused("the number has more digits than any engine keeps", hint="declare the column TEXT")
    if kind.precision is None or kind.scale is None:
        return
    if after > kind.scale or before > kind.precision - kind.scale:
        raise ValueRefused(
            f"the number does not fit NUMERIC({kind.precision},{kind.scale}) without rounding",
            hint="round it with value.quantize(), or declare more digits",
        )


def _not_finite() -> ValueRefused:
    return ValueRefused(
        "NaN and Infinity are no decimal numbers here", hint="store None, or declare the column REAL"
    )
