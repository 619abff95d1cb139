"""What cannot be synced is refused before anything is set up, or paused by table, with the way out."""

from __future__ import annotations

import pytest

import holdfast
from holdfast.errors import (
    HubChanged,
    InvalidQuery,
    NotSupported,
    ReadOnlyError,
    SyncError,
    TableNotFound,
    TransactionError,
)
from holdfast.sync import Sync

RUNS = {"id": "TEXT PRIMARY KEY", "name": "TEXT"}


def test_a_table_without_a_primary_key_is_refused(local: holdfast.Database, hub: holdfast.Database) -> None:
    local.create_table("notes", {"text": "TEXT"})
    with pytest.raises(SyncError, match="no primary key") as refused:
        Sync(local, hub).enable()
    assert "keys=" in str(refused.value)


def test_a_key_that_each_database_numbers_is_refused(
    local: holdfast.Database, hub: holdfast.Database
) -> None:
    local.create_table("notes", {"id": "INTEGER PRIMARY KEY", "text": "TEXT"})
    with pytest.raises(SyncError, match="numbered by each database") as refused:
        Sync(local, hub).enable()
    assert "uuid" in str(refused.value)
    assert not hub.table_exists("hf_sync_hub")


def test_a_reference_to_such_a_number_is_refused(local: holdfast.Database, hub: holdfast.Database) -> None:
    """By another key its row may travel; the number would be that of another row on the other side."""
    local.create_table("users", {"id": "INTEGER PRIMARY KEY", "email": "TEXT NOT NULL UNIQUE"})
    local.create_table(
        "orders",
        {"id": "TEXT PRIMARY KEY", "user_id": "INTEGER", "note": "TEXT"},
        foreign_keys={"user_id": "users(id)"},
    )
    keys = {"users": "email"}
    with pytest.raises(SyncError, match=r"orders.user_id refers to users.id, which each database numbers"):
        Sync(local, hub, keys=keys).enable()
    local.insert("users", {"email": "ada"})
    sync = Sync(local, hub, keys=keys, columns={"orders": ["note"]})
    sync.enable()
    assert sync.run().pushed == 1


def test_a_table_that_neither_side_has(local: holdfast.Database, hub: holdfast.Database) -> None:
    with pytest.raises(TableNotFound):
        Sync(local, hub, tables=["nothing"]).enable()


def test_nothing_to_sync(local: holdfast.Database, hub: holdfast.Database) -> None:
    with pytest.raises(SyncError, match="no tables"):
        Sync(local, hub).enable()


def test_one_database_on_both_sides(local: holdfast.Database) -> None:
    with pytest.raises(SyncError, match="the same database"):
        Sync(local, local)


def test_arguments_of_the_wrong_kind(local: holdfast.Database, hub: holdfast.Database) -> None:
    with pytest.raises(InvalidQuery, match="list of names"):
        Sync(local, hub, tables="runs")
    with pytest.raises(SyncError, match="unknown policy"):
        Sync(local, hub, policy="newest")
    local.create_table("runs", RUNS)
    with pytest.raises(SyncError, match="not enabled"):
        Sync(local, hub).run()
    sync = Sync(local, hub)
    sync.enable()
    with pytest.raises(InvalidQuery, match="direction"):
        sync.run(direction="up")
    with local.transaction(), pytest.raises(TransactionError, match="part of a transaction"):
        sync.run()


def test_columns_that_differ(local: holdfast.Database, hub: holdfast.Database) -> None:
    local.create_table("runs", RUNS)
    hub.create_table("runs", {"id": "TEXT PRIMARY KEY", "title": "TEXT"})
    with pytest.raises(SyncError, match="not the same on both sides") as refused:
        Sync(local, hub).enable()
    assert "columns=" in str(refused.value)


def test_types_that_do_not_hold_the_same(local: holdfast.Database, hub: holdfast.Database) -> None:
    local.create_table("runs", RUNS)
    hub.create_table("runs", {"id": "TEXT PRIMARY KEY", "name": "DATE"})
    with pytest.raises(SyncError, match="do not hold the same values"):
        Sync(local, hub).enable()


