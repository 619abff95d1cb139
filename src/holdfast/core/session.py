"""One thread's hold on a driver connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.engines.base import Cursor, TableInfo
from holdfast.engines.pool import Lease
from holdfast.errors import TransactionError


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
        "known",
        "lease",
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
        lease: Lease,
        execute: Callable[..., Cursor],
        execute_many: Callable[..., Cursor],
        execute_binary: Callable[..., Cursor],
    ) -> None:
        self.lease = lease
        self.raw = lease.raw
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


def _refuse(*args: Any) -> Any:
    raise TransactionError(
        "this connection belongs to the process that was forked",
        hint="a block of the parent cannot go on in its child; open a transaction there",
    )
