"""What is remembered of a statement never decides for other values than it was made for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

import holdfast
from holdfast.core import executor
from holdfast.errors import InvalidQuery, ValueRefused

FILTERS: list[Mapping[str, Any]] = [
    {"a": 1},
    {"a": None},
    {"a": [1, 2]},
    {"a": 2},
    {"a": []},
    {"a": [None, 1]},
    {"a >=": 2},
    {"a": 1},
]
EXPECTED = [[1], [3], [1, 2], [2], [], [1, 3], [2], [1]]


@pytest.fixture
def table(db: holdfast.Database) -> holdfast.Table:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "a": "INTEGER", "b": "TEXT", "c": "JSON"})
    db.insert_many("t", [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}, {"a": None, "b": "z"}])
    return db.table("t")


def test_the_same_keys_with_other_values(table: holdfast.Table) -> None:
    for _ in range(2):
        found = [[row["id"] for row in table.select("id", where, order_by="id")] for where in FILTERS]
        assert found == EXPECTED


def test_an_update_of_the_same_columns_with_other_filters(table: holdfast.Table) -> None:
    for _ in range(2):
        assert [table.update({"b": "new"}, where) for where in FILTERS] == list(map(len, EXPECTED))
        assert table.update({"b": "new"}, "a = ? OR a = ?", (1, 2)) == 2
        assert table.update({"b": "new"}, all_rows=True) == 3


def test_a_text_with_other_numbers_of_values(table: holdfast.Table) -> None:
    for _ in range(2):
        assert table.count("a = ?", [1]) == 1
        assert table.count("a = ?", (2,)) == 1
        for params in ([], [1, 2], None):
            with pytest.raises(InvalidQuery):
                table.count("a = ?", params)


def test_a_text_and_a_dict_that_look_alike(table: holdfast.Table) -> None:
    assert table.count("a = ?", [1]) == 1
    with pytest.raises(holdfast.Error):
        table.count({"a = ?": 1, 1: 1})


def test_values_are_checked_each_time(table: holdfast.Table) -> None:
    assert table.count({"a": 1}) == 1
    for value in (2**63, 0.5, "one"):
        with pytest.raises(ValueRefused, match=r"t\.a"):
            table.count({"a": value})
    assert table.update({"a": 5}, {"id": 1}) == 1
    with pytest.raises(ValueRefused, match=r"t\.a"):
        table.update({"a": "five"}, {"id": 1})
    assert table.get(1)["a"] == 5


def test_a_column_that_went_and_came_back(db: holdfast.Database, table: holdfast.Table) -> None:
    assert table.count({"b": "x"}) == table.update({"b": "w"}, {"b": "x"}) == 1
    table.drop_column("b")
    with pytest.raises(holdfast.Error, match="b"):
        table.count({"b": "w"})
    with pytest.raises(holdfast.Error, match="b"):
        table.update({"b": "w"}, {"id": 1})
    table.add_column("b", "JSON")
    assert table.update({"b": {"deep": [1]}}, {"id": 1}) == 1
    assert table.get(1)["b"] == {"deep": [1]}


def test_no_more_is_kept_than_there_is_room_for(
    table: holdfast.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "MOST_PLANS", 10)
    for number in range(50):
        assert table.count(f"a = ? AND {number} = ?", [1, number]) == 1
    assert len(table._executor.plans) <= 10
