"""Columns whose type the house does not know, and parameters of free SQL, which have no column."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from holdfast.errors import ValueRefused
from holdfast.types.array import frame, is_array
from holdfast.types.binary import as_bytes
from holdfast.types.codec import INT64_MAX, INT64_MIN, Codec, plain, wrong_type
from holdfast.types.decimal import as_sqlite_number
from holdfast.types.floating import kept_by_sqlite
from holdfast.types.json import json_text, json_text_native
from holdfast.types.kinds import Kind
from holdfast.types.temporal import in_utc
from holdfast.types.text import kept_as_text, storable

_ANY = Kind("other")
# What psycopg adapts and PostgreSQL checks by itself.
_NATIVE_SAFE = frozenset({int, float, bool, bytes, Decimal, date, datetime, time, UUID})


def portable(kind: Kind) -> Codec:
    """Take numbers, text and bytes that the column's affinity brings back equal."""

    def encode(value: Any) -> Any:
        value = plain(value)
        if isinstance(value, str):
            return kept_as_text(storable(str.__str__(value)), kind.affinity)
        if value is None or isinstance(value, (int, float, bytes, bytearray, memoryview)):
            return _simple(value, signed_zero=False)
        raise wrong_type(value, "an untyped", "declare the column with a type that holds it")

    return Codec(kind, frozenset(), encode, None)


def native(kind: Kind) -> Codec:
    """Hand on whatever the driver takes: lists, ranges, addresses, arrays it has an adapter for."""
    return Codec(kind, _NATIVE_SAFE, _encode_native, None)


def parameter_portable() -> Codec:
    """Give a value of free SQL the form in which a column of its type would store it."""
    return Codec(_ANY, frozenset({int, bool, bytes}), _parameter, None)


def parameter_native() -> Codec:
    """Hand a value of free SQL to the driver; a dict, and a list with dicts, as JSON text."""
    return Codec(_ANY, _NATIVE_SAFE, _parameter_native, None)


def _parameter(value: Any) -> Any:
    if type(value) is str:
        return storable(value)
    if type(value) is float and value and value == value:
        return value
    if is_array(value):
        return frame(value)
    value = plain(value)
    if isinstance(value, str):
        return storable(str.__str__(value))
    if value is None or isinstance(value, (int, float, bytes, bytearray, memoryview)):
        return _simple(value, signed_zero=True)
    if isinstance(value, datetime):
        return (value if value.utcoffset() is None else in_utc(value)).isoformat(" ")
    if isinstance(value, date) or (isinstance(value, time) and value.tzinfo is None):
        return value.isoformat()
    if isinstance(value, Decimal):
        return as_sqlite_number(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, dict):
        return json_text(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        raise ValueRefused(
            f"a {type(value).__name__} cannot be one parameter here: `IN (?)` would find nothing",
            hint="use a dict filter, {'id': [1, 2]}, or json.dumps(value) with json_each(?)",
        )
    raise ValueRefused(
        f"a {type(value).__name__} cannot be a parameter",
        hint="pass a number, text, bytes, a date, time or datetime, Decimal, UUID, dict or NumPy array",
    )


def _parameter_native(value: Any) -> Any:
    return frame(value) if is_array(value) else _encode_native(value)


def _encode_native(value: Any) -> Any:
    if type(value) is str:
        return storable(value)
    value = plain(value)
    if isinstance(value, str):
        return storable(str.__str__(value))
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value)):
        return json_text_native(value)
    return value


def _simple(value: Any, *, signed_zero: bool) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        if not INT64_MIN <= value <= INT64_MAX:
            raise ValueRefused("the number does not fit 64 bits", hint="pass str(value), for a TEXT column")
        return int(value)
    if isinstance(value, float):
        return value + 0.0 if signed_zero and value == 0.0 else kept_by_sqlite(float(value))
    return as_bytes(value)
