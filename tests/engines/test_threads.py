"""One Database, many threads: each has its own connection and its own transaction."""

# An exception has to leave a block of several statements to be undone.
# ruff: noqa: PT012

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from weakref import WeakSet

import pytest

import holdfast
from holdfast import Database
from holdfast.errors import ClosedError, ColumnNotFound, TransactionError, UniqueViolation


@pytest.fixture
def t(db: Database) -> Database:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "n": int, "v": "TEXT"})
    return db


def together(*jobs: Callable[[], Any]) -> list[Any]:
    """Run each in a thread of its own, all at once, and give what they returned."""
    gate = threading.Barrier(len(jobs))

    def run(job: Callable[[], Any]) -> Any:
        gate.wait(120)
        return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return [future.result(600) for future in [pool.submit(run, job) for job in jobs]]


def in_a_thread(job: Callable[[], Any]) -> Any:
    return together(job)[0]


def test_many_threads_write_and_none_is_lost(t: Database) -> None:
    def write(thread: int) -> list[Any]:
        return [t.insert("t", {"n": thread, "v": str(i)}) for i in range(25)]

    keys = together(*(lambda thread=thread: write(thread) for thread in range(8)))
    assert sorted(key for each in keys for key in each) == list(range(1, 201))
    for thread in range(8):
        found = t.select("t", where={"n": thread}, order_by="id")
        assert [row["v"] for row in found] == [str(i) for i in range(25)]


def test_every_thread_may_read_while_others_write(t: Database) -> None:
    t.insert_many("t", [{"n": 0} for _ in range(100)])

    def swap() -> None:
        for i in range(20):
            with t.transaction():
                t.update("t", {"n": i}, all_rows=True)

    def look() -> set[int]:
        return {len({row["n"] for row in t.select("t")}) for _ in range(40)}

    _, *seen = together(swap, look, look)
    assert all(kinds == {1} for kinds in seen), "no reader sees half a transaction"


def test_each_thread_has_its_own_transaction(t: Database) -> None:
    with t.transaction():
        t.insert("t", {"v": "mine"})
        assert in_a_thread(lambda: t.count("t")) == 0
        with pytest.raises(TransactionError, match="no transaction"):
            in_a_thread(t.commit)
        with pytest.raises(TransactionError, match="no transaction"):
            in_a_thread(t.rollback)
        assert t.count("t") == 1
    assert in_a_thread(lambda: t.count("t")) == 1


def test_transactions_of_several_threads_are_whole(t: Database) -> None:
    def work(thread: int, fails: bool) -> None:
        for i in range(10):
            try:
                with t.transaction():
                    t.insert("t", {"n": thread, "v": f"{i} a"})
                    with t.transaction():
                        t.insert("t", {"n": thread, "v": f"{i} b"})
                    if fails:
                        raise ZeroDivisionError
            except ZeroDivisionError:
                assert fails

    together(*(lambda thread=thread: work(thread, thread % 2 == 1) for thread in range(6)))
    counts = {thread: t.count("t", {"n": thread}) for thread in range(6)}
    assert counts == {0: 20, 1: 0, 2: 20, 3: 0, 4: 20, 5: 0}


def test_a_counter_of_run_transaction_loses_no_step(t: Database) -> None:
    t.insert("t", {"id": 1, "n": 0})

    def step() -> None:
        n = t.get("t", 1)["n"]
        t.update("t", {"n": n + 1}, {"id": 1})

    def count() -> None:
        for _ in range(10):
            t.run_transaction(step, retries=200, isolation="SERIALIZABLE")

    together(*[count] * 4)
    assert t.get("t", 1)["n"] == 40


def test_an_open_transaction_of_a_thread_that_ended_holds_no_lock(t: Database) -> None:
    def leave() -> None:
        t.begin_transaction()
        t.insert("t", {"v": "abandoned"})

    thread = threading.Thread(target=leave)
    thread.start()
    thread.join()
    del thread
    assert t.insert("t", {"v": "goes on"}) in (1, 2)
    assert [row["v"] for row in t.select("t")] == ["goes on"]


def test_threads_that_come_and_go_leave_no_connection_open(t: Database) -> None:
    for _ in range(60):
        in_a_thread(lambda: t.insert("t", {"v": "x"}))
    assert t.count("t") == 60
    assert t.engine.pool.checkedout() <= 2  # type: ignore[attr-defined]


def test_a_bulk_load_in_each_thread(t: Database) -> None:
    def load(thread: int) -> int:
        return t.insert_many("t", ({"n": thread, "v": str(i)} for i in range(2_000)), batch_size=300)

    assert together(*(lambda thread=thread: load(thread) for thread in range(3))) == [2_000] * 3
    assert t.count("t") == 6_000


