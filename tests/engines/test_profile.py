"""What `profiled(db)` says: the same on every engine, within its time, in nobody's way."""

from __future__ import annotations

import sqlite3
import sys
import tracemalloc
import xml.etree.ElementTree as ET
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest

import holdfast
from holdfast.errors import ConfigurationError, DatabaseBusy, OutOfTime, TableNotFound, TransactionAborted
from holdfast.inspection import profile as profiling
from holdfast.inspection import profiletext
from holdfast.inspection.profile import _Values
from holdfast.inspection.reading import counted, reading

ENDLESS = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT (i + 1) % 1000 FROM n) SELECT i FROM n WHERE i < 0"
)


def profiled(db, tables=None, *, seconds=600, **options):
    """As much time as a busy machine may need, where time is not the point."""
    return holdfast.inspect(db).profile(tables, seconds=seconds, **options)


@pytest.fixture
def filled(db):
    db.create_table(
        "users",
        {
            "id": "INTEGER PRIMARY KEY",
            "name": "TEXT NOT NULL",
            "born": "DATE",
            "score": "NUMERIC(6,2) DEFAULT 0",
            "meta": dict,
            "ok": bool,
            "raw": bytes,
            "uid": "UUID",
            "at": "TIMESTAMPTZ",
            "ratio": float,
            "empty": str,
        },
    )
    db.create_table(
        "logins",
        {"id": "INTEGER PRIMARY KEY", "user_id": "INTEGER REFERENCES users(id) ON DELETE CASCADE"},
    )
    db.create_index("logins", "user_id")
    db.insert_many(
        "users",
        [
            {
                "id": n,
                "name": f"user {n % 4}",
                "born": date(1980, 1, n) if n % 5 else None,
                "score": Decimal(n) / 4,
                "meta": {"b": n % 3, "a": [1, None]},
                "ok": n % 3 == 0,
                "raw": b"x" * n,
                "uid": UUID(int=n),
                "at": datetime(2020, 1, 1, n, tzinfo=UTC),
                "ratio": (-1.0, -2.0)[n % 2],
            }
            for n in range(1, 21)
        ],
    )
    db.insert_many("logins", [{"user_id": 1 + n % 7} for n in range(10)])
    db.execute("CREATE VIEW names AS SELECT name FROM users")
    return db


def test_a_profile_says_what_every_column_holds(filled):
    found = profiled(filled)
    assert [(one.name, one.is_view, one.rows, one.is_exact, one.is_sample) for one in found] == [
        ("logins", False, 10, True, False),
        ("users", False, 20, True, False),
        ("names", True, 20, True, False),
    ]
    users = found["users"]
    shown = {
        one.name: (dict(one.types), one.nulls, one.distinct, one.min, one.max, one.examples)
        for one in users.columns
    }
    at = [datetime(2020, 1, 1, n, tzinfo=UTC) for n in range(21)]
    assert shown == {
        "id": ({"integer": 20}, 0, 20, 1, 20, (1, 2, 3)),
        "name": ({"text": 20}, 0, 4, "user 0", "user 3", ("user 0", "user 1", "user 2")),
        "born": (
            {"date": 16},
            4,
            16,
            date(1980, 1, 1),
            date(1980, 1, 19),
            tuple(date(1980, 1, n) for n in (1, 2, 3)),
        ),
        "score": (
            {"decimal": 20},
            0,
            20,
            Decimal("0.25"),
            Decimal(5),
            (Decimal("0.25"), Decimal("0.5"), Decimal("0.75")),
        ),
        "meta": ({"json": 20}, 0, 3, None, None, tuple({"b": n % 3, "a": [1, None]} for n in (1, 2, 3))),
        "ok": ({"boolean": 20}, 0, 2, False, True, (False, True)),
        "raw": ({"bytes": 20}, 0, None, None, None, ()),
        "uid": ({"uuid": 20}, 0, 20, UUID(int=1), UUID(int=20), (UUID(int=1), UUID(int=2), UUID(int=3))),
        "at": ({"timestamptz": 20}, 0, 20, at[1], at[20], (at[1], at[2], at[3])),
        "ratio": ({"float": 20}, 0, 2, -2.0, -1.0, (-2.0, -1.0)),
        "empty": ({}, 20, 0, None, None, ()),
    }
    assert users["id"].primary_key
    assert not users["name"].nullable
    assert users.primary_key == ("id",)
    assert found["logins"]["user_id"].references == "users"
    assert found["logins"].foreign_keys[0]["on_delete"] == "CASCADE"
    assert "idx_logins_user_id" in [index["name"] for index in found["logins"].indexes]
    assert "create" in users.sql.lower()
    assert len(found) == 3
    assert found.size > 0


