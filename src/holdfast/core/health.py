"""How a database is doing: its pool, what had to be tried again, and the last error."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from holdfast.core.retry import until_reached
from holdfast.errors import ConnectionFailed, Error

if TYPE_CHECKING:
    from holdfast.core.executor import Executor

logger = logging.getLogger("holdfast")
# Who wants to hear of retries says so; without this Python would print them.
logger.addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class Health:
    """What ``db.health()`` found.

    ``seconds`` is the time a statement took there and back, ``None`` if the database did not answer.
    ``pool`` counts connections: ``in_use`` by threads, ``idle``, and ``most``, ``None`` without a limit.
    ``retries`` counts since the database was opened: ``reconnects``, ``statements``, ``transactions``,
    ``busy``, ``commits_resolved`` and ``commits_unknown``. ``last_error`` is the last trouble with the
    connection or with a lock: ``type``, ``message`` and ``at``, or ``None``.
    """

    is_ok: bool
    engine: str
    url: str
    seconds: float | None
    pool: dict[str, int | None]
    retries: dict[str, int]
    last_error: dict[str, Any] | None


KINDS = ("reconnects", "statements", "transactions", "busy", "commits_resolved", "commits_unknown")


class Tally:
    """Counts what was tried again, and remembers the last error; shared by all threads."""

    def __init__(self) -> None:
        self.forked()
        self._counts: Counter[str] = Counter()
        self.last_error: dict[str, Any] | None = None

    def forked(self) -> None:
        """In the child, which lacks the thread that may have the lock."""
        self._lock = threading.Lock()

    def count(self, kind: str, error: BaseException | None, *, level: int = logging.WARNING) -> None:
        """Count a retry of this ``kind`` and log it, with no more of ``error`` than its class."""
        with self._lock:
            self._counts[kind] += 1
        why = f" after {type(error).__name__}" if error is not None else ""
        logger.log(level, "%s%s", _SAID[kind], why)
        if isinstance(error, Error):
            self.note(error)

    def note(self, error: Error) -> None:
        """Remember the last error."""
        self.last_error = {
            "type": type(error).__name__,
            "message": error.message,
            "at": datetime.now(UTC),
        }

    @property
    def counts(self) -> dict[str, int]:
        with self._lock:
            return {kind: self._counts[kind] for kind in KINDS}


_SAID = {
    "reconnects": "connecting again",
    "statements": "sending a statement again",
    "transactions": "running a transaction again",
    "busy": "waiting for a lock",
    "commits_resolved": "the fate of a lost COMMIT was found out",
    "commits_unknown": "the fate of a lost statement or COMMIT is not known",
}


def check(executor: Executor) -> Health:
    """Ask once whether the database answers, and say what became of the pool and of retries."""
    seconds = None
    with executor.impatient():
        started = time.perf_counter()
        try:
            if not executor.in_transaction or not executor.session().aborted:
                executor.scalar("SELECT 1")
                seconds = time.perf_counter() - started
        except ConnectionFailed as exc:
            executor.tally.note(exc)
    pool = executor.pool
    return Health(
        is_ok=seconds is not None,
        engine=executor.engine.name,
        url=executor.target.masked_url,
        seconds=seconds,
        pool={"in_use": pool.in_use, "idle": pool.idle, "most": pool.most},
        retries=executor.tally.counts,
        last_error=executor.tally.last_error,
    )


def wait_until_ready(executor: Executor, timeout: float) -> None:
    """Wait until the database answers."""
    with executor.impatient():
        until_reached(lambda: executor.scalar("SELECT 1"), timeout)