def test_streams_in_several_threads(t: Database) -> None:
    t.insert_many("t", [{"n": i} for i in range(500)])

    def read() -> int:
        return sum(row["n"] for row in t.stream("t", batch_size=7))

    assert together(read, read, read) == [sum(range(500))] * 3


def test_a_table_that_one_thread_changes_is_seen_by_the_others(t: Database) -> None:
    t.insert("t", {"v": "a"})
    first, second = threading.Event(), threading.Event()

    def reader() -> list[Any]:
        before = t.get("t", 1)
        first.set()
        assert second.wait(120)
        after = t.get("t", 1)
        t.insert("t", {"v": "b", "extra": 2})
        return [before, after, t.get("t", 2)]

    def changer() -> None:
        assert first.wait(120)
        t.add_column("t", "extra", "INTEGER DEFAULT 1")
        second.set()

    found, _ = together(reader, changer)
    assert found == [
        {"id": 1, "n": None, "v": "a"},
        {"id": 1, "n": None, "v": "a", "extra": 1},
        {"id": 2, "n": None, "v": "b", "extra": 2},
    ]


def test_a_connection_that_comes_back_from_the_pool_knows_of_a_change(t: Database) -> None:
    """On PostgreSQL what it had prepared has another result by now, which a transaction cannot get over."""
    t.insert("t", {"v": "a"})

    def read() -> Any:
        with t.transaction():
            return t.get("t", 1)

    def read_by_the_engine() -> Any:
        with t.engine.connect() as connection:
            return [connection.exec_driver_sql("SELECT * FROM t").mappings().one() for _ in range(8)][-1]

    in_a_thread(read)
    in_a_thread(read_by_the_engine)
    t.add_column("t", "extra", "INTEGER DEFAULT 1")
    assert in_a_thread(read_by_the_engine)["extra"] == 1
    assert in_a_thread(read)["extra"] == 1


