"""Tables that rooms above this one keep: how these are synced is theirs to say.

They are built on this room and on the database, so that they cannot be imported here; one is asked by its
name, and only where its tables are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol, cast

from holdfast.core.executor import Executor
from holdfast.core.schema import table_exists
from holdfast.sync.setup import Wish

_MEMORIES = "holdfast.memory.syncing"
_MARKS = ("hf_memories", "hf_store")
_PREFIX = "hf_memory_"


class Family(Protocol):
    """What such a room says of its tables."""

    def prepare(
        self,
        sides: tuple[Executor, Executor],
        names: Sequence[str],
        where: Mapping[str, Any],
        *,
        create: bool,
    ) -> tuple[list[str], dict[str, Wish]]:
        """Have both sides agree; return the tables that the names stand for, and wishes for its own.

        Raises:
            SyncError: if they cannot, with the way out.
        """
        ...

    def check(self, sides: tuple[Executor, Executor], tables: Iterable[str]) -> dict[str, str]:
        """Those of these tables that are paused in a round, with the reason."""
        ...

    def settle(self, sides: tuple[Executor, Executor], tables: Iterable[str]) -> None:
        """Settle, before a round, what the hub would refuse of these tables."""
        ...


def prepare(
    local: Executor, hub: Executor, names: list[str], where: Mapping[str, Any], *, create: bool
) -> tuple[list[str], dict[str, Wish]]:
    """The tables that these names stand for, with the wishes for those that another room keeps."""
    if not any(table_exists(executor, mark) for executor in (local, hub) for mark in _MARKS):
        return names, {}
    return _memories().prepare((local, hub), names, where, create=create)


def check(local: Executor, hub: Executor, tables: Iterable[str]) -> dict[str, str]:
    """Those of these tables that other rooms want to be paused, with the reason."""
    names = list(tables)
    return _memories().check((local, hub), names) if any(map(_is_own, names)) else {}


def settle(local: Executor, hub: Executor, tables: Iterable[str]) -> None:
    """Settle what the hub would refuse of the tables of other rooms."""
    own = list(filter(_is_own, tables))
    if own:
        _memories().settle((local, hub), own)


def _is_own(name: str) -> bool:
    return name.startswith(_PREFIX)


def _memories() -> Family:
    return cast(Family, import_module(_MEMORIES))
