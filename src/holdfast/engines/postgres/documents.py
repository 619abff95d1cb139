"""Conditions on the keys of a ``jsonb`` column: values compare by their type, and a key may be any text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from holdfast.engines.base import Fragment, Run, Scalar
from holdfast.engines.names import quote_identifier as quote

NARROWS = True
# So many characters of a text are in an index, which takes no long ones.
_INDEXED = 200


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


def narrowed(column: str, key: str, operator: str, values: Sequence[Scalar]) -> Fragment:
    """What holds wherever the key's value is so to one of ``values``, in the form of the indexes.

    These are partial, one for each kind, and have the beginning of a text alone.
    """
    if any(isinstance(value, bool) for value in values):
        return "TRUE", []
    texts = [value[:_INDEXED] for value in values if isinstance(value, str)]
    numbers = [json.dumps(value) for value in values if not isinstance(value, str)]
    parts: list[str] = []
    given: list[Any] = []
    for kind, some, cast in (("number", numbers, "jsonb"), ("string", texts, "text")):
        if some:
            value, condition = _indexed(column, key, kind)
            if operator == "=":
                parts.append(f"({condition} AND {value} = ANY(?::{cast}[]))")
                given.append(some)
            else:
                # What begins alike may go on otherwise.
                relaxed = f"{operator[0]}=" if kind == "string" else operator
                parts.append(f"({condition} AND {value} {relaxed} ?::{cast})")
                given += some
    return f"({' OR '.join(parts) or 'FALSE'})", given


def _indexed(column: str, key: str, kind: str) -> tuple[str, str]:
    """The value that an index has, and which rows are in it."""
    named = literal(key)
    condition = f"jsonb_typeof({column} -> {named}) = '{kind}'"
    if kind == "number":
        return f"({column} -> {named})", condition
    return f'left({column} ->> {named}, {_INDEXED}) COLLATE "C"', condition


def index(run: Run, table: str, names: tuple[str, str], key: str, *, beside: bool) -> None:
    """Build the indexes of a key anew, one of its numbers and one of its texts."""
    concurrently = "CONCURRENTLY " if beside else ""
    for name, kind in zip(names, ("number", "string"), strict=True):
        value, condition = _indexed(quote("metadata"), key, kind)
        # What an interrupted building left is there under that name.
        run(f"DROP INDEX {concurrently}IF EXISTS {quote(name)}")
        run(
            f"CREATE INDEX {concurrently}{quote(name)} ON {quote(table)} "
            f'("user_id", ({value})) WHERE {condition}'
        )
    # The planner knows nothing of the values else.
    run(f"ANALYZE {quote(table)}")


def literal(text: str) -> str:
    """A text in SQL where no parameter can be: what an index is of is proved by it."""
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'"
