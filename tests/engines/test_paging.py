"""Pages by key: whole, in order, and true while rows come and go."""

from __future__ import annotations

import itertools
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from holdfast import Database
from holdfast.core.paging import Page, _digest
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


def test_pages_have_the_columns_that_are_asked_for(t: Database) -> None:
    for order_by in ORDERS:
        for columns in (["s"], ["g", "id"], "s"):
            names = [columns] if isinstance(columns, str) else columns
            whole = [row for page in forward(t, order_by) for row in page.rows]
            found = [row for page in forward(t, order_by, columns=columns) for row in page.rows]
            assert found == [{name: row[name] for name in names} for row in whole], (order_by, columns)
    # Pages of other columns are the same pages.
    token = t.paginate("t", "g", 3, columns="s").next
    assert t.paginate("t", "g", 3, after=token).rows == forward(t, "g")[1].rows
    for wrong in (["nope"], [], ["s", "s"]):
        with pytest.raises(Error):
            t.paginate("t", columns=wrong)


def test_a_column_that_is_not_asked_for_is_not_read(t: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    token = t.paginate("t", "g", 3).next
    sent: list[str] = []
    fetch = t._executor.fetch

    def noted(native: str, *rest: Any, **options: Any) -> Any:
        sent.append(native)
        return fetch(native, *rest, **options)

    monkeypatch.setattr(t._executor, "fetch", noted)
    t.paginate("t", "g", 3, after=token, columns=["id"])
    pages = [sql for sql in sent if "LIMIT" in sql]
    assert pages
    assert not any('"s"' in sql or "*, " in sql for sql in pages), pages


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

    page = t.paginate("t", "id", 2).next
    assert page is not None
    for place in range(len(page)):
        other = "A" if page[place] != "A" else "B"
        with pytest.raises(InvalidQuery, match="token"):
            t.paginate("t", "id", 2, after=page[:place] + other + page[place + 1 :])
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
        asked = ["t", [["id", 0, 0]], "", "[]"]
        parts = ["next", _digest(asked[1:2]), values]
        body = json.dumps([*parts, _digest([*asked, *parts])])
        token = base64.urlsafe_b64encode(body.encode()).decode().rstrip("=")
        with suppress(Error):
            assert len(t.paginate("t", "id", 2, after=token).rows) <= 2
    assert t.count("t") == len(GROUPS)


def test_what_cannot_be_paged_says_why(t: Database) -> None:
    for limit in (0, -1, 1.5, "2"):
        with pytest.raises(InvalidQuery, match="limit"):
            t.paginate("t", "id", limit)  # type: ignore[arg-type]
    t.create_table("without", {"v": int})
    t.create_index("without", "v", unique=True)
    with pytest.raises(InvalidQuery, match="primary key"):
        t.paginate("without", "v")
    t.create_table("j", {"id": "INTEGER PRIMARY KEY", "v": "JSON"})
    with pytest.raises(InvalidQuery, match="order"):
        t.paginate("j", "v")


def test_a_page_shows_no_value(db: Database) -> None:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"})
    db.insert_many("t", [{"v": "secret"}] * 3)
    assert repr(db.paginate("t", order_by="v", limit=2)) == "<Page of 2 rows>"


def test_a_token_of_another_table_or_filter_is_refused(t: Database) -> None:
    t.create_table("other", {"id": "INTEGER PRIMARY KEY", "g": int})
    token = t.paginate("t", "id", 2, where={"g": [1, 2]}).next
    for options in ({}, {"where": {"g": [1, 3]}}, {"where": {"id": [1, 2]}}):
        with pytest.raises(InvalidQuery, match="another table or filter"):
            t.paginate("t", "id", 2, after=token, **options)
    with pytest.raises(InvalidQuery, match="another table or filter"):
        t.paginate("other", "id", 2, where={"g": [1, 2]}, after=token)
    assert t.paginate("t", "id", 9, where={"g": [1, 2]}, after=token).next is None


def test_unique_columns_do_where_there_is_no_primary_key(db: Database) -> None:
    db.create_table("t", {"v": "TEXT NOT NULL UNIQUE", "g": int})
    db.insert_many("t", [{"v": value, "g": 1} for value in "cabed"])
    assert [row["v"] for page in forward(db, "g", 2) for row in page.rows] == list("abcde")


def test_floats_of_32_bits_order_pages(db: Database, engine_name: str) -> None:
    if engine_name == "sqlite":
        pytest.skip("REAL has 64 bits on SQLite")
    db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, r REAL)")
    values = [0.1, 0.1, 0.1, 0.3, 0.7, float("inf"), float("nan"), float("nan"), None]
    db.insert_many("t", [{"id": number, "r": value} for number, value in enumerate(values)])
    for order_by, wanted in (("r", list(range(9))), ("r DESC", list(range(9))[::-1])):
        assert [row["id"] for page in forward(db, order_by, 2) for row in page.rows] == wanted


