"""Finding memories by meaning, by words, or by both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from holdfast.core.executor import Executor
from holdfast.engines.base import Fragment
from holdfast.engines.searching import Term
from holdfast.errors import InvalidQuery, NotSupported
from holdfast.memory.matrix import Matrices
from holdfast.memory.records import Record, Vector
from holdfast.memory.rows import Shape
from holdfast.memory.scope import Scope
from holdfast.search.fulltext import LONGEST_WORD, parse

MODES = ("vector", "text", "hybrid")
# Cormack, Clarke and Buettcher 2009, "Reciprocal rank fusion outperforms Condorcet".
RRF = 60
LEAST_CANDIDATES = 50
_TRIES = 3
# A question is not about these; a search for nothing else is.
_COMMON = frozenset(
    [
        *("a", "an", "and", "are", "as", "at", "be", "by", "did", "do", "does", "for", "from", "had", "has"),
        *(
            "have",
            "he",
            "her",
            "his",
            "how",
            "i",
            "in",
            "is",
            "it",
            "its",
            "me",
            "my",
            "of",
            "on",
            "or",
            "our",
        ),
        *("she", "that", "the", "their", "them", "they", "this", "to", "was", "we", "were", "what", "when"),
        *("where", "which", "who", "why", "will", "with", "you", "your"),
    ]
)
Leg = list[tuple[int, float]]
"""The numbers of memories, the best first, with the measure of the leg."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A memory that was found.

    ``score`` is the higher the better: by vector the cosine of the angle, by text the database's own
    measure, and where both were asked the sum of 1 / (60 + rank). ``distance`` is one minus the cosine,
    ``None`` where no vector was compared. ``ranks`` has the place, from 1, in each of the two, and ``why``
    says all of that in words.
    """

    record: Record
    score: float
    distance: float | None
    ranks: dict[str, int]
    why: str


class Hits(list[Hit]):
    """What was found, the best first.

    ``complete`` is true where every memory that could be found was compared, so that none is missing.
    """

    complete: bool = True

    def __repr__(self) -> str:
        return f"<Hits: {len(self)}{'' if self.complete else ', not complete'}>"


@dataclass(frozen=True, slots=True)
class Searcher:
    """Searches one store for one tenant; ``condition`` is the filter and the tenant's."""

    executor: Executor
    shape: Shape
    scope: Scope
    matrices: Matrices
    condition: Fragment
    is_filtered: bool

    def by_vector(self, vector: Vector, count: int) -> Leg:
        """The nearest memories with their cosine distances.

        Raises:
            NotSupported: if this server has no pgvector.
        """
        vectors, layout = self.executor.engine.vectors, self.shape.layout
        distance = vectors.distance(layout.vector_kind, f'{self.shape.vectors}."embedding"')
        if distance is None:
            return self._by_matrix(vector, count)
        own = self.shape.vectors
        source, (sql, given) = own, self.scope.condition(own)
        if self.is_filtered:
            source = f'{self.shape.table} JOIN {own} ON {own}."n" = {self.shape.table}."n"'
            # The tenant once: a planner without statistics would take two for very few rows.
            sql, given = self.condition
        rows = self.executor.rows(
            f'SELECT {own}."n", {distance} FROM {source} '
            f'WHERE {own}."model" = ? AND {sql} ORDER BY 2, {own}."id" LIMIT ?',
            [vectors.asked(vector), layout.model, *given, count],
        )
        return list(rows)

    def _by_matrix(self, vector: Vector, count: int) -> Leg:
        if self.executor.drive(self.executor.engine.vectors.state) is None:
            raise NotSupported(
                "this memory cannot be searched by vector: it was made on a server without pgvector, or "
                "without the right to create it",
                hint="have an administrator install pgvector and run CREATE EXTENSION vector, and write the "
                "memories into one of another name; mode='text' works as it is",
            )
        matrix = self.matrices.matrix(self.executor, self.shape, self.scope)
        if matrix is None:
            return []
        among = None
        if self.is_filtered:
            sql, given = self.condition
            among = [n for (n,) in self.executor.rows(self._numbers(sql), given)]
        return matrix.nearest(vector, count, among) if among is None or among else []

    def _numbers(self, sql: str) -> str:
        return f'SELECT {self.shape.table}."n" FROM {self.shape.table} WHERE {sql}'

    def by_text(self, text: str, count: int) -> Leg:
        """The memories with the words of ``text`` that say most, and the database's measure of them."""
        terms = _telling(parse(text))
        if not any(not term.is_excluded for term in terms):
            return []
        parts = self.executor.engine.fulltext.matching(self.shape.search, terms, any_word=True)
        sql, given = self.condition
        rows = self.executor.rows(
            f'SELECT {self.shape.table}."n", {parts.score[0]} FROM {parts.source[0]} '
            f"WHERE {parts.condition[0]} AND {sql} "
            f'ORDER BY 2 DESC, {self.shape.table}."id" LIMIT ?',
            [*parts.score[1], *parts.source[1], *parts.condition[1], *given, count],
        )
        return [(n, float(score)) for n, score in rows]

    def records(self, numbers: Sequence[int]) -> dict[int, Record]:
        """The memories of these numbers."""
        if not numbers:
            return {}
        sql, given = self.scope.condition(self.shape.table)
        rows = self.executor.rows(
            f'SELECT {self.shape.listing}, {self.shape.table}."n" FROM {self.shape.source} '
            f'WHERE {sql} AND {self.shape.table}."n" IN ({", ".join("?" * len(numbers))})',
            [self.shape.layout.model, *given, *numbers],
        )
        return {row[-1]: self.shape.record(row) for row in rows}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: a text, a vector or both, how many hits, and how fast memories fade."""

    text: str | None
    vector: Vector | None
    count: int
    half_life: timedelta | None

    def ask(self, searcher: Searcher) -> Hits:
        """The hits; asked again if memories went away while it looked."""
        hits = Hits()
        for _ in range(_TRIES):
            legs = self._legs(searcher)
            hits, is_whole = self._hits(searcher, legs)
            if is_whole:
                break
        return hits

    def _legs(self, searcher: Searcher) -> dict[str, Leg]:
        is_hybrid = self.text is not None and self.vector is not None
        count = max(4 * self.count, LEAST_CANDIDATES) if is_hybrid else self.count
        legs = {}
        if self.vector is not None:
            legs["vector"] = searcher.by_vector(self.vector, count)
        if self.text is not None:
            legs["text"] = searcher.by_text(self.text, count)
        return legs

    def _hits(self, searcher: Searcher, legs: dict[str, Leg]) -> tuple[Hits, bool]:
        ranks: dict[int, dict[str, int]] = {}
        for name, leg in legs.items():
            for rank, (n, _) in enumerate(leg, 1):
                ranks.setdefault(n, {})[name] = rank
        records = searcher.records(list(ranks))
        measures = {name: dict(leg) for name, leg in legs.items()}
        now = datetime.now(UTC)
        found = [
            self._hit(records[n], of, {name: measures[name][n] for name in of}, len(legs) > 1, now)
            for n, of in ranks.items()
            if n in records
        ]
        if len(legs) > 1:
            found.sort(key=lambda hit: (-hit.score, str(hit.record.id)))
        return Hits(found[: self.count]), len(records) == len(ranks)

    def _hit(
        self,
        record: Record,
        ranks: dict[str, int],
        measures: dict[str, float],
        is_hybrid: bool,
        now: datetime,
    ) -> Hit:
        distance = measures.get("vector")
        parts = []
        if distance is not None:
            parts.append(f"vector: rank {ranks['vector']}, distance {distance:.4f}")
        if "text" in measures:
            parts.append(f"text: rank {ranks['text']}, score {measures['text']:.4g}")
        if not is_hybrid:
            score = measures["text"] if distance is None else 1.0 - distance
            return Hit(record, score, distance, ranks, "; ".join(parts))
        score = sum(1.0 / (RRF + rank) for rank in ranks.values())
        if self.half_life is not None:
            age = max((now - record.created_at) / self.half_life, 0.0)
            score *= 0.5**age
            parts.append(f"made {age:.2f} half-lives ago")
        return Hit(record, score, distance, ranks, "; ".join(parts))


def half_life_of(recency: Any) -> timedelta | None:
    """A half-life from a timedelta or seconds.

    Raises:
        InvalidQuery: if it is not positive.
    """
    if recency is None:
        return None
    if isinstance(recency, (int, float)) and not isinstance(recency, bool) and 0 < recency < 1e11:
        recency = timedelta(seconds=recency)
    if not isinstance(recency, timedelta) or recency <= timedelta(0):
        raise InvalidQuery("recency is the half-life of a memory", hint="a timedelta, or seconds")
    return recency


def _telling(terms: Sequence[Term]) -> list[Term]:
    """The terms without the commonest words, unless there are no others."""
    found = [term for term in terms if all(len(word) <= LONGEST_WORD for word in term.words)]
    telling = [
        term
        for term in found
        if term.is_excluded or len(term.words) > 1 or term.is_prefix or term.words[0].lower() not in _COMMON
    ]
    return telling if any(not term.is_excluded for term in telling) else found
