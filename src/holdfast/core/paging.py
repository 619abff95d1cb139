"""Keyset pagination: pages that stay true while rows come and go.

A page begins after the last row of the one before, found by its values and its primary key. What comes
after it is asked for in ranges, each of which an index on the order gives from its first row on: an OR of
them, or a row value with NULLs, has the database read all rows before. So page 10,000 costs what page 1 does.
Source: M. Winand, "We need tool support for keyset pagination".
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from decimal import Decimal
from hashlib import blake2b
from typing import Any
from uuid import UUID

from holdfast.core.executor import Executor
from holdfast.core.rows import Reading, count_argument, reading_of, selection
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
    *,
    columns: Sequence[str] | str | None = None,
) -> Page:
    """One page of a table in ``order_by``, ties broken by the primary key."""
    info = executor.describe(table)
    items = _total_order(executor, info, orders(executor, info, order_by))
    wanted = None if columns is None else [column.name for column in selection(info, columns)]
    # A token is made of what the rows are ordered by.
    read = None if wanted is None else list(dict.fromkeys([*wanted, *(item.column.name for item in items)]))
    count_argument("limit", limit, least=1)
    filtered = condition(executor, info, where, params)
    asked = [table, _shape(items), filtered[0], repr(filtered[1])]
    backward, start = _read_token(after, asked, items) if after is not None else (False, None)
    walk = [item.reversed() for item in items] if backward else items
    plan = reading_of(executor, info, read)
    found = _rows(executor, info, plan, _ranges(executor, info, walk, start), limit + 1, filtered)
    more, found = len(found) > limit, found[:limit]
    if backward:
        found.reverse()
    has_next, has_previous = (start is not None, more) if backward else (more, start is not None)
    return Page(
        found if wanted is None else [{name: row[name] for name in wanted} for row in found],
        _token("next", asked, items, found[-1]) if found and has_next else None,
        _token("previous", asked, items, found[0]) if found and has_previous else None,
    )


def _total_order(executor: Executor, info: TableInfo, items: list[Order]) -> list[Order]:
    for item in items:
        if item.column.codec.kind.name in ("json", "other"):
            raise InvalidQuery(f"{info.name}.{item.column.name} ({item.column.type}) cannot order pages")
    named = {item.column.name for item in items}
    last = items[-1].descending if items else False
    rest = [info.column(name) for name in _key(executor, info) if name not in named]
    return [*items, *(Order(column, last, nulls_first=last) for column in rest)]


def _key(executor: Executor, info: TableInfo) -> Sequence[str]:
    """The columns of which no two rows are alike: the primary key, or unique ones without NULL."""
    if info.primary_key:
        return info.primary_key
    required = {column.name for column in info.columns if not column.nullable}
    found = [key for key in executor.engine.catalog.unique_keys(executor.run, info.name) if key <= required]
    if not found:
        raise InvalidQuery(
            f"{info.name!r} has no primary key to tell equal rows apart",
            hint="page over a table that has one, or unique columns that are NOT NULL",
        )
    return min(map(sorted, found), key=lambda key: (len(key), key))


def _rows(
    executor: Executor, info: TableInfo, plan: Reading, ranges: list[_Range], limit: int, filtered: Fragment
) -> list[dict[str, Any]]:
    name, listing, values = quote_identifier(info.name), plan.listing, list[Any]()
    place = next(free for free in ("place", "place_", "place__") if free not in info.names)
    texts = []
    for number, one in enumerate(ranges):
        parts = [text for text in (filtered[0], *one.conditions) if text]
        text = f"SELECT {listing if len(ranges) == 1 else f'{listing}, {number} AS {place}'} FROM {name}"
        text += f" WHERE {' AND '.join(parts)}" if parts else ""
        text += f" ORDER BY {order_sql(executor, info, one.order)}" if one.order else ""
        texts.append(f"{text} LIMIT ?")
        values += [*filtered[1], *one.values, limit]
    if len(texts) == 1:
        return plan.fetch(executor, texts[0], values)
    together = " UNION ALL ".join(f"SELECT * FROM ({text}) AS {name}" for text in texts)
    order = order_sql(executor, info, ranges[0].whole)
    sql = f"SELECT {listing} FROM ({together}) AS {name} ORDER BY {place}, {order} LIMIT ?"
    return plan.fetch(executor, sql, [*values, limit])


@dataclass(frozen=True, slots=True)
class _Range:
    """Rows that lie together in the order; ``order`` is what is left to sort them by."""

    conditions: tuple[str, ...]
    values: tuple[Any, ...]
    order: Sequence[Order]
    whole: Sequence[Order]


def _ranges(executor: Executor, info: TableInfo, items: list[Order], start: list[Any] | None) -> list[_Range]:
    """What comes after ``start``: the rows that are equal to it in most columns first."""
    if start is None:
        first = items[0]
        if not first.column.nullable or first.nulls_first == first.descending:
            return [_Range((), (), items, items)]
        name = qualified(info.name, first.column.name)
        without = _Range((f"{name} IS NULL",), (), items[1:], items)
        others = _Range((f"{name} IS NOT NULL",), (), [_without_null(first), *items[1:]], items)
        return [without, others] if first.nulls_first else [others, without]
    found: list[_Range] = []
    equal: tuple[tuple[str, ...], tuple[Any, ...]] = ((), ())
    for place, (item, value) in enumerate(zip(items, start, strict=True)):
        name, encoded = qualified(info.name, item.column.name), encode(info.name, item.column, value)
        rest = items[place + 1 :]
        beyond = [
            _Range((*equal[0], text), (*equal[1], *given), order, items)
            for text, given, order in _beyond(executor, name, item, encoded, rest)
        ]
        found = beyond + found
        mark = _mark(item)
        equal = (
            (*equal[0], f"{name} IS NULL" if value is None else f"{name} = {mark}"),
            equal[1] if value is None else (*equal[1], encoded),
        )
    return found or [_Range(("1 = 0",), (), [], items)]


def _beyond(
    executor: Executor, name: str, item: Order, value: Any, rest: list[Order]
) -> Iterator[tuple[str, tuple[Any, ...], list[Order]]]:
    """The rows beyond ``value`` in one column, those with a value and those without one apart."""
    order = [_without_null(item), *rest]
    if value is None:
        if item.nulls_first:
            yield f"{name} IS NOT NULL", (), order
        return
    sign = "<" if item.descending else ">"
    yield f"{name}{collation(executor, item.column)} {sign} {_mark(item)}", (value,), order
    if item.column.nullable and not item.nulls_first:
        yield f"{name} IS NULL", (), rest


def _without_null(item: Order) -> Order:
    return Order(replace(item.column, nullable=False), item.descending, item.nulls_first)


def _mark(item: Order) -> str:
    """The value of 32 bits that was read as its shortest decimal is not that decimal in 64."""
    kind = item.column.codec.kind
    return "CAST(? AS REAL)" if kind.name == "float" and kind.bits == 32 else "?"


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


def _token(direction: str, asked: list[Any], items: Sequence[Order], row: dict[str, Any]) -> str:
    body = [direction, _digest(asked[1:2]), [_pack(row[item.column.name]) for item in items]]
    return (
        base64.urlsafe_b64encode(json.dumps([*body, _digest([*asked, *body])]).encode()).decode().rstrip("=")
    )


def _digest(given: Any) -> str:
    return blake2b(json.dumps(given).encode(), digest_size=8).hexdigest()


def _read_token(token: str, asked: list[Any], items: Sequence[Order]) -> tuple[bool, list[Any]]:
    try:
        padded = token + "=" * (-len(token) % 4)
        direction, shape, packed, seal = json.loads(base64.b64decode(padded, b"-_", validate=True))
        values = [_unpack(value) for value in packed]
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError) as exc:
        raise InvalidQuery("after is not a page token", hint="use page.next or page.previous") from exc
    if shape != _digest(asked[1:2]) or len(values) != len(items):
        raise InvalidQuery("the page token belongs to another order", hint="start again without after=")
    if seal != _digest([*asked, direction, shape, packed]):
        raise InvalidQuery(
            "the page token belongs to another table or filter, or was changed",
            hint="give the same arguments as for the page that it came from",
        )
    return direction == "previous", values
