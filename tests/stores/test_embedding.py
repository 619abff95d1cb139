"""What a memory makes of its embedder: when it asks, what it keeps of the answers, and for whom."""

from __future__ import annotations

from threading import Thread

import numpy as np
import pytest

import holdfast
from holdfast import memory
from holdfast.errors import ConfigurationError, EmbeddingFailed, ValueRefused
from holdfast.memory import Passage
from holdfast.memory.embed import HashingEmbedder, OpenAIEmbedder
from holdfast.memory.embed.cache import TABLE, EmbeddingCache, forget
from servers_of_embeddings import running

TEXTS = [f"passage number {number}" for number in range(10)]


class Costly:
    """An embedder that remembers what it was asked."""

    def __init__(self, model="costly", cache_size=1000, batch_size=4, dimension=64):
        self.model, self.cache_size, self.batch_size = model, cache_size, batch_size
        self.batches, self._embed = [], HashingEmbedder(dimension)

    @property
    def asked(self):
        return [text for batch in self.batches for text in batch]

    def __call__(self, texts):
        self.batches.append(list(texts))
        return self._embed(texts)


@pytest.fixture
def by_vector(db):
    """For tests that search by vector, which not every server can."""
    if db._executor.engine.vectors.kind(db._executor.run) == "BYTEA":
        pytest.skip("this server has no pgvector")


def passages(texts=TEXTS):
    return [Passage(text) for text in texts]


def test_what_was_embedded_once_is_not_again(opened):
    first, again = Costly(), Costly()
    opened(embed=first).insert_many(passages())
    assert [len(batch) for batch in first.batches] == [4, 4, 2]
    other = opened(embed=again, name="another")
    ids = other.insert_many(passages())
    assert again.asked == []
    assert np.array_equal(other.get(ids[3]).embedding, HashingEmbedder(64)([TEXTS[3]])[0])


@pytest.mark.parametrize("cache_size", [0, 1000])
def test_a_model_is_given_its_prefixes_and_no_memory_has_them(opened, by_vector, cache_size):
    embed = Costly(cache_size=cache_size)
    embed.query_prefix, embed.document_prefix = "query: ", "passage: "
    store = opened(embed=embed)
    first = store.insert(Passage("a tea room"))
    store.insert_many(passages(TEXTS[:2]))
    (hit,) = store.query("a tea room", top_k=1)
    asked = ["passage: a tea room", *(f"passage: {text}" for text in TEXTS[:2]), "query: a tea room"]
    assert embed.asked == asked
    assert (hit.record.id, hit.record.text) == (first, "a tea room")
    assert np.array_equal(hit.record.embedding, HashingEmbedder(64)(["passage: a tea room"])[0])
    # A question is no memory of the same words.
    store.query("a tea room")
    assert embed.asked == [*asked, *["query: a tea room"] * (cache_size == 0)]
    other = Costly("other", cache_size)
    other.query_prefix, other.document_prefix = "q: ", "d: "
    memory.reembed(store, other, relevant={"a tea room": [first]})
    assert sorted(other.asked) == sorted(
        ["d: a tea room", *(f"d: {text}" for text in TEXTS[:2]), "q: a tea room"]
    )


def test_a_prefix_that_is_no_text_is_refused(opened):
    embed = Costly()
    embed.document_prefix = 7
    store = opened(embed=embed)
    with pytest.raises(ConfigurationError, match="document_prefix"):
        store.insert(Passage("a tea room"))
    assert store.size() == 0


def test_another_user_or_model_learns_nothing_of_it(opened):
    opened(embed=Costly(), user_id="ada").insert_many(passages())
    eve, other = Costly(), Costly(model="other")
    opened(embed=eve, user_id="eve").insert_many(passages())
    opened(embed=other, user_id="ada", name="another").insert_many(passages())
    assert eve.asked == other.asked == TEXTS


def test_an_embedder_that_asks_for_no_cache_has_none(opened, db):
    opened(embed=HashingEmbedder()).insert_many(passages())
    opened(embed=Costly(cache_size=0), name="another").insert_many(passages())
    assert not db.table_exists(TABLE)


def test_a_query_is_embedded_once_and_writes_nothing(opened, db, by_vector):
    embed = Costly()
    store = opened(embed=embed)
    store.insert_many(passages())
    kept = db.count(TABLE)
    assert [store.query("number 3")[0].record.text for _ in range(3)] == [TEXTS[3]] * 3
    assert embed.asked[len(TEXTS) :] == ["number 3"]
    store.query(TEXTS[1])
    assert (embed.asked[-1], db.count(TABLE)) == ("number 3", kept)


def test_work_that_was_cut_off_does_not_begin_anew(opened):
    class Failing(Costly):
        def __call__(self, texts):
            if len(self.batches) == 2:
                raise EmbeddingFailed("no more")
            return super().__call__(texts)

    failing, whole = Failing(), Costly()
    store = opened(embed=failing)
    with pytest.raises(EmbeddingFailed):
        store.insert_many(passages())
    assert store.size() == 0
    opened(embed=whole).insert_many(passages())
    assert whole.asked == TEXTS[8:]


