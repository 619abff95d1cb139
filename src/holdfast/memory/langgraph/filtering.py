"""Filters of LangGraph's stores: what the database compares, and what is compared once it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.errors import InvalidQuery, did_you_mean

OPERATORS = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte")
_WITH_PARTS = (Mapping, list, tuple)


def divided(filter: Mapping[str, Any] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """A filter in two: conditions on plain values, and those on lists and on what lies deeper.

    Raises:
        InvalidQuery: if it has an operator that there is not; the hint has the nearest one.
    """
    plain: dict[str, Any] = {}
    deep: dict[str, Any] = {}
    if filter is not None and not isinstance(filter, Mapping):
        raise InvalidQuery(f"a filter is a dict, not {type(filter).__name__}", hint="such as {'lang': 'en'}")
    for key, wanted in (filter or {}).items():
        if not isinstance(key, str):
            raise InvalidQuery(f"the keys of a filter are texts, not {type(key).__name__}")
        _check(wanted)
        parts = wanted.values() if _has_operators(wanted) else [wanted]
        is_plain = not any(isinstance(part, _WITH_PARTS) for part in parts)
        (plain if is_plain else deep)[key] = wanted
    return plain, deep


def _has_operators(wanted: Any) -> bool:
    return isinstance(wanted, Mapping) and any(isinstance(key, str) and key.startswith("$") for key in wanted)


def _check(wanted: Any) -> None:
    if isinstance(wanted, (list, tuple)):
        for part in wanted:
            _check(part)
        return
    if not isinstance(wanted, Mapping):
        return
    is_operation = _has_operators(wanted)
    for key, part in wanted.items():
        if not is_operation:
            _check(part)
        elif key not in OPERATORS:
            raise InvalidQuery(
                f"unknown operator {str(key)[:40]!r} in a filter",
                hint=did_you_mean(str(key), OPERATORS, "operators"),
            )
        elif key not in ("$eq", "$ne") and not (_is_number(part) or isinstance(part, str)):
            raise InvalidQuery(f"{key} compares with a number or a text")


def fits(value: Mapping[str, Any], filter: Mapping[str, Any]) -> bool:
    """Whether an item's value satisfies a filter."""
    return all(_fits(value.get(key), wanted) for key, wanted in filter.items())


def _fits(found: Any, wanted: Any) -> bool:
    if _has_operators(wanted):
        return all(_compares(found, operator, given) for operator, given in wanted.items())
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and fits(found, wanted)
    if isinstance(wanted, (list, tuple)):
        is_list = isinstance(found, list) and len(found) == len(wanted)
        return is_list and all(_fits(part, given) for part, given in zip(found, wanted, strict=True))
    return _same(found, wanted)


def _compares(found: Any, operator: str, given: Any) -> bool:
    if operator in ("$eq", "$ne"):
        return _same(found, given) == (operator == "$eq")
    both_numbers = _is_number(found) and _is_number(given)
    if not both_numbers and not (isinstance(found, str) and isinstance(given, str)):
        return False
    if operator in ("$gt", "$gte"):
        return bool(found > given) or (operator == "$gte" and bool(found == given))
    return bool(found < given) or (operator == "$lte" and bool(found == given))


def _same(found: Any, wanted: Any) -> bool:
    """Equal as JSON is: true is no number."""
    if isinstance(wanted, Mapping):
        is_alike = isinstance(found, Mapping) and found.keys() == wanted.keys()
        return is_alike and all(_same(found[key], wanted[key]) for key in wanted)
    if isinstance(wanted, (list, tuple)):
        is_alike = isinstance(found, list) and len(found) == len(wanted)
        return is_alike and all(map(_same, found, wanted))
    return isinstance(found, bool) == isinstance(wanted, bool) and bool(found == wanted)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
