from __future__ import annotations

import math
import signal
import subprocess
import sys
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.errors import (
    ColumnNotFound,
    ForeignKeyViolation,
    InvalidQuery,
    TableNotFound,
)


@pytest.fixture
def runs(db):
    db.create_table("runs", {"id": "INTEGER PRIMARY KEY", "name": "TEXT", "score": "REAL", "note": "TEXT"})
    db.insert_many(
        "runs",
        [
            {"id": 1, "name": "a", "score": 0.5, "note": None},
            {"id": 2, "name": "a", "score": 0.5, "note": None},
            {"id": 3, "name": "a", "score": 0.5, "note": ""},
            {"id": 4, "name": None, "score": None, "note": None},
            {"id": 5, "name": None, "score": None, "note": None},
            {"id": 6, "name": "a", "score": 0.5, "note": None},
            {"id": 7, "name": "A", "score": 0.5, "note": None},
        ],
    )
    return db


def ids(db, table="runs"):
    return [row["id"] for row in db.select(table, order_by="id")]


def test_all_columns_but_the_key_are_compared_and_nulls_are_alike(runs):
    assert runs.delete_duplicates("runs", dry_run=True) == 3
    assert ids(runs) == [1, 2, 3, 4, 5, 6, 7]
    assert runs.delete_duplicates("runs") == 3
    assert ids(runs) == [1, 3, 4, 7]
    assert runs.delete_duplicates("runs") == 0


def test_the_last_is_kept(runs):
    assert runs.delete_duplicates("runs", keep="last", dry_run=True) == 3
    assert runs.delete_duplicates("runs", keep="last") == 3
    assert ids(runs) == [3, 5, 6, 7]


@pytest.mark.parametrize(
    ("columns", "left"), [("name", [1, 4, 7]), (["score", "note"], [1, 3, 4]), (["id"], 7)]
)
def test_only_the_columns_named_are_compared(runs, columns, left):
    removed = runs.delete_duplicates("runs", columns, dry_run=True)
    assert runs.delete_duplicates("runs", columns) == removed
    assert ids(runs) == (list(range(1, 8)) if left == 7 else left)


def test_mistakes_are_named_and_nothing_is_removed(runs):
    with pytest.raises(TableNotFound, match="did you mean 'runs'"):
        runs.delete_duplicates("rnus")
    with pytest.raises(ColumnNotFound, match="did you mean 'name'"):
        runs.delete_duplicates("runs", ["nmae"])
    with pytest.raises(InvalidQuery, match="'first' or 'last'"):
        runs.delete_duplicates("runs", keep="newest")
    for columns in ([], (), [1], [None]):
        with pytest.raises(InvalidQuery, match="names"):
            runs.delete_duplicates("runs", columns)
    runs.execute("CREATE VIEW named AS SELECT name FROM runs")
    with pytest.raises(TableNotFound, match="is a view"):
        runs.delete_duplicates("named")
    assert len(ids(runs)) == 7


def test_first_means_by_code_point_of_a_text_key(db):
    db.create_table("t", {"k": "TEXT PRIMARY KEY", "v": int})
    db.insert_many("t", [{"k": "a", "v": 1}, {"k": "B", "v": 1}, {"k": "é", "v": 1}, {"k": "z", "v": 1}])
    db.begin_transaction()
    db.delete_duplicates("t", keep="last")
    assert db.select("t", "k") == [{"k": "é"}]
    db.rollback()
    assert db.delete_duplicates("t") == 3
    assert db.select("t", "k") == [{"k": "B"}]


def test_a_key_of_several_columns_orders_the_rows(db):
    db.create_table("t", {"a": int, "b": int, "v": str}, primary_key=["b", "a"])
    db.insert_many("t", [{"a": 1, "b": 2, "v": "x"}, {"a": 2, "b": 1, "v": "x"}, {"a": 3, "b": 3, "v": "x"}])
    assert db.delete_duplicates("t") == 2
    assert db.select("t") == [{"a": 2, "b": 1, "v": "x"}]


def test_rows_without_a_key_are_told_apart(db):
    db.create_table("t", {"a": int, "b": str})
    db.insert_many("t", [{"a": 1, "b": "x"}] * 5 + [{"a": 1, "b": None}] * 2 + [{"a": None, "b": None}] * 3)
    assert db.delete_duplicates("t", dry_run=True) == 7
    assert db.delete_duplicates("t") == 7
    assert db.select("t", order_by="a, b") == [
        {"a": 1, "b": "x"},
        {"a": 1, "b": None},
        {"a": None, "b": None},
    ]