def test_two_policies_are_refused(
    local: holdfast.Database, other: holdfast.Database, hub: holdfast.Database
) -> None:
    local.create_table("runs", RUNS)
    Sync(local, hub).enable()
    with pytest.raises(SyncError, match="this hub's policy is 'hub'"):
        Sync(other, hub, policy="delete_wins").enable()
    with pytest.raises(SyncError, match="this hub's policy is 'hub'"):
        Sync(local, hub, policy="delete_wins").run()


def test_a_schema_difference_pauses_only_its_table(local: holdfast.Database, hub: holdfast.Database) -> None:
    for name in ("runs", "notes"):
        local.create_table(name, RUNS)
    sync = Sync(local, hub)
    sync.enable()
    local.add_column("runs", "more", "TEXT")
    for name in ("runs", "notes"):
        local.insert(name, {"id": "a", "name": "b"})
    report = sync.run()
    assert list(report.paused) == ["runs"]
    assert "more" in report.paused["runs"]
    assert (hub.count("notes"), hub.count("runs")) == (1, 0)
    hub.add_column("runs", "more", "TEXT")
    assert sync.run().paused == {}
    assert hub.count("runs") == 1


def test_a_read_only_side(opened: object, tmp_path: object) -> None:
    local, hub = opened("sqlite"), opened("sqlite")  # type: ignore[operator]
    local.create_table("runs", RUNS)
    with (
        holdfast.connect(local._executor.target.path, read_only=True) as closed,
        pytest.raises(ReadOnlyError),
    ):
        Sync(closed, hub).enable()


def test_another_hub_is_refused_until_it_is_joined(
    local: holdfast.Database, other: holdfast.Database, hub: holdfast.Database
) -> None:
    local.create_table("runs", RUNS)
    Sync(local, hub).enable()
    local.insert("runs", {"id": "a", "name": "b"})
    Sync(local, hub).run()
    moved = Sync(local, other)
    with pytest.raises(HubChanged, match="another hub"):
        moved.enable()
    moved.rebase()
    moved.run()
    assert other.select("runs") == local.select("runs") == [{"id": "a", "name": "b"}]


def test_tables_in_a_circle(local: holdfast.Database, hub: holdfast.Database) -> None:
    for db in (local, hub):
        db.create_table("a", {"id": "TEXT PRIMARY KEY", "b": "TEXT"})
        db.create_table("b", {"id": "TEXT PRIMARY KEY", "a": "TEXT REFERENCES a (id)"})
        db.add_foreign_key("a", "b", "b", "id")
    with pytest.raises(SyncError, match="in a circle: a, b"):
        Sync(local, hub).enable()


def test_a_type_that_the_other_side_has_not(opened: object) -> None:
    local, hub = opened("postgres"), opened("sqlite")  # type: ignore[operator]
    local.execute("CREATE TABLE places (id text PRIMARY KEY, at point)")
    with pytest.raises(NotSupported, match="no type there"):
        Sync(local, hub).enable()


def test_a_hub_without_the_right_to_create(opened: object) -> None:
    local, hub = opened("sqlite"), opened("postgres")  # type: ignore[operator]
    local.create_table("runs", RUNS)
    hub.create_table("runs", RUNS)
    hub.execute("CREATE ROLE weak LOGIN PASSWORD 'weak'")
    try:
        hub.execute("GRANT USAGE ON SCHEMA public TO weak")
        hub.execute("GRANT ALL ON runs TO weak")
        target = hub._executor.target
        fields = target.conninfo()
        with (
            holdfast.PostgreSQL(fields["dbname"], "weak", "weak", fields["host"], fields["port"]) as weak,
            pytest.raises(SyncError, match="may not"),
        ):
            Sync(local, weak).enable()
    finally:
        hub.execute("DROP OWNED BY weak")
        hub.execute("DROP ROLE weak")