def test_a_change_that_is_not_committed_does_not_trouble_other_threads(t: Database) -> None:
    t.create_table("mine", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"})
    t.insert("mine", {"v": "a"})
    t.get("mine", 1)

    def other() -> list[Any]:
        return [t.list_tables(), t.count("t"), t.get("t", 1), t.select("t")]

    t.insert("t", {"v": "x"})
    before = in_a_thread(other)
    with pytest.raises(ZeroDivisionError), t.transaction():
        t.create_table("new", {"id": "INTEGER PRIMARY KEY"})
        t.insert("new", {})
        t.rename_column("mine", "v", "w")
        assert t.get("mine", 1) == {"id": 1, "w": "a"}
        assert in_a_thread(other) == before
        with pytest.raises(holdfast.errors.TableNotFound):
            in_a_thread(lambda: t.count("new"))
        assert t.count("new") == 1
        raise ZeroDivisionError
    assert t.get("mine", 1) == {"id": 1, "v": "a"}


def test_what_one_thread_learnt_of_an_uncommitted_table_is_not_believed_by_others(
    t: Database, engine_name: str
) -> None:
    """SQLite lets others read the old table meanwhile; PostgreSQL makes them wait for the new one."""
    if engine_name != "sqlite":
        pytest.skip("ALTER TABLE locks readers out, so nobody can look")
    t.insert("t", {"v": "a"})
    with pytest.raises(ZeroDivisionError), t.transaction():
        t.rename_column("t", "v", "w")
        t.add_column("t", "x", int)
        assert t.get("t", 1) == {"id": 1, "n": None, "w": "a", "x": None}
        assert t.select("t") == [{"id": 1, "n": None, "w": "a", "x": None}]
        assert in_a_thread(lambda: t.get("t", 1)) == {"id": 1, "n": None, "v": "a"}
        assert in_a_thread(lambda: t.select("t", where={"v": "a"})) == [{"id": 1, "n": None, "v": "a"}]
        assert t.get("t", 1) == {"id": 1, "n": None, "w": "a", "x": None}
        with pytest.raises(ColumnNotFound):
            t.select("t", "v")
        raise ZeroDivisionError
    assert t.get("t", 1) == {"id": 1, "n": None, "v": "a"}


def test_errors_stay_in_their_thread(t: Database) -> None:
    t.insert("t", {"id": 1})

    def bad() -> None:
        with pytest.raises(UniqueViolation), t.transaction():
            t.insert("t", {"id": 1})

    def good() -> int:
        with t.transaction():
            for i in range(20):
                t.insert("t", {"v": str(i)})
        return t.count("t", "v IS NOT NULL")

    *_, found = together(bad, bad, good)
    assert found == 20


def test_close_from_another_thread(url: str) -> None:
    db = holdfast.connect(url)
    db.create_table("t", {"id": "INTEGER PRIMARY KEY"})
    in_a_thread(lambda: db.insert("t", {}))
    in_a_thread(db.close)
    assert not db.is_open
    with pytest.raises(ClosedError):
        db.count("t")
    with pytest.raises(ClosedError):
        in_a_thread(lambda: db.count("t"))


@pytest.fixture
def memory() -> Iterator[Database]:
    with holdfast.connect(":memory:") as database:
        yield database


def test_a_database_in_memory_is_one_for_all_threads(memory: Database) -> None:
    memory.create_table("t", {"id": "INTEGER PRIMARY KEY", "n": int})

    def write() -> None:
        for i in range(20):
            memory.insert("t", {"n": i})

    together(write, write, write)
    assert memory.count("t") == 60
    assert in_a_thread(lambda: memory.count("t")) == 60
    with memory.transaction():
        memory.insert("t", {"n": 1})
    assert in_a_thread(lambda: memory.count("t")) == 61


def test_two_databases_in_memory_are_two(memory: Database) -> None:
    memory.create_table("t", {"id": "INTEGER PRIMARY KEY"})
    with holdfast.connect(":memory:") as second:
        assert second.list_tables() == []


class Lingering(WeakSet[Any]):
    """Takes its time to be read, and says when it is."""

    def __init__(self, reading: threading.Event) -> None:
        super().__init__()
        self._reading = reading

    def __iter__(self) -> Iterator[Any]:
        for each in super().__iter__():
            self._reading.set()
            time.sleep(0.3)
            yield each


def test_a_thread_that_comes_while_another_changes_a_table_stops_neither(t: Database) -> None:
    reading, kept = threading.Event(), list(t._executor._sessions)
    t._executor._sessions = Lingering(reading)
    t._executor._sessions.update(kept)
    together(lambda: t.add_column("t", "extra", int), lambda: reading.wait(120) and t.count("t"))
    assert t.get_columns("t")[-1]["name"] == "extra"


FORKED_MEANWHILE = """
import os, sys, threading, holdfast
db = holdfast.connect(sys.argv[1])
lock = {"knowledge": db._executor._knowing, "tally": db._executor.tally._lock}[sys.argv[2]]
taken, ended = threading.Event(), threading.Event()

def hold():
    with lock:
        taken.set()
        ended.wait()

threading.Thread(target=hold).start()
taken.wait()
pid = os.fork()
if not pid:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY"})
    os._exit(3 if db.health().is_ok else 4)
timer = threading.Timer(60, os.kill, [pid, 9])
timer.start()
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
timer.cancel()
ended.set()
db.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("lock", ["knowledge", "tally"])
def test_a_child_of_a_fork_does_not_wait_for_a_thread_that_it_lacks(url: str, lock: str) -> None:
    run = [sys.executable, "-W", "ignore", "-c", FORKED_MEANWHILE, url, lock]
    done = subprocess.run(run, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("3\n", "")


CLOSED_UNDER_LOAD = """
import sys, tempfile, threading, time
from pathlib import Path
import holdfast

NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)"
NUMBERS += " SELECT i, '" + "x" * 500 + "' AS text FROM n"

def transactions(db):
    with db.transaction():
        db.insert("t", {"v": 1})
        db.insert("t", {"v": 2})
        db.select("t", limit=50)

def queries(db):
    db.query(NUMBERS)

def streams(db):
    for row in db.stream(NUMBERS, batch_size=100):
        pass

def columns(db):
    db.to_arrow(NUMBERS)

def imports(db):
    db.insert_many("t", ({"v": n} for n in range(2000)))

def schema(db):
    db.execute("CREATE TABLE IF NOT EXISTS t (id INTEGER)")
    db.get_columns("t")
    db.list_indexes("t")
    str(db.summary)

def advice(db):
    db.suggest_indexes(["SELECT * FROM t WHERE v = 3"])

def backups(db):
    with tempfile.TemporaryDirectory() as folder:
        db.backup_database(Path(folder) / "all.sql")

def work(db):
    try:
        while True:
            globals()[sys.argv[2]](db)
    except holdfast.Error:
        pass

