"""A column of a synced table is dropped by another program: the table is paused, and may be written to."""

from __future__ import annotations

import pytest

import holdfast
from holdfast.engines.names import quote_identifier
from holdfast.sync import Sync

RUNS = {"id": "TEXT PRIMARY KEY", "name": "TEXT", 'it\'s "100%" {x}': "TEXT"}
ODD = 'it\'s "100%" {x}'


def write(db: holdfast.Database) -> None:
    db.insert("runs", {"id": "new", "name": "new"})
    db.update("runs", {"name": "changed"}, {"id": "u"})
    db.delete("runs", {"id": "d"})
    with db.transaction():
        db.insert("runs", {"id": "gone", "name": None})
        db.delete("runs", {"id": "gone"})


@pytest.fixture
def sync(local: holdfast.Database, hub: holdfast.Database) -> Sync:
    for db in (local, hub):
        db.create_table("runs", RUNS)
        db.create_table("notes", {"id": "TEXT PRIMARY KEY"})
    sync = Sync(local, hub)
    sync.enable()
    local.insert_many("runs", [{"id": id, "name": "old", ODD: "x"} for id in ("u", "d", "same")])
    sync.run()
    return sync


@pytest.mark.parametrize(
    ("way", "site"),
    [("postgres-postgres", "local"), ("postgres-postgres", "hub"), ("sqlite-postgres", "hub")],
    indirect=["way"],
)
def test_a_column_is_dropped(
    sync: Sync, local: holdfast.Database, hub: holdfast.Database, site: str, way: tuple[str, str]
) -> None:
    db = local if site == "local" else hub
    db.execute(f"ALTER TABLE runs DROP COLUMN {quote_identifier(ODD)}")
    write(db)
    local.insert("notes", {"id": "n"})
    report = sync.run()
    assert list(report.paused) == ["runs"]
    assert hub.count("notes") == 1
    db.add_column("runs", ODD, "TEXT")
    assert sync.run().paused == {}
    assert sync.run().pushed == 0
    # What was removed here had lost a value before that the hub has: it stays there, on record.
    kept = {"d": "old"} if site == "local" else {}
    assert [conflict.key["id"] for conflict in sync.conflicts()] == list(kept)
    for each in (local, hub):
        found = {row["id"]: row["name"] for row in each.select("runs")}
        assert found == {"new": "new", "u": "changed", "same": "old", **kept}


@pytest.mark.parametrize("way", ["postgres-postgres"], indirect=True)
def test_every_column_but_the_key_is_dropped(
    sync: Sync, local: holdfast.Database, way: tuple[str, str]
) -> None:
    for name in RUNS:
        if name != "id":
            local.execute(f"ALTER TABLE runs DROP COLUMN {quote_identifier(name)}")
    local.execute("UPDATE runs SET id = 'v' WHERE id = 'u'")
    local.execute("TRUNCATE runs")
    assert list(sync.run().paused) == ["runs"]
