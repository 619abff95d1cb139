"""Copying databases: from SQLite to each engine, back again, and refusals."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

import holdfast
from holdfast.cli.main import run
from holdfast.errors import (
    ForeignKeyViolation,
    IndexExists,
    NotSupported,
    TableExists,
    TableNotFound,
    TransactionError,
    UniqueViolation,
    ValueRefused,
)

Open = Callable[[str], holdfast.Database]


@pytest.fixture
def open_() -> Iterator[Open]:
    """Connect, and close at the end of the test."""
    with ExitStack() as stack:
        yield lambda url: stack.enter_context(holdfast.connect(url))


@pytest.fixture
def lite(open_: Open) -> holdfast.Database:
    return open_(":memory:")


def fill(db: holdfast.Database) -> None:
    """Tables that refer to each other in both directions, with values of every kind."""
    db.create_table("teams", {"id": "INTEGER PRIMARY KEY", "Name": "TEXT NOT NULL UNIQUE", "lead": "INTEGER"})
    db.create_table(
        "people",
        {
            "id": "INTEGER PRIMARY KEY",
            "team": "INTEGER NOT NULL REFERENCES teams(id) ON DELETE CASCADE",
            "boss": "INTEGER",
            "born": "DATE",
        },
    )
    db.add_foreign_key("teams", "lead", "people", on_delete="SET NULL")
    db.add_foreign_key("people", "boss", "people")
    db.create_table(
        "values of all kinds",
        {
            "a": "INTEGER NOT NULL",
            "b": "VARCHAR(20) NOT NULL",
            "small": "SMALLINT DEFAULT -3",
            "real": "REAL",
            "text": "TEXT DEFAULT 'it''s'",
            "flag": "BOOLEAN DEFAULT TRUE",
            "price": "NUMERIC(10,2) DEFAULT 1.50 CHECK (price >= 0)",
            "day": "DATE",
            "hour": "TIME",
            "moment": "TIMESTAMP DEFAULT CURRENT_TIMESTAMP",
            "zoned": "TIMESTAMPTZ",
            "doc": "JSON",
            "blob": "BLOB DEFAULT X'00ff'",
            "ident": "UUID",
            "Mixed": "INTEGER DEFAULT 0 CHECK (Mixed >= 0)",
        },
        primary_key=["a", "b"],
        unique=[["text", "flag"]],
        checks=["length(b) > 0", "text IN ('it''s', 'é', '', 'x')"],
    )
    db.create_index("people", ["team", "born DESC"], name="people by team")
    db.create_index("values of all kinds", "ident", unique=True)
    db.create_table("empty", {"id": "INTEGER PRIMARY KEY", "x": "TEXT"})
    db.insert_many("teams", [{"id": n, "Name": f"team {n}"} for n in range(1, 41)])
    people = [
        {"id": n, "team": n % 40 + 1, "boss": 1200 - n or None, "born": date(1970, 1, 1)}
        for n in range(1, 1200)
    ]
    with db.transaction():
        db.insert_many("people", [{**row, "boss": None} for row in people])
        db.update_many("people", [{"id": row["id"], "boss": row["boss"]} for row in people])
        db.update("teams", {"lead": 7}, {"id": 1})
    one = {
        "small": 3, "real": 0.1, "text": "é", "flag": False, "price": Decimal("12.30"), "day": date(1, 1, 1),
        "hour": time(23, 59, 59, 999999), "moment": datetime(2020, 2, 29, 1, 2, 3, 4),
        "zoned": datetime(2020, 2, 29, tzinfo=UTC), "doc": {"b": [1, 2.5, None, "é"], "a": 100.0},
        "blob": b"\x00\xff", "ident": uuid.UUID(int=5), "Mixed": 2**62,
    }  # fmt: skip
    nothing: dict[str, Any] = dict.fromkeys(one)
    db.insert("values of all kinds", {"a": 1, "b": "x", **one})
    db.insert("values of all kinds", {"a": 1, "b": "y", **nothing})
    db.insert("values of all kinds", {"a": -(2**63), "b": "z"})
    db.insert("values of all kinds", {"a": 3, "b": "-", "real": -1e300, "text": "", "price": 0, "doc": []})


def content(db: holdfast.Database) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in db.list_tables():
        key = [column["name"] for column in db.get_columns(name) if column["primary_key"]]
        found[name] = {repr([row[one] for one in key]): row for row in db.select(name)}
    return found


def keys(db: holdfast.Database) -> dict[str, Any]:
    look = holdfast.inspect(db)
    return {name: sorted(map(repr, look.get_foreign_keys(name))) for name in db.list_tables()}


def test_a_rich_database_there_and_back(lite: holdfast.Database, db: holdfast.Database, open_: Open) -> None:
    fill(lite)
    there = holdfast.copy_database(lite, db)
    back = open_(":memory:")
    again = holdfast.copy_database(db, back)
    assert there.left_behind == again.left_behind == ()
    assert there.tables == again.tables == {"teams": 40, "people": 1199, "values of all kinds": 4, "empty": 0}
    assert content(lite) == content(db) == content(back)
    assert keys(lite) == keys(db) == keys(back)
    for copy in (db, back):
        for name in lite.list_tables():
            ours, theirs = lite.get_columns(name), copy.get_columns(name)
            assert [(c["name"], c["nullable"], c["primary_key"]) for c in ours] == [
                (c["name"], c["nullable"], c["primary_key"]) for c in theirs
            ]
            assert {
                (tuple(i["columns"]), i["unique"]) for i in lite.list_indexes(name) if not i["primary_key"]
            } == {(tuple(i["columns"]), i["unique"]) for i in copy.list_indexes(name) if not i["primary_key"]}


def test_the_copy_goes_on_where_the_source_was(lite: holdfast.Database, db: holdfast.Database) -> None:
    fill(lite)
    holdfast.copy_database(lite, db)
    assert db.insert("people", {"team": 1}) == 1200
    assert db.insert("teams", {"Name": "new"}) == 41
    assert db.insert("empty", {"x": "first"}) == 1
    db.insert("values of all kinds", {"a": 9, "b": "new", "text": "x"})
    row = db.get("values of all kinds", (9, "new"))
    assert (row["small"], row["flag"], row["price"], row["blob"], row["Mixed"]) == (
        *(-3, True, Decimal("1.50"), b"\x00\xff", 0),
    )
    with pytest.raises(UniqueViolation):
        db.insert("teams", {"Name": "new"})
    with pytest.raises(ForeignKeyViolation):
        db.update("people", {"boss": 10**9}, {"id": 3})
    for bad in ({"b": ""}, {"text": "other"}, {"Mixed": -1}, {"price": Decimal(-1)}):
        with pytest.raises(holdfast.errors.CheckViolation):
            db.update("values of all kinds", bad, {"a": 9})
    db.update("people", {"boss": None}, all_rows=True)
    db.delete("teams", {"id": 2})
    assert db.count("people", {"team": 2}) == 0


def test_between_databases_of_one_kind(
    db: holdfast.Database, new_url: Callable[[], str], open_: Open
) -> None:
    fill(db)
    db.execute('CREATE INDEX "lower b" ON "values of all kinds" (lower(b)) WHERE a > 0')
    db.execute("CREATE TABLE made (a INTEGER, b INTEGER GENERATED ALWAYS AS (a * 2) STORED)")
    db.execute("INSERT INTO made (a) VALUES (4)")
    copy = open_(new_url())
    report = holdfast.copy_database(db, copy)
    assert report.left_behind == ()
    assert content(db) == content(copy)
    assert keys(db) == keys(copy)
    assert "lower b" in [index["name"] for index in copy.list_indexes("values of all kinds")]
    copy.insert("made", {"a": 5})
    assert copy.select("made", where={"a": 5}) == [{"a": 5, "b": 10}]
    types = [(column["type"], column["default"]) for column in db.get_columns("values of all kinds")]
    assert types == [
        (column["type"], column["default"]) for column in copy.get_columns("values of all kinds")
    ]


def test_what_stays_behind_is_said(lite: holdfast.Database, db: holdfast.Database, engine_name: str) -> None:
    lite.execute(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER DEFAULT (abs(random())), s TEXT COLLATE NOCASE, "
        "twice INTEGER AS (n * 2), d DATE CHECK (d GLOB '????-*'))"
    )
    lite.execute("CREATE INDEX lower_s ON t (lower(s))")
    lite.execute("CREATE INDEX some_s ON t (s) WHERE n > 1")
    lite.execute("CREATE VIEW v AS SELECT s FROM t")
    lite.execute("CREATE TRIGGER after AFTER DELETE ON t BEGIN SELECT 1; END")
    lite.insert("t", {"n": 4, "s": "a"})
    report = holdfast.copy_database(lite, db)
    assert db.select("t") == [{"id": 1, "n": 4, "s": "a", "twice": 8, "d": None}]
    left = {(item.kind, item.name) for item in report.left_behind}
    always = {("view", "v"), ("trigger", "after on t")}
    here = {
        ("check", "t"), ("default", "t.n"), ("collation", "t.s"), ("expression", "t.twice"),
        ("index", "lower_s on t"), ("index", "some_s on t"),
    }  # fmt: skip
    assert left == (always if engine_name == "sqlite" else always | here)
    assert all(item.reason for item in report.left_behind)
    db.drop_table("t")
    named = holdfast.copy_database(lite, db, tables=["t"]).left_behind
    assert {(item.kind, item.name) for item in named} == left - {("view", "v")}


def test_what_stays_behind_of_postgresql_is_said(
    lite: holdfast.Database, db: holdfast.Database, engine_name: str
) -> None:
    if engine_name == "sqlite":
        pytest.skip("about PostgreSQL's objects")
    db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT)")
    db.execute("CREATE TABLE other (id INTEGER PRIMARY KEY)")
    db.execute("CREATE TYPE mood AS ENUM ('good', 'bad')")
    db.execute("CREATE SEQUENCE counter")
    db.execute("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$")
    db.execute("CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()")
    db.execute("CREATE POLICY mine ON t USING (true)")
    db.execute("CREATE TYPE pair AS (a INTEGER, b TEXT)")
    db.execute("CREATE RULE quiet AS ON DELETE TO t DO INSTEAD NOTHING")
    plan = holdfast.copy_database(db, lite, dry_run=True)
    assert [(item.kind, item.name) for item in plan.left_behind] == [
        *(("function", "f"), ("policy", "mine on t"), ("rule", "quiet on t"), ("sequence", "counter")),
        *(("trigger", "tr on t"), ("type", "mood"), ("type", "pair")),
    ]
    named = holdfast.copy_database(db, lite, tables=["t"], dry_run=True).left_behind
    assert [item.kind for item in named] == ["policy", "rule", "trigger"]
    assert holdfast.copy_database(db, lite, tables=["other"]).left_behind == ()


def test_a_type_the_target_lacks_stops_it(
    lite: holdfast.Database, db: holdfast.Database, engine_name: str
) -> None:
    if engine_name == "sqlite":
        pytest.skip("SQLite has no type that SQLite lacks")
    db.execute("CREATE TABLE t (a INTEGER, b INTERVAL, c TEXT[])")
    db.execute("CREATE TABLE fine (a INTEGER)")
    with pytest.raises(NotSupported, match=r"t\.b.*INTERVAL.*t\.c"):
        holdfast.copy_database(db, lite)
    plan = holdfast.copy_database(db, lite, dry_run=True)
    assert [item.name for item in plan.refused] == ["t.b", "t.c"]
    assert lite.list_tables() == []
    assert holdfast.copy_database(db, lite, tables=["fine"]).tables == {"fine": 0}


def test_checks_and_defaults_of_postgresql(
    lite: holdfast.Database, db: holdfast.Database, engine_name: str
) -> None:
    if engine_name == "sqlite":
        pytest.skip("about PostgreSQL's texts")
    db.execute(
        "CREATE TABLE t (id SERIAL PRIMARY KEY, a DOUBLE PRECISION CHECK (a >= 0 AND a < 1.5), "
        "s TEXT DEFAULT 'x' CHECK (s IN ('x', 'y')), n INTEGER DEFAULT -1, r REAL, j JSON DEFAULT '{}', "
        "m TIMESTAMP DEFAULT now(), c CHAR(4), k NUMERIC)"
    )
    db.insert_many("t", [{"a": 0.5, "r": 0.5, "c": "ab d", "k": Decimal("1.50")}, {"a": None}])
    report = holdfast.copy_database(db, lite)
    assert report.left_behind == ()
    assert content(lite).keys() == {"t"}
    assert lite.select("t", order_by="id")[0]["r"] == db.select("t", order_by="id")[0]["r"]
    for bad in ({"a": 2.0}, {"s": "z"}):
        with pytest.raises(holdfast.errors.CheckViolation):
            lite.insert("t", bad)
    assert lite.insert("t", {}) == 3
    assert lite.get("t", 3)["n"] == -1


def test_searches_go_along(lite: holdfast.Database, db: holdfast.Database) -> None:
    lite.create_table("notes", {"id": "INTEGER PRIMARY KEY", "body": "TEXT"})
    lite.insert("notes", {"body": "running water"})
    lite.enable_search("notes", "body")
    assert holdfast.copy_database(lite, db).left_behind == ()
    assert [row["id"] for row in db.search("notes", "water")] == [1]


def test_a_dry_run_writes_nothing(lite: holdfast.Database, db: holdfast.Database) -> None:
    fill(lite)
    plan = holdfast.copy_database(lite, db, dry_run=True)
    assert plan.is_dry_run
    assert plan.tables["people"] == 1199
    assert {(c.table, c.column): c.source for c in plan.columns}["people", "born"] == "DATE"
    assert "would copy 4 tables" in str(plan)
    assert db.list_tables() == []


def test_refusals_write_nothing(lite: holdfast.Database, db: holdfast.Database) -> None:
    fill(lite)
    db.create_table("people", {"id": "INTEGER PRIMARY KEY"})
    db.create_index("people", "id", name="people by team")
    for is_dry in (True, False):
        with pytest.raises(TableExists, match="people"):
            holdfast.copy_database(lite, db, dry_run=is_dry)
    lite.create_index("empty", "x", name="taken")
    db.create_index("people", "id", name="taken")
    with pytest.raises(IndexExists, match="taken"):
        holdfast.copy_database(lite, db, tables=["empty"])
    with pytest.raises(TableNotFound, match="did you mean 'people'"):
        holdfast.copy_database(lite, db, tables=["peopel"])
    with db.transaction(), pytest.raises(TransactionError):
        holdfast.copy_database(lite, db, tables=["empty"])
    assert db.list_tables() == ["people"]


def test_a_foreign_key_out_of_the_selection_is_said(lite: holdfast.Database, db: holdfast.Database) -> None:
    fill(lite)
    report = holdfast.copy_database(lite, db, tables=["people"])
    assert [item.name for item in report.left_behind] == ["people(team)"]
    assert db.count("people") == 1199


def test_a_value_the_target_refuses_is_placed(
    lite: holdfast.Database, db: holdfast.Database, engine_name: str
) -> None:
    if engine_name == "sqlite":
        pytest.skip("about the values of another engine")
    db.create_table("before", {"id": "INTEGER PRIMARY KEY"})
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "x": float})
    db.insert("before", {"id": 1})
    db.insert_many("t", [{"x": 1.0 if n != 4321 else math.nan} for n in range(1, 6001)])
    with pytest.raises(ValueRefused, match=r"row 4321.*t\.x") as caught:
        holdfast.copy_database(db, lite)
    assert caught.value.row_number == 4321
    assert lite.list_tables() == []


def test_a_text_that_postgresql_refuses_is_placed(
    lite: holdfast.Database, db: holdfast.Database, engine_name: str
) -> None:
    if engine_name == "sqlite":
        pytest.skip("SQLite holds what SQLite holds")
    lite.create_table("t", {"id": "INTEGER PRIMARY KEY", "x": "INTEGER"})
    lite.insert_many("t", [{"x": n} for n in range(30)])
    lite.execute("UPDATE t SET x = 'abc' WHERE id = 30")
    with pytest.raises(ValueRefused, match=r"row 30.*t\.x"):
        holdfast.copy_database(lite, db)
    assert db.list_tables() == []


def test_dangling_references_stop_it(lite: holdfast.Database, db: holdfast.Database) -> None:
    fill(lite)
    lite.execute("PRAGMA foreign_keys = OFF")
    lite.execute("UPDATE people SET boss = 99999999 WHERE id = 4")
    with pytest.raises(ForeignKeyViolation):
        holdfast.copy_database(lite, db)
    assert db.list_tables() == []


def test_a_copy_that_differs_is_not_kept(
    lite: holdfast.Database, db: holdfast.Database, engine_name: str
) -> None:
    """A trigger of the target's own that changes what is written."""
    if engine_name == "sqlite":
        pytest.skip("a new table has no triggers there")
    db.execute(
        "CREATE FUNCTION spoil() RETURNS event_trigger LANGUAGE plpgsql AS "
        "$$BEGIN EXECUTE 'CREATE RULE quiet AS ON INSERT TO t DO ALSO UPDATE t SET x = 5'; END$$"
    )
    db.execute(
        "CREATE EVENT TRIGGER spoiler ON ddl_command_end WHEN TAG IN ('CREATE TABLE') "
        "EXECUTE FUNCTION spoil()"
    )
    try:
        lite.create_table("t", {"id": "INTEGER PRIMARY KEY", "x": "INTEGER"})
        lite.insert("t", {"x": 1})
        with pytest.raises(holdfast.errors.DatabaseError, match="does not hold the same values"):
            holdfast.copy_database(lite, db)
        assert db.list_tables() == []
    finally:
        db.execute("DROP EVENT TRIGGER spoiler")


