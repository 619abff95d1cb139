"""A replica that keeps to some rows: what it writes of others arrives, what it had of them stays its own."""

from __future__ import annotations

import pytest

import holdfast
from holdfast.sync import Sync

SAMPLES = {"id": "TEXT PRIMARY KEY", "owner": "TEXT", "note": "TEXT"}
OWN = {"samples": {"owner": "eve"}}


def sample(id: str, owner: str, note: str) -> dict[str, str]:
    return {"id": id, "owner": owner, "note": note}


@pytest.fixture
def sync(local: holdfast.Database, hub: holdfast.Database) -> Sync:
    for db in (local, hub):
        db.create_table("samples", SAMPLES)
    return Sync(local, hub, where=OWN)


@pytest.mark.parametrize("is_empty", [True, False])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_row_that_is_written_outside_the_filter_goes_to_the_hub(
    sync: Sync, local: holdfast.Database, hub: holdfast.Database, is_first: bool, is_empty: bool
) -> None:
    (local if is_empty else hub).insert("samples", sample("there", "eve", "hub"))
    sync.enable()
    if not is_first:
        sync.run()
    local.insert("samples", sample("new", "ada", "local"))
    sync.run()
    assert hub.get("samples", "new") == sample("new", "ada", "local")
    assert local.select("samples") == [sample("there", "eve", "hub")]


@pytest.mark.parametrize("is_first", [True, False])
def test_a_row_outside_the_filter_that_was_here_before_is_not_overwritten_without_a_record(
    sync: Sync, local: holdfast.Database, hub: holdfast.Database, is_first: bool
) -> None:
    local.insert_many("samples", [sample("both", "ada", "local"), sample("own", "ada", "local")])
    sync.enable()
    if not is_first:
        sync.run()
    hub.insert("samples", sample("both", "eve", "hub"))
    sync.run(), sync.run()
    assert local.select("samples", order_by="id") == [
        sample("both", "eve", "hub"),
        sample("own", "ada", "local"),
    ]
    (conflict,) = sync.conflicts()
    assert conflict.ours == sample("both", "ada", "local")
    # What nobody has written since is nobody else's.
    assert hub.select("samples") == [sample("both", "eve", "hub")]


def test_a_row_that_was_removed_before_the_first_run(
    local: holdfast.Database, hub: holdfast.Database
) -> None:
    """It was removed once changes were noted: the hub removes it, too, but not one that is another there."""
    for db in (local, hub):
        db.create_table("samples", SAMPLES)
        db.insert_many("samples", [sample("same", "eve", "x"), sample("other", "eve", "x")])
    hub.update("samples", {"note": "y"}, {"id": "other"})
    sync = Sync(local, hub)
    sync.enable()
    local.delete("samples", all_rows=True)
    sync.run()
    assert local.select("samples") == hub.select("samples") == [sample("other", "eve", "y")]
    (conflict,) = sync.conflicts()
    assert conflict.key == {"id": "other"}
