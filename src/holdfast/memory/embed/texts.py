"""Texts become vectors: each text once, in batches, from the cache where it has them, and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from holdfast.errors import ConfigurationError, ValueRefused
from holdfast.memory.records import Vector, as_vector

Embed = Callable[[Sequence[str]], Any]
"""Takes texts and gives a vector for each.

Its attributes, if it has them, say more: ``model`` names the vectors, ``batch_size`` is how many texts it is
given at once, and ``cache_size`` how many of a user's vectors are kept so as not to be made again. A model
that was trained to tell what is asked from what is found has a ``query_prefix`` and a ``document_prefix``:
texts that are put before each query and each memory.
"""
CACHE_SIZE = 100_000


class Kept(Protocol):
    """Vectors that were made before."""

    def find(self, texts: Sequence[str]) -> dict[str, Vector]: ...
    def keep(self, made: dict[str, Vector]) -> None: ...


def as_queries(embed: Embed, texts: Sequence[str]) -> list[str]:
    """What an embedder is given for texts that are asked for."""
    return _after(embed, "query_prefix", texts)


def as_documents(embed: Embed, texts: Sequence[str]) -> list[str]:
    """What an embedder is given for texts that are to be found."""
    return _after(embed, "document_prefix", texts)


def _after(embed: Embed, name: str, texts: Sequence[str]) -> list[str]:
    prefix = getattr(embed, name, None) or ""
    if not isinstance(prefix, str):
        raise ConfigurationError(f"the {name} of an embedder is a text, not {type(prefix).__name__}")
    return [prefix + text for text in texts]


def vectors_of(
    embed: Embed, texts: Sequence[str], kept: Kept | None = None, dimension: int | None = None
) -> list[Vector]:
    """What an embedder makes of texts; what ``kept`` has is not made again.

    Each batch is kept as it comes, so that work which is cut off does not begin anew. Where the ``dimension``
    is known, a vector of another one is neither taken from there nor kept.

    Raises:
        ValueRefused: if there are more or fewer vectors than texts, or one is none.
    """
    wanted = list(dict.fromkeys(texts))
    found = kept.find(wanted) if kept is not None else {}
    if dimension is not None:
        found = {text: vector for text, vector in found.items() if len(vector) == dimension}
    for some in _batches([text for text in wanted if text not in found], embed):
        made = dict(zip(some, _made(embed, some), strict=True))
        is_right = dimension is None or all(len(vector) == dimension for vector in made.values())
        if kept is not None and is_right:
            kept.keep(made)
        found.update(made)
    return [found[text] for text in texts]


def _batches(texts: list[str], embed: Embed) -> Iterator[list[str]]:
    size = int(getattr(embed, "batch_size", 0) or len(texts) or 1)
    for start in range(0, len(texts), size):
        yield texts[start : start + size]


def _made(embed: Embed, texts: list[str]) -> list[Vector]:
    answer = embed(texts)
    if not isinstance(answer, Iterable):
        raise ValueRefused(f"the embedder gave no vectors, but {type(answer).__name__}")
    found = list(answer)
    if len(found) != len(texts):
        raise ValueRefused(f"the embedder gave {len(found)} vectors for {len(texts)} texts")
    return [as_vector(vector) for vector in found]
