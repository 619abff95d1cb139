"""LangChain's own integration suite of vector stores, on every backend, and what it does not ask."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import VectorStoreIntegrationTests

import holdfast
import servers
from holdfast.errors import ConfigurationError, InvalidQuery, ValueRefused
from holdfast.memory.langchain import HoldfastVectorStore

BACKENDS = ("sqlite", "embedded", "lancedb")


@pytest.fixture(params=BACKENDS)
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty place."""
    if request.param != "embedded":
        yield f"{request.param}:///{tmp_path}/{'db.sqlite' if request.param == 'sqlite' else 'folder'}"
        return
    try:
        server = servers.embedded_server()
    except LookupError as exc:
        pytest.skip(f"no embedded here: {exc}")
    server.create_database("langchain")
    yield server.url("langchain")
    server.drop_database("langchain")


class TestLangChainsOwnSuite(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, where: str) -> Iterator[VectorStore]:  # type: ignore[override]
        with HoldfastVectorStore(self.get_embeddings(), where) as store:
            yield store


def test_langchains_own_suite_is_here() -> None:
    mine = [name for name in dir(TestLangChainsOwnSuite) if name.startswith("test_")]
    assert len(mine) >= 24


class Letters(Embeddings):
    model = "letters"

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[text.count(letter) + 0.1 for letter in "aeiou"] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


@pytest.fixture
def store(where: str) -> Iterator[HoldfastVectorStore]:
    with HoldfastVectorStore(Letters(), where) as store:
        yield store


def test_any_text_is_an_id_and_metadata_come_back_exactly(store: HoldfastVectorStore) -> None:
    ids = ["", " ", "x'; DROP TABLE t;--", "🦊", "3f0c8b1e-0000-4000-8000-000000000000", "é" * 2000]
    metadata: Any = {"id": 1, "text": "x", "deep": {"a": [1.5, None, True]}, "metadata.a": 2}
    assert store.add_texts(["same text"] * len(ids), [metadata] * len(ids), ids=ids) == ids
    found = store.get_by_ids([*ids, "missing", ids[0]])
    assert found == [Document(id=id, page_content="same text", metadata=metadata) for id in ids]
    assert store.delete(ids[:2])
    assert [each.id for each in store.get_by_ids(ids)] == ids[2:]


def test_filters_are_about_the_metadata_whatever_its_keys_are_called(store: HoldfastVectorStore) -> None:
    documents = [
        Document(str(n), metadata={"id": n, "kind": "even" if n % 2 == 0 else "odd"}) for n in range(9)
    ]
    store.add_documents(documents)

    def found(filter: Any) -> list[int]:
        return sorted(each.metadata["id"] for each in store.similarity_search("a", k=20, filter=filter))

    assert found({"id": 3}) == [3]
    assert found({"id": {"$gte": 7}, "kind": "odd"}) == [7]
    assert found({"$or": [{"id": 1}, {"$not": {"kind": "odd"}}]}) == [0, 1, 2, 4, 6, 8]
    with pytest.raises(InvalidQuery):
        found({"id": {"$gtt": 1}})
    with pytest.raises(InvalidQuery):
        found(lambda document: True)


def test_scores_are_cosine_distances_and_relevance_is_from_0_to_1(store: HoldfastVectorStore) -> None:
    store.add_texts(["aaa", "aab", "iii"], ids=["a", "b", "i"])
    scored = store.similarity_search_with_score("a", k=3)
    assert [document.id for document, _ in scored] == ["b", "a", "i"] or scored[0][0].id == "a"
    assert [score for _, score in scored] == sorted(score for _, score in scored)
    relevant = store.similarity_search_with_relevance_scores("aaa", k=3, score_threshold=0.5)
    assert [document.id for document, _ in relevant] == ["a", "b"]
    assert relevant[0][1] == pytest.approx(1)
    assert [each.id for each in store.similarity_search_by_vector(Letters().embed_query("i"), k=1)] == ["i"]


def test_marginal_relevance_takes_what_differs(store: HoldfastVectorStore) -> None:
    store.add_texts(["aaaa", "aaaaa", "aaei"], ids=["a", "a again", "other"])
    found = store.max_marginal_relevance_search("aaaa", k=2, lambda_mult=0.1)
    assert [each.id for each in found] == ["a", "other"]
    assert len(asyncio.run(store.amax_marginal_relevance_search("aaaa", k=2))) == 2


def test_a_retriever_and_words(store: HoldfastVectorStore) -> None:
    store.add_texts(["the train leaves", "tea for ada"], ids=["train", "tea"])
    retriever = store.as_retriever(search_type="similarity", search_kwargs={"k": 1, "mode": "hybrid"})
    assert [each.id for each in retriever.invoke("train")] == ["train"]
    assert [each.id for each in asyncio.run(retriever.ainvoke("train"))] == ["train"]
    assert [each.id for each in store.similarity_search("tea", mode="text")] == ["tea"]


def test_from_texts_opens_and_adds(where: str) -> None:
    with HoldfastVectorStore.from_texts(
        ["one", "two"], Letters(), [{"n": 1}, {"n": 2}], ids=["1", "2"], url_or_database=where, name="mine"
    ) as store:
        assert [each.metadata["n"] for each in store.get_by_ids(["2", "1"])] == [2, 1]
    with HoldfastVectorStore(Letters(), where) as other:
        assert other.get_by_ids(["1"]) == []
    with pytest.raises(ConfigurationError):
        HoldfastVectorStore.from_texts(["one"], Letters())
    with pytest.raises(ConfigurationError):
        HoldfastVectorStore(DeterministicFakeEmbedding(size=6), where, name="mine").add_texts(["one"])


def test_what_cannot_be_kept_is_refused_whole(store: HoldfastVectorStore) -> None:
    good = {"ids": ["good", "bad"], "metadatas": [{}, {}]}
    for texts, given in (
        (["a", ""], good),
        (["a", "nul\0"], good),
        (["a", "b"], {**good, "metadatas": [{}, {"t": (1, 2)}]}),
        (["a", "b"], {**good, "ids": ["good", 2]}),
        (["a", "b"], {**good, "ids": ["good", "\0"]}),
        (["a", "b"], {**good, "ids": ["good"]}),
        (["a", "b"], {**good, "metadatas": [{}]}),
    ):
        with pytest.raises(ValueRefused):
            store.add_texts(texts, **given)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError):
        store.similarity_search("a", fliter={})
    assert store.get_by_ids(["good"]) == []
    assert store.similarity_search("a", k=0) == []


def test_it_takes_part_in_the_transaction_of_the_thread(tmp_path: Path) -> None:
    with holdfast.connect(tmp_path / "a.db") as db:
        store = HoldfastVectorStore(Letters(), db)

        def all_of_it() -> None:
            with db.transaction():
                store.add_texts(["a"], ids=["1"])
                raise KeyError

        with pytest.raises(KeyError):
            all_of_it()
        assert store.get_by_ids(["1"]) == []
