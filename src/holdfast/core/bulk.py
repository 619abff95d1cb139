"""Many rows in one transaction: insert_many, upsert_many, update_many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import Any

from holdfast.core.executor import Executor
from holdfast.core.frames import Kinds
from holdfast.core.reread import reread_once
from holdfast.core.rows import CONFLICTS, conflict_sql, count_argument, named_refusal, writable, writing
from holdfast.core.sources import Chunk, Names, Source, source_of
from holdfast.core.transaction import Transaction
from holdfast.core.where import encode, qualified
from holdfast.engines.base import TableInfo
from holdfast.engines.names import quote_identifier
from holdfast.engines.writing import Batch, Load, Packed, Packer, Writer
from holdfast.errors import (
    ConnectionLost,
    DatabaseBusy,
    Error,
    InvalidQuery,
    TransactionError,
    ValueRefused,
)
from holdfast.types.column import encode_column

# Few enough for the processor's cache.
CHUNK = 2_000
# Chunks that are written in one go, and written again one by one if that fails.
SEGMENT = 10
# The more keys are sorted together, the fewer pages are visited twice.
SEGMENT_OF_UPDATES = 50
SEGMENT_BYTES = 20 << 20
Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class _Way:
    """How rows with certain columns are written: one by one, and if there is one, the fast way.

    ``packer`` is a faster one yet, for columns of Arrow data that need no look at each value.
    """

    load: Load
    writer: Writer | None
    required: tuple[int, ...]
    "Places of the columns that may not be NULL because they find the row."
    identity: tuple[int, ...]
    "Places of keys with a sequence, which must know of values given by hand."
    packer: Packer | None = None
    packed: _Way | None = None
    "The way of what is packed."


@dataclass(slots=True)
class _Job:
    """One call: what each set of columns is written by, and how far it is."""

    executor: Executor
    info: TableInfo
    way_of: Callable[[Names], _Way]
    advance: Advance | None
    segment: int = SEGMENT
    read: int = 0
    written: int = 0
    greatest: dict[str, int] = field(default_factory=dict)
    is_fast: bool = False


@reread_once
def insert_many(
    executor: Executor,
    table: str,
    rows: Any,
    *,
    on_conflict: str = "error",
    key: str | Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    batch_size: int | None = None,
    advance: Advance | None = None,
) -> int:
    """Write all rows or none; return how many were written."""
    info = executor.describe(table)
    if on_conflict not in CONFLICTS:
        raise InvalidQuery(f"unknown on_conflict {on_conflict!r}", hint=f"use one of {', '.join(CONFLICTS)}")
    keys = key if key is None or isinstance(key, str) else tuple(key)

    def way_of(names: Names) -> _Way:
        kept_as = ("insert many", table, names, on_conflict, keys)
        known: _Way | None = executor.plans.get(kept_as)
        return known or executor.keep(kept_as, _inserting(executor, info, names, on_conflict, keys))

    return _write_all(_Job(executor, info, way_of, advance), rows, columns, batch_size)


@dataclass(frozen=True, slots=True)
class Appending:
    """Rows that are encoded already, into one table inside the caller's transaction."""

    _job: _Job
    _way: _Way

    def write(self, batch: Batch) -> int:
        """Write the rows; what an error leaves of them is the caller's to roll back."""
        executor, way = self._job.executor, self._way
        writer = way.writer
        if writer is None or batch.count < writer.least:
            return executor.send_many(way.load.single, list(batch.rows()))
        written = executor.drive(lambda raw: writer.write(raw, (batch,)))
        self._job.is_fast = True
        for place in way.identity:
            _note_greatest(self._job, way.load.columns[place].sequence or "", batch.columns[place])
        return written

    def close(self) -> None:
        """Let the database know of the keys that were given, after the last row."""
        _tell_greatest(self._job)


def appending(executor: Executor, table: str, names: Sequence[str]) -> Appending:
    """The fastest way to add rows with the columns ``names``."""
    info = executor.describe(table)
    way = _inserting(executor, info, tuple(names), "error", None)
    return Appending(_Job(executor, info, lambda _: way, None), way)


@reread_once
def update_many(
    executor: Executor,
    table: str,
    rows: Any,
    key: str | Sequence[str] = "id",
    *,
    columns: Sequence[str] | None = None,
    batch_size: int | None = None,
    advance: Advance | None = None,
) -> int:
    """Change the rows found by ``key``, all or none; return how many there were."""
    info = executor.describe(table)
    keys = tuple(info.column(name).name for name in ([key] if isinstance(key, str) else key))
    if not keys:
        raise InvalidQuery("key is empty", hint="name the columns that find a row")

    def way_of(names: Names) -> _Way:
        kept_as = ("update many", table, names, keys)
        known: _Way | None = executor.plans.get(kept_as)
        return known or executor.keep(kept_as, _updating(executor, info, names, keys))

    job = _Job(executor, info, way_of, advance, segment=SEGMENT_OF_UPDATES)
    return _write_all(job, rows, columns, batch_size)


