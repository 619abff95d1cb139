"""Plans in the same words on every engine, and what is slow about them."""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest

import holdfast
from holdfast.errors import InvalidQuery, TableNotFound
from holdfast.tuning import explain

ROWS = 12_000


@pytest.fixture
def big(db: holdfast.Database) -> holdfast.Database:
    """Two tables of many rows, of which the planner has been told."""
    db.create_table("runs", {"id": "INTEGER PRIMARY KEY", "lab": "INTEGER", "model": "TEXT", "acc": "REAL"})
    db.create_table("labs", {"id": "INTEGER", "name": "TEXT"})
    db.insert_many("runs", [{"lab": n % 3000, "model": f"m{n}", "acc": n / ROWS} for n in range(ROWS)])
    db.insert_many("labs", [{"id": n, "name": f"lab {n}"} for n in range(ROWS)])
    db.create_index("runs", "lab")
    db.analyze()
    return db


def kinds(plan: object) -> list[str]:
    return [step.kind for step in plan.root.walk()]  # type: ignore[attr-defined]


def test_a_row_by_its_key_is_a_search(big: holdfast.Database) -> None:
    plan = big.explain("SELECT * FROM runs WHERE id = ?", [5])
    assert (plan.root.kind, plan.root.table) == ("search", "runs")
    assert plan.findings == ()
    assert "search runs" in str(plan)


def test_rows_by_an_index_name_it(big: holdfast.Database) -> None:
    (found,) = [
        step for step in big.explain("SELECT * FROM runs r WHERE r.lab = 7").root.walk() if step.index
    ]
    assert found.kind == "search"
    assert found.index == "idx_runs_lab"
    assert re.fullmatch(r"\(?lab ?= ?\?\)?", found.by or "")


def test_reading_every_row_for_a_few_is_said(big: holdfast.Database) -> None:
    for analyze in (False, True):
        plan = big.explain("SELECT * FROM runs AS r WHERE r.model = :name", {"name": "m5"}, analyze=analyze)
        assert (plan.root.kind, plan.root.table) == ("scan", "runs")
        (finding,) = plan.findings
        assert finding.startswith("reads every row of runs (about 12,000)")
        assert plan.rows == (1 if analyze else None)
        assert (plan.seconds is not None) == analyze
        assert "m5" not in str(plan)


def test_reading_every_row_because_all_are_wanted_is_no_mistake(big: holdfast.Database) -> None:
    assert big.explain("SELECT * FROM runs").findings == ()
    assert big.explain("SELECT max(acc) FROM runs").findings == ()


def test_small_tables_are_read_without_a_word(db: holdfast.Database) -> None:
    db.create_table("t", {"a": int})
    db.insert_many("t", [{"a": n} for n in range(100)])
    assert db.explain("SELECT * FROM t WHERE a = 5 ORDER BY a").findings == ()


def test_a_table_that_was_never_analysed_is_counted_as_far_as_it_matters(db: holdfast.Database) -> None:
    db.create_table("t", {"a": int})
    db.insert_many("t", [{"a": n} for n in range(ROWS)])
    (finding,) = db.explain("SELECT * FROM t WHERE a = 5").findings
    assert re.match(r"reads every row of t \((at least 10,000|about 1\d,\d{3})\)", finding)


def test_a_large_sort_is_said(big: holdfast.Database) -> None:
    plan = big.explain("SELECT * FROM runs ORDER BY acc")
    assert kinds(plan) == ["sort", "scan"]
    assert any(finding.startswith("sorts about 12,000 rows") for finding in plan.findings)


def test_joins_groups_unions_and_subqueries_have_one_word_each(big: holdfast.Database) -> None:
    plan = big.explain("SELECT * FROM runs JOIN labs ON labs.id = runs.lab WHERE runs.id = 3")
    assert "join" in kinds(plan)
    assert {"group"} & set(kinds(big.explain("SELECT model, count(*) FROM runs GROUP BY model")))
    assert "union" in kinds(big.explain("SELECT model FROM runs UNION ALL SELECT name FROM labs"))
    assert big.explain("SELECT 1").root.kind == "values"


