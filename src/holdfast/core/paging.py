"""Keyset pagination: pages that stay true while rows come and go.

A page begins after the last row of the one before, found by its values and its primary key, so the
cost of page 10,000 is that of page 1. Source: M. Winand, "We need tool support for keyset pagination".
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from holdfast.core.executor import Executor
from holdfast.core.rows import count_argument, reading_of
from holdfast.core.where import (
    Fragment,
    Order,
    OrderBy,
    Params,
    Where,
    collation,
    condition,
    encode,
    order_sql,
    orders,
    qualified,
)
from holdfast.engines.base import TableInfo
from holdfast.engines.names import quote_identifier
from holdfast.errors import InvalidQuery


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows in order, and the tokens of the pages after and before; ``None`` where there is none."""

    rows: list[dict[str, Any]]
    next: str | None
    previous: str | None

    def __repr__(self) -> str:
        return f"<Page of {len(self.rows)} rows>"


def paginate(
    executor: Executor,
    table: str,
    order_by: OrderBy = None,
    limit: int = 100,
    after: str | None = None,
    where: Where = None,
    params: Params = None,
) -> Page:
    """One page of a table in ``order_by``, ties broken by the primary key."""
    info = executor.describe(table)
    items = _total_order(info, orders(executor, info, order_by))
    if count_argument("limit", limit) == 0:
        raise InvalidQuery("limit must be at least 1")
    backward, start = _read_token(after, items) if after is not None else (False, None)
    walk = [item.reversed() for item in items] if backward else items
    found = _rows(executor, info, walk, start, limit + 1, condition(executor, info, where, params))
    more, found = len(found) > limit, found[:limit]
    if backward:
        found.reverse()
    has_next, has_previous = (start is not None, more) if backward else (more, start is not None)
    return Page(
        found,
        _token("next", items, found[-1]) if found and has_next else None,
        _token("previous", items, found[0]) if found and has_previous else None,
    )


def _total_order(info: TableInfo, items: list[Order]) -> list[Order]:
    if not info.primary_key:
        raise InvalidQuery(
            f"{info.name!r} has no primary key to tell equal rows apart",
            hint="page over a table that has one",
        )
    for item in items:
        if item.column.codec.kind.name in ("json", "other"):
            raise InvalidQuery(f"{info.name}.{item.column.name} ({item.column.type}) cannot order pages")
    named = {item.column.name for item in items}
    last = items[-1].descending if items else False
    rest = [info.column(name) for name in info.primary_key if name not in named]
    return [*items, *(Order(column, last, nulls_first=last) for column in rest)]


def _rows(
    executor: Executor,
    info: TableInfo,
    items: list[Order],
    start: list[Any] | None,
    limit: int,
    filtered: Fragment,
) -> list[dict[str, Any]]:
    parts, values = ([filtered[0]], list(filtered[1])) if filtered[0] else ([], [])
    if start is not None:
        text, more = _beyond(executor, info, items, start)
        parts.append(text)
        values += more
    plan = reading_of(executor, info)
    sql = f"SELECT {plan.listing} FROM {quote_identifier(info.name)}"
    sql += f" WHERE {' AND '.join(parts)}" if parts else ""
    sql += f" ORDER BY {order_sql(executor, info, items)} LIMIT ?"
    return plan.rows(executor.rows(sql, [*values, limit]))


def _beyond(executor: Executor, info: TableInfo, items: list[Order], start: list[Any]) -> Fragment:
    """The rows after ``start``: beyond it in one column and equal in all before that one."""
    choices: list[str] = []
    values: list[Any] = []
    equal: list[Fragment] = []
    for item, value in zip(items, start, strict=True):
        name = qualified(info.name, item.column.name)
        beyond = _beyond_one(
            name + collation(executor, item.column), item, encode(info.name, item.column, value)
        )
        if beyond is not None:
            choices.append(" AND ".join([*(text for text, _ in equal), beyond[0]]))
            values += [value for _, given in equal for value in given] + beyond[1]
        if value is None:
            equal.append((f"{name} IS NULL", []))
        else:
            equal.append((f"{name} = ?", [encode(info.name, item.column, value)]))
    return "(" + " OR ".join(f"({choice})" for choice in choices) + ")" if choices else "(1 = 0)", values


def _beyond_one(name: str, item: Order, value: Any) -> Fragment | None:
    if value is None:
        return (f"{name} IS NOT NULL", []) if item.nulls_first else None
    text = f"{name} {'<' if item.descending else '>'} ?"
    if item.column.nullable and not item.nulls_first:
        text = f"({text} OR {name} IS NULL)"
    return text, [value]


_TAGS: dict[str, tuple[type, Any, Any]] = {
    "dt": (datetime, datetime.isoformat, datetime.fromisoformat),
    "d": (date, date.isoformat, date.fromisoformat),
    "t": (time, time.isoformat, time.fromisoformat),
    "n": (Decimal, str, Decimal),
    "u": (UUID, str, UUID),
    "b": (bytes, bytes.hex, bytes.fromhex),
}


def _pack(value: Any) -> Any:
    for tag, (kind, write, _) in _TAGS.items():
        if isinstance(value, kind):
            return {tag: write(value)}
    return value


def _unpack(value: Any) -> Any:
    if isinstance(value, dict):
        ((tag, text),) = value.items()
        return _TAGS[tag][2](text)
    return value


def _shape(items: Sequence[Order]) -> list[list[Any]]:
    return [[item.column.name, int(item.descending), int(item.nulls_first)] for item in items]


def _token(direction: str, items: Sequence[Order], row: dict[str, Any]) -> str:
    body = [direction, _shape(items), [_pack(row[item.column.name]) for item in items]]
    return base64.urlsafe_b64encode(json.dumps(body).encode()).decode().rstrip("=")


def _read_token(token: str, items: Sequence[Order]) -> tuple[bool, list[Any]]:
    try:
        padded = token + "=" * (-len(token) % 4)
        direction, shape, packed = json.loads(base64.urlsafe_b64decode(padded))
        values = [_unpack(value) for value in packed]
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise InvalidQuery("after is not a page token", hint="use page.next or page.previous") from exc
    if shape != _shape(items) or len(values) != len(items):
        raise InvalidQuery("the page token belongs to another order", hint="start again without after=")
    return direction == "previous", values
