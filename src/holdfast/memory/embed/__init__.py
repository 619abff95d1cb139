"""Embedders: what makes vectors of texts. Any function of texts is one; these know models and servers.

>>> from holdfast.memory.embed import HashingEmbedder
>>> len(HashingEmbedder(256)(["tea, no sugar"])[0])
256
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.errors import ConfigurationError
from holdfast.memory.embed.endpoints import OllamaEmbedder, OpenAIEmbedder
from holdfast.memory.embed.hashing import HashingEmbedder
from holdfast.memory.embed.local import SentenceTransformerEmbedder
from holdfast.memory.embed.texts import Embed

__all__ = ["HashingEmbedder", "OllamaEmbedder", "OpenAIEmbedder", "SentenceTransformerEmbedder", "named"]

_OF_MODELS: dict[str, Callable[[str], Embed]] = {
    "sentence-transformers": SentenceTransformerEmbedder,
    "openai": OpenAIEmbedder,
    "ollama": OllamaEmbedder,
}


def named(text: str) -> Embed:
    """The embedder that a text names, as on the command line.

    ``hashing``, ``hashing:DIMENSION``, ``sentence-transformers:MODEL``, ``openai:MODEL`` or ``ollama:MODEL``.

    >>> named("hashing:256").model
    'hashing-256'

    Raises:
        ConfigurationError: if it names none.
    """
    kind, _, model = text.partition(":")
    if kind == "hashing" and (model.isdecimal() or not model):
        return HashingEmbedder(int(model)) if model else HashingEmbedder()
    if kind in _OF_MODELS and model:
        return _OF_MODELS[kind](model)
    raise ConfigurationError(
        f"no embedder is called {text[:80]!r}",
        hint="hashing, sentence-transformers:MODEL, openai:MODEL or ollama:MODEL",
    )
