"""What a table holds, as a number of rows and a hash that does not depend on their order.

The hash is the sum of the BLAKE2b digests of all rows, modulo 2**128: equal rows count each time, and a row
that changed, came or went changes the sum. It compares a table before and after on one kind of database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b

from holdfast.core.executor import Executor
from holdfast.core.progress import Advance
from holdfast.errors import TransactionError

_STEP = 10_000


@dataclass(frozen=True, slots=True)
class Content:
    """How many rows a table holds, their hash, and the length of the longest in bytes."""

    rows: int
    hash: str
    longest: int = 0


def content_of(executor: Executor, table: str, advance: Advance | None = None) -> Content:
    """Read a table of this thread's transaction with flat memory."""
    total = rows = longest = 0
    for row in executor.engine.dump.content(executor.driver_connection(), table):
        total += int.from_bytes(blake2b(row, digest_size=16).digest(), "big")
        rows += 1
        if len(row) > longest:
            longest = len(row)
        if advance is not None and rows % _STEP == 0:
            advance(_STEP)
    if advance is not None:
        advance(rows % _STEP)
    return Content(rows, f"{total % 2**128:032x}", longest)


def differences(executor: Executor, expected: Mapping[str, Content]) -> list[str]:
    """What the tables hold that they should not, or do not hold that they should; one text for each table."""
    found: list[str] = []
    for table, content in expected.items():
        here = content_of(executor, table)
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
