"""Behind a pooler that gives each transaction another server connection."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

import holdfast
import servers
from faults.pooler import Pooler
from holdfast import Database
from holdfast.errors import ConfigurationError, InvalidQuery, UniqueViolation


@pytest.fixture
def server() -> servers.Server:
    """Only the server that trusts everybody: the pooler knows no passwords."""
    try:
        return servers.embedded_server()
    except LookupError as exc:
        pytest.skip(str(exc))


@pytest.fixture
def pooled(server: servers.Server, direct: str) -> Iterator[str]:
    pooler = Pooler(servers.HOST, server.port)
    yield direct.replace(f":{server.port}/", f":{pooler.port}/")
    pooler.close()


@pytest.fixture
def db(pooled: str) -> Iterator[Database]:
    with holdfast.connect(pooled, pgbouncer=True) as database:
        database.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"})
        yield database


def test_connections_are_shared_by_transactions(db: Database) -> None:
    pids = {db.query("SELECT pg_backend_pid() AS pid")[0]["pid"] for _ in range(10)}
    assert len(pids) == 2
    with db.transaction():
        assert len({db.query("SELECT pg_backend_pid() AS pid")[0]["pid"] for _ in range(10)}) == 1


def test_the_verbs_work(db: Database) -> None:
    calls: list[Any] = [
        lambda: db.insert("t", {"v": "a"}),
        lambda: db.select("t", where={"v": "a"}),
        lambda: db.query("SELECT 1 AS a"),
        lambda: db.insert_many("t", [{"v": str(i)} for i in range(3)]),
        lambda: db.insert_many("t", [{"v": str(i)} for i in range(3000)]),
        lambda: db.upsert("t", {"id": 1, "v": "b"}),
        lambda: db.update_many("t", [{"id": 1, "v": "c"}, {"id": 2, "v": "d"}]),
        lambda: list(db.stream("SELECT * FROM t LIMIT 5")),
        lambda: db.paginate("t", limit=2),
        lambda: db.to_dataframe("t"),
        lambda: db.run_transaction(lambda: db.insert("t", {"v": "x"})),
        lambda: db.insert("t", {"v": "once"}, idempotency_key="one"),
        lambda: db.health().is_ok or pytest.fail("not ok"),
    ]
    for _ in range(3):
        for call in calls:
            call()
    db.add_column("t", "w", "TEXT")
    assert db.get("t", 1)["w"] is None
    with pytest.raises(UniqueViolation):
        db.insert("t", {"id": 1})
    threads = [threading.Thread(target=db.insert, args=("t", {"v": "y"})) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert db.count("t", {"v": "y"}) == 5


def test_two_statements_in_one_text_are_refused(db: Database) -> None:
    for text in ("SELECT 1; DROP TABLE t", "SELECT 1; COMMIT; DROP TABLE t; BEGIN"):
        with pytest.raises(InvalidQuery):
            db.query(text)
        with pytest.raises(InvalidQuery):
            list(db.stream(text))
    assert db.table_exists("t")


def test_nothing_is_left_in_the_session_of_another(db: Database, direct: str) -> None:
    for name, standard in (("lock_timeout", "0"), ("idle_in_transaction_session_timeout", "0")):
        for _ in range(4):
            assert db.query(f"SHOW {name}") == [{name: standard}]


def test_what_cannot_be_kept_there_is_refused(direct: str) -> None:
    for option in ({"read_only": True}, {"durability": "normal"}, {"statement_timeout": 5}):
        with pytest.raises(ConfigurationError, match="pgbouncer") as caught:
            holdfast.connect(direct, pgbouncer=True, **option)
        assert "ALTER ROLE" in str(caught.value.hint)
