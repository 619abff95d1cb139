"""A first sync copies a table into an empty one at once; what notes changes there is as it was before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import holdfast
from holdfast.sync import Sync

Opened = Callable[[str], holdfast.Database]
COLUMNS = {"id": "TEXT PRIMARY KEY", "name": "TEXT UNIQUE", "n": "INTEGER"}


def rows(last: int) -> list[dict[str, Any]]:
    return [{"id": f"r{n:07}", "name": f"run {n}", "n": n} for n in range(last)]


def triggers(database: holdfast.Database) -> list[Any]:
    return database.query("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name")


@pytest.mark.parametrize("is_alone", [True, False])
def test_changes_are_noted_on_both_sides_after_a_copy(way: Any, opened: Opened, is_alone: bool) -> None:
    local, other, hub = opened(way[0]), opened(way[0]), opened(way[1])
    local.create_table("runs", COLUMNS)
    local.insert_many("runs", rows(3_000))
    mine, theirs = Sync(local, hub), Sync(other, hub)
    mine.enable()
    if not is_alone:
        theirs.enable()
    files = [database for database, engine in ((local, way[0]), (hub, way[1])) if engine == "sqlite"]
    before = [triggers(database) for database in files]
    assert mine.run().pushed == 3_000
    theirs.enable(), theirs.run()
    assert [triggers(database) for database in files] == before
    hub.update("runs", {"n": -1}, {"id": "r0000001"})
    local.delete("runs", {"id": "r0000002"})
    other.insert("runs", {"id": "new", "name": "new", "n": 7})
    for sync in (mine, theirs, mine):
        sync.run()
    found = local.select("runs", order_by="id")
    assert found == other.select("runs", order_by="id") == hub.select("runs", order_by="id")
    assert len(found) == 3_000
    assert found[2]["n"] == -1


def test_a_row_that_is_refused_leaves_the_notes_of_the_hub_as_they_were(way: Any, opened: Opened) -> None:
    local, hub = opened(way[0]), opened(way[1])
    local.create_table("runs", COLUMNS)
    hub.create_table("runs", COLUMNS, checks=["n <> 700"])
    local.insert_many("runs", rows(1_000))
    sync = Sync(local, hub)
    sync.enable()
    before = triggers(hub) if way[1] == "sqlite" else []
    sync.run()
    assert hub.count("runs") == 999
    assert (triggers(hub) if way[1] == "sqlite" else []) == before
    hub.update("runs", {"n": -1}, {"id": "r0000001"})
    sync.run()
    assert local.get("runs", "r0000001")["n"] == -1


def test_a_file_that_is_a_replica_and_a_hub_passes_a_first_copy_on(opened: Opened) -> None:
    """The notes of one role are set aside for the copy; those of the other are kept."""
    far, middle, near = opened("sqlite"), opened("sqlite"), opened("sqlite")
    far.create_table("runs", COLUMNS)
    far.insert_many("runs", rows(500))
    for source, between in ((Sync(far, middle), Sync(near, middle)), (Sync(middle, near), Sync(far, middle))):
        source.enable(), between.enable()
        source.run(), between.run(), source.run(), between.run()
    assert near.count("runs") == middle.count("runs") == 500
