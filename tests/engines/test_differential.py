"""Random schemas, rows, filters and orders: both engines answer alike, or one refuses what is named here.

The differences are explained in ``docs/differences.md``; a refusal that is not in ``REFUSED_BY`` fails.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

import holdfast
import servers
from holdfast.errors import Error, IntegrityError, InvalidQuery, ValueRefused

TYPES = [
    "INTEGER", "SMALLINT", "REAL", "TEXT", "VARCHAR(5)", "BOOLEAN", "NUMERIC", "NUMERIC(10,2)", "DATE",
    "TIME",
    "TIMESTAMP", "DATETIME", "TIMESTAMPTZ", "JSON", "BLOB", "UUID",
]  # fmt: skip
NAMES = ["a", "B", "select", "a b", 'q"q', "é", "x.y", "n%s", "who?", "c:d", "$1", "back\\"]
CEST = timezone(timedelta(hours=2))

AWKWARD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 255, 2**31, 2**63 - 1, -(2**63), 2**63, 10**30,
    0.0, -0.0, 0.5, 1.0, 0.1, 1e22, 1.5e300, 5e-324, math.inf, -math.inf, math.nan,
    "", " ", "0", "007", "1e5", "NA", "NULL", "abc", "ABC", "abcdef", "é", "Z", "a%", "a_", "'; --",
    "line\nbreak",
    "nul\0", "\ud800", "2024-01-02", "2024-01-02 03:04:05", "no date", "{}",
    Decimal(0), Decimal("1.50"), Decimal("1.005"), Decimal("12345678.91"), Decimal("1E+3"), Decimal("NaN"),
    Decimal("0.1234567890123456789"), Decimal(2**70),
    date(2024, 1, 2), date(1, 1, 1), date(9999, 12, 31), time(1, 2, 3), time(1, 2, 3, 4), time(1,
    tzinfo=CEST),
    datetime(2024, 1, 2), datetime(2024, 1, 2, 3, 4, 5), datetime(2024, 1, 2, 3, 4, 5, 678),
    datetime(2024, 1, 2, 3, tzinfo=UTC), datetime(2024, 1, 2, 3, tzinfo=CEST), datetime(1, 1, 1, tzinfo=CEST),
    b"", b"\0\xff", b"abc", uuid.UUID(int=0), uuid.UUID(int=2**128 - 1),
    {}, [], {"a": 1}, {"b": 1, "a": [None, True, 1.5]}, [1.5e300, 1e22], {"n": 2**70}, {"z": -0.0},
    [math.nan],
    {"t": (1, 2)}, {1: 2}, ["\0"], ["\\u0000"],
]  # fmt: skip

# (kind of column, what refuses, why): the other engine keeps the value exactly.
REFUSED_BY = {
    ("float", "sqlite", "NaN would become NULL, and -0.0 would become 0.0"),
    ("decimal", "sqlite", "NUMERIC keeps 15 to 17 digits"),
    ("json", "embedded", "jsonb has no -0.0"),
    ("json", "sqlite", "a lone number in a JSON column becomes one of 64 bits"),
    ("timestamp", "embedded", "a text that is no date stays text on SQLite only"),
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, holdfast.Database]]:
    server = servers.embedded_server()
    server.create_database("differential")
    path = tmp_path_factory.mktemp("differential") / "d.db"
    with holdfast.connect(path) as lite, holdfast.connect(server.url("differential")) as server_db:
        yield {"sqlite": lite, "embedded": server_db}
    server.drop_database("differential")


@st.composite
def schemas(draw: st.DrawFn) -> dict[str, str]:
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=5, unique=True))
    columns = {"id": "INTEGER PRIMARY KEY"}
    for name in names:
        columns[name] = draw(st.sampled_from(TYPES)) + draw(
            st.sampled_from(["", "", "", " NOT NULL", " UNIQUE"])
        )
    return columns


def rows(columns: dict[str, str]) -> st.SearchStrategy[dict[str, Any]]:
    names = [name for name in columns if name != "id"]
    values = st.sampled_from(AWKWARD) | st.text(max_size=5) | st.floats() | st.integers() | st.booleans()
    return st.dictionaries(st.sampled_from(names), values, max_size=len(names))


def outcome(action: Any) -> tuple[str, Any]:
    try:
        return "answer", action()
    except Error as error:
        return type(error).__name__, None


def same(left: Any, right: Any) -> bool:
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    # A lone 1.0 in a JSON column of SQLite comes back as 1.
    numbers = {type(left), type(right)} == {int, float}
    return (numbers or type(left) is type(right)) and left == right


def kinds_of(db: holdfast.Database, table: str, row: dict[str, Any]) -> set[str]:
    info = db._executor.describe(table)
    return {info.column(name).codec.kind.name for name in row}


@settings(
    max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), report_multiple_bugs=False
)
@given(data=st.data())
def test_both_engines_answer_alike(pair: dict[str, holdfast.Database], data: st.DataObject) -> None:
    columns = data.draw(schemas())
    table = data.draw(st.sampled_from(["t", "Order", 'odd "name"', "tabelle ä"]))
    for db in pair.values():
        db.drop_table(table, if_exists=True)
        db.create_table(table, columns)
    names = list(columns)
    for row in data.draw(st.lists(rows(columns), max_size=12)):
        insert_on_both(pair, table, row)
    for _ in range(data.draw(st.integers(1, 6))):
        query = data.draw(queries(names))
        answers = {
            name: outcome(lambda db=db, query=query: db.select(table, **query)) for name, db in pair.items()
        }
        event(f"select: {answers['sqlite'][0]}")
        if "answer" in (said := {answer[0] for answer in answers.values()}) and len(said) == 2:
            filtered = {name: None for name in names if any(key.startswith(name) for key in query["where"])}
            explain(pair, table, filtered, answers)
        else:
            assert same(answers["sqlite"], answers["embedded"]), (columns, query, answers)
    change = data.draw(rows(columns))
    filters = {
        "where": data.draw(st.dictionaries(st.sampled_from(names), st.sampled_from(AWKWARD), min_size=1))
    }
    if change_both(pair, table, change, filters):
        page_through(pair, table, data.draw(orders(names)))


def insert_on_both(pair: dict[str, holdfast.Database], table: str, row: dict[str, Any]) -> None:
    numbered = {"id": 1 + max((r["id"] for r in pair["sqlite"].select(table, ["id"])), default=0), **row}
    outcomes = {name: outcome(lambda db=db: db.insert(table, numbered)) for name, db in pair.items()}
    event(f"insert: {outcomes['sqlite'][0]}")
    if outcomes["sqlite"] != outcomes["embedded"]:
        explain(pair, table, row, outcomes)
        for name, (said, _) in outcomes.items():
            if said == "answer":
                pair[name].delete(table, {"id": numbered["id"]})
        return
    if outcomes["sqlite"][0] == "answer":
        stored = [db.get(table, numbered["id"]) for db in pair.values()]
        assert same(*stored), (row, stored)


def explain(
    pair: dict[str, holdfast.Database], table: str, row: dict[str, Any], outcomes: dict[str, tuple[str, Any]]
) -> None:
    refusing = [name for name, (said, _) in outcomes.items() if said != "answer"]
    kinds = kinds_of(pair["sqlite"], table, row)
    named = {who for kind, who, _ in REFUSED_BY if kind in kinds}
    # Refused by both for different reasons: a value was refused here, a constraint was not met there.
    assert named & set(refusing), (row, outcomes)


@st.composite
def queries(draw: st.DrawFn, names: list[str]) -> dict[str, Any]:
    query: dict[str, Any] = {}
    if draw(st.booleans()):
        operators = [
            "",
            " =",
            " !=",
            " >",
            " <=",
            " in",
            " not in",
            " between",
            " like",
            " not like",
            " is not",
        ]
        where = {}
        for name in draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)):
            operator = draw(st.sampled_from(operators))
            one = st.sampled_from(AWKWARD)
            many = st.lists(one, max_size=3)
            where[name + operator] = draw(many if operator in (" in", " not in", " between") else one | many)
        query["where"] = where
    query["order_by"] = [*draw(orders(names)), "id"]
    if draw(st.booleans()):
        query["limit"] = draw(st.integers(0, 5))
    if draw(st.booleans()):
        query["offset"] = draw(st.integers(0, 5))
    if draw(st.booleans()):
        query["columns"] = draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    return query


def orders(names: list[str]) -> st.SearchStrategy[list[str]]:
    others = [name for name in names if name != "id"]
    endings = st.sampled_from(["", " DESC", " ASC NULLS FIRST", " DESC NULLS LAST"])
    return st.lists(
        st.builds(str.__add__, st.sampled_from(others), endings), max_size=2, unique_by=lambda item: item[0]
    )


def change_both(
    pair: dict[str, holdfast.Database], table: str, change: dict[str, Any], filters: dict[str, Any]
) -> bool:
    """Update and delete on both; false where one engine refused what is named, so that they differ now."""
    for verb in ("update", "delete"):
        outcomes = {}
        for name, db in pair.items():
            arguments = (table, change) if verb == "update" else (table,)
            call = getattr(db, verb)
            outcomes[name] = outcome(lambda call=call, arguments=arguments: call(*arguments, **filters))
        if outcomes["sqlite"] != outcomes["embedded"]:
            named = {**change, **filters["where"]} if verb == "update" else filters["where"]
            explain(pair, table, named, outcomes)
            return False
        left, right = (db.select(table, order_by="id") for db in pair.values())
        assert same(left, right), (verb, change, filters, left, right)
    return True


def page_through(pair: dict[str, holdfast.Database], table: str, order: list[str]) -> None:
    seen: dict[str, list[Any]] = {}
    for name, db in pair.items():
        expected = outcome(
            lambda db=db: db.select(
                table, order_by=[*order, "id" + (" DESC" if order and "DESC" in order[-1] else "")]
            )
        )
        pages: list[Any] = []
        token = None
        while True:
            said, page = outcome(lambda db=db, token=token: db.paginate(table, order, limit=2, after=token))
            if said != "answer":
                pages = [said]
                break
            pages += page.rows
            token = page.next
            if token is None:
                assert same(pages, expected[1]), (name, order, pages, expected)
                break
        seen[name] = pages
    assert same(seen["sqlite"], seen["embedded"])


def test_errors_of_both_engines_are_the_same_classes(pair: dict[str, holdfast.Database]) -> None:
    for db in pair.values():
        db.drop_table("c", if_exists=True)
        db.create_table("c", {"id": "INTEGER PRIMARY KEY", "a": "INTEGER NOT NULL UNIQUE CHECK (a > 0)"})
        db.insert("c", {"id": 1, "a": 1})
        for row in ({"a": 1}, {"a": None}, {"a": 0}, {"id": 1, "a": 2}):
            with pytest.raises(IntegrityError):
                db.insert("c", row)
        with pytest.raises(ValueRefused):
            db.insert("c", {"a": "x"})
        with pytest.raises(InvalidQuery):
            db.select("c", where="a >")
