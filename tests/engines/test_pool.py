"""How many connections there are, who has them, and that none is kept where none shall be."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import holdfast
from holdfast import Database
from holdfast.errors import ConfigurationError, ConnectionFailed, UniqueViolation


@pytest.fixture
def t(url: str) -> Iterator[Database]:
    with holdfast.connect(url, pool="null") as db:
        db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"})
        yield db


def test_without_a_pool_tables_are_altered_and_restored(t: Database, tmp_path: Path) -> None:
    """SQLite's settings around such a transaction are put back on the connection that it was on."""
    t.insert("t", {"v": "a"})
    t.backup_table("t", tmp_path / "t.sql")
    t.add_column("t", "w", "INTEGER DEFAULT 1")
    t.rename_column("t", "w", "x")
    assert t.select("t") == [{"id": 1, "v": "a", "x": 1}]
    t.drop_column("t", "x")
    t.delete("t", all_rows=True)
    t.restore_table("t", tmp_path / "t.sql")
    assert t.select("t") == [{"id": 1, "v": "a"}]
    assert t.health().pool["in_use"] == t.health().pool["idle"] == 0


def test_without_a_pool_no_connection_is_kept(t: Database) -> None:
    def none() -> bool:
        pool = t.health().pool
        return (pool["in_use"], pool["idle"]) == (0, 0)

    calls: list[Any] = [
        lambda: t.insert("t", {"v": "a"}),
        lambda: t.insert_many("t", [{"v": "b"}, {"v": "c"}]),
        lambda: t.select("t"),
        lambda: t.get("t", 1),
        lambda: t.query("SELECT v FROM t"),
        lambda: t.execute("UPDATE t SET v = 'x' WHERE id = ?", [2]).rowcount,
        lambda: list(t.stream("t", batch_size=1)),
        lambda: t.paginate("t", limit=2),
        lambda: t.upsert("t", {"id": 1, "v": "y"}),
        lambda: t.run_transaction(lambda: t.update("t", {"v": "z"}, {"id": 3})),
        lambda: t.to_dataframe("t"),
        lambda: t.get_columns("t"),
        lambda: t.insert("t", {"v": "once"}, idempotency_key="one"),
    ]
    for call in calls:
        call()
        assert none()
    with pytest.raises(UniqueViolation):
        t.insert("t", {"id": 1})
    assert none()
    assert [row["v"] for row in t.select("t", order_by="id")] == ["y", "x", "z", "once"]
    with t.transaction():
        t.insert("t", {"v": "in a block"})
        assert t.health().pool["in_use"] == 1
        assert len(t.select("t")) == 5
    assert none()
    t.begin_transaction()
    t.insert("t", {"v": "by hand"})
    t.rollback()
    assert none()
    with t.engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM t")).scalar() == 5
    assert none()
    for row in t.stream("t", batch_size=2):
        t.update("t", {"v": "seen"}, {"id": row["id"]})
    assert t.count("t", {"v": "seen"}) == 5
    assert none()


def test_a_limit_is_kept_and_a_thread_waits_for_its_turn(url: str) -> None:
    with holdfast.connect(url, pool_size=1, max_overflow=1, pool_timeout=0.2) as db:
        db.create_table("t", {"id": "INTEGER PRIMARY KEY"})
        assert db.health().pool == {"in_use": 1, "idle": 0, "most": 2}
        held, end = threading.Event(), threading.Event()

        def hold() -> None:
            db.count("t")
            held.set()
            end.wait(120)

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(120)
        failures: list[BaseException] = []

        def third() -> None:
            try:
                db.count("t")
            except BaseException as exc:
                failures.append(exc)

        waiting = threading.Thread(target=third)
        started = time.monotonic()
        waiting.start()
        waiting.join(120)
        assert time.monotonic() - started >= 0.15
        (failure,) = failures
        assert isinstance(failure, ConnectionFailed)
        assert "in use by other threads" in failure.message
        assert failure.hint
        end.set()
        thread.join()
        del thread
        failures.clear()
        waiting = threading.Thread(target=third)
        waiting.start()
        waiting.join(120)
        assert not failures


def test_options_of_the_pool_are_checked(url: str) -> None:
    wrong: list[tuple[str, Any]] = [
        ("pool", "none"),
        ("pool", 1),
        ("pool_size", 0),
        ("pool_size", 1.5),
        ("max_overflow", -2),
        ("pool_timeout", "soon"),
    ]
    for name, bad in wrong:
        with pytest.raises(ConfigurationError, match=name):
            holdfast.connect(url, **{name: bad})


