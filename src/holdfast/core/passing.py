"""An executor that keeps no connection: each statement, and each transaction, opens one and closes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from holdfast.core.executor import Executor, _all
from holdfast.core.kept import Kept
from holdfast.engines.base import Cursor


class PassingExecutor(Executor):
    """The executor of ``pool="null"``, for programs that must not keep a server's connections."""

    def send(self, native: str, params: Sequence[Any] = ()) -> Cursor:
        try:
            cursor = super().send(native, params)
            return cursor if self.in_transaction else Kept(cursor)
        finally:
            self.pass_on()

    def fetch(
        self,
        native: str,
        params: Sequence[Any] = (),
        read: Callable[[Cursor], Any] = _all,
        *,
        binary: bool = False,
    ) -> Any:
        try:
            return super().fetch(native, params, read, binary=binary)
        finally:
            self.pass_on()

    def pass_on(self) -> None:
        """Give this thread's connection back, unless it is in a transaction."""
        session = getattr(self._local, "session", None)
        if session is None or session.stack:
            return
        session.ready = False
        del self._local.session
        session.lease.close()
