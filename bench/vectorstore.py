"""LangChain's vector store on PostgreSQL, as a contender: the same vectors in a table of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from postgres_server import Server

WHO = "langchain-postgres"


class VectorStore:
    """``PGVectorStore`` in a new table of a server; its vectors are made elsewhere."""

    def __init__(self, server: Server, table: str, width: int) -> None:
        from langchain_core.embeddings import Embeddings
        from langchain_postgres import PGEngine, PGVectorStore

        class Unused(Embeddings):
            def embed_documents(self, texts: list[str]) -> list[list[float]]:
                raise NotImplementedError

            def embed_query(self, text: str) -> list[float]:
                raise NotImplementedError

        self._server, self._table = server, table
        server.db.execute("CREATE EXTENSION IF NOT EXISTS vector")
        url = server.url.render_as_string(hide_password=False)
        engine = PGEngine.from_connection_string(url)
        engine.init_vectorstore_table(table, width)
        self._store = PGVectorStore.create_sync(engine, Unused(), table)

    def copy_from(self, vectors: str) -> None:
        """Fill the table with the vectors of another one; its own way takes minutes for many."""
        self._server.db.execute(
            f'INSERT INTO "{self._table}" (langchain_id, content, embedding, langchain_metadata) '
            f"SELECT gen_random_uuid(), 'text', embedding, '{{}}' FROM {vectors}"
        )

    def add(self, given: tuple[list[str], list[list[float]], list[dict[str, Any]]]) -> None:
        self._store.add_embeddings(*given)

    def ask(self, vector: NDArray[np.float32], count: int) -> object:
        found = self._store.similarity_search_by_vector(vector.tolist(), k=count)
        if len(found) != count:
            raise RuntimeError(f"{len(found)} found")
        return found
