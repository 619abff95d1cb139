"""The part of an engine that has indexes over vectors; an engine without one compares all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from holdfast.engines.base import Fragment, Run


@dataclass(frozen=True, slots=True)
class VectorIndex:
    """An index over the vectors of one model in a table: its own name, and how it is built."""

    name: str
    rows: float = 0.0
    "How many vectors it has, as far as the database knows."
    links: int = 16
    "HNSW's m."
    effort: int = 64
    "HNSW's ef_construction."
    is_halved: bool = True
    "Whether it keeps halves of the numbers."


@dataclass(frozen=True, slots=True)
class VectorTarget:
    """The vectors that are indexed or asked: their table, the model and its dimension."""

    table: str
    model: str
    dimension: int


class VectorIndexing(Protocol):
    """Indexes over vectors of a kind that has distances; what they answer may lack something."""

    def name(self, target: VectorTarget) -> str:
        """The name of the index of a model, the same each time."""
        ...

    def find(self, run: Run, target: VectorTarget) -> VectorIndex | None:
        """The index of a model, if it is there and ready."""
        ...

    def create(self, run: Run, target: VectorTarget, index: VectorIndex, *, beside: bool) -> None:
        """Build it anew; ``beside`` the writers, which then do not wait, but not in a transaction."""
        ...

    def drop(self, run: Run, target: VectorTarget, *, beside: bool) -> None: ...
    def size(self, run: Run, index: VectorIndex) -> int:
        """How many bytes it takes."""
        ...

    def share(self, run: Run, table: str, condition: Fragment, percent: float) -> float:
        """The part of a table's rows that satisfies a condition, from a sample of so many percent."""
        ...

    def nearest(
        self,
        target: VectorTarget,
        index: VectorIndex,
        source: str,
        condition: Fragment,
        asked: str,
        count: int,
    ) -> Fragment:
        """A statement for numbers and distances, the nearest first, and whether that many were found.

        Where it did not, a filter was in the way, and what it gave may be far from the nearest.
        """
        ...