def test_text_that_its_column_compares_without_case(db: Database, engine_name: str) -> None:
    if engine_name != "sqlite":
        pytest.skip("PostgreSQL has no NOCASE")
    db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT COLLATE NOCASE)")
    db.insert_many("t", [{"s": value} for value in ("b", "A", "a", "B", "C", "a", None)])
    for order_by in ("s", "s DESC", "s NULLS FIRST"):
        found = [row for page in forward(db, order_by, 2) for row in page.rows]
        assert sorted(row["id"] for row in found) == [1, 2, 3, 4, 5, 6, 7]
        assert [row["s"] for row in found] == [
            row["s"] for row in db.select("t", order_by=[order_by, "id DESC" if "DESC" in order_by else "id"])
        ]


@pytest.mark.parametrize("order_by", ["id DESC", "n", "n DESC", "g", "g DESC", "g NULLS FIRST"])
def test_a_late_page_is_found_by_an_index(
    db: Database, engine_name: str, order_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "g": int, "n": "INTEGER NOT NULL"})
    db.insert_many("t", [{"g": i % 500 if i % 9 else None, "n": i % 500} for i in range(20_000)])
    for columns in (["g", "id"], ["n", "id"]):
        db.create_index("t", columns)
    db.analyze()
    late = db.paginate("t", order_by, 15_000)
    sent: list[tuple[str, Any]] = []
    rows = db._executor.rows
    monkeypatch.setattr(
        db._executor, "rows", lambda sql, values: sent.append((sql, values)) or rows(sql, values)
    )
    page = db.paginate("t", order_by, 10, after=late.next)
    assert db.paginate("t", order_by, 10, after=page.previous).rows == late.rows[-10:]
    db.paginate("t", order_by, 10)
    for sql, values in sent:
        assert rows_looked_at(db, engine_name, sql, values) < 500, sql


