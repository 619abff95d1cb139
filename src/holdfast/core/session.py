"""One thread's hold on a driver connection, and the sharing of it with SQLAlchemy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from holdfast.engines.base import Cursor, TableInfo
from holdfast.engines.pool import SharingPool
from holdfast.errors import TransactionError

if TYPE_CHECKING:
    from sqlalchemy import Engine as Alchemy
    from sqlalchemy.pool import PoolProxiedConnection


class Known:
    """What was read of the schema: tables, types of results, and the plans that were made from them."""

    __slots__ = ("plans", "tables", "types")

    def __init__(self) -> None:
        self.plans: dict[Any, Any] = {}
        self.tables: dict[str, TableInfo] = {}
        self.types: dict[str, list[str] | None] = {}


class Session:
    """The driver connection that a thread keeps, and where it stands in its transaction.

    ``stack`` holds one entry for each open level: the transaction itself, then its savepoints.
    ``ready`` is the one thing a warm statement looks at: false when something has to be put right first.
    ``number`` counts its transactions, ``undone`` are the savepoints that this one went back to.
    ``known`` is what this transaction alone may believe, once it has changed the schema.
    """

    __slots__ = (
        "__weakref__",
        "aborted",
        "execute",
        "execute_binary",
        "execute_many",
        "fairy",
        "known",
        "manual",
        "number",
        "raw",
        "read_only",
        "ready",
        "stack",
        "stale",
        "undone",
    )

    def __init__(
        self,
        fairy: PoolProxiedConnection,
        execute: Callable[..., Cursor],
        execute_many: Callable[..., Cursor],
        execute_binary: Callable[..., Cursor],
    ) -> None:
        self.fairy = fairy
        self.raw: Any = fairy.dbapi_connection
        self.execute = execute
        self.execute_many = execute_many
        self.execute_binary = execute_binary
        self.stack: list[str] = []
        self.number = 0
        self.undone: list[str] = []
        self.manual = False
        self.read_only = False
        self.aborted = False
        self.stale = False
        self.known: Known | None = None
        self.ready = True

    def lasting(self) -> Callable[[], bool]:
        """A function that says whether what is read in this transaction from now on can still be read."""
        number, levels, undone = self.number, list(self.stack), self.undone

        def lasts() -> bool:
            if self.number != number or not self.stack:
                return False
            # Names come again; the objects do not.
            return not any(level is gone for level in levels for gone in undone)

        return lasts

    def disown(self) -> None:
        """Make it unusable without touching the connection, which belongs to the parent of a fork."""
        self.stack.clear()
        self.execute = self.execute_many = self.execute_binary = _refuse
        self.manual = self.aborted = self.ready = False
        self.known = None

    def push_savepoint(self) -> None:
        name = f"hf_{len(self.stack)}"
        self.execute(f"SAVEPOINT {name}", ())
        self.stack.append(name)

    def release_savepoint(self) -> None:
        self.execute(f"RELEASE SAVEPOINT {self.stack[-1]}", ())
        self.stack.pop()

    def rollback_savepoint(self) -> None:
        name = self.stack.pop()
        self.undone.append(name)
        self.execute(f"ROLLBACK TO SAVEPOINT {name}", ())
        self.execute(f"RELEASE SAVEPOINT {name}", ())


def share_transactions(alchemy: Alchemy, current: Callable[[], Session | None]) -> None:
    """Make SQLAlchemy's begin, commit and rollback a savepoint inside a transaction of this thread.

    ``current`` gives the thread's session while it has a transaction open, else ``None``.
    """
    pool, dialect = alchemy.pool, alchemy.dialect
    assert isinstance(pool, SharingPool)

    def shared() -> PoolProxiedConnection | None:
        session = current()
        return session.fairy if session else None

    pool.shared = shared
    plain_begin, plain_commit, plain_rollback = dialect.do_begin, dialect.do_commit, dialect.do_rollback
    plain_isolation = dialect.set_isolation_level

    def inside(connection: Any) -> Session | None:
        session = current()
        return session if session is not None and connection in (session.fairy, session.raw) else None

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


def _refuse(*args: Any) -> Any:
    raise TransactionError(
        "this connection belongs to the process that was forked",
        hint="a block of the parent cannot go on in its child; open a transaction there",
    )