def test_the_cache_stays_in_its_bounds(opened, db):
    store = opened(embed=Costly(cache_size=6, batch_size=2))
    for text in TEXTS:
        store.insert(Passage(text))
    assert db.count(TABLE) == 6
    newest = Costly()
    opened(embed=newest, name="another").insert_many(passages())
    assert newest.asked == TEXTS[:4]


def test_the_embedder_is_asked_before_the_transaction_begins(opened, db):
    class Watching(Costly):
        def __call__(self, texts):
            assert not db._executor.in_transaction
            return super().__call__(texts)

    store = opened(embed=Watching())
    store.insert_many(passages())
    store.update(Passage("another text", id=store.get_all()[0].id))
    assert store.size() == len(TEXTS)


def test_in_a_transaction_that_is_taken_back_nothing_is_kept(opened, db):
    embed = Costly()
    store = opened(embed=embed)
    db.begin_transaction()
    store.insert_many(passages())
    db.rollback()
    assert store.size() == 0
    store.insert_many(passages())
    assert (store.size(), len(embed.asked)) == (10, 20)


def test_many_writers_share_the_cache(url, db):
    memory.open(db, name="0", embed=Costly())
    failures = []

    def write(number):
        try:
            with memory.open(url, name="0", user_id="ada", embed=Costly(batch_size=3)) as store:
                store.insert_many(passages(TEXTS[number:] + TEXTS[:number]))
        except BaseException as exc:
            failures.append(exc)

    threads = [Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert db.count(TABLE) == len(TEXTS)


def test_a_database_that_is_read_only_is_searched_all_the_same(opened, db, by_vector):
    opened(user_id="ada", embed=Costly()).insert_many(passages())
    with holdfast.connect(db.engine.url.render_as_string(hide_password=False), read_only=True) as again:
        store = memory.open(again, user_id="ada", embed=Costly())
        assert store.query("number 5")[0].record.text == TEXTS[5]
        cache = EmbeddingCache(again._executor, "ada", "costly", 10)
        cache.keep({"a new text": np.ones(3, dtype=np.float32)})
        assert cache.find(["a new text"]) == {}


def test_a_vector_that_was_cut_is_made_anew(opened, db):
    opened(embed=Costly()).insert_many(passages())
    db.update(TABLE, {"embedding": b"1234567"}, all_rows=True)
    again = Costly()
    opened(embed=again, name="another").insert_many(passages())
    assert again.asked == TEXTS


def test_a_user_is_forgotten(opened, db):
    for user in ("ada", "eve"):
        opened(embed=Costly(), user_id=user).insert_many(passages())
    assert forget(db._executor, "ada") == len(TEXTS)
    assert {row["user_id"] for row in db.select(TABLE)} == {"eve"}


def test_texts_themselves_are_not_kept(opened, db):
    opened(embed=Costly()).insert(Passage("a very private text"))
    assert "private" not in str(db.select(TABLE))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_number_of_vectors_writes_nothing(opened, db, count):
    store = opened(embed=lambda texts: HashingEmbedder()(["x"]) * count)
    with pytest.raises(ValueRefused, match=f"gave {count} vectors for 2"):
        store.insert_many(passages(TEXTS[:2]))
    assert store.size() == 0


def test_a_memory_whose_vectors_a_server_makes(opened, by_vector):
    with running() as server, OpenAIEmbedder("m", base_url=server.url, batch_size=3, retries=1) as embed:
        store = opened(embed=embed)
        store.insert_many(passages())
        assert (store.query("number 7")[0].record.text, store.dimension) == (TEXTS[7], 64)
        server.trouble = lambda handler, number: not handler.answer(500, {})
        with pytest.raises(EmbeddingFailed):
            store.insert(Passage("cannot be embedded now"))
        assert store.size() == len(TEXTS)
        # What is known is found without the server.
        assert store.query("number 7")[0].record.text == TEXTS[7]


def test_vectors_of_a_wrong_dimension_are_not_kept_and_the_next_try_is_right(opened, by_vector):
    embed = Costly()
    store = opened(embed=embed)
    store.insert(Passage("the first"))
    right, embed._embed = embed._embed, HashingEmbedder(16)
    for call in (store.insert, store.upsert, lambda passage: store.query(passage.text)):
        with pytest.raises(ValueRefused, match="numbers"):
            call(Passage("tea"))
    embed._embed = right
    assert [hit.record.text for hit in store.query("tea", top_k=1)] == ["the first"]
    store.insert(Passage("tea"))
    assert store.query("tea")[0].record.text == "tea"
    # Kept before the dimension was known: it is made again.
    EmbeddingCache(store._executor, store.user_id, "costly", 1000).keep(
        {"later": HashingEmbedder(16)(["later"])[0]}
    )
    store.insert(Passage("later"))
    other = opened(embed=Costly())
    assert other.query("later")[0].record.text == "later"


def test_an_embedder_that_gives_nothing_is_named(opened):
    store = opened(embed=lambda texts: None)
    with pytest.raises(ValueRefused, match="NoneType"):
        store.insert(Passage("tea"))
    assert store.size() == 0
