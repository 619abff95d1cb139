"""Going on after a connection was lost, where that is sure to do nothing twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING, Any

from holdfast.core.session import Session
from holdfast.engines.sqltext import first_word
from holdfast.errors import CommitUnknown, ConnectionLost, Error, ReadOnlyError

if TYPE_CHECKING:
    from holdfast.core.executor import Executor

# Statements that may be reads; a read-only transaction proves that they are.
READS = frozenset({"SELECT", "WITH", "VALUES", "TABLE", "EXPLAIN", "SHOW"})
IN_DOUBT_HINT = "look for what it wrote before trying again, or give insert an idempotency_key"


def lost(executor: Executor, what: str) -> ConnectionLost:
    """The error of a connection that died; ``what`` says what became of the work."""
    error = ConnectionLost(
        f"the connection to the database was lost; {what}", hint="the next call opens a new one"
    )
    executor.tally.note(error)
    return error


def in_doubt(executor: Executor, when: str) -> CommitUnknown:
    """The error of work that may have taken effect or not."""
    error = CommitUnknown(
        f"the connection was lost {when}; whether it took effect is not known", hint=IN_DOUBT_HINT
    )
    executor.tally.count("commits_unknown", error)
    return error


def statement(
    executor: Executor, session: Session, again: Callable[[Session], Any], exc: BaseException, native: str
) -> Any:
    """Run a statement again on another connection, if the first run cannot have written anything."""
    connect = executor.engine.connect
    if session.stack:
        # On a new connection the rest of the transaction would be kept without its beginning.
        session.aborted, session.ready = True, False
        raise lost(executor, "the transaction was rolled back") from exc
    waiting = chain((0.0,), executor.pauses())
    while True:
        executor.discard(session)
        is_unsent = connect.is_unsent(exc)
        if not is_unsent and first_word(native, executor.engine.lexicon) not in READS:
            raise in_doubt(executor, "while a statement ran") from exc
        pause = next(waiting, None)
        if pause is None:
            raise lost(executor, "nothing of the statement was kept") from exc
        executor.tally.count("statements", exc)
        time.sleep(pause)
        session = executor.new_session(waiting)
        try:
            return again(session) if is_unsent else _proven_read(executor, session, again)
        except ReadOnlyError:
            raise in_doubt(executor, "while a statement ran") from exc
        except executor.caught as next_exc:
            exc = next_exc
            if connect.is_alive(session.raw):
                return executor.failed(session, again, exc, native)


def _proven_read(executor: Executor, session: Session, again: Callable[[Session], Any]) -> Any:
    """Run a statement where the engine refuses to write: then the first run has written nothing either.

    The transaction goes by another cursor, because the first one's has the rows.
    """
    connect = executor.engine.connect
    aside, *_ = connect.hold(session.raw)
    connect.begin(aside, isolation=None, read_only=True)
    try:
        return again(session)
    except connect.driver_error as exc:
        error = executor.engine.translate(exc)
        if isinstance(error, ReadOnlyError):
            raise error from exc
        raise
    finally:
        if connect.is_alive(session.raw):
            aside("ROLLBACK", ())


def opening(executor: Executor, session: Session, attempt: Callable[[Session], Session]) -> Session:
    """Call ``attempt`` on a session, and on a new one while connections are lost under it."""
    waiting = chain((0.0,), executor.pauses())
    while True:
        try:
            return attempt(session)
        except executor.caught as exc:
            error = executor.engine.translate(exc)
            if executor.engine.connect.is_alive(session.raw):
                raise error from exc
            executor.discard(session)
            pause = next(waiting, None)
            if pause is None:
                raise lost(executor, "no transaction was opened") from exc
            executor.tally.count("statements", exc)
            time.sleep(pause)
            session = executor.new_session(waiting)


def fate(executor: Executor, ticket: Any) -> bool | None:
    """Whether a transaction took effect whose COMMIT was not answered; ``None`` if nobody knows."""
    waiting = chain((0.0,), executor.pauses())
    found: bool | None = None
    while found is None and (pause := next(waiting, None)) is not None:
        time.sleep(pause)
        try:
            session = executor.new_session(waiting)
        except Error:
            break
        try:
            found = executor.engine.connect.fate(session.raw, ticket)
        except executor.engine.connect.driver_error:
            executor.discard(session)
            continue
        if found is None:
            break
    if found is not None:
        executor.tally.count("commits_resolved", None)
    return found
