"""What a table holds before and after, and the words in which its engine fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from holdfast.core.executor import Executor
from holdfast.core.progress import Advance
from holdfast.engines.copying import Content
from holdfast.errors import TransactionError


def content_of(
    executor: Executor, table: str, advance: Advance | None = None, like: str | None = None
) -> Content:
    """Read a table of this thread's transaction with flat memory; ``like`` is a hash to compare with."""
    return executor.engine.dump.content(executor.driver_connection(), table, advance, like)


def differences(executor: Executor, expected: Mapping[str, Content]) -> list[str]:
    """What the tables hold that they should not, or do not hold that they should; one text for each table."""
    found: list[str] = []
    for table, content in expected.items():
        here = content_of(executor, table, like=content.hash)
        if here.rows != content.rows:
            found.append(f"table {table!r} has {here.rows} rows instead of {content.rows}")
        elif here.hash != content.hash:
            found.append(f"table {table!r} has other values than the backup was made of")
    return found


@contextmanager
def translated(executor: Executor) -> Iterator[None]:
    """Say the driver's errors in Holdfast's words, for statements that do not pass through the executor."""
    try:
        yield
    except executor.engine.connect.driver_error as exc:
        raise executor.engine.translate(exc) from exc


def outside(executor: Executor, verb: str) -> None:
    """Refuse to work inside a transaction that the caller has open."""
    if executor.in_transaction:
        raise TransactionError(f"{verb} cannot be part of a transaction", hint="commit or roll back first")