def test_kinds_of_values_that_a_column_was_not_declared_for(tmp_path):
    with holdfast.connect(tmp_path / "x.db") as db:
        db.create_table("t", {"n": "INTEGER", "at": "TIMESTAMP"})
        db.execute("INSERT INTO t VALUES (1, '2020-01-01'), ('many', 'soon'), (2.5, NULL), (3, NULL)")
        n, at = profiled(db, "t")["t"].columns
    assert dict(n.types) == {"integer": 2, "text": 1, "float": 1}
    assert (n.min, n.max, n.distinct) == (1, 3, 4)
    assert dict(at.types) == {"timestamp": 1, "text": 1}
    assert "(2 integer, 1 text, 1 float)" in profiletext.declared(n)


def test_floats_that_are_no_numbers(url, engine_name):
    if engine_name == "sqlite":
        pytest.skip("SQLite stores no NaN")
    with holdfast.connect(url) as db:
        db.create_table("t", {"x": float})
        db.insert_many("t", [{"x": float(text)} for text in ("nan", "nan", "1", "-inf")])
        (x,) = profiled(db, "t")["t"].columns
    assert (x.distinct, x.min, x.max) == (3, float("-inf"), 1.0)


def test_long_texts_are_read_up_to_a_thousand_characters(db):
    db.create_table("t", {"body": str, "data": bytes})
    db.insert_many("t", [{"body": "é" * 5_000 + str(n), "data": bytes(10**6)} for n in range(3)])
    body, data = profiled(db)["t"].columns
    assert body.examples == ("é" * profiling.LONGEST_TEXT,)
    assert body.distinct == 1
    assert dict(data.types) == {"bytes": 3}


def test_more_rows_than_asked_for_are_a_sample_from_all_over(db, engine_name):
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "pad": str})
    db.insert_many("t", [{"id": n, "pad": "x" * 200} for n in range(1, 20_001)])
    db.analyze()
    found = profiled(db, "t", rows=2_000)["t"]
    assert (found.rows, found.is_exact, found.is_sample) == (20_000, True, True)
    assert 500 <= found.read <= 2_000
    assert found["id"].min < 4_000
    assert found["id"].max > 16_000
    assert "a sample of" in profiletext.title(found)
    assert profiletext.rows(found)[0][3].startswith(">= ")


def test_tables_without_row_numbers_and_views_give_their_first_rows(db, engine_name):
    is_sqlite = engine_name == "sqlite"
    columns = "(k TEXT PRIMARY KEY, rowid INTEGER, oid INTEGER, _rowid_ INTEGER)" if is_sqlite else "(k TEXT)"
    db.execute(f"CREATE TABLE t {columns}{' WITHOUT ROWID' if is_sqlite else ''}")
    db.execute(f"CREATE TABLE hidden {columns}")
    db.execute("CREATE VIEW v AS SELECT k FROM t")
    for table in ("t", "hidden"):
        db.insert_many(table, [{"k": f"{n:04}"} for n in range(500)])
    found = profiled(db, rows=100)
    assert [one.is_sample for one in found] == [True, True, True]
    assert found["t"].rows == 500
    assert (found["v"].read, found["v"].rows) == (100, None)
    if is_sqlite:
        assert found["t"].read == found["hidden"].read == 100


def test_a_time_that_is_up_ends_a_slow_view_and_says_so(db):
    db.execute(f"CREATE VIEW endless AS {ENDLESS}")
    found = profiled(db, seconds=1)
    assert (found["endless"].read, found["endless"].is_sample, found["endless"].rows) == (0, True, None)
    assert "no time to read any" in str(found)
    with pytest.raises(OutOfTime), reading(db._executor, 0.2):
        db.query(ENDLESS)
    # The limit is that of the block alone.
    assert db.query("SELECT 1 AS one") == [{"one": 1}]


def test_a_statement_cut_short_leaves_the_callers_transaction_whole(db):
    db.create_table("t", {"id": "INTEGER PRIMARY KEY"})
    db.execute(f"CREATE VIEW endless AS {ENDLESS}")
    with db.transaction():
        db.insert("t", {"id": 1})
        assert profiled(db, "endless", seconds=1)["endless"].read == 0
        assert profiled(db, "t")["t"].rows == 1
        db.insert("t", {"id": 2})
    assert db.count("t") == 2
    db.begin_transaction()
    with pytest.raises(holdfast.errors.Error):
        db.execute("SELECT nonsense FROM t")
    with pytest.raises(TransactionAborted):
        profiled(db)
    db.rollback()


