"""LangChain on Holdfast: documents found by their meaning, on SQLite, on PostgreSQL and in LanceDB."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self
from uuid import UUID, uuid5

import numpy as np

from holdfast import memory
from holdfast.core.rows import count_argument
from holdfast.core.transaction import Transaction
from holdfast.database import Database
from holdfast.errors import ConfigurationError, InvalidQuery, MissingDependency, ValueRefused
from holdfast.memory.face import Face
from holdfast.memory.filters import JOINING
from holdfast.memory.records import Document as Stored
from holdfast.memory.records import Record, uuid7
from holdfast.memory.search import Hit
from holdfast.types.text import storable

try:
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.vectorstores import VectorStore
    from langchain_core.vectorstores.utils import maximal_marginal_relevance
except ModuleNotFoundError as exc:
    raise MissingDependency("langchain-core", "langchain") from exc

IDS = UUID("5d0d8e62-5f0c-4b58-9b0f-3ad0a3c7f5f4")
"""The namespace of the ids that records have for those of their documents, which are any text."""
MOST_AT_ONCE = 500
_NO_DATABASE: Any = object()


class HoldfastVectorStore(Face, VectorStore):
    """Keep LangChain's documents in a memory: a path or URL as for ``memory.open``, or a ``Database``.

    ``embedding`` makes the vectors; its attribute ``model`` or ``model_name`` names them, so that those of
    two models are never compared. Documents have any text as id, and come back as they were put in: their
    metadata are what JSON has. A ``filter`` is one of the memory's, on keys of the metadata. Scores are
    cosine distances, the smaller the nearer; relevance scores are from 0 to 1.

    >>> from langchain_core.embeddings import DeterministicFakeEmbedding
    >>> from holdfast.memory.langchain import HoldfastVectorStore
    >>> with HoldfastVectorStore(DeterministicFakeEmbedding(size=8), "agent.db") as store:
    ...     ids = store.add_texts(["Ada drinks tea"], ids=["tea"])
    ...     store.similarity_search("Ada drinks tea", k=1)[0].id
    'tea'

    Raises:
        ConfigurationError: if the memory holds vectors of another model.
    """

    def __init__(
        self,
        embedding: Embeddings,
        url_or_database: str | os.PathLike[str] | Database,
        *,
        name: str = "documents",
        user_id: str = "default",
    ) -> None:
        if not isinstance(embedding, Embeddings):
            raise ConfigurationError(
                "embedding is an Embeddings of LangChain", hint="such as OpenAIEmbeddings()"
            )
        self._embedding = embedding
        self._memory = memory.open(url_or_database, name=name, user_id=user_id, embed=_Embed(embedding))
        self._take(self._memory._database, is_owner=False)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._memory.name!r} in {self._database.url}>"

    @property
    def embeddings(self) -> Embeddings:
        """What makes the vectors."""
        return self._embedding

    def close(self) -> None:
        """Wait for calls that have begun, and close the database if it was opened for this alone."""
        super().close()
        self._memory.close()

    # Writing

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        url_or_database: str | os.PathLike[str] | Database = _NO_DATABASE,
        **options: Any,
    ) -> Self:
        """Open the store at ``url_or_database``, with the options of this class, and add texts."""
        if url_or_database is _NO_DATABASE:
            raise ConfigurationError("from_texts() says no database", hint="url_or_database='agent.db'")
        store = cls(embedding, url_or_database, **options)
        try:
            store.add_texts(texts, metadatas, ids=ids)
        except BaseException:
            store.close()
            raise
        return store

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Sequence[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **options: Any,
    ) -> list[str]:
        """Add texts, all or none, and return their ids; one that is there already is replaced.

        Raises:
            ValueRefused: if there are not as many ids or metadata as texts, or JSON would change a value.
        """
        _refuse(options)
        given = list(texts)
        for what, some in (("metadatas", metadatas), ("ids", ids)):
            if some is not None and len(some) != len(given):
                raise ValueRefused(f"{len(given)} texts have {len(some)} {what}")
        named = [str(uuid7()) if id is None else id for id in (ids or [None] * len(given))]
        records: list[Record] = [
            Stored(text, id=_id(id), doc_id=id, metadata=dict(metadata or {}))
            for text, id, metadata in zip(given, named, metadatas or [{}] * len(given), strict=True)
        ]
        if records:
            self._memory.insert_many(records, exists_ok=True)
        return named

    def delete(self, ids: list[str] | None = None, **options: Any) -> bool:
        """Remove the documents of these ids, or all; one that is not there is no error."""
        _refuse(options)
        if ids is None:
            self._memory.delete(all_rows=True)
            return True
        with Transaction(self._executor):
            for some in _portions(ids):
                self._memory.delete({"id": {"$in": some}})
        return True

    # Reading

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents of these ids, in their order; those that are not there are left out."""
        found: dict[str, Document] = {}
        for some in _portions(ids):
            for record in self._memory.get_all({"id": {"$in": some}}):
                document = _document(record)
                found[document.id or ""] = document
        return [found[id] for id in dict.fromkeys(ids) if id in found]

    def similarity_search(
        self,
        query: str,
        k: int = 4,
        *,
        filter: Mapping[str, Any] | None = None,
        mode: str = "vector",
        **options: Any,
    ) -> list[Document]:
        """The ``k`` documents nearest to a text; with ``mode="hybrid"`` also by its words."""
        _refuse(options)
        vector = None if mode == "text" else self._embedding.embed_query(query)
        return [_document(hit.record) for hit in self._hits(vector, k, filter, query, mode)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, *, filter: Mapping[str, Any] | None = None, **options: Any
    ) -> list[tuple[Document, float]]:
        """The ``k`` documents nearest to a text, each with its cosine distance."""
        _refuse(options)
        hits = self._hits(self._embedding.embed_query(query), k, filter)
        return [(_document(hit.record), float(hit.distance or 0.0)) for hit in hits]

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: Mapping[str, Any] | None = None, **options: Any
    ) -> list[Document]:
        """The ``k`` documents nearest to a vector."""
        _refuse(options)
        return [_document(hit.record) for hit in self._hits(embedding, k, filter)]

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> list[Document]:
        """Of the ``fetch_k`` nearest documents ``k`` that also differ from each other.

        From Carbonell and Goldstein 1998, "The use of MMR, diversity-based reranking".
        """
        return self.max_marginal_relevance_search_by_vector(
            self._embedding.embed_query(query), k, fetch_k, lambda_mult, filter=filter, **options
        )

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> list[Document]:
        """Do as :meth:`max_marginal_relevance_search` does, for a vector."""
        _refuse(options)
        hits = self._hits(embedding, max(fetch_k, k), filter)
        vectors: list[Any] = [getattr(hit.record, "embedding", None) for hit in hits]
        chosen = maximal_marginal_relevance(
            np.asarray(embedding, dtype=np.float32), vectors, lambda_mult=lambda_mult, k=k
        )
        return [_document(hits[place].record) for place in chosen]

    def _hits(
        self,
        vector: list[float] | None,
        k: int,
        filter: Mapping[str, Any] | None,
        text: str | None = None,
        mode: str = "vector",
    ) -> list[Hit]:
        if count_argument("k", k) == 0:
            return []
        of_text = None if mode == "vector" else text
        return self._memory.query(of_text, vector, k, filters=_on_metadata(filter), mode=mode)

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return lambda distance: min(max(1.0 - distance, 0.0), 1.0)

    # The same, while an event loop goes on

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: Sequence[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **options: Any,
    ) -> list[str]:
        """Do as :meth:`add_texts` does, in another thread."""
        return await self._apart(lambda: self.add_texts(texts, metadatas, ids=ids, **options))

    async def adelete(self, ids: list[str] | None = None, **options: Any) -> bool:
        """Do as :meth:`delete` does, in another thread."""
        return await self._apart(lambda: self.delete(ids, **options))

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Do as :meth:`get_by_ids` does, in another thread."""
        return await self._apart(self.get_by_ids, ids)

    async def asimilarity_search(self, query: str, k: int = 4, **options: Any) -> list[Document]:
        """Do as :meth:`similarity_search` does, in another thread."""
        return await self._apart(lambda: self.similarity_search(query, k, **options))

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, **options: Any
    ) -> list[tuple[Document, float]]:
        """Do as :meth:`similarity_search_with_score` does, in another thread."""
        return await self._apart(lambda: self.similarity_search_with_score(query, k, **options))

    async def asimilarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **options: Any
    ) -> list[Document]:
        """Do as :meth:`similarity_search_by_vector` does, in another thread."""
        return await self._apart(lambda: self.similarity_search_by_vector(embedding, k, **options))

    async def amax_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **options: Any
    ) -> list[Document]:
        """Do as :meth:`max_marginal_relevance_search` does, in another thread."""
        return await self._apart(
            lambda: self.max_marginal_relevance_search(query, k, fetch_k, lambda_mult, **options)
        )

    async def amax_marginal_relevance_search_by_vector(
        self, embedding: list[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **options: Any
    ) -> list[Document]:
        """Do as :meth:`max_marginal_relevance_search_by_vector` does, in another thread."""
        return await self._apart(
            lambda: self.max_marginal_relevance_search_by_vector(
                embedding, k, fetch_k, lambda_mult, **options
            )
        )


class _Embed:
    """LangChain's embeddings as the memory takes them."""

    def __init__(self, embedding: Embeddings) -> None:
        self._embedding = embedding
        names = (getattr(embedding, name, None) for name in ("model", "model_name"))
        self.model = next((name for name in names if isinstance(name, str) and name), None)

    def __call__(self, texts: Sequence[str]) -> Any:
        return self._embedding.embed_documents(list(texts))


