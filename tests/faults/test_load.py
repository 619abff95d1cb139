"""A server that is stopped, or loses connections, while threads write: nothing acknowledged is lost."""

from __future__ import annotations

import gc
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import holdfast
import servers
from faults.proxy import Moment, Proxy
from holdfast import Database
from holdfast.errors import CommitUnknown, ConnectionFailed, ConnectionLost, Error

ROWS = 3
"""Rows of each transaction; its number is in each of them."""


@dataclass
class Told:
    """What the writers were told of their transactions, by number."""

    kept: set[int] = field(default_factory=set)
    undone: set[int] = field(default_factory=set)
    unknown: set[int] = field(default_factory=set)
    strange: list[BaseException] = field(default_factory=list)


def write(db: Database, numbers: Iterator[int], told: Told, stop: threading.Event) -> None:
    """Write transactions of three rows each, in the three ways there are, and note what is said of each."""
    while not stop.is_set():
        number = next(numbers)
        rows = [{"tx": number, "n": n} for n in range(ROWS)]
        try:
            if number % 3 == 0:
                db.insert_many("t", rows)
            elif number % 3 == 1:
                db.run_transaction(lambda rows=rows: [db.insert("t", row) for row in rows])
            else:
                with db.transaction():
                    for row in rows:
                        db.insert("t", row)
                    db.count("t", {"tx": number})
            told.kept.add(number)
        except CommitUnknown:
            told.unknown.add(number)
        except ConnectionFailed:
            told.undone.add(number)
        except BaseException as exc:
            told.strange.append(exc)
            return


