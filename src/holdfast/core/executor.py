"""The one door to the database: every statement of Holdfast goes through ``send``."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from itertools import chain
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, TypeVar

from holdfast.core import recovery
from holdfast.core.health import Tally
from holdfast.core.kept import Kept
from holdfast.core.pointing import mark
from holdfast.core.recording import Recorder, counted, kind_of, recorded
from holdfast.core.reread import suggest
from holdfast.core.retry import delays, until_free
from holdfast.core.session import Known, Session
from holdfast.engines.base import Cursor, Engine, Opened, TableInfo
from holdfast.engines.names import check_identifier
from holdfast.engines.sqltext import native
from holdfast.errors import (
    ClosedError,
    ColumnNotFound,
    ConnectionFailed,
    DatabaseBusy,
    Error,
    InvalidQuery,
    SerializationFailure,
    TableNotFound,
    TransactionAborted,
    TransactionError,
    did_you_mean,
)

if TYPE_CHECKING:
    import sqlalchemy

    from holdfast.engines.pool import Entry, Lease
    from holdfast.settings import Target


T = TypeVar("T")
Verb = TypeVar("Verb", bound=Callable[..., Any])
Lasts = Callable[[], bool]
MOST_PLANS = 4096
LONGEST_PAUSE = 1.0


def each(cursor: Cursor) -> Iterator[tuple[Any, ...]]:
    """The rows of a cursor, in portions: faster than one by one, and than all at once."""
    portions: Iterator[list[tuple[Any, ...]]] = iter(partial(cursor.fetchmany, 256), [])
    return chain.from_iterable(portions)


def _all(cursor: Cursor) -> list[tuple[Any, ...]]:
    return cursor.fetchall()


class Executor:
    """Runs statements on this thread's connection and keeps what is known of the schema.

    SQL is neutral text (``?`` marks a parameter, ``??`` is a literal question mark) and parameters are
    driver values already. A connection is taken from the pool on a thread's first statement and kept.
    """

    def __init__(
        self,
        engine: Engine,
        target: Target,
        opened: Opened,
        *,
        timeout: float,
        is_private: bool,
        patience: float = 0.0,
    ) -> None:
        self.engine = engine
        self.target = target
        self.pool = opened.pool
        self.timeout = timeout
        self.patience = patience
        self.is_private = is_private
        self.tally = Tally()
        self.recorder: Recorder | None = None
        self._changes = 0
        self.native = lru_cache(maxsize=4096)(self._native)
        self._known = Known()
        self._is_unsettled = False
        # What is collected as garbage meanwhile may ask for it again.
        self._knowing = threading.RLock()
        self._local = threading.local()
        self._sessions: weakref.WeakSet[Session] = weakref.WeakSet()
        self._driver_error = engine.connect.driver_error
        self.caught: tuple[type[BaseException], ...] = (
            *self._driver_error,
            OverflowError,
            UnicodeEncodeError,
        )
        self._open = True
        self._opened = opened
        self._alchemy: sqlalchemy.Engine | None = None
        self.pool.taken, self.pool.returned = self._taken, self._returned
        _executors.add(self)

    # Connections

    @property
    def is_open(self) -> bool:
        return self._open

    def session(self) -> Session:
        """This thread's session, opened on first use."""
        try:
            session: Session = self._local.session
        except AttributeError:
            session = self.new_session()
        return session

    def new_session(self, waiting: Iterator[float] | None = None) -> Session:
        """A connection of the pool for this thread, in the place of the one it had."""
        if not self._open:
            raise ClosedError("this database has been closed", hint="connect again")
        lease = self._connected(self.pauses() if waiting is None else waiting)
        session = Session(lease, *self.engine.connect.hold(lease.raw))
        self._local.session = session
        with self._knowing:
            self._sessions.add(session)
            if lease.entry.changes != self._changes:
                # The schema changed since the pool gave the connection out, and nobody could tell this one.
                session.stale, session.ready = True, False
        if not self._open:
            # Closed while this connection was made, and not seen by what closed the others.
            self.discard(session)
            raise ClosedError("this database has been closed", hint="connect again")
        return session

    def _connected(self, waiting: Iterator[float]) -> Lease:
        """A connection of the pool; while the server is away, nothing has been sent and we may ask again."""
        while True:
            try:
                return self.pool.take()
            except Error as exc:
                error = exc
            except self._driver_error as exc:
                error = self.engine.translate(exc)
                error.__cause__ = exc
            self.tally.note(error)
            temporary = isinstance(error, ConnectionFailed) and error.is_temporary
            pause = next(waiting, None) if temporary else None
            if pause is None:
                raise error
            self.tally.count("reconnects", error)
            time.sleep(pause)

    def pauses(self) -> Iterator[float]:
        """Pauses between tries to go on after a loss; what they end is the deadline of the whole call."""
        is_impatient = getattr(self._local, "is_impatient", False)
        return delays(0.0 if is_impatient else self.patience, LONGEST_PAUSE)

    def _returned(self, entry: Entry) -> None:
        # Also when a thread ends and its connection comes back by itself.
        self.engine.connect.let_go(entry.raw)

    def _taken(self, entry: Entry) -> None:
        """Where the schema has changed since a connection was last used, what it prepared may be wrong."""
        if entry.changes != self._changes:
            entry.changes = self._changes
            self.engine.connect.refresh(entry.raw)
            self.engine.connect.let_go(entry.raw)

    @property
    def sqlalchemy(self) -> sqlalchemy.Engine:
        """SQLAlchemy's engine over the same connections; importing that takes longer than most programs."""
        if self._alchemy is None:
            from holdfast.core.sharing import engine_over

            with self._knowing:
                if self._alchemy is None:
                    url = self._opened.url()
                    self._alchemy = engine_over(self.pool, url, self._shared_session)
        return self._alchemy

    def _shared_session(self) -> Session | None:
        session: Session | None = getattr(self._local, "session", None)
        return session if session is not None and session.stack else None

    def discard(self, session: Session) -> None:
        """Drop a connection that can no longer be trusted."""
        session.stack.clear()
        session.lease.drop()
        session.ready = False
        if getattr(self._local, "session", None) is session:
            del self._local.session
        if session.known is not None:
            session.known = None
            self.forget()

    def pass_on(self) -> None:
        """A transaction has ended; this thread keeps its connection."""

    def driver_connection(self) -> Any:
        """This thread's ``sqlite3`` or psycopg connection."""
        return self.session().raw

    @contextmanager
    def lent(self) -> Iterator[Any]:
        """The same, which stays open as long as the block lasts, whoever closes the database meanwhile."""
        session = self.session()
        lease = session.lease.shared()
        try:
            yield session.raw
        except self._driver_error as exc:
            raise self.engine.translate(exc) from exc
        finally:
            lease.close()

    @property
    def in_transaction(self) -> bool:
        return self._shared_session() is not None

    @contextmanager
    def impatient(self) -> Iterator[None]:
        """Let this thread not wait in the block for a database that is away."""
        self._local.is_impatient = True
        try:
            yield
        finally:
            self._local.is_impatient = False

    def close(self) -> None:
        """Give every connection back and close the pool. What was not committed is rolled back."""
        if not self._open:
            return
        self._open = False
        own = getattr(self._local, "session", None)
        for session in self._all_sessions():
            session.ready = False
            # sqlite3 and libpq crash if a connection is closed while another thread is in one of its calls;
            # without its owner's hold on it, it goes back to the pool by itself, at once or when that call
            # is done.
            if session is own:
                session.stack.clear()
                is_alive = self.engine.connect.is_alive(session.raw)
                session.lease.close() if is_alive else session.lease.drop()
            del session
        del own
        self._local = threading.local()
        self.pool.close()
        self._opened.release()
        _executors.discard(self)

    def abandon(self) -> None:
        """Forget every connection without touching it: they belong to the parent of a fork."""
        _kept_after_fork.extend((self._local, *self._sessions))
        own = getattr(self._local, "session", None)
        if own is not None and not own.stack:
            own.lease.entry.inherit()
        self.pool.abandon()
        # Another thread, which the child lacks, may have had these.
        self._knowing = threading.RLock()
        self.tally.forked()
        for session in self._sessions:
            session.disown()
        self._local = threading.local()
        self._sessions = weakref.WeakSet()
        if self.recorder is not None:
            self.recorder.forked()

    # Statements

    def _native(self, sql: str) -> str:
        return native(sql, lexicon=self.engine.lexicon, numbered=self.engine.features.numbered_parameters)

    def send(self, native: str, params: Sequence[Any] = ()) -> Cursor:
        """Run one statement in the driver's own text; the warm path of every verb."""
        recorder, started, cursor = self.recorder, 0, None
        if recorder is not None:
            try:
                kind = recorder.kinds[native]
            except KeyError:
                kind = recorder.kind(native)
            kind.calls += 1
            if kind.calls >= kind.due:
                started = perf_counter_ns()
        try:
            try:
                session: Session = self._local.session
            except AttributeError:
                session = self.new_session()
            if not session.ready:
                self._make_ready(session)
            try:
                cursor = session.execute(native, params)
            except self.caught as exc:
                cursor = self.failed(session, lambda it: it.execute(native, params), exc, native)
            return cursor
        finally:
            if started:
                kind.note(perf_counter_ns() - started, counted(cursor))

    def fetch(
        self,
        native: str,
        params: Sequence[Any] = (),
        read: Callable[[Cursor], Any] = _all,
        *,
        binary: bool = False,
    ) -> Any:
        """Run one statement in the driver's own text and ``read`` its rows: all of them, as tuples.

        ``binary`` asks the driver for the columns' binary form; the engine says of which types it may be.
        """
        recorder, started, result = self.recorder, 0, None
        if recorder is not None:
            try:
                kind = recorder.kinds[native]
            except KeyError:
                kind = recorder.kind(native)
            kind.calls += 1
            if kind.calls >= kind.due:
                started = perf_counter_ns()
        try:
            try:
                session: Session = self._local.session
            except AttributeError:
                session = self.new_session()
            if not session.ready:
                self._make_ready(session)
            execute = session.execute_binary if binary else session.execute
            try:
                result = self._read(execute(native, params), read)
            except self.caught as exc:
                # Not in binary: the types it was asked for may be others by now.
                result = self.failed(
                    session, lambda it: self._read(it.execute(native, params), read), exc, native
                )
            return result
        finally:
            if started:
                kind.note(perf_counter_ns() - started, counted(result))

    def _read(self, cursor: Cursor, read: Callable[[Cursor], Any]) -> Any:
        try:
            return read(cursor)
        except BaseException:
            # Who holds the error holds the cursor.
            self.engine.connect.end(cursor)
            raise

    def send_many(self, native: str, rows: Sequence[Sequence[Any]]) -> int:
        """Run one statement in the driver's own text for each of ``rows``, inside a transaction."""
        kind = None if self.recorder is None else kind_of(self.recorder, native)
        started = perf_counter_ns()
        try:
            session = self.session()
            if not session.ready:
                self._make_ready(session)
            try:
                return session.execute_many(native, rows).rowcount
            except self.caught as exc:
                return int(self.failed(session, lambda it: None, exc))
        finally:
            if kind is not None:
                kind.note(perf_counter_ns() - started, len(rows))

    def drive(self, action: Callable[[Any], T]) -> T:
        """Let ``action`` use this thread's driver connection itself, inside a transaction."""
        session = self.session()
        if not session.ready:
            self._make_ready(session)
        try:
            return action(session.raw)
        except self.caught as exc:
            self.failed(session, lambda it: None, exc)
            raise

    def run(self, sql: str, params: Sequence[Any] = ()) -> Cursor:
        """Run one statement in neutral text and read all of its rows, if it has any."""
        kept: Cursor = self.fetch(self.native(sql), params, Kept)
        return kept

    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement in neutral text and read all of its rows as tuples."""
        rows: list[tuple[Any, ...]] = self.fetch(self.native(sql), params)
        return rows

    def scalar(self, sql: str, params: Sequence[Any] = ()) -> Any:
        """The first value of the first row, or ``None`` where there is none."""
        rows = self.rows(sql, params)
        return rows[0][0] if rows else None

    def stream(
        self,
        sql: str,
        params: Sequence[Any] = (),
        *,
        batch_size: int = 10_000,
        binary: bool = False,
        undisturbed: bool = False,
    ) -> Iterator[list[tuple[Any, ...]]]:
        """Read rows in batches with flat memory; other statements may run in between.

        Inside a transaction the thread's own connection is read, otherwise a second one, so that
        writing while reading neither waits for itself nor changes what is read. ``undisturbed`` promises
        that this thread sends nothing meanwhile and reads to the end: no copy is needed to keep that apart.
        """
        native, read = self.native(sql), self.engine.connect.stream

        def batches(raw: Any, shared: bool, lasts: Lasts) -> Iterator[list[tuple[Any, ...]]]:
            shared = shared and not undisturbed
            return read(raw, native, params, batch_size, binary=binary, shared=shared, lasts=lasts)

        found = self.reading(batches)
        return found if self.recorder is None else recorded(kind_of(self.recorder, native), found)

    def reading(self, read: Callable[[Any, bool, Lasts], Iterator[T]]) -> Iterator[T]:
        """What ``read`` makes of a driver connection.

        It is told whether that is the thread's own, and is asked to end when the transaction does.
        """
        parts = self.engine.connect
        session = self.session()
        if not session.ready:
            self._make_ready(session)
        try:
            borrowed = None if session.stack or self.is_private else self._connected(self.pauses())
        finally:
            self.pass_on()
        raw = borrowed.raw if borrowed else session.raw
        try:
            entry = (borrowed or session.lease).entry
            lasts = session.lasting() if borrowed is None and session.stack else entry.is_ours
            yield from read(raw, borrowed is None, lasts)
            if not entry.is_ours():
                raise TransactionError(
                    "this stream belongs to the process that was forked", hint="read it there, or begin anew"
                )
            if not lasts():
                raise TransactionError(
                    "the transaction that this stream was begun in has ended",
                    hint="read it to its end inside the block",
                )
        except KeyboardInterrupt:
            if borrowed is not None:
                borrowed.drop()
            raise
        except self._driver_error as exc:
            is_alive = parts.is_alive(raw)
            if borrowed is not None and not is_alive:
                borrowed.drop()
            if borrowed is None and session.stack:
                session.aborted, session.ready = True, False
            if not is_alive:
                raise recovery.lost(self, "the rows read so far are not all") from exc
            if parts.is_stale(exc):
                self.forget()
            raise self.engine.translate(exc) from exc
        finally:
            if borrowed is not None:
                borrowed.close()

    def _make_ready(self, session: Session) -> None:
        if session.aborted:
            raise TransactionAborted(
                "an earlier statement of this transaction failed, so it can only be rolled back",
                hint="wrap a statement that may fail in its own `with db.transaction():`",
            )
        if not self._open:
            raise ClosedError("this database has been closed", hint="connect again")
        # In this order, because another thread may make it stale again meanwhile.
        session.ready = True
        if session.stale:
            session.stale = False
            try:
                self.engine.connect.refresh(session.raw)
            except self._driver_error as exc:
                # On a connection that is lost, the statement that follows finds that out.
                if self.engine.connect.is_alive(session.raw):
                    raise self.engine.translate(exc) from exc

    def failed(
        self, session: Session, again: Callable[[Session], Any], exc: BaseException, native: str = ""
    ) -> Any:
        """Put right what let a statement fail and run it again, or raise its error in Holdfast's words."""
        error = self.engine.translate(exc)
        if isinstance(error, (TableNotFound, ColumnNotFound)):
            suggest(error, self._knowledge().tables, native)
            self.forget()
        elif type(error) is InvalidQuery and (at := self.engine.plans.misread(exc, native)) is not None:
            mark(error, native, at, self.engine.lexicon)
        if not self.engine.connect.is_alive(session.raw):
            return recovery.statement(self, session, again, exc, native)
        if self.engine.connect.is_stale(exc):
            self.forget()
            if not session.stack:
                self._make_ready(session)
                return self._attempt(lambda: again(session))
            error = SerializationFailure("a table changed while the transaction ran", hint="run it again")
        if session.stack:
            session.aborted, session.ready = True, False
            raise error from exc
        if isinstance(error, DatabaseBusy) and self.engine.features.retries_busy:
            return self.until_free(lambda: self._attempt(lambda: again(session)))
        raise error from exc

    def until_free(self, attempt: Callable[[], T]) -> T:
        """Call ``attempt`` until no lock stands in its way, for up to ``timeout`` seconds."""
        try:
            return until_free(
                attempt, self.timeout, lambda exc: self.tally.count("busy", exc, level=logging.DEBUG)
            )
        except DatabaseBusy as exc:
            self.tally.note(exc)
            raise

    def _attempt(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except self.caught as exc:
            raise self.engine.translate(exc) from exc

    # The catalogue

    def _knowledge(self) -> Known:
        session = self._shared_session() if self._is_unsettled else None
        return self._known if session is None or session.known is None else session.known

    @property
    def plans(self) -> dict[Any, Any]:
        """What was worked out for a table and is right until its schema changes."""
        return (self._knowledge() if self._is_unsettled else self._known).plans

    def describe(self, table: str) -> TableInfo:
        """The columns and the key of a table or view, read once.

        Raises:
            TableNotFound: with the nearest name there is.
        """
        known = self._knowledge() if self._is_unsettled else self._known
        info = known.tables.get(table)
        if info is not None:
            return info
        check_identifier(table, "table name")
        info = self.engine.catalog.describe(self.run, table, self.engine.types)
        if info is None:
            catalog = self.engine.catalog
            names = [*catalog.tables(self.run), *catalog.views(self.run)]
            raise TableNotFound(f"there is no table {table!r}", hint=did_you_mean(table, names, "tables"))
        known.tables[table] = info
        return info

    def reread(self, table: str) -> bool:
        """Read a table's description anew; true if it is another one than was believed until now."""
        session = self._shared_session()
        believed = self._knowledge().tables.get(table)
        if believed is None or (session is not None and session.aborted):
            return False
        if self.engine.catalog.describe(self.run, table, self.engine.types) == believed:
            return False
        self.forget()
        return True

    def known_types(self, native: str) -> list[str] | None:
        """What :meth:`result_types` found before; empty where it was not asked or there were none."""
        return self._knowledge().types.get(native)

    def result_types(self, native: str, cursor: Cursor) -> list[str] | None:
        """Declared types of a query's columns, empty where there is none; read once for each text."""
        types = self._knowledge().types
        if native not in types:
            if len(types) > 1000:
                types.clear()
            session = self.session()
            types[native] = self.engine.catalog.result_types(session.raw, native, cursor)
        return types[native]

    def keep(self, key: Any, plan: T) -> T:
        """Have ``plan`` at hand as ``plans[key]`` until the schema changes, or until there are too many."""
        plans = self.plans
        if len(plans) >= MOST_PLANS:
            plans.clear()
        plans[key] = plan
        return plan

    def _all_sessions(self) -> list[Session]:
        # Not while another thread adds its own.
        with self._knowing:
            return list(self._sessions)

    def forget(self) -> None:
        """Drop what is known of the schema; called after whatever may have changed it.

        Until it commits, only the transaction that changed the schema may believe what it sees.
        """
        own = self._shared_session()
        with self._knowing:
            self._changes += 1
            if own is not None:
                own.known = Known()
            else:
                self._known = Known()
            self._is_unsettled = any(session.known is not None for session in self._all_sessions())
        for session in [own] if own is not None else self._all_sessions():
            session.stale, session.ready = True, False


_executors: weakref.WeakSet[Executor] = weakref.WeakSet()
_kept_after_fork: list[Any] = []


def _after_fork() -> None:
    for executor in list(_executors):
        executor.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
