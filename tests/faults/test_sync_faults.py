"""A sync that is killed, cut off, starved or run by many at once: the next round brings all together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import holdfast
import servers
from faults.children import TESTS
from faults.proxy import Moment, Proxy
from holdfast.core import transaction
from holdfast.errors import Error, ReadOnlyError
from holdfast.memory import Passage
from holdfast.sync import Sync
from sync.memories import notes, state
from sync.world import Commits, Fault

COLUMNS = {"id": "TEXT PRIMARY KEY", "name": "TEXT", "note": "TEXT"}
RENAME = "UPDATE runs SET name = ? WHERE id = 'both'"
MOST_COMMITS = 30


class Syncer:
    """Runs rounds in processes of their own."""

    def __init__(self) -> None:
        path = os.pathsep.join([str(TESTS), *filter(None, sys.path)])
        self._process = subprocess.Popen(
            [sys.executable, str(TESTS / "faults" / "syncer.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            text=True,
        )

    def run(self, *tasks: dict[str, Any]) -> list[int]:
        """Run rounds at once; how each process ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(tasks) + "\n")
        self._process.stdin.flush()
        return list(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.communicate(timeout=600)


@pytest.fixture(scope="module")
def syncer() -> Iterator[Syncer]:
    if os.name != "posix":
        pytest.skip("processes are killed with signals")
    made = Syncer()
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "embedded"])
def engine_name(request: pytest.FixtureRequest) -> str:
    """An ordinary server differs in nothing that matters here."""
    return str(request.param)


@pytest.fixture
def hub_url(engine_name: str, new_url: Callable[[], str]) -> str:
    """A hub of each engine, set up for two replicas."""
    return new_url()


@pytest.fixture
def replicas(hub_url: str, tmp_path: Path) -> list[str]:
    return _replicas(hub_url, tmp_path, 2)


def _replicas(hub_url: str, folder: Path, count: int) -> list[str]:
    found = [f"sqlite:///{folder}/replica{number}.db" for number in range(count)]
    with holdfast.connect(hub_url) as hub:
        hub.create_table("runs", COLUMNS)
        hub.insert("runs", {"id": "both", "name": "old", "note": "old"})
        for url in found:
            with holdfast.connect(url) as local:
                sync = Sync(local, hub, tables=["runs"])
                sync.enable()
                sync.run()
    return found


def changed(urls: list[str], number: int) -> None:
    """Each side has something to tell the others, and two have changed the same."""
    for url in urls:
        with holdfast.connect(url) as db:
            name = url.rpartition("/")[2]
            db.insert("runs", {"id": f"{name} {number}", "name": name, "note": None})
            if number:
                db.delete("runs", {"id": f"{name} {number - 1}"})
            db.update("runs", {"name": f"{name} {number}"}, {"id": "both"})


def assert_alike(hub_url: str, urls: list[str]) -> list[dict[str, Any]]:
    """One round of everybody, and another of all but the last, and all have the same rows."""
    with holdfast.connect(hub_url) as hub:
        for url in [*urls, *urls]:
            with holdfast.connect(url) as local:
                sync = Sync(local, hub, tables=["runs"])
                sync.run()
        rows = hub.select("runs", order_by="id")
        for url in urls:
            with holdfast.connect(url) as local:
                assert local.select("runs", order_by="id") == rows
                assert Sync(local, hub, tables=["runs"]).status().is_quiet
    return rows


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_every_commit(moment: str, hub_url: str, replicas: list[str], syncer: Syncer) -> None:
    """A real process and a real ``kill -9``, at each commit of either side, until a round has no more."""
    kills = 0
    for commit in range(1, MOST_COMMITS):
        changed([hub_url, *replicas], commit)
        task = {"local": replicas[0], "hub": hub_url, "commit": commit, "moment": moment}
        (ended,) = syncer.run(task)
        assert ended in (0, -9)
        rows = assert_alike(hub_url, replicas)
        assert len(rows) == 4, "each has inserted a row and removed the one before"
        if ended == 0:
            break
        kills += 1
    assert 5 <= kills < MOST_COMMITS - 1


@pytest.mark.parametrize("engine_name", ["embedded"])
def test_killed_at_every_commit_of_a_memory(hub_url: str, tmp_path: Path, syncer: Syncer) -> None:
    """The same with a memory: vectors and history come with what they belong to, in whichever round."""
    urls = [hub_url, *(f"sqlite:///{tmp_path}/replica{number}.db" for number in range(2))]
    with ExitStack() as opened:
        databases = [opened.enter_context(holdfast.connect(url)) for url in urls]
        syncs = [Sync(local, databases[0], tables=["notes"]) for local in databases[1:]]
        stores = [notes(database) for database in databases]
        last = [memory.insert(Passage(f"tea {place}")) for place, memory in enumerate(stores)]
        for sync in syncs:
            sync.enable()
            sync.run()
        for commit in range(1, MOST_COMMITS):
            for place, memory in enumerate(stores):
                old, last[place] = last[place], memory.insert(Passage(f"rain {place} {commit}"))
                memory.update(Passage(f"tea {place} {commit}", id=last[place]))
                memory.delete({"id": old})
                memory.insert(Passage(f"the same {commit}"))
            task = {"local": urls[1], "hub": hub_url, "commit": commit, "moment": "after"}
            (ended,) = syncer.run(task)
            assert ended in (0, -9)
            for sync in [*syncs, *syncs]:
                report = sync.run()
            assert (report.quarantined, report.paused) == (0, {})
            assert state(stores[0]) == state(stores[1]) == state(stores[2])
            assert stores[1].size() == 3 + commit
            assert len(stores[2].query("rain", top_k=1)) == 1
            if ended == 0:
                break
        assert 5 <= commit < MOST_COMMITS - 1
        assert syncs[0].conflicts() == []


