"""Indexes: named by their table and columns, listed, dropped, and of use."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import Database
from holdfast.errors import (
    ColumnNotFound,
    IndexExists,
    IndexNotFound,
    InvalidQuery,
    NotSupported,
    TableNotFound,
    UniqueViolation,
)


@pytest.fixture
def t(db: Database) -> Database:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "a": int, "b": "TEXT", "c": "TEXT UNIQUE"})
    db.insert_many("t", [{"a": i % 3, "b": f"b{i}", "c": f"c{i}"} for i in range(9)])
    return db


def own(db: Database, table: str | None = "t") -> list[dict[str, Any]]:
    """The indexes that somebody created, without those of constraints."""
    return [index for index in db.list_indexes(table) if not index["constraint"]]


def test_names_come_from_the_table_and_the_columns(t: Database) -> None:
    assert t.create_index("t", "a") == "idx_t_a"
    assert t.create_index("t", ["a", "b"]) == "idx_t_a_b"
    assert t.create_index("t", ["b"], name="mine") == "mine"
    assert t.table("t").create_index(("b", "a")) == "idx_t_b_a"
    assert sorted(index["name"] for index in own(t)) == ["idx_t_a", "idx_t_a_b", "idx_t_b_a", "mine"]


def test_an_index_is_described(t: Database) -> None:
    t.create_index("t", ["b", "a"], unique=True)
    t.create_index("t", "a", name="some", where="a > 1")
    whole, some = sorted(own(t), key=lambda index: str(index["name"]))
    keys = ("name", "table", "columns", "unique", "primary_key", "constraint", "partial")
    assert [whole[key] for key in keys] == ["idx_t_b_a", "t", ["b", "a"], True, False, False, False]
    assert [some[key] for key in keys] == ["some", "t", ["a"], False, False, False, True]
    assert "CREATE" in whole["sql"]
    assert t.table("t").list_indexes() == t.list_indexes("t")
    constraints = [index for index in t.list_indexes("t") if index["constraint"]]
    assert ["c"] in [index["columns"] for index in constraints]
    assert all(index["unique"] for index in constraints)


def test_indexes_of_all_tables(t: Database) -> None:
    t.create_table("u", {"x": int})
    t.create_index("u", "x")
    t.create_index("t", "a")
    assert [(index["table"], index["name"]) for index in own(t, None)] == [("t", "idx_t_a"), ("u", "idx_u_x")]
    assert [index["name"] for index in own(t, "u")] == ["idx_u_x"]


def test_the_same_index_twice_is_harmless_and_another_of_its_name_is_not(t: Database) -> None:
    """[21]"""
    for _ in range(2):
        assert t.create_index("t", ["a", "b"]) == "idx_t_a_b"
        assert t.create_index("t", "b", unique=True, name="named") == "named"
    assert len(own(t)) == 2
    t.create_table("u", {"a": int, "b": int})
    for table, columns, options in (
        ("t", ["b"], {"name": "idx_t_a_b"}),
        ("t", ["b", "a"], {"name": "idx_t_a_b"}),
        ("t", ["a", "b"], {"unique": True}),
        ("t", ["a", "b"], {"where": "a > 1"}),
        ("u", ["a", "b"], {"name": "idx_t_a_b"}),
    ):
        with pytest.raises(IndexExists, match="idx_t_a_b") as caught:
            t.create_index(table, columns, **options)
        assert caught.value.hint
    assert len(own(t)) == 2


def test_a_unique_index_is_kept_by_the_rows(t: Database) -> None:
    with pytest.raises(UniqueViolation):
        t.create_index("t", "a", unique=True)
    assert own(t) == []
    t.create_index("t", ["a", "b"], unique=True)
    with pytest.raises(UniqueViolation):
        t.insert("t", {"a": 0, "b": "b0"})
    t.insert("t", {"a": None, "b": "b0"})
    t.insert("t", {"a": None, "b": "b0"})


def test_a_partial_unique_index(t: Database) -> None:
    t.create_index("t", "b", unique=True, where="a = 1")
    t.insert("t", {"a": 0, "b": "b1"})
    with pytest.raises(UniqueViolation):
        t.insert("t", {"a": 1, "b": "b1"})


def test_directions(t: Database) -> None:
    t.create_index("t", ["a DESC", "b"])
    assert own(t)[0]["name"] == "idx_t_a_b"
    assert own(t)[0]["columns"] == ["a", "b"]
    assert "DESC" in own(t)[0]["sql"]


def test_dropping_by_name_and_by_table_and_name(t: Database) -> None:
    t.create_index("t", "a")
    t.create_index("t", "b")
    t.drop_index("t", "idx_t_a")
    assert [index["name"] for index in own(t)] == ["idx_t_b"]
    t.drop_index("idx_t_b")
    assert own(t) == []
    t.create_index("t", "a")
    with pytest.raises(IndexNotFound, match="did you mean 'idx_t_a'"):
        t.drop_index("idx_t_aa")
    t.create_table("u", {"x": int})
    with pytest.raises(IndexNotFound):
        t.drop_index("u", "idx_t_a")
    with pytest.raises(TableNotFound):
        t.drop_index("nope", "idx_t_a")
    assert len(own(t)) == 1


def test_the_index_of_a_constraint_is_not_dropped(t: Database) -> None:
    name = next(index["name"] for index in t.list_indexes("t") if index["columns"] == ["c"])
    with pytest.raises(NotSupported, match="constraint"):
        t.drop_index(name)
    with pytest.raises(UniqueViolation):
        t.insert("t", {"c": "c1"})


def test_long_names_are_cut_with_a_mark_and_stay_apart(db: Database) -> None:
    columns = [f"{'long' * 12}{i}" for i in range(3)]
    db.create_table("t" * 60, dict.fromkeys(columns, int))
    names = [db.create_index("t" * 60, column) for column in columns]
    assert len(set(names)) == 3
    assert all(len(name.encode()) <= 63 for name in names)
    assert [db.create_index("t" * 60, column) for column in columns] == names


def test_methods(t: Database, engine_name: str) -> None:
    assert t.create_index("t", "a", method="btree") == "idx_t_a"
    with pytest.raises(NotSupported, match="btrea"):
        t.create_index("t", "b", method="btrea")
    if engine_name == "sqlite":
        with pytest.raises(NotSupported, match="hash"):
            t.create_index("t", "b", method="hash")
    else:
        t.create_index("t", "b", method="hash")
        assert "USING hash" in next(index["sql"] for index in own(t) if index["columns"] == ["b"])


def test_what_is_no_index_is_refused(t: Database) -> None:
    for columns, options, error in (
        ([], {}, InvalidQuery),
        (["nope"], {}, ColumnNotFound),
        (["a", "lower(b)"], {}, ColumnNotFound),
        (["a) WHERE (1=1"], {}, ColumnNotFound),
        (["a"], {"where": "a = ?"}, InvalidQuery),
        (["a"], {"where": "a > 1); DROP TABLE t; --"}, InvalidQuery),
        (["a"], {"where": {"a": 1}}, InvalidQuery),
        (["a"], {"method": "btree; DROP TABLE t"}, NotSupported),
    ):
        with pytest.raises(error):
            t.create_index("t", columns, **options)
    assert own(t) == []
    assert t.count("t") == 9


def test_an_index_is_used(t: Database, engine_name: str) -> None:
    t.create_index("t", "b")
    if engine_name == "sqlite":
        plan = t.query("EXPLAIN QUERY PLAN SELECT id FROM t WHERE b = ?", ["b1"])
        assert "idx_t_b" in str(plan)
    else:
        with t.transaction():
            t.execute("SET LOCAL enable_seqscan = off")
            plan = t.query("EXPLAIN SELECT id FROM t WHERE b = 'b1'")
        assert "idx_t_b" in str(plan)
