"""Conditions on the keys of a JSON column: values compare by their type, and a key may be any text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from holdfast.engines.base import Fragment, Scalar

_TYPES = {bool: "'true', 'false'", str: "'text'", int: "'integer', 'real'", float: "'integer', 'real'"}


def _some(column: str, key: str, condition: str, values: Sequence[Scalar] = ()) -> Fragment:
    sql = f"EXISTS (SELECT 1 FROM json_each({column}) AS e WHERE e.key = ? AND ({condition}))"
    return sql, [key, *values]


_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def among(column: str, key: str, values: Sequence[Scalar]) -> Fragment:
    """The key's value is one of ``values``."""
    parts: list[str] = []
    given: list[Any] = []
    for kinds, types in (
        ((bool,), "'true', 'false'"),
        ((str,), "'text'"),
        ((int, float), "'integer', 'real'"),
    ):
        some = [value for value in values if type(value) in kinds]
        if some:
            marks = ", ".join("?" * len(some))
            if _PLAIN.fullmatch(key):
                # By its path, where that needs no quoting: faster, and the values decide first.
                parts.append(
                    f"(json_extract({column}, ?) IN ({marks}) AND json_type({column}, ?) IN ({types}))"
                )
                given += [f"$.{key}", *some, f"$.{key}"]
            else:
                parts.append(f"(e.type IN ({types}) AND e.atom IN ({marks}))")
                given += some
    if _PLAIN.fullmatch(key):
        return f"({' OR '.join(parts) or 'FALSE'})", given
    return _some(column, key, " OR ".join(parts) or "FALSE", given)


def ordered(column: str, key: str, operator: str, value: Scalar) -> Fragment:
    """The key's value is of the kind of ``value``, and smaller or greater."""
    return _some(column, key, f"e.type IN ({_TYPES[type(value)]}) AND e.atom {operator} ?", [value])


def like(column: str, key: str, operator: str, pattern: str) -> Fragment:
    """The key's value is a text that looks like ``pattern``."""
    return _some(column, key, f"e.type = 'text' AND e.atom {operator} ?", [pattern])


def has(column: str, key: str) -> Fragment:
    """The key is there, be it null."""
    return _some(column, key, "TRUE")


def has_value(column: str, key: str) -> Fragment:
    """The key is there and not null."""
    return _some(column, key, "e.type <> 'null'")
