"""SQLAlchemy's engine over the connections of a database, taking part in the transaction of its thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import sqlalchemy
from sqlalchemy.pool import ConnectionPoolEntry, Pool, PoolProxiedConnection
from sqlalchemy.pool.base import _ConnectionRecord

from holdfast.core.session import Session
from holdfast.engines.pool import Lease
from holdfast.engines.pool import Pool as Connections
from holdfast.errors import TransactionError

Current = Callable[[], Session | None]
"""Gives the session of this thread while it has a transaction open, else ``None``."""


def engine_over(connections: Connections, url: sqlalchemy.URL, current: Current) -> sqlalchemy.Engine:
    """An engine that has no connections of its own."""
    alchemy = sqlalchemy.create_engine(url, pool=SharingPool(connections, current))
    _share_transactions(alchemy, current)
    return alchemy


class Record(_ConnectionRecord):
    """What SQLAlchemy knows of a connection while somebody has it; without a lease, of one apart."""

    def __init__(self, pool: SharingPool, lease: Lease | None) -> None:
        super().__init__(pool, connect=False)
        self.lease = lease
        if lease is not None and lease.entry.info is not None:
            self.dbapi_connection, self.starttime = lease.raw, time.time()
            vars(self)["info"] = lease.entry.info

    def learn(self) -> None:
        """Keep what its users note of the connection for as long as that lasts."""
        assert self.lease is not None
        self.lease.entry.info = vars(self)["info"] = {}


class SharingPool(Pool):
    """Hands a thread the connection of its own open transaction, so that pandas or an ORM takes part in it.

    Outside of one it hands out a connection that goes back to the others.
    """

    def __init__(self, connections: Connections, current: Current) -> None:
        # What is left open is rolled back where a connection goes back to.
        super().__init__(self._opened, reset_on_return=None)
        self._connections = connections
        self._current = current
        self._is_introduced = False

    def connect(self) -> PoolProxiedConnection:
        if not self._is_introduced:
            # It asks what the server is, and rolls back; the thread may be in a transaction.
            apart = Record(self, None)
            apart.get_connection()
            apart.close()
            self._is_introduced = True
        return super().connect()

    def _opened(self, rec: ConnectionPoolEntry) -> Any:
        """What a record without a connection is given: its lease's, if SQLAlchemy has not closed that."""
        assert isinstance(rec, Record)
        if rec.lease is None:
            return self._connections.apart()
        if rec.lease.entry.info is not None:
            rec.lease.drop(keep_open=True)
            rec.lease = self._connections.take()
        rec.learn()
        return rec.lease.raw

    def _do_get(self) -> ConnectionPoolEntry:
        session = self._current()
        return Record(self, self._connections.take() if session is None else session.lease.shared())

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        assert isinstance(record, Record)
        assert record.lease is not None
        if record.dbapi_connection is None:
            # It was closed, or its user keeps it.
            record.lease.drop(keep_open=True)
        else:
            record.lease.close()

    def recreate(self) -> SharingPool:
        return self

    def dispose(self) -> None:
        """Close the connections that nobody has."""
        self._connections.clear()

    def checkedin(self) -> int:
        return self._connections.idle

    def checkedout(self) -> int:
        return self._connections.in_use

    def status(self) -> str:
        return f"{self.checkedout()} connections in use, {self.checkedin()} idle"


def _share_transactions(alchemy: sqlalchemy.Engine, current: Current) -> None:
    """Make SQLAlchemy's begin, commit and rollback a savepoint inside a transaction of this thread."""
    dialect = alchemy.dialect
    plain_begin, plain_commit, plain_rollback = dialect.do_begin, dialect.do_commit, dialect.do_rollback
    plain_isolation = dialect.set_isolation_level

    def inside(connection: Any) -> Session | None:
        session = current()
        raw = getattr(connection, "dbapi_connection", connection)
        return session if session is not None and raw is session.raw else None

    def do_begin(dbapi_connection: Any) -> None:
        session = inside(dbapi_connection)
        session.push_savepoint() if session else plain_begin(dbapi_connection)

    def do_commit(dbapi_connection: Any) -> None:
        session = inside(dbapi_connection)
        session.release_savepoint() if session else plain_commit(dbapi_connection)

    def do_rollback(dbapi_connection: Any) -> None:
        session = inside(dbapi_connection)
        session.rollback_savepoint() if session else plain_rollback(dbapi_connection)

    def set_isolation_level(dbapi_connection: Any, level: Any) -> None:
        if inside(dbapi_connection):
            raise TransactionError(
                f"a transaction of this thread is open, and SQLAlchemy takes part in it, without {level}",
                hint="ask for it outside the transaction",
            )
        plain_isolation(dbapi_connection, level)

    for method in (do_begin, do_commit, do_rollback, set_isolation_level):
        setattr(dialect, method.__name__, method)
