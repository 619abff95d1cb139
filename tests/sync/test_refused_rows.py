"""A row that one side will not take is set aside with the reason; all others go on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import holdfast
from holdfast.sync import Sync, stage

Opened = Callable[[str], holdfast.Database]


def test_a_check_of_the_hub(local: holdfast.Database, hub: holdfast.Database) -> None:
    local.create_table("runs", {"id": "TEXT PRIMARY KEY", "score": "REAL"})
    hub.create_table("runs", {"id": "TEXT PRIMARY KEY", "score": "REAL"}, checks=["score < 10"])
    sync = Sync(local, hub)
    sync.enable()
    local.insert_many("runs", [{"id": f"r{i:02}", "score": float(i)} for i in range(12)])
    report = sync.run()
    assert (report.pushed, report.quarantined) == (10, 2)
    assert [(row.key, row.direction) for row in sync.status().quarantined] == [
        (("r10",), "push"),
        (("r11",), "push"),
    ]
    assert "CheckViolation" in sync.status().quarantined[0].reason
    assert local.count("runs") == 12
    # Changed so that it can be taken, it goes.
    local.update("runs", {"score": 1.0}, {"id": "r10"})
    local.delete("runs", {"id": "r11"})
    assert sync.run().quarantined == 0
    assert hub.select("runs", order_by="id") == local.select("runs", order_by="id")


def test_a_unique_column_besides_the_key(
    local: holdfast.Database, other: holdfast.Database, hub: holdfast.Database
) -> None:
    columns = {"id": "TEXT PRIMARY KEY", "name": "TEXT"}
    local.create_table("users", columns, unique=["name"])
    mine, theirs = Sync(local, hub), Sync(other, hub)
    mine.enable(), theirs.enable()
    local.insert_many("users", [{"id": "1", "name": "ada"}, {"id": "2", "name": "eve"}])
    other.insert_many("users", [{"id": "3", "name": "ada"}, {"id": "4", "name": "bob"}])
    mine.run(), theirs.run(), mine.run()
    assert {row["id"] for row in hub.select("users")} == {"1", "2", "4"}
    assert {row["id"] for row in local.select("users")} == {"1", "2", "4"}
    # The other keeps its own row, and what cannot stand beside it waits.
    assert {row["id"] for row in other.select("users")} == {"2", "3", "4"}
    assert {(row.key, row.direction) for row in theirs.status().quarantined} == {
        (("3",), "push"),
        (("1",), "pull"),
    }
    other.update("users", {"name": "ada2"}, {"id": "3"})
    theirs.run(), mine.run()
    for db in (local, other, hub):
        assert {row["name"] for row in db.select("users")} == {"ada", "ada2", "bob", "eve"}
    assert theirs.status().quarantined == ()


def test_a_value_that_sqlite_does_not_hold(opened: Opened) -> None:
    local, hub = opened("sqlite"), opened("postgres")
    hub.create_table("runs", {"id": "TEXT PRIMARY KEY", "score": "REAL"})
    sync = Sync(local, hub)
    sync.enable()
    hub.insert_many("runs", [{"id": "a", "score": 1.0}, {"id": "nan", "score": float("nan")}])
    report = sync.run()
    assert (report.pulled, report.quarantined) == (1, 1)
    (row,) = sync.status().quarantined
    assert (row.key, row.direction) == (("nan",), "pull")
    assert "NaN" in row.reason
    hub.update("runs", {"score": 2.0}, {"id": "nan"})
    assert sync.run().quarantined == 0
    assert local.select("runs", order_by="id") == hub.select("runs", order_by="id")


def test_rows_that_refer_to_each_other(local: holdfast.Database, hub: holdfast.Database) -> None:
    local.create_table("b_teams", {"id": "TEXT PRIMARY KEY"})
    local.create_table("a_people", {"id": "TEXT PRIMARY KEY", "team": "TEXT REFERENCES b_teams (id)"})
    sync = Sync(local, hub)
    sync.enable()
    local.insert("b_teams", {"id": "t"})
    local.insert_many("a_people", [{"id": f"p{i}", "team": "t"} for i in range(3)])
    assert sync.run().quarantined == 0
    local.delete("a_people", all_rows=True)
    local.delete("b_teams", all_rows=True)
    assert sync.run().quarantined == 0
    assert (hub.count("a_people"), hub.count("b_teams")) == (0, 0)
    hub.insert("b_teams", {"id": "u"})
    hub.insert("a_people", {"id": "q", "team": "u"})
    assert sync.run().pulled == 2
    assert local.select("a_people") == [{"id": "q", "team": "u"}]


def test_rows_of_one_table_that_refer_to_each_other(local: holdfast.Database, hub: holdfast.Database) -> None:
    local.create_table("tree", {"id": "TEXT PRIMARY KEY", "up": "TEXT REFERENCES tree (id)"})
    sync = Sync(local, hub)
    sync.enable()
    local.insert("tree", {"id": "z", "up": None})
    for child, parent in (("y", "z"), ("a", "y"), ("b", "a")):
        local.insert("tree", {"id": child, "up": parent})
    assert sync.run().quarantined == 0
    assert hub.count("tree") == 4
    for id in ("b", "a", "y", "z"):
        local.delete("tree", {"id": id})
    assert sync.run().quarantined == 0
    assert hub.count("tree") == 0


def test_a_parent_that_was_removed_takes_no_unsent_child_with_it(
    local: holdfast.Database, hub: holdfast.Database
) -> None:
    local.create_table("teams", {"id": "TEXT PRIMARY KEY"})
    local.create_table(
        "people", {"id": "TEXT PRIMARY KEY", "team": "TEXT REFERENCES teams (id) ON DELETE CASCADE"}
    )
    sync = Sync(local, hub)
    sync.enable()
    local.insert("teams", {"id": "t"})
    sync.run()
    hub.delete("teams", {"id": "t"})
    local.insert("people", {"id": "new", "team": "t"})
    assert sync.run().quarantined == 2
    assert local.select("people") == [{"id": "new", "team": "t"}]
    assert {(row.table, row.direction) for row in sync.status().quarantined} == {
        ("people", "push"),
        ("teams", "pull"),
    }
    local.update("people", {"team": None}, {"id": "new"})
    sync.run()
    assert sync.run().quarantined == 0
    assert local.select("people") == hub.select("people") == [{"id": "new", "team": None}]
    assert local.count("teams") == 0


@pytest.mark.parametrize("tables", [("a", "b", "c"), ("c", "b", "a"), ("tree", "tree", "tree")])
def test_a_removed_row_takes_no_unsent_row_with_it_however_far(
    local: holdfast.Database, hub: holdfast.Database, tables: tuple[str, str, str]
) -> None:
    top, middle, low = tables
    for table, above in {top: top, middle: top, low: middle}.items():
        refers = f"TEXT REFERENCES {above} (id) ON DELETE CASCADE"
        local.create_table(table, {"id": "TEXT PRIMARY KEY", "up": refers})
    sync = Sync(local, hub)
    sync.enable()
    local.insert(top, {"id": "1", "up": None})
    local.insert(middle, {"id": "2", "up": "1"})
    sync.run()
    hub.delete(top, {"id": "1"})
    local.insert(low, {"id": "new", "up": "2"})
    for _ in range(2):
        assert sync.run().quarantined == 3
        assert local.select(low, where={"id": "new"}) == [{"id": "new", "up": "2"}]
    local.update(low, {"up": None}, {"id": "new"})
    for _ in range(3):
        report = sync.run()
    assert report.quarantined == 0
    assert local.select(low) == hub.select(low) == [{"id": "new", "up": None}]
    assert local.count(top) == (low == top)


def test_a_parent_that_was_removed_takes_no_unsent_child_of_a_paused_table_with_it(
    local: holdfast.Database, hub: holdfast.Database
) -> None:
    local.create_table("teams", {"id": "TEXT PRIMARY KEY"})
    local.create_table(
        "people", {"id": "TEXT PRIMARY KEY", "team": "TEXT REFERENCES teams (id) ON DELETE CASCADE"}
    )
    sync = Sync(local, hub)
    sync.enable()
    local.insert_many("teams", [{"id": "t"}, {"id": "sent"}])
    local.insert("people", {"id": "old", "team": "sent"})
    sync.run()
    hub.add_column("people", "more", "TEXT")
    local.insert("people", {"id": "new", "team": "t"})
    hub.delete("teams", {"id": ["t", "sent"]})
    for _ in range(2):
        report = sync.run()
        assert (list(report.paused), report.quarantined) == (["people"], 1)
        assert local.select("people") == [{"id": "new", "team": "t"}]
        assert local.select("teams") == [{"id": "t"}]
    local.add_column("people", "more", "TEXT")
    local.update("people", {"team": None}, {"id": "new"})
    sync.run()
    assert sync.run().quarantined == 0
    assert local.select("people", ["id", "team"]) == hub.select("people", ["id", "team"])
    assert hub.select("people", ["id", "team"]) == [{"id": "new", "team": None}]
    assert local.count("teams") == 0


def test_a_paused_table_whose_key_is_another_keeps_every_parent_that_it_refers_to(
    local: holdfast.Database, hub: holdfast.Database
) -> None:
    """Which of its rows wait cannot be told any more, so all are taken to."""
    local.create_table("teams", {"id": "TEXT PRIMARY KEY"})
    local.create_table(
        "people", {"id": "TEXT PRIMARY KEY", "team": "TEXT REFERENCES teams (id) ON DELETE CASCADE"}
    )
    sync = Sync(local, hub)
    sync.enable()
    local.insert_many("teams", [{"id": "t"}, {"id": "free"}])
    sync.run()
    local.insert("people", {"id": "new", "team": "t"})
    local.rename_column("people", "id", "name")
    hub.delete("teams", {"id": ["t", "free"]})
    report = sync.run()
    assert (list(report.paused), report.quarantined) == (["people"], 1)
    assert local.select("people") == [{"name": "new", "team": "t"}]
    assert local.select("teams") == [{"id": "t"}]


def test_a_merged_row_that_the_hub_refuses_is_no_conflict_yet(
    local: holdfast.Database, other: holdfast.Database, hub: holdfast.Database
) -> None:
    """Nothing is decided: both sides keep what they have, until the hub takes a row."""
    columns = {"id": "TEXT PRIMARY KEY", "name": "TEXT", "a": "INTEGER", "b": "INTEGER"}
    local.create_table("runs", columns)
    hub.create_table("runs", columns, checks=["a + b < 10"])
    mine, theirs = Sync(local, hub), Sync(other, hub)
    mine.enable(), theirs.enable()
    local.insert("runs", {"id": "r", "name": "old", "a": 1, "b": 1})
    mine.run(), theirs.run()
    other.update("runs", {"name": "theirs", "b": 8}, {"id": "r"})
    theirs.run()
    local.update("runs", {"name": "mine", "a": 8}, {"id": "r"})
    for _ in range(2):
        report = mine.run()
        assert (report.conflicts, report.quarantined) == (0, 1)
        assert mine.conflicts() == []
    local.update("runs", {"a": 0}, {"id": "r"})
    assert mine.run().conflicts == 1
    (conflict,) = mine.conflicts()
    assert conflict.columns == ("name",)
    assert conflict.result == hub.get("runs", "r") == local.get("runs", "r")
    assert conflict.result == {"id": "r", "name": "theirs", "a": 0, "b": 8}


@pytest.mark.parametrize("name", ["b", "c", "f", "n", "o", "v", "w", "noted", "new_rows", "select"])
def test_a_table_may_be_called_as_one_likes(
    local: holdfast.Database, hub: holdfast.Database, name: str
) -> None:
    local.create_table(name, {"id": "TEXT PRIMARY KEY", "n": "INTEGER"})
    sync = Sync(local, hub)
    sync.enable()
    local.insert_many(name, [{"id": "1", "n": 1}, {"id": "2", "n": 2}])
    sync.run()
    hub.update(name, {"n": 3}, {"id": "1"})
    local.delete(name, {"id": "2"})
    local.update(name, {"n": 4}, {"id": "1"})
    assert sync.run().conflicts == 1
    assert local.select(name) == hub.select(name) == [{"id": "1", "n": 3}]


CHILD = "TEXT REFERENCES {} ON DELETE CASCADE"


@pytest.mark.parametrize("between", ["paused", "not synced", "without a foreign key at the hub"])
def test_a_removed_row_takes_no_unsent_row_with_it_through_a_table_that_is(
    between: str, local: holdfast.Database, hub: holdfast.Database
) -> None:
    for table, up in (
        ("top", "TEXT"),
        ("middle", CHILD.format("top (id)")),
        ("low", CHILD.format("middle (id)")),
    ):
        local.create_table(table, {"id": "TEXT PRIMARY KEY", "up": up})
        hub.create_table(table, {"id": "TEXT PRIMARY KEY", "up": "TEXT"})
    tables = ["top", "low"] if between == "not synced" else ["top", "middle", "low"]
    sync = Sync(local, hub, tables)
    sync.enable()
    local.insert_many("top", [{"id": "1", "up": None}, {"id": "free", "up": None}])
    local.insert("middle", {"id": "2", "up": "1"})
    sync.run()
    if between == "paused":
        hub.add_column("middle", "more", "TEXT")
    local.insert("low", {"id": "new", "up": "2"})
    hub.delete("top", {"id": ["1", "free"]})
    for direction in ("pull", "pull"):
        assert sync.run(direction).quarantined == 1
        assert local.select("low") == [{"id": "new", "up": "2"}]
        assert local.select("top", ["id"]) == [{"id": "1"}]
    (row,) = sync.status().quarantined
    assert (row.table, row.key, row.direction) == ("top", ("1",), "pull")
    assert "waits to be sent" in row.reason
    sync.run()
    assert hub.get("low", "new") == {"id": "new", "up": "2"}
    if between == "without a foreign key at the hub":
        assert sync.run().quarantined == 1, "the hub keeps what refers to it"
        assert local.select("middle") == hub.select("middle") == [{"id": "2", "up": "1"}]
        hub.delete("low", {"id": "new"})
        hub.delete("middle", {"id": "2"})
    # Nothing waits any more, and what the hub has removed goes.
    assert sync.run().quarantined == 0
    assert local.count("top") == 0


def test_a_foreign_key_on_another_column_than_the_key(
    local: holdfast.Database, hub: holdfast.Database
) -> None:
    for db in (local, hub):
        db.create_table("teams", {"id": "TEXT PRIMARY KEY", "name": "TEXT"}, unique=["name"])
        db.create_table("people", {"id": "TEXT PRIMARY KEY", "team": CHILD.format("teams (name)")})
    sync = Sync(local, hub)
    sync.enable()
    local.insert("teams", {"id": "t", "name": "lab"})
    sync.run()
    hub.delete("teams", {"id": "t"})
    local.insert("people", {"id": "new", "team": "lab"})
    for _ in range(2):
        assert sync.run().quarantined == 2
        assert local.select("people") == [{"id": "new", "team": "lab"}]
    local.update("people", {"team": None}, {"id": "new"})
    sync.run()
    assert sync.run().quarantined == 0
    assert hub.select("people") == [{"id": "new", "team": None}]
    assert local.count("teams") == 0


def test_a_row_that_comes_while_what_it_refers_to_is_removed(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL another program may write between any two statements of a pull."""
    local, hub = opened("postgres"), opened("sqlite")
    for db in (local, hub):
        db.create_table("teams", {"id": "TEXT PRIMARY KEY"})
        db.create_table("people", {"id": "TEXT PRIMARY KEY", "team": CHILD.format("teams (id)")})
    sync = Sync(local, hub)
    sync.enable()
    local.insert("teams", {"id": "t"})
    sync.run()
    hub.delete("teams", {"id": "t"})
    right = stage.Stage.delete
    someone = holdfast.connect(local.url)

    def delete(given: stage.Stage) -> str:
        if given.side.tracked.name == "teams" and not someone.count("people"):
            someone.insert("people", {"id": "new", "team": "t"})
        return right(given)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(stage.Stage, "delete", delete)
            sync.run()
        assert local.select("people") == [{"id": "new", "team": "t"}]
        assert local.count("teams") == 1
    finally:
        someone.close()


