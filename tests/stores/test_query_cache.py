"""Answers that are kept until anybody writes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import holdfast
from holdfast import errors, memory
from holdfast.memory import Passage, SQLStore

Open = Callable[..., SQLStore]


@pytest.fixture
def cached(opened: Open) -> SQLStore:
    return opened(user_id="ada", cache=True)


def texts(store: SQLStore, text: str = "tea", **options: Any) -> list[str]:
    return sorted(hit.record.text for hit in store.query_text(text, **options))


def test_a_second_query_is_answered_from_the_cache(cached: SQLStore) -> None:
    cached.insert_many(
        [Passage(f"{word} tea", metadata={"n": [n]}) for n, word in enumerate(("green", "black"))]
    )
    first = cached.query_text("tea")
    again = cached.query_text("tea")
    assert list(first) == list(again)
    assert again.complete
    info = cached.cache_info()
    assert (info.hits, info.misses, info.size) == (1, 1, 1)
    again[0].record.metadata["n"].append("changed by its reader")
    again.clear()
    assert list(cached.query_text("tea")) == list(first)
    assert texts(cached, top_k=1) != texts(cached)
    assert texts(cached, filters={"n": {"$exists": False}}) == []
    assert cached.cache_info().size == 3


def test_without_it_nothing_is_kept(store: SQLStore) -> None:
    store.insert(Passage("tea"))
    assert texts(store) == texts(store) == ["tea"]
    assert store.cache_info()[:3] == (0, 0, 0)


def test_no_write_of_anybody_leaves_a_stale_answer(cached: SQLStore, opened: Open, url: str) -> None:
    assert texts(cached) == []
    id = cached.insert(Passage("green tea"))
    assert texts(cached) == ["green tea"]
    other = opened(user_id="ada")
    other.update(replace(other.get(id), text="black tea"))
    assert texts(cached) == ["black tea"]
    with memory.open(url, user_id="ada") as apart:
        apart.insert(Passage("white tea"))
        assert texts(cached) == ["black tea", "white tea"]
        apart.delete({"id": str(id)})
        assert texts(cached) == ["white tea"]
    script = (
        "import sys, holdfast.memory as m\n"
        "with m.open(sys.argv[1], user_id='ada') as store: store.insert(m.Passage('cold tea'))\n"
    )
    subprocess.run([sys.executable, "-c", script, url], check=True)
    assert texts(cached) == ["cold tea", "white tea"]
    cached.undo(id)
    assert texts(cached) == ["black tea", "cold tea", "white tea"]


def test_a_transaction_sees_itself_and_leaves_nothing_behind(db: holdfast.Database, cached: SQLStore) -> None:
    cached.insert(Passage("green tea"))
    assert texts(cached) == ["green tea"]
    db.begin_transaction()
    cached.insert(Passage("never tea"))
    assert texts(cached) == ["green tea", "never tea"]
    db.rollback()
    assert texts(cached) == ["green tea"]


def test_an_answer_ends_when_a_memory_expires(cached: SQLStore) -> None:
    cached.insert(Passage("green tea"))
    cached.insert(Passage("short tea"), ttl=0.8)
    assert len(texts(cached)) == 2
    while cached.size() == 2:
        texts(cached)
    assert texts(cached) == ["green tea"]


def test_a_tenant_never_gets_anothers_answer(cached: SQLStore, opened: Open) -> None:
    cached.insert(Passage("ada's tea"))
    eve = opened(user_id="eve", cache=True)
    assert texts(cached) == ["ada's tea"]
    assert texts(eve) == []


def test_what_is_refused_is_refused_again(cached: SQLStore) -> None:
    for _ in range(2):
        with pytest.raises(errors.InvalidQuery):
            cached.query_text("tea", filters={"n": {"$near": 1}})
        with pytest.raises(errors.InvalidQuery):
            cached.query_text("tea", top_k=0)
    assert cached.cache_info().size == 0


ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from("abcd")),
        st.tuples(st.just("remove"), st.sampled_from("abcd")),
        st.tuples(st.just("ask"), st.sampled_from("abcd")),
    ),
    max_size=12,
)


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(acts=ACTS)
def test_with_and_without_a_cache_the_answers_are_the_same(
    cached: SQLStore, store: SQLStore, acts: Any
) -> None:
    cached.delete(all_rows=True)
    for act, letter in acts:
        if act == "add":
            store.insert(Passage(f"{letter} tea"))
        elif act == "remove":
            cached.delete({"text": f"{letter} tea"})
        assert texts(cached, letter) == texts(store, letter)
        assert texts(cached) == texts(store)