def _id(id: Any) -> UUID:
    if not isinstance(id, str):
        raise ValueRefused(f"the id of a document is a text, not {type(id).__name__}")
    return uuid5(IDS, storable(id))


def _portions(ids: Sequence[str]) -> list[list[UUID]]:
    if isinstance(ids, str):
        raise InvalidQuery("this takes a list of ids", hint="[id]")
    found = [_id(id) for id in ids]
    return [found[at : at + MOST_AT_ONCE] for at in range(0, len(found), MOST_AT_ONCE)]


def _document(record: Any) -> Document:
    id = str(record.id) if record.doc_id is None else record.doc_id
    return Document(id=id, page_content=record.text, metadata=record.metadata)


def _on_metadata(filter: Any) -> Any:
    """The filter with every key as one of the metadata, whatever it is called."""
    if not isinstance(filter, Mapping):
        return filter
    found: dict[Any, Any] = {}
    for key, wanted in filter.items():
        if key in JOINING:
            is_list = isinstance(wanted, (list, tuple))
            found[key] = [_on_metadata(part) for part in wanted] if is_list else _on_metadata(wanted)
        else:
            is_name = isinstance(key, str) and not key.startswith("$")
            found[f"metadata.{key}" if is_name else key] = wanted
    return found


def _refuse(options: Mapping[str, Any]) -> None:
    if options:
        raise ConfigurationError(f"unknown options: {', '.join(sorted(options))}")
