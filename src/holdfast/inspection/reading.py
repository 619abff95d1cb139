"""Reading within a time, so that a large table or a slow view keeps nobody waiting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic

from holdfast.core.executor import Executor
from holdfast.core.transaction import Transaction
from holdfast.engines.base import TableInfo
from holdfast.errors import DatabaseBusy, OutOfTime, ReadOnlyError, SchemaError

_PER_STATEMENT = 400
_SHORTEST = 0.01


@dataclass(frozen=True, slots=True)
class Count:
    """A number of rows, counted or estimated; ``None`` where there was neither the time nor an estimate."""

    rows: int | None
    is_exact: bool


@contextmanager
def reading(executor: Executor, seconds: float) -> Iterator[None]:
    """Let statements that read end after so many seconds, in a transaction that keeps nobody from writing.

    Inside the caller's own transaction it is a savepoint, so that a statement cut short leaves that whole.

    Raises:
        OutOfTime: if one did not end in time.
    """
    with Transaction(executor, read_only=not executor.in_transaction):
        raw = executor.driver_connection()
        try:
            with executor.engine.connect.limited(raw, max(seconds, _SHORTEST)):
                yield
        except executor.engine.connect.driver_error as exc:
            raise executor.engine.translate(exc) from exc


def describe_view(executor: Executor, name: str) -> TableInfo | None:
    """A view's columns; ``None`` where what it selects from is gone."""
    try:
        with reading(executor, 60.0):
            return executor.describe(name)
    except SchemaError:
        return None


def row_counts(executor: Executor, tables: Sequence[str]) -> dict[str, int]:
    """The exact number of rows of each table; those counted in one statement are of one moment."""
    found: dict[str, int] = {}
    for start in range(0, len(tables), _PER_STATEMENT):
        chunk = tables[start : start + _PER_STATEMENT]
        counts = [f"(SELECT count(*) FROM {executor.engine.quote(name)})" for name in chunk]
        found.update(zip(chunk, executor.rows(f"SELECT {', '.join(counts)}")[0], strict=True))
    return found


def counted(executor: Executor, tables: Sequence[str], seconds: float) -> dict[str, Count]:
    """The rows of each table: all counted at once, or as many as there is time for, the others estimated."""
    end = monotonic() + seconds
    try:
        with reading(executor, seconds / 2):
            return {name: Count(rows, True) for name, rows in row_counts(executor, tables).items()}
    except (OutOfTime, DatabaseBusy, ReadOnlyError):
        return {
            name: count(executor, name, (end - monotonic()) / (len(tables) - number))
            for number, name in enumerate(tables)
        }


def count(executor: Executor, table: str, seconds: float) -> Count:
    """The rows of a table, counted if there is time for it; unknown to who may not read it."""
    try:
        if seconds > 0:
            with reading(executor, seconds):
                return Count(row_counts(executor, [table])[table], True)
    except OutOfTime:
        pass
    except DatabaseBusy:
        # The planner would wait for the lock, too; what was counted last is in the catalogue.
        return Count(executor.engine.upkeep.rough_count(executor.run, table), False)
    except ReadOnlyError:
        return Count(None, False)
    return Count(executor.engine.upkeep.estimate(executor.run, executor.describe(table)), False)
