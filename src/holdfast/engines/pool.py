"""The connections that threads share: who takes one has it alone until it comes back."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.errors import ConnectionFailed

POOL_SIZE = 5
POOL_TIMEOUT = 30.0


@dataclass(eq=False, slots=True)
class Entry:
    """A driver's connection, and what is known of it for as long as it lasts.

    ``changes`` is up to which change of the schema it was made to forget; ``info`` is for SQLAlchemy.
    """

    raw: Any
    changes: int = 0
    info: dict[str, Any] | None = field(default=None, repr=False)
    leave: Callable[[Any], None] | None = None
    process: int = field(default_factory=os.getpid)

    def is_ours(self) -> bool:
        """False in the child of a fork: it is its parent's, and nothing may be sent on it, nor a goodbye."""
        return self.process == os.getpid()

    def inherit(self) -> None:
        """Note in the child of a fork that surely no thread of the parent was in a call on it."""
        if self.leave is not None:
            _inherited.append((self.leave, self.raw))


Hook = Callable[[Entry], None]

# Garbage that refers to itself is taken apart in any order: a connection must not be gone before its lease.
_open: set[Entry] = set()

# What the parent of a fork had open and nobody was using, with what lets go of it in the child: before that
# opens a connection of its own, as late as that, because another thread may have been in the library's locks.
_inherited: list[tuple[Callable[[Any], None], Any]] = []
_inheriting = threading.Lock()


def _nothing(entry: Entry) -> None:
    pass


class Pool:
    """Opens connections with ``connect`` and keeps those that come back.

    There is no limit unless one is given: each thread keeps its connection while it lives. ``answers`` says
    whether one that was kept can still be used. ``taken`` and ``returned`` are called for each that goes
    out or comes back. ``apart`` gives one that is not among these, for SQLAlchemy to learn from. ``leave``
    lets go of one in the child of a fork, which its parent goes on using.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        options: Mapping[str, Any],
        *,
        answers: Callable[[Any], bool] | None = None,
        apart: Callable[[], Any] | None = None,
        leave: Callable[[Any], None] | None = None,
    ) -> None:
        self._is_open = True
        self._renew()
        size, more = options.get("pool_size", POOL_SIZE), options.get("max_overflow", -1)
        self.connect = connect
        self.apart = apart or connect
        self._leave = leave
        self.most: int | None = size + more if more >= 0 else None
        self.taken: Hook = _nothing
        self.returned: Hook = _nothing
        self._keeps: int = 0 if options.get("pool") == "null" else size
        self._timeout: float = options.get("pool_timeout", POOL_TIMEOUT)
        self._answers = answers

    def _renew(self) -> None:
        # The garbage collector may give a connection back while its thread holds the lock.
        self.lock = threading.RLock()
        self._free = threading.Condition(self.lock)
        self._idle: deque[Entry] = deque()
        self._count = 0

    @property
    def idle(self) -> int:
        """How many connections wait for somebody."""
        return len(self._idle)

    @property
    def in_use(self) -> int:
        """How many connections somebody has."""
        return self._count - len(self._idle)

    def take(self) -> Lease:
        """A connection that nobody else has.

        Raises:
            ConnectionFailed: if there is a limit, and others have all for too long.
        """
        entry = self._next()
        try:
            if entry is not None and self._answers is not None and not self._answers(entry.raw):
                # What happened to this one, a restart of the server for example, happened to all.
                _close(entry)
                self.clear()
                entry = None
            if entry is None:
                _let_go_of_the_inherited()
                entry = Entry(self.connect(), leave=self._leave)
                _open.add(entry)
            self.taken(entry)
        except BaseException:
            if entry is not None:
                _close(entry)
            self._gone()
            raise
        return Lease(self, entry)

    def _next(self) -> Entry | None:
        """One that is kept, or ``None`` for the right to open another."""
        with self._free:
            if not self._free.wait_for(self._is_any, self._timeout):
                error = ConnectionFailed(
                    "all connections of the pool are in use by other threads",
                    hint="raise max_overflow=, or let threads that are done end",
                )
                error.is_temporary = False
                raise error
            if self._idle:
                return self._idle.pop()
            self._count += 1
            return None

    def _is_any(self) -> bool:
        return bool(self._idle) or self.most is None or self._count < self.most

    def _gone(self) -> None:
        with self._free:
            self._count -= 1
            self._free.notify()

    def put_back(self, entry: Entry) -> None:
        """Take a connection back; :meth:`Lease.close` calls this."""
        if not self._is_open:
            _close(entry)
            self._gone()
            return
        try:
            self.returned(entry)
        except BaseException:
            self.drop(entry)
            raise
        with self._free:
            if len(self._idle) < self._keeps and self._is_open:
                self._idle.append(entry)
                self._free.notify()
                return
        self.drop(entry)

    def drop(self, entry: Entry, *, keep_open: bool = False) -> None:
        """Have a connection, which nobody has any more, no longer among these."""
        if keep_open:
            _open.discard(entry)
        else:
            _close(entry)
        self._gone()

    def clear(self) -> None:
        """Close what nobody has."""
        while self._idle:
            try:
                entry = self._idle.pop()
            except IndexError:
                return
            self.drop(entry)

    def close(self) -> None:
        """Close what nobody has, and what others have when they give it back."""
        with self._free:
            self._is_open = False
        self.clear()

    def abandon(self) -> None:
        """Begin anew in the child of a fork, without a touch to what its parent goes on using."""
        for entry in self._idle:
            entry.inherit()
        self._renew()

    def __del__(self) -> None:
        self.close()


class Lease:
    """The hold on a connection, which goes back by itself when nothing refers to the lease any more."""

    __slots__ = ("_holders", "_pool", "entry", "raw")

    def __init__(self, pool: Pool, entry: Entry) -> None:
        self.entry = entry
        self.raw = entry.raw
        self._pool = pool
        self._holders = 1

    def shared(self) -> Lease:
        """The same, for one more who will close it."""
        with self._pool.lock:
            self._holders += 1
        return self

    def close(self) -> None:
        """Give the connection back, if no one else holds it."""
        with self._pool.lock:
            is_last = self._holders == 1
            self._holders = max(0, self._holders - 1)
        if is_last and self.entry.is_ours():
            self._pool.put_back(self.entry)
        elif is_last:
            self.entry.inherit()

    def drop(self, *, keep_open: bool = False) -> None:
        """Close a connection that can no longer be trusted; or, with ``keep_open``, only forget it."""
        if self._holders and self.entry.is_ours():
            self._holders = 0
            self._pool.drop(self.entry, keep_open=keep_open)

    def __del__(self) -> None:
        # In the child of a fork, too: a thread of the parent had it, and was in no call.
        if self._holders:
            self._holders = 1
            self.close()


def _close(entry: Entry) -> None:
    if not entry.is_ours():
        return
    _open.discard(entry)
    # One that is broken may be unable even to say goodbye.
    with contextlib.suppress(Exception):
        entry.raw.close()


def _let_go_of_the_inherited() -> None:
    if not _inherited:
        return
    with _inheriting:
        while _inherited:
            leave, raw = _inherited.pop()
            with contextlib.suppress(Exception):
                leave(raw)


_is_alone = False


def _before_fork() -> None:
    global _is_alone
    _is_alone = len(sys._current_frames()) == 1


def _after_fork() -> None:
    global _inheriting
    _inheriting = threading.Lock()
    if _is_alone:
        # The only thread was forking; what a stream has that it left half read is in no call either.
        for entry in list(_open):
            entry.inherit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
