"""Hostile texts through LangGraph's and LangChain's faces: they are texts, and nothing else happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from langchain_core.documents import Document
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.store.base import InvalidNamespaceError

import holdfast
from engines.test_injection import HOSTILE
from holdfast import Database
from holdfast.errors import Error
from holdfast.memory.langchain import HoldfastVectorStore
from holdfast.memory.langgraph import HoldfastSaver, HoldfastStore
from outside.test_langchain import Letters

CANARY = [{"id": 1, "v": "alive"}]


@pytest.fixture
def canary(db: Database) -> Callable[[object], None]:
    """What must be there after every call, and nothing more than what the faces make."""
    db.create_table("canary", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"})
    db.insert("canary", CANARY[0])

    def check(where: object) -> None:
        assert db.select("canary") == CANARY, where

    return check


def named(text: str) -> Any:
    return {"configurable": {"thread_id": text, "checkpoint_ns": text}}


def test_a_checkpointer(db: Database, canary: Callable[[object], None]) -> None:
    saver = HoldfastSaver(db)
    for text in HOSTILE:
        checkpoint: Any = {
            **empty_checkpoint(),
            "id": str(uuid6()),
            "channel_values": {text: text},
            "channel_versions": {text: 1},
        }
        metadata: Any = {"source": "loop", "step": 0, text: text}
        config = saver.put(named(text), checkpoint, metadata, {text: 1})
        saver.put_writes(config, [(text, text)], text, text)
        found = saver.get_tuple(named(text))
        assert found is not None
        assert found.checkpoint["channel_values"] == {text: text}
        assert found.pending_writes == [(text, text, text)]
        assert [each.config for each in saver.list(named(text), filter={text: text})] == [config]
        assert list(saver.list(named(text), filter={text: "another"})) == []
        canary(text)
    for text in HOSTILE:
        saver.delete_thread(text)
        assert saver.get_tuple(named(text)) is None
        canary(text)


def test_a_store(db: Database, canary: Callable[[object], None]) -> None:
    index: Any = {"dims": 5, "embed": Letters().embed_documents, "fields": ["text"]}
    stores = [HoldfastStore(db)]
    with suppress(Error):
        # A server without pgvector finds nothing by meaning.
        stores.append(HoldfastStore(db, index=index))
    for store in stores:
        for text in HOSTILE:
            with suppress(InvalidNamespaceError):
                store.put(("users", text), "k", {"v": text})
                assert store.list_namespaces(prefix=("users", text)) == [("users", text)]
            store.put(("users",), text, {"text": text, text: text})
            item = store.get(("users",), text)
            assert item is not None
            assert item.value == {"text": text, text: text}
            for given in ({"v": text}, {"v": {"$ne": text}}, {text: text}, {"v": {text: 1}}):
                with suppress(Error, ValueError):
                    store.search(("users",), filter=given)
            with suppress(Error):
                store.search(("users",), query=text)
            store.delete(("users",), text)
            assert store.get(("users",), text) is None
            canary(text)


@pytest.fixture
def documents(url: str) -> Iterator[HoldfastVectorStore]:
    with HoldfastVectorStore(Letters(), url) as store:
        yield store


def test_documents(
    documents: HoldfastVectorStore, canary: Callable[[object], None], engine_name: str
) -> None:
    if engine_name == "debian":
        pytest.skip("needs pgvector")
    for text in HOSTILE:
        assert documents.add_texts([text], [{text: text}], ids=[text]) == [text]
        whole = Document(id=text, page_content=text, metadata={text: text})
        assert documents.get_by_ids([text]) == [whole]
        for given in ({"v": text}, {text: text}, {"v": {text: 1}}):
            with suppress(Error, ValueError):
                documents.similarity_search(text, k=2, filter=given)
        canary(text)
    assert documents.delete(HOSTILE)
    assert documents.get_by_ids(HOSTILE) == []


def test_names_of_what_the_faces_keep(url: str, canary: Callable[[object], None]) -> None:
    for text in HOSTILE[::3]:
        with suppress(Error), HoldfastVectorStore(Letters(), url, name=text) as store:
            store.get_by_ids(["a"])
        with holdfast.connect(url) as other:
            assert other.exists("canary", {"v": "alive"})
        canary(text)
