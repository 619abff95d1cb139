"""Transactions with nested savepoints, as blocks and by hand."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from holdfast.core import recovery
from holdfast.core.executor import Executor
from holdfast.core.retry import whole_transaction
from holdfast.core.session import Session
from holdfast.errors import (
    ConfigurationError,
    DatabaseBusy,
    Error,
    TransactionAborted,
    TransactionError,
    did_you_mean,
)

T = TypeVar("T")


class Transaction:
    """``with Transaction(executor):`` all of the block or nothing; inside another one, a savepoint."""

    def __init__(self, executor: Executor, *, isolation: str | None = None, read_only: bool = False) -> None:
        self._executor = executor
        self._isolation = isolation
        self._read_only = read_only

    def __enter__(self) -> Transaction:
        self._session = session = self._executor.session()
        level = len(session.stack) + 1
        try:
            if level > 1:
                if self._isolation or self._read_only:
                    raise TransactionError(
                        "a nested transaction takes the isolation and the access mode of the outer one",
                        hint="give isolation= and read_only= to the outermost transaction",
                    )
                savepoint(self._executor, session)
            else:
                session = begin(self._executor, session, isolation=self._isolation, read_only=self._read_only)
                self._session = session
            self._level = level
        except BaseException as failure:
            _interrupted(self._executor, session, level, failure)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        session = self._session
        if len(session.stack) < self._level:
            if exc is None:
                raise TransactionError("the transaction of this block has ended already")
            return
        try:
            if exc is not None:
                roll_back(self._executor, session, self._level)
            else:
                end(self._executor, session, self._level)
        except BaseException as failure:
            _interrupted(self._executor, session, self._level, failure)
            raise


def _interrupted(executor: Executor, session: Session, level: int, failure: BaseException) -> None:
    """Nobody knows where Ctrl-C left the connection between a statement and what is noted of it."""
    if not isinstance(failure, Error) or (level == 1 and session.stack):
        _give_up(executor, session, level)


def _give_up(executor: Executor, session: Session, level: int) -> None:
    """Have the whole transaction rolled back: at once, or by the outermost block when it ends."""
    if level > 1 and session.stack:
        del session.stack[level - 1 :]
        session.aborted, session.ready = True, False
    else:
        executor.discard(session)


def begin(executor: Executor, session: Session, *, isolation: str | None, read_only: bool) -> Session:
    """Open the outermost transaction, waiting for its turn where only one writer is let in.

    A BEGIN that was lost with its connection did nothing, so it is sent again on the one that is returned.
    """
    levels = executor.engine.features.isolation_levels
    if isolation is not None and isolation.upper() not in levels:
        raise ConfigurationError(
            f"unknown isolation level {isolation!r}",
            hint=did_you_mean(isolation.upper(), sorted(levels), "levels"),
        )
    if not session.ready:
        executor._make_ready(session)
        session = executor.session()

    def attempt(session: Session) -> Session:
        executor.engine.connect.begin(
            session.execute, isolation=isolation.upper() if isolation else None, read_only=read_only
        )
        return session

    try:
        if executor.engine.features.retries_busy:
            executor.until_free(lambda: executor._attempt(lambda: attempt(session)))
        else:
            session = recovery.opening(executor, session, attempt)
    except Error:
        if not executor.engine.connect.is_alive(session.raw):
            executor.discard(session)
        raise
    session.read_only = read_only
    session.number, session.undone = session.number + 1, []
    session.stack.append("BEGIN")
    return session


def savepoint(executor: Executor, session: Session) -> None:
    """Open a level inside the open transaction."""
    if not session.ready:
        executor._make_ready(session)
    executor._attempt(session.push_savepoint)


def end(executor: Executor, session: Session, level: int = 1) -> None:
    """Keep the work of ``level`` and all levels in it; at level 1, commit."""
    if session.aborted:
        roll_back(executor, session, level)
        raise TransactionAborted(
            "a statement of this transaction failed, so all of it was rolled back",
            hint="let the error leave the block, or wrap that statement in its own `with db.transaction():`",
        )
    if not session.ready:
        executor._make_ready(session)
    while len(session.stack) > max(level, 1):
        executor._attempt(session.release_savepoint)
    if level > 1:
        executor._attempt(session.release_savepoint)
    else:
        _commit(executor, session)


def _commit(executor: Executor, session: Session) -> None:
    def attempt() -> None:
        cursor = executor._attempt(lambda: session.execute("COMMIT", ()))
        # PostgreSQL answers so, without an error, where a statement failed that did not pass through here.
        if getattr(cursor, "statusmessage", None) == "ROLLBACK":
            raise TransactionAborted(
                "a statement of this transaction failed or was interrupted, so all of it was rolled back",
                hint="let the error leave the block",
            )

    ticket = None
    try:
        if not session.read_only:
            ticket = executor._attempt(lambda: executor.engine.connect.ticket(session.raw))
        if executor.engine.features.retries_busy:
            executor.until_free(attempt)
        else:
            attempt()
    except Error as exc:
        if executor.engine.connect.is_alive(session.raw):
            roll_back(executor, session, 1)
            raise
        executor.discard(session)
        _look_for(executor, ticket, exc)
    else:
        _closed(executor, session)


def _look_for(executor: Executor, ticket: Any, exc: Error) -> None:
    """Find out what became of a transaction whose connection was lost; return if all of it was kept."""
    if ticket is None or executor.engine.connect.is_unsent(exc.__cause__):
        raise recovery.lost(executor, "nothing of the transaction was kept") from exc
    match recovery.fate(executor, ticket):
        case True:
            return
        case False:
            raise recovery.lost(executor, "the transaction was rolled back") from exc
        case None:
            raise recovery.in_doubt(executor, "during COMMIT") from exc


def roll_back(executor: Executor, session: Session, level: int = 1) -> None:
    """Undo the work of ``level`` and of all levels inside it."""
    if not executor.engine.connect.is_alive(session.raw):
        _give_up(executor, session, level)
        return
    try:
        if level > 1:
            while len(session.stack) >= level:
                session.rollback_savepoint()
        elif session.stack:
            session.stack.clear()
            _rollback_all(session)
    except executor._driver_error:
        _give_up(executor, session, level)
        return
    session.aborted, session.ready = False, not session.stale
    if session.known is not None and session.stack:
        executor.forget()
    if not session.stack:
        _closed(executor, session)


def _rollback_all(session: Session) -> None:
    # SQLite ends the transaction by itself on some errors (disk full, I/O); ROLLBACK would then fail.
    if getattr(session.raw, "in_transaction", True):
        session.execute("ROLLBACK", ())


def _closed(executor: Executor, session: Session) -> None:
    session.stack.clear()
    session.manual = False
    executor.engine.connect.ended(session.execute, read_only=session.read_only)
    session.read_only = False
    if session.known is not None:
        session.known = None
        executor.forget()
    executor.pass_on()


def begin_by_hand(executor: Executor, *, isolation: str | None, read_only: bool) -> None:
    session = executor.session()
    if session.stack:
        raise TransactionError(
            "a transaction is open already",
            hint="commit or roll back first, or nest `with db.transaction():`",
        )
    try:
        session = begin(executor, session, isolation=isolation, read_only=read_only)
        session.manual = True
    except BaseException as failure:
        _interrupted(executor, session, 1, failure)
        raise


def end_by_hand(executor: Executor, *, keep: bool) -> None:
    session = executor.session()
    verb = "commit" if keep else "roll back"
    if not session.stack:
        raise TransactionError(f"there is no transaction to {verb}", hint="begin_transaction() opens one")
    if not session.manual or len(session.stack) > 1:
        raise TransactionError(
            f"cannot {verb} inside `with db.transaction():`",
            hint="leave the block to commit, or raise an exception to roll back",
        )
    try:
        end(executor, session) if keep else roll_back(executor, session)
    except BaseException as failure:
        _interrupted(executor, session, 1, failure)
        raise


def run_transaction(
    executor: Executor, work: Callable[[], T], *, retries: int, isolation: str | None, read_only: bool
) -> T:
    """Run ``work`` in a transaction of its own, again from the start when it met a concurrent one."""
    if executor.in_transaction:
        raise TransactionError(
            "run_transaction retries a whole transaction and cannot be part of one",
            hint="use `with db.transaction():` for a nested one",
        )

    def attempt() -> T:
        with Transaction(executor, isolation=isolation, read_only=read_only):
            return work()

    return whole_transaction(attempt, retries, lambda exc: executor.tally.count("transactions", exc))


__all__ = ["DatabaseBusy", "Transaction", "begin_by_hand", "end_by_hand", "run_transaction"]
