"""Pages by key: whole, in order, and true while rows come and go."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from holdfast import Database
from holdfast.core.paging import Page
from holdfast.errors import Error, InvalidQuery

GROUPS = [None, 3, 1, 2, None, 1, 3, 2, 1, None, 2]


@pytest.fixture
def t(db: Database) -> Database:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "g": int, "s": "TEXT"})
    db.insert_many("t", [{"g": group, "s": f"s{i % 4}"} for i, group in enumerate(GROUPS)])
    return db


def forward(db: Database, order_by: Any = None, limit: int = 3, **options: Any) -> list[Page]:
    pages = [db.paginate("t", order_by, limit, **options)]
    while pages[-1].next is not None:
        pages.append(db.paginate("t", order_by, limit, after=pages[-1].next, **options))
        assert len(pages) < 100
    return pages


ORDERS: list[Any] = [
    *(None, "id", "id DESC", "g", "g DESC", "g NULLS FIRST", "g DESC NULLS LAST", "s DESC, g", "s"),
    *(["g", "s DESC"], ["s", "g DESC", "id DESC"], ["g", "id"]),
]


def test_pages_are_the_rows_of_a_select_in_any_order(t: Database) -> None:
    for order_by in ORDERS:
        for limit in (1, 2, 3, 10, 11, 100):
            pages = forward(t, order_by, limit)
            found = [row for page in pages for row in page.rows]
            assert len(found) == len(GROUPS), (order_by, limit)
            assert len({row["id"] for row in found}) == len(GROUPS)
            assert all(len(page.rows) == limit for page in pages[:-1])
            if order_by is not None:
                keys = [
                    word.split()[0]
                    for word in (order_by.split(",") if isinstance(order_by, str) else order_by)
                ]
                wanted = t.select("t", keys, order_by=order_by)
                assert [{key: row[key] for key in keys} for row in found] == wanted, (order_by, limit)


def test_ties_are_broken_by_the_key(t: Database) -> None:
    assert [row["id"] for page in forward(t, "g", 2) for row in page.rows] == [
        3,
        6,
        9,
        4,
        8,
        11,
        2,
        7,
        1,
        5,
        10,
    ]
    assert [row["id"] for page in forward(t, "g DESC", 2) for row in page.rows] == [
        10,
        5,
        1,
        7,
        2,
        11,
        8,
        4,
        9,
        6,
        3,
    ]


def test_pages_go_back_as_they_went_forward(t: Database) -> None:
    for order_by in ORDERS:
        pages = forward(t, order_by, 3)
        assert pages[0].previous is None
        assert pages[-1].next is None
        back = pages[-1]
        for page in reversed(pages[:-1]):
            assert back.previous is not None
            back = t.paginate("t", order_by, 3, after=back.previous)
            assert back.rows == page.rows, order_by
            assert back.next is not None
        assert back.previous is None
        assert t.paginate("t", order_by, 3, after=back.next).rows == pages[1].rows


def test_pages_stay_true_while_rows_come_and_go(t: Database) -> None:
    first = t.paginate("t", "id", 4)
    t.delete("t", {"id": [1, 2, 3, 4]})
    t.insert("t", {"id": -1, "g": 0})
    second = t.paginate("t", "id", 4, after=first.next)
    assert [row["id"] for row in second.rows] == [5, 6, 7, 8]
    assert second.previous is not None
    assert [row["id"] for row in t.paginate("t", "id", 4, after=second.previous).rows] == [-1]


def test_a_filter_holds_on_every_page(t: Database) -> None:
    for options in ({"where": {"g": [1, 2]}}, {"where": "g IN (?, ?)", "params": [1, 2]}):
        found = [row["id"] for page in forward(t, "s", 2, **options) for row in page.rows]
        assert sorted(found) == [3, 4, 6, 8, 9, 11]
    assert forward(t, "id", 5, where={"g": 99}) == [Page([], None, None)]


def test_an_empty_table_is_one_empty_page(db: Database) -> None:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY"})
    assert db.paginate("t") == Page([], None, None)


def test_every_kind_of_key(db: Database) -> None:
    start = datetime(2024, 1, 1, 0, 0, 0, 5)
    kinds: dict[str, list[Any]] = {
        "INTEGER": [-(2**63), -1, 0, 5, 2**63 - 1],
        "REAL": [-1.5e300, -0.1, 0.1, 1e22, 1.7e308],
        "TEXT": ["", " ", "'; --", "B", "a", "ä", "\U0001f600"],
        "DATE": [date(1, 1, 1), date(2024, 2, 29), date(9999, 12, 31)],
        "TIME": [time(0), time(1, 2, 3, 4), time(23, 59)],
        "TIMESTAMP": [start + timedelta(seconds=i) for i in range(4)],
        "TIMESTAMPTZ": [start.replace(tzinfo=UTC) + timedelta(hours=i) for i in range(4)],
        "NUMERIC(12,3)": [Decimal("-5"), Decimal("0.125"), Decimal("12345678.5")],
        "UUID": [UUID(int=i) for i in (1, 2, 2**127)],
        "BOOLEAN": [False, True],
        "BLOB": [b"", b"\0", b"\0\1", b"\xff"],
    }
    for kind, values in kinds.items():
        db.create_table("t", {"k": f"{kind} PRIMARY KEY", "n": int})
        db.insert_many("t", [{"k": value, "n": i} for i, value in enumerate(values)])
        for order_by, wanted in (("k", values), ("k DESC", values[::-1])):
            found = [row["k"] for page in forward(db, order_by, 2) for row in page.rows]
            assert found == wanted, kind
        db.drop_table("t")


def test_a_composite_key(db: Database) -> None:
    db.create_table("t", {"a": int, "b": "TEXT", "v": int}, primary_key=["b", "a"])
    db.insert_many("t", [{"a": a, "b": b, "v": 0} for a in range(4) for b in "xyz"])
    found = [(row["b"], row["a"]) for page in forward(db, "v", 5) for row in page.rows]
    assert found == sorted((b, a) for a in range(4) for b in "xyz")


def test_infinite_numbers_have_their_place(db: Database) -> None:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "r": float})
    values = [float("-inf"), -1.0, 0.0, float("inf"), float("inf"), None]
    db.insert_many("t", [{"r": value} for value in values])
    assert [row["r"] for page in forward(db, "r", 1) for row in page.rows] == values


@pytest.mark.parametrize(
    "token",
    ["", "x", "nonsense", "e30", "W10", "bnVsbA", "é", "WyJuZXh0IixbXSxbXV0", "a" * 5000, "'; DROP TABLE t"],
)
def test_a_token_that_is_none_is_refused(t: Database, token: str) -> None:
    with pytest.raises(InvalidQuery, match="page token"):
        t.paginate("t", "id", 2, after=token)


def test_a_token_of_another_order_or_kind_is_refused(t: Database) -> None:
    token = t.paginate("t", "id", 2).next
    for order_by in ("id DESC", "g", ["g", "id"], "id NULLS FIRST"):
        with pytest.raises(InvalidQuery, match="another order"):
            t.paginate("t", order_by, 2, after=token)
    wrong: list[Any] = [5, b"x", ["x"], {"next": 1}]
    for given in wrong:
        with pytest.raises(InvalidQuery, match="page token"):
            t.paginate("t", "id", 2, after=given)


def test_a_token_that_was_tampered_with_harms_nothing(t: Database) -> None:
    import base64
    import json

    for values in (
        [["x"]],
        [{"b": "zz"}],
        [{"dt": "never"}],
        [{"zz": 1}],
        ["1; DROP TABLE t"],
        [None],
        [2**70],
        [1.5],
    ):
        body = json.dumps(["next", [["id", 0, 0]], values])
        token = base64.urlsafe_b64encode(body.encode()).decode().rstrip("=")
        with suppress(Error):
            assert len(t.paginate("t", "id", 2, after=token).rows) <= 2
    assert t.count("t") == len(GROUPS)


def test_what_cannot_be_paged_says_why(t: Database) -> None:
    for limit in (0, -1, 1.5, "2"):
        with pytest.raises(InvalidQuery, match="limit"):
            t.paginate("t", "id", limit)  # type: ignore[arg-type]
    t.create_table("without", {"v": int})
    with pytest.raises(InvalidQuery, match="primary key"):
        t.paginate("without")
    t.create_table("j", {"id": "INTEGER PRIMARY KEY", "v": "JSON"})
    with pytest.raises(InvalidQuery, match="order"):
        t.paginate("j", "v")


def test_a_page_shows_no_value(db: Database) -> None:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"})
    db.insert_many("t", [{"v": "secret"}] * 3)
    assert repr(db.paginate("t", order_by="v", limit=2)) == "<Page of 2 rows>"
