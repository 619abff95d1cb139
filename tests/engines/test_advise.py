"""Indexes that are suggested make the statements faster, and others are not suggested."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.errors import (
    ConfigurationError,
    DatabaseError,
    InvalidQuery,
    NotSupported,
    ReadOnlyError,
    TransactionError,
    UniqueViolation,
)

ROWS = 20_000


@pytest.fixture
def shop(db: holdfast.Database) -> holdfast.Database:
    random.seed(7)
    db.create_table("people", {"id": "INTEGER PRIMARY KEY", "mail": "TEXT", "land": "TEXT"})
    db.create_table(
        "orders",
        {"id": "INTEGER PRIMARY KEY", "person": "INTEGER", "state": "TEXT", "day": "INTEGER", "sum": "REAL"},
    )
    db.insert_many("people", [{"mail": f"p{n}@x.org", "land": "de"} for n in range(ROWS // 4)])
    db.insert_many(
        "orders",
        [
            {"person": random.randrange(ROWS // 4), "state": "open", "day": n % 365, "sum": random.random()}
            for n in range(ROWS)
        ],
    )
    db.analyze()
    return db


def suggested(db: holdfast.Database, *workload: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(advice.table, advice.columns) for advice in db.suggest_indexes(workload)]


def test_what_is_found_by_an_index_is_suggested_and_faster(shop: holdfast.Database) -> None:
    found = shop.suggest_indexes(["SELECT * FROM people WHERE mail = ?"])
    (advice,) = found
    assert (advice.table, advice.columns) == ("people", ("mail",))
    assert advice.after * 1.3 <= advice.before
    assert advice.size > 0
    assert advice.statements == ("SELECT * FROM people WHERE mail = ?",)
    assert "times as fast" in str(found)
    shop.execute(advice.sql)
    assert "idx_people_mail" in {index["name"] for index in shop.list_indexes("people")}
    assert shop.suggest_indexes(["SELECT * FROM people WHERE mail = ?"]) == []


def test_equal_columns_come_before_ordered_ones(shop: holdfast.Database) -> None:
    ((table, columns), *_) = suggested(
        shop, "SELECT id FROM orders WHERE person = :p AND day > :d ORDER BY day LIMIT 5"
    )
    assert table == "orders"
    assert columns[0] == "person"


def test_one_index_serves_many_statements(shop: holdfast.Database) -> None:
    found = shop.suggest_indexes(
        [
            "SELECT count(*) FROM orders WHERE person = 17",
            "UPDATE orders SET sum = ? WHERE person = ?",
            "DELETE FROM orders WHERE person IN (?, ?)",
        ]
    )
    assert [(advice.table, advice.columns[0]) for advice in found] == [("orders", "person")]
    assert len(found[0].statements) == 3
    assert shop.count("orders") == ROWS


def test_an_index_that_would_not_help_is_not_suggested(shop: holdfast.Database) -> None:
    assert suggested(shop, "SELECT * FROM orders WHERE state = 'open'") == []
    assert suggested(shop, "SELECT * FROM orders WHERE id = ?") == []
    assert suggested(shop, "SELECT * FROM orders") == []


def test_joins_get_an_index(shop: holdfast.Database) -> None:
    ((table, columns), *_) = suggested(
        shop, "SELECT o.sum FROM people p JOIN orders o ON o.person = p.id WHERE p.id = ?"
    )
    assert (table, columns[0]) == ("orders", "person")


def test_nothing_is_changed(shop: holdfast.Database) -> None:
    before = shop.list_indexes(), shop.list_tables(), shop.count("orders")
    shop.suggest_indexes(["SELECT * FROM people WHERE mail = ?"])
    with shop.transaction(), pytest.raises(TransactionError):
        shop.suggest_indexes(["SELECT * FROM people WHERE mail = ?"])
    assert (shop.list_indexes(), shop.list_tables(), shop.count("orders")) == before


def test_what_cannot_be_looked_at_is_said(shop: holdfast.Database) -> None:
    found = shop.suggest_indexes(
        ["SELEKT 1 FRM x", "SELECT * FROM people WHERE nothing_there(mail) = 1 AND land = ?"]
    )
    assert len(found.skipped) == 2
    assert "not looked at" in str(found)
    assert shop.count("people") == ROWS // 4


@pytest.mark.parametrize("sql", ["SELECT * FROM peeple WHERE mail = 'hush'", "SELECT 'hush'"])
def test_a_statement_without_a_table_is_said_not_to_be_looked_at(shop: holdfast.Database, sql: str) -> None:
    found = shop.suggest_indexes([sql])
    assert list(found.skipped.values()) == ["it reads no table that is here"]
    assert "hush" not in str(found)


def test_why_a_statement_does_not_run_is_said(shop: holdfast.Database) -> None:
    found = shop.suggest_indexes(["SELECT * FROM people WHERE mial = 'hush'"])
    assert "mial" in str(found.skipped.values())
    assert "hush" not in str(found)


def test_who_only_reads_is_advised_too(shop: holdfast.Database, url: str) -> None:
    with holdfast.connect(url, read_only=True) as db:
        assert suggested(db, "SELECT * FROM people WHERE mail = ?") == [("people", ("mail",))]
        with pytest.raises(ReadOnlyError):
            db.delete("people", all_rows=True)


def test_a_damaged_file_is_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "damaged.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b TEXT)")
        raw.executemany("INSERT INTO t (a, b) VALUES (?, ?)", [(f"x{n}", "y" * 50) for n in range(ROWS)])
        raw.execute("CREATE INDEX ia ON t (a)")
        raw.commit()
    data = bytearray(path.read_bytes())
    for seed in range(6):
        data[4096 * 40 : 4096 * 60] = random.Random(seed).randbytes(4096 * 20)
        path.write_bytes(data)
        with holdfast.connect(path, read_only=True) as db:
            try:
                told = str(db.suggest_indexes(["SELECT * FROM t WHERE b = 'q'"]))
            except DatabaseError as exc:
                told = exc.message
        assert "damaged" in told


def test_the_workload_is_what_was_recorded(shop: holdfast.Database) -> None:
    shop.record_queries(False)
    with pytest.raises(ConfigurationError):
        shop.suggest_indexes()
    shop.record_queries()
    for n in range(5):
        shop.find_one("people", where={"mail": f"p{n}@x.org"})
        shop.update("orders", {"sum": 1.0}, {"person": n})
    found = [(advice.table, advice.columns[0]) for advice in shop.suggest_indexes()]
    assert set(found) == {("people", "mail"), ("orders", "person")}


@pytest.mark.parametrize("sql", ["COMMIT", "DROP TABLE people", "SELECT 1; DROP TABLE people", "VACUUM"])
def test_what_is_no_query_is_not_run(shop: holdfast.Database, sql: str) -> None:
    found = shop.suggest_indexes([sql, "SELECT * FROM people WHERE mail = ?"])
    assert [(advice.table, advice.columns) for advice in found] == [("people", ("mail",))]
    assert shop.count("people") == ROWS // 4
    assert [index["name"] for index in shop.list_indexes("people") if not index["primary_key"]] == []


@pytest.mark.parametrize("workload", ["SELECT 1", 3, [None], [5], [b"SELECT 1"]])
def test_a_workload_is_a_list_of_texts(db: holdfast.Database, workload: Any) -> None:
    with pytest.raises(InvalidQuery, match="list of statements"):
        db.suggest_indexes(workload)


@pytest.mark.parametrize("name", ['x"; DROP TABLE t;--', "Runs", "SELECT", "über alles"])
def test_the_worst_names_are_read(db: holdfast.Database, name: str) -> None:
    db.create_table(name, {"id": "INTEGER PRIMARY KEY", name: "INTEGER"})
    db.insert_many(name, [{name: n} for n in range(ROWS)])
    quoted = '"' + name.replace('"', '""') + '"'
    found = db.suggest_indexes([f"SELECT * FROM {quoted} WHERE {quoted} = ?"])
    assert [(advice.table, advice.columns) for advice in found] == [(name, (name,))]
    assert list(found.apply())
    assert db.suggest_indexes([f"SELECT * FROM {quoted} WHERE {quoted} = ?"]) == []


def test_what_a_failed_build_left_is_removed(shop: holdfast.Database, engine_name: str) -> None:
    if engine_name == "sqlite":
        pytest.skip("nothing is left there")
    query = "SELECT * FROM orders WHERE person = 17"
    with pytest.raises(UniqueViolation):
        shop.execute('CREATE UNIQUE INDEX CONCURRENTLY "idx_orders_person" ON orders (person)')
    assert "idx_orders_person" in {index["name"] for index in shop.list_indexes("orders")}
    found = shop.suggest_indexes([query])
    assert [advice.index for advice in found] == ["idx_orders_person"]
    assert list(found.apply()) == ["made the index idx_orders_person of orders"]
    assert shop.suggest_indexes([query]) == []
    plans, run = shop._engine.plans, shop._executor.send
    with pytest.raises(UniqueViolation):
        plans.carry_out(run, "CREATE UNIQUE INDEX CONCURRENTLY sums ON orders (state)", "sums")
    assert "sums" not in {index["name"] for index in shop.list_indexes("orders")}


def test_indexes_are_made_outside_transactions(shop: holdfast.Database) -> None:
    found = shop.suggest_indexes(["SELECT * FROM people WHERE mail = ?"])
    with shop.transaction(), pytest.raises(TransactionError):
        list(found.apply())
    assert list(found.apply()) == ["made the index idx_people_mail of people"]


def test_the_planner_is_asked_where_it_can_imagine(shop: holdfast.Database, engine_name: str) -> None:
    plans, run = shop._engine.plans, shop._executor.send
    assert plans.imagining(run) is None
    if engine_name != "debian":
        return
    try:
        shop.execute("CREATE EXTENSION hypopg")
    except NotSupported:
        pytest.skip("no HypoPG here")
    imagine = plans.imagining(run)
    assert imagine is not None
    with imagine('CREATE INDEX ON "people" ("mail")') as name:
        assert shop.explain("SELECT * FROM people WHERE mail = 'p1@x.org'").root.index == name
    assert shop.explain("SELECT * FROM people WHERE mail = 'p1@x.org'").root.index is None
    queries = ["SELECT * FROM people WHERE mail = ?", "SELECT * FROM people WHERE land = 'de'"]
    assert suggested(shop, *queries) == [("people", ("mail",))]
    assert run("SELECT count(*) FROM hypopg_list_indexes").fetchall() == [(0,)]


def test_an_index_that_costs_more_than_it_gives_is_not_suggested(shop: holdfast.Database) -> None:
    query = "SELECT * FROM people WHERE mail = 'p7@x.org'"
    assert suggested(shop, query) == [("people", ("mail",))]
    assert suggested(shop, query, *["INSERT INTO people (mail) VALUES (?)"] * 100_000) == []
    # What is written elsewhere, or in other columns, is no reason.
    others = ["UPDATE people SET land = ?", "INSERT INTO orders (person) VALUES (?)"]
    assert suggested(shop, query, *others * 10_000) == [("people", ("mail",))]


def test_a_partial_index_is_not_made_of_a_value_that_changes(shop: holdfast.Database) -> None:
    shop.execute("UPDATE orders SET state = 'late' WHERE id % 100 = 0")
    shop.analyze()
    asked = "SELECT id, sum FROM orders WHERE state = '{}' ORDER BY day LIMIT 5"
    (one,) = shop.suggest_indexes([asked.format("late")])
    assert one.where is not None
    assert "WHERE \"state\" = 'late'" in one.sql
    found = shop.suggest_indexes([asked.format("late"), asked.format("open")])
    assert all(advice.where is None for advice in found)


def test_a_partial_index_is_not_made_of_a_value_that_is_not_there_or_everywhere(
    shop: holdfast.Database,
) -> None:
    for state in ("open", "nowhere"):
        found = shop.suggest_indexes(
            [f"SELECT id, sum FROM orders WHERE state = '{state}' ORDER BY day LIMIT 5"]
        )
        assert all(advice.where is None for advice in found)


def test_a_workload_that_mostly_writes_gets_only_what_pays(shop: holdfast.Database) -> None:
    """Two indexes would help two statements; one is on what is written all the time."""
    reads = ["SELECT * FROM people WHERE mail = 'p7@x.org'", "SELECT id FROM orders WHERE person = 17"]
    assert {table for table, _ in suggested(shop, *reads)} == {"people", "orders"}
    writes = ["INSERT INTO orders (person, day) VALUES (?, ?)"] * 100_000
    found = shop.suggest_indexes([*reads, *writes])
    assert [(advice.table, advice.columns) for advice in found] == [("people", ("mail",))]
    ((before, after),) = found[0].times
    assert after < before
