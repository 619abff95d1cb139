"""Filters: the same answer as plain Python gives, on every backend; and what cannot be understood."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast import errors
from holdfast.memory import Message, Passage, SQLStore
from stores.evaluator import matches

Open = Callable[..., SQLStore]
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
KEYS = ["n", "s", "model", "a.b", 'odd"key', "", "$"]
VALUES: list[Any] = [
    *(0, 1, 9, 10, -1, 2.5, 10.0, 0.1, 1e22, 2**53 + 1, 2**63 - 1, -(2**63), 1e-7),
    *(
        "",
        "a",
        "B",
        "b",
        "ä",
        "\U0001f980",
        "9",
        "10",
        "true",
        "null",
        "a%b",
        "a_b",
        "x*y",
        "x[y",
        "a\\b",
        "a'b",
    ),
    *(True, False, None, [1], {"a": 1}),
]
SCALARS = [value for value in VALUES if not isinstance(value, (list, dict))]
COMPARED = [value for value in SCALARS if value is not None and not isinstance(value, bool)]
PATTERNS = ["%", "_", "a%", "%b", "a\\%b", "x*y", "x[y", "%\\\\%", "a_b", "", "A%"]


def _records(chance: random.Random) -> list[Passage | Message]:
    passages = [
        Passage(
            f"text {number}",
            data_source=chance.choice([None, "a", "B", "ä", "a%b"]),
            doc_id=chance.choice([None, "9", "10"]),
            created_at=NOON + timedelta(seconds=number // 3),
            metadata={key: chance.choice(VALUES) for key in KEYS if chance.random() < 0.6},
        )
        for number in range(60)
    ]
    messages = [
        Message("user" if number % 2 else "bot", f"m {number}", model=chance.choice([None, "a", "9"]))
        for number in range(8)
    ]
    return [*passages, *messages]


def _condition(chance: random.Random) -> tuple[str, Any]:
    key = chance.choice(
        [*(key for key in KEYS if key[:1] != "$"), "data_source", "doc_id", "metadata.n", "role"]
    )
    if chance.random() < 0.1:
        moment = NOON + timedelta(seconds=chance.randrange(20))
        return "created_at", {chance.choice(["$gt", "$gte", "$lt", "$lte", "$eq", "$ne"]): moment}
    operator = chance.choice(
        ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists", "$like", None]
    )
    if operator is None:
        return key, chance.choice(SCALARS)
    if operator in ("$in", "$nin"):
        return key, {operator: chance.sample(SCALARS, chance.randrange(4))}
    if operator == "$exists":
        return key, {operator: chance.random() < 0.5}
    if operator == "$like":
        return key, {operator: chance.choice(PATTERNS)}
    return key, {operator: chance.choice(SCALARS if operator in ("$eq", "$ne") else COMPARED)}


def _filter(chance: random.Random, depth: int = 0) -> dict[str, Any]:
    kind = chance.random()
    if depth < 3 and kind < 0.25:
        return {
            chance.choice(["$and", "$or"]): [_filter(chance, depth + 1) for _ in range(chance.randrange(4))]
        }
    if depth < 3 and kind < 0.35:
        return {"$not": _filter(chance, depth + 1)}
    return dict(_condition(chance) for _ in range(chance.choice([1, 1, 1, 2, 3])))


def test_filters_answer_as_plain_python_does(store: SQLStore) -> None:
    chance = random.Random(7)
    store.insert_many(_records(chance))
    known = store.get_all()
    some = 0
    for _ in range(500):
        filters = _filter(chance)
        wanted = [record.id for record in known if matches(record, filters)]
        assert [record.id for record in store.get_all(filters)] == wanted, filters
        some += 0 < len(wanted) < len(known)
    assert some > 100


def test_long_lists_and_many_conditions(store: SQLStore) -> None:
    store.insert_many([Passage(f"t {n}", metadata={"n": n}) for n in range(50)])
    assert store.size({"n": {"$in": list(range(40, 3000))}}) == 10
    assert store.size({"$or": [{"n": n} for n in range(30, 1500)]}) == 20
    assert store.size({"text": {"$in": [f"t {n}" for n in range(3000)]}}) == 50


@pytest.mark.parametrize(
    "filters",
    [
        "n > 9",
        [("n", 1)],
        {1: 2},
        {"n": {"$gtt": 9}},
        {"n": {"$regex": "a"}},
        {"$nor": []},
        {"n": {}},
        {"n": {"a": 1}},
        {"n": {"$gt": None}},
        {"n": {"$gt": True}},
        {"n": {"$gt": [1]}},
        {"n": [1]},
        {"n": {"$in": 5}},
        {"n": {"$in": "abc"}},
        {"n": {"$in": [[1]]}},
        {"n": {"$exists": 1}},
        {"n": {"$like": 1}},
        {"n": float("nan")},
        {"n": 2**63},
        {"n": "a\0"},
        {"a\0": 1},
        {"n": b"x"},
        {"$or": {"n": 1}},
        {"$not": [1]},
        {"metadata": {"n": 1}},
        {"embedding": [1]},
        {"created_at": "yesterday"},
        {"created_at": datetime(2026, 1, 1)},
        {"created_at": 5},
    ],
)
def test_a_filter_that_cannot_be_understood_is_refused(store: SQLStore, filters: Any) -> None:
    for verb in (store.get_all, store.size, store.delete, lambda it: store.page(filters=it)):
        with pytest.raises(errors.InvalidQuery):
            verb(filters)


def test_an_unknown_operator_is_told_the_nearest_one(store: SQLStore) -> None:
    with pytest.raises(errors.InvalidQuery, match=r"did you mean '\$gte'"):
        store.size({"n": {"$gtee": 9}})


def test_a_filter_that_is_too_deep_is_refused(store: SQLStore) -> None:
    filters: dict[str, Any] = {"n": 1}
    for _ in range(60):
        filters = {"$not": filters}
    with pytest.raises(errors.InvalidQuery, match="deep"):
        store.size(filters)
