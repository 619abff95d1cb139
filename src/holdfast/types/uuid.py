"""UUIDs; SQLite keeps them as lower-case text with hyphens."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from holdfast.errors import ValueRefused
from holdfast.types.codec import Codec, plain, wrong_type
from holdfast.types.kinds import Kind


def portable(kind: Kind) -> Codec:
    """Store text, read a ``UUID`` back; text that is no UUID stays text."""

    def encode(value: Any) -> str | None:
        found = _encode(value)
        return None if found is None else str(found)

    return Codec(kind, frozenset(), encode, _decode)


def native(kind: Kind) -> Codec:
    """Let the driver do it."""
    return Codec(kind, frozenset({UUID}), _encode, None)


def _encode(value: Any) -> UUID | None:
    value = plain(value)
    if value is None or isinstance(value, UUID):
        return value
    if isinstance(value, str):
        try:
            return UUID(value)
        except ValueError:
            raise ValueRefused(
                "the text is no UUID", hint="pass a uuid.UUID, or 32 hexadecimal digits"
            ) from None
    raise wrong_type(value, "a UUID", "pass a uuid.UUID or its text")


def _decode(value: Any) -> Any:
    if type(value) is str:
        try:
            return UUID(value)
        except ValueError:
            return value
    return value