CHILD = """
import sys, holdfast

def most_memory():
    # Not getrusage: after a fork it starts with what the parent had.
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

with holdfast.connect(sys.argv[1], read_only=True) as source, holdfast.connect(sys.argv[2]) as target:
    source.count("flights"), target.list_tables()
    before = most_memory()
    if len(sys.argv) > 3:
        from holdfast.transfer import copy
        import os, signal
        copy.prove = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
    holdfast.copy_database(source, target)
    print((most_memory() - before) // 1024)
"""


def flights(db: holdfast.Database) -> None:
    db.create_table(
        "flights",
        {
            "id": "INTEGER PRIMARY KEY",
            "day": "DATE",
            "carrier": "TEXT",
            "delay": "REAL",
            "tail": "TEXT",
            "miles": int,
        },
    )
    db.insert_many(
        "flights",
        (
            {"day": date(2013, n % 12 + 1, 1), "carrier": "UA", "delay": n / 7, "tail": f"N{n}", "miles": n}
            for n in range(50_000)
        ),
    )


def child(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CHILD), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_memory_stays_flat_and_a_killed_copy_leaves_nothing(
    tmp_path: Any, url: str, db: holdfast.Database, open_: Open
) -> None:
    source = f"sqlite:///{tmp_path}/flights.db"
    flights(open_(source))
    killed = child(source, url, "kill")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert db.list_tables() == []
    done = child(source, url)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 64
    assert db.count("flights") == 50_000
    back = f"sqlite:///{tmp_path}/back.db"
    returned = child(url, back)
    assert returned.returncode == 0, returned.stderr
    assert int(returned.stdout) < 64
    assert content(open_(back)) == content(db)


