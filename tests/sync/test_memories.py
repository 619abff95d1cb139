"""Memories that two databases share: searched on either side, with all that they were."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

import holdfast
import holdfast.memory
from holdfast.memory import Message, Passage, SQLStore
from holdfast.sync import Sync
from holdfast.sync import hub as hub_half
from sync.memories import embed, notes, state

AT_THE_LAB = pytest.mark.parametrize("way", [("sqlite", "postgres")], ids=["sqlite-postgres"])
"""For what differs by neither engine nor side."""
Opened = Callable[[str], holdfast.Database]


@pytest.fixture
def laptop(local: holdfast.Database) -> SQLStore:
    return notes(local)


@pytest.fixture
def mine(laptop: SQLStore, local: holdfast.Database, hub: holdfast.Database) -> Sync:
    sync = Sync(local, hub, tables=["notes"])
    sync.enable()
    return sync


@pytest.fixture
def lab(mine: Sync, hub: holdfast.Database) -> SQLStore:
    return notes(hub)


@pytest.fixture
def theirs(mine: Sync, other: holdfast.Database, hub: holdfast.Database) -> Sync:
    sync = Sync(other, hub, tables=["notes"])
    sync.enable()
    return sync


def run(*syncs: Sync) -> None:
    for sync in syncs:
        report = sync.run()
        assert (report.quarantined, report.paused, report.conflicts) == (0, {}, 0), report


def test_what_was_synced_is_found_at_once(laptop: SQLStore, mine: Sync, lab: SQLStore) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    ids = laptop.insert_many(
        [
            Passage("Ada drinks tea", metadata={"topic": "drinks", "n": 1.5}, doc_id="d1", created_at=moment),
            Passage("Rain in Paris", data_source="weather"),
            Passage("Python of old", embedding=[0.1, -0.0, 3e-39, 7.0]),
        ]
    )
    run(mine)
    assert state(lab) == state(laptop)
    assert lab.get(ids[0]) == laptop.get(ids[0])
    assert lab.query_text("tea")[0].record.id == ids[0]
    assert lab.query(vector=embed(["rain rain paris"])[0])[0].record.id == ids[1]
    assert lab.query("rain", mode="hybrid", filters={"data_source": "weather"})[0].record.id == ids[1]
    assert lab.size({"topic": "drinks"}) == 1

    id = lab.insert(Passage("The lab likes tea and python"))
    message = lab.insert(Message("user", "What of the rain?"))
    lab.update(Passage("Rain in Rome", id=ids[1], embedding=embed(["Rain in Rome"])[0]))
    lab.delete({"id": ids[2]})
    run(mine)
    assert state(lab) == state(laptop)
    assert laptop.query_text("lab")[0].record.id == id
    assert laptop.query_text("what")[0].record.id == message
    assert laptop.query(vector=embed(["tea python"])[0])[0].record.id == id
    assert [each.record.text for each in laptop.history(ids[1]) if each.record] == [
        "Rain in Paris",
        "Rain in Rome",
    ]
    assert [each.operation for each in laptop.history(ids[2])] == ["insert", "delete"]
    assert laptop.query_text("paris") == []
    run(mine)
    assert mine.status().is_quiet


@AT_THE_LAB
def test_a_vector_that_arrived_as_it_was_sent_is_no_other_one(
    laptop: SQLStore, mine: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its text is another one in pgvector than in Python, where it was compared by that."""
    answers = []

    def receive(*given: Any) -> Any:
        answers.append(right(*given))
        return answers[-1]

    right = hub_half.receive
    monkeypatch.setattr(hub_half, "receive", receive)
    laptop.insert(Passage("tea", embedding=[0.1, -0.0, 3e-39, 7.3]))
    run(mine)
    laptop.update(Passage("rain", id=laptop.get_all()[0].id, embedding=[0.2, 0.0, 3e-39, 7.3]))
    run(mine)
    assert len(answers) == 2
    assert [answer.images.get(laptop._shape().layout.vectors) for answer in answers] == [{}, {}]


