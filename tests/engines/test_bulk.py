"""Many rows in one call: all or none, whatever they hold."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from holdfast import Database, connect
from holdfast.errors import (
    CheckViolation,
    ColumnNotFound,
    DatabaseError,
    Error,
    ForeignKeyViolation,
    InvalidQuery,
    KeyNotUnique,
    NotNullViolation,
    NotSupported,
    ReadOnlyError,
    UniqueViolation,
    ValueRefused,
)


@pytest.fixture
def t(db: Database) -> Database:
    db.create_table(
        "t",
        {
            "id": "INTEGER PRIMARY KEY",
            "name": "TEXT NOT NULL UNIQUE",
            "n": "INTEGER DEFAULT 7",
            "w": "TEXT",
        },
        checks="n >= 0",
    )
    return db


def rows(count: int) -> list[dict[str, Any]]:
    return [{"name": f"r{i}", "n": i} for i in range(1, count + 1)]


def contents(db: Database, table: str = "t", order_by: Any = "id") -> list[dict[str, Any]]:
    return db.select(table, order_by=order_by)


# insert_many [11] [12]


def test_a_list_and_a_generator_and_an_iterator(t: Database) -> None:
    assert t.insert_many("t", rows(3)) == 3
    assert t.insert_many("t", ({"name": f"g{i}"} for i in range(2))) == 2
    assert t.insert_many("t", iter([{"name": "i"}])) == 1
    assert t.insert_many("t", {1: {"name": "v"}}.values()) == 1
    assert [row["id"] for row in contents(t)] == [1, 2, 3, 4, 5, 6, 7]
    assert [row["name"] for row in contents(t)] == ["r1", "r2", "r3", "g0", "g1", "i", "v"]


def test_nothing_does_nothing(t: Database) -> None:
    assert t.insert_many("t", []) == 0
    assert t.insert_many("t", iter(())) == 0
    assert t.insert_many("t", [], on_conflict="update") == 0
    assert t.upsert_many("t", []) == 0
    assert t.update_many("t", []) == 0
    assert contents(t) == []


def test_rows_that_differ_in_keys_keep_every_value_and_take_defaults(t: Database) -> None:
    given: list[dict[str, Any]] = [
        {"name": "a"},
        {"name": "b", "w": "x"},
        {"w": "y", "name": "c"},
        {"name": "d", "n": 1},
        {"name": "e"},
        {"name": "f", "n": None},
        {"id": 50, "name": "g"},
    ]
    assert t.insert_many("t", given) == 7
    assert [(row["name"], row["n"], row["w"]) for row in contents(t, order_by="name")] == [
        ("a", 7, None),
        ("b", 7, "x"),
        ("c", 7, "y"),
        ("d", 1, None),
        ("e", 7, None),
        ("f", None, None),
        ("g", 7, None),
    ]
    assert t.insert("t", {"name": "next"}) == 51


def test_generated_keys_follow_keys_given_by_hand(t: Database) -> None:
    t.insert_many("t", [{"id": 10, "name": "a"}, {"id": 12, "name": "b"}, {"id": 11, "name": "c"}])
    assert t.insert("t", {"name": "d"}) == 13
    t.insert_many("t", [{"id": 3, "name": "e"}], on_conflict="update")
    assert t.insert("t", {"name": "f"}) == 14
    t.upsert_many("t", [{"id": 30, "name": "g"}])
    assert t.insert("t", {"name": "h"}) == 31


def test_keys_given_by_hand_move_a_sequence_of_any_name(db: Database, url: str) -> None:
    table, key = "my 'odd\" table", "the 'key\""
    db.create_table(table, {key: "INTEGER PRIMARY KEY", "n": "INTEGER"})
    assert db.insert(table, {key: 5, "n": 1}) == 5
    assert db.insert(table, {"n": 2}) == 6
    assert db.insert_many(table, [{key: i, "n": 3} for i in range(10, 60)]) == 50
    assert db.insert(table, {"n": 4}) == 60
    with connect(url) as other:
        other.drop_table(table)
        other.create_table(table, {key: "INTEGER PRIMARY KEY", "n": "INTEGER"})
    assert db.insert(table, {key: 70, "n": 5}) == 70
    assert db.insert(table, {"n": 6}) == 71
    assert db.insert_many(table, [{key: i, "n": 7} for i in range(80, 130)]) == 50
    assert db.insert(table, {"n": 8}) == 130


def test_empty_rows_take_all_defaults(db: Database) -> None:
    db.create_table("d", {"id": "INTEGER PRIMARY KEY", "v": "INTEGER DEFAULT 3"})
    assert db.insert_many("d", [{}, {"v": 1}, {}]) == 3
    assert contents(db, "d") == [{"id": 1, "v": 3}, {"id": 2, "v": 1}, {"id": 3, "v": 3}]


@pytest.mark.parametrize("size", [None, 1, 7, 100_000])
def test_the_batch_size_changes_nothing(t: Database, size: int | None) -> None:
    assert t.insert_many("t", rows(50), batch_size=size) == 50
    assert [row["n"] for row in contents(t)] == list(range(1, 51))
    t.insert_many(
        "t", [{"id": i, "name": f"x{i}"} for i in range(40, 60)], on_conflict="update", batch_size=size
    )
    assert t.count("t") == 59
    assert t.update_many("t", [{"id": i, "w": "u"} for i in range(1, 11)], batch_size=size) == 10
    assert t.count("t", {"w": "u"}) == 10


@pytest.mark.parametrize("size", [0, -1, 1.5, "10", True])
def test_a_batch_size_that_is_none_is_refused(t: Database, size: Any) -> None:
    for call in (t.insert_many, t.upsert_many, t.update_many):
        with pytest.raises(InvalidQuery, match="batch_size"):
            call("t", [{"id": 1, "name": "x"}], batch_size=size)
    assert t.count("t") == 0


BAD_ROWS: list[tuple[dict[str, Any], type[Error]]] = [
    ({"nmae": "x"}, ColumnNotFound),
    ({"name": "r1"}, UniqueViolation),
    ({"name": None}, NotNullViolation),
    ({"name": "x", "n": -1}, CheckViolation),
    ({"name": "x", "n": "many"}, ValueRefused),
    ({"name": 3}, ValueRefused),
    ({"name": "x", "n": 2**63}, ValueRefused),
    ({"id": 70_000, "name": "x"}, UniqueViolation),
    ("a text", InvalidQuery),  # type: ignore[list-item]
]


def test_one_bad_row_of_ten_thousand_leaves_none_and_is_named(t: Database) -> None:
    for bad, error in BAD_ROWS:
        given: list[Any] = rows(10_000)
        given[0] = {"id": 70_000, "name": "r1"}
        given[4_999] = bad
        with pytest.raises(error, match="row 5000") as caught:
            t.insert_many("t", given)
        assert isinstance(caught.value, Error)
        assert caught.value.row_number == 5_000
        assert t.count("t") == 0, bad


def test_an_unknown_column_is_named_with_a_suggestion(t: Database) -> None:
    with pytest.raises(ColumnNotFound, match="'nmae'") as caught:
        t.insert_many("t", [{"name": "a"}, {"nmae": "b"}])
    assert "did you mean 'name'?" in str(caught.value)
    assert caught.value.row_number == 2


def test_a_refused_value_is_not_repeated(t: Database) -> None:
    with pytest.raises(ValueRefused) as caught:
        t.insert_many("t", [{"name": "a", "n": "my secret"}])
    assert "my secret" not in str(caught.value)
    assert "t.n" in str(caught.value)


def test_a_generator_that_fails_leaves_nothing(t: Database) -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield from rows(3_000)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        t.insert_many("t", broken())
    assert t.count("t") == 0
    assert t.insert_many("t", rows(2)) == 2


def test_a_generator_may_read_the_database(t: Database) -> None:
    t.insert_many("t", rows(20))
    copies = ({"name": f"copy of {row['name']}"} for row in t.stream("t", order_by="id", batch_size=3))
    assert t.insert_many("t", copies, batch_size=4) == 20
    assert t.count("t") == 40


def test_what_is_no_list_of_rows_is_refused(t: Database) -> None:
    for given in ({"name": "x"}, "name", b"name", None, 5, [None], [[("name", "x")]]):
        for call in (t.insert_many, t.upsert_many, t.update_many):
            with pytest.raises(InvalidQuery):
                call("t", given)  # type: ignore[arg-type]
    assert t.count("t") == 0


def test_a_foreign_key_stops_all_rows(t: Database) -> None:
    t.create_table("child", {"id": "INTEGER PRIMARY KEY", "t_id": int}, foreign_keys={"t_id": "t(id)"})
    t.insert_many("t", rows(2))
    with pytest.raises(ForeignKeyViolation, match="row 3") as caught:
        t.insert_many("child", [{"t_id": 1}, {"t_id": 2}, {"t_id": 3}])
    assert caught.value.row_number == 3
    assert t.count("child") == 0


def test_an_inner_failure_leaves_the_outer_transaction_usable(t: Database) -> None:
    with t.transaction():
        t.insert("t", {"name": "before"})
        with pytest.raises(UniqueViolation):
            t.insert_many("t", [{"name": "a"}, {"name": "before"}])
        t.insert("t", {"name": "after"})
    assert [row["name"] for row in contents(t)] == ["before", "after"]


# on_conflict [13]


def test_on_conflict_error_is_the_default(t: Database) -> None:
    t.insert_many("t", rows(2))
    given = [{"id": 3, "name": "c"}, {"id": 1, "name": "again"}]
    with pytest.raises(UniqueViolation):
        t.insert_many("t", given)
    with pytest.raises(UniqueViolation):
        t.insert_many("t", given, on_conflict="error")
    assert t.count("t") == 2


def test_on_conflict_ignore_keeps_what_is_there(t: Database) -> None:
    t.insert_many("t", rows(2))
    written = t.insert_many(
        "t", [{"id": 1, "name": "x"}, {"name": "r2"}, {"name": "new"}], on_conflict="ignore"
    )
    assert written == 1
    assert [row["name"] for row in contents(t)] == ["r1", "r2", "new"]
    assert t.insert_many("t", [{"name": "r1", "n": 99}], on_conflict="ignore", key="name") == 0
    with pytest.raises(UniqueViolation):
        t.insert_many("t", [{"id": 1, "name": "other"}], on_conflict="ignore", key="name")


def test_on_conflict_ignore_still_refuses_what_is_no_conflict(t: Database) -> None:
    for bad, error in (({"name": None}, NotNullViolation), ({"name": "x", "n": -1}, CheckViolation)):
        with pytest.raises(error):
            t.insert_many("t", [{"name": "fine"}, bad], on_conflict="ignore")
    assert t.count("t") == 0


def test_on_conflict_update_touches_only_the_columns_given(t: Database) -> None:
    t.insert_many(
        "t", [{"id": 1, "name": "a", "n": 1, "w": "keep"}, {"id": 2, "name": "b", "n": 2, "w": "keep"}]
    )
    given = [{"id": 1, "name": "a", "n": 10}, {"id": 3, "name": "c", "w": "new"}, {"id": 2, "name": "B"}]
    assert t.insert_many("t", given, on_conflict="update") == 3
    assert contents(t) == [
        {"id": 1, "name": "a", "n": 10, "w": "keep"},
        {"id": 2, "name": "B", "n": 2, "w": "keep"},
        {"id": 3, "name": "c", "n": 7, "w": "new"},
    ]


def test_the_last_of_two_rows_with_one_key_wins(t: Database) -> None:
    t.upsert_many("t", [{"id": 1, "name": "first", "n": 1}, {"id": 1, "name": "second", "n": 2}])
    assert contents(t) == [{"id": 1, "name": "second", "n": 2, "w": None}]


def test_on_conflict_replace_sets_the_other_columns_to_their_defaults(t: Database) -> None:
    t.insert_many(
        "t", [{"id": 1, "name": "a", "n": 1, "w": "lost"}, {"id": 2, "name": "b", "n": 2, "w": "kept"}]
    )
    assert t.insert_many("t", [{"id": 1, "name": "A"}], on_conflict="replace") == 1
    assert contents(t) == [
        {"id": 1, "name": "A", "n": 7, "w": None},
        {"id": 2, "name": "b", "n": 2, "w": "kept"},
    ]
    assert t.insert_many("t", [{"name": "b", "w": "by name"}], on_conflict="replace", key="name") == 1
    assert t.get("t", 2) == {"id": 2, "name": "b", "n": 7, "w": "by name"}


def test_replace_does_not_remove_what_refers_to_the_row(t: Database) -> None:
    t.insert_many("t", rows(1))
    t.create_table("child", {"t_id": int}, foreign_keys={"t_id": "t(id) ON DELETE CASCADE"})
    t.insert("child", {"t_id": 1})
    t.insert_many("t", [{"id": 1, "name": "replaced"}], on_conflict="replace")
    assert t.count("child") == 1


def test_composite_keys(db: Database) -> None:
    db.create_table("c", {"a": int, "b": "TEXT", "v": int, "w": int}, primary_key=["a", "b"])
    db.insert_many("c", [{"a": 1, "b": "x", "v": 1, "w": 1}, {"a": 1, "b": "y", "v": 2, "w": 2}])
    given = [{"v": 10, "b": "x", "a": 1}, {"a": 2, "b": "x", "v": 20}]
    assert db.insert_many("c", given, on_conflict="update") == 2
    assert db.insert_many("c", [{"a": 1, "b": "y", "v": 99}], on_conflict="ignore") == 0
    assert db.insert_many("c", [{"a": 1, "b": "y", "v": 5}], on_conflict="update", key=["b", "a"]) == 1
    assert contents(db, "c", ["a", "b"]) == [
        {"a": 1, "b": "x", "v": 10, "w": 1},
        {"a": 1, "b": "y", "v": 5, "w": 2},
        {"a": 2, "b": "x", "v": 20, "w": None},
    ]
    assert db.insert_many("c", [{"a": 1, "b": "y"}], on_conflict="update") == 1, "only a key is no error"
    assert db.insert_many("c", [{"a": 1, "b": "y"}], on_conflict="replace") == 1
    assert db.get("c", (1, "y")) == {"a": 1, "b": "y", "v": None, "w": None}


@pytest.mark.parametrize("mode", ["ignore", "update", "replace"])
def test_another_unique_key(t: Database, mode: str) -> None:
    t.insert_many("t", rows(1))
    t.insert_many("t", [{"name": "r1", "w": "changed"}], on_conflict=mode, key="name")
    assert t.get("t", 1)["w"] == (None if mode == "ignore" else "changed")


def test_a_key_without_a_unique_index_says_which_one_to_create(t: Database) -> None:
    for mode in ("update", "ignore", "replace"):
        with pytest.raises(KeyNotUnique) as caught:
            t.insert_many("t", [{"name": "a", "w": "x", "n": 1}], on_conflict=mode, key=["w", "n"])
        assert "db.create_index('t', ['w', 'n'], unique=True)" in str(caught.value)
        assert caught.value.row_number == 1
    t.create_index("t", ["w", "n"], unique=True)
    t.insert_many("t", [{"name": "a", "w": "x", "n": 1}], on_conflict="update", key=["w", "n"])
    t.insert_many("t", [{"name": "b", "w": "x", "n": 1}], on_conflict="update", key=["n", "w"])
    assert [row["name"] for row in contents(t)] == ["b"]


def test_a_partial_unique_index_is_no_key(t: Database) -> None:
    t.create_index("t", ["w"], unique=True, where="n > 5")
    with pytest.raises(KeyNotUnique):
        t.insert_many("t", [{"name": "a", "w": "x"}], on_conflict="update", key="w")


def test_a_table_without_a_key_cannot_be_updated_by_it(db: Database) -> None:
    db.create_table("without", {"v": int})
    with pytest.raises(KeyNotUnique, match="key="):
        db.insert_many("without", [{"v": 1}], on_conflict="update")
    assert db.insert_many("without", [{"v": 1}], on_conflict="ignore") == 1


def test_a_row_without_its_key_is_refused(t: Database) -> None:
    for mode in ("update", "replace"):
        with pytest.raises(InvalidQuery, match="'id'") as caught:
            t.insert_many("t", [{"id": 1, "name": "a"}, {"name": "b"}], on_conflict=mode)
        assert caught.value.row_number == 2
    assert t.count("t") == 0


def test_an_unknown_mode_is_refused_even_for_no_rows(t: Database) -> None:
    for given in ([], [{"name": "x"}]):
        with pytest.raises(InvalidQuery, match="error, ignore, update, replace"):
            t.insert_many("t", given, on_conflict="merge")


def test_upsert_many_counts_inserted_and_updated_rows(t: Database) -> None:
    t.insert_many("t", rows(3))
    assert t.upsert_many("t", [{"name": f"r{i}", "w": "u"} for i in range(2, 6)], "name") == 4
    assert t.count("t") == 5
    assert t.count("t", {"w": "u"}) == 4


# update_many [14]


def test_update_many_changes_only_the_rows_it_finds(t: Database) -> None:
    t.insert_many("t", rows(4))
    changed = t.update_many("t", [{"id": 2, "n": 20}, {"w": "x", "id": 3}, {"id": 99, "n": 1}])
    assert changed == 2
    assert [(row["n"], row["w"]) for row in contents(t)] == [(1, None), (20, None), (3, "x"), (4, None)]
    assert t.count("t") == 4, "no row is inserted"


def test_update_many_by_other_columns(t: Database) -> None:
    t.insert_many("t", [{"name": "a", "w": "x"}, {"name": "b", "w": "x"}, {"name": "c", "w": "y"}])
    assert t.update_many("t", [{"w": "x", "n": 1}], key="w") == 2
    assert t.update_many("t", [{"w": "x", "name": "b", "n": 5}], key=["name", "w"]) == 1
    assert [row["n"] for row in contents(t)] == [1, 5, 7]


def test_update_many_without_the_key_raises_and_changes_nothing(t: Database) -> None:
    t.insert_many("t", rows(3))
    before = contents(t)
    for bad in ({"n": 9}, {"id": None, "n": 9}):
        with pytest.raises(InvalidQuery, match=r"row 2: .*'id'") as caught:
            t.update_many("t", [{"id": 1, "n": 9}, bad])
        assert caught.value.row_number == 2
    with pytest.raises(InvalidQuery, match="besides its key"):
        t.update_many("t", [{"id": 1}])
    with pytest.raises(InvalidQuery, match="key is empty"):
        t.update_many("t", [{"id": 1, "n": 1}], key=[])
    assert contents(t) == before


def test_update_many_is_all_or_none(t: Database) -> None:
    t.insert_many("t", rows(6_000))
    given: list[dict[str, Any]] = [{"id": i, "n": 0} for i in range(1, 6_001)]
    for bad, error in (
        ({"id": 5_000, "n": -1}, CheckViolation),
        ({"id": 5_000, "name": "r1"}, UniqueViolation),
        ({"id": 5_000, "name": None}, NotNullViolation),
        ({"id": 5_000, "n": "x"}, ValueRefused),
        ({"id": 5_000, "nn": 1}, ColumnNotFound),
    ):
        given[4_999] = bad
        with pytest.raises(error, match="row 5000") as caught:
            t.update_many("t", given)
        assert isinstance(caught.value, Error)
        assert caught.value.row_number == 5_000
        assert t.count("t", {"n": 0}) == 0


# progress


@pytest.mark.parametrize("verb", ["insert_many", "upsert_many", "update_many"])
def test_progress_is_shown_on_standard_error_only(
    t: Database, verb: str, capfd: pytest.CaptureFixture[str]
) -> None:
    given: list[dict[str, Any]] = [{"id": i, "name": f"p{i}"} for i in range(1, 31)]
    t.insert_many("t", given)
    capfd.readouterr()
    getattr(t, verb)(
        "t",
        [{"id": row["id"] + 100 * (verb[0] == "i"), "name": row["name"] + "x"} for row in given],
        progress=True,
    )
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "30/30" in shown.err
    getattr(t, verb)("t", [{"id": 1 + 500 * (verb[0] == "i"), "name": "quiet"}], progress=False)
    getattr(t, verb)("t", [{"id": 2 + 500 * (verb[0] == "i"), "name": "auto"}], progress=None)
    assert capfd.readouterr() == ("", "")


def test_progress_of_a_generator_has_no_end(t: Database, capfd: pytest.CaptureFixture[str]) -> None:
    assert t.insert_many("t", ({"name": f"p{i}"} for i in range(25)), progress=True) == 25
    assert "25/25" in capfd.readouterr().err


# The fast ways do what single rows do


def counted(count: int, start: int = 1) -> list[dict[str, Any]]:
    return [{"id": i, "name": f"n{i}", "n": i} for i in range(start, start + count)]


@pytest.fixture
def plain(db: Database) -> Database:
    """A table without an index besides its key, the kind for which SQLite has flat statements."""
    db.create_table(
        "p", {"id": "INTEGER PRIMARY KEY", "name": "TEXT", "n": "INTEGER DEFAULT 7"}, checks="n >= 0"
    )
    return db


@pytest.mark.parametrize("count", [1, 19, 20, 99, 100, 101, 250, 2_000, 2_001, 23_456])
def test_any_number_of_rows(plain: Database, count: int) -> None:
    assert plain.insert_many("p", counted(count)) == count
    assert plain.count("p") == count
    assert plain.update_many("p", [{"id": i, "n": 2 * i} for i in range(count, 0, -1)]) == count
    assert plain.upsert_many("p", [{"id": i, "name": "u"} for i in range(2, count + 2)]) == count
    wanted = [
        {"id": i, "name": "u" if i > 1 else "n1", "n": 2 * i if i <= count else 7}
        for i in range(1, count + 2)
    ]
    assert contents(plain, "p") == wanted


@pytest.mark.parametrize("mode", ["update", "replace", "ignore"])
@pytest.mark.parametrize("copies", [1, 2, 30])
def test_a_key_that_comes_again_is_written_row_by_row(plain: Database, mode: str, copies: int) -> None:
    given = [{"id": i % 40, "name": f"copy {turn}"} for turn in range(copies + 1) for i in range(40)]
    given.append({"id": 5, "name": "last"})
    written = plain.insert_many("p", given, on_conflict=mode)
    assert written == (40 if mode == "ignore" else len(given))
    found = {row["id"]: row["name"] for row in contents(plain, "p")}
    last = "copy 0" if mode == "ignore" else f"copy {copies}"
    assert found == dict.fromkeys(range(40), last) | {5: last if mode == "ignore" else "last"}


def test_an_update_that_comes_again_wins(plain: Database) -> None:
    plain.insert_many("p", counted(100))
    given = [{"id": i, "n": turn} for turn in range(4) for i in range(1, 101)]
    assert plain.update_many("p", given) == 400
    assert {row["n"] for row in contents(plain, "p")} == {3}


def test_a_row_that_a_later_one_replaces_is_checked_all_the_same(plain: Database) -> None:
    given = [*counted(50), {"id": 60, "name": "x", "n": -1}, {"id": 60, "name": "x", "n": 1}]
    with pytest.raises(CheckViolation) as caught:
        plain.upsert_many("p", given)
    assert caught.value.row_number == 51
    assert plain.count("p") == 0


@pytest.mark.parametrize("place", [0, 1, 99, 100, 1_999, 2_000, 24_999])
def test_the_row_at_fault_is_named_wherever_it_is(plain: Database, place: int) -> None:
    plain.insert_many("p", counted(25_000))
    plain.delete("p", {"id >": 0})
    for change, error in (({"n": -1}, CheckViolation), ({"id": 25_001}, UniqueViolation)):
        given = [{"id": 25_001, "name": "there", "n": 0}, *counted(25_000)]
        given[place + 1] |= change
        for rows in (given, iter(given)):
            with pytest.raises(error) as caught:
                plain.insert_many("p", rows)
            assert caught.value.row_number == place + 2
    assert plain.count("p") == 0


def test_a_foreign_key_checked_at_the_end_names_its_row(plain: Database) -> None:
    plain.insert_many("p", counted(10))
    plain.create_table("c", {"id": "INTEGER PRIMARY KEY", "p": int}, foreign_keys={"p": "p(id)"})
    given = [{"id": i, "p": 1 + i % 10} for i in range(5_000)]
    given[4_321]["p"] = 99
    for call in (plain.insert_many, plain.upsert_many):
        with pytest.raises(ForeignKeyViolation) as caught:
            call("c", given)
        assert caught.value.row_number == 4_322
    assert plain.count("c") == 0


def test_a_row_may_not_refer_to_one_that_comes_later(db: Database) -> None:
    db.create_table("tree", {"id": "INTEGER PRIMARY KEY", "above": int}, foreign_keys={"above": "tree(id)"})
    downwards = [{"id": i, "above": i - 1 or None} for i in range(1, 201)]
    with pytest.raises(ForeignKeyViolation) as caught:
        db.insert_many("tree", downwards[::-1])
    assert caught.value.row_number == 1
    assert db.insert_many("tree", downwards) == 200


def test_keys_given_by_hand_move_the_sequence_and_never_back(plain: Database) -> None:
    plain.insert_many("p", counted(100))
    assert plain.insert("p", {"name": "next"}) == 101
    plain.delete("p", {"id <": 50})
    plain.insert_many("p", counted(30))
    assert plain.insert("p", {"name": "next"}) == 102
    plain.upsert_many("p", counted(30, start=500))
    assert plain.insert("p", {"name": "next"}) == 530
    assert plain.insert_many("p", [{"name": "generated"}] * 25) == 25
    assert plain.insert("p", {"name": "next"}) == 556


def test_rows_that_differ_in_columns_in_long_runs(plain: Database) -> None:
    given: list[dict[str, Any]] = []
    for run in range(4):
        for i in range(150):
            key = 1_000 * run + i
            given.append({"id": key, "name": "x"} if run % 2 else {"n": 1, "id": key})
    given += [{"id": 9_000 + i} if i % 2 else {"name": "y", "id": 9_000 + i} for i in range(40)]
    for rows in (given, iter(given)):
        assert plain.insert_many("p", rows) == len(given)
        assert plain.count("p", {"name": "x", "n": 7}) == 300
        assert plain.count("p", {"name": None, "n": 1}) == 300
        assert plain.count("p", {"name": None, "n": 7}) == 20
        plain.delete("p", all_rows=True)


def test_every_type_by_every_way(db: Database) -> None:
    when = datetime(2024, 5, 17, 12, 30, 1, 250)
    values: dict[str, tuple[str, Any]] = {
        "i": ("INTEGER", 2**63 - 1), "s": ("SMALLINT", -5), "f": ("REAL", 0.1), "c": ("CHAR(3)", "ab "),
        "t": ("TEXT", 'é"\\\t\n\x01'), "v": ("VARCHAR(5)", "abcde"), "b": ("BOOLEAN", False),
        "d": ("DATE", when.date()), "ti": ("TIME", when.time()), "ts": ("TIMESTAMP", when),
        "tz": ("TIMESTAMPTZ", when.replace(tzinfo=UTC)), "n": ("NUMERIC(12,3)", Decimal("-12.500")),
        "j": ("JSON", {"a": [1, "\x01", None]}), "jb": ("JSONB", "text"), "u": ("UUID", UUID(int=2**127)),
        "y": ("BLOB", b"\x00\xff"),
    }  # fmt: skip
    db.create_table(
        "all", {"id": "INTEGER PRIMARY KEY", **{name: kind for name, (kind, _) in values.items()}}
    )
    row = {name: value for name, (_, value) in values.items()}
    nothing = dict.fromkeys(row)
    given = [{"id": i, **(row if i % 3 else nothing)} for i in range(1, 61)]
    for verb in (db.insert_many, db.upsert_many, db.update_many):
        assert verb("all", given) == 60
        assert db.select("all", order_by="id") == given
    for name in row:
        db.upsert_many("all", [{"id": i, name: row[name]} for i in range(1, 61)])
    assert db.count("all", {"i": row["i"], "u": row["u"]}) == 60


def test_an_index_makes_no_difference(plain: Database) -> None:
    plain.create_index("p", ["name"], unique=True)
    assert plain.insert_many("p", counted(300)) == 300
    assert (
        plain.insert_many("p", [{"name": f"n{i}", "n": 1} for i in range(200, 400)], on_conflict="ignore")
        == 99
    )
    given = [{"name": f"n{i}", "n": 5} for i in range(300, 0, -1)]
    assert plain.update_many("p", given, key="name") == 300
    assert plain.count("p", {"n": 5}) == 300


def test_text_keys_that_the_database_takes_for_equal(db: Database) -> None:
    if db.engine.dialect.name == "sqlite":
        db.execute("CREATE TABLE k (k TEXT COLLATE NOCASE PRIMARY KEY, v INTEGER)")
    else:
        try:
            db.execute(
                "CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
            )
        except NotSupported:
            pytest.skip("this server was built without ICU")
        db.execute("CREATE TABLE k (k TEXT COLLATE nocase PRIMARY KEY, v INTEGER)")
    given = [{"k": f"{letter}{i}", "v": turn} for turn, letter in enumerate("aA") for i in range(30)]
    assert db.upsert_many("k", given) == 60
    assert db.count("k") == db.count("k", {"v": 1}) == 30
    assert db.update_many("k", [{"k": row["k"], "v": row["v"] + 10} for row in given], key="k") == 60
    assert db.count("k", {"v": 11}) == 30


def test_a_write_in_a_read_only_transaction_is_refused(plain: Database) -> None:
    for count in (1, 50):
        with pytest.raises(ReadOnlyError), plain.transaction(read_only=True):
            plain.upsert_many("p", counted(count))
    assert plain.insert_many("p", counted(50)) == 50


def test_bulk_calls_inside_a_generator_of_another(plain: Database) -> None:
    def given() -> Iterator[dict[str, Any]]:
        for i in range(60):
            if i % 20 == 0:
                plain.upsert_many("p", counted(25, start=1_000 + i))
            yield {"id": i, "name": "outer"}

    assert plain.upsert_many("p", given()) == 60
    assert plain.count("p") == 125


def test_a_row_beyond_what_the_server_can_store_is_not_a_failed_connection(
    db: Database, engine_name: str
) -> None:
    columns = [f"c{number}" for number in range(1_400)]
    db.create_table("t", dict.fromkeys(columns, "REAL"))
    if engine_name == "sqlite":
        assert db.insert_many("t", [dict.fromkeys(columns, 0.5)] * 30) == 30
        return
    for rows in (1, 30):
        with pytest.raises(DatabaseError, match="row is too big"):
            db.insert_many("t", [dict.fromkeys(columns, 0.5)] * rows)
    assert db.count("t") == 0


WIDE = """
import resource, sys
import holdfast
db = holdfast.connect(sys.argv[1])
db.create_table("wide", {"id": "INTEGER PRIMARY KEY", "data": "BLOB"})
db.insert_many("wide", ({"id": -i, "data": bytes(1_000_000)} for i in range(1, 3)))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert db.insert_many("wide", ({"id": i, "data": bytes(1_000_000)} for i in range(200))) == 200
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_stays_flat_with_large_values(url: str) -> None:
    done = subprocess.run([sys.executable, "-c", WIDE, url], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 64 * 1024


def test_what_copy_would_let_pass_is_written_as_insert_does(db: Database) -> None:
    if db.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no COPY")
    db.execute("CREATE TABLE always (id BIGINT GENERATED ALWAYS AS IDENTITY, n BIGINT)")
    with pytest.raises(Error, match="row 1"):
        db.insert_many("always", [{"id": i, "n": i} for i in range(50)])
    assert db.insert_many("always", [{"n": i} for i in range(50)]) == 50
    db.execute("CREATE VIEW seen AS SELECT n FROM always WHERE n < 10")
    assert db.insert_many("seen", [{"n": 5}] * 50) == 50
    assert db.count("always") == 100
    db.execute("CREATE TABLE ruled (n BIGINT)")
    db.execute("CREATE RULE nothing AS ON INSERT TO ruled DO INSTEAD NOTHING")
    db.insert_many("ruled", [{"n": 5}] * 50)
    assert db.count("ruled") == 0


def test_a_full_disk_is_called_that_and_leaves_nothing(db: Database, engine_name: str) -> None:
    if engine_name != "sqlite":
        pytest.skip("a server's disk cannot be made small from here")
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"})
    db.execute("PRAGMA max_page_count = 100")
    with pytest.raises(DatabaseError, match="disk is full"):
        db.insert_many("t", ({"v": "x" * 1000} for _ in range(5_000)))
    assert db.count("t") == 0
