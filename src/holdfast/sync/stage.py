"""Rows on their way into a table: staged in a temporary one, put in their place by a few statements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.core.bulk import insert_many
from holdfast.core.executor import Executor
from holdfast.core.sources import Chunk, Source
from holdfast.core.transaction import Transaction
from holdfast.engines.base import Column, TableInfo
from holdfast.engines.changes import Carried, Tracked, listed, matching
from holdfast.engines.names import SYNC_PREFIX, quote_identifier
from holdfast.engines.writing import Batch, Load
from holdfast.errors import DatabaseError, Error, IntegrityError, ValueRefused
from holdfast.types import Storage, TypeMap
from holdfast.types.array import Framed, has_mark
from holdfast.types.column import encode_column

Values = Sequence[Any]
Columns = Sequence[Values]
"""Rows by column: their numbers, whether there was and is a row, the key, and what it was and is."""
Key = tuple[Any, ...]
Refuse = Callable[[Key, str], None]

# What a row may be at fault for; all else stops the round.
REFUSALS = (IntegrityError, ValueRefused, DatabaseError)
_NUMBER = TypeMap(Storage.PORTABLE).codec("BIGINT")
# Fewer rows are looked through as quickly as they are found.
FEW = 50
_FLAGS = ("n", "had", "has")
DECIDED = 2
"""What a staged row says in the place of whether there was one, when it is not the one that was sent."""


@dataclass(frozen=True, eq=False)
class Side:
    """A synced table as it lies in one of the two databases, and the condition that its rows satisfy."""

    executor: Executor
    tracked: Tracked
    carried: tuple[Carried, ...]
    where: tuple[str, list[Any]] = ("", [])
    looked_up: tuple[tuple[str, str], ...] = ()
    """Columns that do not travel, and SQL for what they hold in a new row."""
    latest: tuple[str, ...] = ()
    """Columns in which the greatest value counts, whoever wrote it."""

    @property
    def table(self) -> str:
        return quote_identifier(self.tracked.name)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.tracked.columns)

    @property
    def is_plain(self) -> bool:
        """Whether all values go in as they travel, and nothing but a sync's triggers sees them go."""
        others = self.executor.engine.catalog.others(self.executor.run)
        is_watched = any(kind != "index" and table == self.tracked.name for kind, _, table in others)
        return (
            not is_watched
            and not self.looked_up
            and all(
                carried.staged is column
                for carried, column in zip(self.carried, self.tracked.columns, strict=True)
            )
        )

    @property
    def width(self) -> int:
        return len(self.tracked.key)

    def pairs(self) -> list[tuple[str, str]]:
        """The columns of the key, each with its name in the notes."""
        return [(c.name, k) for c, k in zip(self.tracked.key, self.tracked.keys, strict=True)]

    def match(self, notes: str) -> str:
        return matching(self.table, notes, self.pairs())

    def own(self, table: str | None = None) -> list[str]:
        """SQL for the values of all columns, as they travel."""
        prefix = table or self.table
        return [
            carried.read.format(f"{prefix}.{quote_identifier(name)}")
            for carried, name in zip(self.carried, self.names, strict=True)
        ]

    def noted(self, prefix: str, letter: str) -> list[str]:
        """The same of what notes keep of the columns besides the key."""
        return [
            carried.read.format(f'{prefix}."{name}"')
            for carried, name in zip(self.others, self.tracked.notes(letter), strict=True)
        ]

    def noted_keys(self, prefix: str) -> list[str]:
        """The same of the key."""
        return [f'{prefix}."{name}"' for name in self.tracked.keys]

    @property
    def others(self) -> tuple[Carried, ...]:
        return self.carried[self.width :]

    def same(self, notes: str, letter: str) -> str:
        """A condition that a row is what was noted or staged of it."""
        same = self.executor.engine.changes.same
        parts = [
            same(carried, f"{self.table}.{quote_identifier(column.name)}", f'{notes}."{name}"')
            for carried, column, name in zip(
                self.others, self.tracked.others, self.tracked.notes(letter), strict=True
            )
        ]
        return " AND ".join(parts) or "1 = 1"

    def there(self) -> str:
        """Whether a row was found by an outer join."""
        return f"{self.table}.{quote_identifier(self.tracked.key[0].name)} IS NOT NULL"

    def decode(self, columns: Columns, carried: Sequence[Carried]) -> list[Values]:
        """Values as they were read, as Python has them."""
        found: list[Values] = []
        for values, each in zip(columns, carried, strict=True):
            if each.decode is not None:
                decode = each.decode
                values = [None if value is None else decode(value) for value in values]
            elif each.kind == "bytes":
                values = [
                    value if value is None or type(value) is bytes else bytes(value) for value in values
                ]
            found.append(values)
        return found

    def image(self, row: Values) -> dict[str, Any]:
        """A row as it was read, as an image."""
        (decoded,) = zip(*self.decode([[value] for value in row], self.carried), strict=True)
        return dict(zip(self.names, decoded, strict=True))