# How


def _inserting(
    executor: Executor, info: TableInfo, names: Names, on_conflict: str, key: str | tuple[str, ...] | None
) -> _Way:
    single = writing(executor, info.name, dict.fromkeys(names), on_conflict=on_conflict, key=key, many=True)
    given = tuple(info.column(name) for name in names)
    conflict = conflict_sql(executor, info, names, on_conflict, key)
    keys = (key,) if isinstance(key, str) else key or info.primary_key
    by_key = on_conflict in ("update", "replace")
    load = Load(info, "insert", given, keys if by_key else (), conflict, single.native)
    writer = executor.engine.bulk.writer(executor.run, load)
    # A single statement moves the sequence by itself.
    identity = [place for place, column in enumerate(given) if column.sequence and writer is not None]
    way = _Way(load, writer, (), tuple(identity))
    make = executor.engine.packer
    if writer is None or make is None or on_conflict != "error":
        return way
    packer = make(load, writer.least)
    return replace(way, packer=packer, packed=replace(way, writer=packer))


def _updating(executor: Executor, info: TableInfo, names: Names, keys: tuple[str, ...]) -> _Way:
    for name in keys:
        if name not in names:
            raise _without_key(name)
    changed = [writable(info, name) for name in names if name not in keys]
    if not changed:
        raise InvalidQuery("the row has nothing to update besides its key")
    sets = ", ".join(f"{quote_identifier(column.name)} = ?" for column in changed)
    match = " AND ".join(f"{qualified(info.name, name)} = ?" for name in keys)
    single = executor.native(f"UPDATE {quote_identifier(info.name)} SET {sets} WHERE {match}")
    given = (*changed, *(info.column(name) for name in keys))
    load = Load(info, "update", given, keys, "", single)
    required = tuple(range(len(changed), len(given)))
    return _Way(load, executor.engine.bulk.writer(executor.run, load), required, ())


def _without_key(name: str) -> InvalidQuery:
    return InvalidQuery(f"the row has no value for the key column {name!r}")


# Reading and encoding


def _encoded(job: _Job, chunks: Iterator[Chunk]) -> Iterator[tuple[_Way | None, Batch]]:
    """Rows as the driver takes them; an error says which row of all it is.

    Other columns than before come after a ``None``: asking the catalogue about them has to wait until what
    is being written is done, for a COPY keeps the connection to itself.
    """
    names: Names | None = None
    plain: Iterator[Chunk] = iter(())
    while True:
        try:
            chunk = next(plain, None) or next(chunks, None)
            if chunk is None:
                return
            if chunk.names != names:
                yield None, Batch((), 0)
                names, way = chunk.names, job.way_of(chunk.names)
        except Error as exc:
            raise _at_row(exc, job.read + 1) from exc
        if chunk.arrow is None:
            yield way, _encode(job, way, chunk, job.read)
        elif (packed := _packed(job, way, chunk)) is not None:
            yield way.packed, packed
        else:
            plain = chunk.arrow.plain(_kinds(way))
            continue
        job.read += chunk.count


def _packed(job: _Job, way: _Way, chunk: Chunk) -> Packed | None:
    packer, arrow = way.packer, chunk.arrow
    if packer is None or arrow is None or chunk.count < packer.least:
        return None
    arrays = arrow.arrays()
    if arrays is None:
        return None
    arrays = [arrays[chunk.names.index(column.name)] for column in way.load.columns]
    data = packer.pack(arrays)
    if data is None:
        return None
    for place in way.identity:
        _note_greatest(job, way.load.columns[place].sequence or "", [packer.greatest(arrays[place])])

    def rows(before: int = job.read) -> Iterator[Sequence[Any]]:
        for part in arrow.plain(_kinds(way)):
            yield from _encode(job, way, part, before).rows()
            before += part.count

    return Packed((), chunk.count, data, rows)


def _kinds(way: _Way) -> Kinds:
    return {column.name: column.codec.kind.name for column in way.load.columns}


def _encode(job: _Job, way: _Way, chunk: Chunk, before: int) -> Batch:
    """``before`` is the number of rows before the chunk."""
    columns = way.load.columns
    places = [chunk.names.index(column.name) for column in columns]
    given = [chunk.columns[place] for place in places] if chunk.columns else []
    try:
        encoded = [encode_column(col.codec, values) for col, values in zip(columns, given, strict=True)]
        for place in way.required:
            if None in encoded[place]:
                raise ValueRefused("a key is missing")
    except ValueRefused:
        _find_fault(job, way, given, before)
        raise
    for place in way.identity:
        _note_greatest(job, columns[place].sequence or "", encoded[place])
    return Batch(encoded, chunk.count)


