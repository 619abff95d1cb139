"""Behind a pooler that gives each transaction another server connection."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
import servers
from faults import bouncer
from faults.pooler import Pooler
from holdfast import Database
from holdfast.errors import ConfigurationError, ConnectionLost, InvalidQuery, NotSupported, UniqueViolation


@pytest.fixture(params=("small", "pgbouncer embedded", "pgbouncer debian"))
def kind(request: pytest.FixtureRequest) -> str:
    """A small pooler of our own, which knows no passwords, or PgBouncer itself."""
    name: str = request.param
    if name != "small" and bouncer.program() is None:
        if "debian" in request.config.getoption("--require-engine"):
            raise LookupError("there is no pgbouncer")
        pytest.skip("there is no pgbouncer here")
    return name


@pytest.fixture
def server(kind: str, request: pytest.FixtureRequest) -> servers.Server:
    try:
        return servers.debian_server() if kind.endswith("debian") else servers.embedded_server()
    except LookupError as exc:
        if kind.rpartition(" ")[2] in request.config.getoption("--require-engine"):
            raise
        pytest.skip(str(exc))


@pytest.fixture
def pooler(kind: str, server: servers.Server, tmp_path: Path) -> Iterator[Pooler | bouncer.Bouncer]:
    tmp_path.chmod(0o755)
    made = Pooler(servers.HOST, server.port) if kind == "small" else bouncer.Bouncer(server, tmp_path)
    yield made
    made.close()


@pytest.fixture
def pooled(pooler: Pooler | bouncer.Bouncer, server: servers.Server, direct: str) -> str:
    return direct.replace(f":{server.port}/", f":{pooler.port}/")


@pytest.fixture
def db(pooled: str) -> Iterator[Database]:
    with holdfast.connect(pooled, pgbouncer=True) as database:
        database.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"})
        yield database


def test_connections_are_shared_by_transactions(db: Database) -> None:
    pids = set[int]()

    def use() -> None:
        for _ in range(5):
            pids.add(db.query("SELECT pg_backend_pid() AS pid")[0]["pid"])

    threads = [threading.Thread(target=use) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Six clients, and the pooler has two connections; one is enough where they come one after the other.
    assert 1 <= len(pids) <= 2
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


def test_a_pooler_that_is_started_again(db: Database, pooler: Pooler | bouncer.Bouncer) -> None:
    if isinstance(pooler, Pooler):
        pytest.skip("only PgBouncer is started again here")
    db.insert("t", {"v": "before"})
    pooler.stop()
    pooler.start()
    assert db.count("t") == 1

    def interrupted() -> None:
        with db.transaction():
            db.insert("t", {"v": "after"})
            pooler.stop()
            pooler.start()
            db.insert("t", {"v": "lost"})

    with pytest.raises(ConnectionLost):
        interrupted()
    assert [row["v"] for row in db.select("t", order_by="id")] == ["before"]
    db.run_transaction(lambda: db.insert("t", {"v": "again"}))
    assert db.count("t") == 2


def test_backups_leave_nothing_in_the_session_of_another(
    db: Database, kind: str, direct: str, tmp_path: Path
) -> None:
    if kind == "small":
        pytest.skip("it knows one database only")
    db.insert_many("t", [{"v": str(n)} for n in range(100)])
    before = settings(db)
    for suffix in (".sql", ".dump"):
        with pytest.raises(NotSupported, match="pooler"):
            db.backup_database(tmp_path / f"b{suffix}")
    path = db.backup_database(tmp_path / "b.hfz")
    assert db.verify_backup(path).ok
    db.delete("t", all_rows=True)
    report = db.restore_database(path)
    assert report.kept is not None
    assert report.kept.suffix == ".hfz"
    assert db.count("t") == 100
    assert settings(db) == before
    with holdfast.connect(direct) as itself:
        itself.restore_database(itself.backup_database(tmp_path / "b.dump"))
    assert db.count("t") == 100


def settings(db: Database) -> set[tuple[str, str]]:
    """What the sessions that are lent have set, whichever of them is asked."""
    found = set[tuple[str, str]]()

    # What PgBouncer itself carries from session to session is left out.
    def ask() -> None:
        for _ in range(4):
            with db.transaction():
                rows = db.query(
                    "SELECT name, setting FROM pg_settings WHERE source = 'session' "
                    "AND name NOT IN ('TimeZone', 'application_name')"
                )
                found.update((row["name"], row["setting"]) for row in rows)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