@dataclass
class Stage:
    """A temporary table for one synced table. ``was`` says whether it has what rows were before, too.

    ``refused`` are the numbers of rows that could not be put in their place, with the reasons, and ``unfit``
    of those that were not staged, for a value which this side cannot hold.
    """

    side: Side
    was: bool
    count: int = 0
    last: int = 0
    refused: dict[int, str] = field(default_factory=dict)
    unfit: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.name = f"{SYNC_PREFIX}{self.side.tracked.number}_stage"
        self.quoted = quote_identifier(self.name)

    @property
    def letters(self) -> str:
        return "bv" if self.was else "v"

    def columns(self) -> list[tuple[str, Carried | None]]:
        """Names of the columns, and how their values travel."""
        side = self.side
        found: list[tuple[str, Carried | None]] = [(flag, None) for flag in _FLAGS]
        found += zip(side.tracked.keys, side.carried[: side.width], strict=True)
        for letter in self.letters:
            found += zip(side.tracked.notes(letter), side.others, strict=True)
        return found

    def create(self) -> None:
        side, own = self.side, self.side.own()
        values = [*own[: side.width], *(own[side.width :] * len(self.letters))]
        names = [name for name, _ in self.columns()]
        flags = ["CAST(0 AS BIGINT)"] * len(_FLAGS)
        select = ", ".join(
            f"{value} AS {quote_identifier(name)}"
            for value, name in zip([*flags, *values], names, strict=True)
        )
        for statement in side.executor.engine.changes.stage(
            self.name, f"SELECT {select} FROM {side.table} WHERE 1 = 0"
        ):
            side.executor.run(statement)

    def drop(self) -> None:
        self.side.executor.run(f"DROP TABLE {self.quoted}")

    def load(self, batches: Iterable[Columns], refuse: Refuse) -> None:
        """Take rows in; ``refuse`` is told the key of one that has a value which this side cannot hold."""
        executor, columns = self.side.executor, self.columns()
        given = tuple(_column(name, carried) for name, carried in columns)
        info = TableInfo(self.name, given, ())
        marks = ", ".join("?" * len(given))
        names = listed([name for name, _ in columns])
        single = executor.native(f"INSERT INTO {self.quoted} ({names}) VALUES ({marks})")
        writer = executor.engine.bulk.writer(executor.run, Load(info, "insert", given, (), "", single))
        encoded = self._encoded(batches, given, refuse)
        if writer is not None:
            executor.drive(lambda raw: writer.write(raw, encoded))
        else:
            for batch in encoded:
                executor.send_many(single, list(batch.rows()))
        if self.count >= FEW:
            executor.engine.changes.staged(executor.run, self.name, self.side.tracked.keys)

    def _encoded(
        self, batches: Iterable[Columns], given: Sequence[Column], refuse: Refuse
    ) -> Iterator[Batch]:
        for columns in batches:
            count = len(columns[0])
            try:
                encoded = [_encode(column, values) for column, values in zip(given, columns, strict=True)]
            except ValueRefused:
                encoded, count = self._one_by_one(columns, given, refuse)
            self.count += count
            self.last = max(self.last, columns[0][-1])
            if count:
                yield Batch(encoded, count)

    def _one_by_one(
        self, columns: Columns, given: Sequence[Column], refuse: Refuse
    ) -> tuple[list[Values], int]:
        kept, first = [], len(_FLAGS)
        for row in zip(*columns, strict=True):
            try:
                kept.append([_encode(c, [value])[0] for c, value in zip(given, row, strict=True)])
            except ValueRefused as exc:
                self.unfit.append(row[0])
                refuse(tuple(row[first : first + self.side.width]), _named(exc, self, given, row))
        return [list(values) for values in zip(*kept, strict=True)], len(kept)

    def change(self, number: int, image: dict[str, Any] | None) -> None:
        """Have another row put in the place of the one staged under that number."""
        side = self.side
        names = side.tracked.notes("v")
        values = [
            _encode(carried.staged, [None if image is None else image[column.name]])[0]
            for carried, column in zip(side.others, side.tracked.others, strict=True)
        ]
        sets = "".join(f', "{name}" = ?' for name in names)
        side.executor.run(
            f'UPDATE {self.quoted} SET "had" = {DECIDED}, "has" = ?{sets} WHERE "n" = ?',
            [int(image is not None), *values, number],
        )

    # What is done with them

    def _between(self) -> str:
        return f'{self.quoted}."n" BETWEEN ? AND ?'

    def update(self) -> str | None:
        side, tracked = self.side, self.side.tracked
        if not tracked.others:
            return None
        sets = ", ".join(
            f"{quote_identifier(column.name)} = " + carried.write.format(f'{self.quoted}."{name}"')
            for carried, column, name in zip(side.others, tracked.others, tracked.notes("v"), strict=True)
        )
        return (
            f"UPDATE {side.table} SET {sets} FROM {self.quoted} WHERE {side.match(self.quoted)} "
            f'AND {self.quoted}."has" = 1 AND NOT ({side.same(self.quoted, "v")}) AND {self._between()}'
        )

    def insert(self) -> str:
        side, tracked = self.side, self.side.tracked
        staged = [*tracked.keys, *tracked.notes("v")]
        values = [
            carried.write.format(f'{self.quoted}."{name}"')
            for carried, name in zip(side.carried, staged, strict=True)
        ]
        values += [sql.format(self.quoted) for _, sql in side.looked_up]
        names = listed([*side.names, *(name for name, _ in side.looked_up)])
        return (
            f"INSERT INTO {side.table} ({names}) SELECT {', '.join(values)} FROM {self.quoted} "
            f'WHERE {self.quoted}."has" = 1 AND NOT EXISTS (SELECT 1 FROM {side.table} '
            f"WHERE {side.match(self.quoted)}) AND {self._between()}"
        )

    def removes(self, low: int, high: int) -> bool:
        """Whether any row of these numbers is to go."""
        sql = f'SELECT 1 FROM {self.quoted} WHERE "has" = 0 AND {self._between()} LIMIT 1'
        return bool(self.side.executor.rows(sql, (low, high)))

    def delete(self) -> str:
        side = self.side
        own = ", ".join(f"{side.table}.{quote_identifier(column.name)}" for column in side.tracked.key)
        return (
            f"DELETE FROM {side.table} WHERE ({own}) IN (SELECT {listed(side.tracked.keys)} "
            f'FROM {self.quoted} WHERE "has" = 0 AND {self._between()})'
        )


