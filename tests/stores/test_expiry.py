"""Memories that live for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from holdfast import errors
from holdfast.memory import Message, Passage, SQLStore

Open = Callable[..., SQLStore]
HOUR = timedelta(hours=1)


def let_pass(store: SQLStore, amount: timedelta) -> None:
    """Make everything in a store as old as if that time had gone by."""
    for table in (store.table_name, f"{store.table_name}_history"):
        store._executor.run(
            f'UPDATE "{table}" SET "expires_at" = "expires_at" - ?', [amount // timedelta(microseconds=1)]
        )


def left(store: SQLStore) -> list[int]:
    tables = (store.table_name, f"{store.table_name}_vectors", f"{store.table_name}_history")
    return [int(store._executor.scalar(f'SELECT count(*) FROM "{table}"')) for table in tables]


def test_what_has_expired_is_returned_by_no_verb(store: SQLStore, opened: Open) -> None:
    id = store.insert(Passage("green tea", [1, 0], data_source="notes", metadata={"n": 1}), ttl=HOUR)
    store.update(replace(store.get(id), text="black tea"))
    stays = store.insert(Passage("hot tea", [0, 1], metadata={"n": 2}))
    assert store.size() == 2
    while_there = datetime.now(UTC)
    let_pass(store, HOUR)
    for read in (store.get, store.history, store.undo):
        with pytest.raises(errors.NotFoundError):
            read(id)
    with pytest.raises(errors.NotFoundError):
        store.update(Passage("black tea", id=id))
    assert store.size() == len(store.get_all()) == len(store.page()) == len(store.query_date()) == 1
    assert [record.id for page in store.get_all_paginated() for record in page] == [stays]
    assert [hit.record.id for hit in store.query_text("tea")] == [stays]
    assert [record.id for record in store.as_of(while_there)] == [stays]
    assert store.list_data_sources() == []
    assert store.delete({"n": 1}) == 0
    for filters in (None, {"n": {"$gt": 0}}):
        try:
            hits = store.query("tea", [1, 0], top_k=1, filters=filters, mode="hybrid")
            nearest = store.query(vector=[1, 0], top_k=1, filters=filters)
        except errors.NotSupported:
            continue
        assert [hit.record.id for hit in hits] == [hit.record.id for hit in nearest] == [stays]
    other = opened(user_id="ada", name="other")
    other.insert(Passage("short"), ttl=HOUR)
    let_pass(other, HOUR)
    assert store.list_loaded_data() == ["memory"]


def test_a_sweep_removes_what_has_expired_with_its_history(store: SQLStore, opened: Open) -> None:
    ids = store.insert_many([Passage(f"t {n}", [1, n]) for n in range(4)], ttl=60)
    store.update(replace(store.get(ids[0]), text="changed"))
    store.delete({"text": "t 1"})
    opened(user_id="eve").insert(Passage("t 1", [1, 1]), ttl=30)
    stays = store.insert(Passage("stays"), ttl=2 * HOUR)
    assert store.sweep() == 0
    assert left(store) == [5, 4, 2]
    let_pass(store, HOUR)
    assert left(store) == [5, 4, 2]
    assert store.sweep() == 4
    assert left(store) == [1, 0, 0]
    assert store.get(stays).id == stays
    assert store.sweep() == 0


def test_an_expired_memory_stands_in_nobodys_way(store: SQLStore) -> None:
    first = store.insert(Passage("tea", [1, 2]), ttl=HOUR)
    again = store.insert(Passage("tea"))
    assert again == first
    let_pass(store, HOUR)
    # The second insert wrote nothing, so that the first one's time counts.
    second = store.insert(Passage("tea"))
    assert second != first
    store.delete(all_rows=True)
    id = store.insert(Message("user", "one"), ttl=HOUR)
    let_pass(store, HOUR)
    assert store.insert(Message("user", "two", id=id)) == id
    assert [change.operation for change in store.history(id)] == ["insert"]
    let_pass(store, HOUR)
    assert store.size() == 1
    ids = store.insert_many([Passage(f"m {n}") for n in range(3)], ttl=HOUR)
    let_pass(store, HOUR)
    assert len(set(store.insert_many([Passage(f"m {n}") for n in range(3)])) - set(ids)) == 3


def test_an_update_keeps_the_time_and_an_upsert_sets_it(store: SQLStore) -> None:
    id = store.insert(Passage("a"), ttl=HOUR)
    store.update(Passage("b", id=id))
    let_pass(store, HOUR)
    assert store.size() == 0
    id = store.insert(Passage("c"), ttl=HOUR)
    store.upsert(Passage("c", id=id), ttl=2 * HOUR)
    let_pass(store, HOUR)
    assert store.get(id).id == id
    store.upsert(store.get(id))
    let_pass(store, 5 * HOUR)
    assert store.get(id).id == id


def test_what_is_undone_lives_no_longer_than_it_would_have(store: SQLStore) -> None:
    id = store.insert(Passage("a"), ttl=HOUR)
    store.delete({"id": str(id)})
    store.undo(id)
    assert store.size() == 1
    let_pass(store, HOUR)
    assert store.size() == 0
    assert store.sweep() == 1
    assert left(store) == [0, 0, 0]


def test_reading_refreshes_if_that_is_asked_for(store: SQLStore, opened: Open) -> None:
    ids = [store.insert(Passage(text), ttl=HOUR) for text in ("tea", "milk", "water")]
    fresh = opened(user_id="ada", refresh_ttl=True)
    let_pass(store, HOUR / 2)
    assert store.get(ids[2]).id == ids[2]
    assert fresh.get(ids[0]).id == ids[0]
    assert len(fresh.query_text("milk")) == 1
    let_pass(store, HOUR * 2 / 3)
    assert {record.id for record in store.get_all()} == set(ids[:2])
    assert [change.operation for change in store.history(ids[0])] == ["insert"]


def test_time_goes_by(store: SQLStore) -> None:
    begun = time.monotonic()
    store.insert(Passage("a"), ttl=1)
    found, took = store.size(), time.monotonic() - begun
    assert found == 1 or took > 0.9, "it lives until its time is over"
    while store.size() and time.monotonic() < begun + 60:
        time.sleep(0.1)
    assert store.size() == 0


@pytest.mark.parametrize("ttl", [0, -1, True, "1h", float("nan"), float("inf"), timedelta(0), timedelta.max])
def test_a_time_to_live_is_positive(store: SQLStore, ttl: Any) -> None:
    for write in (store.insert, store.upsert, lambda record, **more: store.insert_many([record], **more)):
        with pytest.raises(errors.ValueRefused, match="ttl"):
            write(Passage("a", id=UUID(int=1)), ttl=ttl)
    assert store.size() == 0
