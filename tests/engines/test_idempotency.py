"""Writes with a key of the caller's: once, however often they are asked for."""

from __future__ import annotations

import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

import holdfast
from holdfast import Database
from holdfast.core import idempotency
from holdfast.errors import InvalidQuery, KeyReused, UniqueViolation


@pytest.fixture
def t(db: Database) -> Database:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": "TEXT", "n": "INTEGER UNIQUE"})
    return db


def test_a_repeated_call_returns_the_first_ones_key_and_writes_nothing(t: Database) -> None:
    first = t.insert("t", {"v": "a"}, idempotency_key="one")
    t.insert("t", {"v": "b"})
    assert t.insert("t", {"v": "a"}, idempotency_key="one") == first
    assert t.table("t").insert({"v": "a"}, idempotency_key="one") == first
    assert t.count("t") == 2
    assert t.insert("t", {"v": "a"}, idempotency_key="two") != first


def test_an_upsert_too(t: Database) -> None:
    t.upsert("t", {"id": 1, "v": "a"}, idempotency_key="one")
    t.update("t", {"v": "b"}, {"id": 1})
    assert t.upsert("t", {"id": 1, "v": "a"}, idempotency_key="one") == 1
    assert t.get("t", 1)["v"] == "b"


def test_many_rows_too(t: Database) -> None:
    rows = [{"v": str(i)} for i in range(3000)]
    for _ in range(2):
        assert t.insert_many("t", rows, idempotency_key="one") == 3000
    assert t.count("t") == 3000
    assert t.insert_many("t", [(5000, "x", 1)], idempotency_key="two") == 1
    with pytest.raises(KeyReused):
        t.insert_many("t", rows[1:], idempotency_key="one")
    with pytest.raises(InvalidQuery, match="list"):
        t.insert_many("t", iter(rows), idempotency_key="three")
    assert t.count("t") == 3001


def test_the_same_key_with_another_call_is_refused(t: Database) -> None:
    t.insert("t", {"v": "a"}, idempotency_key="one")
    t.create_table("u", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"})
    others: list[Any] = [
        lambda: t.insert("t", {"v": "b"}, idempotency_key="one"),
        lambda: t.insert("t", {"v": "a", "n": 1}, idempotency_key="one"),
        lambda: t.insert("t", {"v": "a", "n": None}, idempotency_key="one"),
        lambda: t.insert("u", {"v": "a"}, idempotency_key="one"),
        lambda: t.upsert("t", {"v": "a"}, key="n", idempotency_key="one"),
    ]
    for other in others:
        with pytest.raises(KeyReused, match="another call") as caught:
            other()
        assert caught.value.hint
    assert (t.count("t"), t.count("u")) == (1, 0)


def test_a_failed_write_leaves_its_key_free(t: Database) -> None:
    t.insert("t", {"n": 1})
    with pytest.raises(UniqueViolation):
        t.insert("t", {"n": 1}, idempotency_key="one")
    t.delete("t", all_rows=True)
    assert t.insert("t", {"n": 1}, idempotency_key="one")
    assert t.count("t") == 1


def test_it_is_part_of_the_transaction(t: Database) -> None:
    with pytest.raises(ZeroDivisionError), t.transaction():  # noqa: PT012
        t.insert("t", {"v": "a"}, idempotency_key="one")
        t.insert("t", {"v": "a"}, idempotency_key="one")
        assert t.count("t") == 1
        raise ZeroDivisionError
    assert t.count("t") == 0
    with t.transaction():
        t.insert("t", {"v": "b"}, idempotency_key="one")
    t.insert("t", {"v": "b"}, idempotency_key="one")
    assert t.count("t") == 1


def test_many_threads_with_one_key_write_one_row(t: Database) -> None:
    def write(number: int) -> Any:
        return t.insert("t", {"v": f"{number % 5}"}, idempotency_key=f"key {number % 5}")

    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(write, range(40)))
    assert t.count("t") == 5
    assert all(len({keys[i] for i in range(start, 40, 5)}) == 1 for start in range(5))


def test_many_processes_with_one_key_write_one_row(t: Database, url: str) -> None:
    script = """
import sys, holdfast
with holdfast.connect(sys.argv[1]) as db:
    print([db.insert("t", {"v": str(i)}, idempotency_key=f"key {i}") for i in range(10)])
"""
    running = [
        subprocess.Popen([sys.executable, "-c", script, url], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [process.communicate(timeout=600)[0] for process in running]
    assert len(set(said)) == 1
    assert said[0].startswith("[")
    assert t.count("t") == 10


def test_keys_of_every_kind_come_back_as_they_were(db: Database) -> None:
    values: dict[str, Any] = {
        "TEXT": "a",
        "INTEGER": 7,
        "UUID": uuid.UUID(int=5),
        "BYTEA": b"\0\xff",
        "TIMESTAMPTZ": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
        "DATE": datetime(2026, 1, 2).date(),
    }
    for kind, value in values.items():
        name = f"of_{kind.lower()}"
        db.create_table(name, {"id": f"{kind} PRIMARY KEY", "v": "JSON"})
        first = db.insert(name, {"id": value, "v": {"a": [1, None]}}, idempotency_key=kind)
        again = db.insert(name, {"id": value, "v": {"a": [1, None]}}, idempotency_key=kind)
        assert first == again == value
        assert type(first) is type(again)
    db.create_table("two", {"a": "INTEGER", "b": "TEXT"}, primary_key=["a", "b"])
    assert [db.insert("two", {"a": 1, "b": "x"}, idempotency_key="two") for _ in range(2)] == [(1, "x")] * 2
    db.create_table("none", {"a": "INTEGER"})
    assert [db.insert("none", {"a": 1}, idempotency_key="none") for _ in range(2)] == [None, None]
    assert db.count("none") == 1


def test_old_keys_are_forgotten(t: Database, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    t.insert("t", {"v": "a"}, idempotency_key="old")
    monkeypatch.setattr(idempotency, "KEPT_SECONDS", -10)
    with holdfast.connect(url) as other:
        other.insert("t", {"v": "b"}, idempotency_key="new")
    assert t.query("SELECT key FROM hf_idempotency") == [{"key": "new"}]


def test_the_table_of_keys_is_not_listed(t: Database) -> None:
    t.insert("t", {"v": "a"}, idempotency_key="one")
    assert t.list_tables() == ["t"]


def test_what_cannot_be_a_key_or_part_of_a_call_is_refused(t: Database) -> None:
    wrong: list[Any] = ["", "x" * 201, "a\0b", 3, b"key", ["a"]]
    for key in wrong:
        with pytest.raises(InvalidQuery, match="idempotency key"):
            t.insert("t", {"v": "a"}, idempotency_key=key)
    with pytest.raises(InvalidQuery, match="object"):
        t.insert("t", {"v": object()}, idempotency_key="one")
    assert t.count("t") == 0
