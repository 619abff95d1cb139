"""What a filter means, in plain Python."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from holdfast.memory import Message, Passage, Record

MISSING: Any = object()
FIELDS = {"id", "user_id", "agent_id", "text", "data_source", "doc_id", "created_at"}
OF_MESSAGES = {"role", "model", "user", "tool_call_id"}


def matches(record: Record, filters: dict[str, Any]) -> bool:
    return all(_item(record, key, value) for key, value in filters.items())


def _item(record: Record, key: str, value: Any) -> bool:
    if key == "$and":
        return all(matches(record, each) for each in value)
    if key == "$or":
        return any(matches(record, each) for each in value)
    if key == "$not":
        return not matches(record, value)
    found = _found(record, key)
    conditions = value if isinstance(value, dict) else {"$eq": value}
    return all(_holds(found, operator, given) for operator, given in conditions.items())


def _found(record: Record, key: str) -> Any:
    own = FIELDS | (OF_MESSAGES if isinstance(record, Message) else set())
    if key in own:
        value = getattr(record, key, None)
        return MISSING if value is None else str(value) if key == "id" else value
    metadata = record.metadata if isinstance(record, Passage) else {}
    return metadata.get(key.removeprefix("metadata."), MISSING)


def _kind(value: Any) -> type:
    return float if type(value) is int else type(value)


def _equal(found: Any, given: Any) -> bool:
    if given is None:
        return found is MISSING or found is None
    return _kind(found) is _kind(given) and bool(found == given)


_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": lambda a, b: a > b,
    "$gte": lambda a, b: a >= b,
    "$lt": lambda a, b: a < b,
    "$lte": lambda a, b: a <= b,
}


def _holds(found: Any, operator: str, given: Any) -> bool:
    if operator in _ORDER:
        alike = _kind(found) is _kind(given) and isinstance(given, (int, float, str, datetime))
        return alike and _ORDER[operator](found, given)
    if operator == "$eq":
        return _equal(found, given)
    if operator == "$ne":
        return not _equal(found, given)
    if operator == "$in":
        return any(_equal(found, each) for each in given)
    if operator == "$nin":
        return not any(_equal(found, each) for each in given)
    if operator == "$exists":
        return (found is not MISSING) is given
    assert operator == "$like"
    return isinstance(found, str) and re.fullmatch(_like(given), found, re.DOTALL) is not None


def _like(pattern: str) -> str:
    pieces = re.findall(r"\\.|.", pattern, re.DOTALL)
    signs = {"%": ".*", "_": "."}
    return "".join(signs.get(each) or re.escape(each[-1:]) for each in pieces)