def copy_in(side: Side, batches: Iterable[Columns], role: str) -> int:
    """Write rows, by column, straight into a table that has none; the error is that of the first that fails.

    ``role`` is what the table's notes are here, its ``log`` or its ``feed``.

    Raises:
        Error: of the kinds in ``REFUSALS``; the transaction is the caller's.
    """
    names = side.names
    binary = [place for place, column in enumerate(side.tracked.columns) if column.codec.kind.name == "bytes"]

    def chunks() -> Iterator[Chunk]:
        for batch in batches:
            columns = list(batch)
            for place in binary:
                columns[place] = _framed(columns[place])
            yield Chunk(names, columns, len(columns[0]))

    with side.executor.engine.changes.copying(side.executor.run, side.tracked, role):
        # Inert: what is read is another connection's.
        return insert_many(side.executor, side.tracked.name, Source(chunks(), is_inert=lambda: True))


def is_empty(side: Side) -> bool:
    return not side.executor.rows(f"SELECT 1 FROM {side.table} LIMIT 1")


def _none() -> int:
    return 0


def settle(stages: Sequence[Stage], *, lost: Callable[[], int] = _none) -> int:
    """Put staged rows in their place, those that others refer to first; return how many rows were written.

    ``stages`` are in that order. A row that the database refuses is left out, and noted in its stage. It is
    tried again as long as others got in, which may be what it waited for. ``lost`` counts what must not go
    with a row that is removed: one that takes some with it is left out, too.
    """
    written = 0
    todo = {id(stage): [(1, stage.last)] for stage in stages}
    while True:
        progress = 0
        for stage in stages:
            stage.refused = {}
            for statement in (stage.update(), stage.insert()):
                if statement:
                    progress += sum(_run(stage, statement, *span) for span in todo[id(stage)])
        for stage in reversed(stages):
            spans = (span for span in todo[id(stage)] if stage.removes(*span))
            progress += sum(_run(stage, stage.delete(), *span, lost) for span in spans)
        written += progress
        if not progress or not any(stage.refused for stage in stages):
            return written
        todo = {id(stage): [(number, number) for number in stage.refused] for stage in stages}


