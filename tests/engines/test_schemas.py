"""Tables that are named with their schema."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import holdfast

ROWS = 12_000


@pytest.fixture
def shop(db: holdfast.Database, engine_name: str) -> Iterator[holdfast.Database]:
    if engine_name == "sqlite":
        pytest.skip("a file has one schema")
    db.execute("DROP SCHEMA IF EXISTS other CASCADE")
    db.execute("CREATE SCHEMA other")
    for schema in ("public", "other"):
        db.execute(f"CREATE TABLE {schema}.orders (id BIGINT PRIMARY KEY, person BIGINT, state TEXT)")
        db.execute(
            f"INSERT INTO {schema}.orders SELECT n, n % 3000, 'open' FROM generate_series(1, {ROWS}) n"
        )
    db.execute("ANALYZE")
    yield db
    db.execute("DROP SCHEMA other CASCADE")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id FROM public.orders WHERE person = 7",
        'SELECT o.id FROM "public" . "orders" AS o WHERE o.person = ?',
        "SELECT orders.id FROM public.orders WHERE public.orders.person = 7",
        "UPDATE public.orders SET state = 'x' WHERE person = 7",
        "DELETE FROM public.orders WHERE person = 7",
    ],
)
def test_a_table_that_is_named_with_its_schema_is_the_same(shop: holdfast.Database, sql: str) -> None:
    found = shop.suggest_indexes([sql])
    assert found.skipped == {}
    assert [(advice.table, advice.columns[0]) for advice in found] == [("orders", "person")]
    assert shop.count("orders") == ROWS


def test_a_table_of_another_schema_is_said_not_to_be_looked_at(shop: holdfast.Database) -> None:
    query = "SELECT id FROM other.orders WHERE person = 7"
    found = shop.suggest_indexes([query])
    assert found == []
    ((name, why),) = found.skipped.items()
    assert name == "SELECT id FROM other.orders WHERE person = ?"
    assert "options=-csearch_path=other" in why


def test_the_way_that_is_said_leads_there(shop: holdfast.Database, url: str) -> None:
    query = "SELECT id FROM other.orders WHERE person = 7"
    with holdfast.connect(f"{url}?options=-csearch_path=other") as db:
        db.execute("CREATE TABLE other.notes (id BIGINT PRIMARY KEY, o BIGINT REFERENCES other.orders)")
        db.execute(f"INSERT INTO other.notes SELECT n, n FROM generate_series(1, {ROWS}) n")
        db.execute("CREATE INDEX one ON other.orders (state)")
        db.execute("CREATE INDEX two ON other.orders (state)")
        db.analyze()
        (advice,) = [one for one in db.suggest_indexes([query]) if one.action == "create"]
        assert (advice.table, advice.columns[0]) == ("orders", "person")
        list(db.suggest_indexes([query]).apply())
        assert all(one.action == "drop" for one in db.suggest_indexes([query]))
        left = {finding.check for finding in db.doctor() if finding.sql}
        assert {"indexes", "foreign keys"} <= left
        for finding in db.doctor():
            for statement in finding.sql if finding.check in ("indexes", "foreign keys") else ():
                db.execute(statement)
        assert not {"indexes", "foreign keys"} & {finding.check for finding in db.doctor()}
    assert len(shop.list_indexes("orders")) == 1