def test_a_row_that_the_hub_removes_with_its_parent_is_on_record(
    local: holdfast.Database, other: holdfast.Database, hub: holdfast.Database
) -> None:
    """Who removed the parent had never seen the row, so nobody meant it to go."""
    local.create_table("teams", {"id": "TEXT PRIMARY KEY"})
    columns = {"id": "TEXT PRIMARY KEY", "name": "TEXT", "team": CHILD.format("teams (id)")}
    local.create_table("people", columns)
    mine, theirs = Sync(local, hub), Sync(other, hub)
    mine.enable(), theirs.enable()
    local.insert("teams", {"id": "t"})
    local.insert("people", {"id": "known", "name": "ada", "team": "t"})
    mine.run(), theirs.run()
    other.insert("people", {"id": "new", "name": "eve", "team": "t"})
    theirs.run()
    local.delete("teams", {"id": "t"})
    assert mine.run().conflicts == 1
    theirs.run()
    for db in (local, other, hub):
        assert (db.count("teams"), db.count("people")) == (0, 0)
    (conflict,) = mine.conflicts()
    assert (conflict.table, conflict.key, conflict.ours, conflict.result) == (
        "people",
        {"id": "new"},
        None,
        None,
    )
    assert conflict.hub == {"id": "new", "name": "eve", "team": "t"}
    local.insert("teams", {"id": "t"})
    mine.resolve(conflict, keep="hub")
    mine.run()
    assert hub.get("people", "new") == conflict.hub


