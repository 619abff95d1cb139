"""What the columns of tables hold: types, NULLs, distinct values, bounds and examples."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from time import monotonic
from typing import Any
from uuid import UUID

from holdfast.core.executor import Executor
from holdfast.engines.base import Column, Fragment, TableInfo
from holdfast.errors import (
    ClosedError,
    ConfigurationError,
    ConnectionFailed,
    DatabaseBusy,
    Error,
    OutOfTime,
    TransactionError,
)
from holdfast.inspection.reading import Count, count, counted, describe_view, reading

MOST_ROWS, FEWEST_ROWS, MOST_VALUES = 100_000, 1_000, 1_000_000
LONGEST_TEXT = 1_000
EXAMPLES, _MOST_COUNTED, _LONGEST_KEY = 3, 200, 32
_COUNTING, _MEASURING = 0.3, 0.1
"Shares of the time."
_SHORT = 2.0
"Seconds for a question to the catalogue, which is answered at once unless somebody has locked the table."
_BATCH = 2_000
_NUMBERS = frozenset({"integer", "float", "decimal"})
_ORDERED = _NUMBERS | {"text", "boolean", "date", "time", "timestamp", "timestamptz", "interval", "uuid"}
_NAMES: Mapping[type, str] = {
    bool: "boolean", int: "integer", float: "float", Decimal: "decimal", str: "text", bytes: "bytes",
    date: "date", time: "time", timedelta: "interval", UUID: "uuid", dict: "json", list: "array",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """A column as it is declared, and what it was found to hold.

    ``types`` counts the values by what they are: SQLite takes a text in an INTEGER column. ``min`` and
    ``max`` are of the kind that most of them are, texts by code point; ``examples`` are the most frequent
    values where there are few. Binary values are only counted, of texts the first 1,000 characters are read.
    ``problem`` is why its values could not be read.
    """

    name: str
    type: str
    nullable: bool
    default: str | None
    primary_key: bool
    references: str | None
    types: Mapping[str, int]
    nulls: int
    distinct: int | None
    min: Any
    max: Any
    examples: tuple[Any, ...]
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class TableProfile:
    """A table or a view: what it is made of, and what ``read`` of its rows hold.

    ``rows`` were counted if ``is_exact``, estimated if not, ``None`` if nobody knows. If ``is_sample``, not
    all rows were read, so that there may be more distinct values, and others beyond ``min`` and ``max``.
    ``size`` is in bytes, with indexes; ``problem`` is why rows could not be read.
    """

    name: str
    is_view: bool
    rows: int | None
    is_exact: bool
    read: int
    is_sample: bool
    size: int | None
    columns: tuple[ColumnProfile, ...]
    primary_key: tuple[str, ...]
    foreign_keys: tuple[Mapping[str, Any], ...]
    indexes: tuple[Mapping[str, Any], ...]
    triggers: tuple[Mapping[str, Any], ...]
    sql: str
    problem: str | None = None

    def __getitem__(self, column: str) -> ColumnProfile:
        return next(item for item in self.columns if item.name == column)


@dataclass(frozen=True, slots=True)
class Profile:
    """The tables and views that were looked into; ``print`` it, or let a notebook show it.

    ``size`` is that of the whole database in bytes, ``seconds`` how long it took.
    """

    engine: str
    size: int
    seconds: float
    tables: tuple[TableProfile, ...]

    def __getitem__(self, table: str) -> TableProfile:
        return next(item for item in self.tables if item.name == table)

    def __iter__(self) -> Iterator[TableProfile]:
        return iter(self.tables)

    def __len__(self) -> int:
        return len(self.tables)

    def __str__(self) -> str:
        from holdfast.inspection import profiletext

        return profiletext.text(self)

    def _repr_html_(self) -> str:
        """The same as HTML tables, which Jupyter shows."""
        from holdfast.inspection import profiletext

        return profiletext.as_html(self)


def look_into(
    executor: Executor, tables: str | Sequence[str] | None, *, rows: int | None, seconds: float
) -> Profile:
    """Look into tables and views, by default all, for about so many seconds."""
    _check(rows, seconds)
    begun = monotonic()
    catalog, upkeep, run = executor.engine.catalog, executor.engine.upkeep, executor.run
    views = set(catalog.views(run))
    names = [*catalog.tables(run), *sorted(views)] if tables is None else _asked(executor, tables, views)
    counts = _counts(executor, [name for name in names if name not in views], seconds * _COUNTING)
    sizes = _sizes(executor, seconds * _MEASURING)
    indexes = _indexes(executor, names, begun + seconds)
    triggers = _by_table(catalog.triggers(run, None))
    found = []
    for number, name in enumerate(names):
        share = (begun + seconds - monotonic()) / (len(names) - number)
        read = _Table(executor, name, name in views, counts.get(name, Count(None, False)))
        read.read(rows, share)
        found.append(read.profile(sizes.get(name), indexes.get(name, ()), triggers[name]))
    return Profile(upkeep.version(run), upkeep.size(run), monotonic() - begun, tuple(found))


def _check(rows: int | None, seconds: float) -> None:
    if rows is not None and (isinstance(rows, bool) or not isinstance(rows, int) or rows < 1):
        raise ConfigurationError("rows must be a whole number from 1 on")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < float("inf"):
        raise ConfigurationError("seconds must be a number above 0")


def _asked(executor: Executor, tables: str | Sequence[str], views: set[str]) -> list[str]:
    names = list(dict.fromkeys([tables] if isinstance(tables, str) else tables))
    for name in names:
        if name not in views:
            executor.describe(name)
    return names


def _counts(executor: Executor, names: Sequence[str], seconds: float) -> Mapping[str, Count]:
    """As far as tables can be read; of one that cannot, its profile says why."""
    try:
        return counted(executor, names, seconds)
    except _LOST:
        raise
    except Error:
        found = {}
        for name in names:
            try:
                found[name] = count(executor, name, seconds / len(names))
            except _LOST:
                raise
            except Error:
                continue
        return found


def _sizes(executor: Executor, seconds: float) -> Mapping[str, int]:
    try:
        with reading(executor, seconds):
            return executor.engine.upkeep.table_sizes(executor.run)
    except _LOST:
        raise
    except Error:
        return {}


def _indexes(
    executor: Executor, names: Sequence[str], end: float
) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """Those of all tables at once; where one of them is locked, table by table, and of that one none."""
    catalog, run = executor.engine.catalog, executor.run
    try:
        with reading(executor, (end - monotonic()) * _MEASURING):
            return _by_table(catalog.indexes(run, None))
    except (DatabaseBusy, OutOfTime):
        found = {}
        for name in names:
            with suppress(DatabaseBusy, OutOfTime), reading(executor, (end - monotonic()) / len(names) / 2):
                found[name] = catalog.indexes(run, name)
        return found


_LOST = (ConnectionFailed, ClosedError, TransactionError)
"What no table is at fault for."


def _by_table(items: Iterable[Mapping[str, Any]]) -> Mapping[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for item in items:
        found[item["table"]].append(item)
    return found


class _Table:
    """One table or view while it is read."""

    def __init__(
        self, executor: Executor, name: str, is_view: bool, counted: Count, *, only: Column | None = None
    ) -> None:
        self._executor, self._name, self._is_view, self._count = executor, name, is_view, counted
        found = describe_view(executor, name) if is_view else executor.describe(name)
        self._info = found or TableInfo(name, (), (), is_view=True)
        self._problem = None if found else "what the view selects from is not there"
        self._columns = [_Values(column) for column in ([only] if only else self._info.columns)]
        self._read, self._is_whole = 0, False

    def read(self, rows: int | None, seconds: float) -> None:
        """Read all rows if they are few enough, or else some, until the time is up."""
        end = monotonic() + seconds
        try:
            self._read_within(rows, end)
        except OutOfTime:
            pass
        except _LOST:
            raise
        except DatabaseBusy as exc:
            self._problem = exc.message
        except Error as exc:
            self._problem = exc.message
            if len(self._columns) > 1:
                self._read_one_by_one(rows, end)
        if self._is_whole:
            self._count = Count(self._read, True)

    def _read_within(self, rows: int | None, end: float) -> None:
        most = rows or min(MOST_ROWS, max(FEWEST_ROWS, MOST_VALUES // max(1, len(self._columns))))
        whole = f"FROM {self._executor.engine.quote(self._name)} LIMIT ?"
        if not self._columns:
            self._is_whole = self._count.rows == 0
        elif self._is_view or self._count.rows is None or self._count.rows <= most:
            self._is_whole = self._read_part((whole, [most + 1]), most, end)
        else:
            self._read_sample(most, self._count.rows, end)
            if not self._read:
                self._read_part((whole, [most]), most, end)

    def _read_one_by_one(self, rows: int | None, end: float) -> None:
        """Find the columns at fault, unless all are: a date out of range, or a text that is none."""
        apart = [
            _Table(self._executor, self._name, self._is_view, self._count, only=column)
            for column in self._info.columns
        ]
        for number, one in enumerate(apart):
            one.read(rows, (end - monotonic()) / (len(apart) - number))
        good = [one for one in apart if one._problem is None]
        if good:
            self._problem = None
            self._read = max(one._read for one in good)
            self._is_whole = all(one._is_whole for one in good)
            self._columns = [one._columns[0] for one in apart]
            for column, one in zip(self._columns, apart, strict=True):
                column.problem = one._problem

    def _read_sample(self, most: int, of: int, end: float) -> None:
        run, upkeep = self._executor.run, self._executor.engine.upkeep
        with reading(self._executor, end - monotonic()):
            parts = upkeep.sample(run, self._info, most, of)
        # So that those that are read before the time is up are from all over the table, too.
        random.Random(0).shuffle(parts)  # noqa: S311 - nothing is secret
        for part in parts:
            self._read_part(part, most, end)

    def _read_part(self, part: Fragment, most: int, end: float) -> bool:
        """Read what a fragment selects; whether it came to its end without being stopped."""
        left = end - monotonic()
        if left <= 0:
            raise OutOfTime("the time is up")
        asked = ", ".join(column.asked(self._executor.engine.quote) for column in self._columns)
        with reading(self._executor, left):
            batches = self._executor.stream(
                f"SELECT {asked} {part[0]}", part[1], batch_size=_BATCH, undisturbed=True
            )
            for batch in batches:
                kept = batch[: most - self._read]
                for column, values in zip(self._columns, zip(*kept, strict=True), strict=bool(kept)):
                    column.add(values)
                self._read += len(kept)
                if len(kept) < len(batch):
                    return False
                if monotonic() > end:
                    raise OutOfTime("the time is up")
        return True

    def profile(
        self,
        size: int | None,
        indexes: Sequence[Mapping[str, Any]],
        triggers: Sequence[Mapping[str, Any]],
    ) -> TableProfile:
        catalog, run = self._executor.engine.catalog, self._executor.run
        keys = [] if self._is_view else catalog.foreign_keys(run, self._name)
        target = {column: key["references"] for key in reversed(keys) for column in key["columns"]}
        return TableProfile(
            self._name,
            self._is_view,
            self._count.rows,
            self._count.is_exact,
            self._read,
            not self._is_whole,
            size,
            tuple(column.profile(target.get(column.name)) for column in self._columns),
            self._info.primary_key,
            tuple(keys),
            tuple(indexes),
            tuple(triggers),
            self._create_sql(),
            self._problem,
        )

    def _create_sql(self) -> str:
        """The CREATE statement; none of what cannot be looked at because it is locked."""
        try:
            with reading(self._executor, _SHORT):
                return self._executor.engine.catalog.create_sql(self._executor.run, self._name)
        except (DatabaseBusy, OutOfTime) as exc:
            self._problem = self._problem or exc.message
            return ""


class _Values:
    """What is learnt of a column, batch by batch."""

    def __init__(self, column: Column) -> None:
        self._column, self.name, self._kind = column, column.name, column.codec.kind.name
        self._types: Counter[str] = Counter()
        self._bounds: dict[str, tuple[Any, Any]] = {}
        self._seen: set[Any] = set()
        self._common: Counter[Any] | None = Counter()
        self._first: list[Any] = []
        self._nulls = 0
        self.problem: str | None = None

    def asked(self, quote: Callable[[str], str]) -> str:
        """The column in a SELECT, without what would be long."""
        name = quote(self.name)
        if self._kind == "bytes":
            return f"length({name}) AS {name}"
        if self._kind != "text":
            return name
        short = f"substr({name}, 1, {LONGEST_TEXT})"
        return f"CASE WHEN length({name}) > {LONGEST_TEXT} THEN {short} ELSE {name} END AS {name}"

    def add(self, values: Sequence[Any]) -> None:
        present = [value for value in values if value is not None]
        self._nulls += len(values) - len(present)
        if self._kind == "bytes":
            self._types.update({"bytes": len(present)} if present else {})
            return
        decode = self._column.codec.decode
        if decode is not None:
            present = [decode(value) for value in present]
        for kind, group in self._by_kind(present).items():
            self._types[kind] += len(group)
            self._bound(kind, group)
            keys = group if kind in _ORDERED - {"text"} else [_key(value) for value in group]
            if kind in _NUMBERS:
                keys = [value if value == value else "NaN" for value in group]
            self._seen.update(keys)
        self._collect(present)

    def _by_kind(self, values: Sequence[Any]) -> Mapping[str, Sequence[Any]]:
        kinds = {type(value) for value in values}
        if self._kind == "json":
            return {"json": values} if values else {}
        if kinds & {datetime} or len(kinds) > 1:
            groups: dict[str, list[Any]] = defaultdict(list)
            for value in values:
                groups[_named(value)].append(value)
            return groups
        return {_named(values[0]): values} if values else {}

    def _bound(self, kind: str, values: Sequence[Any]) -> None:
        if kind not in _ORDERED:
            return
        family = "number" if kind in _NUMBERS else kind
        known = [value for value in values if value == value]
        if known:
            known += self._bounds.get(family, ())
            self._bounds[family] = min(known), max(known)

    def _collect(self, values: Sequence[Any]) -> None:
        """The most frequent values as long as they are few, or else the first ones."""
        counts = self._common
        if counts is not None and self._kind != "json" and not any(isinstance(one, list) for one in values):
            counts.update(values)
            self._first = _most_frequent(counts)
            self._common = counts if len(counts) <= _MOST_COUNTED else None
        elif len(self._first) < EXAMPLES:
            self._first = [*self._first, *values][:EXAMPLES]

    def profile(self, references: str | None) -> ColumnProfile:
        column = self._column
        families: Counter[str] = Counter()
        for kind, number in self._types.items():
            families["number" if kind in _NUMBERS else kind] += number
        most = next((family for family, _ in families.most_common() if family in self._bounds), "")
        low, high = self._bounds.get(most, (None, None))
        return ColumnProfile(
            column.name,
            column.type,
            column.nullable,
            column.default,
            column.primary_key,
            references,
            dict(self._types.most_common()),
            self._nulls,
            None if self._kind == "bytes" else len(self._seen),
            low,
            high,
            tuple(self._first),
            self.problem,
        )


def _most_frequent(counts: Counter[Any]) -> list[Any]:
    """The same on every engine, in whatever order the rows came."""
    try:
        ordered = sorted(counts, key=lambda value: (-counts[value], value))
    except TypeError:
        ordered = sorted(counts, key=lambda value: (-counts[value], str(value)))
    return ordered[:EXAMPLES]


def _named(value: Any) -> str:
    if isinstance(value, datetime):
        return "timestamp" if value.tzinfo is None else "timestamptz"
    return _NAMES.get(type(value), "other")


def _key(value: Any) -> Any:
    """What stands for a value among those seen: a short text itself, for the rest 64 bits of it."""
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_KEY else hash(value)
    if isinstance(value, bytes):
        return hash(value)
    return hash(json.dumps(value, sort_keys=True, default=repr))