def _find_fault(job: _Job, way: _Way, given: list[Sequence[Any]], before: int) -> None:
    columns = way.load.columns
    for number, values in enumerate(zip(*given, strict=True), before + 1):
        try:
            for place in way.required:
                if values[place] is None:
                    raise _without_key(columns[place].name)
            row = [encode(job.info.name, column, v) for column, v in zip(columns, values, strict=True)]
            for place in way.required:
                if row[place] is None:
                    raise _without_key(columns[place].name)
        except Error as exc:
            raise _at_row(exc, number) from exc


def _note_greatest(job: _Job, sequence: str, values: Sequence[Any]) -> None:
    given = [value for value in values if value is not None] if None in values else values
    job.greatest[sequence] = max(max(given, default=0), job.greatest.get(sequence, 0))


# Writing


def _write_all(job: _Job, rows: Any, columns: Sequence[str] | None, batch_size: int | None) -> int:
    size = CHUNK if batch_size is None else count_argument("batch_size", batch_size, least=1)
    default = tuple(column.name for column in job.info.columns if not column.generated)
    source = source_of(rows, default, columns, size, SEGMENT_BYTES // job.segment)
    with Transaction(job.executor):
        if not hasattr(rows, "__len__"):
            job.executor.engine.connect.wait_for_rows(job.executor.run)
        groups = groupby(_encoded(job, source.chunks), key=itemgetter(0))
        for way, group in groups:
            if way is not None:
                _write_group(job, way, source, (batch for _, batch in group))
        _tell_greatest(job)
    return job.written


def _tell_greatest(job: _Job) -> None:
    for sequence, value in job.greatest.items() if job.is_fast else ():
        job.executor.engine.bulk.greatest_given(job.executor.run, sequence, value)


def _write_group(job: _Job, way: _Way, source: Source, batches: Iterator[Batch]) -> None:
    writer = way.writer
    while (first := next(batches, None)) is not None:
        start = job.read + 1
        segment = chain((first,), islice(batches, job.segment - 1))
        # What yields the rows may use the connection, which is busy meanwhile.
        if writer and writer.overlaps and first.count >= writer.least and source.is_inert():
            _write(job, way, writer, segment, start)
            continue
        # Where nothing is to be undone, what was just read is best written at once, from the cache.
        is_alone = writer is None or (writer.finds_fault and way.load.verb == "insert")
        held = [first] if is_alone else list(segment)
        is_worth = writer and sum(batch.count for batch in held) >= writer.least
        _write(job, way, writer if is_worth else None, iter(held), start)


def _write(job: _Job, way: _Way, writer: Writer | None, batches: Iterator[Batch], start: int) -> None:
    executor, single, kept = job.executor, way.load.single, list[Batch]()

    failed: list[Exception] = []

    def keeping() -> Iterator[Batch]:
        try:
            for batch in batches:
                kept.append(batch)
                yield batch
        except Exception as exc:
            failed.append(exc)
            raise

    # On SQLite a savepoint costs as much as a quarter of the writing.
    finds_fault = writer is not None and writer.finds_fault
    try:
        with nullcontext() if finds_fault else Transaction(executor):
            if writer is None:
                written = sum(executor.send_many(single, list(batch.rows())) for batch in keeping())
            else:
                written = executor.drive(lambda raw: writer.write(raw, keeping()))
                job.is_fast = True
    except (ConnectionLost, TransactionError, DatabaseBusy):
        raise
    except Error as exc:
        if failed:
            # It was the source, which has no more rows to try again with.
            raise failed[0] from failed[0].__cause__
        if exc.row_number is not None:
            raise
        if (number := executor.engine.bulk.row_at_fault(exc.__cause__, job.info.name)) is not None:
            values = next(islice(_rows_of(kept), number - 1, None), ())
            raise _at_row(_named(exc, way.load, values), start + number - 1) from exc
        if executor.session().aborted:
            # A full disk, for one, makes SQLite end the whole transaction: nothing can be tried again in it.
            raise
        written = _replay(executor, way.load, chain(kept, batches), start)
    job.written += written
    if job.advance:
        job.advance(sum(batch.count for batch in kept))


def _rows_of(batches: Iterable[Batch]) -> Iterator[Sequence[Any]]:
    return chain.from_iterable(batch.rows() for batch in batches)


def _replay(executor: Executor, load: Load, batches: Iterator[Batch], start: int) -> int:
    """Write one row at a time, to find the one that fails."""
    written = 0
    for number, values in enumerate(_rows_of(batches), start):
        try:
            written += executor.send(load.single, values).rowcount
        except Error as exc:
            raise _at_row(_named(exc, load, values), number) from exc
    return written


def _named(error: Error, load: Load, values: Sequence[Any]) -> Error:
    return (
        named_refusal(error, load.info.name, load.columns, values)
        if isinstance(error, ValueRefused)
        else error
    )


def _at_row(error: Error, number: int) -> Error:
    placed = type(error)(f"row {number}: {error.message}", hint=error.hint)
    placed.row_number = number
    return placed