def test_large_values_are_taken_few_at_a_time(lite: holdfast.Database, db: holdfast.Database) -> None:
    lite.create_table("files", {"id": "INTEGER PRIMARY KEY", "data": "BLOB"})
    lite.insert_many("files", ({"data": os.urandom(1 << 20)} for _ in range(12)))
    holdfast.copy_database(lite, db)
    assert content(lite) == content(db)


def test_arrays_come_as_they_are(lite: holdfast.Database, db: holdfast.Database) -> None:
    lite.create_table("t", {"id": "INTEGER PRIMARY KEY", "a": np.ndarray})
    array = np.arange(12.0).reshape(3, 4)
    lite.insert("t", {"id": 1, "a": array})
    holdfast.copy_database(lite, db)
    assert (db.get("t", 1)["a"] == array).all()


def test_a_default_in_double_quotes_is_a_text(lite: holdfast.Database, db: holdfast.Database) -> None:
    lite.execute('CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT DEFAULT "it\'s")')
    assert holdfast.copy_database(lite, db).left_behind == ()
    db.insert("t", {"id": 1})
    assert db.get("t", 1)["a"] == "it's"


def test_types_of_postgresql_alone_go_to_another_postgresql(
    db: holdfast.Database, new_url: Callable[[], str], open_: Open, engine_name: str
) -> None:
    if engine_name == "sqlite":
        pytest.skip("about PostgreSQL's types")
    db.execute(
        "CREATE TABLE t (id BIGSERIAL PRIMARY KEY, r REAL, i INTEGER, a TEXT[], v INTERVAL, c CHAR(3), "
        "j JSON, u UUID DEFAULT gen_random_uuid(), n INTEGER GENERATED BY DEFAULT AS IDENTITY)"
    )
    db.execute(
        "INSERT INTO t (r, i, a, v, c, j) VALUES (0.1, 3, '{a,b}', '3 days', 'ab', '{\"a\": 1.0}'), "
        "(null, 4, null, null, null, null)"
    )
    copy = open_(new_url())
    assert holdfast.copy_database(db, copy).left_behind == ()
    assert content(copy) == content(db)
    assert [c["type"] for c in copy.get_columns("t")] == [c["type"] for c in db.get_columns("t")]
    assert copy.insert("t", {"i": 5}) == 3
    assert copy.get("t", 3)["n"] == 3