def test_two_that_add_at_once_never_collide(
    laptop: SQLStore, mine: Sync, theirs: Sync, other: holdfast.Database, lab: SQLStore
) -> None:
    third = notes(other)
    stores = (laptop, third, lab)
    shared = laptop.insert(Passage("tea of all"))
    run(mine, theirs)
    for place, memory in enumerate(stores):
        memory.insert_many([Passage(f"tea {place} {number}") for number in range(30)])
        for number in range(3):
            own = memory.insert(Passage(f"rain {place} {number}"))
            memory.update(Passage(f"rain {place} {number} again", id=own))
    # History of one memory goes on in two places, without a clash of the memory itself.
    laptop.update(Passage("tea of most", id=shared))
    laptop.update(Passage("tea of all", id=shared, created_at=laptop.get(shared).created_at))
    run(mine, theirs, mine, theirs)
    assert [memory.size() for memory in stores] == [100] * 3
    assert state(laptop) == state(third) == state(lab)
    assert len(lab.query_text("tea", top_k=200)) == 91
    assert [each.record.text for each in third.history(shared) if each.record] == [
        "tea of all",
        "tea of most",
        "tea of all",
    ]
    assert third.undo(shared) is not None
    run(theirs, mine)
    assert laptop.get(shared).text == "tea of most"
    assert state(laptop) == state(third) == state(lab)


def test_histories_that_went_on_in_two_places(
    laptop: SQLStore, mine: Sync, lab: SQLStore, local: holdfast.Database
) -> None:
    id = laptop.insert(Passage("tea"))
    run(mine)
    laptop.update(Passage("tea at home", id=id))
    lab.update(Passage("tea in the lab", id=id))
    report = mine.run()
    assert (report.conflicts > 0, report.quarantined) == (True, 0)
    mine.run()
    assert state(laptop) == state(lab)
    assert laptop.get(id).text == "tea in the lab"
    assert any(each.ours and each.ours.get("text") == "tea at home" for each in mine.conflicts())
    assert laptop.query("tea", mode="hybrid")[0].record == lab.query("tea", mode="hybrid")[0].record


def test_the_same_text_in_two_places_is_one_memory(
    laptop: SQLStore, mine: Sync, theirs: Sync, other: holdfast.Database, lab: SQLStore
) -> None:
    third = notes(other)
    first, second = laptop.insert(Passage("Ada drinks tea")), third.insert(Passage("Ada drinks tea"))
    run(mine, theirs, mine)
    assert [memory.get_all()[0].id for memory in (laptop, third, lab)] == [first] * 3
    assert [memory.size() for memory in (laptop, third, lab)] == [1] * 3
    # What the other one was is not lost.
    assert [each.operation for each in laptop.history(second)] == ["insert", "delete"]
    assert state(laptop) == state(third) == state(lab)


def test_time_to_live_travels(laptop: SQLStore, mine: Sync, lab: SQLStore) -> None:
    short = laptop.insert(Passage("tea for a moment"), ttl=timedelta(days=1))
    laptop.insert(Passage("rain for ever"))
    run(mine)
    ends = "SELECT expires_at FROM " + lab._shape().table + " WHERE id = ?"
    assert lab._executor.scalar(ends, [str(short)]) == laptop._executor.scalar(ends, [str(short)])
    lab._executor.run(f"UPDATE {lab._shape().table} SET expires_at = 1 WHERE id = ?", [str(short)])
    run(mine)
    assert laptop.size() == lab.size() == 1
    # A text that has expired is no other's.
    again = laptop.insert(Passage("tea for a moment"))
    run(mine)
    assert [lab.get(again).text, lab.size()] == ["tea for a moment", 2]
    assert lab.sweep() == 0
    assert state(laptop) == state(lab)


