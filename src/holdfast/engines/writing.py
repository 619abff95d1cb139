"""The part of an engine that writes many rows at the driver's speed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Literal, Protocol

from holdfast.engines.base import Column, Run, TableInfo


@dataclass(frozen=True, slots=True)
class Load:
    """What is done with many rows that have the same columns.

    ``single`` is the driver's statement for one row, with its values in the order of ``columns``.
    ``keys`` are the columns that find a row that is there already, empty for a plain INSERT;
    ``conflict`` is the ON CONFLICT clause of an INSERT.
    """

    info: TableInfo
    verb: Literal["insert", "update"]
    columns: tuple[Column, ...]
    keys: tuple[str, ...]
    conflict: str
    single: str

    @property
    def changed(self) -> tuple[str, ...]:
        """The columns besides the keys."""
        return tuple(column.name for column in self.columns if column.name not in self.keys)


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows as the driver takes them, kept as columns: fewer objects, and less for the collector."""

    columns: Sequence[Sequence[Any]]
    count: int

    def rows(self) -> Iterator[Sequence[Any]]:
        return zip(*self.columns, strict=True) if self.columns else repeat((), self.count)


@dataclass(frozen=True, slots=True)
class Packed(Batch):
    """Some rows as the bytes that the database reads; ``plain`` gives them as values again."""

    data: Any
    plain: Callable[[], Iterator[Sequence[Any]]]

    def rows(self) -> Iterator[Sequence[Any]]:
        return self.plain()


class Writer(Protocol):
    """The fastest way there is to do a :class:`Load`; rows are encoded, ``raw`` is in a transaction.

    The effect is that of ``single`` for one row after the other, as is the count of rows.
    """

    @property
    def least(self) -> int:
        """Fewer rows than this are sent as single statements."""
        ...

    @property
    def overlaps(self) -> bool:
        """Whether reading the next rows while these are written saves time; the connection is busy."""
        ...

    @property
    def finds_fault(self) -> bool:
        """Whether the error says which row was at fault; otherwise all is undone and tried one by one."""
        ...

    def write(self, raw: Any, batches: Iterable[Batch]) -> int: ...


class Packer(Writer, Protocol):
    """A writer of rows that are packed straight from Arrow arrays."""

    def pack(self, arrays: Sequence[Any]) -> Any:
        """The bytes of the rows, or ``None`` if they cannot go in exactly as they are."""
        ...

    def greatest(self, array: Any) -> int: ...


class Bulk(Protocol):
    """Writing many rows at the driver's speed."""

    def writer(self, run: Run, load: Load) -> Writer | None:
        """``None`` where nothing is better than single statements."""
        ...

    def row_at_fault(self, exc: BaseException | None, table: str) -> int | None:
        """The row of a ``write``, counted from 1, that the database names in its error."""
        ...

    def greatest_given(self, run: Run, sequence: str, value: int) -> None:
        """Rows with values up to this were written by hand into the column of that sequence."""
        ...
