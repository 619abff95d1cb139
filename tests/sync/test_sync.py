"""What two people and a hub see of a sync: changes travel both ways, and nothing is lost."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.sync import Sync

RUNS = {"id": "TEXT PRIMARY KEY", "name": "TEXT", "score": "REAL"}
Rows = list[dict[str, Any]]


def rows(db: holdfast.Database, table: str = "runs") -> Rows:
    return db.select(table, order_by="id")


@pytest.fixture
def mine(local: holdfast.Database, hub: holdfast.Database) -> Sync:
    local.create_table("runs", RUNS)
    sync = Sync(local, hub)
    assert sync.enable() == ["runs"]
    return sync


@pytest.fixture
def theirs(mine: Sync, other: holdfast.Database, hub: holdfast.Database) -> Sync:
    sync = Sync(other, hub)
    sync.enable()
    return sync


def test_rows_go_to_the_hub_and_to_others(
    mine: Sync, theirs: Sync, local: holdfast.Database, hub: holdfast.Database, other: holdfast.Database
) -> None:
    local.insert_many("runs", [{"id": f"r{i}", "name": "a", "score": i / 2} for i in range(50)])
    report = mine.run()
    assert (report.pushed, report.conflicts) == (50, 0)
    assert rows(hub) == rows(local)
    assert theirs.run().pulled == 50
    assert rows(other) == rows(local)
    assert mine.status().is_quiet
    assert theirs.status().is_quiet


def test_updates_and_deletes_travel_both_ways(
    mine: Sync, theirs: Sync, local: holdfast.Database, hub: holdfast.Database, other: holdfast.Database
) -> None:
    local.insert_many("runs", [{"id": f"r{i}", "name": "a", "score": 0.5} for i in range(5)])
    mine.run(), theirs.run()
    other.update("runs", {"name": "b"}, {"id": "r1"})
    other.delete("runs", {"id": "r2"})
    hub.update("runs", {"score": 2.0}, {"id": "r3"})
    hub.insert("runs", {"id": "r9", "name": "hub", "score": None})
    hub.delete("runs", {"id": "r4"})
    theirs.run(), mine.run()
    expected = [
        {"id": "r0", "name": "a", "score": 0.5},
        {"id": "r1", "name": "b", "score": 0.5},
        {"id": "r3", "name": "a", "score": 2.0},
        {"id": "r9", "name": "hub", "score": None},
    ]
    assert rows(local) == rows(other) == rows(hub) == expected


def test_two_columns_of_one_row_are_merged_and_the_same_column_is_on_record(
    mine: Sync, theirs: Sync, local: holdfast.Database, hub: holdfast.Database, other: holdfast.Database
) -> None:
    local.insert("runs", {"id": "r", "name": "a", "score": 0.5})
    mine.run(), theirs.run()
    local.update("runs", {"name": "mine"}, {"id": "r"})
    other.update("runs", {"score": 1.5}, {"id": "r"})
    mine.run(), theirs.run(), mine.run()
    assert rows(local) == rows(other) == rows(hub) == [{"id": "r", "name": "mine", "score": 1.5}]
    assert mine.conflicts() == []

    local.update("runs", {"name": "first"}, {"id": "r"})
    other.update("runs", {"name": "second", "score": 3.0}, {"id": "r"})
    mine.run()
    assert theirs.run().conflicts == 1
    mine.run()
    assert rows(local) == rows(other) == rows(hub) == [{"id": "r", "name": "first", "score": 3.0}]
    (conflict,) = mine.conflicts()
    assert (conflict.kind, conflict.columns, conflict.key) == ("update/update", ("name",), {"id": "r"})
    assert conflict.ours == {"id": "r", "name": "second", "score": 3.0}
    theirs.resolve(conflict, keep="ours")
    theirs.run(), mine.run()
    assert rows(local) == rows(other) == rows(hub) == [{"id": "r", "name": "second", "score": 3.0}]
    assert mine.conflicts() == []
    assert len(mine.conflicts(all=True)) == 1


@pytest.mark.parametrize("policy", ["hub", "delete_wins"])
def test_a_deleted_row_stays_deleted(
    policy: str, local: holdfast.Database, other: holdfast.Database, hub: holdfast.Database
) -> None:
    local.create_table("runs", RUNS)
    mine, theirs = Sync(local, hub, policy=policy), Sync(other, hub, policy=policy)
    mine.enable(), theirs.enable()
    local.insert("runs", {"id": "r", "name": "a", "score": 0.5})
    mine.run(), theirs.run()
    local.delete("runs", {"id": "r"})
    other.update("runs", {"name": "b"}, {"id": "r"})
    mine.run(), theirs.run(), mine.run(), theirs.run()
    assert rows(local) == rows(other) == rows(hub) == []
    (conflict,) = theirs.conflicts()
    assert conflict.kind == "update/delete"
    assert conflict.ours == {"id": "r", "name": "b", "score": 0.5}


@pytest.mark.parametrize(("policy", "left"), [("hub", 1), ("delete_wins", 0)])
def test_deleting_what_another_has_changed(
    policy: str, left: int, local: holdfast.Database, other: holdfast.Database, hub: holdfast.Database
) -> None:
    local.create_table("runs", RUNS)
    mine, theirs = Sync(local, hub, policy=policy), Sync(other, hub, policy=policy)
    mine.enable(), theirs.enable()
    local.insert("runs", {"id": "r", "name": "a", "score": 0.5})
    mine.run(), theirs.run()
    local.update("runs", {"name": "b"}, {"id": "r"})
    other.delete("runs", {"id": "r"})
    mine.run(), theirs.run(), mine.run()
    assert rows(local) == rows(other) == rows(hub)
    assert len(rows(hub)) == left
    (conflict,) = theirs.conflicts()
    assert conflict.kind == "delete/update"


def test_two_filled_databases_become_one(local: holdfast.Database, hub: holdfast.Database) -> None:
    for db, own in ((local, "here"), (hub, "hub")):
        db.create_table("runs", RUNS)
        db.insert_many(
            "runs",
            [
                {"id": "same", "name": "x", "score": 1.0},
                {"id": "other", "name": own, "score": 1.0},
                {"id": own, "name": own, "score": None},
            ],
        )
    sync = Sync(local, hub)
    sync.enable()
    (plan,) = sync.plan()
    assert (plan.here_only, plan.hub_only, plan.alike, plan.different) == (1, 1, 1, 1)
    assert sync.run().conflicts == 1
    assert rows(local) == rows(hub)
    assert [row["name"] for row in rows(hub)] == ["here", "hub", "hub", "x"]


def test_a_plain_program_that_replaces_rows_is_noticed(tmp_path: Path) -> None:
    with holdfast.connect(tmp_path / "a.db") as local, holdfast.connect(tmp_path / "hub.db") as hub:
        local.execute("CREATE TABLE users (id TEXT PRIMARY KEY, name TEXT UNIQUE)")
        sync = Sync(local, hub)
        sync.enable()
        local.insert_many("users", [{"id": str(i), "name": f"n{i}"} for i in range(5)])
        sync.run()
        with closing(sqlite3.connect(tmp_path / "a.db")) as plain, plain:
            # Each word takes rows away for which SQLite fires no trigger, or goes over what was noted before.
            plain.execute("UPDATE users SET name = 'first' WHERE id = '0'")
            plain.execute("INSERT OR REPLACE INTO users VALUES ('0', 'second')")
            plain.execute("INSERT OR REPLACE INTO users VALUES ('new', 'n1')")
            plain.execute("UPDATE OR REPLACE users SET name = 'n2' WHERE id = '3'")
            plain.execute("INSERT OR IGNORE INTO users VALUES ('4', 'ignored')")
            plain.execute(
                "INSERT INTO users VALUES ('4', 'x') ON CONFLICT (id) DO UPDATE SET name = 'upserted'"
            )
            plain.execute("INSERT INTO users VALUES (NULL, 'without a key')")
        hub.update("users", {"name": "from the hub"}, {"id": "0"})
        report = sync.run()
        assert (report.conflicts, report.quarantined) == (1, 0)
        (conflict,) = sync.conflicts()
        # What it was when it was changed first, not in between.
        assert conflict.base == {"id": "0", "name": "n0"}
        expected = [
            {"id": "0", "name": "from the hub"},
            {"id": "3", "name": "n2"},
            {"id": "4", "name": "upserted"},
            {"id": "new", "name": "n1"},
        ]
        assert rows(hub, "users") == expected
        assert [row for row in rows(local, "users") if row["id"]] == expected


def test_the_tables_of_an_application_of_agents(tmp_path: Path) -> None:
    from holdfast.agents.crud import skills
    from holdfast.agents.models.base import metadata

    with holdfast.connect(tmp_path / "a.db") as local, holdfast.connect(tmp_path / "hub.db") as hub:
        metadata.create_all(local.engine)
        local._executor.forget()
        sync = Sync(local, hub)
        assert {"users", "threads", "messages", "hf_checkpoints"} <= set(sync.enable())
        skills.create(local, {"name": "search", "description": "Looks things up."})
        assert sync.run().pushed == 1
        assert hub.select("skills") == local.select("skills") != []