@AT_THE_LAB
def test_reading_on_both_sides_is_no_conflict(
    local: holdfast.Database, hub: holdfast.Database, laptop: SQLStore, mine: Sync, lab: SQLStore
) -> None:
    """Each time that it is read it lives longer, which two may do at once; what was removed stays so."""
    ids = laptop.insert_many([Passage("tea"), Passage("rain"), Passage("python")], ttl=timedelta(days=1))
    run(mine)
    here, there = notes(local, refresh_ttl=True), notes(hub, refresh_ttl=True)
    for id in ids:
        here.get(id), there.get(id)
    laptop.delete({"id": ids[0]})
    lab.delete({"id": ids[1]})
    run(mine, mine)
    assert [record.id for record in laptop.get_all()] == [record.id for record in lab.get_all()] == [ids[2]]
    assert state(laptop) == state(lab)


@AT_THE_LAB
def test_a_text_that_has_expired_at_the_hub_makes_way(laptop: SQLStore, mine: Sync, lab: SQLStore) -> None:
    lab.insert(Passage("tea"), ttl=timedelta(days=1))
    lab._executor.run(f"UPDATE {lab._shape().table} SET expires_at = 1")
    id = laptop.insert(Passage("tea"))
    run(mine)
    assert [record.id for record in laptop.get_all()] == [record.id for record in lab.get_all()] == [id]


@AT_THE_LAB
def test_memories_of_one_user(local: holdfast.Database, hub: holdfast.Database, way: tuple[str, str]) -> None:
    for user in ("ada", "eve"):
        notes(hub, user_id=user).insert(Passage(f"tea of {user}"))
    sync = Sync(local, hub, tables=["notes"], where={"notes": {"user_id": "ada"}})
    sync.enable()
    run(sync)
    assert notes(local).size() == 1
    assert notes(local, user_id="eve").size() == 0
    notes(hub, user_id="eve").insert(Passage("rain of eve"))
    run(sync)
    assert notes(local, user_id="eve").size() == 0


def test_a_second_memory_joins_later(
    laptop: SQLStore, mine: Sync, local: holdfast.Database, hub: holdfast.Database
) -> None:
    laptop.insert(Passage("tea"))
    holdfast.memory.open(hub, name="not synced").insert(Passage("private"))
    run(mine)
    more = holdfast.memory.open(local, name="More: ☂", user_id="ada", dimension=2)
    id = more.insert(Message("user", "hello", embedding=[1.0, 2.0]))
    later = Sync(local, hub, tables=["More: ☂", "notes"])
    later.enable()
    run(later)
    there = holdfast.memory.open(hub, name="More: ☂", user_id="ada")
    assert there.get(id) == more.get(id)
    assert there.dimension == 2
    assert [store for store in ("not synced",) if store in more.list_loaded_data()] == []
    run(later)
    assert later.status().is_quiet


@AT_THE_LAB
def test_all_tables_mean_all_memories(local: holdfast.Database, hub: holdfast.Database) -> None:
    notes(local).insert(Passage("tea"))
    holdfast.memory.get_storage_connector("recall_memory", local, user_id="ada").insert(Message("user", "hi"))
    local.create_table("runs", {"id": "TEXT PRIMARY KEY", "note": "TEXT"})
    local.insert("runs", {"id": "r", "note": "a"})
    sync = Sync(local, hub)
    assert {"runs", "hf_memories"} <= set(sync.enable())
    run(sync)
    assert hub.get("runs", "r")["note"] == "a"
    assert notes(hub).size() == 1
    assert holdfast.memory.get_storage_connector("recall_memory", hub, user_id="ada").size() == 1


@AT_THE_LAB
def test_two_filled_memories_become_one(local: holdfast.Database, hub: holdfast.Database) -> None:
    laptop, lab = notes(local), notes(hub)
    laptop.insert_many([Passage(f"tea {number}") for number in range(20)])
    lab.insert_many([Passage(f"tea {number}") for number in range(10, 30)])
    sync = Sync(local, hub, tables=[laptop.table_name])
    sync.enable()
    run(sync, sync)
    assert laptop.size() == lab.size() == 30
    assert state(laptop) == state(lab)