def _run(stage: Stage, statement: str, low: int, high: int, lost: Callable[[], int] = _none) -> int:
    """Run a statement for the rows of these numbers; halves are tried where one of the rows is refused."""
    executor = stage.side.executor
    if low > high:
        return 0
    try:
        with Transaction(executor):
            before = lost()
            written = executor.run(statement, (low, high)).rowcount
            if written and lost() > before:
                raise IntegrityError("a row that waits to be sent, or that the hub keeps, would go with it")
            return written
    except REFUSALS as exc:
        if low == high:
            stage.refused[low] = reason(exc)
            return 0
    middle = (low + high) // 2
    return _run(stage, statement, low, middle, lost) + _run(stage, statement, middle + 1, high, lost)


def reason(error: Error) -> str:
    return f"{type(error).__name__}: {error}"


def _column(name: str, carried: Carried | None) -> Column:
    codec, type_text = (carried.staged.codec, carried.staged.type) if carried else (_NUMBER, "BIGINT")
    return Column(name, type_text, True, None, False, codec)


def _encode(column: Column, values: Values) -> Values:
    return encode_column(column.codec, _framed(values) if column.codec.kind.name == "bytes" else values)


def _framed(values: Values) -> Values:
    """Arrays in their stored form, which a binary column takes only if it is said to be one."""
    return [Framed((value,)) if type(value) is bytes and has_mark(value) else value for value in values]


def _named(error: ValueRefused, stage: Stage, given: Sequence[Column], row: Values) -> str:
    names = dict(zip(stage.side.tracked.notes("v"), stage.side.names[stage.side.width :], strict=True))
    for column, value in zip(given, row, strict=True):
        try:
            _encode(column, [value])
        except ValueRefused:
            return f"{names.get(column.name, column.name)} ({column.type}): {error}"
    return str(error)
