"""LangGraph's store does what its own InMemoryStore does: the same operations, the same answers.

Where that one is at odds with itself the comparison steps aside: it still lists namespaces that hold nothing,
keeps the vectors of an item that is put again without them, takes true for 1, raises for `$gt` where a value
is missing, and has the items of several namespaces by the age of their namespaces.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langgraph.store.base import SearchItem
from langgraph.store.memory import InMemoryStore

import holdfast
from holdfast.memory.langgraph import HoldfastStore
from holdfast.memory.langgraph.tables import ITEMS

EVERYTHING = 10_000
NAMESPACES = [
    ("a",),
    ("a", "b"),
    ("a", "b", "c"),
    ("a/", "b"),
    ("a-b",),
    ("a%", "b"),
    ("A", "_"),
    ("é", "*", "\\"),
]
PREFIXES = [(), ("a",), ("a", "b"), ("a%",), ("_",), ("é",), ("a", "b", "c", "d")]
labels = st.sampled_from(["a", "b", "c", "a%", "A", "_", "\\"])
namespaces = st.sampled_from(NAMESPACES)
prefixes = st.sampled_from(PREFIXES)
keys = st.sampled_from(["k", "K", "x.y", ""])
numbers = st.sampled_from([0, 1, 2, 0.5, -1.25, 1e15])
words = st.sampled_from(["a", "e", "ae", "ooo"])
deep = st.fixed_dictionaries({}, optional={"a": numbers, "b": st.lists(numbers, max_size=2)})
values = st.fixed_dictionaries(
    {"n": numbers, "text": words},
    optional={
        "d": deep,
        "flag": st.booleans(),
        "none": st.none(),
        "%": words,
        "l": st.lists(words, max_size=2),
    },
)
ordering = st.sampled_from(["$gt", "$gte", "$lt", "$lte", "$eq", "$ne"])
filters = st.fixed_dictionaries(
    {},
    optional={
        "n": numbers | st.dictionaries(ordering, numbers, min_size=1, max_size=2),
        "text": words | st.fixed_dictionaries({"$ne": words}),
        "d": deep | st.fixed_dictionaries({"$eq": deep}) | st.fixed_dictionaries({"$ne": deep}),
        "flag": st.booleans() | st.none(),
        "none": st.none() | st.fixed_dictionaries({"$ne": st.none()}),
        "missing": st.none() | words,
        "%": words,
        "l": st.lists(words, max_size=2),
    },
)
paths = st.none() | st.lists(labels | st.just("*"), min_size=1, max_size=3).map(tuple)
pages = st.tuples(st.integers(0, 5), st.integers(0, 5))
operations = st.lists(
    st.one_of(
        st.tuples(st.just("put"), namespaces, keys, values, st.booleans()),
        st.tuples(st.just("put"), namespaces, keys, values, st.booleans()),
        st.tuples(st.just("put"), st.just(("a", "b")), keys, values, st.booleans()),
        st.tuples(st.just("delete"), namespaces, keys),
        st.tuples(st.just("get"), namespaces, keys),
        st.tuples(st.just("search"), prefixes, filters, pages),
        st.tuples(st.just("query"), prefixes, filters, pages, words),
        st.tuples(st.just("list"), paths, paths, st.none() | st.integers(1, 3), pages),
    ),
    min_size=5,
    max_size=40,
)


def embed(texts: list[str]) -> list[list[float]]:
    return [[text.count(letter) + 0.25 for letter in "aeiou"] for text in texts]


INDEX: Any = {"dims": 5, "embed": embed, "fields": ["text", "l[*]"]}


class Both:
    """A store and its model."""

    def __init__(self, store: HoldfastStore) -> None:
        self.store, self.model = store, InMemoryStore(index=INDEX)

    def put(self, namespace: Any, key: str, value: Any, is_indexed: bool) -> None:
        self.model._vectors[namespace].pop(key, None)
        # It cannot embed one text for two fields.
        is_indexed = is_indexed and len({value["text"], *value.get("l", ())}) == 1 + len(value.get("l", ()))
        for each in (self.store, self.model):
            each.put(namespace, key, value, index=None if is_indexed else False)

    def delete(self, namespace: Any, key: str) -> None:
        for each in (self.store, self.model):
            each.delete(namespace, key)

    def get(self, namespace: Any, key: str) -> None:
        found, wanted = self.store.get(namespace, key), self.model.get(namespace, key)
        assert (found and found.value) == (wanted and wanted.value)

    def search(self, prefix: Any, filter: Any, page: tuple[int, int]) -> None:
        ours = self.store.search(prefix, filter=filter, limit=EVERYTHING)
        theirs = self.model.search(prefix, filter=filter, limit=EVERYTHING)
        assert by_namespace(ours) == by_namespace(theirs)
        limit, offset = page
        part = self.store.search(prefix, filter=filter, limit=limit, offset=offset)
        assert part == ours[offset : offset + limit]

    def query(self, prefix: Any, filter: Any, page: tuple[int, int], query: str) -> None:
        ours = self.store.search(prefix, filter=filter, query=query, limit=EVERYTHING)
        theirs = self.model.search(prefix, filter=filter, query=query, limit=EVERYTHING)
        assert scores(ours) == scores(theirs)
        assert [found.score for found in ours] == sorted((found.score for found in ours), key=_best_first)
        limit, offset = page
        part = self.store.search(prefix, filter=filter, query=query, limit=limit, offset=offset)
        assert [found.score for found in part] == [found.score for found in ours[offset : offset + limit]]

    def list(self, prefix: Any, suffix: Any, depth: int | None, page: tuple[int, int]) -> None:
        for namespace in [namespace for namespace, items in self.model._data.items() if not items]:
            del self.model._data[namespace]
        limit, offset = page
        for counts in ({"limit": EVERYTHING}, {"limit": limit, "offset": offset}):
            found, wanted = (
                each.list_namespaces(prefix=prefix, suffix=suffix, max_depth=depth, **counts)
                for each in (self.store, self.model)
            )
            assert found == wanted


def _best_first(score: float | None) -> float:
    return 9.0 if score is None else -score


def by_namespace(found: list[SearchItem]) -> Any:
    groups = defaultdict(list)
    for item in found:
        groups[item.namespace].append((item.key, item.value))
    return groups


def scores(found: list[SearchItem]) -> list[Any]:
    return sorted(
        (item.namespace, item.key, None if item.score is None else round(item.score, 5)) for item in found
    )


@pytest.fixture
def emptied(db: holdfast.Database) -> Callable[[], Both]:
    store = HoldfastStore(db, index=INDEX)

    def empty() -> Both:
        db.delete(ITEMS, all_rows=True)
        return Both(store)

    return empty


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=operations)
def test_the_store_does_as_langgraphs_own(emptied: Callable[[], Both], steps: list[Any]) -> None:
    both = emptied()
    for verb, *details in steps:
        getattr(both, verb)(*details)
    for prefix in PREFIXES:
        both.search(prefix, {}, (3, 1))
        both.query(prefix, {"n": {"$gte": 0.5}}, (3, 1), "ae")
    both.list(None, None, None, (3, 1))
