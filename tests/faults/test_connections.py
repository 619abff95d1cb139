"""Connections that are cut, stalled or ended: what is done again, what never is, and what is said."""

from __future__ import annotations

import logging
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
import servers
from faults.proxy import Moment, Proxy
from holdfast import Database
from holdfast.engines.postgres import connect as postgres
from holdfast.errors import (
    CommitUnknown,
    ConnectionFailed,
    ConnectionLost,
    DatabaseError,
    Error,
    TransactionAborted,
)

MOMENTS: tuple[Moment, ...] = ("before", "during", "after")


@pytest.fixture
def watch(direct: str) -> Iterator[Database]:
    """Another way to the same database, which nothing happens to."""
    with holdfast.connect(direct) as db:
        db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"})
        yield db


@pytest.fixture
def db(watch: Database, through: Callable[[], str]) -> Iterator[Database]:
    with holdfast.connect(through()) as database:
        yield database


def end_backends(watch: Database) -> int:
    """Have the server end every other connection to the database."""
    ended = watch.query(
        "SELECT pg_terminate_backend(pid, 5000) AS ended FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    return len(ended)


# A connection that had died before anything was sent on it


@pytest.mark.parametrize(
    "call",
    [
        lambda db: db.insert("t", {"id": 2, "v": "b"}),
        lambda db: db.insert_many("t", [{"id": 2, "v": "b"}]),
        lambda db: db.update("t", {"v": "b"}, {"id": 1}),
        lambda db: db.select("t"),
        lambda db: db.execute("INSERT INTO t VALUES (2, 'b')"),
        lambda db: db.run_transaction(lambda: db.insert("t", {"id": 2, "v": "b"})),
        lambda db: list(db.stream("t")),
        lambda db: db.create_table("u", {"id": "INTEGER PRIMARY KEY"}),
        lambda db: db.health().is_ok or pytest.fail("not ok"),
    ],
    ids=[
        "insert",
        "insert_many",
        "update",
        "select",
        "execute",
        "run_transaction",
        "stream",
        "ddl",
        "health",
    ],
)
def test_no_call_fails_after_every_backend_was_ended(
    db: Database, watch: Database, call: Callable[[Database], Any]
) -> None:
    db.insert("t", {"id": 1, "v": "a"})
    assert end_backends(watch) >= 1
    call(db)
    assert watch.count("t") in (1, 2)


def test_a_block_that_begins_after_the_server_was_started_anew_is_kept(
    db: Database, watch: Database, server: servers.Server
) -> None:
    db.insert("t", {"id": 1, "v": "a"})
    server.restart()
    with db.transaction():
        db.insert("t", {"id": 2, "v": "b"})
    assert [row["id"] for row in watch.select("t", order_by="id")] == [1, 2]
    assert db.health().retries["statements"] >= 1


def test_a_call_waits_for_a_server_that_is_starting(
    db: Database, watch: Database, server: servers.Server
) -> None:
    db.insert("t", {"id": 1, "v": "a"})
    server.stop()
    starting = threading.Timer(0.5, server.start)
    starting.start()
    assert db.select("t") == [{"id": 1, "v": "a"}]
    starting.join()
    assert db.health().retries["reconnects"] >= 1


def test_connect_waits_for_a_server_that_has_yet_to_start(direct: str, server: servers.Server) -> None:
    server.stop()
    with pytest.raises(ConnectionFailed, match="cannot be reached"):
        holdfast.connect(direct)
    starting = threading.Timer(0.5, server.start)
    starting.start()
    with holdfast.connect(direct, wait_until_ready=20) as db:
        starting.join()
        assert db.query("SELECT 1 AS a") == [{"a": 1}]
        server.stop()
        with pytest.raises(ConnectionFailed):
            db.wait_until_ready(0.3)
        starting = threading.Timer(0.5, server.start)
        starting.start()
        db.wait_until_ready(20)
        starting.join()
        assert db.health().is_ok


def test_what_cannot_pass_is_not_waited_for(direct: str, server: servers.Server) -> None:
    wrong = direct.rpartition("/")[0] + "/no_such_database"
    started = time.monotonic()
    with pytest.raises(ConnectionFailed, match="no database") as caught:
        holdfast.connect(wrong, wait_until_ready=20)
    assert not caught.value.is_temporary
    assert time.monotonic() - started < 19


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux has these")
def test_a_silent_network_is_given_up(direct: str) -> None:
    """Nothing here can drop packets, so this asks the kernel what it was told."""
    with holdfast.connect(direct) as db:
        number = os.dup(db._executor.driver_connection().fileno())
        with socket.socket(fileno=number) as wire:
            told = [
                wire.getsockopt(socket.IPPROTO_TCP, option)
                for option in (
                    socket.TCP_USER_TIMEOUT,
                    socket.TCP_KEEPIDLE,
                    socket.TCP_KEEPINTVL,
                    socket.TCP_KEEPCNT,
                )
            ]
    assert told == [30_000, 15, 5, 3]


def test_the_wait_for_a_server_has_an_end(watch: Database, through: Callable[[], str], proxy: Proxy) -> None:
    with holdfast.connect(through(), reconnect_timeout=0.5) as db:
        proxy.refuse()
        for _ in range(5):  # a machine that does much else is given another chance
            started = time.monotonic()
            with pytest.raises(ConnectionFailed):
                db.insert("t", {"id": 1})
            if (waited := time.monotonic() - started) < 4:
                break
        assert 0.3 < waited < 4
        health = db.health()
        assert not health.is_ok
        assert health.last_error is not None
        proxy.refuse(False)
        db.insert("t", {"id": 2})
        assert db.health().is_ok
    assert [row["id"] for row in watch.select("t")] == [2]


# Lost while a statement ran, outside a transaction


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_read_is_done_again(db: Database, proxy: Proxy, moment: Moment) -> None:
    db.insert("t", {"id": 1, "v": "a"})
    db.select("t")
    proxy.fault("SELECT", moment)
    assert db.select("t") == [{"id": 1, "v": "a"}]
    assert proxy.faults == 1
    assert db.health().retries["statements"] >= 1


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_write_is_never_done_again(db: Database, watch: Database, proxy: Proxy, moment: Moment) -> None:
    db.insert("t", {"id": 1, "v": "a"})
    proxy.fault("INSERT", moment)
    with pytest.raises(CommitUnknown) as caught:
        db.insert("t", {"id": 2, "v": "b"})
    assert "idempotency_key" in str(caught.value.hint)
    assert not isinstance(caught.value, ConnectionFailed), "code that tries again must not take it for one"
    time.sleep(0.2)
    present = watch.exists("t", {"id": 2})
    assert present in {"before": (False,), "during": (False, True), "after": (True,)}[moment]
    db.insert("t", {"id": 3, "v": "c"})
    assert watch.exists("t", {"id": 3})


def test_a_select_that_writes_is_not_taken_for_a_read(db: Database, watch: Database, proxy: Proxy) -> None:
    watch.execute(
        "CREATE FUNCTION put(n int) RETURNS int LANGUAGE sql AS 'INSERT INTO t VALUES (n) RETURNING id'"
    )
    db.query("SELECT put(1)")
    proxy.fault("SELECT put", "after")
    with pytest.raises(CommitUnknown):
        db.query("SELECT put(2)")
    time.sleep(0.2)
    assert [row["id"] for row in watch.select("t", order_by="id")] == [1, 2]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_statement_inside_a_transaction_is_never_done_again(
    db: Database, watch: Database, proxy: Proxy, moment: Moment
) -> None:
    db.insert("t", {"id": 1, "v": "a"})
    with pytest.raises((ConnectionLost, TransactionAborted)), db.transaction():  # noqa: PT012
        db.insert("t", {"id": 2, "v": "b"})
        proxy.fault("SELECT", moment)
        with pytest.raises(ConnectionLost):
            db.query("SELECT v FROM t")
        with pytest.raises(TransactionAborted):
            db.insert("t", {"id": 3, "v": "c"})
    time.sleep(0.2)
    assert [row["id"] for row in watch.select("t")] == [1]
    db.insert("t", {"id": 4, "v": "d"})


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("statement", ["INSERT", "UPDATE", "COMMIT", "BEGIN"])
def test_a_write_with_an_idempotency_key_is_done_again_and_once(
    db: Database, watch: Database, proxy: Proxy, statement: str, moment: Moment
) -> None:
    watch.insert("t", {"id": 1, "v": "a"}, idempotency_key="first")
    db.insert("t", {"id": 2, "v": "b"}, idempotency_key="second")
    proxy.fault(statement, moment)
    assert db.insert("t", {"id": 3, "v": "c"}, idempotency_key="third") == 3
    assert proxy.faults == 1
    assert db.insert("t", {"id": 3, "v": "c"}, idempotency_key="third") == 3
    assert [row["id"] for row in watch.select("t", order_by="id")] == [1, 2, 3]


# COMMIT


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_lost_commit_is_looked_up(db: Database, watch: Database, proxy: Proxy, moment: Moment) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    pauses = random.Random(seed)
    resolved = []
    for number in range(6):
        proxy.fault("COMMIT", moment)
        try:
            with db.transaction():
                db.insert("t", {"id": 2 * number, "v": "a"})
                db.insert("t", {"id": 2 * number + 1, "v": "b"})
            kept = True
        except ConnectionLost:
            kept = False
        time.sleep(pauses.uniform(0, 0.02))
        assert watch.count("t", {"id": [2 * number, 2 * number + 1]}) == (2 if kept else 0)
        resolved.append(kept)
        assert db.count("t") == watch.count("t"), "the connection is usable afterwards"
    assert proxy.faults == 6
    if moment != "during":
        assert set(resolved) == {moment == "after"}
    assert db.health().retries["commits_unknown"] == 0
    assert db.health().retries["commits_resolved"] == 6


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_stalled_commit_is_given_up_and_looked_up(
    watch: Database,
    through: Callable[[], str],
    proxy: Proxy,
    moment: Moment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres, "GRACE", 0.2)
    with holdfast.connect(through(), statement_timeout=2) as db:
        proxy.fault("COMMIT", moment, stall=True)
        started = time.monotonic()
        try:
            with db.transaction():
                db.insert("t", {"id": 1, "v": "a"})
            kept = True
        except ConnectionLost:
            kept = False
        assert time.monotonic() - started < 30
        assert kept == (moment != "before")
        assert watch.count("t") == int(kept)
        db.insert("t", {"id": 2, "v": "b"})


def test_a_commit_that_nobody_can_ask_about_is_unknown(
    watch: Database, through: Callable[[], str], proxy: Proxy
) -> None:
    with holdfast.connect(through(), reconnect_timeout=0.3) as db:
        proxy.fault("COMMIT", "after")
        session = db._executor.session()
        execute = session.execute

        def refusing(sql: str, params: Any = ()) -> Any:
            try:
                return execute(sql, params)
            finally:
                if sql == "COMMIT":
                    proxy.refuse()

        session.execute = refusing
        with pytest.raises(CommitUnknown, match="during COMMIT"), db.transaction():
            db.insert("t", {"id": 1, "v": "a"})
        assert db.health().retries["commits_unknown"] == 1
        proxy.refuse(False)
        assert db.count("t") == 1


def test_run_transaction_goes_on_after_a_loss(db: Database, watch: Database, proxy: Proxy) -> None:
    calls = []

    def work() -> int:
        calls.append(1)
        db.insert("t", {"id": 1, "v": "a"})
        if len(calls) == 1:
            proxy.cut()
        db.insert("t", {"id": 2, "v": "b"})
        return len(calls)

    assert db.run_transaction(work) == 2
    proxy.fault("COMMIT", "before")
    assert db.run_transaction(lambda: db.insert("t", {"id": 3, "v": "c"})) == 3
    proxy.fault("COMMIT", "after")
    assert db.run_transaction(lambda: db.insert("t", {"id": 4, "v": "d"})) == 4
    assert watch.count("t") == 4
    assert db.health().retries["transactions"] >= 2


def test_retries_are_logged_without_values(
    db: Database, proxy: Proxy, watch: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="holdfast")
    db.insert("t", {"id": 1, "v": "swordfish"})
    proxy.fault("SELECT", "during")
    db.select("t", where={"v": "swordfish"})
    proxy.fault("COMMIT", "after")
    with db.transaction():
        db.insert("t", {"id": 2, "v": "swordfish"})
    proxy.fault("INSERT", "during")
    with pytest.raises(CommitUnknown):
        db.insert("t", {"id": 3, "v": "swordfish"})
    said = [record.getMessage() for record in caplog.records if record.name == "holdfast"]
    assert any("sending a statement again" in line for line in said)
    assert any("found out" in line for line in said)
    assert any("not known" in line for line in said)
    assert "swordfish" not in caplog.text
    assert "swordfish" not in repr(db.health())


def test_what_was_idle_for_long_is_asked_first(
    db: Database, watch: Database, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that dropped the connection without a word: only a question finds that out."""
    from holdfast.engines.postgres import liveness

    db.insert("t", {"id": 1, "v": "a"})
    monkeypatch.setattr(liveness, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr(liveness.answers, "__defaults__", (0.3,))
    proxy.stall()
    letting = threading.Timer(0.6, proxy.stall, [False])
    letting.start()
    assert db.insert("t", {"id": 2, "v": "b"}) == 2
    letting.join()
    assert watch.count("t") == 2


def test_a_server_that_takes_the_connection_and_says_nothing(
    watch: Database, through: Callable[[], str], proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sent is acknowledged: neither keepalives nor the limit of TCP end the wait."""
    proxy.stall()
    with pytest.raises(ConnectionFailed, match="did not answer within 2 s"):
        holdfast.connect(through() + "?connect_timeout=2", reconnect_timeout=0.3).count("t")
    proxy.stall(False)
    for question in ("SELECT set_config", "SELECT system_identifier"):
        with monkeypatch.context() as short:
            short.setattr(postgres, "SETUP_SECONDS", 0.5)
            proxy.fault(question, "during", stall=True)
            with pytest.raises((ConnectionFailed, ConnectionLost)):
                holdfast.connect(through(), reconnect_timeout=0.3).count("t")
        assert proxy.faults
    with holdfast.connect(through()) as db:
        assert db.count("t") == 0


def test_a_statement_that_is_never_answered(
    watch: Database, through: Callable[[], str], proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be at work: only the caller knows how long that may take."""

    def press() -> None:
        while not proxy.faults:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    with holdfast.connect(through()) as db:
        assert db.count("t") == 0
        proxy.fault("INSERT", "during", stall=True)
        pressing = threading.Thread(target=press)
        pressing.start()
        with pytest.raises(KeyboardInterrupt):
            db.insert("t", {"id": 1, "v": "a"})
        pressing.join()
        assert db.insert("t", {"id": 2, "v": "b"}) == 2
    monkeypatch.setattr(postgres, "GRACE", 0.2)
    with holdfast.connect(through(), statement_timeout=2) as db:
        proxy.fault("INSERT", "during", stall=True)
        with pytest.raises(CommitUnknown):
            db.insert("t", {"id": 3, "v": "c"})
        assert db.insert("t", {"id": 4, "v": "d"}) == 4
    assert [row["id"] for row in watch.select("t", columns=["id"], order_by="id")][-1] == 4


def test_a_host_that_is_not_known_and_then_is(
    server: servers.Server, dbname: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service file stands for the name service: libpq reads it each time it connects."""
    places = tmp_path / "services"
    fields = {key: value for key, value in server.conninfo(dbname).items() if key != "host"}

    def place(host: str) -> None:
        lines = [f"{key}={value}" for key, value in {**fields, "host": host}.items()]
        places.write_text("\n".join(["[lab]", *lines, ""]))

    monkeypatch.setenv("PGSERVICEFILE", str(places))
    place(servers.HOST)
    with holdfast.connect("postgresql://?service=lab", reconnect_timeout=120) as db:
        db.create_table("t", {"id": "INTEGER PRIMARY KEY"})
        place("no-such-host.invalid")
        db._executor.discard(db._executor.session())
        healing = threading.Timer(0.5, place, [servers.HOST])
        healing.start()
        assert db.insert("t", {"id": 1}) == 1
        healing.join()
        assert db.health().retries["reconnects"] >= 1


def test_a_transaction_left_idle_is_ended_by_the_server_and_said_so(direct: str) -> None:
    with holdfast.connect(direct) as db:
        db.create_table("t", {"id": "INTEGER PRIMARY KEY"})
    with holdfast.connect(direct, idle_in_transaction=1) as db:
        with pytest.raises(Error) as caught, db.transaction():  # noqa: PT012
            db.insert("t", {"id": 1})
            time.sleep(3)
            db.insert("t", {"id": 2})
        assert isinstance(caught.value, ConnectionLost)
        assert db.count("t") == 0

        def slow() -> Iterator[dict[str, int]]:
            for number in range(2):
                time.sleep(1.5)
                yield {"id": number}

        assert db.insert_many("t", slow()) == 2


def test_a_statement_has_its_time(direct: str) -> None:
    with holdfast.connect(direct, statement_timeout=1) as db:
        with pytest.raises(DatabaseError, match="time limit"):
            db.query("SELECT pg_sleep(60)")
        assert db.query("SELECT 1 AS a") == [{"a": 1}]
