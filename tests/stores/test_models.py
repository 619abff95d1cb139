"""Vectors of several models side by side, and the way from one to another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

import holdfast
from holdfast import errors
from holdfast.memory import Message, Passage, SQLStore

Open = Callable[..., SQLStore]


class Turned:
    """An embedder that tells texts by their first letter, in as many numbers as it is told."""

    def __init__(self, model: str, width: int) -> None:
        self.model, self.width = model, width

    def __call__(self, texts: list[str]) -> list[NDArray[np.float32]]:
        return [self.of(text) for text in texts]

    def of(self, text: str) -> NDArray[np.float32]:
        found = np.full(self.width, 0.1, dtype=np.float32)
        found[ord(text[0]) % self.width] = 1.0
        return found


OLD, NEW = Turned("old", 5), Turned("new's \\ one", 7)


def embed_again(store: SQLStore, embed: Turned) -> int:
    models, count, after = store._models(), 0, 0
    while texts := models.missing(embed.model, after, limit=2):
        count += models.add(embed.model, [(text, embed.of(text.text)) for text in texts])
        after = texts[-1].n
    return count


@pytest.fixture
def needs_vectors(store: SQLStore) -> None:
    try:
        store.query(vector=[1.0])
    except errors.NotSupported:
        pytest.skip("this server has no pgvector")


def test_a_model_is_written_beside_and_then_taken(opened: Open) -> None:
    store, eve = opened(user_id="ada", embed=OLD), opened(user_id="eve", embed=OLD)
    ids = store.insert_many([Passage("apple"), Passage("bread"), Message("user", "cake")])
    eve.insert(Passage("eve's"))
    assert [(m.name, m.dimension, m.count, m.is_current) for m in store.models()] == [("old", 5, 4, True)]
    with pytest.raises(errors.InvalidQuery, match="no vectors of the model"):
        store._models().switch(NEW.model)
    assert store._models().missing("old") == []
    models = store._models()
    assert models.add(NEW.model, [(models.missing(NEW.model)[0], NEW.of("apple"))]) == 1
    with pytest.raises(errors.ConfigurationError, match="3 memories"):
        store._models().switch(NEW.model)
    assert embed_again(store, NEW) == 3
    assert embed_again(store, NEW) == 0
    assert [m.is_current for m in store.models() if m.name == "old"] == [True]
    assert store.get(ids[0]).embedding.shape == (5,)
    store._models().switch(NEW.model)
    other = opened(user_id="ada", embed=NEW)
    assert other.dimension == 7
    assert np.array_equal(other.get(ids[1]).embedding, NEW.of("bread"))
    with pytest.raises(errors.ConfigurationError, match="model"):
        store.insert(Passage("written by the old embedder"))
    other.insert(Passage("dill"))
    assert {m.name: m.count for m in other.models()} == {"old": 4, NEW.model: 5}
    with pytest.raises(errors.ConfigurationError, match="current"):
        other._models().drop(NEW.model)
    assert other._models().drop("old") == 4
    assert [m.name for m in other.models()] == [NEW.model]


@pytest.mark.usefixtures("needs_vectors")
def test_a_query_names_its_model_or_uses_the_current_one(opened: Open) -> None:
    store = opened(embed=OLD)
    store.insert_many([Passage("apple"), Passage("bread")])
    embed_again(store, NEW)
    for vector, model in ((OLD.of("b"), None), (OLD.of("b"), "old"), (NEW.of("b"), NEW.model)):
        hits = store.query(vector=vector, model=model, top_k=1)
        assert hits[0].record.text == "bread"
        assert np.array_equal(hits[0].record.embedding, vector)
    assert store.query("boat", model="old", top_k=1)[0].distance == pytest.approx(0, abs=1e-6)
    with pytest.raises(errors.InvalidQuery, match="makes vectors of 'old'"):
        store.query("bread", model=NEW.model)
    with pytest.raises(errors.InvalidQuery, match="no vectors of the model 'odl'") as caught:
        store.query("bread", model="odl")
    assert "old" in (caught.value.hint or "")
    with pytest.raises(errors.ValueRefused, match="have 7"):
        store.query(vector=OLD.of("b"), model=NEW.model)


@pytest.mark.usefixtures("needs_vectors")
def test_who_has_a_memory_open_notices_that_it_has_gone_over(url: str) -> None:
    with holdfast.memory.open(url, embed=OLD) as bound, holdfast.memory.open(url) as free:
        bound.insert_many([Passage("apple"), Passage("bread")])
        assert len(free.query(vector=OLD.of("a"))) == 2
        with holdfast.memory.open(url) as other:
            embed_again(other, NEW)
            other._models().switch(NEW.model)
            other._models().drop("old")
            assert len(other.query(vector=NEW.of("b"))) == 2
            later = holdfast.memory.open(url)
        with later:
            assert later.dimension == 7
        with pytest.raises(errors.ConfigurationError, match="gone over"):
            free.insert(Passage("cake", NEW.of("c")))
        assert free.insert(Passage("cake", NEW.of("c")))
        assert free.query(vector=NEW.of("b"), top_k=1)[0].record.text == "bread"
        with pytest.raises(errors.ConfigurationError, match="model"):
            bound.query("apple")


def test_a_vector_is_not_written_for_a_text_that_has_changed(opened: Open) -> None:
    store = opened(embed=OLD)
    ids = store.insert_many([Passage("apple"), Passage("bread"), Passage("cake")])
    models = store._models()
    texts = models.missing(NEW.model)
    store.update(replace(store.get(ids[0]), text="pear", embedding=None))
    store.delete({"text": "bread"})
    assert models.add(NEW.model, [(text, NEW.of(text.text)) for text in texts]) == 1
    assert [text.text for text in models.missing(NEW.model)] == ["pear"]
    with pytest.raises(errors.ValueRefused, match="has 5 numbers"):
        models.add(NEW.model, [(models.missing(NEW.model)[0], OLD.of("pear"))])


def test_the_past_has_no_vectors_of_another_model(opened: Open) -> None:
    store = opened(embed=OLD)
    id = store.insert(Passage("apple"))
    store.update(replace(store.get(id), text="pear", embedding=None))
    embed_again(store, NEW)
    store._models().switch(NEW.model)
    other = opened(embed=NEW)
    vectors = [change.record.embedding for change in other.history(id)]
    assert vectors[0] is None
    assert vectors[1].shape == (7,)
    undone = other.undo(id)
    assert isinstance(undone, Passage)
    assert undone.text == "apple"
    assert [text.text for text in other._models().missing(NEW.model)] in ([], ["apple"])
    assert len(other.query_text("apple")) == 1


def test_a_store_without_vectors_takes_the_first_model(opened: Open) -> None:
    opened().insert(Passage("no vector"))
    store = opened(embed=NEW)
    store.insert(Passage("apple"))
    assert [(m.name, m.is_current) for m in opened().models()] == [(NEW.model, True)]
    with pytest.raises(errors.ConfigurationError, match="of the model"):
        opened(embed=OLD)
    with pytest.raises(errors.ConfigurationError, match="7 numbers, not 3"):
        opened(dimension=3)
