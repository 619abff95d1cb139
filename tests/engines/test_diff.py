"""What two databases hold that is not the same: a SQLite file against each engine."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import holdfast
from holdfast.cli.main import run
from holdfast.errors import InvalidQuery, TableNotFound
from holdfast.transfer import rowdiff

INTEGER_KEY = {"id": "INTEGER PRIMARY KEY", "a": int, "b": str}


@pytest.fixture
def lite() -> Iterator[holdfast.Database]:
    with holdfast.connect(":memory:") as database:
        yield database


def both(columns: dict[str, Any], *dbs: holdfast.Database, **options: Any) -> None:
    for one in dbs:
        one.create_table("t", columns, **options)


def told(found: Any, table: str = "t") -> list[tuple[Any, ...]]:
    (table_found,) = [one for one in found.tables if one.table == table]
    return [
        (row.which, tuple(row.key.values()) if row.key is not None else row.count, *row.columns)
        for row in table_found.rows
    ]


def schema(found: Any) -> list[tuple[Any, ...]]:
    return [(item.kind, item.table, item.name, item.a, item.b) for item in found.schema]


# Rows


def test_rows_are_told_by_their_key_and_the_columns_that_differ(
    lite: holdfast.Database, db: holdfast.Database
) -> None:
    both(INTEGER_KEY, lite, db)
    rows = [{"id": n, "a": n, "b": f"x{n}"} for n in range(2_000)]
    lite.insert_many("t", rows)
    db.insert_many("t", rows)
    assert lite.diff(db).is_equal
    assert str(lite.diff(db)) == "equal: 1 tables, 2,000 rows"
    db.update("t", {"a": -1}, {"id": 7})
    db.update("t", {"a": None, "b": "y"}, {"id": 1_500})
    db.delete("t", {"id": [3, 1_999]})
    db.insert("t", {"id": 5_000_000, "a": 1})
    found = lite.diff(db)
    assert not found.is_equal
    assert told(found) == [
        ("only in a", (3,)),
        ("changed", (7,), "a"),
        ("changed", (1_500,), "a", "b"),
        ("only in a", (1_999,)),
        ("only in b", (5_000_000,)),
    ]
    table = found.tables[0]
    assert (table.rows_a, table.rows_b) == (2_000, 1_999)
    assert (table.only_in_a, table.only_in_b, table.changed) == (2, 1, 2)
    assert all(row.a is None and row.b is None for row in table.rows)
    other_way = holdfast.diff(db, lite).tables[0]
    assert (other_way.only_in_a, other_way.only_in_b, other_way.changed) == (1, 2, 2)


def test_values_are_given_where_they_are_asked_for(lite: holdfast.Database, db: holdfast.Database) -> None:
    both(INTEGER_KEY, lite, db)
    lite.insert_many("t", [{"id": 1, "a": 1, "b": "secret"}, {"id": 2, "a": 1, "b": "x"}])
    db.insert_many("t", [{"id": 1, "a": 1, "b": "hidden"}, {"id": 3, "a": 4, "b": None}])
    assert "secret" not in str(lite.diff(db))
    assert "hidden" not in repr(lite.diff(db))
    found = lite.diff(db, rows=True)
    assert [(row.a, row.b) for row in found.tables[0].rows] == [
        ({"b": "secret"}, {"b": "hidden"}),
        ({"id": 2, "a": 1, "b": "x"}, None),
        (None, {"id": 3, "a": 4, "b": None}),
    ]
    assert "b: 'secret' -> 'hidden'" in str(found)


@pytest.mark.parametrize(
    ("columns", "options", "keys"),
    [
        ({"k": "TEXT PRIMARY KEY", "v": int}, {}, [("é",), ("Z",), ("",), ("a" * 50,)]),
        ({"k": "UUID PRIMARY KEY", "v": int}, {}, [(uuid.UUID(int=n),) for n in range(4)]),
        ({"k": "DATE PRIMARY KEY", "v": int}, {}, [(date(2020, 1, n),) for n in range(1, 5)]),
        ({"k": "NUMERIC(9,2) PRIMARY KEY", "v": int}, {}, [(Decimal(n) / 4,) for n in range(4)]),
        (
            {"k": int, "m": str, "v": int},
            {"primary_key": ["m", "k"]},
            [(1, "x"), (2, "x"), (1, "y"), (-1, "x")],
        ),
        ({"k": "INTEGER PRIMARY KEY", "v": int}, {}, [(-(2**63),), (2**63 - 1,), (0,), (-1,)]),
    ],
)
def test_keys_of_all_kinds(
    lite: holdfast.Database,
    db: holdfast.Database,
    columns: dict[str, Any],
    options: dict[str, Any],
    keys: list[tuple[Any, ...]],
) -> None:
    both(columns, lite, db, **options)
    named = [name for name in columns if name != "v"]
    rows = [{**dict(zip(named, key, strict=True)), "v": n} for n, key in enumerate(keys)]
    for one in (lite, db):
        one.insert_many("t", rows)
    assert lite.diff(db).is_equal
    where = [{name: row[name] for name in named} for row in rows]
    db.update("t", {"v": 99}, where[0])
    db.delete("t", where[1])
    lite.delete("t", where[2])
    found = lite.diff(db)
    by = found.tables[0].by
    assert set(by) == set(named)
    keyed = [tuple(row[name] for name in by) for row in where]
    expected = [("changed", keyed[0], "v"), ("only in a", keyed[1]), ("only in b", keyed[2])]
    assert sorted(told(found), key=repr) == sorted(expected, key=repr)


def test_tables_without_a_key_are_compared_as_multisets(
    lite: holdfast.Database, db: holdfast.Database
) -> None:
    both({"a": int, "b": str}, lite, db)
    lite.insert_many("t", [{"a": 1, "b": "x"}] * 5 + [{"a": None, "b": None}, {"a": 2, "b": "y"}])
    db.insert_many("t", [{"a": 2, "b": "y"}] + [{"a": 1, "b": "x"}] * 5 + [{"a": None, "b": None}])
    assert lite.diff(db).is_equal
    lite.insert_many("t", [{"a": 1, "b": "x"}] * 2)
    db.insert("t", {"a": None, "b": ""})
    found = lite.diff(db).tables[0]
    assert (found.by, found.only_in_a, found.only_in_b, found.changed, found.rows) == ((), 2, 1, 0, ())
    shown = lite.diff(db, rows=True).tables[0].rows
    assert {(row.which, row.key, row.count, str(row.a or row.b)) for row in shown} == {
        ("only in a", None, 2, "{'a': 1, 'b': 'x'}"),
        ("only in b", None, 1, "{'a': None, 'b': ''}"),
    }


def test_values_that_are_nearly_alike_differ_and_equal_ones_do_not(
    lite: holdfast.Database, db: holdfast.Database, engine_name: str
) -> None:
    columns = {
        "id": "INTEGER PRIMARY KEY",
        "i": int, "f": float, "s": str, "n": "NUMERIC", "j": dict, "x": bytes, "t": "TIMESTAMPTZ", "q": bool,
    }  # fmt: skip
    both(columns, lite, db)
    same = [
        ("n", Decimal("1.50"), Decimal("1.5")),
        ("j", {"a": 1, "b": [1.0]}, {"b": [1], "a": 1.0}),
        ("t", datetime(2024, 1, 1, tzinfo=UTC), datetime.fromisoformat("2024-01-01T01:00:00+01:00")),
        ("f", 0.1 + 0.2, 0.30000000000000004),
    ]
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    other = [
        ("i", -1, -2),
        ("i", 0, 2**61 - 1),
        ("i", 2**62, 2**62 + 1),
        ("i", 0, None),
        ("f", 0.1 + 0.2, 0.3),
        ("f", 0.0, None),
        ("s", "", None),
        ("s", "a", "A"),
        ("s", "é", "e\u0301"),
        ("s", "1", "1 "),
        ("n", Decimal("1.0"), Decimal("1.00000000000001")),
        ("n", Decimal(-1), Decimal(-2)),
        ("q", False, None),
        ("j", {"a": 1}, {"a": True}),
        ("j", [1, 2], [2, 1]),
        ("x", b"", None),
        ("x", b"a", b"A"),
        ("t", moment, moment + timedelta(microseconds=1)),
    ]
    for number, (name, here, there) in enumerate([*same, *other]):
        lite.insert("t", {"id": number, name: here})
        db.insert("t", {"id": number, name: there})
    assert told(lite.diff(db)) == [
        ("changed", (number,), name) for number, (name, *_) in enumerate(other, len(same))
    ]


def test_nan_is_nan(db: holdfast.Database, new_url: Callable[[], str], engine_name: str) -> None:
    if engine_name == "sqlite":
        pytest.skip("SQLite has none")
    with holdfast.connect(new_url()) as other:
        both({"id": "INTEGER PRIMARY KEY", "f": float, "n": "NUMERIC"}, db, other)
        for one in (db, other):
            one.execute("INSERT INTO t VALUES (1, 'NaN', 'NaN'), (2, 'Infinity', 1), (3, '-0', 0)")
        assert db.diff(other).is_equal
        other.execute("UPDATE t SET f = 1 WHERE id = 1")
        assert told(db.diff(other)) == [("changed", (1,), "f")]


def test_what_sqlite_holds_in_spite_of_its_types(lite: holdfast.Database) -> None:
    """Columns of SQLite may hold anything, and a key NULL."""
    with holdfast.connect(":memory:") as other:
        for one in (lite, other):
            one.execute("CREATE TABLE t (k INT PRIMARY KEY, i INTEGER, s TEXT, f REAL)")
        lite.execute("INSERT INTO t VALUES (1, 'one', X'61', 'x'), (2.5, 1.5, 'a', 1), ('x', 1, '1', 1)")
        other.execute("INSERT INTO t VALUES ('x', 1, '1', 1), (1, 'one', X'61', 'x'), (2.5, 1.5, 'a', 1)")
        assert lite.diff(other).is_equal
        other.execute("UPDATE t SET s = 'a' WHERE k = 1")
        other.execute("UPDATE t SET i = '1.5x' WHERE k = 2.5")
        found = lite.diff(other)
        assert sorted(told(found), key=repr) == [("changed", (1,), "s"), ("changed", (2.5,), "i")]
        for one in (lite, other):
            one.execute("INSERT INTO t VALUES (NULL, 1, 'a', 1), (NULL, 2, 'b', 2)")
        other.execute("UPDATE t SET i = 3 WHERE k IS NULL AND i = 2")
        found = lite.diff(other)
        assert (found.tables[0].by, found.tables[0].only_in_a, found.tables[0].only_in_b) == ((), 3, 3)


cells = st.one_of(st.none(), st.integers(-2, 2))
tables_of = st.dictionaries(
    st.integers(-3, 9), st.tuples(cells, st.sampled_from(["", "a", None])), max_size=9
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(one=tables_of, other=tables_of, has_key=st.booleans())
def test_it_finds_what_python_finds(
    lite: holdfast.Database, db: holdfast.Database, one: Any, other: Any, has_key: bool
) -> None:
    for side, rows in ((lite, one), (db, other)):
        side.drop_table("t", if_exists=True)
        side.create_table("t", {"id": "INTEGER PRIMARY KEY" if has_key else int, "a": int, "b": str})
        side.insert_many("t", [{"id": key, "a": a, "b": b} for key, (a, b) in rows.items()])
    found = lite.diff(db).tables[0]
    lacking = sum(one[key] != other.get(key) for key in one), sum(other[key] != one.get(key) for key in other)
    if has_key:
        changed = sum(one[key] != other[key] for key in one if key in other)
        assert (found.only_in_a, found.only_in_b, found.changed) == (
            len(one.keys() - other),
            len(other.keys() - one),
            changed,
        )
    else:
        assert (found.only_in_a, found.only_in_b, found.changed) == (*lacking, 0)


def test_all_that_differ_are_counted_and_the_first_are_given(
    lite: holdfast.Database, db: holdfast.Database
) -> None:
    both(INTEGER_KEY, lite, db)
    lite.insert_many("t", ({"id": n, "a": n, "b": "x"} for n in range(5_000)))
    db.insert_many("t", ({"id": n, "a": n, "b": "y"} for n in range(4_000)))
    found = lite.diff(db, limit=10).tables[0]
    assert (found.changed, found.only_in_a, len(found.rows)) == (4_000, 1_000, 10)
    assert [row.key for row in found.rows] == [{"id": n} for n in range(10)]
    assert lite.diff(db, limit=0).tables[0].rows == ()
    assert len(lite.diff(db, limit=None).tables[0].rows) == 5_000
    for limit in (-1, True, "5", 1.5):
        with pytest.raises(InvalidQuery, match="limit"):
            lite.diff(db, limit=limit)  # type: ignore[arg-type]


def test_what_is_no_open_database_is_refused(lite: holdfast.Database) -> None:
    for call in (
        lambda: holdfast.diff(lite, "runs.db"),
        lambda: holdfast.diff("runs.db", lite),
        lambda: lite.diff("runs.db"),
        lambda: holdfast.copy_database(lite, "runs.db"),
        lambda: holdfast.inspect("runs.db"),
    ):
        with pytest.raises(InvalidQuery, match="an open database"):
            call()


# Schemas


def test_a_copy_is_equal_there_and_back(lite: holdfast.Database, db: holdfast.Database) -> None:
    lite.create_table("labs", {"id": "INTEGER PRIMARY KEY", "name": "VARCHAR(20) NOT NULL UNIQUE"})
    lite.create_table(
        'odd "name"; --',
        {
            "id": "INTEGER PRIMARY KEY",
            "lab": "INTEGER REFERENCES labs(id) ON DELETE CASCADE",
            "n": "SMALLINT DEFAULT 3", "p": "NUMERIC(10,2)", "at": "TIMESTAMP DEFAULT CURRENT_TIMESTAMP",
            "select ?": "JSON", "x": "BLOB", "body": "TEXT",
        },
    )  # fmt: skip
    lite.create_index('odd "name"; --', ["lab", "n DESC"])
    lite.enable_search('odd "name"; --', "body")
    lite.insert_many("labs", [{"name": f"lab {n}"} for n in range(9)])
    lite.insert(
        'odd "name"; --', {"lab": 3, "p": Decimal("1.5"), "select ?": {"a": [1]}, "x": b"\0", "body": "words"}
    )
    holdfast.copy_database(lite, db)
    assert str(lite.diff(db)) == str(db.diff(lite)) == "equal: 2 tables, 10 rows"


def test_schemas_are_told_apart(lite: holdfast.Database, db: holdfast.Database) -> None:
    for one in (lite, db):
        one.create_table("labs", {"id": "INTEGER PRIMARY KEY"})
    lite.create_table(
        "t",
        {"id": "INTEGER PRIMARY KEY", "a": "INTEGER NOT NULL", "b": "TEXT DEFAULT 'x'", "c": "INTEGER"},
        foreign_keys={"c": "labs(id)"},
        unique=[["a", "b"]],
    )
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "a": "INTEGER", "b": "TEXT", "d": "DATE", "c": "TEXT"})
    lite.create_index("t", "b", name="by b")
    db.create_index("t", "b", unique=True, name="by b")
    lite.create_table("mine", {"x": int}, primary_key="x")
    db.create_table("mine", {"x": int})
    db.create_table("theirs", {"x": int})
    db.execute("CREATE VIEW seen AS SELECT id FROM labs")
    found = schema(lite.diff(db))
    text = "TEXT"
    assert [one for one in found if one[0] != "column"] == [
        ("table", "theirs", None, None, ""),
        ("view", "seen", None, None, ""),
        ("nullable", "mine", "x", "no", "yes"),
        ("primary key", "mine", "(x)", "", None),
        ("nullable", "t", "a", "no", "yes"),
        ("default", "t", "b", "'x'", "none"),
        ("type", "t", "c", "INTEGER", text),
        ("foreign key", "t", "(c) to labs(id)", "", None),
        ("unique key", "t", "(a, b)", "", None),
        ("index", "t", "by b", "(b)" if db._engine.name != "sqlite" else '("b")', None),
        ("index", "t", "by b", None, "UNIQUE (b)" if db._engine.name != "sqlite" else 'UNIQUE ("b")'),
    ]
    assert [one for one in found if one[0] == "column"] == [("column", "t", "d", None, "DATE")]
    assert lite.diff(db).tables[-1].not_compared == {"c": "INTEGER and TEXT do not compare"}
    assert "t: column d is only in b (DATE)" in str(lite.diff(db))


def test_types_that_cannot_be_compared_are_named_and_the_rest_is_compared(
    lite: holdfast.Database, db: holdfast.Database, engine_name: str
) -> None:
    if engine_name == "sqlite":
        pytest.skip("about PostgreSQL's types")
    db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v INTERVAL, p POINT, a TEXT)")
    db.execute("INSERT INTO t VALUES (1, '1 day', '(1,2)', 'x'), (2, '1 month', NULL, 'y')")
    lite.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": str, "p": "POINT", "a": str})
    lite.insert_many("t", [{"id": 1, "v": "1 day", "a": "x"}, {"id": 2, "v": "1 month", "a": "z"}])
    found = lite.diff(db)
    assert set(found.tables[0].not_compared) == {"v", "p"}
    assert told(found) == [("changed", (2,), "a")]
    assert not lite.diff(db, ["t"], limit=0).is_equal


def test_types_of_one_engine_compare_there(
    db: holdfast.Database, new_url: Callable[[], str], engine_name: str
) -> None:
    if engine_name == "sqlite":
        pytest.skip("about PostgreSQL's types")
    with holdfast.connect(new_url()) as other:
        for one in (db, other):
            one.execute("CREATE TYPE mood AS ENUM ('good', 'bad')")
            one.execute("CREATE TABLE t (k mood PRIMARY KEY, v INTERVAL, a INT[], c CHAR(3), r REAL, j JSON)")
            one.execute("INSERT INTO t VALUES ('good', '1 month', '{1}', 'a', 0.1, '{}')")
            one.execute("INSERT INTO t VALUES ('bad', '30 days')")
        assert db.diff(other).is_equal
        other.execute("UPDATE t SET v = '30 days', a = '{1,NULL}' WHERE k = 'good'")
        assert told(db.diff(other)) == [("changed", ("good",), "v", "a")]


def test_tables_are_chosen_by_name(lite: holdfast.Database, db: holdfast.Database) -> None:
    for name in ("runs", "notes"):
        for one in (lite, db):
            one.create_table(name, {"id": "INTEGER PRIMARY KEY"})
        lite.insert(name, {"id": 1})
    lite.create_table("mine", {"id": "INTEGER PRIMARY KEY"})
    assert [table.table for table in lite.diff(db, ["notes"]).tables] == ["notes"]
    assert schema(lite.diff(db, ["mine"])) == [("table", "mine", None, "", None)]
    assert [table.table for table in lite.diff(db, exclude=["notes", "mine"]).tables] == ["runs"]
    lite.execute("CREATE VIEW seen AS SELECT id FROM runs")
    for given_ in ({"tables": ["rnus"]}, {"exclude": ["rnus"]}):
        with pytest.raises(TableNotFound, match="did you mean 'runs'"):
            lite.diff(db, **given_)  # type: ignore[arg-type]
    with pytest.raises(TableNotFound, match="is a view"):
        lite.diff(db, ["seen"])
    with pytest.raises(InvalidQuery, match="a list of names"):
        lite.diff(db, "runs")


def test_nothing_to_compare(lite: holdfast.Database, db: holdfast.Database) -> None:
    assert str(lite.diff(db)) == "equal: 0 tables, 0 rows"
    assert db.diff(db).is_equal
    lite.create_table("t", {"a": int})
    db.create_table("t", {"b": int})
    assert lite.diff(db).tables[0].has_equal_rows
    db.insert("t", {"b": 1})
    assert lite.diff(db).tables[0].only_in_b == 1


# One moment, and nobody in the way


def test_it_is_of_one_moment_and_keeps_no_writer_waiting(
    db: holdfast.Database, url: str, new_url: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with holdfast.connect(new_url()) as other, holdfast.connect(url, timeout=60) as writer:
        both(INTEGER_KEY, db, other)
        for one in (db, other):
            one.insert_many("t", ({"id": n, "a": n, "b": "x"} for n in range(3_000)))
        read = rowdiff.read_batches
        written = []

        def reading(*args: Any, **kwargs: Any) -> Iterator[Any]:
            for batch in read(*args, **kwargs):
                if not written:
                    written.append(writer.update("t", {"b": "y"}, {"id": [5, 2_999]}))
                yield batch

        monkeypatch.setattr(rowdiff, "read_batches", reading)
        assert db.diff(other).is_equal
        assert written == [2]
        assert told(db.diff(other)) == [("changed", (5,), "b"), ("changed", (2_999,), "b")]


def test_inside_a_transaction_it_sees_what_that_sees(lite: holdfast.Database, db: holdfast.Database) -> None:
    both(INTEGER_KEY, lite, db)
    lite.insert("t", {"id": 1})
    with db.transaction():
        db.insert_many("t", [{"id": 1}, {"id": 2}])
        assert told(lite.diff(db)) == [("only in b", (2,))]
        db.delete("t", {"id": 2})
        assert lite.diff(db).is_equal
    assert lite.diff(db).is_equal


def test_databases_that_are_open_for_reading_alone(
    db: holdfast.Database, url: str, lite: holdfast.Database
) -> None:
    both(INTEGER_KEY, lite, db)
    db.insert("t", {"id": 1})
    with holdfast.connect(url, read_only=True) as reader:
        assert told(lite.diff(reader)) == [("only in b", (1,))]


CHILD = """
import sys, holdfast