def test_the_first_and_the_last_by_place_where_there_is_no_key(db):
    for keep, left in (("first", 0), ("last", 9)):
        db.create_table(keep, {"a": int, "n": int})
        db.insert_many(keep, [{"a": 1, "n": n} for n in range(10)])
        assert db.delete_duplicates(keep, "a", keep) == 9
        assert db.select(keep) == [{"a": 1, "n": left}]


def test_columns_may_be_called_like_the_number_of_a_row(db):
    db.create_table("t", {"rowid": int, "oid": int, "n": int, "p0": int})
    db.insert_many("t", [{"rowid": 7, "oid": 7, "n": 1, "p0": 2}] * 3)
    assert db.delete_duplicates("t") == 2
    assert db.count("t") == 1


def test_only_a_key_leaves_all_columns_to_compare(db):
    db.create_table("t", {"a": int, "b": int}, primary_key=["a", "b"])
    db.insert_many("t", [{"a": 1, "b": 1}, {"a": 1, "b": 2}])
    assert db.delete_duplicates("t") == 0


def test_awkward_values_are_compared(db):
    db.create_table(
        "t",
        {"id": "INTEGER PRIMARY KEY", "f": float, "j": dict, "b": bytes, "d": "NUMERIC", "x": "TIMESTAMPTZ"},
    )
    base = {
        "f": 0.1 + 0.2,
        "j": {"b": [1, {"x": None}], "a": 1.0},
        "b": b"\0\xff",
        "d": Decimal("1.10"),
        "x": None,
    }
    same = [base, {**base, "j": {"a": 1, "b": [1.0, {"x": None}]}, "d": Decimal("1.1")}]
    other = [
        {**base, "f": math.nextafter(0.1 + 0.2, 1)},
        {**base, "f": 1e300},
        {**base, "j": {"a": True, "b": [1, {"x": None}]}},
        {**base, "j": {"a": 1, "b": [{"x": None}, 1]}},
        {**base, "j": None},
        {**base, "b": b"\0"},
        {**base, "b": b""},
        {**base, "b": None},
        {**base, "d": Decimal("1.11")},
    ]
    db.insert_many("t", [{"id": n, **row} for n, row in enumerate([*same, *other, *same])])
    assert db.delete_duplicates("t", dry_run=True) == 3
    assert db.delete_duplicates("t") == 3
    assert ids(db, "t") == [0, *range(2, 11)]


def test_types_without_an_equality_are_compared_on_postgres(db, engine_name):
    if engine_name == "sqlite":
        pytest.skip("SQLite has no such types")
    db.execute("CREATE TABLE t (j json, js json[], p point, c circle[])")
    values = """('{"a": 1, "b": 2}', ARRAY['[1]'::json], '(1,2)', ARRAY['<(0,0),1>'::circle])"""
    other = """('{"b": 2,  "a": 1}', ARRAY['[ 1 ]'::json], '(1,2)', ARRAY['<(0,0),1>'::circle])"""
    db.execute(f"INSERT INTO t VALUES {values}, {other}, ('{{}}', NULL, '(1,2)', NULL)")
    assert db.delete_duplicates("t") == 1
    assert db.count("t") == 2