def test_a_table_that_is_read_again_for_every_row_is_said(big: holdfast.Database) -> None:
    plan = big.explain("SELECT (SELECT count(*) FROM labs WHERE labs.name > runs.model) FROM runs")
    assert any("every row of labs" in finding for finding in plan.findings)


def test_what_is_measured_is_taken_back(big: holdfast.Database) -> None:
    plan = big.explain("DELETE FROM runs WHERE id <= 10", analyze=True)
    assert plan.rows == 10
    assert "write" in kinds(plan)
    assert big.count("runs") == ROWS
    with big.transaction():
        big.delete("runs", {"id": 1})
        assert big.explain("DELETE FROM runs WHERE id <= 10", analyze=True).rows == 9
        assert big.count("runs") == ROWS - 1
    assert big.count("runs") == ROWS - 1


def test_what_has_no_plan_is_refused(db: holdfast.Database) -> None:
    for sql in ("CREATE TABLE t (a int)", "EXPLAIN SELECT 1", "VACUUM", ""):
        with pytest.raises(InvalidQuery):
            db.explain(sql)
    with pytest.raises(TableNotFound):
        db.explain("SELECT * FROM nowhere")
    with pytest.raises(InvalidQuery):
        db.explain("SELEC 1")
    assert db.explain("SELECT 1").rows is None


def test_a_wrong_expectation_is_said_where_it_is_known(big: holdfast.Database, engine_name: str) -> None:
    if engine_name == "sqlite":
        pytest.skip("SQLite does not say how many rows a step had")
    big.execute("CREATE TABLE pairs AS SELECT lab AS a, lab AS b FROM runs")
    big.execute("ALTER TABLE pairs SET (autovacuum_enabled = false)")
    big.insert_many("pairs", [{"a": 1, "b": 1} for _ in range(ROWS)])
    plan = big.explain("SELECT * FROM pairs WHERE a = 1 AND b = 1", analyze=True)
    assert any("analyze()" in finding for finding in plan.findings)


@pytest.mark.parametrize(
    ("sql", "line", "at"),
    [
        ("SELECT a,, b FROM runs", "SELECT a,, b FROM runs", 9),
        ("SELECT model\n  FROM runs WHERE\tlab = = lab", "  FROM runs WHERE lab = = lab", 24),
        ("SELECT model FRM runs WHERE model = 'secret'", None, 17),
        ("SELECT * FROM (SELECT lab", "SELECT * FROM (SELECT lab", 25),
        ("SELECT lab lab lab FROM runs", "SELECT lab lab lab FROM runs", 15),
    ],
)
def test_the_place_of_a_mistake_is_marked(db: holdfast.Database, sql: str, line: str | None, at: int) -> None:
    db.create_table("runs", {"lab": int, "model": str})
    for run in (db.explain, db.query, db.execute):
        with pytest.raises(InvalidQuery) as caught:
            run(sql)
        _, *shown = str(caught.value).splitlines()
        assert len(shown) == 2
        assert shown[0] == (line or "SELECT model FRM runs WHERE model = '...'")
        assert shown[1] == " " * at + "^"
        assert "secret" not in str(caught.value)


def test_a_text_that_does_not_end_is_marked_and_not_shown(db: holdfast.Database) -> None:
    with pytest.raises(InvalidQuery) as caught:
        db.query("SELECT 'secret")
    assert "secret" not in str(caught.value)
    assert str(caught.value).splitlines()[1:] == ["SELECT '...'", "       ^"]


def test_a_wrong_verb_has_a_suggestion(db: holdfast.Database) -> None:
    with pytest.raises(InvalidQuery, match="did you mean SELECT"):
        db.explain("SELCT 1")


def test_a_plan_takes_no_lock_that_a_writer_waits_for(big: holdfast.Database, url: str) -> None:
    with holdfast.connect(url) as other, other.transaction():
        other.insert("runs", {"lab": 1, "model": "new", "acc": 0.0})
        assert "scan runs" in str(big.explain("SELECT * FROM runs WHERE model = ?", ["m5"]))
        assert "write" in kinds(big.explain("DELETE FROM runs WHERE id = 5"))


