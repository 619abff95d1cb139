"""The vectors of a store: who makes them, and of which model and dimension they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.core.executor import Executor
from holdfast.errors import ConfigurationError, InvalidQuery, ValueRefused
from holdfast.memory import tables
from holdfast.memory.embed.cache import EmbeddingCache
from holdfast.memory.embed.texts import Embed, as_documents, as_queries, vectors_of
from holdfast.memory.records import Record, Vector, as_vector
from holdfast.memory.rows import changed
from holdfast.memory.tables import DEFAULT_MODEL, Layout
from holdfast.types.text import storable


class Embedding:
    """What a store was opened with: an embedder or none, and a dimension if one was said."""

    def __init__(self, embed: Embed | None, dimension: Any) -> None:
        if embed is not None and not callable(embed):
            raise ConfigurationError(
                f"an embedder is a function, not {type(embed).__name__}",
                hint="embed= takes a list of texts and gives a vector for each",
            )
        self.embed, self.dimension = embed, _dimension(dimension)
        self.model = None if embed is None else str(getattr(embed, "model", None) or DEFAULT_MODEL)
        self._agreed: dict[str, int] = {}
        self._kept: EmbeddingCache | None = None

    def keep_in(self, executor: Executor, user_id: str) -> None:
        """Keep what the embedder makes for a user in a database, where the embedder asks for that."""
        size = int(getattr(self.embed, "cache_size", 0) or 0)
        model = self.model or DEFAULT_MODEL
        self._kept = EmbeddingCache(executor, user_id, model, size) if size > 0 else None

    def known(self, layout: Layout) -> int | None:
        """The dimension of the store, as far as it is known without asking the database."""
        return layout.dimension or self._agreed.get(layout.model)

    def agree_on(self, layout: Layout, dimension: int | None) -> None:
        """Remember the dimension that a committed transaction wrote."""
        if dimension is not None:
            self._agreed[layout.model] = dimension

    def forget(self) -> None:
        """Know no dimension any more, after the store was dropped."""
        self._agreed.clear()

    def filled(self, records: Sequence[Record], dimension: int | None = None) -> list[Record]:
        """The records, with vectors for those that want one; ``dimension`` is that of the store, if known."""
        found = list(records)
        if self.embed is not None:
            wanted = [at for at, record in enumerate(found) if _wants_vector(record)]
            vectors = self.of_texts([getattr(found[at], "text", "") for at in wanted], dimension)
            for at, vector in zip(wanted, vectors, strict=True):
                found[at] = changed(found[at], embedding=vector)
        return found

    def of_texts(self, texts: Sequence[str], dimension: int | None = None) -> list[Vector]:
        """What the embedder makes of texts that are to be found, checked."""
        if not texts or self.embed is None:
            return []
        return vectors_of(self.embed, as_documents(self.embed, texts), self._kept, dimension)

    def asked(self, text: str | None, vector: Any, dimension: int | None, model: str | None = None) -> Vector:
        """The vector of a query, by a model or by the embedder's own."""
        if vector is None and model not in (None, self.model):
            raise InvalidQuery(
                f"the embedder makes vectors of {self.model!r}, not of {model!r}", hint="give vector="
            )
        if vector is not None or self.embed is None:
            found = as_vector(vector)
        else:
            (query,) = as_queries(self.embed, [storable(text or "")])
            if self._kept is not None:
                found = self._kept.asked(self.embed, query, dimension)
            else:
                (found,) = vectors_of(self.embed, [query])
        if dimension is not None and len(found) != dimension:
            raise ValueRefused(
                f"the query's vector has {len(found)} numbers, and this memory's have {dimension}"
            )
        return found

    def settle(self, executor: Executor, layout: Layout, records: Sequence[Record]) -> int | None:
        """The dimension of the store, which its first vector says; others are refused."""
        known = self.known(layout)
        for number, record in enumerate(records, 1):
            vector: Vector | None = getattr(record, "embedding", None)
            if vector is None:
                continue
            if known is None:
                known = tables.set_dimension(executor, layout, self.dimension or len(vector))
            if len(vector) != known:
                current = executor.scalar(f"SELECT {tables.CURRENT_MODEL}", [layout.table])
                tables.check_model(executor, layout, current)
                error = ValueRefused(
                    f"the embedding has {len(vector)} numbers, and this memory's have {known}",
                    hint="an embedder of another model needs a memory of another name",
                )
                error.row_number = number
                raise error
        return known


def _wants_vector(record: Record) -> bool:
    return getattr(record, "embedding", record) is None and bool(getattr(record, "text", ""))


def _dimension(given: Any) -> int | None:
    if given is None or (isinstance(given, int) and not isinstance(given, bool) and given > 0):
        return given
    raise ConfigurationError("dimension is the number of numbers in a vector", hint="leave it out if unsure")
