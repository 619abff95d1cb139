"""The rows of a CSV file into a table: types found or followed, bad rows named or set aside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from holdfast.core import bulk, rows, schema
from holdfast.core.executor import Executor
from holdfast.core.progress import Advance
from holdfast.core.transaction import Transaction
from holdfast.engines.base import Column
from holdfast.engines.writing import Batch
from holdfast.errors import (
    ColumnNotFound,
    Error,
    ImportFailed,
    IntegrityError,
    InvalidQuery,
    TableExists,
    ValueRefused,
    did_you_mean,
)
from holdfast.io import records, values
from holdfast.io.files import publishing
from holdfast.io.guess import TextGuess
from holdfast.io.records import Record, Source
from holdfast.io.resuming import Steps
from holdfast.types import Storage
from holdfast.types.column import encode_column

IF_EXISTS = ("append", "fail", "replace")
_SHOWN = 60
# What the row itself can be at fault for; anything else ends the import as it is.
ROW_FAULTS = (ValueRefused, IntegrityError)

T = TypeVar("T")
Reject = Callable[[Record], None]


def one_of(name: str, value: str, known: Sequence[str]) -> None:
    """Refuse an argument that is none of the words it may be."""
    if value not in known:
        raise InvalidQuery(f"unknown {name} {value!r}", hint=f"use one of {', '.join(known)}")


@dataclass(frozen=True, slots=True)
class File:
    """A source, the names of its columns, and where bad rows go, if anywhere."""

    source: Source
    names: list[str]
    reject: Reject | None

    def refuse(self, record: Record, hint: str | None = None, cause: Exception | None = None) -> None:
        """Set a bad row aside, or end the import with it."""
        if self.reject is not None:
            self.reject(record)
            return
        raise ImportFailed(
            f"{self.source.name}, line {record.line}: {record.fault}",
            hint=hint or "correct the row, or give rejects= to load the others",
        ) from cause

    def types(self, wanted: Sequence[str]) -> dict[str, str]:
        """A type for each of the columns ``wanted``, from the whole file."""
        guesses = [(self.names.index(name), TextGuess()) for name in wanted]
        for batch in self.source.batches(len(self.names)):
            if batch.bad and self.reject is None:
                self.refuse(batch.bad[0])
            for place, guess in guesses if batch.lines else ():
                texts = set(batch.columns[place])
                texts.discard(batch.null)
                guess.add([text for text in texts if text is not None])
        return {name: guess.result() for name, (_, guess) in zip(wanted, guesses, strict=True)}


@contextmanager
def rejecting(source: Source, path: Path | None) -> Iterator[Reject | None]:
    """What writes a bad row into the file ``path``: its line, the reason, and its fields as they were."""
    if path is None:
        yield None
        return
    if path.exists() and path.samefile(source.path):
        raise InvalidQuery("rejects names the file that is imported", hint="name another file")
    names = source.header()
    added = ["line", "reason"]
    while set(added) & set(names):
        added = [f"_{name}" for name in added]
    with publishing(path) as file:
        file.write(values.line([*added, *names], source.delimiter, source.null))

        def reject(record: Record) -> None:
            fields = [str(record.line), record.fault, *record.fields]
            file.write(values.line(fields, source.delimiter, source.null))

        yield reject


def prepare(executor: Executor, table: str, file: File, if_exists: str, extra_columns: str) -> None:
    """Make the table ready for the file's columns: created, widened or emptied as asked."""
    place = f"{file.source.name}, line 1"
    prepare_columns(executor, table, file.names, file.types, if_exists, extra_columns, place)


def prepare_columns(
    executor: Executor,
    table: str,
    names: Sequence[str],
    types: Callable[[Sequence[str]], dict[str, str]],
    if_exists: str,
    extra_columns: str,
    place: str,
) -> None:
    """Make the table ready for columns whose ``types`` are asked for only where they are new.

    ``place`` says where the names stand, for the message.
    """
    if not schema.table_exists(executor, table):
        schema.check_width(executor, len(names), place=place)
        schema.create_table(executor, table, types(names))
        return
    refuse_existing(table, if_exists)
    info = executor.describe(table)
    known = set(info.names)
    extra = [name for name in names if name not in known]
    if extra and extra_columns == "error":
        raise ColumnNotFound(
            f"{place}: table {table!r} has no column {extra[0]!r}",
            hint=f"{did_you_mean(extra[0], info.names, 'columns')}; or extra_columns='ignore' or 'add'",
        )
    if extra and extra_columns == "add":
        schema.check_width(executor, len(known) + len(extra), place=place)
        for name, type_text in types(extra).items():
            schema.add_column(executor, table, name, type_text)
    if if_exists == "replace":
        rows.delete(executor, table, all_rows=True)


def refuse_existing(table: str, if_exists: str) -> None:
    """Say that a table is there, if that is not meant to be."""
    if if_exists == "fail":
        raise TableExists(
            f"there is a table {table!r} already", hint="if_exists='append' adds to it, 'replace' empties it"
        )


