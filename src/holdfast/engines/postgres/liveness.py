"""Whether a connection that was left alone is still one, asked before anything is sent on it."""

from __future__ import annotations

import contextlib
import math
import select
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGresult

PING_SECONDS = 5.0
# After so long a silence a network may have dropped the connection without a word to us.
IDLE_SECONDS = 30.0
FOREVER = 1e6


class Unsent(psycopg.OperationalError):
    """The connection had died before the statement was sent: it surely had no effect."""


def check_before(raw: Any) -> Callable[[], None]:
    """A function that raises :class:`Unsent` if the server has ended the connection.

    It looks whether something has arrived on the socket, which takes a microsecond: a server that ends a
    connection says so, and between two statements it says nothing else. Then, and after a long silence, it
    asks the server.
    """
    arrived, monotonic = _arrived(raw.pgconn.socket), time.monotonic
    last = monotonic()

    def check() -> None:
        nonlocal last
        now = monotonic()
        if arrived() or now - last > IDLE_SECONDS:
            _ask(raw)
        last = now

    return check


def _arrived(socket: int) -> Callable[[], Any]:
    if not hasattr(select, "poll"):
        return lambda: select.select([socket], [], [], 0)[0]
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    ask = poll.poll
    return lambda: ask(0)


def _ask(raw: Any) -> None:
    if raw.closed or not answers(raw):
        raw.close()
        raise Unsent("the server had closed the connection, or did not answer")


def answers(raw: Any, seconds: float = PING_SECONDS) -> bool:
    """Whether the server answers an empty query in time; in a transaction it changes nothing."""
    try:
        command(raw, b"", seconds)
    except Silent:
        return False
    except psycopg.OperationalError:
        return False
    except psycopg.Error:
        pass
    return bool(raw.pgconn.status == ConnStatus.OK)


class Silent(psycopg.OperationalError):
    """No answer came in time; one may still come, so nothing else can be asked on this connection."""


def command(raw: Any, text: bytes, seconds: float | None = None) -> PGresult:
    """Send a text of our own without values: half the work that the driver's cursor has with it."""
    connection = raw.pgconn
    deadline = time.monotonic() + (FOREVER if seconds is None else seconds)
    connection.send_query(text)
    result: PGresult | None = None
    while True:
        is_sent = connection.flush() == 0
        left = deadline - time.monotonic()
        if left <= 0:
            raise Silent("the server did not answer in time")
        _wait(connection.socket, left, writing=not is_sent)
        connection.consume_input()
        while not connection.is_busy():
            found = connection.get_result()
            if found is not None:
                result = found
            elif result is None or result.status == ExecStatus.FATAL_ERROR:
                raise _failure(connection, result)
            else:
                return result


def _failure(connection: Any, result: PGresult | None) -> psycopg.Error:
    if result is None or connection.status != ConnStatus.OK:
        return psycopg.OperationalError("the connection was lost")
    return psycopg.errors.error_from_result(result)


def _wait(socket: int, seconds: float, *, writing: bool) -> None:
    if not hasattr(select, "poll"):
        select.select([socket], [socket] if writing else [], [], seconds)
        return
    poll = select.poll()
    poll.register(socket, select.POLLIN | (select.POLLOUT if writing else 0))
    poll.poll(max(1, int(seconds * 1000)))


@contextlib.contextmanager
def limited(raw: Any, seconds: float) -> Iterator[None]:
    """By the server's own limits; where a statement has failed, the rollback puts those back.

    A lock is waited for a little less long, so that it is told from a statement that is slow.
    """
    limit = max(2, math.ceil(seconds * 1000))
    found = raw.execute(
        "SELECT setting::bigint FROM pg_settings WHERE name IN ('lock_timeout', 'statement_timeout') "
        "ORDER BY name",
        prepare=False,
    ).fetchall()
    waits, lasts = (before for (before,) in found)
    _limit(raw, min(waits or limit, limit * 3 // 4), min(lasts or limit, limit))
    yield
    _limit(raw, waits, lasts)


def _limit(raw: Any, waits: int, lasts: int) -> None:
    for name, limit in (("lock_timeout", waits), ("statement_timeout", lasts)):
        raw.execute(f"SET LOCAL {name} = {limit}", prepare=False)