def test_rows_are_estimated_where_there_is_no_time_to_count(db):
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "pad": str})
    db.insert_many("t", [{"id": n, "pad": "x" * 100} for n in range(5_000)])
    found = counted(db._executor, ["t"], -1.0)["t"]
    assert not found.is_exact or found.rows == 5_000
    estimate = db._executor.engine.upkeep.estimate(db._executor.run, db._executor.describe("t"))
    assert 1_000 <= estimate <= 25_000
    db.analyze()
    estimate = db._executor.engine.upkeep.estimate(db._executor.run, db._executor.describe("t"))
    assert 4_000 <= estimate <= 6_000


def test_a_writer_commits_while_a_table_is_read(filled, url, monkeypatch):
    add, written = _Values.add, []

    def add_while_another_writes(self, values):
        if not written:
            with holdfast.connect(url, timeout=60) as other:
                written.append(other.insert("logins", {"user_id": 1}))
        add(self, values)

    monkeypatch.setattr(_Values, "add", add_while_another_writes)
    found = profiled(filled, "logins")
    assert written
    assert found["logins"].read == 10
    assert filled.count("logins") == 11


def test_without_a_log_no_read_keeps_a_writer_for_long(tmp_path):
    """Who reads such a file keeps others from committing, so no statement may last longer than a second."""
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        raw.execute(f"CREATE VIEW endless AS {ENDLESS}")
    with holdfast.connect(path, read_only=True) as db:
        found = profiled(db, "endless", seconds=10_000)
    assert found["endless"].read == 0
    assert found.seconds < 5_000


@pytest.mark.parametrize(
    "options", [{"rows": 0}, {"rows": 1.5}, {"rows": True}, {"seconds": 0}, {"seconds": "1"}]
)
def test_budgets_that_are_none(db, options):
    with pytest.raises(ConfigurationError):
        profiled(db, **options)


def test_a_table_that_is_not_there(filled):
    with pytest.raises(TableNotFound, match="did you mean 'users'"):
        profiled(filled, ["logins", "user"])


def test_an_empty_database_and_one_of_views_alone(db):
    assert len(profiled(db)) == 0
    assert "0 tables" in str(profiled(db))
    db.execute("CREATE VIEW v AS SELECT 1 AS one")
    found = profiled(db)
    assert [(one.name, one.rows) for one in found] == [("v", 1)]
    assert "v: view, 1 row" in str(found)
    assert "1 view" in str(db.summary)
    assert holdfast.inspect(db).get_tables()[0]["columns"] == 1


def test_views_whose_table_is_gone(tmp_path):
    with holdfast.connect(tmp_path / "x.db") as db:
        db.execute("CREATE TABLE t (id INTEGER)")
        db.execute("CREATE VIEW v AS SELECT id FROM t")
        with closing(sqlite3.connect(tmp_path / "x.db")) as raw:
            raw.execute("DROP TABLE t")
        look = holdfast.inspect(db)
        assert "what the view selects from is not there" in str(profiled(db))
        assert look.get_tables() == [
            {"name": "v", "type": "view", "rows": None, "exact": False, "columns": 0, "size": None}
        ]
        assert "v" in str(db.summary)
        assert '"v"' in look.generate_schema_diagram(tmp_path / "x.mmd").read_text()


def test_a_damaged_table_does_not_hide_the_others(tmp_path):
    path = tmp_path / "x.db"
    with holdfast.connect(path) as db:
        for name in ("good", "worse"):
            db.create_table(name, {"id": "INTEGER PRIMARY KEY", "pad": str})
            db.insert_many(name, [{"pad": "x" * 500} for _ in range(200)])
        db.vacuum()
        root = db.query("SELECT rootpage FROM sqlite_schema WHERE name = 'worse'")[0]["rootpage"]
        page = db.query("PRAGMA page_size")[0]["page_size"]
    with path.open("r+b") as file:
        file.seek((root - 1) * page)
        file.write(b"\xff" * page)
    with holdfast.connect(path, read_only=True) as db:
        found = profiled(db)
    assert found["good"].read == 200
    assert "damaged" in (found["worse"].problem or "")
    assert "not read: the database file is damaged" in str(found)