def test_a_memory_of_an_earlier_release(local: holdfast.Database, hub: holdfast.Database) -> None:
    laptop = notes(local)
    past = laptop._shape().history
    for name in ("version", "branch"):
        local.drop_column(past.strip('"'), name)
    local.execute(f'ALTER TABLE {past} ADD COLUMN "n" BIGINT NOT NULL DEFAULT 0')
    laptop = notes(local)
    assert not laptop._shape().is_versioned
    ids = [laptop.insert(Passage(f"tea {number}")) for number in range(3)]
    for number in range(3):
        laptop.update(Passage(f"rain {number}", id=ids[1]))
    laptop.delete({"id": ids[2]})
    laptop.undo(ids[2])
    before = [laptop.history(id) for id in ids]
    sync = Sync(local, hub, tables=["notes"])
    sync.enable()
    assert notes(local)._shape().is_versioned
    run(sync)
    assert [laptop.history(id) for id in ids] == [notes(hub).history(id) for id in ids] == before
    assert state(notes(local)) == state(notes(hub))
    notes(hub).undo(ids[1])
    run(sync)
    assert laptop.get(ids[1]).text == "rain 1"


def test_another_model_goes_to_the_other_side(
    laptop: SQLStore, mine: Sync, lab: SQLStore, hub: holdfast.Database
) -> None:
    laptop.insert_many([Passage("tea"), Passage("rain")])
    run(mine)

    def longer(texts: list[str]) -> np.ndarray[Any, Any]:
        return np.concatenate([embed(texts), np.ones((len(texts), 2), dtype=np.float32)], axis=1)

    longer.model = "longer"  # type: ignore[attr-defined]
    holdfast.memory.reembed(lab, longer)
    run(mine)
    with pytest.raises(holdfast.errors.ConfigurationError, match="of the model 'longer'"):
        laptop.insert(Passage("python"))
    laptop, lab = notes(laptop._database, embed=longer), notes(hub, embed=longer)
    assert [(each.name, each.count, each.is_current) for each in laptop.models()] == [
        ("longer", 2, True),
        ("words", 2, False),
    ]
    assert laptop.query("tea")[0].record.text == "tea"
    assert state(laptop) == state(lab)


@AT_THE_LAB
def test_models_that_do_not_fit_are_refused(local: holdfast.Database, hub: holdfast.Database) -> None:
    holdfast.memory.open(local, name="notes").insert(Passage("tea", embedding=[1.0, 2.0]))
    holdfast.memory.open(hub, name="notes").insert(Passage("tea", embedding=[1.0, 2.0, 3.0]))
    sync = Sync(local, hub, tables=["notes"])
    with pytest.raises(holdfast.errors.SyncError, match="2 numbers here and 3 at the hub"):
        sync.enable()
    assert not sync.is_enabled


@AT_THE_LAB
def test_first_vectors_of_two_lengths_pause_the_memory(
    opened: Opened, laptop: SQLStore, local: holdfast.Database, hub: holdfast.Database
) -> None:
    """Both begin apart with one name of a model: vectors of two lengths can never be compared."""
    one = holdfast.memory.open(local, name="new", user_id="ada")
    sync = Sync(local, hub, tables=["new", "notes"])
    sync.enable()
    other = holdfast.memory.open(hub, name="new", user_id="ada")
    one.insert(Passage("tea", embedding=[1.0, 2.0]))
    other.insert(Passage("rain", embedding=[1.0, 2.0, 3.0]))
    laptop.insert(Passage("goes on"))
    report = sync.run()
    assert "2 numbers here and 3 at the hub" in report.paused[one.table_name]
    assert notes(hub).size() == 1
    for memory, length in ((one, 2), (other, 3)):
        assert memory.size() == 1
        assert len(memory.query(vector=np.ones(length))) == 1
    holdfast.memory.reembed(one, embed, drop_old=True)
    run(sync, sync)
    there = holdfast.memory.open(hub, name="new", user_id="ada", embed=embed)
    holdfast.memory.reembed(there, embed)
    run(sync)
    here = holdfast.memory.open(local, name="new", user_id="ada", embed=embed)
    for memory in (here, there):
        assert [hit.record.text for hit in memory.query("rain")] == ["rain", "tea"]
    assert state(here) == state(there)


