"""Text, with the two things that no engine keeps (NUL, lone surrogates) refused."""

from __future__ import annotations

import re
from datetime import date, time
from typing import Any

from holdfast.errors import ValueRefused
from holdfast.types.codec import Codec, plain, wrong_type
from holdfast.types.kinds import Affinity, Kind

# What SQLite reads as a number when a column's affinity asks for one.
_NUMBER = re.compile(r"[ \t-\r]*[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[ \t-\r]*")


def portable(kind: Kind) -> Codec:
    """Take text that the column's affinity leaves alone."""
    checked = _encoder(kind)
    if kind.affinity in ("text", "blob"):
        return Codec(kind, frozenset(), checked, None)

    def encode(value: Any) -> str | None:
        text = checked(value)
        return None if text is None else kept_as_text(text, kind.affinity)

    return Codec(kind, frozenset(), encode, None)


def native(kind: Kind) -> Codec:
    """Take text; PostgreSQL would cut or pad what does not fit, so that is refused."""
    return Codec(kind, frozenset(), _encoder(kind), None)


def storable(text: str) -> str:
    """Return ``text``, or refuse what one of the engines cannot store."""
    if "\0" in text:
        raise ValueRefused(
            "the text holds a NUL character", hint="remove it, or store bytes in a BLOB column"
        )
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueRefused(
                "the text holds a lone surrogate, which is no valid Unicode",
                hint="decode the source with errors='replace', or store bytes in a BLOB column",
            ) from None
    return text


def kept_as_text(text: str, affinity: Affinity) -> str:
    """Return ``text``, or refuse what SQLite would turn into a number in a column of that affinity."""
    if affinity not in ("text", "blob") and _NUMBER.fullmatch(text):
        raise ValueRefused(
            "the text would become a number in a column of this type", hint="declare the column TEXT"
        )
    return text


def _encoder(kind: Kind) -> Any:
    length, fixed = kind.length, kind.fixed

    def encode(value: Any) -> str | None:
        if type(value) is not str:
            value = _text(value)
            if value is None:
                return None
        if "\0" in value or not value.isascii():
            storable(value)
        return value  # type: ignore[no-any-return]

    if length is None:
        return encode

    def encode_sized(value: Any) -> str | None:
        text = encode(value)
        if text is None or len(text) == length or (len(text) < length and not fixed):
            return text
        if fixed:
            raise ValueRefused(
                f"CHAR({length}) holds exactly {length} characters and the text has another length",
                hint=f"declare the column VARCHAR({length}) or TEXT",
            )
        raise ValueRefused(f"the text is longer than {length} characters", hint="declare the column TEXT")

    return encode_sized


def _text(value: Any) -> str | None:
    value = plain(value)
    if value is None:
        return None
    if isinstance(value, str):
        # str(value) of an enumeration is its name; this is its value.
        return str.__str__(value)
    if isinstance(value, (date, time)):
        hint = "pass value.isoformat(), or declare the column TIMESTAMP, DATE or TIME"
    elif isinstance(value, (dict, list, tuple)):
        hint = "declare the column JSON, or pass json.dumps(value)"
    elif isinstance(value, (bytes, bytearray, memoryview)):
        hint = "pass value.decode(), or declare the column BLOB"
    elif type(value).__name__ == "ndarray":
        hint = "declare the column BLOB"
    else:
        hint = "pass str(value), or declare the column otherwise"
    raise wrong_type(value, "a text", hint)
