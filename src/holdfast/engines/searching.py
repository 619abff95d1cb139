"""The part of an engine that searches the text of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from holdfast.engines.base import Run, TableInfo


@dataclass(frozen=True, slots=True)
class Term:
    """One thing that a search asks for: a word, or several in a row."""

    words: tuple[str, ...]
    is_prefix: bool = False
    "The last word is only the beginning of one."
    is_excluded: bool = False


@dataclass(frozen=True, slots=True)
class SearchIndex:
    """What a table is searched by: columns in the table's order, and what the engine needs to know again."""

    table: str
    columns: tuple[str, ...]
    language: str
    name: str
    "The engine's own name of it."
    keys: tuple[str, ...] = ()
    "SQLite: the columns that find the row again."
    kept_as: tuple[str, ...] = ()
    "SQLite: the search's own names of them."
    expression: str = ""
    "PostgreSQL: what is indexed."


@dataclass(frozen=True, slots=True)
class Matching:
    """The parts of a SELECT over the rows that match, each with the values of its marks.

    ``is_cut`` if there may be more of them, and ``is_by_key`` if those with an equal score are cut by key.
    """

    score: tuple[str, list[Any]]
    source: tuple[str, list[Any]]
    condition: tuple[str, list[Any]]
    is_cut: bool = False
    is_by_key: bool = False


Marked = tuple[str, list[tuple[int, int]]]
"""A text, and where the words that matched begin and end in it."""


class FullText(Protocol):
    """Full-text search of a table, kept true by the database itself whoever writes."""

    def find(self, run: Run, table: str) -> SearchIndex | None: ...
    def create(self, run: Run, info: TableInfo, columns: Sequence[str], language: str) -> None: ...
    def drop(self, run: Run, table: str) -> None: ...
    def matching(
        self, index: SearchIndex, terms: Sequence[Term], best: int | None = None, *, any_word: bool = False
    ) -> Matching:
        """All of them, or at most the ``best`` with the highest scores.

        With ``any_word`` one of the terms is enough, of those that are not excluded.
        """
        ...

    def marked(
        self,
        run: Run,
        index: SearchIndex,
        terms: Sequence[Term],
        rows: Sequence[Mapping[str, Any]],
    ) -> list[list[Marked]]:
        """For each row the text of each of the searched columns; none of ``terms`` is excluded."""
        ...