@AT_THE_LAB
def test_a_memory_that_is_emptied_here_stays_one_at_the_hub(
    laptop: SQLStore, mine: Sync, lab: SQLStore, hub: holdfast.Database
) -> None:
    eve = notes(hub, user_id="eve")
    eve.insert(Passage("tea of eve"))
    laptop.insert(Passage("tea"))
    run(mine)
    laptop.delete_table()
    notes(laptop._database, user_id="eve").delete_table()
    run(mine)
    assert (laptop.size(), lab.size(), eve.size()) == (0, 0, 0)
    laptop.insert(Passage("begins anew"))
    run(mine)
    assert [record.text for record in lab.get_all()] == ["begins anew"]
    assert eve.query_text("tea") == []


@AT_THE_LAB
def test_bad_input(laptop: SQLStore, local: holdfast.Database, hub: holdfast.Database) -> None:
    for sync in (
        Sync(local, hub, tables=["notes"], where={"notes": {"data_source": "web"}}),
        Sync(local, hub, tables=["notes"], where={"notes": "user_id = 'ada'"}),
    ):
        with pytest.raises(holdfast.errors.SyncError, match="owners only"):
            sync.enable()
    with pytest.raises(holdfast.errors.SyncError, match="only one side has"):
        Sync(local, hub, tables=["notes"]).enable(create=False)
    assert hub.list_tables() == []


