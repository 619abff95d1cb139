"""Copying databases while others write, and while things break: one moment's state, all or nothing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.errors import ConnectionLost, DatabaseError, Error
from holdfast.transfer import copy

ROWS = 30_000
CLI = "import sys; from holdfast.cli.main import run; run(sys.argv[1:])"


@pytest.fixture
def source(tmp_path: Path) -> Iterator[holdfast.Database]:
    """A file with two tables that refer to each other, and some rows more than one batch."""
    with holdfast.connect(tmp_path / "source.db") as made:
        made.create_table("runs", {"id": "INTEGER PRIMARY KEY", "name": "TEXT NOT NULL"})
        made.create_table("notes", {"id": "INTEGER PRIMARY KEY", "run": "INTEGER REFERENCES runs(id)"})
        made.insert_many("runs", ({"id": n, "name": f"run {n}"} for n in range(ROWS)))
        made.insert_many("notes", ({"id": n, "run": n} for n in range(ROWS)))
        yield made


def at_batch(number: int, action: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have ``action`` done when so many batches have been read."""
    batches = copy.read_batches
    seen = 0

    def counted(*args: Any) -> Iterator[Any]:
        nonlocal seen
        for batch in batches(*args):
            seen += 1
            if seen == number:
                action()
            yield batch

    monkeypatch.setattr(copy, "read_batches", counted)


def assert_whole(source: holdfast.Database, target: holdfast.Database) -> None:
    for name in ("runs", "notes"):
        assert target.select(name, order_by="id") == source.select(name, order_by="id")


def test_a_copy_is_the_state_of_one_moment(url: str, db: holdfast.Database) -> None:
    """Each transaction of the writer adds a row to both tables, and moves a number from row to row."""
    for name in ("first", "second"):
        db.create_table(name, {"id": "INTEGER PRIMARY KEY", "n": int})
        db.insert_many(name, [{"id": n, "n": 10} for n in range(5_000)])
    stop = threading.Event()

    def write() -> None:
        number = 5_000
        with holdfast.connect(url) as other:
            while not stop.is_set():
                with other.transaction():
                    other.insert("first", {"id": number, "n": 10})
                    other.execute("UPDATE first SET n = n - 1 WHERE id = ?", [number % 5_000])
                    other.execute("UPDATE second SET n = n + 1 WHERE id = ?", [4_999 - number % 5_000])
                    other.insert("second", {"id": number, "n": 10})
                number += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        sums = set()
        for _ in range(4):
            with holdfast.connect(":memory:") as target:
                holdfast.copy_database(db, target)
                rows, total = target.count("first"), target.query("SELECT sum(n) AS s FROM first")[0]["s"]
                assert target.count("second") == rows
                other_total = target.query("SELECT sum(n) AS s FROM second")[0]["s"]
                assert total + other_total == rows * 20
                assert 10 * rows - total == rows - 5_000
                sums.add(rows)
    finally:
        stop.set()
        thread.join()
    assert len(sums) > 1, "nobody wrote meanwhile"


