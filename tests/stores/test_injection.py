"""Hostile texts in every place of a memory that takes a text: they are texts, and nothing else happens."""

from __future__ import annotations

import ast
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from engines.test_injection import HOSTILE
from holdfast import Database
from holdfast.errors import Error, NotSupported
from holdfast.memory import LanceDBConnector, Passage, SQLStore

Open = Callable[..., SQLStore]
VECTOR = [1.0, 0.0, 0.0]


def index(store: SQLStore, key: str) -> None:
    """An index of a key, which not every key can have everywhere, and what is found by it."""
    text = key.removeprefix("metadata.")
    with suppress(NotSupported):
        store.index_metadata(key)
    assert len(store.get_all({key: text})) == 1
    assert len(store.get_all({key: {"$gte": text}})) == 1
    store.drop_metadata_index(key)


AS_TEXTS: dict[str, Callable[[SQLStore, str], Any]] = {
    "query": lambda store, x: store.query(x, VECTOR),
    "query by text": lambda store, x: store.query(x),
    "query_text": lambda store, x: store.query_text(x),
    "filters": lambda store, x: store.get_all({"data_source": x}),
    "metadata": lambda store, x: store.size({x: x}),
    "delete by metadata": lambda store, x: store.delete({x: x + "none"}),
    "query_date": lambda store, x: store.query_date(filters={"doc_id": x}),
    "pages": lambda store, x: list(store.get_all_paginated({"doc_id": x})),
    "as_of": lambda store, x: store.as_of(datetime.now(UTC), {"doc_id": x}),
    "index_metadata": lambda store, x: index(store, f"metadata.{x}"),
    "page": lambda store, x: store.page(filters={"doc_id": x}),
    "delete": lambda store, x: store.delete({"doc_id": x + "none"}),
}
AS_NAMES: dict[str, Callable[[SQLStore, str], Any]] = {
    "get": lambda store, x: store.get(x),
    "history": lambda store, x: store.history(x),
    "undo": lambda store, x: store.undo(x),
    "operator": lambda store, x: store.get_all({"doc_id": {x: "a"}}),
    "cursor": lambda store, x: store.page(after=x),
    "mode": lambda store, x: store.query("a", VECTOR, mode=x),
    "model": lambda store, x: store.query("a", VECTOR, model=x),
    "index of a field": lambda store, x: store.index_metadata(x if x.startswith("$") else "text"),
    "drop_vector_index": lambda store, x: store.drop_vector_index(x),
    "create_vector_index": lambda store, x: store.create_vector_index(x),
    "erase": lambda store, x: store.erase(x),
}
WITHOUT_TEXT = {"close", "save", "sweep", "models", "advise_index", "delete_table", "cache_info"}
CANARY = [{"id": 1, "v": "alive"}]


@pytest.fixture
def canary(db: Database) -> Database:
    db.create_table("canary", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"})
    db.insert("canary", CANARY[0])
    return db


@pytest.fixture
def has_vectors(store: SQLStore, canary: Database) -> list[float] | None:
    """A server without pgvector finds nothing by them."""
    store.insert(Passage("the first", VECTOR))
    try:
        store.query(vector=VECTOR)
    except NotSupported:
        return None
    return VECTOR


def passage(text: str, vector: list[float] | None) -> Passage:
    return Passage(text, vector, data_source=text, doc_id=text, metadata={text: text, "list": [text]})


def test_a_hostile_text_is_a_text(store: SQLStore, canary: Database, has_vectors: list[float] | None) -> None:
    for text in HOSTILE:
        record = passage(text, has_vectors)
        assert store.insert(record) == record.id
        found = store.get(record.id)
        assert isinstance(found, Passage)
        assert (found.text, found.doc_id, found.metadata) == (text, text, record.metadata)
        assert [each.id for each in store.get_all({"doc_id": text})] == [record.id]
        for place, call in AS_TEXTS.items():
            if (has_vectors or place != "query") and not (text.startswith("$") and "metadata" in place):
                call(store, text)
        store.upsert(record)
        store.update(record)
        assert store.delete({"doc_id": text}) == 1
        assert canary.select("canary") == CANARY, text
    store.insert_many([passage(text, has_vectors) for text in HOSTILE])
    assert store.size() == len(HOSTILE) + 1
    assert set(HOSTILE) <= set(store.list_data_sources())
    assert store.list_loaded_data() == ["memory"]


def test_a_hostile_name_is_refused(
    store: SQLStore, canary: Database, has_vectors: list[float] | None
) -> None:
    for text in HOSTILE:
        for place, call in AS_NAMES.items():
            with pytest.raises((Error, ValueError, TypeError)):
                pytest.fail(f"{place} took {text!r}: {call(store, text)!r}")
            assert canary.select("canary") == CANARY, (place, text)
    assert store.size() == 1


def test_hostile_names_of_memories_and_users(opened: Open, canary: Database) -> None:
    for text in HOSTILE:
        try:
            mine = opened(name=text[:40], user_id=text, agent_id=text)
        except Error:
            continue
        mine.insert(Passage("mine"))
        assert [each.text for each in mine.get_all()] == ["mine"]  # type: ignore[union-attr]
        assert opened(name=text[:40], user_id="another").size() == 0
        assert canary.select("canary") == CANARY, text


def test_every_public_verb_is_tried() -> None:
    tree = ast.parse(Path(__file__).read_text(encoding="utf-8"))
    tried = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "store"
    }
    classes = {*SQLStore.__mro__, *LanceDBConnector.__mro__} - {object}
    found = [vars(each).items() for each in classes]
    verbs = {name for pairs in found for name, value in pairs if not name.startswith("_") and callable(value)}
    assert verbs - tried - WITHOUT_TEXT == set()
