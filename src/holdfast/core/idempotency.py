"""Writes that happen once, however often they are asked for: each is known by a key of the caller's."""

from __future__ import annotations

import hashlib
import json
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date, datetime, timedelta
from datetime import time as clock
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np

from holdfast.core.executor import Executor
from holdfast.core.transaction import Transaction
from holdfast.engines.names import IDEMPOTENCY_TABLE, quote_identifier
from holdfast.errors import CommitUnknown, ConnectionLost, Error, InvalidQuery, KeyReused

KEPT_SECONDS = 7 * 24 * 3600
LONGEST_KEY = 200
PRUNE_EVERY = 1000
PRUNE_AT_ONCE = 10_000

_TABLE = quote_identifier(IDEMPOTENCY_TABLE)
_CREATE = (
    f'CREATE TABLE IF NOT EXISTS {_TABLE} ("key" TEXT PRIMARY KEY, "call" TEXT NOT NULL, '
    '"result" TEXT, "at" BIGINT NOT NULL)'
)
_CLAIM = f'INSERT INTO {_TABLE} ("key", "call", "at") VALUES (?, ?, ?) ON CONFLICT ("key") DO NOTHING'
_KEEP = f'UPDATE {_TABLE} SET "result" = ? WHERE "key" = ?'
_FIND = f'SELECT "call", "result" FROM {_TABLE} WHERE "key" = ?'
_PRUNE = (
    f'DELETE FROM {_TABLE} WHERE "key" IN '
    f'(SELECT "key" FROM {_TABLE} WHERE "at" < ? ORDER BY "key" LIMIT {PRUNE_AT_ONCE})'
)


def once(executor: Executor, key: str, call: Sequence[Any], work: Callable[[], Any]) -> Any:
    """Do ``work`` in a transaction that also records ``key``, or return what it returned the first time.

    ``call`` is what the key stands for. Outside a transaction it is done again by itself after a lost
    connection, because whatever became of the first try, it is not done twice.

    Raises:
        KeyReused: if the key stands for another call.
    """
    _check(key)
    digest = _digest(call)
    if executor.in_transaction:
        executor.run(_CREATE)
        return _claimed(executor, key, digest, work)
    _prepare(executor)
    pauses = executor.pauses()
    while True:
        try:
            with Transaction(executor):
                return _claimed(executor, key, digest, work)
        except (ConnectionLost, CommitUnknown) as exc:
            pause = next(pauses, None)
            if pause is None:
                raise
            executor.tally.count("statements", exc)
            time.sleep(pause)


def checked_rows(rows: Any) -> Sequence[Any]:
    """Rows that are there a second time when they are asked for."""
    if not isinstance(rows, (list, tuple)):
        raise InvalidQuery(
            "rows with an idempotency key must be a list", hint="give list(rows), of dicts or of tuples"
        )
    return rows


def _check(key: str) -> None:
    if not isinstance(key, str) or not key or len(key) > LONGEST_KEY or "\0" in key:
        raise InvalidQuery(
            f"an idempotency key is a text of 1 to {LONGEST_KEY} characters", hint="for example str(uuid4())"
        )


def _claimed(executor: Executor, key: str, digest: str, work: Callable[[], Any]) -> Any:
    # A second one with this key waits here until the first has ended.
    if executor.run(_CLAIM, (key, digest, int(time.time()))).rowcount == 1:
        result = work()
        executor.run(_KEEP, (json.dumps(_packed(result)), key))
        return result
    ((before, result),) = executor.rows(_FIND, (key,))
    if before != digest:
        raise KeyReused("this idempotency key stands for another call", hint="a new call needs a new key")
    return _unpacked(json.loads(result))


def _prepare(executor: Executor) -> None:
    """Have the table at hand, and from time to time forget old keys."""
    uses = executor.plans.get(_TABLE)
    if uses is None:
        _create(executor)
        uses = executor.keep(_TABLE, [0])
    if uses[0] % PRUNE_EVERY == 0:
        executor.run(_PRUNE, (int(time.time()) - KEPT_SECONDS,))
    uses[0] += 1


def _create(executor: Executor) -> None:
    try:
        executor.run(_CREATE)
    except Error:
        # Two that create it at once do not see each other's; by now it is there, or this raises.
        executor.run(_CREATE)


# What a call is


def _digest(call: Sequence[Any]) -> str:
    state = hashlib.sha256()
    _feed(state.update, call)
    return state.hexdigest()


def _feed(put: Callable[[bytes], Any], value: Any) -> None:
    """Put a value in so that no two different ones give the same bytes: its type, its length, itself."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        _feed(put, ["map", *(item for name in sorted(value, key=str) for item in (name, value[name]))])
    elif isinstance(value, (list, tuple)):
        put(b"[%d" % len(value))
        for item in value:
            _feed(put, item)
    elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
        _feed(put, ["array", value.dtype.str, list(value.shape), value.tobytes()])
    elif is_dataclass(value) and not isinstance(value, type):
        _feed(put, {field.name: getattr(value, field.name) for field in fields(value)})
    else:
        kind, text = _plain(value)
        put(b"%s%d:" % (kind, len(text)))
        put(text)


def _plain(value: Any) -> tuple[bytes, bytes]:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return b"b", bytes(value)
    if value is None or isinstance(value, (bool, int, float, complex, str, Decimal, UUID)):
        return type(value).__name__.encode(), str(value).encode("utf-8", "surrogatepass")
    if isinstance(value, (date, clock, timedelta)):
        return type(value).__name__.encode(), repr(value).encode()
    raise InvalidQuery(
        f"a value of type {type(value).__name__} cannot be part of a call with an idempotency key",
        hint="give rows as a list of dicts with plain values",
    )


# What it returned

_PACKED: dict[type, Callable[[str], Any]] = {
    UUID: UUID,
    Decimal: Decimal,
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
    clock: clock.fromisoformat,
}


def _packed(result: Any) -> Any:
    """A key as JSON: what JSON does not have is a pair of its type and its text."""
    if result is None or type(result) in (bool, int, float, str):
        return result
    if isinstance(result, tuple):
        return {"tuple": [_packed(item) for item in result]}
    if isinstance(result, (bytes, memoryview)):
        return {"bytes": b64encode(result).decode()}
    for kind in _PACKED:
        if type(result) is kind:
            return {kind.__name__: result.isoformat() if hasattr(result, "isoformat") else str(result)}
    raise InvalidQuery(f"a key of type {type(result).__name__} cannot be kept with an idempotency key")


def _unpacked(kept: Any) -> Any:
    if not isinstance(kept, dict):
        return kept
    ((kind, value),) = kept.items()
    if kind == "tuple":
        return tuple(_unpacked(item) for item in value)
    if kind == "bytes":
        return b64decode(value)
    return next(read for known, read in _PACKED.items() if known.__name__ == kind)(value)
