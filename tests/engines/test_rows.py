"""One row or a few: insert, select, get, find_one, count, exists, update, upsert, delete."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import pytest

from holdfast import Database
from holdfast.errors import (
    CheckViolation,
    ColumnNotFound,
    InvalidQuery,
    KeyNotUnique,
    NotFoundError,
    NotNullViolation,
    TableNotFound,
    UniqueViolation,
    ValueRefused,
    WhereRequired,
)

RUNS: list[dict[str, Any]] = [
    {"id": 1, "name": "a", "score": 3.5, "done": True},
    {"id": 2, "name": "b", "score": None, "done": False},
    {"id": 3, "name": "c", "score": 1.0, "done": None},
    {"id": 4, "name": "d", "score": 1.0, "done": True},
]


@pytest.fixture
def runs(db: Database) -> Database:
    db.create_table(
        "runs",
        {"id": "INTEGER PRIMARY KEY", "name": "TEXT NOT NULL UNIQUE", "score": float, "done": bool},
        checks="score >= 0",
    )
    db.insert_many("runs", RUNS)
    return db


# insert


def test_insert_returns_the_key_and_keeps_every_value(runs: Database) -> None:
    assert runs.insert("runs", {"name": "e", "score": 0.25, "done": False}) == 5
    assert runs.get("runs", 5) == {"id": 5, "name": "e", "score": 0.25, "done": False}
    assert runs.insert("runs", {"id": 99, "name": "f"}) == 99
    assert runs.get("runs", 99) == {"id": 99, "name": "f", "score": None, "done": None}


def test_the_next_generated_key_follows_one_given_by_hand(runs: Database) -> None:
    runs.insert("runs", {"id": 50, "name": "by hand"})
    assert runs.insert("runs", {"name": "generated"}) == 51
    runs.insert("runs", {"id": 10, "name": "a lower one"})
    assert runs.insert("runs", {"name": "generated again"}) == 52


@pytest.mark.parametrize("definition", ["INTEGER PRIMARY KEY AUTOINCREMENT", "SERIAL PRIMARY KEY"])
def test_an_absent_key_and_a_key_of_none_are_generated(db: Database, definition: str) -> None:
    db.create_table("t", {"id": definition, "v": int})
    assert [db.insert("t", {"v": 1}), db.insert("t", {"v": 2})] == [1, 2]
    db.delete("t", {"id": 2})
    assert db.insert("t", {"v": 3}) == 3, "a key that was given once is not given again"


def test_insert_returns_text_composite_and_no_keys(db: Database) -> None:
    db.create_table("by_text", {"k": "TEXT PRIMARY KEY", "v": int})
    assert db.insert("by_text", {"v": 1, "k": "x"}) == "x"
    db.create_table("by_two", {"a": int, "v": int, "b": "TEXT"}, primary_key=["b", "a"])
    assert db.insert("by_two", {"a": 1, "v": 2, "b": "y"}) == ("y", 1)
    db.create_table("without", {"v": int})
    assert db.insert("without", {"v": 1}) is None


def test_an_empty_row_takes_the_defaults(db: Database) -> None:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": "INTEGER DEFAULT 7", "w": "TEXT"})
    assert db.insert("t", {}) == 1
    assert db.get("t", 1) == {"id": 1, "v": 7, "w": None}


@pytest.mark.parametrize("kind", [OrderedDict, MappingProxyType])
def test_a_row_may_be_any_mapping(runs: Database, kind: Any) -> None:
    assert runs.insert("runs", kind({"name": "mapped", "score": 1.5})) == 5
    assert runs.get("runs", 5)["score"] == 1.5


@pytest.mark.parametrize("row", [None, [("name", "x")], "name", 3, {"name"}])
def test_a_row_that_is_no_mapping_is_refused(runs: Database, row: Any) -> None:
    with pytest.raises(InvalidQuery, match="must be a dict") as caught:
        runs.insert("runs", row)
    assert "{'column': value}" in str(caught.value.hint)
    assert runs.count("runs") == 4


def test_a_key_that_is_no_text_is_refused(runs: Database) -> None:
    with pytest.raises(InvalidQuery, match="column names"):
        runs.insert("runs", {1: "x"})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ({"name": "a"}, UniqueViolation),
        ({"id": 1, "name": "new"}, UniqueViolation),
        ({"name": None}, NotNullViolation),
        ({"score": 1.0}, NotNullViolation),
        ({"name": "new", "score": -1.0}, CheckViolation),
        ({"name": "new", "score": "much"}, ValueRefused),
        ({"name": 7}, ValueRefused),
        ({"name": "new", "done": 2}, ValueRefused),
    ],
)
def test_what_a_table_forbids_is_one_class_of_error_everywhere(
    runs: Database, row: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        runs.insert("runs", row)
    with pytest.raises(error):
        runs.insert_many("runs", [row])
    assert runs.select("runs", order_by="id") == RUNS


def test_a_refused_value_names_its_column_and_never_itself(runs: Database) -> None:
    with pytest.raises(ValueRefused) as caught:
        runs.insert("runs", {"name": "x", "score": "my secret"})
    assert "runs.score" in str(caught.value)
    assert "my secret" not in str(caught.value)
    assert caught.value.hint


# misspelt names [10]


def test_a_misspelt_table_raises_with_a_suggestion_in_every_verb(runs: Database) -> None:
    calls: dict[str, Callable[[str], Any]] = {
        "insert": lambda t: runs.insert(t, {"name": "x"}),
        "insert_many": lambda t: runs.insert_many(t, [{"name": "x"}]),
        "insert_many of nothing": lambda t: runs.insert_many(t, []),
        "upsert": lambda t: runs.upsert(t, {"id": 1, "name": "x"}),
        "upsert_many": lambda t: runs.upsert_many(t, [{"id": 1, "name": "x"}]),
        "update_many": lambda t: runs.update_many(t, [{"id": 1, "name": "x"}]),
        "select": lambda t: runs.select(t),
        "get": lambda t: runs.get(t, 1),
        "find_one": lambda t: runs.find_one(t),
        "count": lambda t: runs.count(t),
        "exists": lambda t: runs.exists(t),
        "update": lambda t: runs.update(t, {"name": "x"}, {"id": 1}),
        "delete": lambda t: runs.delete(t, {"id": 1}),
        "stream": lambda t: list(runs.stream(t)),
        "paginate": lambda t: runs.paginate(t),
        "get_columns": lambda t: runs.get_columns(t),
        "create_index": lambda t: runs.create_index(t, "name"),
        "list_indexes": lambda t: runs.list_indexes(t),
        "drop_index": lambda t: runs.drop_index(t, "x"),
        "drop_table": lambda t: runs.drop_table(t),
        "rename_table": lambda t: runs.rename_table(t, "other"),
        "add_column": lambda t: runs.add_column(t, "c", int),
        "drop_column": lambda t: runs.drop_column(t, "name"),
        "rename_column": lambda t: runs.rename_column(t, "name", "n"),
        "alter_column": lambda t: runs.alter_column(t, "name", nullable=True),
        "add_foreign_key": lambda t: runs.add_foreign_key(t, "id", "runs"),
        "referred to": lambda t: runs.add_foreign_key("runs", "id", t),
    }
    for verb, call in calls.items():
        with pytest.raises(TableNotFound, match="'rusn'") as caught:
            call("rusn")
        assert "did you mean 'runs'?" in str(caught.value), verb


def test_a_misspelt_column_raises_with_a_suggestion_in_every_verb(runs: Database) -> None:
    calls: dict[str, Callable[[str], Any]] = {
        "insert": lambda c: runs.insert("runs", {"name": "x", c: 1}),
        "insert_many": lambda c: runs.insert_many("runs", [{"name": "x", c: 1}]),
        "upsert": lambda c: runs.upsert("runs", {"id": 1, "name": "a", c: 1}),
        "upsert by": lambda c: runs.upsert("runs", {"id": 1, "name": "a"}, key=c),
        "update_many": lambda c: runs.update_many("runs", [{"id": 1, c: 1}]),
        "update_many by": lambda c: runs.update_many("runs", [{"id": 1, "name": "x"}], key=c),
        "select": lambda c: runs.select("runs", [c]),
        "select where": lambda c: runs.select("runs", where={c: 1}),
        "select where >": lambda c: runs.select("runs", where={f"{c} >": 1}),
        "quoted in a text": lambda c: runs.select("runs", where=f'"{c}" > 1'),
        "select in order": lambda c: runs.select("runs", order_by=c),
        "select in order of two": lambda c: runs.select("runs", order_by=["id", f"{c} DESC"]),
        "find_one": lambda c: runs.find_one("runs", [c]),
        "count": lambda c: runs.count("runs", {c: 1}),
        "exists": lambda c: runs.exists("runs", {c: 1}),
        "update": lambda c: runs.update("runs", {c: 1}, {"id": 1}),
        "update where": lambda c: runs.update("runs", {"name": "x"}, {c: 1}),
        "delete": lambda c: runs.delete("runs", {c: 1}),
        "stream": lambda c: list(runs.stream("runs", [c])),
        "paginate": lambda c: runs.paginate("runs", c),
        "create_index": lambda c: runs.create_index("runs", c),
        "drop_column": lambda c: runs.drop_column("runs", c),
        "rename_column": lambda c: runs.rename_column("runs", c, "n"),
        "alter_column": lambda c: runs.alter_column("runs", c, nullable=True),
        "add_foreign_key": lambda c: runs.add_foreign_key("runs", c, "runs"),
        "add_foreign_key to": lambda c: runs.add_foreign_key("runs", "id", "runs", c),
    }
    for verb, call in calls.items():
        with pytest.raises(ColumnNotFound, match="scroe") as caught:
            call("scroe")
        assert "did you mean 'score'?" in str(caught.value), verb
    assert runs.select("runs", order_by="id") == RUNS


def test_a_column_misspelt_in_a_text_filter_raises(runs: Database) -> None:
    with pytest.raises(ColumnNotFound, match="scroe"):
        runs.select("runs", where="scroe > 1")


def test_where_nothing_is_near_the_names_there_are_listed(runs: Database) -> None:
    with pytest.raises(ColumnNotFound, match="columns: id, name, score, done"):
        runs.select("runs", "zzzzzz")
    with pytest.raises(TableNotFound, match="tables: runs"):
        runs.select("zzzzzz")


# get, find_one, count, exists


def test_get_by_one_and_by_several_columns(runs: Database) -> None:
    assert runs.get("runs", 2) == RUNS[1]
    assert runs.get("runs", {"id": 3}) == RUNS[2]
    runs.create_table("two", {"a": int, "b": "TEXT", "v": int}, primary_key=["b", "a"])
    runs.insert("two", {"a": 1, "b": "x", "v": 9})
    assert runs.get("two", ("x", 1)) == {"a": 1, "b": "x", "v": 9}
    assert runs.get("two", {"a": 1, "b": "x"})["v"] == 9


def test_get_without_such_a_row_raises(runs: Database) -> None:
    with pytest.raises(NotFoundError, match="runs") as caught:
        runs.get("runs", 12345)
    assert isinstance(caught.value, LookupError)
    assert "12345" not in str(caught.value)
    with pytest.raises(NotFoundError):
        runs.get("runs", None)


@pytest.mark.parametrize("key", [(1, 2), {"name": "a"}, {"id": 1, "name": "a"}, "one"])
def test_get_with_a_key_of_another_shape_is_refused(runs: Database, key: Any) -> None:
    with pytest.raises((InvalidQuery, ValueRefused)):
        runs.get("runs", key)


def test_get_from_a_table_without_a_key_says_what_to_use(db: Database) -> None:
    db.create_table("t", {"v": int})
    with pytest.raises(InvalidQuery, match="find_one"):
        db.get("t", 1)


def test_find_one_count_and_exists(runs: Database) -> None:
    assert runs.find_one("runs", where={"name": "b"}) == RUNS[1]
    assert runs.find_one("runs", ["name"], order_by="id DESC") == {"name": "d"}
    assert runs.find_one("runs", "name", order_by="id", offset=1) == {"name": "b"}
    assert runs.find_one("runs", where={"name": "zzz"}) is None
    assert runs.count("runs") == 4
    assert runs.count("runs", "score = ?", [1.0]) == 2
    assert runs.count("runs", {"name": "zzz"}) == 0
    assert runs.exists("runs", {"done": False}) is True
    assert runs.exists("runs", {"name": "zzz"}) is False
    assert runs.exists("runs") is True
    runs.delete("runs", all_rows=True)
    assert runs.exists("runs") is False


# select


def test_columns_are_given_as_asked_for(runs: Database) -> None:
    assert runs.select("runs", ["score", "id"], order_by="id", limit=1) == [{"score": 3.5, "id": 1}]
    assert list(runs.select("runs", ["score", "id"], limit=1)[0]) == ["score", "id"]
    assert runs.select("runs", "name", order_by="id", limit=1) == [{"name": "a"}]
    assert runs.select("runs", ["*"], order_by="id") == RUNS
    assert runs.select("runs", "*", order_by="id") == RUNS
    with pytest.raises(InvalidQuery, match="empty"):
        runs.select("runs", [])
    with pytest.raises(InvalidQuery, match="twice"):
        runs.select("runs", ["id", "id"])


def test_limit_and_offset(runs: Database) -> None:
    def ids(**options: Any) -> list[int]:
        return [row["id"] for row in runs.select("runs", order_by="id", **options)]

    assert ids(limit=0) == []  # [6]
    assert ids(limit=2) == [1, 2]
    assert ids(limit=2, offset=1) == [2, 3]
    assert ids(offset=2) == [3, 4]
    assert ids(offset=0) == [1, 2, 3, 4]
    assert ids(offset=99) == []
    assert ids(limit=0, offset=1) == []


@pytest.mark.parametrize("value", [-1, 1.5, "2", "1; DROP TABLE runs", True, [1]])
@pytest.mark.parametrize("name", ["limit", "offset"])
def test_limit_and_offset_are_whole_numbers(runs: Database, name: str, value: Any) -> None:
    with pytest.raises(InvalidQuery, match=f"{name} must be a whole number"):
        runs.select("runs", **{name: value})


def test_distinct(runs: Database) -> None:
    found = runs.select("runs", ["score"], order_by="score", distinct=True)
    assert found == [{"score": 1.0}, {"score": 3.5}, {"score": None}]
    with pytest.raises(InvalidQuery, match="selected"):
        runs.select("runs", ["score"], order_by="id", distinct=True)


# update and delete


def test_update_returns_how_many_rows_there_were(runs: Database) -> None:
    assert runs.update("runs", {"score": 9.0}, "name = ?", ["a"]) == 1
    assert runs.update("runs", {"score": 8.0}, {"score": 1.0}) == 2
    assert runs.update("runs", {"score": 8.0}, "name = 'zzz'") == 0
    assert [row["score"] for row in runs.select("runs", order_by="id")] == [9.0, None, 8.0, 8.0]
    assert runs.update("runs", {"done": None}, all_rows=True) == 4


def test_delete_returns_how_many_rows_there_were(runs: Database) -> None:
    assert runs.delete("runs", "score < ?", [2]) == 2
    assert [row["id"] for row in runs.select("runs", order_by="id")] == [1, 2]
    assert runs.delete("runs", {"id": 77}) == 0
    assert runs.delete("runs", all_rows=True) == 2


def test_update_and_delete_of_every_row_must_be_meant(runs: Database) -> None:
    with pytest.raises(WhereRequired, match="all_rows=True"):
        runs.update("runs", {"score": 0.0})
    with pytest.raises(WhereRequired, match="all_rows=True"):
        runs.delete("runs")
    empty: list[Any] = ["", "  ", {}]
    for where in empty:
        with pytest.raises(InvalidQuery, match="empty"):
            runs.update("runs", {"score": 0.0}, where)
        with pytest.raises(InvalidQuery, match="empty"):
            runs.delete("runs", where)
    with pytest.raises(InvalidQuery, match="contradict"):
        runs.delete("runs", {"id": 1}, all_rows=True)
    assert runs.select("runs", order_by="id") == RUNS


def test_update_with_nothing_to_set_is_refused(runs: Database) -> None:
    with pytest.raises(InvalidQuery, match="nothing to update"):
        runs.update("runs", {}, {"id": 1})


def test_update_keeps_what_a_table_forbids_out(runs: Database) -> None:
    for data, error in (
        ({"name": "b"}, UniqueViolation),
        ({"name": None}, NotNullViolation),
        ({"score": -1.0}, CheckViolation),
        ({"score": "x"}, ValueRefused),
    ):
        with pytest.raises(error):
            runs.update("runs", data, {"id": 1})
    assert runs.select("runs", order_by="id") == RUNS


# upsert


def test_upsert_inserts_or_touches_only_the_columns_given(runs: Database) -> None:
    assert runs.upsert("runs", {"id": 1, "name": "a", "score": 7.0}) == 1
    assert runs.get("runs", 1) == {"id": 1, "name": "a", "score": 7.0, "done": True}
    assert runs.upsert("runs", {"id": 9, "name": "new"}) == 9
    assert runs.get("runs", 9) == {"id": 9, "name": "new", "score": None, "done": None}


def test_upsert_by_another_unique_key_returns_the_primary_key(runs: Database) -> None:
    assert runs.upsert("runs", {"name": "c", "score": 2.0}, key="name") == 3
    assert runs.get("runs", 3)["score"] == 2.0
    assert runs.count("runs") == 4
    new = runs.upsert("runs", {"name": "zz", "score": 2.5}, key=["name"])
    assert runs.get("runs", new)["name"] == "zz"


def test_upsert_by_a_composite_key(db: Database) -> None:
    db.create_table("t", {"a": int, "b": "TEXT", "v": int, "w": int}, primary_key=["a", "b"])
    db.insert("t", {"a": 1, "b": "x", "v": 1, "w": 1})
    assert db.upsert("t", {"b": "x", "a": 1, "v": 2}) == (1, "x")
    assert db.upsert("t", {"b": "y", "a": 1, "v": 3}) == (1, "y")
    assert db.upsert("t", {"b": "y", "a": 1}) == (1, "y")
    assert db.select("t", order_by=["a", "b"]) == [
        {"a": 1, "b": "x", "v": 2, "w": 1},
        {"a": 1, "b": "y", "v": 3, "w": None},
    ]


def test_upsert_without_a_unique_index_says_which_one_to_create(runs: Database) -> None:
    with pytest.raises(KeyNotUnique) as caught:
        runs.upsert("runs", {"score": 1.0, "name": "x"}, key="score")
    assert "db.create_index('runs', ['score'], unique=True)" in str(caught.value.hint)
    runs.update("runs", {"score": 2.0}, {"id": 4})
    runs.create_index("runs", ["score"], unique=True)
    assert runs.upsert("runs", {"score": 1.0, "name": "x"}, key="score") == 3


def test_upsert_needs_its_key(runs: Database) -> None:
    with pytest.raises(InvalidQuery, match="'id'"):
        runs.upsert("runs", {"name": "x"})
    runs.create_table("without", {"v": int})
    with pytest.raises(KeyNotUnique, match="no primary key"):
        runs.upsert("without", {"v": 1})


# the table object


def test_a_table_has_the_same_verbs(runs: Database) -> None:
    table = runs.table("runs")
    assert runs["runs"].name == "runs"
    key = table.insert({"name": "e"})
    assert table.get(key)["name"] == "e"
    assert table.select(where={"id": key}) == [{"id": 5, "name": "e", "score": None, "done": None}]
    assert table.update({"score": 1.0}, {"id": key}) == 1
    assert table.count() == 5
    assert table.delete({"id": key}) == 1
    assert not table.exists({"id": key})
    assert repr(table) == "<Table 'runs'>"


def test_a_table_that_is_made_later_is_found(db: Database) -> None:
    table = db["later"]
    with pytest.raises(TableNotFound):
        table.count()
    db.create_table("later", {"v": int})
    assert table.count() == 0


def test_generated_columns_are_read_and_never_written(db: Database) -> None:
    db.create_table(
        "t", {"id": "INTEGER PRIMARY KEY", "a": int, "b": "INTEGER GENERATED ALWAYS AS (a * 2) STORED"}
    )
    db.insert("t", {"a": 4})
    assert db.get("t", 1) == {"id": 1, "a": 4, "b": 8}
    for call in (
        lambda: db.insert("t", {"a": 1, "b": 2}),
        lambda: db.update("t", {"b": 1}, {"id": 1}),
        lambda: db.update_many("t", [{"id": 1, "b": 1}]),
    ):
        with pytest.raises(InvalidQuery, match="computed"):
            call()


def test_none_for_a_generated_key_is_left_out_on_sqlite_and_refused_by_postgres(db, engine_name):
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "a": "TEXT"})
    if engine_name == "sqlite":
        assert db.insert("t", {"id": None, "a": "x"}) == 1
        assert db.insert_many("t", [{"id": None, "a": "x"}] * 30) == 30
        return
    with pytest.raises(NotNullViolation):
        db.insert("t", {"id": None, "a": "x"})
    with pytest.raises(NotNullViolation, match="row 1"):
        db.insert_many("t", [{"id": None, "a": "x"}] * 30)
