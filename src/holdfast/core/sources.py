"""Rows in whatever form they are given, as chunks of columns: dicts, tuples, objects, frames, Arrow."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import islice
from operator import attrgetter
from typing import Any

from holdfast.core import frames
from holdfast.errors import InvalidQuery

Names = tuple[str, ...]
_FIRST = 20
_SAMPLE = 8
_FORMS = "dicts, tuples, dataclasses, Pydantic models, a DataFrame or an Arrow table"


@dataclasses.dataclass(frozen=True, slots=True)
class Arrow:
    """Some rows as Arrow arrays, if they can be had, or as chunks of Python's values."""

    arrays: Callable[[], Sequence[Any] | None]
    plain: Callable[[frames.Kinds], Iterator[Chunk]]


@dataclasses.dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows that have the same columns, by column: as values, or not yet."""

    names: Names
    columns: Sequence[Sequence[Any]]
    count: int
    arrow: Arrow | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """Where rows come from. ``is_inert``: reading on runs no code that might use the database."""

    chunks: Iterator[Chunk]
    is_inert: Callable[[], bool]


def source_of(rows: Any, default: Names, columns: Sequence[str] | None, size: int, most_bytes: int) -> Source:
    """The chunks of ``rows``, each of at most ``size`` of them and of about ``most_bytes``.

    ``columns`` says what the values of a row without names are, and picks those of a row with names;
    ``default`` are the columns that rows without names otherwise have.

    Raises:
        InvalidQuery: if these are no rows; of a row, when the rows before it have been taken.
    """
    if isinstance(rows, Source):
        return rows
    picked = _picked(columns)
    framed = frames.columns_of(rows, size)
    if framed is not None:
        return Source(framed_chunks(framed, picked), partial(frames.is_inert, rows))
    if isinstance(rows, (str, bytes, bytearray)) or not isinstance(rows, Iterable):
        raise InvalidQuery(f"rows must be a list of dicts, not {type(rows).__name__}", hint=f"or {_FORMS}")
    if hasattr(rows, "keys"):
        raise InvalidQuery("rows must be a list of dicts, not one dict", hint="insert() takes a single row")
    return Source(_read(iter(rows), picked, default, size, most_bytes), cache(partial(_is_inert, rows)))


def _is_inert(rows: Any) -> bool:
    return type(rows) in (list, tuple) and {dict, list, tuple}.issuperset(map(type, rows))


def _picked(columns: Sequence[str] | None) -> Names | None:
    if columns is None:
        return None
    names = tuple(columns)
    if isinstance(columns, str) or not names or any(not isinstance(name, str) for name in names):
        raise InvalidQuery("columns must be a list of column names", hint="columns=['a', 'b']")
    if len(set(names)) < len(names):
        raise InvalidQuery("columns names a column twice")
    return names


def framed_chunks(framed: Iterator[frames.Part], picked: Names | None = None) -> Iterator[Chunk]:
    """The parts of a frame, or those of its columns that are ``picked``."""
    for part in framed:
        names = part.names
        wanted = names if picked is None else picked
        if missing := [name for name in wanted if name not in names]:
            raise InvalidQuery(f"the frame has no column {missing[0]!r}", hint=f"columns: {', '.join(names)}")
        yield _of_part(part, wanted, [names.index(name) for name in wanted])


def _of_part(part: frames.Part, names: Names, places: list[int]) -> Chunk:
    def plain(kinds: frames.Kinds) -> Iterator[Chunk]:
        for columns in part.values(kinds):
            yield Chunk(names, [columns[place] for place in places], len(columns[0]))

    def arrays() -> Sequence[Any] | None:
        found = part.arrays()
        return None if found is None else [found[place] for place in places]

    return Chunk(names, (), part.count, Arrow(arrays, plain))


def _read(
    rows: Iterator[Any], picked: Names | None, default: Names, size: int, most_bytes: int
) -> Iterator[Chunk]:
    """Chunks of a size that keeps memory flat whatever a row weighs."""
    wanted = min(size, _FIRST)
    while True:
        batch: list[Any] = []
        failure = None
        try:
            # Where the source fails, the rows before it are in the list.
            batch.extend(islice(rows, wanted))
        except Exception as exc:
            failure = exc
        yield from _alike(batch, picked, default)
        if failure is not None:
            raise failure
        if len(batch) < wanted:
            return
        wanted = min(size, max(1, most_bytes // _weight(batch)), wanted * 4)


def _weight(batch: list[Any]) -> int:
    """About how many bytes a row has."""
    sample = batch[:: max(1, len(batch) // _SAMPLE)]
    return sum(_bytes(row) for row in sample) // len(sample) + 1


def _bytes(row: Any) -> int:
    values = row.values() if isinstance(row, Mapping) else row if isinstance(row, (tuple, list)) else ()
    return 100 + sum(map(sys.getsizeof, values))


def _alike(batch: list[Any], picked: Names | None, default: Names) -> Iterator[Chunk]:
    """Chunks of rows with the same columns, most often one."""
    if not batch:
        return
    kinds = list(map(type, batch))
    if kinds.count(dict) == len(batch):
        names = tuple(batch[0]) if picked is None else picked
        # With all of the names in each row, a longer one makes the sum greater.
        if picked is not None or sum(map(len, batch)) == len(names) * len(batch):
            try:
                yield _of_dicts(batch, names)
                return
            except KeyError:
                pass
    elif {tuple, list}.issuperset(kinds):
        names = picked or default
        if names and set(map(len, batch)) == {len(names)}:
            yield Chunk(names, list(zip(*batch, strict=True)), len(batch))
            return
    yield from _one_by_one(batch, picked, default)


def _of_dicts(batch: list[dict[str, Any]], names: Names) -> Chunk:
    _check_names(names)
    return Chunk(names, [[row[name] for row in batch] for name in names], len(batch))


def _check_names(names: Iterable[Any]) -> None:
    for name in names:
        if not isinstance(name, str):
            raise InvalidQuery(f"a row's keys must be column names, not {type(name).__name__}")


def _one_by_one(batch: list[Any], picked: Names | None, default: Names) -> Iterator[Chunk]:
    names: Names | None = None
    held: list[tuple[Any, ...]] = []
    for row in batch:
        failure = None
        try:
            found, values = _row(row, picked, default)
            if found != names and names is not None and len(found) == len(names) and set(found) == set(names):
                values = tuple(values[found.index(name)] for name in names)
                found = names
        except InvalidQuery as exc:
            failure, found, values = exc, (), ()
        if held and (failure is not None or found != names):
            yield Chunk(names or (), list(zip(*held, strict=True)), len(held))
            held = []
        if failure is not None:
            raise failure
        names = found
        held.append(values)
    yield Chunk(names or (), list(zip(*held, strict=True)), len(held))


def _row(row: Any, picked: Names | None, default: Names) -> tuple[Names, tuple[Any, ...]]:
    """The names and the values of one row."""
    if isinstance(row, (tuple, list)) and not hasattr(row, "_fields"):
        wanted = picked or default
        if len(row) != len(wanted):
            raise InvalidQuery(
                f"the row has {len(row)} values for {len(wanted)} columns", hint=f"give ({', '.join(wanted)})"
            )
        return wanted, tuple(row)
    found = _named(row)
    if picked is not None:
        if missing := [name for name in picked if name not in found]:
            raise InvalidQuery(f"the row has no value for the column {missing[0]!r}")
        return picked, tuple(found[name] for name in picked)
    return tuple(found), tuple(found.values())


def _named(row: Any) -> Mapping[str, Any]:
    if isinstance(row, Mapping):
        _check_names(row)
        return row
    reader = _reader(type(row))
    if reader is None:
        raise InvalidQuery(f"a row must be a dict, not {type(row).__name__}", hint=f"rows may be {_FORMS}")
    return reader(row)


def _reader(cls: type) -> Callable[[Any], Mapping[str, Any]] | None:
    """How an object's columns are read, by its class."""
    # A library that nobody has loaded has made no object.
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and issubclass(cls, pydantic.BaseModel):
        return lambda model: model.model_dump()
    if dataclasses.is_dataclass(cls):
        names = tuple(field.name for field in dataclasses.fields(cls))
    elif issubclass(cls, tuple):
        names = tuple(getattr(cls, "_fields", ()))
    else:
        return None
    if len(names) < 2:
        return lambda row: {name: getattr(row, name) for name in names}
    get = attrgetter(*names)
    return lambda row: dict(zip(names, get(row), strict=True))
