"""What may be tried again, and how long to wait before it is."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from holdfast.errors import DatabaseBusy, SerializationFailure

T = TypeVar("T")
logger = logging.getLogger("holdfast")

FIRST_DELAY = 0.005
LONGEST_DELAY = 0.25


def delays(timeout: float) -> Iterator[float]:
    """Pauses in seconds with full jitter, doubling up to a quarter second, until ``timeout`` is used up.

    The jitter keeps many waiting writers from meeting again; the short ceiling keeps them fair.
    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    deadline = time.monotonic() + timeout
    ceiling = FIRST_DELAY
    while (left := deadline - time.monotonic()) > 0:
        yield min(left, random.uniform(0, ceiling))  # noqa: S311 - spreads load, guards nothing
        ceiling = min(ceiling * 2, LONGEST_DELAY)


def until_free(attempt: Callable[[], T], timeout: float) -> T:
    """Call ``attempt`` until it does not raise :class:`DatabaseBusy`, for up to ``timeout`` seconds."""
    waiting = delays(timeout)
    while True:
        try:
            return attempt()
        except DatabaseBusy:
            pause = next(waiting, None)
            if pause is None:
                raise
            time.sleep(pause)


def whole_transaction(attempt: Callable[[], T], retries: int) -> T:
    """Call ``attempt``, which runs one whole transaction, again when it met a concurrent one."""
    waiting = delays(timeout=60.0)
    for left in range(retries, -1, -1):
        try:
            return attempt()
        except (SerializationFailure, DatabaseBusy) as exc:
            if not left:
                raise
            logger.info("transaction met %s; %d tries left", type(exc).__name__, left)
            time.sleep(next(waiting, LONGEST_DELAY))
    raise AssertionError("unreachable")