@pytest.mark.parametrize("number", [1, 9, 20, 31, 45])
def test_an_interrupt_leaves_the_target_as_it_was(
    source: holdfast.Database, db: holdfast.Database, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.create_table("mine", {"id": "INTEGER PRIMARY KEY"})

    def interrupt() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        at_batch(number, interrupt, patch)
        with pytest.raises(KeyboardInterrupt):
            holdfast.copy_database(source, db)
    assert db.list_tables() == ["mine"]
    assert not db._executor.in_transaction
    assert not source._executor.in_transaction
    source.update("runs", {"name": "written"}, {"id": 1})
    holdfast.copy_database(source, db)
    assert_whole(source, db)


@pytest.mark.parametrize("number", [3, 20, 40])
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_lost_connection_leaves_the_target_as_it_was(
    source: holdfast.Database,
    db: holdfast.Database,
    url: str,
    engine_name: str,
    side: str,
    number: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A copy reads 30 batches, and then 30 of what it wrote."""
    if engine_name == "sqlite":
        pytest.skip("a file has no server that could go away")
    lite = holdfast.connect(":memory:")
    if side == "source":
        holdfast.copy_database(source, db)
    origin, target = (source, db) if side == "target" else (db, lite)
    pid = db.query("SELECT pg_backend_pid() AS pid")[0]["pid"]
    with lite, holdfast.connect(url) as other, monkeypatch.context() as patch:
        at_batch(number, lambda: other.query("SELECT pg_terminate_backend(?, 5000)", [pid]), patch)
        if (side, number) == ("source", 40):
            # It is being compared: nothing more is asked of the source.
            holdfast.copy_database(origin, target)
        else:
            with pytest.raises(ConnectionLost):
                holdfast.copy_database(origin, target)
            assert target.list_tables() == []
            patch.undo()
            holdfast.copy_database(origin, target)
        assert_whole(origin, target)


def test_a_full_disk_leaves_the_target_as_it_was(source: holdfast.Database, tmp_path: Path) -> None:
    with holdfast.connect(tmp_path / "target.db") as target:
        target.create_table("mine", {"id": "INTEGER PRIMARY KEY"})
        target.execute("PRAGMA max_page_count = 100")
        with pytest.raises(DatabaseError, match="full"):
            holdfast.copy_database(source, target)
        assert target.list_tables() == ["mine"]
        target.execute("PRAGMA max_page_count = 1000000")
        holdfast.copy_database(source, target)
        assert_whole(source, target)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_copy_that_is_stopped_at_any_time(
    source: holdfast.Database, db: holdfast.Database, url: str, tmp_path: Path, how: signal.Signals
) -> None:
    """The command as a process, stopped after any time; what is there is everything or nothing."""
    random_times = random.Random(7)
    command = [sys.executable, "-c", CLI, "copy", str(tmp_path / "source.db"), url]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for _ in range(3):
        started = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        time.sleep(random_times.uniform(0.4, 1.6))
        started.send_signal(how)
        out, error = started.communicate(timeout=600)
        if started.returncode == 0:
            assert "copied 60000 rows" in out
        elif how == signal.SIGINT:
            assert (started.returncode, error) in ((130, "Interrupted\n"), (-2, error), (1, error)), error
        for _ in range(100):
            # A server needs a moment to notice that its client is gone.
            try:
                tables = db.list_tables()
                if tables:
                    assert_whole(source, db)
                    db.drop_table("notes")
                    db.drop_table("runs")
                break
            except Error:
                time.sleep(0.05)
    holdfast.copy_database(source, db)
    assert_whole(source, db)


MEMORY = """
import sys, holdfast

def most_memory():
    # Not getrusage: after a fork it starts with what the parent had.
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

with holdfast.connect(sys.argv[1], read_only=True) as source, holdfast.connect(sys.argv[2]) as target:
    source.count("flights"), target.list_tables()
    before = most_memory()
    holdfast.copy_database(source, target)
    print((most_memory() - before) // 1024)
"""


def copied_within(origin: str, target: str) -> int:
    """Copy in a process of its own; the MiB that it took."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEMORY), origin, target],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize("rows", [200_000, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_memory_stays_flat(rows: int, url: str, tmp_path: Path) -> None:
    there, back = str(tmp_path / "flights.db"), str(tmp_path / "back.db")
    columns = {"day": "DATE", "carrier": "TEXT", "delay": "REAL", "tail": "TEXT", "miles": int}
    with holdfast.connect(there) as source:
        source.create_table("flights", {"id": "INTEGER PRIMARY KEY", **columns})
        made = ((n, date(2013, n % 12 + 1, 1), "UA", n / 7, f"N{n}", n) for n in range(rows))
        source.insert_many("flights", made)
    assert copied_within(there, url) < 64
    assert copied_within(url, back) < 64
    with holdfast.connect(back) as copied:
        assert copied.count("flights") == rows
