"""Finding the rows of a table that differ between two databases.

Both tables are read once, in whatever order is quickest, and the numbers of their rows added up by segments:
ranges of an integer key, else parts by a hash of the key. Where all sums agree the tables are equal. Of the
segments that do not agree the rows are read again, and told apart by key in a scratch file; those that are
to be shown are then fetched. Reading twice what differs is cheaper than having both servers sort all there
is, and needs no order on which two engines would have to agree.
"""

from __future__ import annotations

import contextlib
import sqlite3
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from holdfast.core.executor import Executor
from holdfast.core.where import qualified
from holdfast.engines.base import Column, TableInfo
from holdfast.engines.names import quote_identifier as quote
from holdfast.transfer.differing import WHICH, RowDifference, TableDifference, Which
from holdfast.transfer.digests import TEXT, Form, digests
from holdfast.transfer.reading import Values, batch_size, inexact, read_batches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers: TypeAlias = NDArray[np.uint64]

Advance = Callable[[int], None]
SEGMENTS = 1 << 16
_MOST_RANGES = 500
_AT_ONCE, _NESTED_AT_ONCE = 500, 200
"""Rows that fit the processor's cache: turning more of them into columns takes more than twice as long.

Of values with parts fewer: the garbage collector looks at all parts of those that it finds in use.
"""
_SHIFT = np.uint64(64 - 16)


class _Unfit(Exception):
    """The key is not what it was taken for; rows have to be found in another way."""


@dataclass(frozen=True)
class Side:
    """One of the two tables, with the columns that both have, in the order of the first."""

    executor: Executor
    info: TableInfo
    names: tuple[str, ...]
    size: int = field(init=False)
    "Rows that are read at a time."

    def __post_init__(self) -> None:
        is_nested = any(column.codec.kind.name == "json" for column in self.columns)
        most = _NESTED_AT_ONCE if is_nested else _AT_ONCE
        object.__setattr__(self, "size", min(most, batch_size(self.executor, self.info)))

    @property
    def columns(self) -> list[Column]:
        return [self.info.column(name) for name in self.names]

    def read(self, where: str = "") -> Iterator[tuple[list[Values], int]]:
        return read_batches(self.executor, self.info, self.names, where=where, size=self.size)


@dataclass(frozen=True)
class Compared:
    """The columns that are compared, how, and which of them are the key; none where there is no key."""

    names: tuple[str, ...]
    forms: Mapping[str, Form]
    key: tuple[str, ...]

    def all_forms(self, side: Side) -> list[Form]:
        """Those of the columns that are read: behind them come texts."""
        return [*(self.forms[name] for name in self.names), *(TEXT for _ in inexact(side.columns))]


class Segments(Protocol):
    """How the rows of a table are told apart, and in which part of the whole each lies."""

    def keys(self, columns: Sequence[Values], rows: Numbers) -> Numbers: ...
    def places(self, keys: Numbers) -> NDArray[np.intp]: ...
    def conditions(self, side: Side, wanted: NDArray[np.intp]) -> Iterator[str]:
        """For each read that together gives all rows of some segments, and maybe others: its WHERE."""
        ...


