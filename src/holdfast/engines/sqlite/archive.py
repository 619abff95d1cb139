"""Tables of a SQLite database as Arrow data: each value in the class that it is stored in."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import chain
from typing import Any

from holdfast.engines.arrow import pyarrow, tagged, untagged
from holdfast.engines.copying import Misfit, Outline, Seen
from holdfast.engines.sqlite import dump
from holdfast.engines.sqltext import SQLITE, iter_statements
from holdfast.types import classify

PART_BYTES, PART_ROWS, MOST_FETCHED = 1 << 20, 10_000, 128
_LOOSE = "loose"
# Among the classes of columns; no name can be this one.
_ANY_TEXT = "\0"
_NUMBERS = frozenset({"int64", "float64"})
_WITHOUT_BLOBS = frozenset({name + guess for name in (*_NUMBERS, "string") for guess in ("", "?")})
_CLASSES = {int: "int64", float: "float64", str: "string", bytes: "binary"}
_BY_KIND = {"integer": "int64", "boolean": "int64", "float": "float64", "bytes": "binary"}


def outline(raw: sqlite3.Connection, only: str | None) -> Outline:
    """The statements of a dump, without its rows."""
    statements: list[str | tuple[str]] = []
    waiting: list[str] = []

    def flush() -> None:
        statements.extend(iter_statements(waiting, SQLITE))
        waiting.clear()

    def rows(table: dump.Carried) -> None:
        flush()
        statements.append((table.name,))

    known = dump.outline(raw, only, waiting.append, rows)
    flush()
    return Outline(statements, known)


def replacing(raw: sqlite3.Connection) -> Mapping[str, Any]:
    return {"views": [], "indexes": [], "violations": []}


def read(raw: sqlite3.Connection, table: str, seen: Seen) -> Iterator[Any]:
    """The rows in the order they are stored in; a column that holds several classes is tagged bytes.

    They are counted in passing: to read them again would take half as long as all of this.
    """
    pa = pyarrow()

    classes, tally = seen.classes, dump.Tally()
    carried = dump.find(raw, table)
    rows = raw.execute(f"PRAGMA table_xinfo({dump.quote(carried.name)})").fetchall()
    kept = {name: (kind, hidden) for _, name, kind, _, _, _, hidden in rows if hidden != 1}
    names = ["rowid", *kept] if dump.has_own_rowid(carried) else list(kept)
    for name in names:
        kind = classify(kept[name][0]).name if name in kept else "integer"
        classes.setdefault(name, _BY_KIND.get(kind, "string") + "?")
    stored = [place for place, name in enumerate(names) if name not in kept or not kept[name][1]]
    reading = dump.any_text(raw) if _ANY_TEXT in classes else nullcontext()
    try:
        with reading:
            for batch in _batches(raw, carried.name, names, classes):
                columns = list(zip(*batch, strict=True)) or [()] * len(names)
                _classify(names, columns, classes)
                _count(tally, batch, columns, [classes[name] for name in names], stored)
                arrays = _arrays(columns, [classes[name] for name in names])
                yield pa.table(arrays, schema=pa.schema(_fields(names, kept, classes, arrays)))
    except sqlite3.OperationalError as exc:
        if not dump.is_undecodable(exc):
            raise
        classes[_ANY_TEXT] = "read"
        raise Misfit from exc
    seen.content = tally.content


def _count(
    tally: dump.Tally,
    batch: Iterable[tuple[Any, ...]],
    columns: Sequence[Sequence[Any]],
    classes: Sequence[str],
    stored: Sequence[int],
) -> None:
    """Count the rows without what is computed, as :func:`dump.content` has them."""
    if len(stored) < len(columns):
        batch = zip(*[columns[place] for place in stored], strict=True)
    may_hold_blobs = not _WITHOUT_BLOBS.issuperset(classes)
    tally.add(map(dump.shortened, batch) if may_hold_blobs else batch)


def _arrays(columns: Sequence[Sequence[Any]], classes: Sequence[str]) -> list[Any]:
    pa = pyarrow()

    return [
        pa.array(list(map(tagged, values)), "binary")
        if kind == _LOOSE
        else pa.array(values, kind.rstrip("?"))
        for values, kind in zip(columns, classes, strict=True)
    ]


def _fields(
    names: Sequence[str], kept: Mapping[str, tuple[str, int]], classes: Mapping[str, str], arrays: list[Any]
) -> list[Any]:
    pa = pyarrow()

    fields = []
    for name, array in zip(names, arrays, strict=True):
        said = {"tagged": "1"} if classes[name] == _LOOSE else {}
        if name in kept and kept[name][1] in (2, 3):
            said["generated"] = "1"
        fields.append(pa.field(name, array.type, metadata=said or None))
    return fields


def _batches(
    raw: sqlite3.Connection, table: str, names: Sequence[str], classes: Mapping[str, str]
) -> Iterator[list[Any]]:
    """Rows until they weigh some megabytes; never many at a time of those that might be long."""
    quoted = ", ".join(map(dump.quote, names))
    longest = _longest(raw, table, names, classes)
    size = max(1, min(MOST_FETCHED, PART_BYTES // (longest + 1)))
    are_short = longest * PART_ROWS <= 2 * PART_BYTES
    cursor = raw.execute(f"SELECT {quoted} FROM {dump.quote(table)}")
    batch: list[Any] = []
    weighed = 0
    while rows := cursor.fetchmany(size):
        batch += rows
        if not are_short:
            weighed += sum(len(value) for value in chain.from_iterable(rows) if type(value) in (str, bytes))
        if weighed > PART_BYTES or len(batch) >= PART_ROWS:
            yield batch
            batch, weighed = [], 0
    yield batch


def _longest(raw: sqlite3.Connection, table: str, names: Sequence[str], classes: Mapping[str, str]) -> int:
    """No fewer bytes than the texts and blobs of any row have together."""
    # A text of a number takes longer than all else here. Texts and blobs are greater than any number.
    numbers = [name for name in names if classes[name].rstrip("?") in _NUMBERS]
    greatest = [f"typeof(max({dump.quote(name)})) IN ('text', 'blob')" for name in numbers]
    if numbers and any(_asked(raw, table, greatest, " OR ")):
        numbers = []
    weights = [
        f"coalesce(length(CAST({dump.quote(name)} AS BLOB)), 0)" for name in names if name not in numbers
    ]
    return sum(weight or 0 for weight in _asked(raw, table, [*weights, "0"], " + ", "max"))


def _asked(
    raw: sqlite3.Connection, table: str, terms: Sequence[str], between: str, function: str = ""
) -> tuple[Any, ...]:
    # SQLite takes no expression that is deeper than 1000.
    groups = [between.join(terms[start : start + 500]) for start in range(0, len(terms), 500)]
    listing = ", ".join(f"{function}({group})" for group in groups)
    found: tuple[Any, ...] = raw.execute(f"SELECT {listing} FROM {dump.quote(table)}").fetchone()
    return found


def _classify(names: Sequence[str], columns: Sequence[Sequence[Any]], classes: dict[str, str]) -> None:
    """Note what the columns hold; a guess from the declared type ends in a question mark."""
    is_misfit = False
    for name, values in zip(names, columns, strict=True):
        known = classes[name]
        found = {_CLASSES[kind] for kind in set(map(type, values)) - {type(None)}}
        is_broken = _ANY_TEXT in classes and _is_broken(found, values)
        if known == _LOOSE or not found or (found == {known} and not is_broken):
            continue
        fits = len(found) == 1 and not is_broken
        classes[name] = next(iter(found)) if fits and known.endswith("?") else _LOOSE
        is_misfit |= classes[name] != known.rstrip("?")
    if is_misfit:
        raise Misfit


def _is_broken(found: set[str], values: Sequence[Any]) -> bool:
    """Whether there is text that is no UTF-8, which is read with surrogates in it."""
    if found != {"string"}:
        return False
    try:
        for value in values:
            if value is not None and not value.isascii():
                value.encode()
    except UnicodeEncodeError:
        return True
    return False


def write(raw: sqlite3.Connection, table: str, parts: Iterable[Any]) -> None:
    """Bind each value in the class it was stored in."""
    for part in parts:
        fields = [field for field in part.schema if b"generated" not in (field.metadata or {})]
        columns: list[Sequence[Any]] = []
        marks = []
        for field in fields:
            values = part.column(field.name).to_pylist()
            if b"tagged" in (field.metadata or {}):
                loose = list(map(untagged, values))
                # A text that is no UTF-8 cannot be bound as one.
                marks.append("CASE ? WHEN 1 THEN CAST(? AS TEXT) ELSE ? END")
                broken = [type(value) is str and not _is_whole(value) for value in loose]
                given = [
                    value.encode("utf-8", "surrogateescape") if is_broken else value
                    for value, is_broken in zip(loose, broken, strict=True)
                ]
                columns += [broken, given, given]
            else:
                marks.append("?")
                columns.append(values)
        names = ", ".join(dump.quote(field.name) for field in fields)
        raw.executemany(
            f"INSERT INTO {dump.quote(table)} ({names}) VALUES ({', '.join(marks)})",
            zip(*columns, strict=True),
        )


def _is_whole(value: str) -> bool:
    return value.isascii() or not _is_broken({"string"}, [value])