def test_a_column_that_cannot_be_read_does_not_hide_the_others(db, engine_name):
    if engine_name == "sqlite":
        db.execute("CREATE TABLE t (id INTEGER, x TEXT)")
        db.execute("INSERT INTO t VALUES (1, CAST(x'ff00' AS TEXT)), (2, 'fine')")
    else:
        db.execute("CREATE TABLE t (id INTEGER, x TIMESTAMP)")
        db.execute("INSERT INTO t VALUES (1, 'infinity'), (2, '2020-01-01')")
    found = profiled(db)["t"]
    assert (found.problem, found.rows, found.is_sample) == (None, 2, False)
    assert (found["id"].distinct, found["id"].problem) == (2, None)
    assert found["x"].problem
    assert "CASE" not in found["x"].problem
    assert "not read: " in profiletext.rows(found)[1][-1]


def test_a_table_that_one_may_not_read_does_not_hide_the_others(url, engine_name):
    if engine_name == "sqlite":
        pytest.skip("a file has no rights by table")
    with holdfast.connect(url) as db:
        for name in ("open", "shut"):
            db.create_table(name, {"id": "INTEGER PRIMARY KEY"})
        db.execute("CREATE ROLE profile_reader")
        try:
            with db.transaction():
                db.execute("GRANT USAGE ON SCHEMA public TO profile_reader")
                db.execute("GRANT SELECT ON open TO profile_reader")
                db.execute("SET LOCAL ROLE profile_reader")
                found = profiled(db)
                assert "permission denied" in (found["shut"].problem or "")
                assert found["open"].rows == 0
                assert "shut  " in str(db.summary)
                assert {one["name"]: one["rows"] for one in holdfast.inspect(db).get_tables()} == {
                    "open": 0,
                    "shut": None,
                }
        finally:
            db.execute("DROP OWNED BY profile_reader")
            db.execute("DROP ROLE profile_reader")


def test_a_table_that_somebody_has_locked_does_not_hide_the_others(db, url, engine_name):
    """On SQLite a writer locks nobody out; on PostgreSQL ACCESS EXCLUSIVE does, as a migration takes it."""
    db.create_table("labs", {"id": "INTEGER PRIMARY KEY"})
    db.create_table("runs", {"id": "INTEGER PRIMARY KEY", "lab": int}, foreign_keys={"lab": "labs(id)"})
    db.insert("labs", {"id": 1})
    db.create_index("labs", ["id"], name="of_labs")
    db.create_index("runs", "lab")
    db.execute("CREATE VIEW shown AS SELECT * FROM runs")
    locks = engine_name != "sqlite"
    with holdfast.connect(url) as writer, holdfast.connect(url, read_only=True, timeout=1) as reader:
        writer.begin_transaction()
        writer.execute("INSERT INTO labs VALUES (2)")
        if locks:
            writer.execute("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE")
        labs, runs, shown = profiled(reader)
        assert (labs.rows, labs.read, labs.problem) == (1, 1, None)
        assert "of_labs" in {index["name"] for index in labs.indexes}
        assert [column.name for column in runs.columns] == ["id", "lab"]
        assert runs.foreign_keys
        for one in (runs, shown):
            assert ("locked" in (one.problem or "")) == locks
        assert {table.name for table in reader.summary.tables} == {"labs", "runs", "shown"}
        if locks:
            with pytest.raises(DatabaseBusy) as busy:
                reader.count("runs")
            assert "pg_stat_activity" in (busy.value.hint or "")
        writer.commit()
        assert reader.count("labs") == 2


def test_memory_is_flat_however_large_the_values_are(db):
    db.create_table("t", {"body": str, "data": bytes})
    db.insert_many("t", ({"body": f"{n}" + "x" * 1_000_000, "data": bytes(1_000_000)} for n in range(60)))
    profiled(db, "t", rows=1)
    tracemalloc.start()
    try:
        assert profiled(db, "t", seconds=600)["t"].read == 60
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_names_that_need_quoting_everywhere(db):
    names = ['a"b', "new\nline", "x<y>&z", "日本", "select", "50%", "a.b", "--"]
    for name in names:
        db.create_table(name, {"id": "INTEGER PRIMARY KEY", name + " ?": str})
        db.insert(name, {"id": 1, name + " ?": name})
    found = profiled(db)
    assert {one.name: one.columns[1].examples for one in found} == {name: (name,) for name in names}
    assert "new\\nline" in str(found)
    ET.fromstring(f"<div>{found._repr_html_()}</div>")