def test_cut_at_every_commit(direct: str, through: Callable[..., str], proxy: Proxy, tmp_path: Path) -> None:
    """Before a COMMIT is sent, on its way, and after it: the run goes on, or the next one does."""
    urls, moments = _replicas(direct, tmp_path, 2), ("before", "during", "after")
    for number, moment in enumerate(moments):
        for skip in range(MOST_COMMITS):
            changed([direct, *urls], 100 * number + skip)
            before = proxy.faults
            _cut_at(urls[0], through(), proxy, moment, skip)
            is_over = proxy.faults == before
            proxy.forget()
            assert_alike(direct, urls)
            if is_over:
                break
        assert 3 <= skip < MOST_COMMITS - 1, moment


def _cut_at(local_url: str, hub_url: str, proxy: Proxy, moment: Moment, skip: int) -> None:
    with holdfast.connect(local_url) as local, holdfast.connect(hub_url) as hub:
        sync = Sync(local, hub, tables=["runs"])
        proxy.fault("COMMIT", moment, skip=skip)
        try:
            sync.run()
        except Error as exc:
            print(f"{moment} {skip}: {type(exc).__name__}")


def test_the_server_is_restarted_within_a_round(
    server: servers.Server, direct: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls, commits = _replicas(direct, tmp_path, 2), Commits()
    monkeypatch.setattr(transaction, "_commit", commits)
    for number, (commit, moment) in enumerate([(1, "after"), (2, "before"), (2, "after"), (4, "after")]):
        changed([direct, *urls], number)
        with holdfast.connect(urls[0]) as local, holdfast.connect(direct) as hub:
            with commits.during(Fault(commit, moment, lambda: server.restart("immediate"))):
                try:
                    Sync(local, hub, tables=["runs"]).run()
                except Error as exc:
                    print(f"{commit} {moment}: {type(exc).__name__}")
            assert commits.fault is None
        assert_alike(direct, urls)


def test_two_runs_of_one_replica_at_once(hub_url: str, replicas: list[str], syncer: Syncer) -> None:
    for number in range(3):
        changed([hub_url, *replicas], number)
        same = {"local": replicas[0], "hub": hub_url, "rounds": 3, "write": [RENAME]}
        assert syncer.run(same, same) == [0, 0]
        assert len(assert_alike(hub_url, replicas)) == 4


def test_six_replicas_on_one_hub(hub_url: str, tmp_path: Path, syncer: Syncer) -> None:
    urls = _replicas(hub_url, tmp_path, 6)
    write = [RENAME, "INSERT INTO runs (id, name) VALUES (hex(randomblob(8)), ?)"]
    tasks = [{"local": url, "hub": hub_url, "rounds": 4, "write": write} for url in urls]
    assert syncer.run(*tasks) == [0] * 6
    rows = assert_alike(hub_url, urls)
    assert len(rows) == 1 + 6 * 4
    with holdfast.connect(hub_url) as hub:
        kept = {row["name"] for row in rows if row["id"] == "both"}
        with holdfast.connect(urls[0]) as local:
            lost = {conflict.ours["name"] for conflict in Sync(local, hub).conflicts() if conflict.ours}
    assert not kept & lost


def test_a_full_disk_of_the_replica(hub_url: str, replicas: list[str], syncer: Syncer) -> None:
    """A file that may not grow: what was taken in is taken back, and comes with the next round."""
    with holdfast.connect(hub_url) as hub:
        hub.insert_many("runs", [{"id": f"r{n}", "name": "x" * 500, "note": None} for n in range(500)])
    size = Path(replicas[0].removeprefix("sqlite:///")).stat().st_size
    task = {"local": replicas[0], "hub": hub_url, "limit": size + 8192}
    assert syncer.run(task) == [3]
    with holdfast.connect(replicas[0]) as local:
        assert local.count("runs") == 1
    assert len(assert_alike(hub_url, replicas)) == 501


def test_a_replica_that_may_only_be_read(hub_url: str, replicas: list[str]) -> None:
    changed([hub_url, *replicas], 0)
    with holdfast.connect(hub_url) as hub, holdfast.connect(replicas[0], read_only=True) as local:
        sync = Sync(local, hub, tables=["runs"])
        with pytest.raises(ReadOnlyError):
            sync.run()
        assert sync.status().pending == {"runs": 2}
    assert len(assert_alike(hub_url, replicas)) == 4