def test_the_engine_is_first_asked_for_inside_a_transaction(url: str) -> None:
    """SQLAlchemy asks a server what it is and rolls back; that is not done in the thread's transaction."""
    with holdfast.connect(url) as db:
        db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"})
        with db.transaction():
            db.insert("t", {"v": "a"})
            with db.engine.begin() as connection:
                connection.execute(sa.text("INSERT INTO t (v) VALUES ('b')"))
            with db.engine.connect() as one, db.engine.connect() as two:
                assert one.execute(sa.text("SELECT count(*) FROM t")).scalar() == 2
                assert two.execute(sa.text("SELECT count(*) FROM t")).scalar() == 2
            assert db.health().pool["in_use"] == 1
            assert db.count("t") == 2
        with holdfast.connect(url) as other:
            assert [row["v"] for row in other.select("t", order_by="id")] == ["a", "b"]


def test_the_engine_is_first_asked_for_while_a_database_in_memory_is_written() -> None:
    """Nobody else may even read it meanwhile."""
    with holdfast.connect(":memory:", timeout=0.1) as db:
        db.create_table("t", {"id": "INTEGER PRIMARY KEY"})
        with db.transaction():
            db.insert("t", {})
            with db.engine.connect() as connection:
                assert connection.execute(sa.text("SELECT count(*) FROM t")).scalar() == 1


def test_a_connection_taken_in_a_block_is_good_after_it(t: Database) -> None:
    with t.transaction():
        t.insert("t", {"v": "a"})
        connection = t.engine.connect()
        assert connection.execute(sa.text("SELECT count(*) FROM t")).scalar() == 1
        connection.commit()
    assert connection.execute(sa.text("SELECT count(*) FROM t")).scalar() == 1
    assert t.health().pool["in_use"] == 1
    connection.close()
    assert t.health().pool == {"in_use": 0, "idle": 0, "most": None}


def test_a_connection_that_sqlalchemy_gives_up_is_not_used_again(url: str) -> None:
    with holdfast.connect(url) as db:
        with db.engine.connect() as connection:
            raw = connection.connection.driver_connection
            connection.invalidate()
            with pytest.raises(Exception, match=r"closed"):
                raw.execute("SELECT 1")
            assert connection.execute(sa.text("SELECT 1")).scalar() == 1
        assert db.query("SELECT 1 AS one") == [{"one": 1}]
        with db.engine.connect() as connection:
            connection.detach()
            assert db.health().pool["in_use"] == 1
            assert connection.execute(sa.text("SELECT 1")).scalar() == 1
        assert db.health().pool["in_use"] == 1


def test_what_sqlalchemy_notes_of_a_connection_lasts_as_long_as_that(url: str) -> None:
    with holdfast.connect(url) as db:
        with db.engine.connect() as connection:
            connection.info["mine"] = 1
        with db.engine.connect() as connection:
            assert connection.info == {"mine": 1}
            connection.invalidate()
            assert connection.info == {}


def test_disposing_of_the_engine_closes_what_nobody_has(url: str) -> None:
    with holdfast.connect(url) as db:
        with db.engine.connect() as connection:
            connection.execute(sa.text("SELECT 1"))
        assert db.health().pool["idle"] == 1
        db.engine.dispose()
        assert db.health().pool == {"in_use": 1, "idle": 0, "most": None}
        assert db.query("SELECT 1 AS one") == [{"one": 1}]
        with db.engine.connect() as connection:
            assert connection.execute(sa.text("SELECT 1")).scalar() == 1


def test_a_database_that_is_forgotten_closes_its_connections(url: str) -> None:
    db = holdfast.connect(url)
    db.create_table("t", {"id": "INTEGER PRIMARY KEY"})
    threading.Thread(target=db.count, args=("t",)).start()
    with db.engine.connect() as connection:
        raws = [db._executor.driver_connection(), connection.connection.driver_connection]
    del db, connection
    for _ in range(600):
        gc.collect()
        if not any(is_open(raw) for raw in raws):
            break
        time.sleep(0.1)
    assert not any(is_open(raw) for raw in raws)


def is_open(raw: Any) -> bool:
    try:
        raw.cursor().close()
    except Exception:
        return False
    return True
