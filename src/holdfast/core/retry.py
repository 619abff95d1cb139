"""What may be tried again, and how long to wait before it is."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from holdfast.errors import ConnectionFailed, ConnectionLost, DatabaseBusy, SerializationFailure

T = TypeVar("T")
Note = Callable[[BaseException], None]
"""Told of each error after which something is tried again."""

FIRST_DELAY = 0.005
LONGEST_DELAY = 0.25
BUDGET = 60.0
LONGEST_LOOK = 0.004
LOOKS_MORE_OFTEN = 0.05


def delays(timeout: float, longest: float = LONGEST_DELAY) -> Iterator[float]:
    """Pauses in seconds with full jitter, doubling up to ``longest``, until ``timeout`` is used up.

    The jitter keeps many waiting writers from meeting again; the short ceiling keeps them fair.
    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    deadline = time.monotonic() + timeout
    ceiling = FIRST_DELAY
    while (left := deadline - time.monotonic()) > 0:
        yield min(left, random.uniform(0, ceiling))  # noqa: S311 - spreads load, guards nothing
        ceiling = min(ceiling * 2, longest)


def turns(timeout: float) -> Iterator[float]:
    """Short pauses in seconds, with jitter, until ``timeout`` is used up.

    A writer that has just committed is quick to begin again, so those who wait have to look often: pauses
    that double let it write thousands of times while another one waits. Who has waited looks more often.
    """
    started = time.monotonic()
    while (waited := time.monotonic() - started) < timeout:
        yield random.uniform(0, LONGEST_LOOK / (1 + waited / LOOKS_MORE_OFTEN))  # noqa: S311


def until_free(attempt: Callable[[], T], timeout: float, note: Note) -> T:
    """Call ``attempt`` until it does not raise :class:`DatabaseBusy`, for up to ``timeout`` seconds."""
    waiting = turns(timeout)
    while True:
        try:
            return attempt()
        except DatabaseBusy as exc:
            pause = next(waiting, None)
            if pause is None:
                raise
            note(exc)
            time.sleep(pause)


def until_reached(attempt: Callable[[], T], timeout: float) -> T:
    """Call ``attempt``, which connects, until the database can be reached, for up to ``timeout`` seconds."""
    waiting = delays(timeout, longest=1.0)
    while True:
        try:
            return attempt()
        except ConnectionFailed as exc:
            pause = next(waiting, None) if exc.is_temporary else None
            if pause is None:
                raise
            time.sleep(pause)


def whole_transaction(attempt: Callable[[], T], retries: int, note: Note) -> T:
    """Call ``attempt``, which runs one whole transaction, again when surely nothing of it was kept.

    It met a concurrent one, or its connection was lost before COMMIT, or there was none to be had.
    """
    waiting = delays(BUDGET)
    for left in range(retries, -1, -1):
        try:
            return attempt()
        except (SerializationFailure, DatabaseBusy, ConnectionFailed) as exc:
            pause = next(waiting, None) if left and _may_pass(exc) else None
            if pause is None:
                raise
            note(exc)
            time.sleep(pause)
    raise AssertionError("unreachable")


def _may_pass(exc: BaseException) -> bool:
    return not isinstance(exc, ConnectionFailed) or isinstance(exc, ConnectionLost) or exc.is_temporary
