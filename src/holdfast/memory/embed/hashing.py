"""Vectors of words and parts of words, by arithmetic alone: for work offline, demonstrations and tests.

Such vectors know nothing of meaning: they are near where texts share words, or forms of one word.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import log1p

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import ConfigurationError
from holdfast.memory.records import Vector

_WORD = re.compile(r"\w+")
_LONGEST = 40
_SHORTEST_PART, _LONGEST_PART = 3, 5
# The parts of a word together weigh more than it: more texts have other forms of a word than the same.
_PARTS = 2.0
_LEAST, _MOST = 16, 16_000


class HashingEmbedder:
    """Embed texts by feature hashing of their words and of the 3 to 5 letters in a row within them.

    Deterministic, on every machine. A word counts by the logarithm of how often it occurs, and less the
    shorter it is: there is no corpus here to say which words are common.

    >>> near, far = HashingEmbedder()(["the cat sleeps", "sleeping cats"]), HashingEmbedder()(["tax law"])
    >>> bool(near[0] @ near[1] > near[0] @ far[0])
    True

    Source: Weinberger, Dasgupta, Langford, Smola and Attenberg, "Feature Hashing for Large Scale Multitask
    Learning", ICML 2009; parts of words as in Bojanowski et al., "Enriching Word Vectors with Subword
    Information", TACL 2017.
    """

    cache_size = 0

    def __init__(self, dimension: int = 512) -> None:
        if not isinstance(dimension, int) or not _LEAST <= dimension <= _MOST:
            raise ConfigurationError(f"a hashing embedder has {_LEAST} to {_MOST} dimensions")
        self.dimension = dimension

    @property
    def model(self) -> str:
        """The name that its vectors are kept under."""
        return f"hashing-{self.dimension}"

    def __repr__(self) -> str:
        return f"HashingEmbedder({self.dimension})"

    def __call__(self, texts: Sequence[str]) -> list[Vector]:
        return [self._embed(text) for text in texts]

    def _embed(self, text: str) -> Vector:
        vector = np.zeros(self.dimension, dtype=np.float64)
        for word, count in Counter(_words(text)).items():
            places, weights = _features(word, self.dimension)
            # A feature of a word may meet another one in the same place: both are added.
            np.add.at(vector, places, weights * log1p(count))
        length = float(np.linalg.norm(vector))
        if length == 0:
            # What cancelled itself out still needs a direction.
            vector[_features(text, self.dimension)[0][0]] = length = 1.0
        return (vector / length).astype(np.float32)


def _words(text: str) -> Iterator[str]:
    """The words, at most 40 characters of each; of a text without any, its signs."""
    is_empty = True
    for found in _WORD.finditer(text.casefold()):
        is_empty = False
        yield found[0][:_LONGEST]
    if is_empty:
        yield text[:_LONGEST]


@lru_cache(maxsize=50_000)
def _features(word: str, dimension: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Where a word and its parts lie, and how much each of them counts."""
    weight = min(len(word), 8) / 8
    bounded = f"<{word}>"
    parts = [
        bounded[start : start + size]
        for size in range(_SHORTEST_PART, _LONGEST_PART + 1)
        for start in range(len(bounded) - size + 1)
    ]
    hashes = [_hash(feature) for feature in (f"={word}", *parts)]
    share = weight * (_PARTS / len(parts)) ** 0.5 if parts else 0.0
    weights = np.array([weight, *[share] * len(parts)])
    signs = np.array([1.0 if one & 1 else -1.0 for one in hashes])
    return np.array([(one >> 1) % dimension for one in hashes], dtype=np.intp), weights * signs


def _hash(feature: str) -> int:
    return int.from_bytes(hashlib.blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=8).digest())
