"""How many statements reach the database: a warm call of one row is one.

SQLite tells each statement it begins. PostgreSQL is asked over the wire: libpq traces the messages it sends,
and an Execute is one statement run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import Database

Count = Callable[[Database], Any]


class Statements(list[str]):
    """The statements that ran; filled when the block ends."""


@contextmanager
def counted(db: Database, tmp_path: Path, engine_name: str) -> Iterator[Statements]:
    found = Statements()
    raw = db._executor.driver_connection()
    if engine_name == "sqlite":
        raw.set_trace_callback(found.append)
        try:
            yield found
        finally:
            raw.set_trace_callback(None)
        return
    path = tmp_path / "trace"
    with path.open("w") as trace:
        raw.pgconn.trace(trace.fileno())
        try:
            yield found
        finally:
            raw.pgconn.untrace()
    # F: sent by us. A simple Query and an Execute each run one statement.
    sent = [line for line in path.read_text().splitlines() if re.search(r"\tF\t\d+\t(Execute|Query)", line)]
    found.extend(sent)


@pytest.fixture
def t(db: Database) -> Database:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": "TEXT", "w": float})
    db.create_table("by_text", {"k": "TEXT PRIMARY KEY", "v": int})
    for i in range(5):
        db.insert("t", {"v": str(i), "w": 1.5})
        db.insert("by_text", {"k": str(i), "v": i})
    return db


CALLS: dict[str, Callable[[Database], Any]] = {
    "insert": lambda db: db.insert("t", {"v": "x", "w": 2.5}),
    "insert with another order of columns": lambda db: db.insert("t", {"w": 2.5, "v": "x"}),
    "insert of defaults": lambda db: db.insert("t", {}),
    "insert by a text key": lambda db: db.insert("by_text", {"k": str(db.count("by_text")) + "n", "v": 1}),
    "get": lambda db: db.get("t", 1),
    "get by a text key": lambda db: db.get("by_text", "1"),
    "update": lambda db: db.update("t", {"v": "y"}, {"id": 1}),
    "update by text": lambda db: db.update("t", {"v": "y"}, "id = ?", [1]),
    "delete": lambda db: db.delete("t", {"id": 5}),
    "delete by text": lambda db: db.delete("t", "id = :id", {"id": 4}),
    "upsert": lambda db: db.upsert("t", {"id": 2, "v": "z"}),
    "upsert by name": lambda db: db.upsert("by_text", {"k": "1", "v": 3}, key="k"),
    "select": lambda db: db.select("t", where={"w": 1.5}, order_by="id", limit=2),
    "select by text": lambda db: db.select("t", ["id", "v"], "v = ?", ["1"]),
    "find_one": lambda db: db.find_one("t", where={"v": "1"}),
    "count": lambda db: db.count("t"),
    "count where": lambda db: db.count("t", {"w": 1.5}),
    "exists": lambda db: db.exists("t", {"id": 1}),
    "query": lambda db: db.query("SELECT id FROM t WHERE v = ?", ["1"]),
    "execute": lambda db: db.execute("UPDATE t SET v = ? WHERE id = ?", ["q", 1]),
    "paginate": lambda db: db.paginate("t", "v", limit=2),
    "through the table": lambda db: db.table("t").get(1),
}
COSTS = {"insert by a text key": 2}
"""The call counts the rows itself to find a new key."""


def test_a_warm_call_is_one_statement(t: Database, tmp_path: Path, engine_name: str) -> None:
    for name, call in CALLS.items():
        for _ in range(3):
            call(t)
        with counted(t, tmp_path, engine_name) as statements:
            call(t)
        assert len(statements) == COSTS.get(name, 1), (name, statements)


def test_and_so_it_is_inside_a_transaction(t: Database, tmp_path: Path, engine_name: str) -> None:
    for call in CALLS.values():
        call(t)
    with t.transaction():
        for name, call in CALLS.items():
            call(t)
            with counted(t, tmp_path, engine_name) as statements:
                call(t)
            assert len(statements) == COSTS.get(name, 1), (name, statements)


def test_a_transaction_adds_begin_and_commit(t: Database, tmp_path: Path, engine_name: str) -> None:
    with t.transaction():
        t.insert("t", {"v": "warm"})
    with counted(t, tmp_path, engine_name) as statements, t.transaction():
        t.insert("t", {"v": "a"})
        t.insert("t", {"v": "b"})
    # PostgreSQL is asked for the transaction's number, to find it by if COMMIT is not answered.
    assert len(statements) == (4 if engine_name == "sqlite" else 5), statements


def test_a_nested_transaction_adds_a_savepoint_and_its_release(
    t: Database, tmp_path: Path, engine_name: str
) -> None:
    t.insert("t", {"v": "warm"})
    with t.transaction():
        with counted(t, tmp_path, engine_name) as statements, t.transaction():
            t.insert("t", {"v": "a"})
        assert len(statements) == 3, statements
        with counted(t, tmp_path, engine_name) as statements, t.transaction():
            pass
        assert len(statements) == 2, statements


def test_a_batch_is_not_a_statement_for_each_row_and_its_check(
    t: Database, tmp_path: Path, engine_name: str
) -> None:
    t.insert_many("t", [{"v": "warm"}])
    with counted(t, tmp_path, engine_name) as statements:
        t.insert_many("t", [{"v": str(i)} for i in range(100)])
    # BEGIN, SAVEPOINT, the rows, RELEASE, COMMIT; a driver may count each row.
    assert len(statements) <= 104, statements


def test_a_call_after_ddl_reads_the_catalogue_once(t: Database, tmp_path: Path, engine_name: str) -> None:
    t.get("t", 1)
    t.add_column("t", "x", int)
    t.get("t", 1)
    with counted(t, tmp_path, engine_name) as statements:
        t.get("t", 1)
    assert len(statements) == 1


def test_stream_reads_the_table_with_one_query(t: Database, tmp_path: Path, engine_name: str) -> None:
    list(t.stream("t"))
    with counted(t, tmp_path, engine_name) as statements:
        assert len(list(t.stream("t", batch_size=2))) == 5
    assert len(statements) <= 1, "outside a transaction another connection reads"


@contextmanager
def opened(tmp_path: Path, engine_name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Statements]:
    """The statements of every connection that the block opens, from its first one on."""
    found = Statements()
    if engine_name == "sqlite":
        from holdfast.engines.sqlite.connect import Connection as Local

        class Traced(Local):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                # What a virtual table runs of its own comes as a comment.
                self.set_trace_callback(lambda sql: None if sql.startswith("--") else found.append(sql))

        monkeypatch.setattr("holdfast.engines.sqlite.connect.Connection", Traced)
        yield found
        return
    from holdfast.engines.postgres.connect import Connection as Remote

    path, plain = tmp_path / "trace", Remote.connect
    with path.open("w") as trace:

        def connect(**fields: Any) -> Any:
            raw = plain(**fields)
            raw.pgconn.trace(trace.fileno())
            return raw

        monkeypatch.setattr(Remote, "connect", connect)
        yield found
    found.extend(
        line for line in path.read_text().splitlines() if re.search(r"\tF\t\d+\t(Execute|Query)", line)
    )


def test_connecting_sends_little(
    t: Database, url: str, tmp_path: Path, engine_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path, engine_name, monkeypatch) as statements, holdfast.connect(url) as db:
        assert db.get("t", 1) == {"id": 1, "v": "0", "w": 1.5}
    # The settings, which of its servers it is, the table's description, and the row.
    assert len(statements) <= (12 if engine_name == "sqlite" else 4), statements