def test_types_that_the_target_has_not_got_stop_it(
    db: holdfast.Database, new_url: Callable[[], str], open_: Open, engine_name: str
) -> None:
    if engine_name == "sqlite":
        pytest.skip("about PostgreSQL's types")
    db.execute("CREATE TYPE mood AS ENUM ('good', 'bad')")
    db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, m mood, many mood[])")
    db.execute("INSERT INTO t VALUES (1, 'good', '{bad}')")
    copy = open_(new_url())
    with pytest.raises(NotSupported, match=r"t\.m.*t\.many"):
        holdfast.copy_database(db, copy)
    assert copy.list_tables() == []
    copy.execute("CREATE TYPE mood AS ENUM ('good', 'bad')")
    holdfast.copy_database(db, copy)
    assert copy.query("SELECT m::text, many::text FROM t") == [{"m": "good", "many": "{bad}"}]


def test_a_value_that_python_holds_less_exactly_is_not_lost_in_silence(
    db: holdfast.Database, new_url: Callable[[], str], open_: Open, engine_name: str
) -> None:
    if engine_name == "sqlite":
        pytest.skip("about PostgreSQL's types")
    db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, i INTERVAL)")
    db.execute("INSERT INTO t VALUES (1, '2 days 3 hours'), (2, '1 month')")
    copy = open_(new_url())
    with pytest.raises(holdfast.errors.DatabaseError, match="the same values"):
        holdfast.copy_database(db, copy)
    assert copy.list_tables() == []
    db.delete("t", {"id": 2})
    assert holdfast.copy_database(db, copy).tables == {"t": 1}


