"""Which tables can be synced, and how: what both sides have to agree upon."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from holdfast.core.executor import Executor
from holdfast.core.where import condition
from holdfast.engines.base import Column, TableInfo
from holdfast.engines.changes import Tracked
from holdfast.engines.names import quote_identifier
from holdfast.errors import SyncError
from holdfast.sync.stage import Side

_KEYS = frozenset(
    {"integer", "text", "uuid", "date", "time", "timestamp", "timestamptz", "boolean", "decimal", "bytes"}
)


class Lookup(NamedTuple):
    """A column that holds another table's number, which each database gives for itself.

    It does not travel: ``match`` are columns of the other table, each with the key's that holds the same.
    """

    column: str
    table: str
    number: str
    match: tuple[tuple[str, str], ...]


class More(NamedTuple):
    """What else is to be known of a table: numbers to look up, and columns whose latest value counts."""

    lookups: tuple[Lookup, ...] = ()
    latest: tuple[str, ...] = ()
    keeps_images: bool = True
    """Whether the hub keeps what a row was that is gone."""


PLAIN = More()


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller says of one table: its key, its columns and its rows, where they are not all."""

    name: str
    key: tuple[str, ...] | None = None
    columns: tuple[str, ...] | None = None
    filter: Mapping[str, Any] | None = None
    more: More = PLAIN
    can_widen: bool = False
    """Whether another filter than before takes its place."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """The key and the other columns of a table that both sides sync."""

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    keeps_images: bool = True


def agree(local: Executor, hub: Executor, wish: Wish) -> Agreed:
    """What is synced of a table.

    Raises:
        SyncError: if it cannot be, with the way out.
    """
    here, there = local.describe(wish.name), hub.describe(wish.name)
    for info, place in ((here, "here"), (there, "at the hub")):
        if info.is_view:
            raise SyncError(f"{wish.name!r} is a view {place}, not a table", hint="leave it out of tables=")
    key = _key(wish, here, there)
    for executor, info in ((local, here), (hub, there)):
        _check_key(executor, info, key)
    columns = _columns(wish, key, here, there)
    for name in (*key, *columns):
        _check_kind(local, hub, here.column(name), there.column(name), wish.name)
    return Agreed(wish.name, key, columns, wish.more.keeps_images)


def _key(wish: Wish, here: TableInfo, there: TableInfo) -> tuple[str, ...]:
    key = wish.key or here.primary_key
    if not key:
        raise SyncError(
            f"table {wish.name!r} has no primary key, so its rows cannot be told apart",
            hint=f"give it one, or name columns that are unique with keys={{{wish.name!r}: [...]}}",
        )
    if wish.key is None and set(there.primary_key) != set(key):
        raise SyncError(
            f"the primary key of {wish.name!r} is ({', '.join(key)}) here and "
            f"({', '.join(there.primary_key)}) at the hub",
            hint="make them alike, or name one with keys=",
        )
    return key


def _check_key(executor: Executor, info: TableInfo, key: Sequence[str]) -> None:
    columns = [info.column(name) for name in key]
    for column in columns:
        if column.identity:
            raise SyncError(
                f"{info.name}.{column.name} is numbered by each database for itself, so two would give one "
                "number to different rows",
                hint="use a key that many can make, such as a UUID (uuid.uuid4()), or sync by other columns "
                f"that are unique: keys={{{info.name!r}: [...]}}",
            )
        if column.codec.kind.name not in _KEYS:
            raise SyncError(
                f"{info.name}.{column.name} ({column.type}) cannot be part of a key that is synced",
                hint="use a number, a text, a UUID, a date or bytes",
            )
    if frozenset(key) not in executor.engine.catalog.unique_keys(executor.run, info.name):
        listing = ", ".join(map(repr, key))
        raise SyncError(
            f"no unique index of {info.name!r} covers ({', '.join(key)})",
            hint=f"db.create_index({info.name!r}, [{listing}], unique=True)",
        )


def _columns(wish: Wish, key: Sequence[str], here: TableInfo, there: TableInfo) -> tuple[str, ...]:
    def own(info: TableInfo) -> list[str]:
        """Without numbers that a database gives for itself, and what it computes."""
        return [c.name for c in info.columns if not c.generated and not (c.identity and c.name not in key)]

    if wish.columns is not None:
        for name in wish.columns:
            for info in (here, there):
                info.column(name)
        return tuple(name for name in wish.columns if name not in key)
    missing = [f"{name} (not at the hub)" for name in own(here) if name not in there.names]
    missing += [f"{name} (not here)" for name in own(there) if name not in here.names]
    if missing:
        raise SyncError(
            f"the columns of {wish.name!r} are not the same on both sides: {', '.join(missing[:5])}",
            hint=f"add them, or name those to sync with columns={{{wish.name!r}: [...]}}",
        )
    return tuple(name for name in own(here) if name not in key)


def _check_kind(local: Executor, hub: Executor, here: Column, there: Column, table: str) -> None:
    kinds = [
        executor.engine.changes.carried(column).kind for executor, column in ((local, here), (hub, there))
    ]
    if kinds[0] != kinds[1]:
        raise SyncError(
            f"{table}.{here.name} is {here.type or 'untyped'} here and {there.type or 'untyped'} at the hub, "
            "which do not hold the same values",
            hint="declare both alike, or leave the column out with columns=",
        )


def side(
    executor: Executor,
    agreed: Agreed,
    number: int,
    filter: Mapping[str, Any] | None,
    more: More = PLAIN,
) -> Side:
    """The table as it lies in one of the databases."""
    info = executor.describe(agreed.name)
    tracked = track(executor, info, number, agreed.key, agreed.columns)
    given = filter or {}
    where = condition(executor, info, given.get("where"), given.get("params"))
    carried = tuple(map(executor.engine.changes.carried, tracked.columns))
    noted = dict(zip(agreed.key, tracked.keys, strict=True))
    looked_up = tuple((lookup.column, _looked_up(lookup, noted)) for lookup in more.lookups)
    return Side(executor, tracked, carried, where, looked_up, more.latest)


def _looked_up(lookup: Lookup, noted: Mapping[str, str]) -> str:
    """SQL for a number that is not known yet, of a row that is staged in ``{0}``."""
    same = " AND ".join(
        f'hf_p.{quote_identifier(theirs)} = {{0}}."{noted[own]}"' for theirs, own in lookup.match
    )
    return (
        f"(SELECT hf_p.{quote_identifier(lookup.number)} FROM {quote_identifier(lookup.table)} AS hf_p "
        f"WHERE {same})"
    )


def track(
    executor: Executor, info: TableInfo, number: int, key: Sequence[str], columns: Iterable[str]
) -> Tracked:
    unique = executor.engine.catalog.unique_keys(executor.run, info.name)
    uniques = sorted(tuple(sorted(names)) for names in unique if names != frozenset(key))
    return Tracked(
        info.name, number, tuple(map(info.column, key)), tuple(map(info.column, columns)), tuple(uniques)
    )


def flight_sql(tracked: Tracked, number: str) -> str:
    """The statement that makes the table of rows on their way; ``number`` is the type of their numbers."""
    named = [
        *zip(tracked.keys, tracked.key, strict=True),
        *zip(tracked.notes("b"), tracked.others, strict=True),
        *zip(tracked.notes("v"), tracked.others, strict=True),
    ]
    columns = ", ".join(f'"{name}" {column.type}' for name, column in named)
    return (
        f'CREATE TABLE {quote_identifier(tracked.flight)} ("n" {number}, "had" BIGINT NOT NULL, '
        f'"has" BIGINT NOT NULL, {columns})'
    )


def check_references(executors: Iterable[Executor], agreed: Sequence[Agreed]) -> None:
    """See that no column travels that holds a number which each database gives for itself.

    Raises:
        SyncError: if one does.
    """
    synced = {table.name: {*table.key, *table.columns} for table in agreed}
    for executor in executors:
        for name, columns in synced.items():
            for key in executor.engine.catalog.foreign_keys(executor.run, name):
                other = next((one for one in synced if one.lower() == key["references"].lower()), None)
                if other is not None and columns & set(key["columns"]):
                    _refuse_numbers(executor, name, other, key)


def _refuse_numbers(executor: Executor, name: str, other: str, key: Mapping[str, Any]) -> None:
    info = executor.describe(other)
    for own, column in zip(key["columns"], key["keys"], strict=True):
        if info.column(column).identity:
            raise SyncError(
                f"{name}.{own} refers to {other}.{column}, which each database numbers for itself, so that "
                "it would stand for another row on the other side",
                hint="have it refer to what is the same everywhere, or leave it out with columns=",
            )


def in_order(executors: Iterable[Executor], names: Sequence[str]) -> list[str]:
    """Tables so that each comes after those that it refers to.

    Raises:
        SyncError: if some refer to each other in a circle.
    """
    refers: dict[str, set[str]] = {name: set() for name in names}
    for executor in executors:
        for name in names:
            for key in executor.engine.catalog.foreign_keys(executor.run, name):
                other = next((n for n in names if n.lower() == key["references"].lower()), None)
                if other is not None and other != name:
                    refers[name].add(other)
    order: list[str] = []
    while len(order) < len(names):
        free = [name for name in names if name not in order and refers[name] <= set(order)]
        if not free:
            circle = ", ".join(name for name in names if name not in order)
            raise SyncError(
                f"tables refer to each other in a circle: {circle}",
                hint="drop one of the foreign keys, or leave one of the tables out",
            )
        order += free
    return order
