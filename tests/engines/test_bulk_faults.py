"""Many rows, stopped in the middle: by a signal, by a row that is wrong, by a source that fails."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast import Database
from holdfast.errors import CheckViolation, Error, IntegrityError

THERE = 2_000
BATCH = 30_000

INTERRUPTED = """
import sys, holdfast
db = holdfast.connect(sys.argv[1])
def rows():
    for i in range(10**9):
        if i == 30_000:
            print("on the way", flush=True)
        yield {"id": i % 2_000 + 1 if sys.argv[2] == "update_many" else i + 2_001, "n": 1}
try:
    getattr(db, sys.argv[2])("p", rows())
except KeyboardInterrupt:
    print(db.count("p"), db.count("p", {"n": 1}), flush=True)
    db.insert("p", {"id": -1, "n": 0})
"""

KILLED = """
import sys, holdfast
db = holdfast.connect(sys.argv[1])
print("ready", flush=True)
for batch in range(100):
    rows = ({"id": (batch + 1) * 1_000_000 + i, "n": batch} for i in range(30_000))
    db.insert_many("p", rows if batch % 2 else list(rows))
"""

MEMORY = """
import sys, holdfast
def most_memory():
    # Not getrusage: after a fork it starts with what the parent had.
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
db = holdfast.connect(sys.argv[1])
verb = getattr(db, sys.argv[2])
def rows(first, count):
    return ({"id": i, "name": "x" * 40, "n": abs(i)} for i in range(first, first + count))
