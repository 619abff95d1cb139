"""True and false; SQLite keeps them as 1 and 0."""

from __future__ import annotations

from typing import Any

from holdfast.types.codec import Codec, plain, wrong_type
from holdfast.types.kinds import Kind

_BY_NUMBER = {0: False, 1: True}


def portable(kind: Kind) -> Codec:
    """Read 0 and 1 back as bool; whatever else is stored there stays as it is."""
    return Codec(kind, frozenset({bool}), _encode, _decode)


def native(kind: Kind) -> Codec:
    """Let the driver do it."""
    return Codec(kind, frozenset({bool}), _encode, None)


def _encode(value: Any) -> bool | None:
    value = plain(value)
    if value is None:
        return None
    if isinstance(value, int) and value in _BY_NUMBER:
        return bool(value)
    raise wrong_type(value, "a boolean", "pass True, False, 0 or 1")


def _decode(value: Any) -> Any:
    return _BY_NUMBER.get(value, value) if type(value) is int else value