@dataclass(frozen=True)
class _Ranges:
    """Of an integer key."""

    column: str
    place: int
    low: int
    width: int

    @classmethod
    def of(cls, sides: Sequence[Side], compared: Compared) -> _Ranges | None:
        """``None`` where the key is none of one integer column."""
        kinds = {side.info.column(name).codec.kind.name for side in sides for name in compared.key}
        if len(compared.key) != 1 or kinds != {"integer"}:
            return None
        (name,) = compared.key
        ends: list[Any] = []
        for side in sides:
            # One by one: both are then looked up in the index.
            ends += [
                side.executor.scalar(f"SELECT {end}({quote(name)}) FROM {quote(side.info.name)}")
                for end in ("min", "max")
            ]
        found = [end for end in ends if end is not None]
        if not all(type(end) is int for end in found):
            return None
        low, high = min(found, default=0), max(found, default=0)
        return cls(name, compared.names.index(name), low, (high - low) // SEGMENTS + 1)

    def keys(self, columns: Sequence[Values], rows: Numbers) -> Numbers:
        try:
            return np.array(array("q", columns[self.place])).view(np.uint64)
        except TypeError:
            raise _Unfit from None

    def places(self, keys: Numbers) -> NDArray[np.intp]:
        # Modulo 2**64, which is right even where the difference is more than a signed number holds.
        start, width = np.int64(self.low).view(np.uint64), np.uint64(self.width)
        places: NDArray[np.intp] = np.minimum((keys - start) // width, SEGMENTS - 1).astype(np.intp)
        return places

    def conditions(self, side: Side, wanted: NDArray[np.intp]) -> Iterator[str]:
        runs = np.split(wanted, np.flatnonzero(np.diff(wanted) > 1) + 1)
        if len(runs) > _MOST_RANGES:
            yield ""
            return
        column = qualified(side.info.name, self.column)
        for run in runs:
            first = self.low + int(run[0]) * self.width
            last = self.low + (int(run[-1]) + 1) * self.width - 1
            yield f" WHERE {column} BETWEEN {first} AND {min(last, 2**63 - 1)}"


@dataclass(frozen=True)
class _Hashes:
    """Of the key, or of the whole row where there is no key."""

    places_of_key: tuple[int, ...]
    forms: Sequence[Form]

    @classmethod
    def of(cls, compared: Compared) -> _Hashes:
        places = tuple(compared.names.index(name) for name in compared.key)
        return cls(places, [compared.forms[name] for name in compared.key])

    def keys(self, columns: Sequence[Values], rows: Numbers) -> Numbers:
        if not self.places_of_key:
            return rows
        key = [columns[place] for place in self.places_of_key]
        # SQLite lets a key be NULL, and then more than one row has it.
        if any(None in values for values in key):
            raise _Unfit
        return digests(self.forms, key)

    def places(self, keys: Numbers) -> NDArray[np.intp]:
        return (keys >> _SHIFT).astype(np.intp)

    def conditions(self, side: Side, wanted: NDArray[np.intp]) -> Iterator[str]:
        yield ""


@dataclass
class Found:
    """The rows that differ: how many there are of each sort, and the first of them by their keys' numbers."""

    rows: tuple[int, int]
    counts: dict[Which, int] = field(default_factory=lambda: dict.fromkeys(WHICH, 0))
    first: dict[int, tuple[Which, int]] = field(default_factory=dict)

    @property
    def differing(self) -> tuple[int, int, int]:
        return self.counts["only in a"], self.counts["only in b"], self.counts["changed"]


def compare_rows(
    sides: tuple[Side, Side],
    compared: Compared,
    *,
    limit: int | None,
    values: bool,
    advance: Advance | None = None,
) -> TableDifference:
    """Compare two tables, by key if there is one that can be used."""
    for by, ranged in ((compared.key, True), (compared.key, False), ((), False)):
        compared = replace(compared, key=by)
        segments: Segments | None = _Ranges.of(sides, compared) if ranged else _Hashes.of(compared)
        if segments is None:
            continue
        work = _Work(sides, compared, segments, advance)
        with contextlib.suppress(_Unfit):
            found = work.found(limit)
            rows = tuple(work.details(found, values=values))
            return TableDifference(sides[0].info.name, by, *found.rows, *found.differing, rows)
    raise AssertionError("rows can always be compared as a whole")


@dataclass(frozen=True)
class _Work:
    """One comparison of two tables, with the rows told apart in one way."""

    sides: tuple[Side, Side]
    compared: Compared
    segments: Segments
    advance: Advance | None

    def numbered(self, side: Side, where: str = "") -> Iterator[tuple[list[Values], Numbers, Numbers]]:
        """Rows as columns, the numbers of their keys, and their own."""
        forms = self.compared.all_forms(side)
        for columns, _ in side.read(where):
            rows = digests(forms, columns)
            yield columns, self.segments.keys(columns, rows), rows

    def found(self, limit: int | None) -> Found:
        (sums, count), (others, other_count) = (self._sums(side) for side in self.sides)
        found = Found((count, other_count))
        wanted = np.flatnonzero(sums != others)
        if len(wanted):
            with closing(sqlite3.connect("")) as scratch:
                self._spread(scratch, wanted)
                self._tell_apart(scratch, found, limit)
        return found

    def _sums(self, side: Side) -> tuple[Numbers, int]:
        """For each segment the sum of its rows' numbers, modulo 2**64; and how many rows there are."""
        sums, count = np.zeros(SEGMENTS, np.uint64), 0
        for _, keys, rows in self.numbered(side):
            np.add.at(sums, self.segments.places(keys), rows)
            count += len(rows)
            if self.advance is not None:
                self.advance(len(rows))
        return sums, count

    def _spread(self, scratch: sqlite3.Connection, wanted: NDArray[np.intp]) -> None:
        """Put the numbers of all rows in some segments into a file of its own that is gone when closed."""
        scratch.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; CREATE TABLE found (k, side, h)"
        )
        is_wanted = np.zeros(SEGMENTS, np.bool_)
        is_wanted[wanted] = True
        for number, side in enumerate(self.sides):
            for where in self.segments.conditions(side, wanted):
                for _, keys, rows in self.numbered(side, where):
                    chosen = is_wanted[self.segments.places(keys)]
                    pairs = (part[chosen].view(np.int64).tolist() for part in (keys, rows))
                    scratch.executemany(
                        "INSERT INTO found VALUES (?, ?, ?)",
                        [(key, number, row) for key, row in zip(*pairs, strict=True)],
                    )

    def _tell_apart(self, scratch: sqlite3.Connection, found: Found, limit: int | None) -> None:
        rows = scratch.execute(
            "SELECT k, sum(side = 0) AS a, sum(side = 1) AS b FROM found GROUP BY k HAVING a <> b "
            "OR max(CASE side WHEN 0 THEN h END) <> max(CASE side WHEN 1 THEN h END) ORDER BY k"
        )
        for key, a, b in rows:
            which: Which = "changed" if a == b else "only in a" if a > b else "only in b"
            times = max(1, abs(a - b))
            found.counts[which] += times
            if limit is None or len(found.first) < limit:
                found.first[key] = which, times

    def details(self, found: Found, *, values: bool) -> Iterator[RowDifference]:
        """The first rows themselves; without a key there is nothing to tell but their values."""
        if not (self.compared.key or values):
            return
        here, there = (self._fetched(side, found, values) for side in self.sides)
        for key, (which, times) in found.first.items():
            a, b = here.get(key), there.get(key)
            row = a or b
            assert row is not None
            columns = self._changed(a, b) if a and b and which == "changed" else ()
            shown = columns or self.compared.names
            both = [{name: one.values[name] for name in shown} if one and values else None for one in (a, b)]
            by = {name: row.key[name] for name in self.compared.key} if self.compared.key else None
            yield RowDifference(which, by, columns, both[0], both[1], times)

    def _fetched(self, side: Side, found: Found, values: bool) -> dict[int, _Row]:
        other = "only in b" if side is self.sides[0] else "only in a"
        wanted = np.array([key for key, (which, _) in found.first.items() if which != other], np.int64)
        keys_wanted = wanted.view(np.uint64)
        got: dict[int, _Row] = {}
        if not len(wanted):
            return got
        for where in self.segments.conditions(side, np.unique(self.segments.places(keys_wanted))):
            for columns, keys, _ in self.numbered(side, where):
                for at in np.flatnonzero(np.isin(keys, keys_wanted)).tolist():
                    cells = [column[at] for column in columns]
                    got.setdefault(int(keys[at].view(np.int64)), self._row(side, cells, values))
        return got

    def _row(self, side: Side, cells: Values, values: bool) -> _Row:
        named = dict(zip(self.compared.names, cells, strict=False))
        forms = self.compared.all_forms(side)
        numbers = [int(form([cell])[0]) for form, cell in zip(forms, cells, strict=True)]
        return _Row({name: named[name] for name in self.compared.key}, numbers, named if values else {})

    def _changed(self, a: _Row, b: _Row) -> tuple[str, ...]:
        names = [*self.compared.names, *(column.name for column in inexact(self.sides[0].columns))]
        pairs = zip(names, a.numbers, b.numbers, strict=True)
        changed = {name for name, one, other in pairs if one != other}
        return tuple(name for name in self.compared.names if name in changed)


@dataclass(frozen=True, slots=True)
class _Row:
    """What is kept of a row until that of the other side is there: not its values, which may be large."""

    key: Mapping[str, Any]
    numbers: Sequence[int]
    values: Mapping[str, Any]
