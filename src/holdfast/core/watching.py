"""Having somebody told of every statement: what it was, how long it took, how many rows it had."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from holdfast.core.executor import Executor, _all
from holdfast.engines.base import Cursor

Observe = Callable[[tuple[str, float, int]], Any]
"""Takes the statement in the driver's text, which holds no parameter, its seconds and its rows."""
Doors = dict[str, Callable[..., Any]]
DOORS = ("send", "fetch", "send_many", "stream")


def watch(executor: Executor, observe: Observe | None) -> None:
    """Call ``observe`` after each statement, also after one that failed, with ``None`` nobody any more."""
    surround(executor, "watch", None if observe is None else lambda plain: _doors(plain, observe))


def surround(executor: Executor, by: str, make: Callable[[Executor], Doors] | None) -> None:
    """Put doors that ``make`` gives around the executor's own, or with ``None`` take those of ``by`` away.

    They stand there only while somebody wants to know. Those of several stand one around the other.
    """
    around: dict[str, Callable[[Executor], Doors]] = vars(executor).setdefault("_around", {})
    around.pop(by, None)
    if make is not None:
        around[by] = make
    for door in DOORS:
        vars(executor).pop(door, None)
    for one in around.values():
        vars(executor).update(one(executor))


def _doors(executor: Executor, observe: Observe) -> Doors:
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
