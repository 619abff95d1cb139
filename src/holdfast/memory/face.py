"""What the faces for other libraries share: a database, threads of their own, and their end."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

from holdfast.database import Database, open_database
from holdfast.errors import ClosedError, TransactionError

T = TypeVar("T")
THREADS = 4


class Workers:
    """Some threads in which blocking calls run, so that an event loop goes on; made with the first call.

    Each keeps a connection of its own, as every thread does.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._is_open = True

    async def run(self, work: Callable[..., T], *args: Any) -> T:
        """Call ``work`` in one of the threads, with the context variables of the caller.

        A call that is cancelled before it began does nothing; one that has begun goes on to its end.

        Raises:
            ClosedError: if this was closed before the call began.
        """
        context = contextvars.copy_context()
        future = self._submit(context.run, work, *args)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._is_open or not future.cancelled() or (task is not None and task.cancelling()):
                raise
            raise _closed() from None

    def _submit(self, call: Callable[..., T], *args: Any) -> Future[T]:
        with self._lock:
            if not self._is_open:
                raise _closed()
            if self._pool is None or self._process != os.getpid():
                # The threads of a process that was forked are not in its child.
                self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="holdfast")
                self._process = os.getpid()
            return self._pool.submit(call, *args)

    def close(self) -> None:
        """Let the calls that have begun end; the others are cancelled."""
        with self._lock:
            self._is_open = False
            pool, self._pool = self._pool, None
        if pool is not None and self._process == os.getpid():
            pool.shutdown(wait=True, cancel_futures=True)


def _closed() -> ClosedError:
    return ClosedError("this has been closed", hint="open it again")


class Face:
    """Made from a ``Database`` it takes part in the thread's transaction, else it has one of its own."""

    def __init__(self, url_or_database: str | os.PathLike[str] | Database) -> None:
        if isinstance(url_or_database, Database):
            self._take(url_or_database, is_owner=False)
        else:
            self._take(open_database(url_or_database, {}), is_owner=True)

    def _take(self, database: Database, *, is_owner: bool) -> None:
        self._database, self._is_owner = database, is_owner
        self._executor = database._executor
        self._workers = Workers()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} in {self._database.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def close(self) -> None:
        """Wait for calls that have begun, and close the database if it was opened for this alone."""
        self._workers.close()
        if self._is_owner:
            self._database.close()

    async def aclose(self) -> None:
        """Do as :meth:`close` does, while the event loop goes on."""
        await asyncio.to_thread(self.close)

    async def _apart(self, work: Callable[..., T], *args: Any) -> T:
        """Run ``work`` in a thread of our own."""
        if self._executor.is_open and self._executor.in_transaction:
            raise TransactionError(
                "an asynchronous call runs in another thread, outside the transaction of this one",
                hint="use the method without the a in the block",
            )
        return await self._workers.run(work, *args)
