"""Items of LangGraph's stores as rows, and back."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from langgraph.store.base import Item, MatchCondition, SearchItem

from holdfast.core.executor import Executor
from holdfast.core.transaction import Transaction
from holdfast.engines.base import Fragment, OwnedVector
from holdfast.memory.filters import of_document
from holdfast.memory.langgraph.filtering import divided, fits
from holdfast.memory.langgraph.likeness import Likeness
from holdfast.memory.langgraph.tables import ITEMS, VECTORS
from holdfast.memory.records import Vector, moment_of

Namespace = tuple[str, ...]
Place = tuple[str, str]
"""A namespace as it is stored, and a key."""
Row = tuple[Any, ...]
MOST_AT_ONCE = 500
_READ = ("n", "namespace", "key", "value", "created_at", "updated_at", "ttl")
_LISTING = ", ".join(f'"{ITEMS}"."{name}"' for name in _READ)
_WRITTEN = ("namespace", "key", "value", "created_at", "updated_at", "ttl", "expires_at")
_NAMES = ", ".join(f'"{name}"' for name in _WRITTEN)
_ON_CONFLICT = (
    'ON CONFLICT ("namespace", "key") DO UPDATE SET "value" = excluded."value", '
    # Each version of an item is of another moment, whatever the clocks say.
    f'"updated_at" = CASE WHEN "{ITEMS}"."updated_at" < excluded."updated_at" '
    f'THEN excluded."updated_at" ELSE "{ITEMS}"."updated_at" + 1 END, '
    '"ttl" = excluded."ttl", "expires_at" = excluded."expires_at", '
    # One that has expired is gone, be it still there.
    f'"created_at" = CASE WHEN "{ITEMS}"."expires_at" <= excluded."updated_at" '
    f'THEN excluded."created_at" ELSE "{ITEMS}"."created_at" END'
)
# Of the version that the statement saw when it began, with its vectors.
_IF_UNCHANGED = (
    f'WHERE "{ITEMS}"."updated_at" = (SELECT seen."updated_at" FROM "{ITEMS}" AS seen '
    'WHERE seen."namespace" = excluded."namespace" AND seen."key" = excluded."key")'
)


@dataclass(frozen=True, slots=True)
class Put:
    """An item to be written, with the vectors of its fields; without a value, one to be removed."""

    namespace: Namespace
    key: str
    value: Mapping[str, Any] | None
    ttl: int | None = None
    vectors: Mapping[str, Vector] | None = None

    @property
    def place(self) -> Place:
        return ".".join(self.namespace), self.key


@dataclass(frozen=True, slots=True)
class Asked:
    """A search as it was asked for."""

    prefix: Namespace
    filter: Mapping[str, Any] | None
    vector: Vector | None
    limit: int
    offset: int


class Items:
    """Reads and writes the items of one database."""

    def __init__(self, executor: Executor, kind: str, model: str) -> None:
        self._executor, self._kind, self._model = executor, kind, model
        self._codec = executor.describe(ITEMS).column("value").codec
        self._likeness = Likeness(executor, kind, model)

    # Writing

    def write(self, puts: Sequence[Put]) -> None:
        """Write and remove items, all or none of them."""
        gone = [put.place for put in puts if put.value is None]
        kept = [put for put in puts if put.value is not None]
        now = _now()
        rows = [self._row(put, now) for put in kept]
        is_plain = len(puts) == 1 and bool(kept) and not kept[0].vectors
        if is_plain and self._executor.engine.features.writes_in_with and self._put_at_once(kept[0], rows[0]):
            return
        with Transaction(self._executor):
            for some in _portions(gone):
                self._executor.run(f'DELETE FROM "{ITEMS}" WHERE {_among(len(some))}', _joined(some))
            for at in range(0, len(rows), MOST_AT_ONCE):
                self._put(kept[at : at + MOST_AT_ONCE], rows[at : at + MOST_AT_ONCE])

    def _put_at_once(self, put: Put, row: Row) -> bool:
        """Write an item without vectors by one statement, unless another transaction is changing it.

        What that has written is nothing that the statement can see, and its vectors would stay.
        """
        sql = f"WITH old AS ({_forget(1)}) {_insert(1)} {_IF_UNCHANGED}"
        return bool(self._executor.run(sql, [*put.place, *row]).rowcount)

    def _row(self, put: Put, now: int) -> Row:
        value = self._codec.encode(dict(put.value or {}))
        return (*put.place, value, now, now, put.ttl, None if put.ttl is None else now + put.ttl)

    def _put(self, puts: Sequence[Put], rows: Sequence[Row]) -> None:
        executor = self._executor
        executor.run(_insert(len(rows)), _joined(rows))
        # By now nobody else writes these items, so no vector of an older value comes back.
        executor.run(_forget(len(rows)), _joined([put.place for put in puts]))
        with_vectors = {put.place: put.vectors for put in puts if put.vectors}
        if not with_vectors:
            return
        numbers = executor.rows(
            f'SELECT "n", "namespace", "key" FROM "{ITEMS}" WHERE {_among(len(with_vectors))}',
            _joined(list(with_vectors)),
        )
        owned = [
            OwnedVector(n, namespace, key, path, self._model, vector)
            for n, namespace, key in numbers
            for path, vector in with_vectors[namespace, key].items()
        ]
        put, kind = executor.engine.vectors.put, self._kind
        executor.drive(lambda raw: put(raw, f'"{VECTORS}"', kind, owned))

    def sweep(self) -> int:
        """Remove what has expired."""
        cursor = self._executor.run(f'DELETE FROM "{ITEMS}" WHERE "expires_at" <= ?', (_now(),))
        return cursor.rowcount

    def _refresh(self, rows: Sequence[Row]) -> None:
        numbers = [row[0] for row in rows if row[6] is not None]
        for some in _portions(numbers):
            self._executor.run(
                f'UPDATE "{ITEMS}" SET "expires_at" = ? + "ttl" '
                f'WHERE "ttl" IS NOT NULL AND "n" IN ({", ".join("?" * len(some))})',
                [_now(), *some],
            )

    # Reading

    def get(self, wanted: Mapping[Place, bool]) -> dict[Place, Item]:
        """The items at these places; the time to live of those that say so begins anew."""
        found: dict[Place, Row] = {}
        for some in _portions(list(wanted)):
            for row in self._executor.rows(_get(len(some)), [*_joined(some), _now()]):
                found[row[1], row[2]] = row
        self._refresh([row for place, row in found.items() if row[6] is not None and wanted[place]])
        return {place: Item(**self._fields(row)) for place, row in found.items()}

    def _fields(self, row: Row) -> dict[str, Any]:
        return {
            "namespace": tuple(row[1].split(".")),
            "key": row[2],
            "value": self._value(row[3]),
            "created_at": moment_of(row[4]),
            "updated_at": moment_of(row[5]),
        }

    def _value(self, stored: Any) -> Any:
        return stored if self._codec.decode is None else self._codec.decode(stored)

    def search(self, asked: Asked, is_refreshed: bool) -> list[SearchItem]:
        """The items that a search finds: by likeness, or in the order in which they came."""
        plain, deep = divided(asked.filter)
        below, names = _below(asked.prefix)
        sql, given = of_document(self._executor.engine, f'"{ITEMS}"', "value", plain)
        condition: Fragment = f"{below} AND {sql} AND {_IS_THERE}", [*names, *given, _now()]
        if asked.vector is None:
            rows = self._in_order(condition, deep, asked)
            scores: dict[int, float | None] = {}
        else:
            rows, scores = self._by_likeness(condition, deep, asked, asked.vector)
        if is_refreshed:
            self._refresh(rows)
        return [SearchItem(**self._fields(row), score=scores.get(row[0])) for row in rows]

    def _in_order(self, condition: Fragment, deep: Mapping[str, Any], asked: Asked) -> list[Row]:
        sql, given = condition
        if not deep:
            return self._executor.rows(
                f'SELECT {_LISTING} FROM "{ITEMS}" WHERE {sql} ORDER BY "n" LIMIT ? OFFSET ?',
                [*given, asked.limit, asked.offset],
            )
        found: list[Row] = []
        for number, row in enumerate(self._fitting(condition, deep)):
            if len(found) >= asked.limit:
                break
            if number >= asked.offset:
                found.append(row)
        return found

    def _fitting(self, condition: Fragment, deep: Mapping[str, Any]) -> Iterator[Row]:
        """The items that satisfy a condition and a filter on what lies deeper, some at a time."""
        sql, given = condition
        last = -(2**63)
        while True:
            rows = self._executor.rows(
                f'SELECT {_LISTING} FROM "{ITEMS}" WHERE {sql} AND "{ITEMS}"."n" > ? ORDER BY "n" LIMIT ?',
                [*given, last, MOST_AT_ONCE],
            )
            yield from (row for row in rows if fits(self._value(row[3]), deep))
            if len(rows) < MOST_AT_ONCE:
                return
            last = rows[-1][0]

    def _by_likeness(
        self, condition: Fragment, deep: Mapping[str, Any], asked: Asked, vector: Vector
    ) -> tuple[list[Row], dict[int, float | None]]:
        if deep:
            allowed = {row[0] for row in self._fitting(condition, deep)}
            ranked = self._likeness.ranked(condition, vector, 2**31)
            ranked = [found for found in ranked if found[0] in allowed]
        else:
            ranked = self._likeness.ranked(condition, vector, min(asked.offset + asked.limit, 2**31))
        scores = dict(ranked[asked.offset : asked.offset + asked.limit])
        rows: dict[int, Row] = {}
        for some in _portions(list(scores)):
            marks = ", ".join("?" * len(some))
            listing = f'SELECT {_LISTING} FROM "{ITEMS}" WHERE "n" IN ({marks})'
            rows |= {row[0]: row for row in self._executor.rows(listing, some)}
        return [rows[n] for n in scores if n in rows], scores

    def namespaces(self, conditions: Sequence[MatchCondition], depth: int | None) -> list[Namespace]:
        """The namespaces that hold items and match, cut to a depth, in their order."""
        sql, given = _below(_fixed(conditions))
        rows = self._executor.rows(
            f'SELECT DISTINCT "namespace" FROM "{ITEMS}" WHERE {sql} AND {_IS_THERE}', [*given, _now()]
        )
        every = (tuple(namespace.split(".")) for (namespace,) in rows)
        matching = (each for each in every if all(_matches(each, condition) for condition in conditions))
        return sorted({each[:depth] for each in matching})


_IS_THERE = f'("{ITEMS}"."expires_at" IS NULL OR "{ITEMS}"."expires_at" > ?)'


def _now() -> int:
    return time.time_ns() // 1000


def _below(prefix: Sequence[str]) -> Fragment:
    """A namespace and all that lie in it."""
    if not prefix:
        return "TRUE", []
    # Those begin with its name and a dot, and the character after a dot is a slash.
    name = ".".join(prefix)
    column = f'"{ITEMS}"."namespace"'
    # One range, for a single walk along the index, without the names that go on otherwise, as with a minus.
    sql = f"({column} >= ? AND {column} < ? AND ({column} > ? OR {column} = ?))"
    return sql, [name, f"{name}/", f"{name}.", name]


def _fixed(conditions: Sequence[MatchCondition]) -> Namespace:
    """The labels that every namespace that matches begins with."""
    for condition in conditions:
        if condition.match_type == "prefix":
            path = tuple(condition.path)
            return path[: path.index("*")] if "*" in path else path
    return ()


def _matches(namespace: Namespace, condition: MatchCondition) -> bool:
    path = tuple(condition.path)
    if len(path) > len(namespace):
        return False
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[-len(path) :]
    return not path or all(wanted in ("*", label) for wanted, label in zip(path, part, strict=True))


@cache
def _insert(count: int) -> str:
    marks = f"({', '.join('?' * len(_WRITTEN))})"
    return f'INSERT INTO "{ITEMS}" ({_NAMES}) VALUES {", ".join([marks] * count)} {_ON_CONFLICT}'


@cache
def _among(count: int) -> str:
    if count == 1:
        return f'"{ITEMS}"."namespace" = ? AND "{ITEMS}"."key" = ?'
    return f'("{ITEMS}"."namespace", "{ITEMS}"."key") IN (VALUES {", ".join(["(?, ?)"] * count)})'


@cache
def _forget(count: int) -> str:
    return f'DELETE FROM "{VECTORS}" WHERE "n" IN (SELECT "n" FROM "{ITEMS}" WHERE {_among(count)})'


@cache
def _get(count: int) -> str:
    return f'SELECT {_LISTING} FROM "{ITEMS}" WHERE {_among(count)} AND {_IS_THERE}'


def _joined(rows: Sequence[Sequence[Any]]) -> list[Any]:
    return [value for row in rows for value in row]


def _portions(rows: Sequence[Any]) -> Iterator[Any]:
    return (rows[at : at + MOST_AT_ONCE] for at in range(0, len(rows), MOST_AT_ONCE))
