"""A number for what rows say, whatever their order and whichever engine they came from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import blake2b
from typing import Any


@dataclass(slots=True)
class Content:
    """The rows seen so far, and the sum of their digests modulo 2**128.

    Python values that are equal in every respect have the same ``repr``; where both engines may give equal
    values in different forms, ``forms`` has the function that makes one of them.
    """

    forms: Sequence[tuple[int, Callable[[Any], Any]]]
    rows: int = 0
    total: int = 0

    def add(self, row: tuple[Any, ...]) -> None:
        seen = row
        if self.forms:
            values = list(row)
            for place, form in self.forms:
                if values[place] is not None:
                    values[place] = form(values[place])
            seen = tuple(values)
        digest = blake2b(repr(seen).encode("utf-8", "surrogatepass"), digest_size=16).digest()
        self.total = (self.total + int.from_bytes(digest, "big")) % 2**128
        self.rows += 1


def content_for(kinds: Iterable[str]) -> Content:
    """An empty :class:`Content` of rows whose columns are of these kinds."""
    return Content([(place, _FORMS[kind]) for place, kind in enumerate(kinds) if kind in _FORMS])


def _decimal(value: Any) -> Any:
    if not isinstance(value, Decimal) or not value.is_finite():
        return str(value)
    sign, digits, exponent = value.as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    stripped = text.rstrip("0")
    assert isinstance(exponent, int)
    return (sign, stripped, exponent + len(text) - len(stripped)) if stripped else 0


def _moment(value: Any) -> Any:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _json(value: Any) -> str:
    return json.dumps(_plain(value), sort_keys=True, default=repr)


_FORMS: dict[str, Callable[[Any], Any]] = {
    "decimal": _decimal,
    "timestamptz": _moment,
    "json": _json,
    "bytes": bytes,
}
