"""What a round costs: nothing of it grows with the rows that did not change, and memory stays flat."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import holdfast
from engines.test_statements import counted
from holdfast.core.executor import Executor
from holdfast.sync import Sync

Opened = Callable[[str], holdfast.Database]
COLUMNS = {"id": "TEXT PRIMARY KEY", "name": "TEXT", "score": "REAL"}
MILLION = """
import sys, holdfast
from holdfast.sync import Sync
def most_memory():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
local, other, hub = map(holdfast.connect, sys.argv[1:])
for database in (local, other):
    database.create_table("runs", {"id": "TEXT PRIMARY KEY", "name": "TEXT", "score": "REAL"})
local.insert_many("runs", ({"id": f"r{n:07}", "name": f"run {n}", "score": n / 7} for n in range(1_000_000)))
mine, theirs = Sync(local, hub), Sync(other, hub)
mine.enable(), theirs.enable()
before = most_memory()
assert (mine.run().pushed, theirs.run().pulled) == (1_000_000, 1_000_000)
local.execute("UPDATE runs SET score = score + 1")
assert (mine.run().pushed, theirs.run().pulled) == (1_000_000, 1_000_000)
used = most_memory() - before
for database in (hub, other):
    (table,) = holdfast.diff(local, database).tables
    assert table.has_equal_rows and table.rows_a == 1_000_000
print(used)
"""


def rows(first: int, last: int) -> list[dict[str, object]]:
    return [{"id": f"r{n:07}", "name": f"run {n}", "score": n / 7} for n in range(first, last)]


def _statements(
    sync: Sync, local: holdfast.Database, hub: holdfast.Database, engines: tuple[str, str], folder: Path
) -> tuple[int, int]:
    (folder / "here").mkdir(exist_ok=True), (folder / "there").mkdir(exist_ok=True)
    with (
        counted(local, folder / "here", engines[0]) as here,
        counted(hub, folder / "there", engines[1]) as there,
    ):
        sync.run()
    return len(here), len(there)


def test_a_quiet_round_is_the_same_statements_however_many_rows_there_are(
    way: tuple[str, str], opened: Opened, tmp_path: Path
) -> None:
    local, hub = opened(way[0]), opened(way[1])
    local.create_table("runs", COLUMNS)
    sync = Sync(local, hub)
    sync.enable()
    found = []
    for first, last in ((0, 10), (10, 5_000)):
        local.insert_many("runs", rows(first, last))
        sync.run(), sync.run()
        found.append(_statements(sync, local, hub, way, tmp_path))
    assert found[0] == found[1]
    assert sum(found[0]) < 120


@pytest.mark.parametrize("way", ["sqlite-postgres", "sqlite-sqlite"])
def test_a_change_of_one_row_is_the_same_statements_however_many_rows_there_are(
    way: str, opened: Opened, tmp_path: Path
) -> None:
    engines = (way.split("-")[0], way.split("-")[1])
    local, hub = opened(engines[0]), opened(engines[1])
    local.create_table("runs", COLUMNS)
    sync = Sync(local, hub)
    sync.enable()
    found = []
    for first, last in ((0, 10), (10, 5_000)):
        local.insert_many("runs", rows(first, last))
        sync.run(), sync.run()
        local.update("runs", {"name": f"changed {last}"}, {"id": "r0000001"})
        found.append(_statements(sync, local, hub, engines, tmp_path))
    assert found[0] == found[1]


@pytest.mark.parametrize("way", ["sqlite-postgres", "sqlite-sqlite"])
def test_memory_stays_flat(way: str, opened: Opened) -> None:
    """A first sync of 50,000 rows, there and to another replica, takes no more than that of a batch."""
    engines = way.split("-")
    local, other, hub = opened(engines[0]), opened(engines[0]), opened(engines[1])
    local.create_table("runs", COLUMNS)
    local.insert_many("runs", rows(0, 50_000))
    mine, theirs = Sync(local, hub), Sync(other, hub)
    mine.enable(), theirs.enable()
    for sync in (mine, theirs):
        tracemalloc.start()
        try:
            sync.run()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 24 * 2**20, f"{peak / 2**20:.1f} MiB"
    assert other.count("runs") == 50_000


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc, which says how much was used")
def test_memory_stays_flat_with_a_million_rows(way: tuple[str, str], opened: Opened) -> None:
    """A first sync of them, there and to another replica, and a round in which all were changed."""
    urls = [opened(engine).url for engine in (way[0], way[0], way[1])]
    done = subprocess.run(
        [sys.executable, "-c", MILLION, *urls], capture_output=True, text=True, timeout=3_000, check=False
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    used = int(done.stdout) / 1024
    print(f"{way[0]} to {way[1]}: {used:.1f} MiB above what it took before")
    assert used < 64, f"{used:.1f} MiB"


def test_no_plan_of_a_push_looks_through_a_batch_for_each_row(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some rounds a prepared statement is planned without its values: 20,000 rows took 15 s then."""
    local, hub = opened("sqlite"), opened("postgres")
    local.create_table("runs", COLUMNS)
    sync = Sync(local, hub)
    sync.enable(), sync.run()
    plans: list[str] = []
    rows_of, marks = Executor.rows, [f"${place}" for place in range(1, 9)]

    def explained(self: Executor, sql: str, params: Any = ()) -> list[tuple[Any, ...]]:
        if self is hub._executor and "_stage" in sql and sql.startswith("SELECT"):
            generic = "EXPLAIN (GENERIC_PLAN) " + sql.replace("?", "{}").format(*marks)
            with self.driver_connection().cursor(binary=False) as cursor:
                cursor.execute(generic.encode())
                plans.append("\n".join(line for (line,) in cursor.fetchall()))
        return rows_of(self, sql, params)

    monkeypatch.setattr(Executor, "rows", explained)
    for first in range(0, 50_000, 10_000):
        local.insert_many("runs", rows(first, first + 10_000))
        plans.clear()
        sync.run()
    assert any("_feed" in plan for plan in plans)
    for plan in plans:
        inner = [line for line in plan.splitlines() if "Seq Scan on hf_sync_1_stage" in line]
        assert not inner or "Nested Loop" not in plan, plan


@pytest.mark.parametrize("way", ["postgres-sqlite", "sqlite-postgres"])
def test_no_trigger_looks_through_all_rows_for_each(way: str, opened: Opened) -> None:
    """A session plans a trigger once, for one row here; an update of 20,000 rows took 38 s then."""
    engines = way.split("-")
    local, hub = opened(engines[0]), opened(engines[1])
    local.create_table("runs", COLUMNS)
    Sync(local, hub).enable()
    server = hub if engines[1] == "postgres" else local
    server.insert_many("runs", rows(0, 50))
    plans: list[str] = []
    with server.transaction():
        raw = server._executor.driver_connection()
        raw.add_notice_handler(
            lambda notice: plans.append(notice.message_primary + (notice.message_detail or ""))
        )
        server.execute("SET LOCAL client_min_messages = log")
        server.execute("SET LOCAL debug_print_plan = on")
        server.execute("UPDATE runs SET score = score + 1 WHERE id = 'r0000007'")
    found = [plan for plan in plans if "NAMEDTUPLESTORESCAN" in plan]
    assert len(found) == 2
    assert not any("NESTLOOP" in plan for plan in found)
