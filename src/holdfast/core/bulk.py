"""Many rows in one transaction: insert_many, upsert_many, update_many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.core.executor import Executor
from holdfast.core.rows import CONFLICTS, Row, check_row, count_argument, named_refusal, writable, writing
from holdfast.core.transaction import Transaction
from holdfast.core.where import encode, qualified
from holdfast.engines.base import Column
from holdfast.engines.names import quote_identifier
from holdfast.errors import ConnectionLost, Error, InvalidQuery, TransactionError, ValueRefused

BATCH = 1_000
Advance = Callable[[int], None]
Encoded = Iterator[tuple[str, Sequence[Column], Sequence[Any]]]


@dataclass(slots=True)
class _Batch:
    """Encoded rows that one statement takes, their columns, and the number of the first."""

    native: str
    columns: Sequence[Column]
    first: int
    rows: list[Sequence[Any]] = field(default_factory=list)


def insert_many(
    executor: Executor,
    table: str,
    rows: Iterable[Row],
    *,
    on_conflict: str = "error",
    key: str | Sequence[str] | None = None,
    batch_size: int | None = None,
    advance: Advance | None = None,
) -> int:
    """Write all rows or none; return how many were written."""
    executor.describe(table)
    if on_conflict not in CONFLICTS:
        raise InvalidQuery(f"unknown on_conflict {on_conflict!r}", hint=f"use one of {', '.join(CONFLICTS)}")

    def encoded() -> Encoded:
        for row in _iterate(rows):
            plan = writing(executor, table, row, on_conflict=on_conflict, key=key, many=True)
            yield plan.native, plan.columns, plan.encode(row)

    return _write_all(executor, table, encoded(), _size(batch_size), advance)


def update_many(
    executor: Executor,
    table: str,
    rows: Iterable[Row],
    key: str | Sequence[str] = "id",
    *,
    batch_size: int | None = None,
    advance: Advance | None = None,
) -> int:
    """Change the rows found by ``key``, all or none; return how many there were."""
    info = executor.describe(table)
    keys = [info.column(name) for name in ([key] if isinstance(key, str) else key)]
    if not keys:
        raise InvalidQuery("key is empty", hint="name the columns that find a row")
    plans: dict[tuple[str, ...], tuple[str, Sequence[Column]]] = {}

    def encoded() -> Encoded:
        for row in _iterate(rows):
            check_row(row)
            for column in keys:
                if row.get(column.name) is None:
                    raise InvalidQuery(f"the row has no value for the key column {column.name!r}")
            names = tuple(name for name in row if all(name != column.name for column in keys))
            if names not in plans:
                columns = [writable(info, name) for name in names]
                plans[names] = _update_text(executor, table, columns, keys), [*columns, *keys]
            text, columns_of_text = plans[names]
            values = [encode(table, column, row[column.name]) for column in columns_of_text]
            yield text, columns_of_text, values

    return _write_all(executor, table, encoded(), _size(batch_size), advance)


def _update_text(executor: Executor, table: str, columns: list[Column], keys: list[Column]) -> str:
    if not columns:
        raise InvalidQuery("the row has nothing to update besides its key")
    sets = ", ".join(f"{quote_identifier(column.name)} = ?" for column in columns)
    match = " AND ".join(f"{qualified(table, column.name)} = ?" for column in keys)
    return executor.native(f"UPDATE {quote_identifier(table)} SET {sets} WHERE {match}")


def _size(batch_size: int | None) -> int:
    return BATCH if batch_size is None else count_argument("batch_size", batch_size, least=1)


def _iterate(rows: Iterable[Row]) -> Iterator[Row]:
    if isinstance(rows, (str, bytes)) or not isinstance(rows, Iterable):
        raise InvalidQuery(f"rows must be a list of dicts, not {type(rows).__name__}")
    if hasattr(rows, "keys"):
        raise InvalidQuery("rows must be a list of dicts, not one dict", hint="insert() takes a single row")
    return iter(rows)


def _write_all(executor: Executor, table: str, encoded: Encoded, size: int, advance: Advance | None) -> int:
    written = number = 0
    batch: _Batch | None = None
    with Transaction(executor):
        while True:
            try:
                native, columns, values = next(encoded)
            except StopIteration:
                break
            except Error as exc:
                raise _at_row(exc, number + 1) from exc
            number += 1
            if batch is not None and (batch.native != native or len(batch.rows) >= size):
                written += _flush(executor, table, batch, advance)
                batch = None
            if batch is None:
                batch = _Batch(native, columns, number)
            batch.rows.append(values)
        if batch is not None:
            written += _flush(executor, table, batch, advance)
    return written


def _flush(executor: Executor, table: str, batch: _Batch, advance: Advance | None) -> int:
    try:
        with Transaction(executor):
            written = executor.send_many(batch.native, batch.rows)
    except (ConnectionLost, TransactionError):
        raise
    except Error as exc:
        _replay(executor, table, batch)
        raise exc
    if advance:
        advance(len(batch.rows))
    return written


def _replay(executor: Executor, table: str, batch: _Batch) -> None:
    """Find the row that failed by writing one at a time; the caller's transaction is rolled back anyway."""
    for number, values in enumerate(batch.rows, batch.first):
        try:
            executor.send(batch.native, values)
        except ValueRefused as exc:
            raise _at_row(named_refusal(exc, table, batch.columns, values), number) from exc
        except Error as exc:
            raise _at_row(exc, number) from exc


def _at_row(error: Error, number: int) -> Error:
    placed = type(error)(f"row {number}: {error.message}", hint=error.hint)
    placed.row_number = number
    return placed
