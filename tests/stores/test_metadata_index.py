"""An index on a key of the metadata: found by the planner, and no answer is another one with it."""

from __future__ import annotations

from typing import Any

import pytest

import holdfast
from holdfast.errors import InvalidQuery, NotSupported
from holdfast.memory import Message, Passage, SQLStore

KEY = "a key: of 3.5"
VALUES: list[Any] = [
    *range(-3, 40),
    *(0.5, 1.0, -0.25, 2**53, 1e300, True, False, None, [], [1], {"deep": 1}, "", "1", "true", "[1]"),
    *(
        "long " * 3000,
        "long " * 3000 + "!",
        "x" * 200,
        "x" * 201,
        "x" * 199,
        "Ab",
        "ab",
        "aB",
        "\u00e9",
        "\U0001f600",
    ),
]
COMPARING = ("$gt", "$gte", "$lt", "$lte")
ASKED: list[Any] = [
    *(0, 1, 1.0, 0.5, 7, True, False, None, "", "1", "ab", "long " * 3000, "x" * 200, "[1]", "\U0001f600"),
    *({"$in": [1, "ab", None]}, {"$in": [True, 3]}, {"$in": []}, {"$nin": [1, "x" * 201]}, {"$ne": 5}),
    *(
        {operator: value}
        for operator in ("$gt", "$gte", "$lt", "$lte")
        for value in (3, -0.25, "ab", "x" * 200)
    ),
    *({"$gt": 2, "$lt": 9}, {"$gt": "long " * 3000}, {"$exists": True}, {"$like": "x%"}),
]


def plan(db: holdfast.Database, sql: str, params: list[Any]) -> str:
    explain = "EXPLAIN QUERY PLAN" if db._executor.target.path else "EXPLAIN"
    return "\n".join(str(list(row)) for row in db._executor.rows(f"{explain} {sql}", params))


def filled(store: SQLStore) -> None:
    store.insert_many([Passage(f"text {n}", metadata={KEY: value}) for n, value in enumerate(VALUES)])
    store.insert_many([Passage("without"), Message("user", "no metadata")])


def answers(store: SQLStore) -> list[list[str]]:
    found = []
    for asked in ASKED:
        for filters in ({KEY: asked}, {"$not": {KEY: asked}}, {"$or": [{KEY: asked}, {"text": "without"}]}):
            found.append([record.text for record in store.get_all(filters)])  # type: ignore[union-attr]
    return found


def test_with_an_index_each_filter_leaves_the_same(db: holdfast.Database, opened: Any) -> None:
    store, eve = opened(user_id="ada"), opened(user_id="eve")
    filled(store)
    before = answers(store)
    total = len(VALUES) + 2
    assert [len(found) for found in before[:6]] == [1, total - 1, 2, 2, total - 2, 3]
    store.index_metadata(KEY)
    if not db._executor.target.path:
        # So few rows would never be looked for by an index.
        db._executor.run("SET enable_seqscan = off")
    assert answers(store) == before
    eve.insert(Passage("another's", metadata={KEY: 1}))
    filled(eve)
    assert answers(store) == before
    # What is written now is found by it, however long it is.
    store.insert(Passage("new", metadata={KEY: "y" * 20_000}))
    assert [record.text for record in store.get_all({KEY: "y" * 20_000})] == ["new"]
    store.index_metadata(KEY)
    store.drop_metadata_index(KEY)
    store.delete({"text": "new"})
    assert answers(store) == before


@pytest.mark.parametrize("in_transaction", [False, True])
def test_few_of_many_are_found_by_it(db: holdfast.Database, opened: Any, in_transaction: bool) -> None:
    store = opened(user_id="ada")
    store.insert_many(
        [
            Passage(f"text {n}", data_source=f"s{n}", metadata={"n": n, "day": f"2026-{n:05}"})
            for n in range(3000)
        ]
    )
    before = {index["name"] for index in db.list_indexes(store.table_name)}
    if in_transaction:
        with db.transaction():
            store.index_metadata("n")
            store.index_metadata("day")
            store.index_metadata("data_source")
    else:
        store.index_metadata("n")
        store.index_metadata("metadata.day")
        store.index_metadata("data_source")
    db.analyze()
    names = {index["name"] for index in db.list_indexes(store.table_name)} - before
    assert len(names) == (3 if db._executor.target.path else 5)
    for filters in (
        {"n": 7},
        {"n": {"$in": [7, 7.5]}},
        {"n": {"$gte": 7, "$lt": 8}},
        {"day": "2026-00007"},
        {"day": {"$gte": "2026-00007", "$lt": "2026-00008"}},
        {"data_source": "s7"},
    ):
        sql, given = store._reader().within(store._reader().filter(filters))
        said = plan(db, f'SELECT "n" FROM {store._shape().table} WHERE {sql}', given)
        assert any(name in said for name in names if "_key" in name or "_text" in name or "source" in name), (
            said
        )
        assert [record.text for record in store.get_all(filters)] == ["text 7"]


def test_what_cannot_be_indexed_is_named(store: SQLStore, db: holdfast.Database) -> None:
    before = len(db.list_indexes(store.table_name))
    for named in ("text", "id", "role", "created_at", "metadata", "$and", "", 7, None):
        with pytest.raises(InvalidQuery):
            store.index_metadata(named)  # type: ignore[arg-type]
    if db._executor.target.path:
        with pytest.raises(NotSupported):
            store.index_metadata('quo"te')
    store.drop_metadata_index("never made")
    assert len(db.list_indexes(store.table_name)) == before
