"""Indexes of what is computed of a column, of the beginnings of texts, and of what is within a value."""

from __future__ import annotations

import random
from typing import Any

import pytest

import holdfast
from holdfast.tuning.advice import Advice

ROWS = 4_000


@pytest.fixture
def people(db: holdfast.Database, engine_name: str) -> holdfast.Database:
    draw = random.Random(5)
    server = engine_name != "sqlite"
    db.execute(
        "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, email TEXT, tenant INTEGER, "
        f"created {'TIMESTAMP' if server else 'TEXT'}, data {'JSONB' if server else 'JSON'}"
        f"{', tags TEXT[]' if server else ''})"
    )
    rows = []
    for n in range(ROWS):
        day = f"20{n % 20 + 10}-{n % 12 + 1:02}-{n % 28 + 1:02} 12:00:{n % 60:02}"
        letters = "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=8))
        data = {"kind": f"k{n % 500}", "deep": {"n": n}, "rare": None if n else "one"}
        row: tuple[Any, ...] = (n, letters.capitalize(), f"P{n}@Example.org", n % 5, day, data)
        rows.append((*row, [f"t{n % 700}", f"u{n % 300}"]) if server else row)
    db.insert_many("people", rows)
    db.analyze()
    return db


def made(db: holdfast.Database, *workload: str) -> list[Advice]:
    found = db.suggest_indexes(workload)
    assert found.skipped == {}
    for advice in found:
        proved(advice)
    return list(found)


def proved(advice: Advice) -> None:
    """By time and plan before and after, its size, and what it takes from a write."""
    assert advice.action == "create"
    assert 0 < advice.after < advice.before
    assert advice.size > 0 < advice.write_cost
    assert advice.index is not None
    assert advice.index not in str(advice.plan_before)
    assert advice.index in str(advice.plan_after)
    assert len(advice.times) == len(advice.statements) > 0


BOTH = {
    "lower(email) = ?": "lower(email)",
    "Upper( p.\"email\" ) = 'P17@EXAMPLE.ORG'": 'Upper("email")',
    "substr(name, 1, 5) = 'Abcde'": "substr(name, 1, 5)",
    "coalesce(email, '') = lower(?)": "coalesce(email, '')",
    "date(created) = '2013-04-04'": "date(created)",
    "upper(trim(name)) IN ('X', 'Y')": "upper(trim(name))",
    "id + tenant = 77": "(id + tenant)",
    "p.id * 2 BETWEEN 40 AND 50": "(id * 2)",
    "data ->> 'kind' = 'k7'": "(data ->> 'kind')",
    "p.data->>'rare' = ?": "(data->>'rare')",
    "data -> 'deep' ->> 'n' = '17'": "(data -> 'deep' ->> 'n')",
}
OWN = {
    "sqlite": {"json_extract(data, '$.deep.n') = 17": "json_extract(data, '$.deep.n')"},
    "postgres": {
        "(data->'deep'->>'n')::int = 17": "((data->'deep'->>'n')::int)",
        "created::date = '2013-04-04'": "date(created)",
        "date_trunc('day', created) = ?": "date_trunc('day', created)",
        "extract(year FROM created) = 2013 AND tenant = 3": "extract(year FROM created)",
    },
}


def test_what_is_computed_is_found_by_an_index_of_it(people: holdfast.Database) -> None:
    wanted = BOTH | OWN[people._engine.name]
    queries = [f"SELECT p.id, p.name FROM people p WHERE {condition}" for condition in wanted]
    found = people.suggest_indexes(queries)
    assert found.skipped == {}
    # PostgreSQL knows that these two are the same.
    columns = {column.replace("(created::date)", "date(created)") for one in found for column in one.columns}
    assert columns >= set(wanted.values()), str(found)
    for advice in found:
        proved(advice)
        assert all(type(column) is str for column in advice.columns)
    assert len(list(found.apply())) == len(found)
    for query in queries:
        plan = people.explain(query.replace("?", "'2013-04-04'"))
        assert {step.index for step in plan.root.walk()} & {advice.index for advice in found}, str(plan)


def test_what_a_change_computes_is_found_too(people: holdfast.Database) -> None:
    statements = [
        "UPDATE people SET name = 'x' WHERE substr(email, 1, 4) = ? AND tenant = ?",
        "DELETE FROM people WHERE substr(email, 1, 4) = 'P777' RETURNING id",
    ]
    (advice,) = made(people, *statements)
    assert "substr(email, 1, 4)" in advice.columns
    assert len(advice.statements) == 2
    assert people.count("people") == ROWS


def test_an_order_of_what_is_computed_is_read_off_an_index(people: holdfast.Database) -> None:
    (advice,) = made(people, "SELECT id, lower(name) AS small FROM people ORDER BY small LIMIT 5")
    assert advice.columns == ("lower(name)",)


def test_a_join_by_what_is_computed(people: holdfast.Database, engine_name: str) -> None:
    if engine_name == "sqlite":
        pytest.skip("its planner looks into no such index for a column of another table")
    people.execute("CREATE TABLE letters (id INTEGER PRIMARY KEY, address TEXT)")
    people.insert_many("letters", [(n, f"p{n}@example.org") for n in range(50)])
    people.analyze()
    query = "SELECT p.name FROM letters l JOIN people p ON lower(p.email) = l.address WHERE l.id = 7"
    (advice,) = made(people, query)
    assert (advice.table, advice.columns[0]) == ("people", "lower(email)")


