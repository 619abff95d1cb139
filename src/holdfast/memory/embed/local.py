"""Models of sentence-transformers, in this process."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from holdfast.errors import ConfigurationError, MissingDependency
from holdfast.memory.embed.texts import CACHE_SIZE


class SentenceTransformerEmbedder:
    """Embed texts with a model of sentence-transformers, which is loaded for the first text.

    ``model`` is the model's name, the path of its folder, or a ``SentenceTransformer``; ``name`` is what its
    vectors are kept under, by default the model's own. ``options`` go to ``SentenceTransformer``, such as
    ``device="cpu"``. Models like E5 want ``query_prefix="query: "`` and ``document_prefix="passage: "``.

    Raises:
        MissingDependency: if the package is not installed.
    """

    def __init__(
        self,
        model: Any,
        *,
        name: str | None = None,
        batch_size: int = 32,
        cache_size: int = CACHE_SIZE,
        query_prefix: str = "",
        document_prefix: str = "",
        **options: Any,
    ) -> None:
        self._loaded = None if isinstance(model, str) else model
        self._source, self._options = model, options
        self.model = name or (model if isinstance(model, str) else _own_name(model))
        self.batch_size, self.cache_size = batch_size, cache_size
        self.query_prefix, self.document_prefix = query_prefix, document_prefix
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"SentenceTransformerEmbedder({self.model!r})"

    def __call__(self, texts: Sequence[str]) -> Any:
        model = self._load()
        return model.encode(
            list(texts), batch_size=self.batch_size, show_progress_bar=False, convert_to_numpy=True
        )

    def _load(self) -> Any:
        with self._lock:
            if self._loaded is None:
                try:
                    from sentence_transformers import SentenceTransformer
                except ImportError as exc:
                    raise MissingDependency("sentence-transformers", "sentence-transformers") from exc
                self._loaded = SentenceTransformer(self._source, **self._options)
            return self._loaded


def _own_name(model: Any) -> str:
    found = getattr(getattr(model, "model_card_data", None), "base_model", None)
    if not isinstance(found, str) or not found:
        raise ConfigurationError(
            "this model does not say its name", hint="give name=, to keep its vectors under"
        )
    return found
