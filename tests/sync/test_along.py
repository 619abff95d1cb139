"""What the hub's foreign keys do to rows along with a removed one is on record where nobody has said so."""

from __future__ import annotations

import pytest

import holdfast
from holdfast.sync import Sync

ACTIONS = ("CASCADE", "SET NULL", "SET DEFAULT")


def _tables(hub: holdfast.Database, action: str) -> None:
    hub.create_table("teams", {"id": "TEXT PRIMARY KEY"})
    hub.create_table(
        "people",
        {
            "id": "TEXT PRIMARY KEY",
            "name": "TEXT",
            "team": f"TEXT DEFAULT 'none' REFERENCES teams (id) ON DELETE {action}",
        },
    )
    hub.insert_many("teams", [{"id": "t"}, {"id": "none"}, {"id": "kept"}])


@pytest.mark.parametrize("how", ["has not run since", "does not sync them", "paused"])
@pytest.mark.parametrize("action", ACTIONS)
def test_a_row_that_the_remover_never_saw(
    local: holdfast.Database,
    other: holdfast.Database,
    hub: holdfast.Database,
    action: str,
    how: str,
) -> None:
    sync = Sync(local, hub, tables=["teams"] if how == "does not sync them" else None)
    theirs = Sync(other, hub)
    _tables(hub, action)
    sync.enable(), theirs.enable()
    sync.run(), theirs.run()
    if how == "paused":
        local.add_column("people", "more", "TEXT")
    other.insert_many(
        "people", [{"id": "a", "name": "Ada", "team": "t"}, {"id": "b", "name": "Bob", "team": "kept"}]
    )
    theirs.run()
    local.delete("teams", {"id": "t"})
    assert sync.run().conflicts == 1
    (conflict,) = theirs.conflicts()
    assert (conflict.table, conflict.key) == ("people", {"id": "a"})
    assert conflict.hub == {"id": "a", "name": "Ada", "team": "t"}
    now = None if action == "CASCADE" else conflict.hub | {"team": None if action == "SET NULL" else "none"}
    assert (conflict.ours, conflict.result) == (now, now)
    assert hub.select("people", where={"id": "a"}) == ([] if now is None else [now])
    assert conflict.columns == (() if now is None else ("team",))
    theirs.run()
    assert sorted(other.select("people"), key=str) == sorted(hub.select("people"), key=str)
    # It can be put back.
    other.insert("teams", {"id": "t"})
    theirs.resolve(conflict, keep="hub")
    theirs.run()
    assert hub.get("people", "a") == conflict.hub
    assert theirs.conflicts() == []


@pytest.mark.parametrize("action", ["SET NULL", "SET DEFAULT"])
def test_a_row_that_is_sent_with_the_removal(
    local: holdfast.Database, other: holdfast.Database, hub: holdfast.Database, action: str
) -> None:
    """Another has put it into the team that goes, so that what is merged is set by the foreign key."""
    _tables(hub, action)
    hub.insert_many("people", [{"id": f"p{i}", "name": "x", "team": "kept"} for i in range(3)])
    sync, theirs = Sync(local, hub), Sync(other, hub)
    sync.enable(), theirs.enable()
    sync.run(), theirs.run()
    other.update("people", {"team": "t"}, {"id": "p0"})
    theirs.run()
    local.update("people", {"name": "y"}, all_rows=True)
    local.delete("teams", {"id": "t"})
    assert sync.run().conflicts == 1
    (conflict,) = sync.conflicts()
    assert (conflict.key, conflict.columns) == ({"id": "p0"}, ("team",))
    assert conflict.hub == {"id": "p0", "name": "y", "team": "t"}
    assert conflict.result == hub.get("people", "p0") == local.get("people", "p0")
    theirs.run()
    assert sorted(other.select("people"), key=str) == sorted(hub.select("people"), key=str)


def test_who_has_seen_the_row_has_said_so(local: holdfast.Database, hub: holdfast.Database) -> None:
    _tables(hub, "SET NULL")
    hub.insert_many("people", [{"id": f"p{i}", "name": "x", "team": "t"} for i in range(300)])
    sync = Sync(local, hub)
    sync.enable()
    sync.run()
    local.delete("teams", {"id": "t"})
    assert sync.run().conflicts == 0
    assert hub.count("people", {"team": None}) == 300


def test_further_down(local: holdfast.Database, other: holdfast.Database, hub: holdfast.Database) -> None:
    """A cascade takes a row along to which others refer, of the same table as well."""
    hub.create_table("labs", {"id": "TEXT PRIMARY KEY"})
    hub.create_table(
        "teams", {"id": "TEXT PRIMARY KEY", "lab": "TEXT REFERENCES labs (id) ON DELETE CASCADE"}
    )
    hub.create_table(
        "people",
        {
            "id": "TEXT PRIMARY KEY",
            "team": "TEXT REFERENCES teams (id) ON DELETE SET NULL",
            "head": "TEXT REFERENCES people (id) ON DELETE SET NULL",
        },
    )
    hub.insert("labs", {"id": "l"})
    sync, theirs = Sync(local, hub), Sync(other, hub)
    sync.enable(), theirs.enable()
    sync.run(), theirs.run()
    other.insert("teams", {"id": "t", "lab": "l"})
    other.insert("people", {"id": "p", "team": "t", "head": None})
    other.insert_many("people", [{"id": f"q{i:03}", "team": "t", "head": "p"} for i in range(250)])
    theirs.run()
    local.delete("labs", {"id": "l"})
    assert sync.run().conflicts == 252
    found = sync.conflicts()
    assert {(c.table, c.kind) for c in found} == {("teams", "delete/update"), ("people", "update/update")}
    assert {c.hub["team"] for c in found if c.table == "people"} == {"t"}
    sync.run(), theirs.run()
    local.delete("people", {"id": "p"})
    assert sync.run().conflicts == 0, "here the same was done, and sent"