def most_memory():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

with holdfast.connect(sys.argv[1], read_only=True) as a, holdfast.connect(sys.argv[2], read_only=True) as b:
    a.count("t"), b.count("t"), a.diff(b, ["small"])
    before = most_memory()
    found = a.diff(b, ["t"]).tables[0]
    print(found.changed, len(found.rows), (most_memory() - before) // 1024)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is read from /proc")
@pytest.mark.parametrize("has_key", [True, False])
def test_memory_stays_flat_even_where_every_row_differs(
    db: holdfast.Database, url: str, tmp_path: Any, has_key: bool
) -> None:
    with holdfast.connect(tmp_path / "a.db") as a:
        for one in (a, db):
            one.create_table("small", {"id": "INTEGER PRIMARY KEY"})
            one.create_table("t", {"id": "INTEGER PRIMARY KEY" if has_key else int, "a": int, "b": str})
        for one, shift in ((a, 0), (db, 1)):
            one.insert_many("t", ({"id": n, "a": n + shift, "b": f"text {n}"} for n in range(200_000)))
    command = [sys.executable, "-c", textwrap.dedent(CHILD), str(tmp_path / "a.db"), url]
    child = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert child.returncode == 0, child.stderr
    changed, given_, mebibytes = map(int, child.stdout.split())
    assert (changed, given_) == ((200_000, 100) if has_key else (0, 0))
    assert mebibytes < 40


# The command


def test_the_command(tmp_path: Any, url: str, db: holdfast.Database, capsys: Any) -> None:
    path = str(tmp_path / "a.db")
    with holdfast.connect(path) as a:
        both(INTEGER_KEY, a, db)
        a.insert("t", {"id": 1, "a": 1, "b": "one"})

    def command(*more: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            run(["diff", path, url, *more])
        shown = capsys.readouterr()
        return int(left.value.code or 0), shown.out, shown.err

    code, out, _ = command()
    assert code == 1
    assert out.splitlines() == [
        "table  rows in a  rows in b  only in a  only in b  changed",
        "-----  ---------  ---------  ---------  ---------  -------",
        "t              1          0          1          0        0",
        "",
        "t",
        "row        key   columns",
        "---------  ----  -------",
        "only in a  id=1",
    ]
    code, out, err = command("--csv")
    assert (code, err) == (1, "")
    assert out == 'what,table,key,column,in_a,in_b,times\nonly in a,t,"{""id"": 1}",,,,1\n'
    assert command("--csv", "--rows")[1].splitlines()[1:] == [
        'only in a,t,"{""id"": 1}",id,1,,1',
        'only in a,t,"{""id"": 1}",a,1,,1',
        'only in a,t,"{""id"": 1}",b,one,,1',
    ]
    code, out, err = command("--csv", "--limit", "0")
    assert (code, out.count("\n"), err) == (1, 1, "t: 1 more rows differ\n")
    code, out, _ = command("--rows", "--json")
    told_ = json.loads(out)
    assert (code, told_["is_equal"]) == (1, False)
    assert told_["tables"][0]["rows"][0]["a"] == {"id": 1, "a": 1, "b": "one"}
    assert "one" in command("--rows")[1]
    db.insert("t", {"id": 1, "a": 1, "b": "one"})
    assert command() == (0, "equal: 1 tables, 1 rows\n", "")
    code, out, err = command("--tables", "x")
    assert (code, out) == (1, "")
    assert "there is no table 'x'" in err


def test_the_command_says_how_rows_without_a_key_are_seen(
    tmp_path: Any, url: str, db: holdfast.Database, capsys: Any
) -> None:
    path = str(tmp_path / "a.db")
    with holdfast.connect(path) as a:
        both({"x": str}, a, db)
        a.insert_many("t", [{"x": "one"}, {"x": "one"}])
    for more, place in (("--tables=t", 0), ("--csv", 1)):
        with pytest.raises(SystemExit):
            run(["diff", path, url, more])
        assert "2" in (said := capsys.readouterr()[place])
        assert "--rows" in said
