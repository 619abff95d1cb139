"""The parts of an engine that write whole tables into backups and put them in their place again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from holdfast.engines.base import Run

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.settings import Target


@dataclass(frozen=True, slots=True)
class Content:
    """How many rows a table holds, and a hash that does not depend on their order.

    Equal rows count each time in the hash, and a row that changed, came or went changes it. It compares
    tables on one kind of database.
    """

    rows: int
    hash: str


@dataclass(frozen=True, slots=True)
class RawRows:
    """Rows of a table in the server's own text form, as ``sql`` takes them in."""

    sql: str
    blocks: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Fill:
    """The place in a script where somebody else writes, on the same connection.

    What it writes are the rows of ``table``; without one it is everything, and names are looked up as they
    are in the session.
    """

    table: str | None
    write: Callable[[], None]


Script = Iterable[str | RawRows | Fill]
"""Statements in their order, and rows where they belong."""


class Dump(Protocol):
    """Writing tables as SQL text, and putting such a text in their place. ``raw`` is in a transaction."""

    def tables(self, raw: Any, only: str | None) -> list[str]: ...
    def content(
        self, raw: Any, table: str, advance: Callable[[int], None] | None = None, like: str | None = None
    ) -> Content: ...
    def write(self, raw: Any, only: str | None, put: Callable[[bytes], None]) -> dict[str, Any]: ...
    def load(
        self,
        raw: Any,
        statements: Script,
        manifest: Mapping[str, Any] | None,
        only: str | None,
    ) -> None: ...
    def scratch(self, run: Run, target: Target) -> AbstractContextManager[Target]: ...
    def imitate(self, raw: Any, manifest: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True, slots=True)
class Copy:
    """What an engine's own kind of backup holds, as statements, and what the engine knows of it.

    ``contents`` is ``None`` where only the backup's manifest can say it.
    """

    script: Script
    known: Mapping[str, Any]
    contents: Mapping[str, Content] | None


class Copies(Protocol):
    """The engine's own kind of backup: a whole database in one file, at the speed of its own tool."""

    @property
    def extensions(self) -> tuple[str, ...]: ...
    def writing(self, raw: Any, path: Path) -> AbstractContextManager[Mapping[str, Any]]:
        """Write the database as ``raw``'s transaction sees it; done when the block ends.

        What is given to the block is what the engine needs to know when it puts the tables in their places.
        """
        ...

    def content(self, raw: Any, table: str) -> Content:
        """What the manifest says of a table; a hash only where the bytes of the file are no proof."""
        ...

    def opened(self, path: Path, known: Mapping[str, Any], only: str | None) -> AbstractContextManager[Copy]:
        """What is in the file, or what belongs to one table."""
        ...


@dataclass(frozen=True, slots=True)
class Outline:
    """The statements that make tables and what belongs to them; a table's name alone is that of its rows.

    ``known`` is what the engine needs to know besides when it puts the tables in their places, ``left`` the
    kinds and names of what is there and in no statement.
    """

    statements: Sequence[str | tuple[str]]
    known: Mapping[str, Any]
    left: Sequence[tuple[str, str]] = ()


class Misfit(Exception):
    """Values do not fit the Arrow type that their column had until now; what is known of it has changed."""


@dataclass(slots=True)
class Seen:
    """What is known of a table that is read: how its columns are to be read, and in the end its content.

    ``content`` stays ``None`` where the engine finds it out faster by itself.
    """

    classes: dict[str, str] = field(default_factory=dict)
    content: Content | None = None


class Archive(Protocol):
    """Tables as Arrow data, exactly, and statements for the rest, without any program of the engine's."""

    def outline(self, raw: Any, only: str | None) -> Outline: ...
    def replacing(self, raw: Any) -> Mapping[str, Any]:
        """What :meth:`Dump.load` needs to know to make room for the tables of another engine."""
        ...

    def read(self, raw: Any, table: str, seen: Seen) -> Iterator[Any]:
        """The rows as Arrow tables of some megabytes, generated columns and all.

        Raises:
            Misfit: if it has to be called again, with what it has ``seen``.
        """
        ...

    def write(self, raw: Any, table: str, parts: Iterable[Any]) -> None:
        """Add rows that :meth:`read` gave."""
        ...
