"""Another connection changes a table that this one knows well: what was refused is read anew."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import holdfast
from holdfast import Database
from holdfast.errors import ColumnNotFound, Error, TableNotFound, ValueRefused


@pytest.fixture
def other(url: str, db: Database) -> Iterator[Database]:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": "INTEGER"})
    db.insert("t", {"id": 1, "v": 1})
    db.get("t", 1)
    with holdfast.connect(url) as other:
        yield other


def test_a_new_column_is_found_by_every_verb(db: Database, other: Database) -> None:
    other.add_column("t", "w", "TEXT")
    db.insert("t", {"id": 2, "w": "x"})
    assert db.select("t", where={"w": "x"}) == [{"id": 2, "v": None, "w": "x"}]
    other.add_column("t", "y", "TEXT")
    assert db.update("t", {"y": "z"}, {"id": 2}) == 1
    other.add_column("t", "z", "TEXT")
    assert db.count("t", {"z": None}) == 2
    other.add_column("t", "a", "TEXT")
    assert db.select("t", ["a"], order_by="a") == [{"a": None}] * 2
    other.add_column("t", "b", "TEXT")
    assert db.insert_many("t", [{"id": 3, "b": "x"}, {"id": 4, "b": "y"}]) == 2
    other.add_column("t", "c", "TEXT")
    assert db.update_many("t", [{"id": 3, "c": "x"}]) == 1


def test_a_new_type_takes_its_values(db: Database, other: Database) -> None:
    other.drop_table("t")
    other.create_table("t", {"id": "TEXT PRIMARY KEY", "v": "TEXT"})
    assert db.insert("t", {"id": "k", "v": "text"}) == "k"
    assert db.get("t", "k") == {"id": "k", "v": "text"}


def test_a_new_column_is_found_inside_a_transaction(db: Database, other: Database) -> None:
    other.add_column("t", "w", "TEXT")
    with db.transaction():
        db.insert("t", {"id": 2, "w": "x"})
    assert db.get("t", 2)["w"] == "x"


def test_what_is_wrong_stays_refused(db: Database, other: Database) -> None:
    with pytest.raises(ColumnNotFound, match="nope"):
        db.insert("t", {"nope": 1})
    with pytest.raises(ValueRefused, match=r"t\.v"):
        db.insert("t", {"v": "text"})
    other.drop_table("t")
    with pytest.raises(TableNotFound):
        db.insert("t", {"nope": 1})


@pytest.mark.parametrize("spelling", ["real", "mood", "inet"])
def test_a_type_that_is_not_read_in_binary_any_more(
    db: Database, other: Database, engine_name: str, spelling: str
) -> None:
    if engine_name == "sqlite":
        pytest.skip("SQLite has one form of its values")
    new = {"real": "1.1", "mood": "glad", "inet": "10.0.0.1"}[spelling]
    asked = "SELECT v FROM t AS x"
    assert db.query(asked) == db.query(asked) == [{"v": 1}]
    other.execute("CREATE TYPE mood AS ENUM ('sad', 'glad')")
    other.execute(f"ALTER TABLE t ALTER COLUMN v TYPE {spelling} USING '{new}'::{spelling}")
    wanted = other.query(asked)
    assert str(wanted[0]["v"]) == new
    assert db.select("t", ["v"]) == wanted, "a statement that this connection had not prepared"
    assert db.get("t", 1) == {"id": 1, **wanted[0]}, "one that it had"
    assert db.query(asked) == db.query(asked) == wanted
    assert list(db.stream("t", ["v"])) == wanted


def test_a_stream_of_a_type_that_is_not_read_in_binary_any_more(
    db: Database, other: Database, engine_name: str
) -> None:
    if engine_name == "sqlite":
        pytest.skip("SQLite has one form of its values")
    db.select("t", ["v"])
    other.execute("ALTER TABLE t ALTER COLUMN v TYPE real USING 1.1")
    with pytest.raises(Error):
        list(db.stream("t", ["v"]))
    assert list(db.stream("t", ["v"])) == [{"v": 1.1}]
