"""A connection pool that lets others take part in a thread's open transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy.pool import QueuePool

if TYPE_CHECKING:
    from sqlalchemy.pool import PoolProxiedConnection


class SharingPool(QueuePool):
    """Hands a thread the connection of its own open transaction, so that pandas or an ORM takes part in it.

    ``shared`` gives that connection, or ``None`` outside a transaction.
    """

    shared: Callable[[], Any] | None = None

    def connect(self) -> PoolProxiedConnection:
        fairy = self.shared() if self.shared else None
        if fairy is None:
            return super().connect()
        return fairy._checkout_existing()  # type: ignore[no-any-return]

    def recreate(self) -> SharingPool:
        fresh = super().recreate()
        assert isinstance(fresh, SharingPool)
        fresh.shared = self.shared
        return fresh
