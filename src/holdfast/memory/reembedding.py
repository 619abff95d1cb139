"""A store goes over to another model: its vectors are made beside the old ones, compared, and then taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from holdfast.core.progress import track
from holdfast.core.transaction import Transaction
from holdfast.errors import ConfigurationError, InvalidQuery, NotSupported
from holdfast.memory.embed.texts import Embed, as_documents, as_queries, vectors_of
from holdfast.memory.embedding import Embedding
from holdfast.memory.measuring import sampled, vector_by
from holdfast.memory.models import Text
from holdfast.memory.records import as_id
from holdfast.memory.sql_store import SQLStore

_AT_ONCE = 256
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Reembedded:
    """What became of a change of model.

    ``overlap`` is the share of the ``k`` nearest by the old model that the new one finds too, over
    ``queries`` queries; ``old_recall`` and ``new_recall`` are the shares of what was said to be relevant
    that each finds among ``k``. They are ``None`` where they could not be measured.
    """

    old: str | None
    new: str
    written: int
    k: int
    queries: int
    overlap: float | None
    old_recall: float | None
    new_recall: float | None
    is_switched: bool
    dropped: int

    def __str__(self) -> str:
        parts = [f"{self.written} vectors of {self.new!r} written"]
        if self.overlap is not None:
            parts.append(f"overlap@{self.k} with {self.old!r} {self.overlap:.3f} over {self.queries} queries")
        for name, value in (("old", self.old_recall), ("new", self.new_recall)):
            if value is not None:
                parts.append(f"{name} recall@{self.k} {value:.3f}")
        parts.append(f"{self.new!r} is in use" if self.is_switched else f"{self.old!r} stays in use")
        if self.dropped:
            parts.append(f"{self.dropped} old vectors removed")
        return "; ".join(parts)


def reembed(
    store: SQLStore,
    embed: Embed,
    *,
    relevant: Mapping[str, Sequence[UUID | str]] | None = None,
    k: int = 10,
    queries: int = 100,
    least: float = 0.0,
    switch: bool = True,
    drop_old: bool = False,
    progress: bool | None = None,
) -> Reembedded:
    """Make vectors of every memory in the store by another embedder, compare, and go over to them.

    The old vectors serve until then; whoever writes meanwhile writes those, and gets new ones too before the
    switch, which is one transaction. A call that was cut off goes on where it was. The comparison takes
    ``queries`` memories of this user as queries; ``relevant`` gives texts of queries and the ids that each
    should find instead, of which the old model's recall is measured if the store has its embedder. Where the
    overlap, or with ``relevant`` the new recall, is below ``least``, or with ``switch=False``, the old model
    stays in use. ``drop_old`` removes the old vectors after the switch.

    It concerns all users of the store. ``store`` goes on with the new embedder if it had one; others that
    were opened with the old one say that it has gone over. With the embedder of the current model it makes
    what is missing.

    >>> import holdfast.memory
    >>> from holdfast.memory.embed import HashingEmbedder
    >>> with holdfast.memory.open("agent.db", embed=HashingEmbedder(64)) as memory:
    ...     id = memory.insert(holdfast.memory.Passage("Ada drinks tea"))
    ...     print(holdfast.memory.reembed(memory, HashingEmbedder(512)))
    1 vectors of 'hashing-512' written; 'hashing-512' is in use

    Raises:
        ConfigurationError: if the embedder has no ``model``.
        InvalidQuery: for an id that is none, or a share that is none.
    """
    if not 0 <= least <= 1 or k < 1 or queries < 1:
        raise InvalidQuery("least is from 0 to 1, k and queries are at least 1")
    new = getattr(embed, "model", None)
    if not isinstance(new, str) or not new:
        raise ConfigurationError("the embedder does not say its model", hint="embed.model = 'its name'")
    wanted = {text: {as_id(id) for id in ids} for text, ids in (relevant or {}).items()}
    old = next((model.name for model in store.models() if model.is_current), None)
    written = _write(store, embed, new, progress)
    overlap = old_recall = new_recall = None
    count = 0
    if wanted:
        count, new_recall = len(wanted), _recall(store, embed, new, wanted, k)
        own = store._embedding.embed
        if own is not None and old not in (None, new):
            old_recall = _recall(store, own, old, wanted, k)
    elif old not in (None, new):
        count, overlap = _overlap(store, str(old), new, k, queries)
    judged = new_recall if wanted else overlap
    is_good = judged is None or judged >= least
    if switch and is_good and old not in (None, new):
        written += _switch(store, embed, new, progress)
        if store._embedding.embed is not None:
            store._embedding = Embedding(embed, None)
            store._embedding.keep_in(store._executor, store.user_id)
        dropped = store._models().drop(str(old)) if drop_old else 0
    else:
        dropped = 0
    # What is known of the store may be from before it had a model.
    store._executor.forget()
    is_switched = any(model.name == new and model.is_current for model in store.models())
    return Reembedded(old, new, written, k, count, overlap, old_recall, new_recall, is_switched, dropped)


def _write(store: SQLStore, embed: Embed, model: str, progress: bool | None) -> int:
    """Make the vectors that are missing, a batch at a time, each kept at once."""
    models, written = store._models(), 0
    with track(f"embed {store.name}", show=progress) as advance:
        for texts in _missing(store, model, int(getattr(embed, "batch_size", 0) or _AT_ONCE)):
            vectors = vectors_of(embed, as_documents(embed, [text.text for text in texts]))
            written += models.add(model, list(zip(texts, vectors, strict=True)))
            if advance is not None:
                advance(len(texts))
    return written


def _missing(store: SQLStore, model: str, count: int) -> Iterator[list[Text]]:
    after = 0
    while texts := store._models().missing(model, after, count):
        yield texts
        after = texts[-1].n


def _switch(store: SQLStore, embed: Embed, model: str, progress: bool | None) -> int:
    """Take the new model, with what was written meanwhile; how many vectors that were."""
    written, executor = 0, store._executor
    # What has expired gets no vector any more.
    store.sweep()
    for _ in range(_TRIES):
        try:
            store._models().switch(model)
            return written
        except ConfigurationError:
            written += _write(store, embed, model, progress)
    # Somebody writes all the time, and waits for the few that are left.
    with Transaction(executor):
        executor.engine.alter.hold(executor.run, store._shape().layout.table)
        written += _write(store, embed, model, progress)
        store._models().switch(model)
    return written


def _overlap(store: SQLStore, old: str, new: str, k: int, queries: int) -> tuple[int, float | None]:
    """The mean share of the nearest by the old model that the new one finds; none finds itself."""
    shares = []
    try:
        for id, vector in sampled(store, old, queries):
            anew, was = vector_by(store, id, new), _nearest(store, vector, old, k, id)
            if anew is not None and was:
                now = _nearest(store, anew, new, k, id)
                shares.append(len(was & now) / len(was))
    except NotSupported:
        return 0, None
    return len(shares), sum(shares) / len(shares) if shares else None


def _recall(
    store: SQLStore, embed: Embed, model: str | None, wanted: Mapping[str, set[UUID]], k: int
) -> float | None:
    """The mean share of what is relevant that is among the ``k`` nearest."""
    shares = []
    try:
        for text, vector in zip(wanted, vectors_of(embed, as_queries(embed, list(wanted))), strict=True):
            if ids := wanted[text]:
                found = _nearest(store, vector, model, k, None)
                shares.append(len(found & ids) / len(ids))
    except NotSupported:
        return None
    return sum(shares) / len(shares) if shares else None


def _nearest(store: SQLStore, vector: Any, model: str | None, k: int, but: UUID | None) -> set[UUID]:
    hits = store.query(vector=vector, top_k=k + (but is not None), model=model)
    return set([hit.record.id for hit in hits if hit.record.id != but][:k])