def test_the_beginning_of_a_text(people: holdfast.Database, engine_name: str) -> None:
    queries = [
        "SELECT id, email FROM people WHERE name LIKE 'Abc%'",
        "SELECT id FROM people WHERE name LIKE ?",
    ]
    found = people.suggest_indexes(queries)
    advice = found[0]
    way = '"name" COLLATE NOCASE' if engine_name == "sqlite" else '"name" text_pattern_ops'
    # In a database whose texts are in the order of their letters' numbers a plain index does.
    assert advice.columns[0] in ((way,) if engine_name == "sqlite" else (way, "name"))
    assert len(advice.statements) == 2 or len(found) == 2
    list(found.apply())
    assert people.suggest_indexes(queries) == []


def test_the_beginning_of_a_text_in_the_order_of_a_language(
    people: holdfast.Database, engine_name: str
) -> None:
    if engine_name == "sqlite":
        pytest.skip("PostgreSQL's own")
    try:
        people.execute("""ALTER TABLE people ALTER name TYPE TEXT COLLATE "de-x-icu" """)
    except holdfast.Error:
        pytest.skip("this server has no ICU")
    people.analyze()
    (advice,) = made(people, "SELECT id, email FROM people WHERE name LIKE 'Abc%'")
    assert advice.columns == ('"name" text_pattern_ops',)


def test_equal_columns_come_before_the_beginning_of_a_text(people: holdfast.Database) -> None:
    advice, *_ = made(people, "SELECT email FROM people WHERE tenant = 3 AND name LIKE 'Ab%'")
    assert "name" in str(advice.columns)


def test_a_glob_is_in_the_order_of_the_letters(people: holdfast.Database, engine_name: str) -> None:
    if engine_name != "sqlite":
        pytest.skip("SQLite's own")
    advice, *_ = made(people, "SELECT id FROM people WHERE name GLOB 'Abc*'")
    assert advice.columns[0] == "name"


def test_what_may_stand_anywhere(people: holdfast.Database, engine_name: str) -> None:
    condition = "name LIKE '%bcd%' AND tenant < 9"
    query = f"SELECT id FROM people WHERE {condition}"
    found = people.suggest_indexes([query])
    if engine_name == "debian":
        try:
            people.execute("CREATE EXTENSION pg_trgm")
            people.execute("DROP EXTENSION pg_trgm")
        except holdfast.Error:
            pytest.skip("no pg_trgm here")
        (advice,) = made(people, query)
        assert (advice.method, advice.columns) == ("gin", ('"name" gin_trgm_ops',))
        assert str(advice).startswith('CREATE EXTENSION IF NOT EXISTS "pg_trgm";\nCREATE INDEX ')
        # Nothing of the trial stays.
        assert people.query("SELECT 1 FROM pg_extension WHERE extname = 'pg_trgm'") == []
        list(found.apply())
        assert people.suggest_indexes([query]) == []
    else:
        assert found == []
        assert "enable_search('people', 'name')" in str(found)
        assert next(iter(found.hints)).startswith("SELECT id FROM people")


def test_what_is_within_a_value(people: holdfast.Database, engine_name: str) -> None:
    if engine_name == "sqlite":
        pytest.skip("it has no such values")
    conditions = ["tags @> ARRAY['t17']", "tags @> ?", "tags && ARRAY['t17', 'u5']"]
    conditions += ["""data @> '{"kind": "k77"}'""", "data @> ?"]
    queries = [f"SELECT id FROM people WHERE {condition}" for condition in conditions]
    found = made(people, *queries)
    assert {advice.columns[0].split()[0] for advice in found} == {'"tags"', '"data"'}
    assert {advice.method for advice in found} == {"gin"}
    assert all(" USING gin (" in advice.sql for advice in found)
    list(people.suggest_indexes(queries).apply())
    assert people.suggest_indexes(queries) == []


def test_what_no_index_can_hold_is_no_end(people: holdfast.Database) -> None:
    conditions = [
        "lower(email) = (SELECT max(email) FROM people)",
        "random() < 0.5",
        "name || ? = 'x'",
        "CASE WHEN tenant = 1 THEN name ELSE email END = 'x'",
        "(lower(name), tenant) = ('x', 3)",
        "name LIKE email",
        "name NOT LIKE 'A%'",
        "lower(name) LIKE lower(email)",
        "lower(name) <> 'x'",
    ]
    found = people.suggest_indexes([f"SELECT id FROM people WHERE {condition}" for condition in conditions])
    assert found.skipped == {}
    for advice in found:
        proved(advice)


@pytest.mark.parametrize("name", ["a.b", "lower(x)", 'x"y', "SELECT", "Über"])
def test_the_worst_names_are_computed_with(db: holdfast.Database, name: str) -> None:
    db.create_table(name, {"id": "INTEGER PRIMARY KEY", name: "TEXT"})
    db.insert_many(name, [{name: f"V{n}"} for n in range(ROWS)])
    quoted = '"' + name.replace('"', '""') + '"'
    query = f"SELECT id FROM {quoted} AS {quoted} WHERE lower({quoted}.{quoted}) = 'v7'"
    (advice,) = made(db, query)
    assert advice.columns == (f"lower({quoted})",)
    list(db.suggest_indexes([query]).apply())
    assert db.suggest_indexes([query]) == []


def test_an_index_of_what_is_computed_is_weighed_against_writes(people: holdfast.Database) -> None:
    query = "SELECT id FROM people WHERE lower(email) = 'p17@example.org'"
    assert made(people, query)
    assert people.suggest_indexes([query, *["UPDATE people SET email = ?"] * 100_000]) == []
    assert made(people, query, *["UPDATE people SET name = ?"] * 100_000)
