"""A replica that leaves a hub, or joins it anew, lets the hub forget what it kept for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

import holdfast
from holdfast.errors import ConnectionFailed, InvalidQuery, SyncError
from holdfast.sync import Sync, notes
from sync.world import Fault, Killed, World, kill

Make = Callable[..., World]


def _cursors(world: World) -> int:
    return int(world.hub.run("SELECT count(*) FROM hf_sync_cursors")[0][0])


def _killed_at_each_commit(
    make: Make, moment: str, act: Callable[[Sync], object], *, at_least: int
) -> Iterator[tuple[World, Sync]]:
    """Worlds in which ``act`` was killed at one commit after the other, and done once more."""
    for commit in range(1, 12):
        world, ended = make(), False
        try:
            one, _ = world.add(), world.add()
            world.write("r0", "k0", "insert"), world.settle()
            sync = world._sync(one, 0)
            try:
                with world.commits.during(Fault(commit, moment, kill)):
                    act(sync)
                    ended = True
            except Killed:
                act(sync)
            yield world, sync
        finally:
            world.close()
        if ended:
            assert commit > at_least
            return
    pytest.fail("it did not end")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_while_it_leaves(make: Make, moment: str) -> None:
    """Done once more, nothing is left at the hub, whichever commit was the last."""
    for world, sync in _killed_at_each_commit(make, moment, Sync.disable, at_least=2):
        assert not sync.is_enabled
        assert _cursors(world) == 1
        assert world.hub.run("SELECT count(*) FROM hf_sync_replicas") == [(1,)]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_while_it_joins_anew(make: Make, moment: str) -> None:
    for world, _ in _killed_at_each_commit(make, moment, Sync.rebase, at_least=3):
        assert _cursors(world) == 2
        world.write("r0", "k1", "insert"), world.write("hub", "k2", "insert")
        world.check_quiet()
        assert _cursors(world) == 2


def test_a_table_that_is_not_synced_any_more(local: holdfast.Database, hub: holdfast.Database) -> None:
    """Its changes are not kept for one that does not read them; nor are those of the others lost."""
    for name in ("kept", "left"):
        local.create_table(name, {"id": "TEXT PRIMARY KEY"})
    sync = Sync(local, hub)
    sync.enable()
    sync.run()
    sync.disable(["left"])
    for number in range(3):
        for name in ("kept", "left"):
            hub.insert(name, {"id": f"r{number}"})
    sync.run()
    assert len(hub.query(f"SELECT * FROM {notes.CURSORS}")) == 1
    assert (local.count("kept"), local.count("left")) == (3, 0)
    hub.delete("left", {"id": "r0"})
    sync.enable()
    sync.run()
    assert len(hub.query(f"SELECT * FROM {notes.CURSORS}")) == 2
    assert {row["id"] for row in local.select("left")} == {"r1", "r2"}


def test_a_hub_that_is_away(local: holdfast.Database, hub: holdfast.Database) -> None:
    """It is ended here all the same, and the error says that the hub does not know."""
    local.create_table("runs", {"id": "TEXT PRIMARY KEY"})
    Sync(local, hub).enable()
    sync = Sync(local, hub)

    def away(*arguments: object, **options: object) -> None:
        raise ConnectionFailed("the hub is away")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("holdfast.sync.enabling.leave", away)
        with pytest.raises(ConnectionFailed):
            sync.disable()
    assert not sync.is_enabled
    local.insert("runs", {"id": "a"})


def test_what_is_not_synced_cannot_be_ended(local: holdfast.Database, hub: holdfast.Database) -> None:
    local.create_table("runs", {"id": "TEXT PRIMARY KEY"})
    sync = Sync(local, hub)
    with pytest.raises(SyncError, match="'runs' is not synced"):
        sync.disable(["runs"])
    sync.enable()
    with pytest.raises(InvalidQuery):
        sync.disable("runs")
    with pytest.raises(SyncError, match="'rums' is not synced") as raised:
        sync.disable(["runs", "rums"])
    assert "runs" in str(raised.value.hint)
    assert sync.status().pending == {"runs": 0}
