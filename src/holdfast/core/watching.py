"""Having somebody told of every statement: what it was, how long it took, how many rows it had."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from holdfast.core.executor import Executor, _all
from holdfast.engines.base import Cursor

Observe = Callable[[tuple[str, float, int]], Any]
"""Takes the statement in the driver's text, which holds no parameter, its seconds and its rows."""


def watch(executor: Executor, observe: Observe | None) -> None:
    """Call ``observe`` after each statement, also after one that failed, with ``None`` nobody any more.

    It stands around the executor's own three doors only while somebody wants to know.
    """
    for door in ("send", "fetch", "send_many"):
        executor.__dict__.pop(door, None)
    if observe is not None:
        vars(executor).update(_doors(executor, observe))


def _doors(executor: Executor, observe: Observe) -> dict[str, Callable[..., Any]]:
    plain_send, plain_fetch, plain_many = executor.send, executor.fetch, executor.send_many

    def send(native: str, params: Sequence[Any] = ()) -> Cursor:
        rows, started = 0, perf_counter()
        try:
            cursor = plain_send(native, params)
            rows = cursor.rowcount
            return cursor
        finally:
            observe((native, perf_counter() - started, rows))

    def fetch(
        native: str,
        params: Sequence[Any] = (),
        read: Callable[[Cursor], Any] = _all,
        *,
        binary: bool = False,
    ) -> Any:
        rows, started = 0, perf_counter()
        try:
            result = plain_fetch(native, params, read, binary=binary)
            rows = len(result) if type(result) is list else 1
            return result
        finally:
            observe((native, perf_counter() - started, rows))

    def send_many(native: str, rows: Sequence[Sequence[Any]]) -> int:
        started = perf_counter()
        try:
            return plain_many(native, rows)
        finally:
            observe((native, perf_counter() - started, len(rows)))

    return {"send": send, "fetch": fetch, "send_many": send_many}
