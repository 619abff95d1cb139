"""Conditions on the keys of a ``jsonb`` column: values compare by their type, and a key may be any text."""

from __future__ import annotations

import json
from collections.abc import Sequence

from holdfast.engines.base import Fragment, Scalar


def _typed(column: str, kind: str) -> str:
    return f"jsonb_typeof({column} -> ?::text) = '{kind}'"


def among(column: str, key: str, values: Sequence[Scalar]) -> Fragment:
    """The key's value is one of ``values``."""
    if not values:
        return "FALSE", []
    return f"({column} -> ?::text) = ANY(?::jsonb[])", [key, [json.dumps(value) for value in values]]


def ordered(column: str, key: str, operator: str, value: Scalar) -> Fragment:
    """The key's value is of the kind of ``value``, and smaller or greater."""
    if isinstance(value, str):
        # As jsonb, texts would be in the database's own order.
        text = f'({column} ->> ?::text) COLLATE "C" {operator} ?::text'
        return f"({_typed(column, 'string')} AND {text})", [key, key, value]
    number = f"({column} -> ?::text) {operator} ?::jsonb"
    return f"({_typed(column, 'number')} AND {number})", [key, key, json.dumps(value)]


def like(column: str, key: str, operator: str, pattern: str) -> Fragment:
    """The key's value is a text that looks like ``pattern``."""
    text = f"({column} ->> ?::text) {operator} ?::text"
    return f"({_typed(column, 'string')} AND {text})", [key, key, pattern]


def has(column: str, key: str) -> Fragment:
    """The key is there, be it null."""
    return f"jsonb_exists({column}, ?::text)", [key]


def has_value(column: str, key: str) -> Fragment:
    """The key is there and not null."""
    return f"jsonb_typeof({column} -> ?::text) <> 'null'", [key]
