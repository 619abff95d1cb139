"""The tables of an application of agents, and those of LangGraph's classes, on two sides."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from argon2 import PasswordHasher
from langgraph.checkpoint.base import empty_checkpoint

import holdfast
from holdfast.agents import crud, models
from holdfast.agents.crud import passwords
from holdfast.memory.langgraph import HoldfastSaver, HoldfastStore
from holdfast.memory.langgraph.tables import VECTORS
from holdfast.sync import Sync

PASSWORD = "correct horse battery"
APPLICATION = sorted(models.metadata.tables)


@pytest.fixture(autouse=True)
def _quick_hashes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(passwords, "hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    passwords._nobody.cache_clear()
    yield
    passwords._nobody.cache_clear()


def run(*syncs: Sync) -> None:
    for sync in syncs:
        report = sync.run()
        assert (report.quarantined, report.paused, report.conflicts) == (0, {}, 0), report


def filled(db: holdfast.Database, name: str) -> dict[str, Any]:
    """A user with a row in every table, and a thread with a large checkpoint."""
    user = crud.users.create(db, {"email": f"{name}@example.org", "password": PASSWORD})
    team = crud.teams.create(db, {"name": f"crew of {name}"}, owner_id=user.id)
    leader = crud.members.create(db, {"name": "leader", "kind": "leader"}, team_id=team.id)
    worker = {"name": "worker", "manager_id": leader.id, "temperature": 0.1}
    member = crud.members.create(db, worker, team_id=team.id)
    definition = {"a": [1, None, 2.5, "ü"]}
    skill = crud.skills.create(db, {"name": f"search {name}", "definition": definition}, owner_id=user.id)
    crud.members.add_skill(db, member.id, skill.id)
    thread = crud.threads.create(db, {}, team_id=team.id)
    message = {"role": "user", "content": "hello ☂", "details": {"ü": 1.5}, "member_id": member.id}
    crud.messages.create(db, message, thread_id=thread.id)
    crud.uploads.create(db, {"name": "notes.txt", "size": 2**40}, owner_id=user.id)
    key = crud.api_keys.issue(db, {"label": "ci"}, team_id=team.id)
    with HoldfastSaver(db) as saver:
        saved = put(saver, thread.id)
    return {"user": user, "team": team, "member": member, "thread": thread, "key": key, "saved": saved}


def put(saver: HoldfastSaver, thread_id: str) -> Any:
    config: Any = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = {"text": "x" * 100_000}
    checkpoint["channel_versions"] = {"text": "1"}
    saved = saver.put(config, checkpoint, {"source": "input", "step": -1}, {"text": "1"})
    saver.put_writes(saved, [("text", "y")], "task")
    return saved


def test_the_tables_of_an_application(local: holdfast.Database, hub: holdfast.Database) -> None:
    for db in (local, hub):
        models.metadata.create_all(db.engine)
        db._executor.forget()
    mine, theirs = filled(local, "ada"), filled(hub, "eve")
    sync = Sync(local, hub)
    assert sorted(sync.enable()) == APPLICATION
    assert len(APPLICATION) == 12
    run(sync)
    assert holdfast.diff(local, hub).is_equal
    assert all(local.count(table) >= 2 for table in APPLICATION)
    # Who was added on one side can log in on the other; of the password there is only the hash.
    for db, name in ((hub, "ada"), (local, "eve")):
        assert crud.users.authenticate(db, f"{name}@example.org", PASSWORD) is not None
    assert crud.api_keys.authenticate(hub, mine["key"].key) is not None

    more = filled(local, "joe")
    crud.users.update(local, mine["user"].id, {"full_name": "Ada L."})
    crud.users.update(hub, mine["user"].id, {"is_superuser": True})
    crud.messages.create(hub, {"role": "assistant", "content": "hi"}, thread_id=mine["thread"].id)
    crud.members.update(local, theirs["member"].id, {"instructions": "be brief", "manager_id": None})
    with HoldfastSaver(hub) as saver:
        put(saver, mine["thread"].id)
    # What goes with it: its messages, checkpoints, values and writes.
    crud.threads.delete(local, theirs["thread"].id)
    report = sync.run()
    assert (report.quarantined, report.paused) == (0, {})
    # Two have changed the user, each another column; when that was is one.
    assert [conflict.columns for conflict in sync.conflicts()] == [("updated_at",)]
    assert holdfast.diff(local, hub).is_equal
    ada = crud.users.get(local, mine["user"].id)
    assert (ada.full_name, ada.is_superuser) == ("Ada L.", True)
    with HoldfastSaver(local) as saver:
        assert saver.get_tuple(theirs["saved"]) is None
        assert len(list(saver.list({"configurable": {"thread_id": mine["thread"].id}}))) == 2
    with HoldfastSaver(hub) as saver:
        found = saver.get_tuple(more["saved"])
        assert found is not None
        assert found.checkpoint["channel_values"] == {"text": "x" * 100_000}
    crud.users.delete(hub, more["user"].id)
    run(sync)
    assert holdfast.diff(local, hub).is_equal
    assert local.count("teams") == 2
    assert sync.status().is_quiet


def embed(texts: list[str]) -> list[list[float]]:
    return [[text.count(letter) + 0.25 for letter in "aeiou"] for text in texts]


INDEX: Any = {"dims": 5, "embed": embed, "fields": ["text", "tags[*]"]}
HERE = ("users", "ada")


def found(store: HoldfastStore) -> list[tuple[Any, ...]]:
    hits = store.search(("users",), query="tea", limit=50)
    return sorted(
        (
            hit.namespace,
            hit.key,
            json.dumps(hit.value, sort_keys=True),
            round(hit.score or 0, 6),
            hit.updated_at,
        )
        for hit in hits
    )


def test_langgraphs_classes(local: holdfast.Database, hub: holdfast.Database) -> None:
    here, saver = HoldfastStore(local, index=INDEX), HoldfastSaver(local)
    here.put(HERE, "a", {"text": "tea and cake", "tags": ["one", "two"]})
    here.put(HERE, "b", {"text": "rain"})
    here.put(HERE, "e", {"text": "snow"}, ttl=60)
    saved = put(saver, "thread")
    sync = Sync(local, hub)
    sync.enable()
    run(sync)
    there = HoldfastStore(hub, index=INDEX)
    assert found(here) == found(there)
    assert hub.count(VECTORS) == 5
    ends = "SELECT namespace, key, ttl, expires_at FROM hf_store ORDER BY key"
    assert [row["ttl"] for row in hub.query(ends)] == [None, None, 3_600_000_000]
    with HoldfastSaver(hub) as other:
        assert other.get_tuple(saved) == saver.get_tuple(saved)

    # Both number their items for themselves, and add at once.
    here.put(HERE, "c", {"text": "ice"})
    there.put(HERE, "d", {"text": "oil"})
    there.put(HERE, "a", {"text": "uo uo", "tags": ["three"]})
    here.delete(HERE, "b")
    run(sync, sync)
    assert local.query(ends) == hub.query(ends)
    assert found(here) == found(there)
    assert [item.key for item in here.search(HERE, query="uo uo", limit=1)] == ["a"]
    assert local.count(VECTORS) == hub.count(VECTORS) == 5
    run(sync)
    assert sync.status().is_quiet


def test_items_of_an_earlier_release(local: holdfast.Database, hub: holdfast.Database) -> None:
    """Their vectors did not say of which key they are but by a number."""
    here = HoldfastStore(local, index=INDEX)
    here.put(HERE, "a", {"text": "tea and cake"})
    here.put(HERE, "b", {"text": "rain"})
    local.execute(f'UPDATE "{VECTORS}" SET "agent_id" = NULL')
    sync = Sync(local, hub, tables=["hf_store"])
    assert sync.enable() == ["hf_store", VECTORS]
    run(sync)
    assert found(here) == found(HoldfastStore(hub, index=INDEX))
