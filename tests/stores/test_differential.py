"""The same operations on every backend and on a model of dicts give the same answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast import errors
from holdfast.memory import Passage, SQLStore

Open = Callable[..., SQLStore]
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)

numbers = st.integers(0, 5)
words = st.sampled_from(["tea", "milk", "green tea", "cold milk"])
acts = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), numbers, words, numbers),
        st.tuples(st.just("upsert"), numbers, words, numbers),
        st.tuples(st.just("update"), numbers, words, numbers),
        st.tuples(st.just("delete"), numbers),
        st.tuples(st.just("undo"), numbers),
    ),
    min_size=1,
    max_size=14,
)


def passage(number: int, word: str, n: int) -> Passage:
    direction = np.array([1.0, n + 0.5, number + 0.25], dtype=np.float32)
    made = NOON + timedelta(seconds=number)
    return Passage(f"{word} {n}", direction, UUID(int=number), metadata={"n": n}, created_at=made)


class Dicts:
    """What a memory does, in the plainest way."""

    def __init__(self) -> None:
        self.now: dict[int, Passage] = {}
        self.past: dict[int, list[Passage | None]] = {}

    def act(self, verb: str, number: int, *more: Any) -> Any:
        here = self.now.get(number)
        if verb == "undo":
            states = self.past.get(number, [])
            if len(states) < 2:
                return errors.NotFoundError
            if states[-2] is not None and self._other(states[-2], number) is not None:
                return errors.AlreadyExists
            states.pop()
            self._set(number, states[-1])
            return states[-1]
        if verb == "delete":
            if here is not None:
                self._set(number, None)
                self.past[number].append(None)
            return int(here is not None)
        record = passage(number, *more)
        if verb == "insert" and here is not None:
            return errors.AlreadyExists
        if verb == "update" and here is None:
            return errors.NotFoundError
        other = self._other(record, number)
        if other is not None:
            return errors.AlreadyExists if here is not None else UUID(int=other)
        if here != record:
            self._set(number, record)
            self.past.setdefault(number, []).append(record)
        return UUID(int=number)

    def _other(self, record: Passage, number: int) -> int | None:
        return next((n for n, each in self.now.items() if n != number and each.text == record.text), None)

    def _set(self, number: int, record: Passage | None) -> None:
        self.now.pop(number, None)
        if record is not None:
            self.now[number] = record


def done(store: SQLStore, verb: str, number: int, *more: Any) -> Any:
    """The same on a store."""
    try:
        if verb == "undo":
            found = store.undo(UUID(int=number))
            return None if found is None else replace(found, user_id=None)
        if verb == "delete":
            return store.delete({"id": str(UUID(int=number))})
        return getattr(store, verb)(passage(number, *more))
    except (errors.AlreadyExists, errors.NotFoundError) as exc:
        return type(exc)


def answers(store: SQLStore, records: list[Passage]) -> None:
    """All verbs that read, against the plain list."""
    mine = sorted((replace(each, user_id="ada") for each in records), key=lambda each: each.created_at)
    assert store.get_all() == mine
    assert store.page(limit=100, reverse=True) == mine[::-1]
    assert [each for page in store.get_all_paginated(page_size=2) for each in page] == mine
    for low in (0, 3):
        some = [each for each in mine if each.metadata["n"] >= low]
        assert store.get_all({"n": {"$gte": low}}) == some
        assert store.size({"n": {"$gte": low}}) == len(some)
        tea = {each.id for each in some if "tea" in each.text.split()}
        assert {hit.record.id for hit in store.query_text("tea", filters={"n": {"$gte": low}})} == tea
        try:
            hits = store.query(vector=[1.0, 2.0, 3.0], filters={"n": {"$gte": low}})
        except errors.NotSupported:
            continue
        assert hits.complete
        found = [hit.distance for hit in hits]
        assert found == pytest.approx(sorted(_distance(each) for each in some)[:10], abs=1e-6)
    for before in (1, 3):
        made = NOON + timedelta(seconds=before)
        assert store.query_date(end=made) == [each for each in mine if each.created_at <= made]


def _distance(record: Passage) -> float:
    assert record.embedding is not None
    one, other = np.array([1.0, 2.0, 3.0]), record.embedding.astype(np.float64)
    return float(1 - one @ other / np.linalg.norm(one) / np.linalg.norm(other))


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(acts=acts)
def test_every_backend_answers_like_a_dict(opened: Open, acts: list[Any]) -> None:
    check(opened, acts)


@pytest.mark.long
@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(acts=acts)
def test_every_backend_answers_like_a_dict_at_length(opened: Open, acts: list[Any]) -> None:
    check(opened, acts)


def check(opened: Open, acts: list[Any]) -> None:
    store, model = opened(user_id="ada"), Dicts()
    eve = opened(user_id="eve")
    if eve.size() == 0:
        eve.insert(passage(1, "tea", 1))
    store.delete_table()
    for act in acts:
        assert done(store, *act) == model.act(*act), act
    answers(store, list(model.now.values()))
    assert eve.size() == 1
