"""What memories were, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

import holdfast
from holdfast import errors
from holdfast.memory import Passage, SQLStore

Open = Callable[..., SQLStore]


def texts(store: SQLStore, time: datetime) -> list[str]:
    return [record.text for record in store.as_of(time)]  # type: ignore[union-attr]


def test_every_change_is_kept(store: SQLStore) -> None:
    first = Passage("first", [1, 2], metadata={"n": 1}, user_id="ada")
    second = replace(first, text="second", embedding=[3, 4], metadata={})  # type: ignore[arg-type]
    third = replace(first, text="third", embedding=None)
    before = datetime.now(UTC)
    store.insert(first)
    store.update(second)
    store.update(second)
    store.delete({"id": first.id})
    store.insert(third)
    changes = store.history(str(first.id))
    assert [(change.operation, change.record) for change in changes] == [
        ("insert", first),
        ("update", second),
        ("delete", None),
        ("insert", third),
    ]
    times = [change.at for change in changes]
    assert times == sorted(times)
    assert before <= times[0] <= times[-1] <= datetime.now(UTC)
    with pytest.raises(errors.NotFoundError):
        store.history(uuid4())


def test_memories_as_of_a_time(store: SQLStore) -> None:
    start = datetime.now(UTC)
    first, other = Passage("first", metadata={"n": 1}), Passage("other", metadata={"n": 2})
    store.insert_many([first, other])
    both = datetime.now(UTC)
    store.update(replace(first, text="changed"))
    changed = datetime.now(UTC)
    store.delete({"id": other.id})
    deleted = datetime.now(UTC)
    store.undo(other.id)
    assert texts(store, start) == []
    assert texts(store, both) == ["first", "other"]
    assert texts(store, changed) == ["changed", "other"]
    assert texts(store, deleted) == ["changed"]
    assert texts(store, datetime.now(UTC)) == ["changed", "other"]
    assert [record.id for record in store.as_of(both, {"n": {"$gt": 1}})] == [other.id]
    assert texts(store, start - timedelta(days=9)) == []
    with pytest.raises(errors.ValueRefused, match="zone"):
        store.as_of(datetime(2026, 1, 1))


def test_undo_goes_back_step_by_step(store: SQLStore) -> None:
    first = Passage("first", [1, 2], user_id="ada")
    second, third = replace(first, text="second"), replace(first, text="third", embedding=[5, 6])  # type: ignore[arg-type]
    store.insert(first)
    store.update(second)
    store.update(third)
    store.delete({"id": first.id})
    assert store.undo(first.id) == third
    assert store.get(first.id) == third
    assert store.query_text("third")[0].record == third
    assert store.undo(first.id) == second
    assert store.undo(first.id) == first
    assert store.get(first.id) == first
    with pytest.raises(errors.NotFoundError):
        store.undo(first.id)
    assert store.get(first.id) == first
    store.update(third)
    assert store.undo(first.id) == first
    assert [change.operation for change in store.history(first.id)] == [
        *("insert", "update", "update", "delete", "undo", "undo", "undo", "update", "undo")
    ]


def test_what_was_gone_can_be_gone_again(store: SQLStore) -> None:
    first = Passage("first", user_id="ada")
    again = replace(first, text="again")
    store.insert(first)
    store.delete({"id": first.id})
    store.insert(again)
    assert store.undo(first.id) is None
    assert store.size() == 0
    assert store.undo(first.id) == first
    with pytest.raises(errors.NotFoundError):
        store.undo(first.id)
    operations = [(change.operation, change.record) for change in store.history(first.id)]
    assert operations == [
        ("insert", first),
        ("delete", None),
        ("insert", again),
        ("undo", None),
        ("undo", first),
    ]


def test_undo_does_not_make_a_text_twice(store: SQLStore) -> None:
    first = Passage("same")
    store.insert(first)
    store.delete({"id": first.id})
    store.insert(Passage("same"))
    with pytest.raises(errors.AlreadyExists):
        store.undo(first.id)
    assert store.size() == 1
    assert store.history(first.id)[-1].operation == "delete"


def test_the_history_is_as_private_as_the_memories(opened: Open) -> None:
    ada, eve = opened(user_id="ada"), opened(user_id="eve")
    first = Passage("first")
    ada.insert(first)
    ada.update(replace(first, text="second"))
    for look in (eve.history, eve.undo, opened(user_id="ada", agent_id="bot").undo):
        with pytest.raises(errors.NotFoundError):
            look(first.id)
    assert eve.as_of(datetime.now(UTC), {"user_id": "ada"}) == []
    eve.delete_table()
    assert len(ada.history(first.id)) == 2
    ada.insert(Passage("kept"))
    ada.delete({"id": first.id})
    ada.delete_table()
    with pytest.raises(errors.NotFoundError):
        ada.history(first.id)


def test_a_change_that_is_rolled_back_is_not_in_the_history(db: holdfast.Database, store: SQLStore) -> None:
    first = Passage("first")
    store.insert(first)
    db.begin_transaction()
    store.update(replace(first, text="second"))
    store.undo(first.id)
    assert len(store.history(first.id)) == 3
    db.rollback()
    assert len(store.history(first.id)) == 1