def test_a_partitioned_table_and_its_parts_on_postgres(db, engine_name):
    if engine_name == "sqlite":
        pytest.skip("SQLite has no partitions")
    db.execute("CREATE TABLE t (a int, b int) PARTITION BY LIST (a)")
    db.execute("CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1)")
    db.execute("CREATE TABLE t2 PARTITION OF t FOR VALUES IN (2)")
    db.insert_many("t", [{"a": 1, "b": 1}, {"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 2, "b": 2}])
    assert db.delete_duplicates("t") == 1
    assert db.select("t", order_by="a, b") == [{"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 2, "b": 2}]


def test_tables_without_rowid_on_sqlite(db, engine_name):
    if engine_name != "sqlite":
        pytest.skip("PostgreSQL has no such tables")
    db.execute("CREATE TABLE t (a INTEGER, b TEXT, v TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID")
    db.insert_many("t", [{"a": a, "b": b, "v": "x"} for a in (2, 1) for b in "ab"])
    assert db.delete_duplicates("t", keep="last") == 3
    assert db.select("t") == [{"a": 2, "b": "b", "v": "x"}]


def test_schema_indexes_and_triggers_are_kept(runs, engine_name):
    runs.create_index("runs", ["name"])
    runs.create_table("log", {"id": int})
    if engine_name == "sqlite":
        runs.execute("CREATE TRIGGER gone AFTER DELETE ON runs BEGIN INSERT INTO log VALUES (old.id); END")
    else:
        runs.execute(
            "CREATE FUNCTION note() RETURNS trigger AS "
            "'BEGIN INSERT INTO log VALUES (old.id); RETURN old; END' LANGUAGE plpgsql"
        )
        runs.execute("CREATE TRIGGER gone AFTER DELETE ON runs FOR EACH ROW EXECUTE FUNCTION note()")
    before = runs.get_columns("runs"), runs.list_indexes("runs")
    assert runs.delete_duplicates("runs", dry_run=True) == 3
    assert runs.count("log") == 0
    assert runs.delete_duplicates("runs") == 3
    assert ids(runs, "log") == [2, 5, 6]
    assert (runs.get_columns("runs"), runs.list_indexes("runs")) == before


def test_a_foreign_key_stops_it_whole(runs):
    runs.create_table("notes", {"run": "INTEGER REFERENCES runs(id)"})
    runs.insert("notes", {"run": 5})
    with pytest.raises(ForeignKeyViolation):
        runs.delete_duplicates("runs")
    assert len(ids(runs)) == 7


def test_it_is_part_of_a_transaction(runs):
    runs.begin_transaction()
    assert runs.delete_duplicates("runs") == 3
    assert ids(runs) == [1, 3, 4, 7]
    runs.rollback()
    assert len(ids(runs)) == 7


def test_names_are_only_names(db):
    table, column = 'a "b".c', "select ? %s"
    db.create_table(table, {column: str, "n": int})
    db.insert_many(table, [{column: "x", "n": 1}] * 3)
    assert db.delete_duplicates(table, [column]) == 2


CHILD = """
import os, signal, sys, holdfast

def most_memory():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

with holdfast.connect(sys.argv[1]) as db:
    db.count("t")
    before = most_memory()
    if len(sys.argv) > 2:
        with db.transaction():
            db.delete_duplicates("t", ["a"])
            os.kill(os.getpid(), signal.SIGKILL)
    print(db.delete_duplicates("t", ["a"]), (most_memory() - before) // 1024)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is read from /proc")
@pytest.mark.parametrize("has_key", [True, False])
def test_a_kill_leaves_all_rows_and_memory_stays_flat(db, url, has_key):
    db.create_table("t", {"id": "INTEGER PRIMARY KEY" if has_key else int, "a": int, "b": str})
    db.insert_many("t", ({"id": n, "a": n % 90_000, "b": "x" * 50} for n in range(100_000)))

    def child(*more):
        return subprocess.run(
            [sys.executable, "-c", CHILD, url, *more],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    assert child("kill").returncode == -signal.SIGKILL
    assert db.count("t") == 100_000
    done = child()
    assert done.returncode == 0, done.stderr
    removed, mebibytes = map(int, done.stdout.split())
    assert removed == 10_000
    assert mebibytes < 64
    assert sorted(row["id"] for row in db.select("t", ["id"])) == list(range(90_000))


values = st.one_of(st.none(), st.integers(-2, 2))


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=st.lists(st.tuples(values, values), max_size=12), keep=st.sampled_from(["first", "last"]))
def test_what_is_left_is_what_python_leaves(db, rows, keep):
    db.drop_table("t", if_exists=True)
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "a": int, "b": int})
    db.insert_many("t", [{"id": n, "a": a, "b": b} for n, (a, b) in enumerate(rows)])
    numbered = list(enumerate(rows))
    kept = {row: n for n, row in (reversed(numbered) if keep == "first" else numbered)}
    removed = len(rows) - len(kept)
    assert db.delete_duplicates("t", keep=keep, dry_run=True) == removed
    assert db.delete_duplicates("t", keep=keep) == removed
    assert ids(db, "t") == sorted(kept.values())