def test_values_of_every_type_are_taken(db: holdfast.Database) -> None:
    values = [
        None,
        True,
        2**40,
        1.5,
        "it's",
        b"\x00\xff",
        Decimal("1.10"),
        date(2026, 1, 2),
        datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        UUID(int=5),
    ]
    columns = {f"c{n}": kind for n, kind in enumerate([int, bool, int, float, str, bytes])}
    columns |= {"c6": Decimal, "c7": date, "c8": datetime, "c9": UUID}
    db.create_table("t", columns)
    condition = " OR ".join(f"c{n} = ?" for n in range(len(values)))
    for analyze in (False, True):
        plan = db.explain(f"SELECT * FROM t WHERE {condition}", values, analyze=analyze)
        assert plan.root.table == "t"
    assert db.explain("UPDATE t SET c4 = :text WHERE c0 = :n", {"text": "x", "n": 5}, analyze=True).rows == 0


def test_a_partial_index_that_alone_was_counted_makes_no_table_small(db: holdfast.Database) -> None:
    db.create_table("t", {"a": int})
    db.insert_many("t", [{"a": n} for n in range(ROWS)])
    list(db.suggest_indexes(["SELECT * FROM t WHERE a > 5"]).apply())
    db.create_index("t", "a", where="a < 10", name="few")
    if db.engine.dialect.name == "sqlite":
        db.execute("ANALYZE few")
    assert any(
        "reads every row of t" in finding
        for finding in db.explain("SELECT * FROM t WHERE a % 7 = 5").findings
    )


INDEX = "an index on the columns that the condition compares would find them"


@pytest.mark.parametrize(
    "analyze", [False, pytest.param(True, id="analyze")], ids=lambda on: "analyze" if on else "plan"
)
def test_what_is_slow_is_said_in_the_same_words(big: holdfast.Database, analyze: bool) -> None:
    for sql, beginning, end in (
        ("SELECT * FROM runs WHERE model = 'm5'", "reads every row of runs (about 12,000)", INDEX),
        ("SELECT * FROM runs WHERE model = 'm5' AND lower(model) = 'm5'", "reads every row of runs", INDEX),
        ("SELECT * FROM runs WHERE acc <> 0.5 AND model = 'm5'", "reads every row of runs", INDEX),
        ("SELECT * FROM runs WHERE lab = 5 OR model = 'm5'", "reads every row of runs", INDEX),
        (
            "SELECT * FROM runs WHERE lower(model) = 'm5'",
            "reads every row of runs",
            "comparing model itself, would find them",
        ),
        (
            "SELECT * FROM runs WHERE 7 = runs.lab + 1",
            "reads every row of runs",
            "comparing lab itself, would find them",
        ),
        (
            "SELECT * FROM runs WHERE CAST(lab AS TEXT) = '5'",
            "reads every row of runs",
            "comparing lab itself, would find them",
        ),
        (
            "SELECT * FROM runs WHERE model LIKE '%m57'",
            "reads every row of runs",
            "enable_search() finds words",
        ),
        (
            "SELECT * FROM runs ORDER BY acc",
            "sorts about 12,000 rows",
            "an index in that order would give them sorted",
        ),
        (
            "SELECT * FROM runs ORDER BY acc LIMIT 5",
            "sorts about 12,000 rows",
            "an index in that order would give them sorted",
        ),
        (
            "SELECT * FROM runs ORDER BY id LIMIT 5 OFFSET 11000",
            "reads the rows before its OFFSET",
            "paginate() goes on where the last page ended",
        ),
        (
            "SELECT (SELECT count(*) FROM labs WHERE labs.id = runs.lab) FROM runs WHERE runs.id <= 3",
            "reads every row of labs (about 12,000)",
            INDEX,
        ),
    ):
        found = big.explain(sql, analyze=analyze).findings
        assert any(said.startswith(beginning) and end in said for said in found), (sql, found)
        assert "m5" not in str(found)