def test_a_server_without_pgvector(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    local, hub = opened("sqlite"), opened("postgres")
    monkeypatch.setattr(hub._executor.engine.vectors, "kind", lambda run: hub._executor.engine.vectors.PLAIN)
    laptop = notes(local)
    laptop.insert_many([Passage("tea"), Passage("rain")])
    sync = Sync(local, hub, tables=["notes"])
    sync.enable()
    run(sync)
    lab = notes(hub)
    assert lab._shape().layout.vector_kind == "BYTEA"
    lab.insert(Passage("python"))
    run(sync)
    assert state(laptop) == state(lab)
    assert laptop.query(vector=embed(["python"])[0])[0].record.text == "python"
    assert lab.query_text("tea")[0].record.text == "tea"


SECRET = "zqsecret"


def fill(memory: SQLStore) -> UUID:
    """Texts wherever one can be: in what there is, in what was, and in what was removed."""
    ids = memory.insert_many([Passage(f"{memory.user_id} {SECRET} {number}") for number in range(4)])
    memory.update(Passage(f"{memory.user_id} {SECRET} instead", id=ids[0], metadata={"note": SECRET}))
    memory.delete({"id": ids[1]})
    return ids[2]


def everything(database: holdfast.Database) -> str:
    """All that the tables say, those that no listing shows, too."""
    if database.engine.name == "sqlite":
        names = "SELECT name FROM sqlite_master WHERE type = 'table'"
    else:
        names = "SELECT tablename::text AS name FROM pg_tables WHERE schemaname = current_schema()"
    return "\n".join(repr(database.query(f'SELECT * FROM "{row["name"]}"')) for row in database.query(names))


def test_who_is_erased_on_one_side_is_erased_on_the_other(
    laptop: SQLStore, mine: Sync, lab: SQLStore, local: holdfast.Database, hub: holdfast.Database
) -> None:
    eve = notes(local, user_id="eve")
    fill(eve)
    id = fill(laptop)
    run(mine)
    assert state(laptop) == state(lab)
    # A conflict keeps what was not kept: of this user, and of another one.
    for memory, shared in ((laptop, id), (eve, eve.get_all()[0].id)):
        memory.update(Passage(f"{memory.user_id} {SECRET} here", id=shared))
        notes(hub, user_id=memory.user_id).update(Passage(f"{memory.user_id} {SECRET} there", id=shared))
    assert mine.run().conflicts
    assert f"ada {SECRET} here" in everything(hub)

    report = laptop.erase("ada")
    assert not report.is_clean
    assert report.left.keys() == report.removed.keys()
    assert report.unfinished == "the hub is not told yet: run the sync, then erase once more"
    run(mine)
    assert laptop.erase("ada").is_clean
    assert f"ada {SECRET}" not in everything(local)
    assert lab.size() == 0
    assert lab._executor.rows(f"SELECT 1 FROM {lab._shape().history} WHERE user_id = 'ada'") == []
    # The texts of conflicts are the hub's, where erasing removes them.
    report = lab.erase("ada")
    assert report.is_clean
    assert report.removed["hf_sync_conflicts"] > 0
    assert f"ada {SECRET}" not in everything(hub)
    run(mine)
    assert laptop.size() == 0
    for database in (local, hub):
        assert f"eve {SECRET}" in everything(database)
        path = database._executor.target.path
        if path is not None:
            files = b"".join(each.read_bytes() for each in Path(path).parent.glob(f"{Path(path).name}*"))
            assert f"eve {SECRET}".encode() in files
            assert f"ada {SECRET}".encode() not in files
    assert any(each.ours and each.ours.get("text") == f"eve {SECRET} here" for each in mine.conflicts())


def test_who_is_erased_at_the_hub_is_gone_here(
    laptop: SQLStore, mine: Sync, theirs: Sync, other: holdfast.Database, lab: SQLStore
) -> None:
    fill(laptop)
    run(mine, theirs)
    third = notes(other)
    assert third.size() == 3
    assert lab.erase("ada").is_clean
    run(mine, theirs)
    for memory in (laptop, third):
        assert memory.size() == 0
        assert memory._executor.rows(f"SELECT 1 FROM {memory._shape().history}") == []
        assert memory.erase("ada").is_clean
        assert SECRET not in everything(memory._database)
    laptop.insert(Passage("begins anew"))
    run(mine, theirs)
    assert third.size() == 1


def test_a_memory_joins_another_hub(
    opened: Opened, laptop: SQLStore, mine: Sync, local: holdfast.Database
) -> None:
    fill(laptop)
    run(mine)
    another = opened("sqlite")
    notes(another).insert(Passage("tea of the other hub"))
    sync = Sync(local, another, tables=["notes"])
    with pytest.raises(holdfast.errors.SyncError):
        sync.run()
    sync.rebase()
    run(sync, sync)
    assert laptop.size() == notes(another).size() == 4
    assert state(laptop) == state(notes(another))
    laptop.erase("ada")
    run(sync)
    assert notes(another).erase("ada").is_clean
    assert SECRET not in everything(another)


def test_nothing_comes_back_with_an_old_replica(opened: Opened, tmp_path: Path) -> None:
    local, hub = opened("sqlite"), opened("sqlite")
    laptop = notes(local)
    sync = Sync(local, hub, tables=["notes"])
    sync.enable()
    laptop.insert(Passage("tea"))
    run(sync)
    unsent = fill(laptop)
    local.execute(f"VACUUM INTO '{tmp_path / 'old.db'}'")
    run(sync)
    laptop.erase("ada")
    run(sync)
    with holdfast.connect(tmp_path / "old.db") as old:
        again = Sync(old, hub, tables=["notes"])
        again.run()
        again.run()
        assert notes(old).size() == notes(hub).size() == 0
        assert unsent not in [record.id for record in notes(hub).get_all()]