verb("p", rows(-30, 30))
before = most_memory()
assert verb("p", rows(1, 1_000_000)) == (0 if verb == db.update_many else 1_000_000)
print(most_memory() - before)
"""


@pytest.fixture
def p(db: Database) -> Database:
    db.create_table("p", {"id": "INTEGER PRIMARY KEY", "name": "TEXT", "n": "INTEGER"}, checks="n >= 0")
    return db


def child(code: str, *args: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *args],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("verb", ["insert_many", "upsert_many", "update_many"])
def test_an_interrupted_call_leaves_nothing_and_a_usable_database(p: Database, url: str, verb: str) -> None:
    p.insert_many("p", [{"id": i, "n": 0} for i in range(1, THERE + 1)])
    with child(INTERRUPTED, url, verb) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "on the way\n"
        time.sleep(random.Random(verb).uniform(0, 0.2))
        started.send_signal(signal.SIGINT)
        out, error = started.communicate(timeout=600)
        assert (out, error, started.returncode) == (f"{THERE} 0\n", "", 0)
    assert p.count("p") == THERE + 1


def test_a_killed_process_leaves_whole_calls_only(p: Database, url: str) -> None:
    times = random.Random(11)
    for _ in range(4):
        with child(KILLED, url) as started:
            assert started.stdout is not None
            assert started.stdout.readline() == "ready\n"
            time.sleep(times.uniform(0.05, 1))
            started.kill()
        # A server needs a moment to notice that its client is gone; the table waits for it.
        counts = p.query("SELECT count(*) AS rows FROM p GROUP BY n")
        assert {row["rows"] for row in counts} <= {BATCH}
        for attempt in range(1200):
            try:
                p.delete("p", all_rows=True)
                break
            except Error:
                if attempt == 1199:
                    raise
                time.sleep(0.05)


@pytest.mark.parametrize("verb", ["insert_many", "upsert_many", "update_many"])
def test_a_million_rows_need_little_memory(p: Database, url: str, engine_name: str, verb: str) -> None:
    if engine_name not in ("sqlite", "embedded"):
        pytest.skip("one PostgreSQL is enough for a million rows")
    with child(MEMORY, url, verb) as started:
        out, error = started.communicate(timeout=900)
        assert started.returncode == 0, error
    assert int(out) < 64 * 1024


@pytest.mark.parametrize("verb", ["insert_many", "upsert_many", "update_many"])
@pytest.mark.parametrize("place", [1, 300, 7_777, 25_000])
def test_a_source_that_fails_names_no_row_and_leaves_nothing(p: Database, verb: str, place: int) -> None:
    def given() -> Iterator[dict[str, Any]]:
        for i in range(1, place):
            yield {"id": i, "n": i}
        raise LookupError("the source is gone")

    with pytest.raises(LookupError, match="the source is gone"):
        getattr(p, verb)("p", given())
    assert p.count("p") == 0
    assert p.insert("p", {"id": 1, "n": 1}) == 1


@pytest.mark.parametrize("count", [3, 50])
def test_what_a_trigger_refuses_is_an_integrity_error_of_its_row(db, engine_name, count, capfd):
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "a": "TEXT"})
    if engine_name == "sqlite":
        db.execute(
            "CREATE TRIGGER no BEFORE INSERT ON t WHEN new.a = 'bad' BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    else:
        db.execute(
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN IF new.a = 'bad' THEN RAISE 'no'; END IF; RETURN new; END $$"
        )
        db.execute("CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION no()")
    for _ in range(20):
        with pytest.raises(IntegrityError, match=r"^row 2: ") as caught:
            db.insert_many("t", [{"a": "bad" if number == 1 else "x"} for number in range(count)])
        assert caught.value.row_number == 2
    assert db.count("t") == 0
    # The driver has its own words about a refused batch, and Python would print them.
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("count", [3, 50])
def test_postgres_says_which_row_is_too_large_or_has_no_partition(db, engine_name, count):
    if engine_name == "sqlite":
        pytest.skip("SQLite has no partitions, and pages of any number for a row")
    db.create_table("wide", {f"c{number}": "INTEGER" for number in range(1_500)})
    rows = [{"c0": 1}, {f"c{number}": 1 for number in range(1_500)}, *[{"c0": 1}] * (count - 2)]
    rows = [{**dict.fromkeys(rows[1]), **row} for row in rows]
    with pytest.raises(Error, match=r"^row 2: row is too big"):
        db.insert_many("wide", rows)
    db.execute("CREATE TABLE parts (id INTEGER PRIMARY KEY) PARTITION BY RANGE (id)")
    db.execute("CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (1)")
    with pytest.raises(CheckViolation, match=r"^row 2: no partition takes the row: parts;"):
        db.insert_many("parts", [{"id": number} for number in range(count)])
    db.execute("CREATE TABLE numbered (id INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY)")
    with pytest.raises(Error, match="row 1") as caught:
        db.insert_many("numbered", [{"id": number} for number in range(count)])
    assert "leave the column out" in str(caught.value.hint)


@pytest.mark.parametrize("is_indexed", [False, True])
@pytest.mark.parametrize("bad", [1, 150, 2_345])
@pytest.mark.parametrize("how", ["ROLLBACK", "FAIL", "ABORT", ""])
def test_nothing_is_left_however_sqlite_ends_a_statement(db, engine_name, how, bad, is_indexed):
    if engine_name != "sqlite":
        pytest.skip("PostgreSQL knows one way")
    said = f" ON CONFLICT {how}" if how else ""
    db.execute(f"CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT NOT NULL{said})")
    if is_indexed:
        db.create_index("t", "a")
    db.insert("t", {"id": 9_000, "a": "old"})
    rows = [{"id": number, "a": None if number == bad else "x"} for number in range(1, 2_501)]
    with pytest.raises(IntegrityError) as caught:
        db.insert_many("t", rows)
    if how in ("ABORT", ""):
        assert caught.value.row_number == bad
    assert db.select("t") == [{"id": 9_000, "a": "old"}]
    assert db.insert_many("t", rows[: bad - 1]) == bad - 1


@pytest.mark.parametrize("order", ["up", "down"])
def test_the_first_row_that_cannot_be_changed_is_named(db, order):
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "n": "INTEGER"}, checks=["n < 10000"])
    db.insert_many("t", [{"id": number, "n": 0} for number in range(3_000)])
    changes = [{"id": number, "n": 10_000 if number in (1_000, 2_500) else 1} for number in range(3_000)]
    if order == "down":
        changes.reverse()
    with pytest.raises(CheckViolation, match=r"^row ") as caught:
        db.update_many("t", changes)
    assert caught.value.row_number == (1_001 if order == "up" else 500)
    assert db.count("t", {"n": 0}) == 3_000


@pytest.mark.parametrize("is_indexed", [False, True])
def test_a_batch_that_fails_in_a_block_takes_nothing_else_with_it(db, is_indexed):
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "n": "INTEGER"}, checks=["n < 10"])
    if is_indexed:
        db.create_index("t", "n")
    with db.transaction():
        db.insert("t", {"id": 1, "n": 1})
        with pytest.raises(CheckViolation) as caught:
            db.insert_many(
                "t", [{"id": number, "n": 10 if number == 4_444 else 2} for number in range(2, 5_000)]
            )
        assert caught.value.row_number == 4_443
        db.insert("t", {"id": 2, "n": 3})
    assert db.select("t") == [{"id": 1, "n": 1}, {"id": 2, "n": 3}]


@pytest.mark.parametrize("temporary", ["", "TEMP "])
def test_a_trigger_and_a_declared_conflict_keep_their_rule_in_a_table_with_an_index(
    db, engine_name, temporary
):
    """A statement of many rows into such a table is to end at a row at fault, which would rule over them."""
    if engine_name != "sqlite":
        pytest.skip("PostgreSQL has no such rules")
    db.execute("CREATE TABLE t (id TEXT PRIMARY KEY ON CONFLICT REPLACE, n INTEGER)")
    db.execute("CREATE TABLE u (id TEXT PRIMARY KEY, n INTEGER)")
    db.execute("CREATE TABLE seen (n INTEGER PRIMARY KEY)")
    rows = [{"id": f"k{number}", "n": number % 10} for number in range(1_000)]
    # The plan is made before there is a trigger.
    db.insert_many("u", rows)
    db.execute("DELETE FROM u")
    db.execute(
        f"CREATE {temporary}TRIGGER w AFTER INSERT ON u BEGIN INSERT OR IGNORE INTO seen VALUES (NEW.n); END"
    )
    assert db.insert_many("u", rows) == 1_000
    assert db.count("seen") == 10
    db.insert_many("t", rows), db.insert_many("t", rows)
    assert db.count("t") == 1_000
