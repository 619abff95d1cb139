"""Conditions on the keys of a JSON column: values compare by their type, and a key may be any text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from holdfast.engines.base import Fragment, Run, Scalar
from holdfast.engines.names import quote_identifier as quote
from holdfast.errors import NotSupported

NARROWS = False

_TYPES = {bool: "'true', 'false'", str: "'text'", int: "'integer', 'real'", float: "'integer', 'real'"}
# A path and the JSON of any writer have these as they are: faster than all keys, and an index can be used.
_PLAIN = re.compile(r"[A-Za-z0-9_ .:@+-]+")


def _some(column: str, key: str, condition: str, values: Sequence[Any] = ()) -> Fragment:
    """A condition on ``e.type`` and ``e.atom``, the kind and the value that the key has."""
    if _PLAIN.fullmatch(key):
        path = _path(column, key)
        sql = condition.replace("e.type", f"json_type({path})").replace("e.atom", f"json_extract({path})")
        return f"({sql})", list(values)
    sql = f"EXISTS (SELECT 1 FROM json_each({column}) AS e WHERE e.key = ? AND ({condition}))"
    return sql, [key, *values]


def _path(column: str, key: str) -> str:
    return f"""{column}, '$."{key}"'"""


def among(column: str, key: str, values: Sequence[Scalar]) -> Fragment:
    """The key's value is one of ``values``."""
    parts: list[str] = []
    given: list[Any] = []
    for kinds in ((bool,), (str,), (int, float)):
        some = [value for value in values if type(value) in kinds]
        if some:
            is_one = "= ?" if len(some) == 1 else f"IN ({', '.join('?' * len(some))})"
            # The values decide first, and most often alone.
            is_enough = not any(map(_is_ambiguous, some))
            parts.append(
                f"e.atom {is_one}" if is_enough else f"(e.atom {is_one} AND e.type IN ({_TYPES[kinds[0]]}))"
            )
            given += some
    return _some(column, key, " OR ".join(parts) or "FALSE", given)


def _is_ambiguous(value: Scalar) -> bool:
    """Whether a value of another type is read as this one: true as 1, a list or an object as their text."""
    return value in (0, 1) or (isinstance(value, str) and value.startswith(("{", "[")))


def ordered(column: str, key: str, operator: str, value: Scalar) -> Fragment:
    """The key's value is of the kind of ``value``, and smaller or greater."""
    return _some(column, key, f"e.atom {operator} ? AND e.type IN ({_TYPES[type(value)]})", [value])


def like(column: str, key: str, operator: str, pattern: str) -> Fragment:
    """The key's value is a text that looks like ``pattern``."""
    return _some(column, key, f"e.type = 'text' AND e.atom {operator} ?", [pattern])


def has(column: str, key: str) -> Fragment:
    """The key is there, be it null."""
    return _some(column, key, "e.type IS NOT NULL")


def has_value(column: str, key: str) -> Fragment:
    """The key is there and not null."""
    return _some(column, key, "e.type <> 'null'")


def narrowed(column: str, key: str, operator: str, values: Sequence[Scalar]) -> Fragment:
    """Nothing: the conditions have the form of the index."""
    return "TRUE", []


def index(run: Run, table: str, names: tuple[str, str], key: str, *, beside: bool) -> None:
    """Build the index of a key anew.

    Raises:
        NotSupported: for a key that a path of JSON cannot have as it is.
    """
    if not _PLAIN.fullmatch(key):
        raise NotSupported(
            "SQLite indexes a key of letters, digits, spaces and _ . : @ + - only",
            hint="filters on it work as they are",
        )
    run(f"DROP INDEX IF EXISTS {quote(names[0])}")
    value = f"json_extract({_path(quote('metadata'), key)})"
    run(f'CREATE INDEX {quote(names[0])} ON {quote(table)} ("user_id", {value})')
