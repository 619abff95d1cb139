"""Filters: a dict of conditions on fields and metadata, as SQL that is true for what satisfies them.

It may be NULL for the rest, where nothing is negated: an index can be used by it then.

Values compare by their kind: a number with numbers, a text with texts by code point, and nothing across.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from holdfast.core.where import as_glob
from holdfast.engines.base import Engine, Fragment
from holdfast.errors import InvalidQuery, ValueRefused, did_you_mean
from holdfast.memory.records import as_moment, microseconds
from holdfast.types.text import storable

COMPARING = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
OPERATORS = ("$eq", "$ne", *COMPARING, "$in", "$nin", "$exists", "$like")
JOINING = ("$and", "$or", "$not")
COMMON = frozenset({"id", "user_id", "agent_id", "text", "data_source", "doc_id"})
# Only messages have these, so that for other records they are keys of the metadata.
OF_MESSAGES = frozenset({"role", "model", "user", "tool_call_id"})
OF_SOURCES = frozenset({"name"})
_FIELDS = COMMON | OF_MESSAGES | OF_SOURCES | {"metadata", "embedding", "tool_calls", "created_at"}
DEEPEST = 50
Filters = Mapping[str, Any] | None


def compiled(
    engine: Engine, table: str, filters: Filters, is_indexed: Callable[[str], bool] | None = None
) -> Fragment:
    """A filter as a condition on the rows of ``table``, which is quoted.

    ``is_indexed`` says of which keys of the metadata there is an index.

    Raises:
        InvalidQuery: if it cannot be understood; the hint has the nearest operator.
    """
    if filters is None:
        return "TRUE", []
    return _all(_Compiler(engine, table, is_indexed=is_indexed), filters, 0)


def of_document(engine: Engine, table: str, column: str, filters: Mapping[str, Any]) -> Fragment:
    """A filter as a condition on the keys of a JSON column alone."""
    compiler = _Compiler(engine, table, column)
    parts = []
    for key, value in filters.items():
        condition = _of_metadata(compiler, _storable(key))
        operators = value.items() if isinstance(value, Mapping) else [("$eq", value)]
        parts += [condition(operator, given) for operator, given in operators]
    return _joined(" AND ", parts, "TRUE")


@dataclass(frozen=True, slots=True)
class _Compiler:
    engine: Engine
    table: str
    document: str = "metadata"
    is_indexed: Callable[[str], bool] | None = None

    def column(self, name: str) -> str:
        return f"{self.table}.{self.engine.quote(name)}"


def _all(compiler: _Compiler, filters: Any, depth: int) -> Fragment:
    if not isinstance(filters, Mapping):
        raise InvalidQuery(f"a filter is a dict, not {type(filters).__name__}", hint="such as {'lang': 'en'}")
    if depth > DEEPEST:
        raise InvalidQuery(f"a filter is at most {DEEPEST} levels deep")
    return _joined(" AND ", [_item(compiler, key, value, depth) for key, value in filters.items()], "TRUE")


def _joined(word: str, parts: Sequence[Fragment], empty: str) -> Fragment:
    """The parts as a balanced tree: SQLite takes no deep ones."""
    if len(parts) <= 1:
        return parts[0] if parts else (empty, [])
    half = len(parts) // 2
    (left, given), (right, more) = _joined(word, parts[:half], empty), _joined(word, parts[half:], empty)
    return f"({left}{word}{right})", [*given, *more]


def _item(compiler: _Compiler, key: Any, value: Any, depth: int) -> Fragment:
    if not isinstance(key, str):
        raise InvalidQuery(f"the keys of a filter are texts, not {type(key).__name__}")
    if key == "$not":
        return _negated(_all(compiler, value, depth + 1))
    if key in ("$and", "$or"):
        if not isinstance(value, (list, tuple)):
            raise InvalidQuery(f"{key} takes a list of filters")
        parts = [_all(compiler, each, depth + 1) for each in value]
        return _joined(" AND ", parts, "TRUE") if key == "$and" else _joined(" OR ", parts, "FALSE")
    if key.startswith("$"):
        raise _unknown(key, (*JOINING, *OPERATORS))
    condition = _named(compiler, key)
    if not isinstance(value, Mapping):
        return condition("$eq", value)
    if not value:
        raise InvalidQuery(f"the condition on {key!r} is empty", hint="such as {'$gt': 9}")
    return _joined(" AND ", [condition(operator, given) for operator, given in value.items()], "TRUE")


def _negated(part: Fragment) -> Fragment:
    return f"(NOT coalesce({part[0]}, FALSE))", part[1]


def _unknown(operator: Any, known: Sequence[str]) -> InvalidQuery:
    if not isinstance(operator, str) or not operator.startswith("$"):
        return InvalidQuery(
            "a filter compares with texts, numbers, booleans, times and None",
            hint=f"a dict holds operators: {', '.join(OPERATORS)}",
        )
    return InvalidQuery(
        f"unknown operator {operator[:40]!r} in a filter", hint=did_you_mean(operator, known, "operators")
    )


def key_of(named: Any) -> str:
    """The key of the metadata that a filter on ``named`` compares.

    Raises:
        InvalidQuery: if it is a field, or no text.
    """
    key = _storable(named) if isinstance(named, str) else ""
    if key.startswith("metadata."):
        return key.removeprefix("metadata.")
    if not key or key.startswith("$") or key in _FIELDS:
        raise InvalidQuery(
            "an index is of a key of the metadata, of data_source or of doc_id",
            hint="metadata.key means a key, whatever it is called",
        )
    return key


Condition = Callable[[str, Any], Fragment]


def _named(compiler: _Compiler, key: str) -> Condition:
    """What a condition on ``key`` is: on a field, or on a key of the metadata."""
    _storable(key)
    if key.startswith("metadata."):
        return _of_metadata(compiler, key.removeprefix("metadata."))
    if key in ("metadata", "embedding", "tool_calls"):
        raise InvalidQuery(f"{key} cannot be compared as a whole", hint="metadata.key names a part")
    if key in OF_MESSAGES:
        return _by_kind(compiler, key, "'message'")
    if key in OF_SOURCES:
        return _by_kind(compiler, key, "'source'")
    if key == "created_at":
        return _of_time(compiler, compiler.column(key))
    if key in COMMON:
        return _of_text(compiler, compiler.column(key))
    return _of_metadata(compiler, key)


def _by_kind(compiler: _Compiler, key: str, kind: str) -> Condition:
    column, metadata = _of_text(compiler, compiler.column(key)), _of_metadata(compiler, key)

    def condition(operator: str, value: Any) -> Fragment:
        (as_field, given), (as_key, more) = column(operator, value), metadata(operator, value)
        sql = f"CASE WHEN {compiler.column('kind')} = {kind} THEN {as_field} ELSE {as_key} END"
        return f"({sql})", [*given, *more]

    return condition


@dataclass(frozen=True, slots=True)
class _Parts:
    """How one place is compared; the pieces may be NULL where there is no value."""

    among: Callable[[list[Any]], Fragment]
    ordered: Callable[[str, Any], Fragment]
    like: Callable[[str, str], Fragment]
    has: Fragment
    has_value: Fragment


def _condition(compiler: _Compiler, parts: _Parts, operator: str, value: Any) -> Fragment:
    if operator == "$eq":
        return _in(parts, [value])
    if operator == "$ne":
        return _negated(_in(parts, [value]))
    if operator in ("$in", "$nin"):
        if not isinstance(value, (list, tuple, set, frozenset)):
            raise InvalidQuery(f"{operator} takes a list of values")
        found = _in(parts, list(value))
        return found if operator == "$in" else _negated(found)
    if operator in COMPARING:
        if value is None or isinstance(_plain(value), bool):
            raise InvalidQuery(f"{operator} compares with a number, a text or a time")
        return parts.ordered(COMPARING[operator], _plain(value))
    if operator == "$exists":
        if not isinstance(value, bool):
            raise InvalidQuery("$exists takes True or False")
        return parts.has if value else _negated(parts.has)
    if operator == "$like":
        if not isinstance(value, str):
            raise InvalidQuery("$like takes a text, in which % is any text and _ one character")
        by_case = compiler.engine.features.like_by_case
        pattern = _storable(value)
        return parts.like(by_case or "GLOB", pattern if by_case else as_glob(pattern))
    raise _unknown(operator, OPERATORS)


def _in(parts: _Parts, values: list[Any]) -> Fragment:
    """One of ``values``, of which ``None`` is no value."""
    given = [_plain(value) for value in values if value is not None]
    found = [parts.among(given)] if given else []
    if len(given) < len(values):
        found.append(_negated(parts.has_value))
    return _joined(" OR ", found, "FALSE")


def _plain(value: Any) -> Any:
    """A value as it can be compared."""
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, str):
        return _storable(value)
    if isinstance(value, (bool, datetime)):
        return value
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise InvalidQuery("a number in a filter does not fit 64 bits")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidQuery("a filter compares with no NaN and no infinity")
        return float(value)
    raise _unknown(None, OPERATORS)


def _storable(text: str) -> str:
    try:
        return storable(text)
    except ValueRefused as exc:
        raise InvalidQuery(f"in a filter, {exc.message}") from exc


def _of_metadata(compiler: _Compiler, key: str) -> Condition:
    documents, column = compiler.engine.documents, compiler.column(compiler.document)

    def text(value: Any) -> Any:
        # A time goes into JSON as its text.
        return value.isoformat() if isinstance(value, datetime) else value

    is_narrowed = documents.NARROWS and compiler.is_indexed is not None and compiler.is_indexed(key)

    def narrowed(found: Fragment, operator: str, values: list[Any]) -> Fragment:
        if not is_narrowed:
            return found
        return _joined(" AND ", [documents.narrowed(column, key, operator, values), found], "TRUE")

    def among(values: list[Any]) -> Fragment:
        given = [text(value) for value in values]
        return narrowed(documents.among(column, key, given), "=", given)

    def ordered(operator: str, value: Any) -> Fragment:
        return narrowed(documents.ordered(column, key, operator, text(value)), operator, [text(value)])

    parts = _Parts(
        among,
        ordered,
        lambda operator, pattern: documents.like(column, key, operator, pattern),
        documents.has(column, key),
        documents.has_value(column, key),
    )
    return lambda operator, value: _condition(compiler, parts, operator, value)


def _of_column(compiler: _Compiler, column: str, kind: Callable[[Any], Any], like: bool) -> Condition:
    """A field; ``kind`` gives the driver's value, or ``None`` for one that it can never equal."""

    def among(values: list[Any]) -> Fragment:
        given = [found for value in values if (found := kind(value)) is not None]
        return (f"{column} IN ({', '.join('?' * len(given))})", given) if given else ("FALSE", [])

    def ordered(operator: str, value: Any) -> Fragment:
        found = kind(value)
        return ("FALSE", []) if found is None else (f"{column} {operator} ?", [found])

    def alike(operator: str, pattern: str) -> Fragment:
        return (f"{column} {operator} ?", [pattern]) if like else ("FALSE", [])

    there: Fragment = (f"{column} IS NOT NULL", [])
    parts = _Parts(among, ordered, alike, there, there)
    return lambda operator, value: _condition(compiler, parts, operator, value)


def _of_text(compiler: _Compiler, column: str) -> Condition:
    return _of_column(compiler, column, lambda value: value if isinstance(value, str) else None, True)


def _of_time(compiler: _Compiler, column: str) -> Condition:
    def kind(value: Any) -> int:
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError as exc:
                raise InvalidQuery("created_at compares with a datetime or its ISO text") from exc
        try:
            return microseconds(as_moment(value))
        except ValueRefused as exc:
            raise InvalidQuery(exc.message, hint=exc.hint) from exc

    return _of_column(compiler, column, kind, False)
