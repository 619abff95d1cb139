"""What was asked of a database, how often, and how long it took."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import holdfast
import servers
from holdfast.core import recording
from holdfast.engines.dialects import POSTGRES, SQLITE
from holdfast.errors import ConfigurationError, InvalidQuery, NotSupported, TableNotFound
from holdfast.tuning import fingerprints, slow_log
from holdfast.tuning.fingerprints import fingerprint


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
    queries = log.slow_queries(source="process")
    assert [query.total for query in queries] == sorted((query.total for query in queries), reverse=True)
    assert log.slow_queries(1, source="process") == queries[:1]
    assert str(queries).splitlines()[0] == str(queries[0])


def test_what_only_looks_at_the_catalogue_is_left_out(log: holdfast.Database, engine_name: str) -> None:
    own = "sqlite_master" if engine_name == "sqlite" else "pg_class"
    log.create_table("mine", {"id": "INTEGER PRIMARY KEY"})
    log.record_queries()
    log.query(f"SELECT count(*) FROM {own}")
    log.query(f"SELECT t.a FROM t JOIN {own} ON true LIMIT 1")
    log.query(f"SELECT 1 FROM {own}, t LIMIT 1")
    log.insert("mine", {"id": 5})
    for look in (log.list_tables, log.doctor, log.get_stats, holdfast.inspect(log).get_indexes):
        look()
    assert log.summary
    found = [query.sql for query in log.slow_queries(source="process")]
    assert f"SELECT t.a FROM t JOIN {own} ON true LIMIT ?" in found
    assert f"SELECT ? FROM {own}, t LIMIT ?" in found
    assert any(sql.startswith('INSERT INTO "mine"') for sql in found)
    ours = ('"t"', '"mine"', "FROM t", ", t")
    assert [sql for sql in found if not any(name in sql for name in ours)] == []


@pytest.mark.parametrize(
    ("sql", "is_left_out"),
    [
        ("SELECT name FROM sqlite_master", True),
        ("select * from PRAGMA_TABLE_LIST AS l, pragma_index_list(l.name)", True),
        ("PRAGMA page_count", True),
        ("SELECT sqlite_version()", True),
        ("SELECT 1", False),
        ("SELECT 'sqlite_master' FROM t", False),
        ("SELECT (SELECT count(*) FROM sqlite_master), a FROM t", False),
        ("WITH m AS (SELECT * FROM sqlite_master) SELECT * FROM m", False),
        ("INSERT INTO t SELECT name FROM sqlite_master", False),
        ("INSERT INTO t (a) VALUES (sqlite_version())", False),
        ("UPDATE t SET a = (SELECT max(seq) FROM sqlite_sequence)", False),
        ("SELECT mysqlite_x FROM t", False),
    ],
)
def test_what_is_of_the_catalogue(sql: str, is_left_out: bool) -> None:
    assert fingerprints.is_of_catalogue(sql, SQLITE.lexicon) is is_left_out


@pytest.mark.parametrize(
    ("sql", "is_left_out"),
    [
        ("SHOW server_version", True),
        ("SELECT c.relname FROM pg_catalog.pg_class c, pg_namespace n", True),
        ("SELECT * FROM information_schema.tables", True),
        ("SELECT pg_database_size(current_database())", True),
        ("SELECT pg_sleep(1)", False),
        ("SELECT pg_advisory_lock(1)", False),
        ("SELECT * FROM pg_class c, users u", False),
        ('SELECT * FROM "pg_class" JOIN users ON true', False),
        ("COPY (SELECT * FROM t) TO STDOUT", False),
        ('INSERT INTO "t" ("id") VALUES ($1) RETURNING pg_sequence_last_value($2::regclass)', False),
    ],
)
def test_what_is_of_the_catalogue_of_a_server(sql: str, is_left_out: bool) -> None:
    assert fingerprints.is_of_catalogue(sql, POSTGRES.lexicon) is is_left_out


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


def test_it_is_recorded_without_being_asked_for(db: holdfast.Database) -> None:
    db.query("SELECT 1 AS mine")
    (found,) = [query for query in db.slow_queries(None) if query.sql == "SELECT ? AS mine"]
    assert (found.source, found.calls, found.server) == ("process", 1, None)


def test_nothing_recorded_is_said(db: holdfast.Database) -> None:
    db.record_queries(False)
    with pytest.raises(ConfigurationError, match="no statements were recorded"):
        db.slow_queries()
    with pytest.raises(InvalidQuery):
        db.slow_queries(source="everywhere")
    with pytest.raises(NotSupported, match=r"db\.slow_queries"):
        db.slow_queries(source="server")
    db.record_queries()
    for limit in (-1, True, "20", 2.0):
        with pytest.raises(InvalidQuery, match="limit"):
            db.slow_queries(limit)  # type: ignore[arg-type]
    assert db.slow_queries(0) == []
    db.query("SELECT 1")
    assert [query.sql for query in db.slow_queries() if query.sql == "SELECT ?"] == ["SELECT ?"]
    db.record_queries(False)
    with pytest.raises(ConfigurationError):
        db.slow_queries()


def test_off_nothing_is_measured(
    new_url: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_log.SlowLog, "kind", _never)
    monkeypatch.setattr(recording.Kind, "note", _never)
    for off in (
        holdfast.connect(new_url(), slow_log=False),
        holdfast.connect(f"sqlite:///{tmp_path}/off.db?slow_log=off"),
    ):
        with off as db:
            db.create_table("t", {"id": "INTEGER PRIMARY KEY", "a": int})
            db.insert_many("t", [{"a": n} for n in range(3)])
            assert (db.get("t", 1)["a"], db.count("t"), len(list(db.stream("t")))) == (0, 3, 3)
            with pytest.raises(ConfigurationError):
                db.slow_queries(source="process")
            db.record_queries()
            with pytest.raises(AssertionError, match="recorded"):
                db.get("t", 1)
            db.record_queries(False)


def _never(*_: object) -> None:
    raise AssertionError("recorded")


def test_many_different_texts_take_no_more_memory(
    log: holdfast.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_log, "MOST_TEXTS", 50)
    monkeypatch.setattr(slow_log, "MOST_KINDS", 40)
    for n in range(300):
        log.query(f"SELECT {n} AS a{n % 100}")
        log.query(f"SELECT {n} AS same")
    recorder = log._slow_log
    assert len(recorder.kinds) <= 50
    assert len(recorder._gathered) <= 40
    assert recorder._characters == sum(map(len, recorder.kinds))
    (same,) = [query for query in log.slow_queries(None) if query.sql == "SELECT ? AS same"]
    assert (same.calls, same.rows) == (300, 300)


def test_what_many_texts_leave_is_small() -> None:
    recorder = slow_log.SlowLog(SQLITE.lexicon)
    tracemalloc.start()
    try:
        for n in range(20_000):
            recording.kind_of(recorder, f"SELECT {n} AS a{n}, '{'x' * 200}'").note(n, 1)
        for n in range(3):
            recording.kind_of(recorder, "SELECT '" + str(n) * 3_000_000 + "'").note(n, 1)
        fingerprints._known.cache_clear()
        assert tracemalloc.get_traced_memory()[0] < 4 << 20
    finally:
        tracemalloc.stop()
    assert len(recorder.kinds) == slow_log.MOST_TEXTS
    (long,) = [kind for name, kind in recorder.slowest() if name.endswith("...")]
    assert (long.calls, long.sample) == (3, "")


def test_a_statement_that_runs_while_its_text_makes_room_is_counted() -> None:
    recorder = slow_log.SlowLog(SQLITE.lexicon)
    running = recording.kind_of(recorder, "SELECT 'slow'")
    for n in range(slow_log.MOST_TEXTS):
        recording.kind_of(recorder, f"SELECT {n} AS a{n}").note(1, 1)
    running.note(5_000_000_000, 7)
    assert "SELECT 'slow'" not in recorder.kinds
    name, kind = recorder.slowest()[0]
    assert (name, kind.calls, kind.spent, kind.rows) == ("SELECT ?", 1, 5_000_000_000, 7)


@pytest.mark.parametrize("calls", [1, 31, 32, 33, 34, 62, 63, 64, 65, 94, 95, 96, 1000, 4321])
def test_what_is_quick_is_measured_now_and_then_and_counted_each_time(calls: int) -> None:
    recorder, measured = slow_log.SlowLog(SQLITE.lexicon), 0
    for _ in range(calls):
        kind = recording.kind_of(recorder, "SELECT 1")
        if kind.calls >= kind.due:
            measured += 1
            kind.note(10_000, 2)
    ((_, found),) = recorder.slowest()
    assert measured == min(calls, 32) + -(-max(calls - 32, 0) // 31)
    assert (found.calls, found.measured) == (calls, calls)
    assert (found.spent, found.rows, found.worst) == (calls * 10_000, calls * 2, 10_000)
    assert 8_750 < found.percentile(0.5) <= found.percentile(0.95) <= 10_000


def test_what_is_slow_is_measured_each_time_and_stands_for_itself() -> None:
    kind, spent = recording.Kind("SELECT 1"), 0
    for n in range(2000):
        kind.calls += 1
        took = 10_000 if n % 500 < 400 else 1_000_000
        spent += took
        if kind.calls >= kind.due:
            kind.note(took, 1)
    whole = recording.Kind("")
    whole.take_in(kind)
    assert abs(whole.spent - spent) < 0.1 * spent
    assert abs(whole.measured - 2000) <= 4 * 31


def test_percentiles_are_within_an_eighth() -> None:
    kind = recording.Kind("")
    for took in range(1, 2_000_000, 7):
        kind.calls += 1
        kind.note(took, 1) if took >= recording.QUICK else kind._add(took, 1, 1)
    for part in (0.05, 0.5, 0.95, 1.0):
        assert kind.percentile(part) == pytest.approx(part * 2_000_000, rel=0.0625)


def test_a_stream_counts_its_rows(log: holdfast.Database) -> None:
    assert len(list(log.stream("SELECT a FROM t", batch_size=5))) == 50
    begun = log.stream("SELECT b FROM t", batch_size=5)
    next(begun)
    begun.close()
    found = {query.sql: query for query in log.slow_queries(None)}
    whole, part = found["SELECT a FROM t"], found["SELECT b FROM t"]
    assert (whole.calls, whole.rows, part.calls) == (1, 50, 1)
    assert 0 < part.rows <= 50


def test_what_is_done_with_a_stream_meanwhile_is_not_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0

    def batches() -> Iterator[list[int]]:
        nonlocal now
        for _ in range(3):
            now += 100_000
            yield [1, 2]

    monkeypatch.setattr(recording, "perf_counter_ns", lambda: now)
    kind = recording.Kind("SELECT 1")
    for _ in recording.recorded(kind, batches()):
        now += 7_000_000
    assert (kind.spent, kind.rows) == (300_000, 6)


def test_execute_counts_its_rows(log: holdfast.Database) -> None:
    log.execute("SELECT a FROM t WHERE a < 7")
    log.execute("UPDATE t SET b = 'x' WHERE a < 7")
    log.executemany("DELETE FROM t WHERE a = ?", [(1,), (2,), (99,)])
    rows = {query.sql: (query.calls, query.rows) for query in log.slow_queries(None)}
    assert rows["SELECT a FROM t WHERE a < ?"] == (1, 7)
    assert rows["UPDATE t SET b = ? WHERE a < ?"] == (1, 7)
    assert rows["DELETE FROM t WHERE a = ?"] == (3, 2)


def test_asking_how_it_is_run_records_nothing(log: holdfast.Database) -> None:
    log.query("SELECT a FROM t")
    log.explain("SELECT a FROM t WHERE a = 5")
    log.slow_queries(plans=True)
    assert not any("EXPLAIN" in query.sql for query in log.slow_queries(None))


def test_a_child_of_a_fork_begins_anew(log: holdfast.Database) -> None:
    log.query("SELECT 1 AS parents")
    with log._slow_log._lock:
        child = os.fork()
        if not child:
            os._exit(_asked_in_child(log))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _asked_in_child(db: holdfast.Database) -> int:
    try:
        db.query("SELECT 1 AS childs")
        names = {query.sql for query in db.slow_queries(None, source="process")}
        return 0 if "SELECT ? AS childs" in names and "SELECT ? AS parents" not in names else 1
    except BaseException:
        return 2


CANARY = "canary7731"


@pytest.fixture(scope="module")
def counting() -> Iterator[servers.Server]:
    """A server that could count statements and does not yet."""
    programs = servers.debian_bin()
    if programs is None or not list((programs.parent / "lib").glob("pg_stat_statements*")):
        pytest.skip("no PostgreSQL with pg_stat_statements here")
    server = servers._new(programs, password="counts")
    try:
        server.create_database("counted")
        with holdfast.connect(server.url("counted")) as db:
            db.execute("CREATE EXTENSION pg_stat_statements")
            # It is there, and cannot be asked: the server has not loaded it.
            with db.transaction():
                db.query("SELECT 1 AS mine")
                assert "SELECT ? AS mine" in [query.sql for query in db.slow_queries(None)]
                assert db.query("SELECT 2 AS two") == [{"two": 2}]
            with pytest.raises(NotSupported):
                db.slow_queries(source="server")
        server.execute("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'")
        server.restart()
        yield server
    finally:
        server.destroy()


def test_what_the_process_and_the_server_know_is_one_answer(counting: servers.Server) -> None:
    with holdfast.connect(counting.url("counted")) as db, holdfast.connect(counting.url("counted")) as other:
        db.create_table("t", {"id": "INTEGER PRIMARY KEY", "a": int})
        db.insert_many("t", [{"a": n} for n in range(10)])
        for n in range(5):
            db.query("SELECT a FROM t WHERE a IN (?, ?)", [n, 3])
            other.query(f"SELECT a FROM t WHERE a IN ({n}, 4)")
        other.query("SELECT max(a) FROM t")
        db.record_queries()
        for n in range(2):
            db.query(f"SELECT a /* {n} */ FROM t  WHERE a IN ({n}, 1, 2)")
        list(db.stream("SELECT a AS streamed FROM t"))
        found = {query.sql: query for query in db.slow_queries(None)}
        both, apart = found["SELECT a FROM t WHERE a IN (?)"], found["SELECT max(a) FROM t"]
        assert (both.source, both.process.calls, both.server.calls) == ("both", 2, 12)
        assert (both.calls, both.total, both.p95) == (2, both.process.total, both.process.p95)
        assert both.server.p50 is both.server.p95 is None
        assert both.server.mean == pytest.approx(both.server.total / 12)
        assert (apart.source, apart.process, apart.calls, apart.p50) == ("server", None, 1, None)
        assert found["SELECT a AS streamed FROM t"].process.rows == 10
        weights = [max(one.total for one in (q.process, q.server) if one) for q in found.values()]
        assert weights == sorted(weights, reverse=True)
        assert {query.source for query in db.slow_queries(None, source="process")} == {"process"}
        assert {query.source for query in db.slow_queries(None, source="server")} == {"server"}
        with db.transaction():
            assert "both" in {query.source for query in db.slow_queries(None)}
        plans = {query.sql: query.plan for query in db.slow_queries(None, plans=True)}
        assert "scan t" in plans["SELECT max(a) FROM t"]
        db.record_queries(False)
        assert {query.source for query in db.slow_queries(None)} == {"server"}


def test_no_value_of_anybody_is_shown(counting: servers.Server) -> None:
    with holdfast.connect(counting.url("counted")) as db:
        db.execute("CREATE TABLE IF NOT EXISTS c (a text DEFAULT 'x', n int)")
        for sql in (
            f"SELECT * FROM c WHERE a = '{CANARY}' -- {CANARY}",
            f"/* {CANARY} */ SELECT a FROM c WHERE a = $${CANARY}$$ OR a = E'{CANARY}' OR a LIKE '{CANARY}%'",
            f"CREATE ROLE role7731 PASSWORD '{CANARY}'",
            f"ALTER ROLE role7731 PASSWORD '{CANARY}'",
            f"ALTER ROLE role7731 SET holdfast.token = '{CANARY}'",
            f"SET holdfast.token TO {CANARY}",
            f"ALTER ROLE role7731 SET holdfast.token TO {CANARY}",
            f"COMMENT ON TABLE c IS '{CANARY}'",
            f"ALTER TABLE c ALTER a SET DEFAULT '{CANARY}'",
            f"DO $tag$ BEGIN PERFORM '{CANARY}'; END $tag$",
            f"CREATE VIEW v7731 AS SELECT '{CANARY}' AS x",
            f"INSERT INTO c (a) VALUES ('{CANARY}'), ('{CANARY}2')",
            "DROP VIEW v7731",
            "DROP ROLE role7731",
        ):
            db.execute(sql)
        db.query("SELECT * FROM c WHERE a = ? LIMIT 7", [CANARY])
        found = db.slow_queries(None, plans=True)
        told = str(found) + repr(found) + str([query.record() for query in found])
        assert CANARY not in told
        assert "ALTER ROLE role7731 PASSWORD ?" in told
        assert {query.source for query in found} >= {"both", "server"}


def test_the_command_line_says_what_the_server_counted(counting: servers.Server) -> None:
    url = counting.url("counted")
    with holdfast.connect(url) as db:
        # The server takes statements that differ in the names of their columns alone for one.
        db.query("SELECT length('of it') AS of_the_command")
    command = [sys.executable, "-m", "holdfast.cli.main", "slow-queries", url, "--limit", "1000"]
    told = {
        form: subprocess.run([*command, *form.split()], capture_output=True, text=True, check=True).stdout
        for form in ("", "--json", "--csv")
    }
    (line,) = [
        line for line in told[""].splitlines() if line.endswith(": SELECT length(?) AS of_the_command")
    ]
    assert line.startswith("the server ")
    (row,) = [row for row in json.loads(told["--json"]) if row["sql"] == "SELECT length(?) AS of_the_command"]
    assert (row["source"], row["server_calls"], row["process_calls"], row["process_p95"]) == (
        "server",
        1,
        None,
        None,
    )
    rows = csv.DictReader(io.StringIO(told["--csv"]))
    (same,) = [row for row in rows if row["sql"] == "SELECT length(?) AS of_the_command"]
    assert (same["source"], same["server_calls"], same["process_p95"]) == ("server", "1", "")


def test_of_others_it_is_known_what_this_user_may_see(counting: servers.Server) -> None:
    with holdfast.connect(counting.url("counted")) as db:
        db.query("SELECT 1 AS of_the_owner")
        db.execute("CREATE ROLE looker LOGIN PASSWORD 'counts'")
    there = re.sub(r"//[^@/]*@", "//looker:counts@", counting.url("counted"))
    with holdfast.connect(there) as other:
        other.query("SELECT 1 AS of_the_looker")
        found = {query.sql: query.source for query in other.slow_queries(None)}
    assert found["SELECT ? AS of_the_looker"] == "both"
    assert "SELECT ? AS of_the_owner" not in found
    assert not any("privilege" in sql for sql in found)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("PRAGMA key = hunter2", "PRAGMA key = ?"),
        ("SET app.token TO hunter2, b", "SET app.token TO ?"),
        ("ALTER SYSTEM SET a TO hunter2", "ALTER SYSTEM SET a TO ?"),
        ("ALTER TABLE a RENAME TO b", "ALTER TABLE a RENAME TO b"),
        ("UPDATE t SET a = b WHERE c = d", "UPDATE t SET a = b WHERE c = d"),
        (
            "DECLARE hf_0123456789abcdef0123456789abcdef CURSOR FOR SELECT a",
            "DECLARE hf_? CURSOR FOR SELECT a",
        ),
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


_PIECES = (
    *(
        "SELECT",
        "a1",
        "LIKE'x'",
        "'it''s'",
        "''",
        "x'00'",
        "N'n'",
        "E'it\\'s'",
        "'open",
        '"q 1"',
        '"it\'s"',
        "[b 2]",
    ),
    *(
        "1",
        "1.5",
        ".5",
        "5.",
        "1e5",
        "0x1F",
        "1_000",
        "-1",
        "?",
        "?1",
        "$1",
        ":a1",
        "??",
        "t1.c2",
        "a::text",
        "x[1:2]",
    ),
    *(
        "(",
        ")",
        "(1, 2)",
        ",",
        "=",
        "--c'1\n",
        "/*c'1*/",
        "$t$ s $t$",
        "SET",
        "TO",
        "PRAGMA",
        "VALUES",
        "IN",
        ";",
    ),
)


@example(["'open", "x'00'"])
@given(st.lists(st.sampled_from(_PIECES), max_size=12))
def test_the_short_way_to_a_fingerprint_leads_where_the_long_one_does(pieces: list[str]) -> None:
    sql = " ".join(pieces)
    for lexicon in (SQLITE.lexicon, POSTGRES.lexicon):
        assert fingerprint(sql, lexicon) == fingerprints.without_values(sql, lexicon)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ('SELECT * FROM t WHERE a = "secret" AND "b" = 5', 'SELECT * FROM t WHERE a = ? AND "b" = ?'),
        (
            'SELECT * FROM t WHERE a IN ("s", "t") OR a LIKE "s%"',
            "SELECT * FROM t WHERE a IN (?) OR a LIKE ?",
        ),
        (
            'INSERT INTO "t" ("a", "b") VALUES ("s", lower("x")), (1, "s")',
            'INSERT INTO "t" ("a", "b") VALUES (?, lower("x")), (?)',
        ),
        (
            'UPDATE "t" SET "a" = "secret" WHERE "t"."a" = "u"."b"',
            'UPDATE "t" SET "a" = ? WHERE "t"."a" = "u"."b"',
        ),
    ],
)
def test_what_sqlite_takes_for_a_string_is_a_value(sql: str, expected: str) -> None:
    assert fingerprint(sql, SQLITE.lexicon) == expected
    assert '"b"' in fingerprint('SELECT 1 WHERE a = "b"', POSTGRES.lexicon)


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