def test_a_table_of_very_many_columns(db, engine_name):
    count = 2_000 if engine_name == "sqlite" else 1_600
    db.create_table("wide", {f"column_{n}": int for n in range(count)})
    db.execute("INSERT INTO wide (column_0, column_1599) VALUES (1, 2)")
    found = profiled(db)["wide"]
    assert len(found.columns) == count
    assert found["column_1599"].max == 2
    assert found["column_7"].nulls == 1
    assert len(str(db.summary).splitlines()) < 20


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_profile_is_as_wide_as_the_terminal(filled, monkeypatch, width):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(width))
    found = profiled(filled)
    for text in (str(found), str(filled.summary), str(holdfast.inspect(filled))):
        assert max(map(len, text.splitlines())) <= min(width, 100)
    assert "2020-01-01" in str(found)


def test_the_html_has_every_table_and_column(filled):
    found = profiled(filled)
    root = ET.fromstring(f"<div>{found._repr_html_()}</div>")
    texts = [cell.text for cell in root.iter("td")]
    assert {"name", "born", "id*", "INTEGER -> users"} <= set(texts) or "BIGINT -> users" in texts
    ET.fromstring(f"<div>{holdfast.inspect(filled)._repr_html_()}</div>")


def test_triggers(db, engine_name):
    db.create_table("t", {"id": "INTEGER PRIMARY KEY"})
    db.create_table("other", {"id": "INTEGER PRIMARY KEY"})
    if engine_name == "sqlite":
        db.execute('CREATE TRIGGER "it\'s" AFTER INSERT ON t BEGIN SELECT 1; END')
    else:
        db.execute("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
        db.execute('CREATE TRIGGER "it\'s" AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()')
    look = holdfast.inspect(db)
    (trigger,) = look.get_triggers()
    assert (trigger["name"], trigger["table"]) == ("it's", "t")
    assert trigger["sql"].startswith("CREATE TRIGGER")
    assert look.get_triggers("t") == [trigger]
    assert look.get_triggers("other") == []
    assert "trigger it's" in str(profiled(db))
    with pytest.raises(TableNotFound):
        look.get_triggers("tt")


def test_what_only_postgresql_has(url, engine_name, tmp_path):
    if engine_name == "sqlite":
        pytest.skip("partitions, schemas and materialized views are PostgreSQL's")
    with holdfast.connect(url) as db:
        db.execute("CREATE SCHEMA IF NOT EXISTS elsewhere")
        db.execute("CREATE TABLE elsewhere.users (id INTEGER PRIMARY KEY)")
        db.execute("CREATE TABLE users (id INTEGER PRIMARY KEY)")
        db.execute("CREATE TABLE parted (id INTEGER PRIMARY KEY, n INTEGER) PARTITION BY RANGE (id)")
        for low, high in ((0, 100), (100, 200)):
            db.execute(f"CREATE TABLE parted_{low} PARTITION OF parted FOR VALUES FROM ({low}) TO ({high})")
        db.execute(
            "CREATE TABLE t (id INTEGER REFERENCES elsewhere.users, part INTEGER REFERENCES parted, "
            "twice INTEGER GENERATED ALWAYS AS (part * 2) STORED, ages int4range, tags TEXT[])"
        )
        db.insert_many("parted", [{"id": n, "n": n % 3} for n in range(150)])
        db.execute("INSERT INTO elsewhere.users VALUES (1)")
        db.execute("INSERT INTO t VALUES (1, 140, DEFAULT, '[1,5)', '{a,b}')")
        db.execute("CREATE MATERIALIZED VIEW summed AS SELECT n, count(*) AS c FROM parted GROUP BY n")
        look = holdfast.inspect(db)
        assert [key["references"] for key in look.get_foreign_keys("t")] == ["elsewhere.users", "parted"]
        found = profiled(db)
        assert [one.name for one in found] == ["parted", "t", "users", "summed"]
        assert (found["parted"].rows, found["parted"]["n"].distinct) == (150, 3)
        assert found["parted"].size > 0
        assert found["summed"].rows == 3
        assert found["t"]["twice"].max == 280
        assert found["t"]["tags"].examples == (["a", "b"],)
        text = look.generate_schema_diagram(tmp_path / "x.mmd").read_text()
        assert '"t" }o--o| "elsewhere.users"' in text
        assert "parted_0" not in text
        sampled = profiled(db, "parted", rows=20)["parted"]
        assert sampled.is_sample
        db.execute("DROP SCHEMA elsewhere CASCADE")