def under_load(
    url: str, direct: str, fault: Callable[[], None], *, times: int, pause: Callable[[], float]
) -> tuple[Told, dict[str, int]]:
    """Let four threads write while ``fault`` happens again and again; then compare what is there."""
    told, stop = Told(), threading.Event()
    with holdfast.connect(direct) as watch:
        watch.create_table("t", {"id": "INTEGER PRIMARY KEY", "tx": int, "n": int})
    with holdfast.connect(url, reconnect_timeout=120) as db:
        lock, given = threading.Lock(), iter(range(10**9))

        def numbers() -> Iterator[int]:
            while True:
                with lock:
                    number = next(given)
                yield number

        threads = [threading.Thread(target=write, args=(db, numbers(), told, stop)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(times):
            time.sleep(pause())
            fault()
        before = len(told.kept)
        deadline = time.monotonic() + 120
        while len(told.kept) < before + 4 and time.monotonic() < deadline:
            time.sleep(0.05)
        stop.set()
        for thread in threads:
            thread.join(300)
        assert not any(thread.is_alive() for thread in threads)
        assert len(told.kept) >= before + 4, "it goes on by itself"
        assert db.health().is_ok
        retries = db.health().retries
    if told.strange:
        raise told.strange[0]
    with holdfast.connect(direct) as watch:
        found = {row["tx"]: row["c"] for row in watch.query("SELECT tx, count(*) AS c FROM t GROUP BY tx")}
    assert set(found.values()) <= {ROWS}, "whole or absent"
    assert told.kept <= found.keys(), "what was acknowledged is there"
    assert not told.undone & found.keys(), "what was said to be undone is not"
    assert found.keys() <= told.kept | told.unknown
    print(f"kept {len(told.kept)}, undone {len(told.undone)}, unknown {len(told.unknown)}, {retries}")
    return told, retries


def seeded() -> random.Random:
    seed = int(os.environ.get("HOLDFAST_SEED") or random.randrange(10**6))
    print(f"HOLDFAST_SEED={seed}")
    return random.Random(seed)


def end_all(server: servers.Server, dbname: str) -> None:
    with holdfast.connect(server.url(dbname)) as watch:
        watch.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def check_ended(server: servers.Server, dbname: str, direct: str, times: int) -> None:
    chance = seeded()
    told, retries = under_load(
        direct,
        direct,
        lambda: end_all(server, dbname),
        times=times,
        pause=lambda: chance.uniform(0.05, 0.3),
    )
    assert not told.unknown, "a COMMIT that was lost could be looked up each time"
    assert sum(retries.values()) > 0


def test_every_backend_ended_under_load(server: servers.Server, dbname: str, direct: str) -> None:
    check_ended(server, dbname, direct, 8)


@pytest.mark.long
def test_every_backend_ended_under_load_for_long(server: servers.Server, dbname: str, direct: str) -> None:
    check_ended(server, dbname, direct, 150)


def check_restarted(server: servers.Server, direct: str, times: int) -> None:
    chance = seeded()

    def restart() -> None:
        # fast: sessions are ended; immediate: a crash, and recovery at the next start
        server.stop(chance.choice(["fast", "immediate"]))
        time.sleep(chance.uniform(0, 0.3))
        server.start()

    # A COMMIT that a restart cut off may stay unknown: the server may have given its number again.
    under_load(direct, direct, restart, times=times, pause=lambda: chance.uniform(0.1, 0.5))


def test_a_server_stopped_and_started_under_load(server: servers.Server, direct: str) -> None:
    check_restarted(server, direct, 2)


@pytest.mark.long
def test_a_server_stopped_and_started_under_load_for_long(server: servers.Server, direct: str) -> None:
    check_restarted(server, direct, 25)


def check_cut(direct: str, through: Callable[[], str], proxy: Proxy, times: int) -> None:
    chance = seeded()
    moments: list[Moment] = ["before", "during", "after"]

    def fault() -> None:
        if chance.random() < 0.3:
            proxy.cut()
        else:
            proxy.fault(chance.choice(["COMMIT", "BEGIN", "INSERT", "SELECT"]), chance.choice(moments))

    told, _ = under_load(through(), direct, fault, times=times, pause=lambda: chance.uniform(0, 0.1))
    assert not told.unknown


def test_connections_cut_under_load(direct: str, through: Callable[[], str], proxy: Proxy) -> None:
    check_cut(direct, through, proxy, 30)


@pytest.mark.long
def test_connections_cut_under_load_for_long(direct: str, through: Callable[[], str], proxy: Proxy) -> None:
    check_cut(direct, through, proxy, 600)


def test_calls_go_on_by_themselves_while_the_server_is_away_for_a_moment(
    server: servers.Server, direct: str
) -> None:
    """Single calls of a program that knows nothing of any of this: how many fail in a restart?"""
    failed: list[Error] = []
    done = 0
    with holdfast.connect(direct, reconnect_timeout=120) as db:
        db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"})
        restarting = threading.Thread(target=lambda: (time.sleep(0.2), server.restart()))
        restarting.start()
        while restarting.is_alive() or done < 20:
            for call in (lambda: db.insert("t", {"v": "a"}), lambda: db.count("t")):
                try:
                    call()
                    done += 1
                except (CommitUnknown, ConnectionLost) as exc:
                    failed.append(exc)
        restarting.join()
    assert len(failed) <= 1, "at most the one write that was under way"


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def check_closed(server: servers.Server, direct: str, tmp_path: Path, times: int) -> None:
    def use(url: str | Path, number: int) -> None:
        db = holdfast.connect(url)
        db.create_table("t", {"id": "INTEGER PRIMARY KEY"}, if_not_exists=True)
        thread = threading.Thread(target=db.insert, args=("t", {}))
        thread.start()
        db.insert("t", {})
        thread.join()
        rows = db.stream("t", batch_size=1)
        next(rows)
        if number % 3:
            rows.close()
        if number % 2:
            db.begin_transaction()
            db.insert("t", {})
        db.close()

    def sessions() -> int:
        found = server.execute("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
        return int(found[0][0])

    use(direct, 0)
    use(tmp_path / "runs0.db", 0)
    gc.collect()
    files, connections = open_files(), sessions()
    for number in range(times):
        use(direct, number)
        use(tmp_path / f"runs{number}.db", number)
    gc.collect()
    deadline = time.monotonic() + 120
    while sessions() > connections and time.monotonic() < deadline:
        time.sleep(0.1)
    assert sessions() <= connections
    assert open_files() <= files


NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc here")


@NEEDS_PROC
def test_databases_leave_no_connection_and_no_file(
    server: servers.Server, direct: str, tmp_path: Path
) -> None:
    check_closed(server, direct, tmp_path, 10)


@NEEDS_PROC
@pytest.mark.long
def test_two_hundred_databases_leave_no_connection_and_no_file(
    server: servers.Server, direct: str, tmp_path: Path
) -> None:
    check_closed(server, direct, tmp_path, 100)