@dataclass(frozen=True, slots=True)
class _Field:
    """Where a column stands in the file, and how its texts become what the driver takes."""

    place: int
    column: Column
    read: values.Read

    def encode(self, text: str) -> Any:
        value = self.read(text)
        return None if value is None else self.column.codec.encode(value)

    def encode_all(self, texts: Sequence[str | None], null: str | None) -> Sequence[Any]:
        read = values.AT_ONCE.get(self.column.codec.kind.name)
        if read is not None:
            try:
                return encode_column(self.column.codec, read(texts, null))
            except ValueError:
                # Some are not as most are: what they say besides, and what is wrong, is told one by one.
                pass
        passes, read_one, encode = self.column.codec.passes, self.read, self.column.codec.encode

        def one(text: str | None) -> Any:
            if text is None or text == null:
                return None
            value = read_one(text)
            return value if type(value) in passes else encode(value)

        if self.keeps_quoted:
            # Text in quotes and the same without them are not the same value here.
            return [one(text) for text in texts]
        known = {text: one(text) for text in set(texts)}
        return [known[text] for text in texts]

    @property
    def keeps_quoted(self) -> bool:
        return self.column.codec.kind.name == "other"


def load(executor: Executor, table: str, file: File, steps: Steps, advance: Advance | None) -> None:
    """Write the file's rows in batches inside the transaction of ``steps``."""
    info = executor.describe(table)
    # Where values have types of their own, a column without a type says nothing about them.
    carries_types = executor.engine.types.storage is Storage.PORTABLE
    fields = [
        _Field(place, info.column(name), values.reader(info.column(name), carries_types=carries_types))
        for place, name in enumerate(file.names)
        if name in info.names and not info.column(name).generated
    ]
    if not fields:
        raise ImportFailed(
            f"{file.source.name} has no column that {table!r} takes", hint=f"columns: {', '.join(info.names)}"
        )
    target = bulk.appending(executor, table, [field.column.name for field in fields])
    keep_quoted = any(field.keeps_quoted for field in fields)
    for batch in file.source.batches(len(file.names), after=steps.position, keep_quoted=keep_quoted):
        if batch.bad or (written := _load_batch(executor, target, fields, batch)) is None:
            written = _load_sound(executor, target, _Rows(table, fields, file), batch)
        steps.passed(batch.last, written)
        if steps.is_due:
            target.close()
            steps.commit()
        if advance:
            advance(len(batch.lines))
    target.close()


def _load_batch(
    executor: Executor, target: bulk.Appending, fields: list[_Field], batch: records.Batch
) -> int | None:
    """Write a batch in one go, or nothing of it if a row is at fault."""
    if not batch.lines:
        return 0
    try:
        encoded = [field.encode_all(batch.columns[field.place], batch.null) for field in fields]
        with Transaction(executor):
            return target.write(Batch(encoded, len(batch.lines)))
    except ROW_FAULTS:
        return None


@dataclass(frozen=True, slots=True)
class _Fault:
    """A row that cannot be loaded, and why."""

    record: Record
    hint: str | None = None
    cause: Exception | None = None


@dataclass(frozen=True, slots=True)
class _Rows:
    """What is needed to tell a sound row from one at fault."""

    table: str
    fields: list[_Field]
    file: File

    def refuse(self, fault: _Fault) -> None:
        self.file.refuse(fault.record, fault.hint, fault.cause)

    def checked(self, record: Record) -> list[Any] | _Fault:
        """One row as the driver takes it, or the first fault in it."""
        found: list[Any] = []
        for field in self.fields:
            text, column = record.fields[field.place], field.column
            try:
                found.append(None if text is None else field.encode(text))
            except ValueRefused as exc:
                shown = repr(str((text or "")[:_SHOWN])) + ("…" if len(text or "") > _SHOWN else "")
                what = exc.message if exc.message.startswith("is ") else f"is refused: {exc.message}"
                what = f"column {column.name!r}: {shown} {what} ({self.table}.{column.name} is {column.type})"
                return _Fault(replace(record, fault=what), exc.hint, exc)
        return found


def _load_sound(executor: Executor, target: bulk.Appending, rows: _Rows, batch: records.Batch) -> int:
    """Write those rows of a batch that nothing speaks against; the others are refused in their order."""
    faults = [_Fault(record) for record in batch.bad]
    sound: list[tuple[Record, list[Any]]] = []
    for record in batch.records():
        found = rows.checked(record)
        if isinstance(found, _Fault):
            faults.append(found)
        else:
            sound.append((record, found))
    faults.sort(key=_line_of)
    if rows.file.reject is None and faults:
        sound = [(record, row) for record, row in sound if record.line < faults[0].record.line]

    def write(some: Sequence[tuple[Record, list[Any]]]) -> int:
        columns = list(zip(*(row for _, row in some), strict=True))
        return target.write(Batch(columns, len(some)))

    def refuse(row: tuple[Record, list[Any]], exc: Error) -> None:
        fault = _Fault(replace(row[0], fault=exc.message), exc.hint, exc)
        if rows.file.reject is None:
            rows.refuse(fault)
        faults.append(fault)

    written = in_halves(executor, sound, write, refuse)
    for fault in sorted(faults, key=_line_of):
        rows.refuse(fault)
    return written


def _line_of(fault: _Fault) -> int:
    return fault.record.line


def in_halves(
    executor: Executor,
    rows: Sequence[T],
    write: Callable[[Sequence[T]], int],
    refuse: Callable[[T, Error], None],
) -> int:
    """Write ``rows`` in one go; where that fails in halves, down to the rows at fault, which are refused."""
    if not rows:
        return 0
    try:
        with Transaction(executor):
            return write(rows)
    except ROW_FAULTS as exc:
        if len(rows) == 1:
            refuse(rows[0], exc)
            return 0
    middle = len(rows) // 2
    return sum(in_halves(executor, part, write, refuse) for part in (rows[:middle], rows[middle:]))
