"""JSON: a value goes in only if its text brings back an equal one.

PostgreSQL's ``jsonb`` keeps numbers as ``numeric``: it has no -0.0, and gives ``1e+22`` back as an
integer, so such floats are written with all their digits and a ``.0``. SQLite has no JSON type: a JSON
column there makes a number of a text that looks like one, so a number that stands alone is stored as the
number it is.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NoReturn

from holdfast.errors import ValueRefused
from holdfast.types.codec import INT64_MAX, INT64_MIN, Codec, plain
from holdfast.types.floating import kept_by_sqlite
from holdfast.types.kinds import Kind
from holdfast.types.text import storable

_dumps = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_STRING = r'"(?:[^"\\]|\\.)*"'
_LARGE_FLOAT = re.compile(rf"{_STRING}|-?[0-9]+(?:\.[0-9]+)?e\+[0-9]+")
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SURE = (str, int, float, bool, type(None))


def portable(kind: Kind) -> Codec:
    """Store JSON text; stored text that is no JSON stays text."""
    return Codec(kind, frozenset(), _encode_portable, decoded)


def native(kind: Kind) -> Codec:
    """Hand the driver JSON text; the server knows the column's type, the driver reads it back."""
    return Codec(kind, frozenset(), json_text_native, None)


def json_text(value: Any) -> str:
    """Return the JSON text of a dict, list, str, int, float or bool.

    Raises:
        ValueRefused: if reading that text would not give an equal value; the message says where.
    """
    if type(value) is dict and not value:
        return "{}"
    if not isinstance(value, (dict, list, str, int, float)):
        _refuse(value)
    try:
        text = _dumps(value)
        if not text.isascii():
            text.encode()
        same = _loads(text) == value
    except (TypeError, ValueError, RecursionError):
        _refuse(value)
    if not same:
        _refuse(value)
    if "\\u0000" in text:
        _check_leaves(value)
    return text


def json_text_native(value: Any) -> str | None:
    """Return JSON text that ``jsonb`` brings back equal."""
    value = plain(value)
    if value is None:
        return None
    text = json_text(value)
    if "e+" in text:
        text = _LARGE_FLOAT.sub(_all_digits, text)
    if "-0.0" in text:
        for path, leaf in _walk(value):
            if isinstance(leaf, float) and leaf == 0.0 and math.copysign(1.0, leaf) < 0:
                raise ValueRefused(f"jsonb would drop the sign of -0.0 at {path}", hint="add 0.0 to it")
    return text


def _encode_portable(value: Any) -> Any:
    if type(value) is not dict and type(value) is not list:
        value = plain(value)
        if value is None:
            return None
        if isinstance(value, float):
            _check_leaves(value)
            return kept_by_sqlite(float(value))
        if isinstance(value, int) and not isinstance(value, bool):
            if not INT64_MIN <= value <= INT64_MAX:
                raise ValueRefused(
                    "a JSON integer that stands alone does not fit 64 bits", hint="put it in a list or a dict"
                )
            return int(value)
    return json_text(value)


def decoded(value: Any) -> Any:
    """The value of a JSON text; text that is no JSON stays text."""
    if type(value) is str:
        # Most texts are one value without spaces around it: that is found in two thirds of the time.
        try:
            found, end = _begin(value)
        except (ValueError, RecursionError):
            end = -1
        if end == len(value):
            return found
        try:
            return _loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_decoder = json.JSONDecoder(parse_constant=_no_constant)
_loads, _begin = _decoder.decode, _decoder.raw_decode


def _all_digits(token: re.Match[str]) -> str:
    text = token[0]
    return text if text.startswith('"') else f"{Decimal(text):f}.0"


def _check_leaves(value: Any) -> None:
    for path, leaf in _walk(value):
        fault = _fault_of_leaf(leaf)
        if fault is not None:
            reason, hint = fault
            raise ValueRefused(f"{reason}, at {path}", hint=hint)


def _refuse(value: Any) -> NoReturn:
    _check_leaves(value)
    raise ValueRefused(
        "the value would not come back equal from JSON",
        hint="it is too deep, contains itself or holds a class of its own; pass plain dicts and lists",
    )


def _fault_of_leaf(leaf: Any) -> tuple[str, str] | None:
    """Say what is wrong with a part of a value, or ``None``."""
    name = type(leaf).__name__
    if isinstance(leaf, str):
        try:
            storable(leaf)
        except ValueRefused as refusal:
            return refusal.message, refusal.hint or ""
        return None
    if isinstance(leaf, _Key):
        return "a JSON key that is no text", "pass str(key)"
    if isinstance(leaf, float) and not math.isfinite(leaf):
        return "JSON has no NaN and no Infinity", "store None"
    if isinstance(leaf, _SURE):
        return None
    if isinstance(leaf, tuple):
        return "a tuple would come back as a list", "pass list(value)"
    if isinstance(leaf, (set, frozenset)):
        return f"JSON has no {name}", "pass sorted(value) or list(value)"
    if hasattr(leaf, "tolist"):
        return f"JSON has no {name}", "pass value.tolist(), or store an array in a BLOB column"
    if hasattr(leaf, "isoformat"):
        return f"JSON has no {name}", "pass value.isoformat()"
    return f"JSON has no {name}", "pass str(value), or a dict of plain values"


class _Key:
    """Stands for a dict key that is no text."""


def _walk(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield every leaf with its path, without recursion and without following a cycle."""
    seen: set[int] = set()
    stack: list[tuple[str, Any]] = [("$", value)]
    while stack:
        path, node = stack.pop()
        if not isinstance(node, (dict, list)):
            yield path, node
            continue
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, list):
            stack.extend((f"{path}[{i}]", item) for i, item in reversed(list(enumerate(node))))
            continue
        for key in node:
            yield path, key if isinstance(key, str) else _Key()
        stack.extend((path + _step(key), item) for key, item in reversed(list(node.items())))


def _step(key: Any) -> str:
    return f".{key}" if isinstance(key, str) and _PLAIN_KEY.fullmatch(key) else "[a key]"
