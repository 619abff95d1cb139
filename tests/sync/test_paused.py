"""A table that is paused while its rows are on their way: they arrive once it is healed, and once only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import holdfast
from holdfast.sync import Sync, round
from sync.world import Killed, kill

RUNS = {"id": "TEXT PRIMARY KEY", "name": "TEXT", "note": "TEXT"}
Stop = Callable[[Sync, str], None]
Rows = dict[str, tuple[Any, Any]]


def rows(db: holdfast.Database, table: str = "runs") -> Rows:
    return {row["id"]: (row["name"], row["note"]) for row in db.select(table, ["id", "name", "note"])}


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> Stop:
    """A function that has a run end right before a step."""

    def stopped(sync: Sync, step: str) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(round, step, lambda *given: kill())
            with pytest.raises(Killed):
                sync.run()

    return stopped


@pytest.fixture
def mine(local: holdfast.Database, hub: holdfast.Database) -> Sync:
    for name in ("notes", "runs"):
        local.create_table(name, RUNS)
        hub.create_table(name, RUNS, checks=["name <> 'refused'"])
        local.insert_many(name, [{"id": id, "name": "old", "note": "old"} for id in ("u", "d", "both")])
    sync = Sync(local, hub)
    sync.enable()
    sync.run()
    return sync


@pytest.fixture
def theirs(mine: Sync, other: holdfast.Database, hub: holdfast.Database) -> Sync:
    sync = Sync(other, hub)
    sync.enable()
    sync.run()
    return sync


def change(local: holdfast.Database) -> None:
    for name in ("notes", "runs"):
        local.insert(name, {"id": "i", "name": "new", "note": "new"})
        local.update(name, {"name": "new"}, {"id": "u"})
        local.delete(name, {"id": "d"})
        local.update(name, {"name": "new"}, {"id": "both"})


def pause(hub: holdfast.Database) -> None:
    hub.add_column("runs", "more", "TEXT")


def heal(local: holdfast.Database) -> None:
    local.add_column("runs", "more", "TEXT")


def assert_alike(hub: holdfast.Database, *replicas: tuple[Sync, holdfast.Database]) -> Rows:
    for sync, _ in [*replicas, *replicas]:
        sync.run()
    for sync, local in replicas:
        assert sync.status().is_quiet
        for table in ("notes", "runs"):
            assert rows(local, table) == rows(hub, table)
    return rows(hub)


ARRIVED = {"i": ("new", "new"), "u": ("new", "old"), "both": ("new", "old")}


@pytest.mark.parametrize("direction", ["both", "push"])
def test_paused_before_the_push(
    direction: str, mine: Sync, local: holdfast.Database, hub: holdfast.Database, stop: Stop
) -> None:
    change(local)
    stop(mine, "push")
    pause(hub)
    # Of what is changed meanwhile, what it was at first is what counts.
    local.update("runs", {"name": "newer"}, {"id": "u"})
    local.delete("runs", {"id": "i"})
    hub.update("runs", {"note": "hub"}, {"id": "both"})
    report = mine.run(direction)
    assert list(report.paused) == ["runs"]
    assert rows(hub, "notes") == rows(local, "notes") == ARRIVED
    assert rows(hub) == {"u": ("old", "old"), "d": ("old", "old"), "both": ("old", "hub")}
    heal(local)
    assert assert_alike(hub, (mine, local)) == {"u": ("newer", "old"), "both": ("new", "hub")}
    assert mine.conflicts() == []


def test_pulled_first_once_it_is_healed(
    mine: Sync, local: holdfast.Database, hub: holdfast.Database, stop: Stop
) -> None:
    change(local)
    stop(mine, "push")
    pause(hub)
    hub.update("runs", {"note": "hub"}, {"id": "both"})
    mine.run()
    heal(local)
    mine.run("pull")
    assert rows(local)["both"] == ("new", "hub")
    assert assert_alike(hub, (mine, local)) == {**ARRIVED, "both": ("new", "hub")}
    assert mine.conflicts() == []


def test_healed_before_the_acknowledgement(
    mine: Sync, local: holdfast.Database, hub: holdfast.Database, stop: Stop
) -> None:
    """The hub has the batch without the table, and is asked again for all of it."""
    change(local)
    stop(mine, "push")
    pause(hub)
    stop(mine, "acknowledge")
    heal(local)
    assert assert_alike(hub, (mine, local)) == ARRIVED
    assert mine.conflicts() == []


def test_paused_after_the_push(
    mine: Sync,
    theirs: Sync,
    local: holdfast.Database,
    other: holdfast.Database,
    hub: holdfast.Database,
    stop: Stop,
) -> None:
    """The hub has the rows, the replica does not know, and another has removed some of them since."""
    hub.update("runs", {"name": "hub"}, {"id": "both"})
    change(local)
    local.insert("runs", {"id": "r", "name": "refused", "note": None})
    stop(mine, "acknowledge")
    theirs.run()
    other.delete("runs", {"id": "i"})
    other.update("runs", {"name": "newest"}, {"id": "u"})
    theirs.run()
    pause(hub)
    local.update("runs", {"note": "newer"}, {"id": "u"})
    assert list(mine.run().paused) == ["runs"]
    heal(local)
    other.add_column("runs", "more", "TEXT")
    mine.run(), theirs.run(), mine.run()
    # What the hub refused is kept, and waits.
    assert rows(local)["r"] == ("refused", None)
    assert [row.key for row in mine.status().quarantined] == [("r",)]
    local.update("runs", {"name": "taken"}, {"id": "r"})
    expected = {"u": ("newest", "newer"), "both": ("hub", "old"), "r": ("taken", None)}
    assert assert_alike(hub, (mine, local), (theirs, other)) == expected
    (conflict,) = mine.conflicts()
    assert (conflict.key, conflict.columns) == ({"id": "both"}, ("name",))


def test_a_value_that_the_hub_does_not_hold(opened: Callable[[str], holdfast.Database], stop: Stop) -> None:
    local, hub = opened("postgres"), opened("sqlite")
    local.create_table("runs", {"id": "TEXT PRIMARY KEY", "score": "REAL"})
    sync = Sync(local, hub)
    sync.enable()
    sync.run()
    local.insert_many("runs", [{"id": "a", "score": 1.0}, {"id": "nan", "score": float("nan")}])
    stop(sync, "acknowledge")
    hub.add_column("runs", "more", "TEXT")
    sync.run()
    local.add_column("runs", "more", "TEXT")
    sync.run()
    assert {row["id"] for row in local.select("runs")} == {"a", "nan"}
    local.update("runs", {"score": 2.0}, {"id": "nan"})
    sync.run()
    assert {row["id"]: row["score"] for row in hub.select("runs")} == {"a": 1.0, "nan": 2.0}
    assert sync.status().is_quiet


def test_a_table_that_is_gone_here(
    mine: Sync, local: holdfast.Database, hub: holdfast.Database, stop: Stop
) -> None:
    change(local)
    stop(mine, "push")
    local.drop_table("runs")
    assert list(mine.run().paused) == ["runs"]
    assert rows(hub, "notes") == ARRIVED