def test_a_pattern_and_an_offset_are_known_from_their_values(big: holdfast.Database) -> None:
    sql = "SELECT * FROM runs WHERE model LIKE :pattern ORDER BY id LIMIT 5 OFFSET :skipped"
    found = big.explain(sql, {"pattern": "%7secret", "skipped": 11_000}).findings
    assert any("begins with anything" in said for said in found)
    assert any("OFFSET" in said for said in found)
    assert "secret" not in str(found)
    found = big.explain(sql, {"pattern": "m7%", "skipped": 10}).findings
    assert not any("anything" in said or "OFFSET" in said for said in found)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM runs WHERE model NOT IN (SELECT name FROM labs)",
        "SELECT * FROM runs WHERE model <> 'm5'",
        "SELECT * FROM runs WHERE model IS NOT NULL",
        "SELECT * FROM runs WHERE NOT EXISTS (SELECT 1 FROM labs WHERE labs.name = 'x')",
        "SELECT * FROM runs WHERE model NOT LIKE '%secret'",
        "WITH c AS (SELECT lab, count(*) AS n FROM runs GROUP BY lab) "
        "SELECT * FROM c a JOIN c b ON a.n = b.n WHERE a.lab = 5",
        "SELECT count(*) FROM runs",
        "SELECT * FROM runs ORDER BY id LIMIT 5 OFFSET 10",
    ],
)
def test_what_no_index_helps_is_no_finding_of_it(big: holdfast.Database, sql: str) -> None:
    for analyze in (False, True):
        for said in big.explain(sql, analyze=analyze).findings:
            assert "every row of runs" not in said, said
            assert "create_index" not in said, said
            assert "again and again" not in said, said


def test_a_join_that_compares_all_with_all_is_said(big: holdfast.Database) -> None:
    sql = "SELECT * FROM runs r JOIN labs l ON l.id < r.lab WHERE r.id < 20"
    for analyze in (False, True):
        found = big.explain(sql, analyze=analyze).findings
        assert any("again and again" in said or "compares every pair" in said for said in found), found


def test_a_sort_on_disk_has_the_index_that_would_spare_it(big: holdfast.Database, engine_name: str) -> None:
    if engine_name == "sqlite":
        pytest.skip("SQLite does not say where it sorts")
    with big.transaction():
        big.execute("SET LOCAL work_mem = '64kB'")
        found = big.explain("SELECT * FROM runs ORDER BY acc", analyze=True).findings
    assert any("on disk" in said and "an index in that order" in said for said in found)


def test_rows_that_an_index_finds_in_vain_are_said(big: holdfast.Database, engine_name: str) -> None:
    if engine_name == "sqlite":
        pytest.skip("SQLite does not say what it drops")
    with big.transaction():
        big.execute("SET LOCAL enable_seqscan = off")
        found = big.explain("SELECT * FROM runs WHERE lab >= 0 AND model = 'm5'", analyze=True).findings
    assert any("drops 11,999 of them again" in said for said in found)


def test_grouping_through_a_sort_is_said(big: holdfast.Database, engine_name: str) -> None:
    for sql, word in (
        ("SELECT model, count(*) FROM runs GROUP BY model", "groups about"),
        ("SELECT DISTINCT model FROM runs", "makes distinct about"),
    ):
        found = big.explain(sql).findings
        # PostgreSQL groups by hashes, which is not slow.
        assert any(said.startswith(word) for said in found) == (engine_name == "sqlite")


def test_a_plan_for_any_value_may_be_asked_by_who_only_reads(db: holdfast.Database, url: str) -> None:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "a": int})
    db.insert("t", {"a": 1})
    mark = "$1" if db._engine.name == "postgres" else "?"
    with holdfast.connect(url, read_only=True) as reader:
        plan = explain.generic(reader._executor, f"SELECT id FROM t WHERE id = {mark}")
        assert plan.root.kind == "search"
        with contextlib.suppress(holdfast.Error):
            reader._executor.run("PREPARE y AS DELETE FROM t")
        for sql in (
            "PREPARE x AS SELECT set_config('transaction_read_only', 'off', true)",
            "EXECUTE y",
            "EXPLAIN ANALYZE EXECUTE y",
        ):
            with pytest.raises(holdfast.Error):
                reader._executor.run(sql)
    assert db.count("t") == 1
