"""A connection pool that lets others take part in a thread's open transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy.pool import QueuePool

if TYPE_CHECKING:
    from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection


POOL_SIZE = 5
POOL_TIMEOUT = 30.0


def pooling(options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ``create_engine`` for the pool that the options ask for.

    There is no limit unless one is given: each thread keeps its connection while it lives.
    """
    return {
        "poolclass": ClosingPool if options.get("pool") == "null" else SharingPool,
        "pool_size": options.get("pool_size", POOL_SIZE),
        "max_overflow": options.get("max_overflow", -1),
        "pool_timeout": options.get("pool_timeout", POOL_TIMEOUT),
    }


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


class ClosingPool(SharingPool):
    """Keeps no connection that comes back."""

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        try:
            record.close()
        finally:
            self._dec_overflow()


def pool_counts(pool: Any) -> dict[str, int | None]:
    """How many connections threads have, how many wait for one, and the most there may be."""
    most = pool.size() + pool._max_overflow if pool._max_overflow >= 0 else None
    return {"in_use": pool.checkedout(), "idle": pool.checkedin(), "most": most}
