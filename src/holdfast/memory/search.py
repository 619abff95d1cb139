"""Finding memories by meaning, by words, or by both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from holdfast.core.rows import count_argument
from holdfast.engines.searching import Term
from holdfast.errors import InvalidQuery, did_you_mean
from holdfast.memory.nearest import ALL, Among, Leg, VectorLeg
from holdfast.memory.records import Record, Vector, as_vector
from holdfast.memory.tables import CURRENT_MODEL, check_model
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
    """Searches among memories, by vector as their backend does."""

    among: Among
    leg: VectorLeg
    is_current: bool = True
    """Whether the model is to be the current one, and no other was asked for."""

    def by_text(self, text: str, count: int) -> Leg:
        """The memories with the words of ``text`` that say most, and the database's measure of them."""
        terms = _telling(parse(text))
        if not any(not term.is_excluded for term in terms):
            return []
        executor, table = self.among.executor, self.among.shape.table
        parts = executor.engine.fulltext.matching(self.among.shape.search, terms, any_word=True)
        sql, given = self.among.condition
        rows = executor.rows(
            f'SELECT {table}."n", {parts.score[0]} FROM {parts.source[0]} '
            f"WHERE {parts.condition[0]} AND {sql} "
            f'ORDER BY 2 DESC, {table}."id" LIMIT ?',
            [*parts.score[1], *parts.source[1], *parts.condition[1], *given, count],
        )
        return [(n, float(score)) for n, score in rows]

    def records(self, numbers: Sequence[int]) -> dict[int, Record]:
        """The memories of these numbers."""
        shape, executor = self.among.shape, self.among.executor
        if not numbers:
            self._check(executor.scalar(f"SELECT {CURRENT_MODEL}", [shape.layout.table]))
            return {}
        sql, given = self.among.scope.check(shape.table)
        rows = executor.rows(
            f'SELECT {shape.listing}, {shape.table}."n", {CURRENT_MODEL} FROM {shape.source} '
            f'WHERE {sql} AND {shape.table}."n" IN ({", ".join("?" * len(numbers))})',
            [shape.layout.table, shape.layout.model, *given, *numbers],
        )
        if rows:
            self._check(rows[0][-1])
        return {row[-2]: shape.record(row) for row in rows}

    def _check(self, current: str) -> None:
        if self.is_current:
            check_model(self.among.executor, self.among.shape.layout, current)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: a text, a vector or both, how many hits, and how fast memories fade."""

    text: str | None
    vector: Vector | None
    count: int
    half_life: timedelta | None

    def ask(self, searcher: Searcher) -> Hits:
        """The hits; asked again if some of what was found is gone."""
        hits = Hits()
        for _ in range(_TRIES):
            legs, is_complete = self._legs(searcher)
            hits, is_whole = self._hits(searcher, legs)
            hits.complete = is_complete
            if is_whole:
                break
            # Perhaps they have expired, and more of them stand before the others.
            among = searcher.among
            searcher = replace(searcher, among=replace(among, filter=among.filter or ALL))
        return hits

    def _legs(self, searcher: Searcher) -> tuple[dict[str, Leg], bool]:
        is_hybrid = self.text is not None and self.vector is not None
        count = max(4 * self.count, LEAST_CANDIDATES) if is_hybrid else self.count
        legs, is_complete = {}, True
        if self.vector is not None:
            found = searcher.leg.nearest(searcher.among, self.vector, count)
            legs["vector"], is_complete = found.leg, found.is_complete
        if self.text is not None:
            legs["text"] = searcher.by_text(self.text, count)
        return legs, is_complete

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


@dataclass(frozen=True, slots=True)
class Asking:
    """The arguments of a query, found to be right."""

    text: str | None
    vector: Any
    count: int
    mode: str
    half_life: timedelta | None
    model: str | None

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells it from other queries."""
        vector = None if self.vector is None else as_vector(self.vector).tobytes()
        return self.text, vector, self.count, self.mode, self.model

    def question(self, vector: Vector | None) -> Question:
        """The question with the vector that was found for it."""
        return Question(None if self.mode == "vector" else self.text, vector, self.count, self.half_life)


def asking_of(
    text: Any, vector: Any, top_k: Any, mode: str | None, recency: Any, model: str | None, can_embed: bool
) -> Asking:
    """The arguments of a query.

    Raises:
        InvalidQuery: if they do not go together.
    """
    half_life = half_life_of(recency)
    mode = _mode(text, vector, mode, can_embed)
    if half_life is not None and mode != "hybrid":
        raise InvalidQuery("recency goes with mode='hybrid'")
    count = count_argument("top_k", top_k)
    if count == 0:
        raise InvalidQuery("top_k must be at least 1")
    return Asking(text, vector, count, mode, half_life, model)


def _mode(text: Any, vector: Any, mode: str | None, can_embed: bool) -> str:
    if mode is None:
        mode = "vector" if vector is not None or can_embed else "text"
    if mode not in MODES:
        raise InvalidQuery(f"unknown mode {str(mode)[:40]!r}", hint=did_you_mean(str(mode), MODES, "modes"))
    if text is not None and (not isinstance(text, str) or not text.strip()):
        raise InvalidQuery("a query needs a text that is not empty, or a vector")
    if text is None and (vector is None or mode != "vector"):
        raise InvalidQuery(f"a query by {mode} needs a text" + (" or a vector" if mode == "vector" else ""))
    if mode != "text" and vector is None and not can_embed:
        raise InvalidQuery(
            f"a query by {mode} needs a vector", hint="give vector=, or open the memory with embed="
        )
    return mode


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
