"""What was asked of a database, how often, and how long it took."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

import holdfast
import servers
from holdfast.core import executor
from holdfast.engines.dialects import POSTGRES, SQLITE
from holdfast.errors import ConfigurationError, InvalidQuery, NotSupported, TableNotFound
from holdfast.tuning import slow_log
from holdfast.tuning.slow_log import fingerprint


@pytest.fixture
def log(url: str) -> holdfast.Database:
    db = holdfast.connect(url, slow_log=True)
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "a": "INTEGER", "b": "TEXT"})
    db.insert_many("t", [{"a": n, "b": f"secret {n}"} for n in range(50)])
    db.record_queries()
    return db


def test_statements_that_differ_in_values_are_one(log: holdfast.Database) -> None:
    for n in range(1, 11):
        log.get("t", n)
    for n in range(7):
        log.query(f"SELECT a FROM t WHERE b = 'secret {n}' AND a IN ({n}, {n + 1})")
    found = {query.sql: query for query in log.slow_queries()}
    (free,) = [query for sql, query in found.items() if sql == "SELECT a FROM t WHERE b = ? AND a IN (?)"]
    assert (free.calls, free.rows) == (7, 7)
    (got,) = [query for sql, query in found.items() if '"id"' in sql and query.calls == 10]
    assert got.rows == 10
    for query in found.values():
        assert 0 < query.p50 <= query.p95 <= query.worst <= query.total
        assert "secret" not in str(query)


def test_the_slowest_come_first_and_the_rest_is_cut(log: holdfast.Database) -> None:
    log.query("SELECT count(*) FROM t a, t b, t c")
    log.query("SELECT 1")
    queries = log.slow_queries()
    assert [query.total for query in queries] == sorted((query.total for query in queries), reverse=True)
    assert log.slow_queries(1) == queries[:1]
    assert queries[0].sql == "SELECT count(*) FROM t a, t b, t c"
    assert str(queries).splitlines()[0] == str(queries[0])


def test_it_says_how_they_are_run(log: holdfast.Database) -> None:
    log.select("t", where="a = ?", params=[3])
    log.query("SELECT b FROM t WHERE b = 'secret 3'")
    log.create_table("gone", {"x": int})
    log.query("SELECT x FROM gone")
    log.drop_table("gone")
    plans = {query.sql: query.plan for query in log.slow_queries(None, plans=True)}
    assert "scan t" in plans["SELECT b FROM t WHERE b = ?"]
    assert "scan t" in next(plan for sql, plan in plans.items() if "(a = ?)" in sql or " a = ?" in sql)
    assert plans["SELECT x FROM gone"] is None
    assert not any("secret" in str(plan) for plan in plans.values())
    assert not log._executor.in_transaction
    assert log.count("t") == 50


def test_every_thread_is_recorded_and_failures_too(log: holdfast.Database) -> None:
    def ask() -> None:
        for _ in range(400):
            log.query("SELECT 7")

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with pytest.raises(TableNotFound):
        log.query("SELECT * FROM nowhere")
    calls = {query.sql: query.calls for query in log.slow_queries(None)}
    assert calls["SELECT ?"] == 1600
    assert calls["SELECT * FROM nowhere"] == 1


def test_nothing_recorded_is_said(db: holdfast.Database) -> None:
    with pytest.raises(ConfigurationError, match="no statements were recorded"):
        db.slow_queries()
    with pytest.raises(InvalidQuery):
        db.slow_queries(source="everywhere")
    with pytest.raises(NotSupported):
        db.slow_queries(source="server")
    db.record_queries()
    db.query("SELECT 1")
    assert [query.sql for query in db.slow_queries()] == ["SELECT ?"]
    db.record_queries(False)
    with pytest.raises(ConfigurationError):
        db.slow_queries()


def test_off_it_costs_nothing(db: holdfast.Database) -> None:
    db.record_queries()
    db.record_queries(False)
    assert not {"send", "fetch", "send_many"} & set(vars(db._executor))
    assert db._executor.send.__func__ is executor.Executor.send


def test_memory_stays_flat(log: holdfast.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_log, "MOST_KINDS", 50)
    for n in range(300):
        log.query(f"SELECT 1 AS a{n}")
    assert len(log.slow_queries(None)) <= 50


def test_a_server_that_counts_is_asked() -> None:
    programs = servers.debian_bin()
    if programs is None or not list((programs.parent / "lib").glob("pg_stat_statements*")):
        pytest.skip("no PostgreSQL with pg_stat_statements here")
    server = servers._new(programs, password="counts")
    try:
        server.execute("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'")
        server.restart()
        server.create_database("counted")
        with holdfast.connect(server.url("counted")) as db:
            db.execute("CREATE EXTENSION pg_stat_statements")
            for n in range(5):
                db.query(f"SELECT {n} AS n, 'secret'")
            (found,) = [query for query in db.slow_queries(None) if query.sql == "SELECT ? AS n, ?"]
            assert (found.calls, found.rows, found.p50) == (5, 5, None)
            assert db.slow_queries(None, source="server")
            with pytest.raises(ConfigurationError):
                db.slow_queries(source="process")
    finally:
        server.destroy()


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT  1 -- two\n, 'it''s'", "SELECT ? , ?"),
        ("SELECT 1, 2", "SELECT ?"),
        ("INSERT INTO t VALUES (1, 'x'), (2, 'y')", "INSERT INTO t VALUES (?)"),
        ('SELECT "1" FROM t WHERE x = 5.5e3', 'SELECT "1" FROM t WHERE x = ?'),
        ("SELECT 1;", "SELECT ?"),
    ],
)
def test_a_fingerprint_has_no_value(sql: str, expected: str) -> None:
    assert fingerprint(sql, SQLITE.lexicon) == fingerprint(sql, POSTGRES.lexicon) == expected
    assert fingerprint("SELECT $tag$ secret $tag$, $1", POSTGRES.lexicon) == "SELECT ?"


def test_recording_keeps_what_the_verbs_answer(new_url: Callable[[], str]) -> None:
    answers = []
    for on in (False, True):
        with holdfast.connect(new_url(), slow_log=on) as db:
            db.create_table("t", {"id": "INTEGER PRIMARY KEY", "a": int})
            keys = [db.insert("t", {"a": n}) for n in range(5)]
            changed = db.update("t", {"a": 9}, {"id": 1})
            many = db.executemany("UPDATE t SET a = ? WHERE id = ?", [(7, 2), (8, 3)])
            answers.append((keys, changed, many, db.select("t", order_by="id"), list(db.stream("t"))))
    assert answers[0] == answers[1]