@pytest.mark.parametrize("action", ["CASCADE", "SET NULL", "SET DEFAULT"])
def test_a_row_that_the_hub_keeps_is_not_lost_by_a_key_of_the_replica_alone(
    local: holdfast.Database, hub: holdfast.Database, action: str
) -> None:
    """The parent stays and is listed, until the child refers to another one or goes."""
    for db, to in ((local, f" REFERENCES teams (id) ON DELETE {action}"), (hub, "")):
        db.create_table("teams", {"id": "TEXT PRIMARY KEY"})
        db.create_table("people", {"id": "TEXT PRIMARY KEY", "team": f"TEXT DEFAULT 'none'{to}"})
    sync = Sync(local, hub)
    sync.enable()
    hub.insert_many("teams", [{"id": name} for name in ("none", "t", "u", "v")])
    hub.insert_many("people", [{"id": "p", "team": "t"}, {"id": "q", "team": "u"}, {"id": "r", "team": "u"}])
    sync.run()
    # One is removed with all that refer to it, one with some of them, one with none.
    hub.delete("people", {"id": "p"})
    hub.delete("people", {"id": "q"})
    hub.delete("teams", "id IN ('t', 'u', 'v')")
    for _ in range(2):
        assert sync.run().quarantined == 1
        assert local.select("people") == hub.select("people") == [{"id": "r", "team": "u"}]
        assert [row["id"] for row in local.select("teams", order_by="id")] == ["none", "u"]
        (row,) = sync.status().quarantined
        assert (row.table, row.key, row.direction) == ("teams", ("u",), "pull")
        assert "that the hub keeps" in row.reason
    hub.update("people", {"team": None}, {"id": "r"})
    assert sync.run().quarantined == 0
    assert local.select("teams") == hub.select("teams") == [{"id": "none"}]
    assert local.select("people") == hub.select("people")


def test_a_key_of_the_replica_alone_within_a_table(local: holdfast.Database, hub: holdfast.Database) -> None:
    """What goes at the hub with all below it goes here, too; what stays there stays here."""
    local.create_table(
        "tree", {"id": "TEXT PRIMARY KEY", "up": "TEXT REFERENCES tree (id) ON DELETE CASCADE"}
    )
    hub.create_table("tree", {"id": "TEXT PRIMARY KEY", "up": "TEXT"})
    sync = Sync(local, hub)
    sync.enable()
    above = {"a": None, "b": "a", "c": "b", "x": None, "y": "x", "z": "y"}
    hub.insert_many("tree", [{"id": id, "up": up} for id, up in above.items()])
    sync.run()
    hub.delete("tree", "id <> 'z'")
    sync.run()
    assert [row["id"] for row in local.select("tree", order_by="id")] == ["x", "y", "z"]
    assert {row.key for row in sync.status().quarantined} == {("x",), ("y",)}
    hub.delete("tree", {"id": "z"})
    sync.run()
    assert (sync.run().quarantined, local.count("tree")) == (0, 0)
