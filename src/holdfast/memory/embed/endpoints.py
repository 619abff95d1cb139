"""Models behind HTTP: servers that speak as OpenAI's does, and Ollama."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Self

from holdfast.errors import EmbeddingFailed
from holdfast.memory.embed.client import Client
from holdfast.memory.embed.texts import CACHE_SIZE

OPENAI = "https://api.openai.com/v1"
OLLAMA = "http://127.0.0.1:11434"


class _Endpoint:
    """What the two have in common: batches, and answers that are counted."""

    def __init__(
        self,
        client: Client,
        model: str,
        dimensions: int | None,
        *,
        batch_size: int,
        cache_size: int,
        prefixes: tuple[str, str],
    ) -> None:
        self._client, self._name, self._dimensions = client, model, dimensions
        self.model = model if dimensions is None else f"{model}-{dimensions}"
        self.batch_size, self.cache_size = batch_size, cache_size
        self.query_prefix, self.document_prefix = prefixes

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.model!r} at {self._client.place}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        self._client.close()

    def __call__(self, texts: Sequence[str]) -> list[Any]:
        vectors: list[Any] = []
        for start in range(0, len(texts), self.batch_size):
            some = list(texts[start : start + self.batch_size])
            body: dict[str, Any] = {"model": self._name, "input": some, **self._options()}
            if self._dimensions is not None:
                body["dimensions"] = self._dimensions
            vectors += self._vectors(self._client.post(body), len(some))
        return vectors

    def _options(self) -> dict[str, Any]:
        return {}

    def _vectors(self, answer: Any, count: int) -> list[Any]:
        raise NotImplementedError

    def _wrong(self, what: str) -> EmbeddingFailed:
        return EmbeddingFailed(f"{self._client.place} answered {what}", hint="check base_url and the model")


class OpenAIEmbedder(_Endpoint):
    """Embed texts with a model of OpenAI, or of a server that has its ``/embeddings``.

    ``base_url`` is what comes before ``/embeddings``. Left out, it is ``OPENAI_BASE_URL`` or OpenAI's own,
    and then the key is ``OPENAI_API_KEY``; the environment's key never goes to a ``base_url`` that was given.
    A request has up to ``batch_size`` texts and ``timeout`` seconds; one that was refused for now, or failed
    on the way, is made again up to ``retries`` times. ``dimensions`` asks for shorter vectors. The prefixes
    are put before each query and each text that is to be found, for models that want that.

    Raises:
        EmbeddingFailed: when called, if the server does not answer as it should; neither the key nor a text
            is shown.
        MissingDependency: when called, if httpx is not installed.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        dimensions: int | None = None,
        batch_size: int = 128,
        timeout: float = 60.0,
        retries: int = 5,
        cache_size: int = CACHE_SIZE,
        query_prefix: str = "",
        document_prefix: str = "",
    ) -> None:
        if base_url is None:
            base_url = os.environ.get("OPENAI_BASE_URL") or OPENAI
            api_key = api_key or os.environ.get("OPENAI_API_KEY")
        client = Client(f"{base_url.rstrip('/')}/embeddings", api_key, timeout=timeout, retries=retries)
        super().__init__(
            client,
            model,
            dimensions,
            batch_size=batch_size,
            cache_size=cache_size,
            prefixes=(query_prefix, document_prefix),
        )

    def _options(self) -> dict[str, Any]:
        return {"encoding_format": "float"}

    def _vectors(self, answer: Any, count: int) -> list[Any]:
        try:
            found = {item["index"]: item["embedding"] for item in answer["data"]}
        except (KeyError, TypeError) as exc:
            raise self._wrong("with JSON that has no embeddings") from exc
        if found.keys() != set(range(count)) or len(answer["data"]) != count:
            raise self._wrong(f"with {len(answer['data'])} embeddings for {count} texts")
        return [found[index] for index in range(count)]


class OllamaEmbedder(_Endpoint):
    """Embed texts with a model of Ollama, by its ``/api/embed``.

    ``base_url`` is by default ``OLLAMA_HOST`` or this machine's port 11434. A text that is too long for the
    model is refused rather than cut. The rest is as for :class:`OpenAIEmbedder`.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        dimensions: int | None = None,
        batch_size: int = 32,
        timeout: float = 120.0,
        retries: int = 5,
        cache_size: int = CACHE_SIZE,
        query_prefix: str = "",
        document_prefix: str = "",
    ) -> None:
        base_url = base_url or os.environ.get("OLLAMA_HOST") or OLLAMA
        if "://" not in base_url:
            base_url = f"http://{base_url}"
        client = Client(f"{base_url.rstrip('/')}/api/embed", None, timeout=timeout, retries=retries)
        super().__init__(
            client,
            model,
            dimensions,
            batch_size=batch_size,
            cache_size=cache_size,
            prefixes=(query_prefix, document_prefix),
        )

    def _options(self) -> dict[str, Any]:
        return {"truncate": False}

    def _vectors(self, answer: Any, count: int) -> list[Any]:
        found = answer.get("embeddings") if isinstance(answer, dict) else None
        if not isinstance(found, list):
            raise self._wrong("with JSON that has no embeddings")
        if len(found) != count:
            raise self._wrong(f"with {len(found)} embeddings for {count} texts")
        return found
