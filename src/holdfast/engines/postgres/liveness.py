"""Whether a connection that was left alone is still one, asked before anything is sent on it."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.pq import ConnStatus

PING_SECONDS = 5.0
# After so long a silence a network may have dropped the connection without a word to us.
IDLE_SECONDS = 30.0


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
    connection, deadline = raw.pgconn, time.monotonic() + seconds
    try:
        connection.send_query(b"")
        while True:
            is_sent = connection.flush() == 0
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            _wait(connection.socket, left, writing=not is_sent)
            connection.consume_input()
            while not connection.is_busy():
                if connection.get_result() is None:
                    return bool(connection.status == ConnStatus.OK)
    except psycopg.Error:
        return False


def _wait(socket: int, seconds: float, *, writing: bool) -> None:
    if not hasattr(select, "poll"):
        select.select([socket], [socket] if writing else [], [], seconds)
        return
    poll = select.poll()
    poll.register(socket, select.POLLIN | (select.POLLOUT if writing else 0))
    poll.poll(max(1, int(seconds * 1000)))