for _ in range(15):
    db = holdfast.connect(sys.argv[1])
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": "INTEGER"}, if_not_exists=True)
    threads = [threading.Thread(target=work, args=(db,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.03)
    db.close()
    for thread in threads:
        thread.join()
    with holdfast.connect(sys.argv[1]) as other:
        assert other.count("t") % 2 == 0
        other.insert_many("t", [{"v": 3}] * 2)
"""


@pytest.mark.parametrize(
    "work", ["transactions", "queries", "streams", "columns", "imports", "schema", "advice", "backups"]
)
def test_closing_while_other_threads_work_breaks_nothing(url: str, work: str) -> None:
    run = [sys.executable, "-c", CLOSED_UNDER_LOAD, url, work]
    done = subprocess.run(run, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_closing_ends_what_another_thread_left_open(db: Database, url: str) -> None:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY"})
    begun, end = threading.Event(), threading.Event()

    def idle() -> None:
        db.begin_transaction()
        db.insert("t", {"id": 1})
        begun.set()
        end.wait()

    thread = threading.Thread(target=idle)
    thread.start()
    begun.wait()
    db.close()
    try:
        with holdfast.connect(url) as other:
            assert other.insert("t", {"id": 1}) == 1
    finally:
        end.set()
        thread.join()


def test_interrupting_a_connection_that_was_closed_meanwhile_does_nothing(db: Database) -> None:
    raw, interrupt = db._executor.session().raw, db._executor.engine.connect.interrupt
    db.close()
    interrupt(raw)


LEFT_STREAM = """
import gc, sys
import holdfast

with holdfast.connect(sys.argv[1]) as db:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY"})
    db.insert_many("t", [{"id": n} for n in range(50)])
    with db.transaction():
        rows = db.stream("t", batch_size=5)
        next(rows)
        knot = [rows]
        knot.append(knot)
        del rows, knot
        raw = db._executor.session().raw
        wait, raw.wait = raw.wait, lambda *args, **options: (gc.collect(), wait(*args, **options))[1]
        print(db.query("SELECT count(*) AS n FROM t"))
        raw.wait = wait
"""


@pytest.mark.parametrize("engine_name", ["embedded"], indirect=True)
def test_a_stream_that_was_left_may_be_collected_in_the_middle_of_another_statement(url: str) -> None:
    """Python collects garbage wherever it likes; closing the stream there would wait for that statement."""
    run = [sys.executable, "-c", LEFT_STREAM, url]
    done = subprocess.run(run, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("[{'n': 50}]\n", "")


FORKED = """
import os, signal, sys, threading
import holdfast

db = holdfast.connect(sys.argv[1])
db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"})
there, go_on, said = threading.Barrier(9), threading.Event(), []

def in_a_transaction():
    with db.transaction():
        db.insert("t", {"v": "before"})
        there.wait()
        go_on.wait()
        db.insert("t", {"v": "after"})

def by_hand():
    db.begin_transaction(read_only=True)
    db.count("t")
    there.wait()
    go_on.wait()
    db.count("t")
    db.commit()

def idle():
    db.count("t")
    there.wait()
    go_on.wait()
    db.count("t")

threads = [threading.Thread(target=work) for work in (in_a_transaction, by_hand, *[idle] * 6)]
for thread in threads:
    thread.start()
there.wait()
numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) SELECT i FROM n"
rows = db.stream(numbers)
next(rows)
child = os.fork()
if child == 0:
    signal.alarm(60)
    try:
        next(rows)
        list(rows)
    except holdfast.errors.TransactionError:
        os._exit(0)
    os._exit(1)
said.append(os.waitpid(child, 0)[1])
said.append(1 + len(list(rows)))
go_on.set()
for thread in threads:
    thread.join()
print(said, [row["v"] for row in db.select("t", order_by="id")], sum(db.health().retries.values()))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_disturbs_no_thread_of_the_parent(url: str) -> None:
    """What its threads had falls to pieces in the child, which must say nothing on their connections."""
    run = [sys.executable, "-c", FORKED, url]
    done = subprocess.run(run, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("[0, 5000] ['before', 'after'] 0\n", "")


FORKED_FILE = """
import os, signal, sys
import holdfast

db = holdfast.connect(sys.argv[1])
db.create_table("t", {"id": "INTEGER PRIMARY KEY"})
numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) SELECT i FROM n"
rows = db.stream(numbers)
next(rows)
written, closed = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    signal.alarm(60)
    db.insert("t", {"id": 1})
    os.write(written[1], b".")
    os.read(closed[0], 1)
    db.insert("t", {"id": 2})
    db.close()
    os._exit(0)
os.read(written[0], 1)
assert len(list(rows)) == 4999
db.close()
with holdfast.connect(sys.argv[1]) as other:
    other.insert("t", {"id": 3})
os.write(closed[1], b".")
print(os.waitpid(child, 0)[1])
with holdfast.connect(sys.argv[1]) as other:
    print([row["id"] for row in other.select("t", order_by="id")])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_what_the_child_of_a_fork_writes_stays_when_the_parent_closes(url: str) -> None:
    """SQLite's memory of the locks is copied to the child, and the locks are not."""
    run = [sys.executable, "-c", FORKED_FILE, url]
    done = subprocess.run(run, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("0\n[1, 2, 3]\n", "")