def rows_looked_at(db: Database, engine_name: str, sql: str, values: Any) -> int:
    """How many rows the database reads for a query, on SQLite about so many."""
    if engine_name == "sqlite":
        steps = itertools.count()
        raw = db._executor.driver_connection()
        raw.set_progress_handler(lambda: next(steps) < 0, 10)
        db._executor.run(sql, values).fetchall()
        raw.set_progress_handler(None, 0)
        return next(steps)
    plan = db._executor.run(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", values).fetchall()[0][0]
    waiting, read = [plan[0]["Plan"]], 0.0
    while waiting:
        node = waiting.pop()
        waiting += node.get("Plans", [])
        read += node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    return int(read)


class Walk(RuleBasedStateMachine):
    """Somebody turns pages while others write; the rows that nobody touches are seen once each."""

    db: ClassVar[Database]
    values = st.fixed_dictionaries(
        {
            "g": st.none() | st.integers(0, 3),
            "r": st.none() | st.sampled_from([float("-inf"), -1.5, 0.1, float("inf")]),
            "s": st.sampled_from(["", "a", "B", "ä", "é\U0001f600", "'"]),
            "d": st.none() | st.sampled_from([Decimal("-1.5"), Decimal("2"), Decimal("2.25")]),
            "m": st.none() | st.sampled_from([datetime(2020, 1, 1, 0, 0, 0, 7), datetime(1, 1, 1)]),
        }
    )

    @initialize(
        rows=st.lists(values, min_size=1, max_size=8),
        keys=st.lists(st.sampled_from("grsdm"), unique=True, max_size=3),
        words=st.lists(
            st.sampled_from(["", " DESC", " NULLS FIRST", " DESC NULLS LAST"]), min_size=3, max_size=3
        ),
        limit=st.integers(1, 4),
        is_filtered=st.booleans(),
    )
    def begin(
        self, rows: list[Any], keys: list[str], words: list[str], limit: int, is_filtered: bool
    ) -> None:
        self.db.delete("t", all_rows=True)
        self.order = [key + word for key, word in zip(keys, words, strict=False)]
        self.limit, self.options = limit, {"where": {"s !=": "a"}} if is_filtered else {}
        self.still = {self.db.insert("t", row) for row in rows}
        self.still = {row["id"] for row in self.db.select("t", **self.options)}
        self.restless: list[int] = []
        self.seen: list[dict[str, Any]] = []
        self.page = self.turn(None)

    def turn(self, token: str | None) -> Page:
        page = self.db.paginate("t", self.order or None, self.limit, token, **self.options)
        self.seen += page.rows
        return page

    @rule(row=values)
    def insert(self, row: dict[str, Any]) -> None:
        self.restless.append(self.db.insert("t", row))

    @precondition(lambda self: self.restless)
    @rule(row=values)
    def change(self, row: dict[str, Any]) -> None:
        self.db.update("t", row, {"id": self.restless[-1]})

    @precondition(lambda self: self.restless)
    @rule()
    def delete(self) -> None:
        self.db.delete("t", {"id": self.restless.pop(0)})

    @rule()
    def go_on(self) -> None:
        if self.page.next is not None:
            self.page = self.turn(self.page.next)

    @precondition(lambda self: self.page.rows)
    @rule()
    def go_back_and_on(self) -> None:
        if self.page.previous is not None and self.page.next is not None:
            back = self.db.paginate("t", self.order or None, 100, self.page.previous, **self.options)
            before = [row["id"] for row in self.seen[: -len(self.page.rows)] if row["id"] in self.still]
            assert [row["id"] for row in back.rows if row["id"] in self.still] == before

    @invariant()
    def order_holds(self) -> None:
        rows = self.seen
        last = bool(self.order) and "DESC" in self.order[-1]
        wanted = sorted(rows, key=lambda row: row["id"], reverse=last)
        for item in reversed(self.order):
            key, down = item[0], "DESC" in item
            first = "FIRST" in item or (down and "LAST" not in item)
            without = [row for row in wanted if row[key] is None]
            having = [row for row in wanted if row[key] is not None]
            having.sort(key=lambda row, key=key: row[key], reverse=down)
            wanted = without + having if first else having + without
        assert rows == wanted

    def teardown(self) -> None:
        if not hasattr(self, "page"):
            return
        while self.page.next is not None:
            self.page = self.turn(self.page.next)
        self.order_holds()
        assert sorted(row["id"] for row in self.seen if row["id"] in self.still) == sorted(self.still)


def test_a_walk_through_a_table_that_others_write_to(db: Database) -> None:
    columns = {"g": int, "r": float, "s": "TEXT", "d": "NUMERIC(9,2)", "m": "TIMESTAMP"}
    db.create_table("t", {"id": "INTEGER PRIMARY KEY AUTOINCREMENT", **columns})
    steps = settings(
        max_examples=25,
        stateful_step_count=15,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    run_state_machine_as_test(type("WalkHere", (Walk,), {"db": db}), settings=steps)