def test_tables_are_left_out_by_name(lite: holdfast.Database, db: holdfast.Database) -> None:
    fill(lite)
    with pytest.raises(TableNotFound, match="did you mean 'people'"):
        holdfast.copy_database(lite, db, exclude=["peopel"])
    report = holdfast.copy_database(lite, db, exclude=["people", "values of all kinds"])
    assert db.list_tables() == ["empty", "teams"]
    assert [item.name for item in report.left_behind] == ["teams(lead)"]


def test_the_command_tells_in_json(tmp_path: Any, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with holdfast.connect(tmp_path / "source.db") as source:
        fill(source)
    command = ["copy", str(tmp_path / "source.db"), url, "--exclude", "people, empty", "--json"]
    for more, is_dry in ((["--dry-run"], True), ([], False)):
        with pytest.raises(SystemExit) as left:
            run([*command, *more])
        assert left.value.code == 0
        shown = capsys.readouterr()
        answer = json.loads(shown.out)
        assert shown.err == ""
        assert answer["is_dry_run"] is is_dry
        assert answer["tables"] == {"teams": 40, "values of all kinds": 4}
        assert {"table": "teams", "column": "Name", "source": "TEXT", "target": "TEXT"} in answer["columns"]
        assert [item["name"] for item in answer["left_behind"]] == ["teams(lead)"]
