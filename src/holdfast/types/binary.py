"""Bytes, and NumPy arrays in their frame; the same on every engine."""

from __future__ import annotations

from typing import Any

from holdfast.errors import ValueRefused
from holdfast.types.array import Framed, frame, has_mark, is_array, unframe
from holdfast.types.codec import Codec, plain, wrong_type
from holdfast.types.kinds import Kind


def codec(kind: Kind) -> Codec:
    """Take bytes and arrays, give each back as what it was."""
    return Codec(kind, frozenset(), _encode, _decode)


def as_bytes(value: bytes | bytearray | memoryview) -> bytes:
    """Return ``value`` as bytes; a memoryview of numbers would not equal them."""
    if isinstance(value, memoryview) and (value.format != "B" or value.ndim != 1):
        raise ValueRefused("a memoryview of something else than bytes", hint="pass value.tobytes()")
    return bytes(value)


def _encode(value: Any) -> bytes | None:
    if type(value) is not bytes:
        if type(value) is Framed:
            return value.joined()
        if is_array(value):
            return frame(value)
        value = plain(value)
        if value is None:
            return None
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise wrong_type(value, "a bytes", _hint(value))
        value = as_bytes(value)
    if has_mark(value):
        raise ValueRefused(
            "the bytes carry the mark of a stored array and would come back as one",
            hint="pass the array itself, or prefix the bytes",
        )
    return value  # type: ignore[no-any-return]


def _decode(value: Any) -> Any:
    return unframe(value) if type(value) is bytes and has_mark(value) else value


def _hint(value: Any) -> str:
    if isinstance(value, str):
        return "pass value.encode()"
    if isinstance(value, (list, tuple, int, float)):
        return "pass numpy.asarray(value), or declare the column otherwise"
    return "pass bytes or a NumPy array"
