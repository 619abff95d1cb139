"""Filters in all their forms, and orders: the same rows on every engine."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from holdfast import Database
from holdfast.errors import (
    ColumnNotFound,
    Error,
    InvalidQuery,
    TableNotFound,
    ValueRefused,
    WhereRequired,
)

ROWS: list[dict[str, Any]] = [
    {"id": 1, "a": 1, "b": None, "c": "x", "d": 5.0, "done": True},
    {"id": 2, "a": 0, "b": "", "c": "y%", "d": 3.0, "done": False},
    {"id": 3, "a": None, "b": "q?", "c": "z_", "d": 2.5, "done": None},
    {"id": 4, "a": 2, "b": "it's", "c": "X", "d": None, "done": True},
]


@pytest.fixture
def t(db: Database) -> Database:
    db.create_table(
        "t", {"id": "INTEGER PRIMARY KEY", "a": int, "b": str, "c": str, "d": float, "done": bool}
    )
    db.insert_many("t", ROWS)
    return db


def ids(db: Database, where: Any = None, params: Any = None, **options: Any) -> list[int]:
    return [row["id"] for row in db.select("t", where=where, params=params, **{"order_by": "id", **options})]


def refusal(verb: Any, *args: Any, **options: Any) -> type[Error] | None:
    """The class of what a call raises."""
    try:
        verb(*args, **options)
    except WhereRequired:
        return InvalidQuery
    except Error as exc:
        return type(exc)
    return None


# Text with marks [3]


TEXTS: list[tuple[str, Any, list[int]]] = [
    ("a = ?", [1], [1]),
    ("a = ? OR c = ?", (2, "x"), [1, 4]),
    ("a = :a OR c = :c", {"a": 2, "c": "x"}, [1, 4]),
    ("a >= :a AND d > :a", {"a": 1}, [1]),
    ("a IN (?, ?)", [0, 2], [2, 4]),
    ("a = 1", None, [1]),
    ("a = 1", [], [1]),
    ("b = 'q?'", None, [3]),
    ("b = 'q?' AND a IS NULL OR a = ?", [0], [2, 3]),
    ("c LIKE 'y%'", None, [2]),
    ("c LIKE ?", ["%z%"], [3]),
    ("a % 2 = ?", [0], [2, 4]),
    ("b = 'it''s'", None, [4]),
    ("b = ':name' OR a = :a", {"a": 1}, [1]),
    ("b = '?' OR a = ?", [1], [1]),
    ("a = ? -- is it ? or :x", [1], [1]),
    ("a = /* ? :x */ ?", [1], [1]),
    ("b = '??' OR a = ?", [1], [1]),
    ('"a" = ?', [1], [1]),
    ('"t"."a" = ?', [1], [1]),
    ("done", None, [1, 4]),
    ("b = ?", ["q?"], [3]),
    ("c = '$1' OR a = ?", [1], [1]),
    ("c = '%s' OR a = ?", [1], [1]),
]


def test_a_text_filter_finds_the_same_rows_in_every_verb(t: Database) -> None:
    for where, params, found in TEXTS:
        assert ids(t, where, params) == found, where
        assert t.count("t", where, params) == len(found), where
        assert t.exists("t", where, params) is bool(found), where
        first = t.find_one("t", where=where, params=params, order_by="id")
        assert first is not None
        assert first["id"] == found[0]
        assert [row["id"] for row in t.stream("t", where=where, params=params, order_by="id")] == found
        assert [row["id"] for row in t.paginate("t", where=where, params=params).rows] == found
        changes(t, where, params, found)


def changes(db: Database, where: Any, params: Any, found: list[int]) -> None:
    """Update and delete what a filter finds, and nothing else, and undo it."""
    db.begin_transaction()
    assert db.update("t", {"b": "seen"}, where, params) == len(found), where
    assert ids(db, {"b": "seen"}) == found, where
    db.rollback()
    db.begin_transaction()
    assert db.delete("t", where, params) == len(found), where
    assert ids(db) == [row["id"] for row in ROWS if row["id"] not in found], where
    db.rollback()


def test_two_question_marks_are_a_literal_one(db: Database, engine_name: str) -> None:
    db.create_table("j", {"id": "INTEGER PRIMARY KEY", "v": "JSONB", "s": "TEXT"})
    db.insert("j", {"v": {"k": 1}, "s": "a"})
    if engine_name == "sqlite":
        with pytest.raises(InvalidQuery):
            db.select("j", where="v ?? 'k'")
        return
    assert db.count("j", "v ?? 'k'") == 1
    assert db.count("j", "v ?? ?", ["k"]) == 1
    assert db.count("j", "v ?? :k AND s = :s", {"k": "nope", "s": "a"}) == 0


def test_json_can_be_filtered_by_the_same_text(db: Database) -> None:
    db.create_table("j", {"id": "INTEGER PRIMARY KEY", "v": "JSON"})
    db.insert_many("j", [{"v": {"model": "resnet", "lr": {"x": 1}}}, {"v": {"model": "vgg"}}])
    assert db.count("j", "v->>'model' = ?", ["vgg"]) == 1
    assert db.count("j", "v->'lr'->>'x' IS NOT NULL") == 1


BAD_TEXTS: list[tuple[Any, Any]] = [
    ("a = ?", None),
    ("a = ?", []),
    ("a = ?", [1, 2]),
    ("a = 1", [1]),
    ("a = :a", {}),
    ("a = :a", {"b": 1}),
    ("a = :a", {"a": 1, "b": 2}),
    ("a = ? AND b = :b", [1]),
    ("a = ?", {"a": 1}),
    ("a = :a", [1]),
    ("a = ?", "1"),
    ("a = ?", 1),
    ("", None),
    ("   ", None),
    ("a = (", None),
    ("a = 'x", None),
    ("a = 1; DROP TABLE t", None),
    ("a == = 1", None),
    (None, [1]),
    ("a = ?;", [1]),
]


def test_a_text_filter_that_cannot_be_understood_is_refused(t: Database) -> None:
    for where, params in BAD_TEXTS:
        for verb in ("select", "count", "exists", "delete"):
            assert refusal(getattr(t, verb), "t", where=where, params=params) is InvalidQuery, where
    assert t.select("t", order_by="id") == ROWS


# Dicts [4]


DICTS: list[tuple[dict[str, Any], list[int]]] = [
    ({"a": 1}, [1]),
    ({"a": 0}, [2]),
    ({"done": False}, [2]),
    ({"done": True}, [1, 4]),
    ({"a": None}, [3]),
    ({"b": ""}, [2]),
    ({"a": [1, 2]}, [1, 4]),
    ({"a": (0,)}, [2]),
    ({"a": {0, 1}}, [1, 2]),
    ({"a": [1, None]}, [1, 3]),
    ({"a": [None]}, [3]),
    ({"a": []}, []),
    ({"a in": range(2)}, [1, 2]),
    ({"a": 1, "b": None, "c": ["x", "q"], "d >=": 3}, [1]),
    ({"d >=": 3}, [1, 2]),
    ({"d >": 3}, [1]),
    ({"d <": 3}, [3]),
    ({"d <=": 3}, [2, 3]),
    ({"d <": 2.75}, [3]),
    ({"a <": 1.5}, [1, 2]),
    ({"a >": -0.5}, [1, 2, 4]),
    ({"d !=": 3}, [1, 3]),
    ({"d <>": 3}, [1, 3]),
    ({"d =": 3}, [2]),
    ({"d ==": 3}, [2]),
    ({"a !=": None}, [1, 2, 4]),
    ({"a is": None}, [3]),
    ({"a is not": None}, [1, 2, 4]),
    ({"a IS NOT": None}, [1, 2, 4]),
    ({"a !=": [1, 2]}, [2]),
    ({"a not in": [1, 2]}, [2]),
    ({"a not in": [1, None]}, [2, 4]),
    ({"a not in": []}, [1, 2, 3, 4]),
    ({"a between": [1, 2]}, [1, 4]),
    ({"d between": (2.5, 3)}, [2, 3]),
    ({"c like": "x"}, [1]),
    ({"c like": "%"}, [1, 2, 3, 4]),
    ({"c like": "_"}, [1, 4]),
    ({"c like": r"%\%"}, [2]),
    ({"c like": r"%\_"}, [3]),
    ({"c not like": "x%"}, [2, 3, 4]),
    ({"c": "y%"}, [2]),
    ({"b": "q?"}, [3]),
    ({"b": "it's"}, [4]),
    ({"c >": "X"}, [1, 2, 3]),
]


def test_a_dict_filter_finds_the_same_rows_in_every_verb(t: Database) -> None:
    for where, found in DICTS:
        assert ids(t, where) == found, where
        assert t.count("t", where) == len(found), where
        assert t.exists("t", where) is bool(found), where
        assert [row["id"] for row in t.stream("t", where=where, order_by="id")] == found, where
        assert [row["id"] for row in t.paginate("t", where=where).rows] == found, where
        changes(t, where, None, found)


BAD_DICTS: list[Any] = [
    {},
    {"a >": None},
    {"a between": [1]},
    {"a between": [1, None]},
    {"a between": 3},
    {"a in": 1},
    {"a in": "12"},
    {"a like": 1},
    {"a ~": 1},
    {"a = 1 OR": 1},
    {"a; DROP TABLE t": 1},
    {1: 1},
    {None: 1},
    [("a", 1)],
    5,
    object(),
]


def test_a_dict_filter_that_cannot_be_understood_is_refused(t: Database) -> None:
    for where in BAD_DICTS:
        for verb in ("select", "count", "delete"):
            assert refusal(getattr(t, verb), "t", where=where) in (InvalidQuery, ColumnNotFound), where
    assert t.select("t", order_by="id") == ROWS


def test_an_unknown_operator_gets_a_suggestion(t: Database) -> None:
    with pytest.raises(InvalidQuery, match="did you mean 'between'"):
        t.select("t", where={"a betwen": [1, 2]})


def test_a_dict_filter_with_params_is_refused(t: Database) -> None:
    with pytest.raises(InvalidQuery, match="its own values"):
        t.select("t", where={"a": 1}, params=[1])


def test_a_value_of_another_type_than_the_column_is_refused(t: Database) -> None:
    for where in (
        {"a": "one"},
        {"c": 1},
        {"done": "yes"},
        {"a >": "one"},
        {"a in": [1, "x"]},
        {"a": range(2)},
    ):
        with pytest.raises(ValueRefused):
            t.select("t", where=where)


def test_a_long_list_is_refused_with_the_reason_not_by_the_driver(t: Database) -> None:
    assert ids(t, {"a": list(range(20_000))}) == [1, 2, 4]
    with pytest.raises(InvalidQuery, match="split the list"):
        ids(t, {"a": list(range(70_000))})


def test_a_column_whose_name_ends_like_an_operator(db: Database) -> None:
    db.create_table("odd", {"a": int, "a >": int, "a in": int, "b like": "TEXT"})
    db.insert("odd", {"a": 1, "a >": 2, "a in": 3, "b like": "x"})
    assert db.count("odd", {"a >": 2}) == 1
    assert db.count("odd", {"a > >": 1}) == 1
    assert db.count("odd", {"a in": 3}) == 1
    assert db.count("odd", {"a in in": [3]}) == 1
    assert db.count("odd", {"b like like": "%"}) == 1


# SQLAlchemy expressions


def test_a_sqlalchemy_expression(t: Database) -> None:
    table = sa.table("t", *(sa.column(name) for name in ("id", "a", "b", "c")))
    assert ids(t, table.c.a == 1) == [1]
    assert ids(t, (table.c.a > 0) & table.c.c.in_(["x", "X"])) == [1, 4]
    assert ids(t, sa.or_(table.c.a.is_(None), table.c.b == "it's")) == [3, 4]
    assert ids(t, sa.column("a").between(1, 2)) == [1, 4]
    assert ids(t, sa.text("a = :a").bindparams(a=0)) == [2]
    assert ids(t, table.c.c.like("y\\%", escape="\\")) == [2]
    assert ids(t, table.c.b == "x'; DROP TABLE t; --") == []
    assert t.update("t", {"d": 1.0}, table.c.a == 1) == 1
    assert t.delete("t", table.c.id.in_([1, 2])) == 2


# Orders [5]


ORDERS: list[tuple[Any, list[int]]] = [
    ("a", [2, 1, 4, 3]),
    ("a ASC", [2, 1, 4, 3]),
    ("a DESC", [3, 4, 1, 2]),
    ("a desc", [3, 4, 1, 2]),
    ("a DESC NULLS LAST", [4, 1, 2, 3]),
    ("a NULLS FIRST", [3, 2, 1, 4]),
    ("a asc nulls first", [3, 2, 1, 4]),
    (["done DESC", "a DESC"], [3, 4, 1, 2]),
    ("done, d desc", [2, 4, 1, 3]),
    (["done", "d DESC NULLS LAST"], [2, 1, 4, 3]),
    ("c", [4, 1, 2, 3]),
    ("c DESC", [3, 2, 1, 4]),
    (("id DESC",), [4, 3, 2, 1]),
    ('"a" DESC', [3, 4, 1, 2]),
]


def test_an_order(t: Database) -> None:
    for order_by, found in ORDERS:
        assert ids(t, order_by=order_by) == found, order_by
        assert [row["id"] for row in t.stream("t", order_by=order_by)] == found, order_by
        first = t.find_one("t", order_by=order_by)
        assert first is not None
        assert first["id"] == found[0]
    assert sorted(ids(t, order_by=[])) == [1, 2, 3, 4]


NO_ORDERS: list[Any] = [
    "a; DROP TABLE t",
    "(SELECT 1)",
    "a, (SELECT name FROM sqlite_master)",
    "CASE WHEN 1=1 THEN a ELSE b END",
    "1",
    "lower(c)",
    "a DESC; --",
    "a DESC DESC",
    "a NULLS",
    "a --",
    "random()",
    "t.a",
    "a COLLATE NOCASE",
    ["a", "b); DROP TABLE t"],
]


def test_only_columns_order(t: Database) -> None:
    for order_by in NO_ORDERS:
        for verb in ("select", "find_one", "paginate", "stream"):
            assert refusal(getattr(t, verb), "t", order_by=order_by) is ColumnNotFound, order_by
    assert t.select("t", order_by="id") == ROWS


def test_an_order_that_is_none_is_refused(t: Database) -> None:
    for order_by in ("", " ", ["a", ""], [None], [1], 5, {"a"}, "a,", ",", b"a"):
        assert refusal(t.select, "t", order_by=order_by) is InvalidQuery, order_by


def test_a_column_whose_name_looks_like_an_order(db: Database) -> None:
    db.create_table("odd", {"id": int, "a DESC": int, "x, y": int, "a": int})
    db.insert_many(
        "odd", [{"id": 1, "a DESC": 2, "x, y": 1, "a": 1}, {"id": 2, "a DESC": 1, "x, y": 2, "a": 2}]
    )

    def order(order_by: Any) -> list[int]:
        return [row["id"] for row in db.select("odd", order_by=order_by)]

    assert order("a DESC") == [2, 1], "the column of that name, ascending"
    assert order("a DESC DESC") == [1, 2]
    assert order("x, y") == [1, 2]
    assert order(["x, y DESC"]) == [2, 1]
    assert order('"x, y" DESC, id') == [2, 1]


def test_text_is_ordered_and_compared_by_code_point(db: Database) -> None:
    words = ["Zebra", "apple", "Äpfel", "banana", "a", "B", "ÿ", "\U0001f600", "z"]
    db.create_table("w", {"w": "TEXT", "v": "VARCHAR(20)"})
    db.insert_many("w", [{"w": word, "v": word} for word in words])
    for column in ("w", "v"):
        found = [row[column] for row in db.select("w", column, order_by=column)]
        assert found == sorted(words)
        assert db.count("w", {f"{column} <": "a"}) == 2
        assert db.count("w", {f"{column} between": ["B", "a"]}) == 3


def test_text_of_a_column_that_somebody_else_made_is_ordered_by_code_point(db: Database) -> None:
    db.execute("CREATE TABLE w (w TEXT)")
    words = ["b", "B", "a", "A", "ä", "_"]
    db.insert_many("w", [{"w": word} for word in words])
    assert [row["w"] for row in db.select("w", order_by="w")] == sorted(words)
    assert [row["w"] for row in db.select("w", order_by="w DESC")] == sorted(words, reverse=True)


# Values in filters [7]


def test_hostile_values_match_nothing_and_harm_nothing(t: Database) -> None:
    for value in ("x'; DROP TABLE t;--", "' OR '1'='1", '" OR ""="', "x' UNION SELECT 1 --", "%", "_"):
        assert ids(t, {"b": value}) == []
        assert ids(t, "b = ?", [value]) == []
        assert ids(t, "b = :v", {"v": value}) == []
        assert t.update("t", {"b": "gone"}, {"b": value}) == 0
        assert t.delete("t", "b = ?", [value]) == 0
    assert t.select("t", order_by="id") == ROWS


def test_sql_runs_as_one_statement(t: Database) -> None:
    with pytest.raises(InvalidQuery):
        t.select("t", where="a = 1); DELETE FROM t; --")
    with pytest.raises(InvalidQuery):
        t.execute("SELECT 1; DELETE FROM t")
    with pytest.raises(InvalidQuery):
        t.execute("SELECT ?; DELETE FROM t", [1])
    assert t.count("t") == 4


def test_a_misspelt_name_in_a_text_filter_is_named_with_the_nearest(db: Database) -> None:
    db.create_table("runs", {"id": "INTEGER PRIMARY KEY", "score": "REAL"})
    for call in (
        lambda: db.select("runs", where="scroe > 1"),
        lambda: db.count("runs", "runs.scroe IS NULL"),
        lambda: db.query("SELECT scroe FROM runs"),
    ):
        with pytest.raises(ColumnNotFound, match="scroe") as caught:
            call()
        assert "did you mean 'score'?" in caught.value.hint
        db.count("runs")
    with pytest.raises(TableNotFound, match="rusn") as caught:
        db.query("SELECT * FROM rusn")
    assert "did you mean 'runs'?" in caught.value.hint
