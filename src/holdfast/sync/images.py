"""Images of rows as text: the same for the same values, whichever engine they came from."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from holdfast.sync.merge import Image

_READ: Mapping[str, Callable[[Any], Any]] = {
    "bytes": b64decode,
    "json": lambda value: value,
    "float": float,
    "Decimal": Decimal,
    "UUID": UUID,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timedelta": lambda parts: timedelta(*parts),
}


def as_text(image: Image) -> str | None:
    """An image as JSON; what JSON has not is an object that names its type.

    >>> from decimal import Decimal
    >>> as_text({"a": Decimal("1.50")})
    '{"a":{"Decimal":"1.50"}}'
    """
    if image is None:
        return None
    packed = {name: _packed(value) for name, value in image.items()}
    return json.dumps(packed, ensure_ascii=False, separators=(",", ":"))


def of_text(text: str | None) -> dict[str, Any] | None:
    """The image that :func:`as_text` wrote."""
    return None if text is None else {name: _unpacked(value) for name, value in json.loads(text).items()}


def _packed(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else {"float": repr(value)}
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"bytes": b64encode(value).decode()}
    if isinstance(value, (dict, list)):
        return {"json": value}
    if isinstance(value, (date, time)):
        return {type(value).__name__: value.isoformat()}
    if isinstance(value, timedelta):
        return {"timedelta": [value.days, value.seconds, value.microseconds]}
    return {type(value).__name__: str(value)}


def _unpacked(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, given),) = value.items()
    return _READ[kind](given)
