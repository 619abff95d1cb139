"""The part of an engine that notes what changes in a table, and takes changes of others in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from holdfast.engines.base import Column, Run
from holdfast.engines.names import SYNC_PREFIX, quote_identifier

APPLYING = f"{SYNC_PREFIX}applying"
UNNOTED = f"{SYNC_PREFIX}unnoted"


@dataclass(frozen=True, slots=True)
class Tracked:
    """A table whose changes are noted: its key, its other columns, and the number in the names of its notes.

    ``uniques`` are the columns in which no two rows are alike besides the key. In the tables of notes the
    columns of the key are ``k0``, ``k1`` and so on, those of what a row was ``b0``, and of what it is ``v0``.
    """

    name: str
    number: int
    key: tuple[Column, ...]
    others: tuple[Column, ...]
    uniques: tuple[tuple[str, ...], ...] = ()

    @property
    def columns(self) -> tuple[Column, ...]:
        return (*self.key, *self.others)

    @property
    def log(self) -> str:
        """A replica's notes: the key of each changed row, and what it was before."""
        return f"{SYNC_PREFIX}{self.number}_log"

    @property
    def flight(self) -> str:
        """A replica's rows that are on their way to the hub."""
        return f"{SYNC_PREFIX}{self.number}_flight"

    @property
    def feed(self) -> str:
        """A hub's notes: the key of each change, in the order of their positions."""
        return f"{SYNC_PREFIX}{self.number}_feed"

    @property
    def keys(self) -> list[str]:
        return [f"k{place}" for place in range(len(self.key))]

    def notes(self, letter: str) -> list[str]:
        """The columns besides the key, as the notes name them."""
        return [f"{letter}{place}" for place in range(len(self.others))]


@dataclass(frozen=True, slots=True)
class Carried:
    """How a column's values travel: as what they are staged, and SQL on their way out, in, and to compare.

    ``kind`` has to be the same on both sides.
    """

    kind: str
    staged: Column
    read: str = "{}"
    write: str = "{}"
    compare: str = "{}"
    decode: Callable[[Any], Any] | None = None


class Changes(Protocol):
    """Notes of changes, by triggers that fire for every writer."""

    @property
    def numbered(self) -> tuple[str, str]:
        """The type of a column that numbers rows from 1 as a query puts them into an empty table, and what
        the query selects for it.
        """
        ...

    def log(self, run: Run, table: Tracked) -> Sequence[str]:
        """Statements that make a replica's notes of a table, and keep them from now on."""
        ...

    def feed(self, run: Run, table: Tracked) -> Sequence[str]:
        """Statements that make a hub's notes of a table, and keep them from now on."""
        ...

    def forget(self, run: Run, table: Tracked) -> None:
        """Let nothing note changes of a table any more, and drop the notes."""
        ...

    def first(self, table: Tracked, condition: str) -> str:
        """A query of the first note of each key: ``had``, ``tried``, the key, and what the row was.

        ``condition`` is on the notes as ``n``; a mark is the most keys there may be.
        """
        ...

    def position(self, run: Run, table: Tracked) -> int:
        """Below this, no change will be noted any more that this transaction does not see."""
        ...

    def upcoming(self, run: Run, table: Tracked) -> int:
        """The least position that what this transaction changes next can have."""
        ...

    def here(self, run: Run, table: Tracked) -> int:
        """The position of what this transaction has changed last."""
        ...

    def hold(self, run: Run, tables: Sequence[Tracked]) -> None:
        """Keep other writers off until the transaction ends."""
        ...

    def turn(self, run: Run) -> None:
        """Have one after the other push to a hub; ends with the transaction."""
        ...

    def applying(self, run: Run, *, on: bool) -> None:
        """Whether what this transaction writes is no change of a replica's own."""
        ...

    def unnoted(self, run: Run, *, on: bool) -> None:
        """Whether what this transaction writes at a hub need not be noted: there is nobody to read it."""
        ...

    def copying(self, run: Run, table: Tracked, role: str) -> AbstractContextManager[None]:
        """Have rows that are written into an empty table meanwhile noted at once: in its log, or its feed.

        An error that leaves the block is to end the transaction, or go back to before it.
        """
        ...

    def stage(self, name: str, select: str) -> Sequence[str]:
        """Statements that make a temporary table with the columns of a query."""
        ...

    def staged(self, run: Run, name: str, keys: Sequence[str]) -> None:
        """Rows have been put into a temporary table, and are going to be looked for by these columns."""
        ...

    def carried(self, column: Column) -> Carried: ...
    def same(self, carried: Carried, left: str, right: str) -> str:
        """A condition that is true only where two values are the same; ``left`` is of the column itself."""
        ...

    def identity(self, run: Run) -> str:
        """What is another text where the database has been put into another server."""
        ...


def listed(names: Sequence[str], prefix: str = "") -> str:
    return ", ".join(f"{prefix}{quote_identifier(name)}" for name in names)


def matching(left: str, right: str, pairs: Sequence[tuple[str, str]]) -> str:
    """A condition that keys are equal, of which none is NULL."""
    return " AND ".join(
        f"{left}.{quote_identifier(one)} = {right}.{quote_identifier(other)}" for one, other in pairs
    )
