"""Transactions, savepoints, and who takes part in them."""

# An exception has to leave a block of several statements to be undone.
# ruff: noqa: PT012

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy as sa

import holdfast
from holdfast import Database
from holdfast.errors import (
    ClosedError,
    ConfigurationError,
    ConnectionLost,
    DatabaseBusy,
    Error,
    InvalidQuery,
    NotFoundError,
    ReadOnlyError,
    SerializationFailure,
    TableNotFound,
    TransactionAborted,
    TransactionError,
    UniqueViolation,
    ValueRefused,
)


@pytest.fixture
def t(db: Database) -> Database:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": "TEXT UNIQUE"})
    return db


@pytest.fixture
def other(t: Database, url: str) -> Iterator[Database]:
    """A second database object on the same data."""
    with holdfast.connect(url, timeout=0.2) as second:
        yield second


def values(db: Database) -> list[str]:
    return [row["v"] for row in db.select("t", order_by="id")]


class Stop(Exception):
    pass


def stop() -> None:
    raise Stop


# with db.transaction()


def test_a_block_is_kept_and_seen_by_others_only_then(t: Database, other: Database) -> None:
    with t.transaction():
        t.insert("t", {"v": "a"})
        t.insert("t", {"v": "b"})
        assert other.count("t") == 0
        assert t.count("t") == 2
    assert values(other) == ["a", "b"]


def test_an_exception_undoes_the_whole_block_and_is_the_one_that_comes_out(
    t: Database, other: Database
) -> None:
    t.insert("t", {"v": "before"})
    with pytest.raises(Stop), t.transaction():
        t.insert("t", {"v": "a"})
        t.update("t", {"v": "changed"}, {"v": "before"})
        stop()
    assert values(t) == values(other) == ["before"]
    t.insert("t", {"v": "after"})
    assert values(other) == ["before", "after"]


def test_atomic_is_another_name(t: Database) -> None:
    with pytest.raises(Stop), t.atomic():
        t.insert("t", {"v": "a"})
        stop()
    assert values(t) == []


def test_keyboard_interrupts_roll_back_too(t: Database) -> None:
    with pytest.raises(KeyboardInterrupt), t.transaction():
        t.insert("t", {"v": "a"})
        raise KeyboardInterrupt
    assert values(t) == []


# Nested [17]


def test_an_inner_error_caught_outside_undoes_only_the_inner_work(t: Database) -> None:
    with t.transaction():
        t.insert("t", {"v": "outer"})
        with pytest.raises(Stop), t.transaction():
            t.insert("t", {"v": "inner"})
            with t.transaction():
                t.insert("t", {"v": "innermost"})
            assert values(t) == ["outer", "inner", "innermost"]
            stop()
        assert values(t) == ["outer"]
        t.insert("t", {"v": "last"})
    assert values(t) == ["outer", "last"]


def test_an_error_of_the_database_in_an_inner_block_leaves_the_outer_usable(t: Database) -> None:
    with t.transaction():
        t.insert("t", {"v": "a"})
        with pytest.raises(UniqueViolation), t.transaction():
            t.insert("t", {"v": "b"})
            t.insert("t", {"v": "a"})
        assert values(t) == ["a"]
        t.insert("t", {"v": "c"})
    assert values(t) == ["a", "c"]


def test_an_outer_error_undoes_inner_work_that_was_kept(t: Database) -> None:
    with pytest.raises(Stop), t.transaction():
        with t.transaction():
            t.insert("t", {"v": "a"})
        stop()
    assert values(t) == []


def test_many_levels(t: Database) -> None:
    def nest(level: int) -> None:
        with t.transaction():
            t.insert("t", {"v": f"level {level}"})
            if level < 30:
                nest(level + 1)
            if level == 20:
                stop()

    with t.transaction():
        with pytest.raises(Stop), t.transaction():
            nest(1)
        t.insert("t", {"v": "end"})
    assert values(t) == ["end"]


def test_inner_blocks_one_after_another(t: Database) -> None:
    with t.transaction():
        for i in range(5):
            try:
                with t.transaction():
                    t.insert("t", {"v": str(i)})
                    if i % 2:
                        stop()
            except Stop:
                continue
    assert values(t) == ["0", "2", "4"]


# A failed statement


def test_after_a_failed_statement_a_transaction_can_only_be_rolled_back(t: Database) -> None:
    t.insert("t", {"v": "a"})
    with pytest.raises(UniqueViolation), t.transaction():
        t.insert("t", {"v": "b"})
        try:
            t.insert("t", {"v": "a"})
        except UniqueViolation as failed:
            for call in (
                lambda: t.insert("t", {"v": "c"}),
                lambda: t.select("t"),
                lambda: t.query("SELECT 1"),
                lambda: list(t.stream("t")),
                lambda: t.list_tables(),
                lambda: t.insert_many("t", [{"v": "d"}]),
            ):
                with pytest.raises(TransactionAborted, match="rolled back") as caught:
                    call()
                assert "with db.transaction():" in str(caught.value.hint)
            raise failed from None
    assert values(t) == ["a"]


def test_a_block_that_swallows_the_error_is_not_taken_for_done(t: Database) -> None:
    t.insert("t", {"v": "a"})
    with pytest.raises(TransactionAborted, match="all of it was rolled back"), t.transaction():
        t.insert("t", {"v": "b"})
        with pytest.raises(UniqueViolation):
            t.insert("t", {"v": "a"})
    assert values(t) == ["a"]
    t.insert("t", {"v": "c"})


def test_a_value_refused_before_the_database_sees_it_spoils_nothing(t: Database) -> None:
    with t.transaction():
        t.insert("t", {"v": "a"})
        with pytest.raises(ValueRefused):
            t.insert("t", {"v": 1})
        with pytest.raises(NotFoundError):
            t.get("t", 99)
        with pytest.raises(TableNotFound):
            t.select("tt")
        t.insert("t", {"v": "b"})
    assert values(t) == ["a", "b"]


def test_the_connection_is_usable_after_every_kind_of_error_inside(t: Database) -> None:
    t.create_table("c", {"n": "INTEGER CHECK (n > 0)"})
    for fail in (
        lambda: t.insert("c", {"n": 0}),
        lambda: t.execute("SELECT * FROM nowhere"),
        lambda: t.execute("SELEC 1"),
        lambda: t.execute("SELECT ?", []),
        lambda: t.execute("SELECT 1; SELECT 2"),
        lambda: t.insert("c", {"n": "x"}),
        lambda: t.create_table("t", {"a": int}),
        lambda: list(t.stream("SELECT * FROM nowhere")),
        stop,
    ):
        with pytest.raises((Error, Stop)), t.transaction():
            t.insert("t", {"v": "gone"})
            fail()
        assert values(t) == []
        with t.transaction():
            assert t.query("SELECT 1 AS one") == [{"one": 1}]


# begin, commit, rollback


def test_by_hand(t: Database, other: Database) -> None:
    t.begin_transaction()
    t.insert("t", {"v": "a"})
    assert other.count("t") == 0
    t.commit()
    assert values(other) == ["a"]
    t.begin_transaction()
    t.insert("t", {"v": "b"})
    t.rollback()
    assert values(t) == ["a"]


def test_misuse_by_hand_raises_and_says_what_to_do(t: Database) -> None:
    for call, verb in ((t.commit, "commit"), (t.rollback, "roll back")):
        with pytest.raises(TransactionError, match=f"no transaction to {verb}") as caught:
            call()
        assert "begin_transaction" in str(caught.value.hint)
    t.begin_transaction()
    t.insert("t", {"v": "a"})
    with pytest.raises(TransactionError, match="open already"):
        t.begin_transaction()
    t.commit()
    assert values(t) == ["a"], "the refused second begin did not end the first"
    with pytest.raises(TransactionError):
        t.commit()


def test_a_block_cannot_be_ended_from_inside(t: Database) -> None:
    with t.transaction():
        t.insert("t", {"v": "a"})
        for call in (t.commit, t.rollback, t.begin_transaction):
            with pytest.raises(TransactionError, match=r"inside `with|open already"):
                call()
    assert values(t) == ["a"]


def test_a_block_in_a_transaction_by_hand_is_a_savepoint(t: Database) -> None:
    t.begin_transaction()
    t.insert("t", {"v": "a"})
    with pytest.raises(Stop), t.transaction():
        t.insert("t", {"v": "b"})
        with pytest.raises(TransactionError):
            t.commit()
        stop()
    t.commit()
    assert values(t) == ["a"]


def test_commit_after_a_failed_statement_raises_and_rolls_back(t: Database) -> None:
    t.insert("t", {"v": "a"})
    t.begin_transaction()
    t.insert("t", {"v": "b"})
    with pytest.raises(UniqueViolation):
        t.insert("t", {"v": "a"})
    with pytest.raises(TransactionAborted):
        t.commit()
    assert values(t) == ["a"]
    with pytest.raises(TransactionError, match="no transaction"):
        t.rollback()
    t.begin_transaction()
    with pytest.raises(UniqueViolation):
        t.insert("t", {"v": "a"})
    t.rollback()
    t.insert("t", {"v": "c"})
    assert values(t) == ["a", "c"]


@pytest.mark.parametrize(
    "sql",
    [
        *("BEGIN", "begin immediate", "COMMIT", "END", "ROLLBACK", "SAVEPOINT x", "RELEASE x"),
        *("START TRANSACTION", "-- a comment\nCOMMIT", "/* x */ ROLLBACK TO x", "ABORT", " ; COMMIT"),
    ],
)
def test_transactions_are_not_controlled_by_statements(t: Database, sql: str) -> None:
    with t.transaction():
        t.insert("t", {"v": "a"})
        for call in (lambda: t.execute(sql), lambda: t.executemany(sql, [[]]), lambda: t.query(sql)):
            with pytest.raises((TransactionError, InvalidQuery)) as caught:
                call()
            assert "db.transaction()" in str(caught.value.hint) or isinstance(caught.value, InvalidQuery)
        t.insert("t", {"v": "b"})
    assert values(t) == ["a", "b"]


# The with of the database [2]


def test_a_clean_exit_commits_and_an_exception_rolls_back(t: Database, url: str) -> None:
    with holdfast.connect(url) as second:
        second.begin_transaction()
        second.insert("t", {"v": "kept"})
    assert values(t) == ["kept"]
    with pytest.raises(Stop), holdfast.connect(url) as second:
        second.insert("t", {"v": "written before"})
        second.begin_transaction()
        second.insert("t", {"v": "undone"})
        stop()
    assert values(t) == ["kept", "written before"]


def test_close_rolls_back_what_is_open(t: Database, url: str) -> None:
    second = holdfast.connect(url)
    second.begin_transaction()
    second.insert("t", {"v": "undone"})
    second.close()
    assert values(t) == []
    t.insert("t", {"v": "the lock is free"})


def test_closing_inside_a_block(t: Database, url: str) -> None:
    second = holdfast.connect(url)
    with pytest.raises((ClosedError, TransactionError)), second.transaction():
        second.insert("t", {"v": "undone"})
        second.close()
    with pytest.raises(ClosedError), second.transaction():
        pass
    assert values(t) == []


# Every verb inside [18]

SENT_AT_ONCE = {
    "suggest_indexes",
    "verify_backup",
    "backup_if_due",
    "schedule_backups",
    "vacuum",
    "optimize",
    "backup_database",
    "backup_table",
    "restore_database",
    "restore_table",
}
"""What cannot be undone, or reads and replaces the whole database: refused inside a transaction."""

CALLS: dict[str, Callable[[Database, Path], Any]] = {
    "table": lambda db, tmp: db.table("t").count(),
    "health": lambda db, tmp: db.health(),
    "wait_until_ready": lambda db, tmp: db.wait_until_ready(1),
    "insert": lambda db, tmp: db.insert("t", {"v": "i"}),
    "insert_many": lambda db, tmp: db.insert_many("t", [{"v": "m"}]),
    "upsert": lambda db, tmp: db.upsert("t", {"id": 1, "v": "u"}),
    "upsert_many": lambda db, tmp: db.upsert_many("t", [{"id": 1, "v": "um"}]),
    "update_many": lambda db, tmp: db.update_many("t", [{"id": 1, "v": "n"}]),
    "select": lambda db, tmp: db.select("t"),
    "get": lambda db, tmp: db.get("t", 1),
    "find_one": lambda db, tmp: db.find_one("t"),
    "count": lambda db, tmp: db.count("t"),
    "exists": lambda db, tmp: db.exists("t"),
    "update": lambda db, tmp: db.update("t", {"v": "x"}, {"id": 1}),
    "delete": lambda db, tmp: db.delete("t", {"id": 1}),
    "stream": lambda db, tmp: list(db.stream("t")),
    "paginate": lambda db, tmp: db.paginate("t"),
    "execute": lambda db, tmp: db.execute("INSERT INTO t (v) VALUES (?)", ["e"]),
    "executemany": lambda db, tmp: db.executemany("INSERT INTO t (v) VALUES (?)", [["f"], ["g"]]),
    "query": lambda db, tmp: db.query("SELECT * FROM t"),
    "transaction": lambda db, tmp: _nested(db),
    "atomic": lambda db, tmp: _nested(db),
    "create_table": lambda db, tmp: db.create_table("new", {"id": "INTEGER PRIMARY KEY"}),
    "drop_table": lambda db, tmp: db.drop_table("spare"),
    "rename_table": lambda db, tmp: db.rename_table("spare", "renamed"),
    "table_exists": lambda db, tmp: db.table_exists("t"),
    "list_tables": lambda db, tmp: db.list_tables(),
    "list_views": lambda db, tmp: db.list_views(),
    "get_columns": lambda db, tmp: db.get_columns("t"),
    "add_column": lambda db, tmp: db.add_column("spare", "more", int),
    "drop_column": lambda db, tmp: db.drop_column("spare", "b"),
    "rename_column": lambda db, tmp: db.rename_column("spare", "b", "bb"),
    "alter_column": lambda db, tmp: db.alter_column("spare", "b", nullable=False, default="5"),
    "add_foreign_key": lambda db, tmp: db.add_foreign_key("spare", "b", "t"),
    "create_index": lambda db, tmp: db.create_index("spare", "b"),
    "drop_index": lambda db, tmp: db.drop_index("idx_spare_a"),
    "list_indexes": lambda db, tmp: db.list_indexes("t"),
    "to_dataframe": lambda db, tmp: db.to_dataframe("t"),
    "from_dataframe": lambda db, tmp: db.from_dataframe(pd.DataFrame({"v": ["df"]}), "t", if_exists="append"),
    "export_to_csv": lambda db, tmp: db.export_to_csv("t", tmp / "t.csv"),
    "export_query_to_csv": lambda db, tmp: db.export_query_to_csv("SELECT * FROM t", tmp / "q.csv"),
    "import_from_csv": lambda db, tmp: db.import_from_csv("t", _csv(tmp)),
    "store_blob": lambda db, tmp: db.store_blob("blobs", {"name": "b", "data": b"\0\1"}),
    "get_blob": lambda db, tmp: db.get_blob("kept", "data"),
    "analyze": lambda db, tmp: db.analyze(),
    "enable_search": lambda db, tmp: db.enable_search("t", "v"),
    "search": lambda db, tmp: db.search("found", "word"),
    "disable_search": lambda db, tmp: db.disable_search("found"),
    "export": lambda db, tmp: db.export("t", tmp / "t.jsonl"),
    "load": lambda db, tmp: db.load("t", _csv(tmp)),
    "to_arrow": lambda db, tmp: db.to_arrow("t"),
    "from_arrow": lambda db, tmp: db.from_arrow(
        pa.Table.from_pydict({"v": ["arrow"]}), "t", if_exists="append"
    ),
    "to_polars": lambda db, tmp: db.to_polars("t"),
    "save_array": lambda db, tmp: db.save_array("arrays", np.arange(3)),
    "save_arrays": lambda db, tmp: db.save_arrays("arrays", {"a": np.arange(3)}),
    "load_array": lambda db, tmp: db.load_array("saved", "a"),
    "load_arrays": lambda db, tmp: db.load_arrays("saved"),
    "verify_array": lambda db, tmp: db.verify_array("saved", "a"),
    "get_stats": lambda db, tmp: db.get_stats(),
    "summary": lambda db, tmp: (str(db.summary), str(holdfast.inspect(db).profile())),
    "diff": lambda db, tmp: db.diff(db),
    "delete_duplicates": lambda db, tmp: db.delete_duplicates("spare", ["b"]),
    "explain": lambda db, tmp: db.explain("DELETE FROM t", analyze=True),
    "record_queries": lambda db, tmp: db.record_queries(),
    "trace_queries": lambda db, tmp: db.trace_queries(),
    "slow_queries": lambda db, tmp: (db.record_queries(), db.slow_queries(plans=True)),
    "suggest_indexes": lambda db, tmp: db.suggest_indexes(["SELECT * FROM t WHERE v = ?"]),
    "doctor": lambda db, tmp: db.doctor(),
    "verify_backup": lambda db, tmp: db.verify_backup(tmp / "whole.sql"),
    "list_backups": lambda db, tmp: db.list_backups(tmp),
    "prune_backups": lambda db, tmp: db.prune_backups(tmp, keep_last=1),
    "next_backup": lambda db, tmp: db.next_backup(tmp),
    "backup_if_due": lambda db, tmp: db.backup_if_due(tmp / "due"),
    "schedule_backups": lambda db, tmp: db.schedule_backups(tmp / "due"),
    "vacuum": lambda db, tmp: db.vacuum(),
    "optimize": lambda db, tmp: db.optimize(),
    "backup_database": lambda db, tmp: db.backup_database(tmp / "b.sql"),
    "backup_table": lambda db, tmp: db.backup_table("t", tmp / "bt.sql"),
    "restore_database": lambda db, tmp: db.restore_database(tmp / "whole.sql"),
    "restore_table": lambda db, tmp: db.restore_table("t", tmp / "whole.sql"),
}
ABOUT_TRANSACTIONS = {"begin_transaction", "commit", "rollback", "run_transaction"}
NO_VERBS = {"close", "is_open", "url", "engine"}


def _nested(db: Database) -> None:
    with db.transaction():
        db.insert("t", {"v": "nested"})


def _csv(tmp: Path) -> Path:
    path = tmp / "in.csv"
    path.write_text("v\ncsv\n")
    return path


def public_names() -> set[str]:
    return {name for name in vars(Database) if not name.startswith("_")}


def test_no_public_verb_is_forgotten_here() -> None:
    assert public_names() == set(CALLS) | ABOUT_TRANSACTIONS | NO_VERBS


@pytest.fixture
def full(t: Database) -> Database:
    """A table of each kind that the calls above want."""
    t.insert("t", {"v": "first"})
    t.create_table("spare", {"id": "INTEGER PRIMARY KEY", "a": int, "b": int})
    t.create_index("spare", "a")
    t.insert("spare", {"a": 1, "b": 1})
    t.create_table("kept", {"id": "INTEGER PRIMARY KEY", "data": "BLOB"})
    t.insert("kept", {"data": b"bytes"})
    t.create_table("found", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"})
    t.insert("found", {"v": "a word"})
    t.enable_search("found", "v")
    t.save_array("saved", np.arange(3), "a")
    return t


def _state(db: Database) -> Any:
    tables = db.list_tables()
    return (
        {name: (db.get_columns(name), repr(db.select(name))) for name in tables},
        [(index["table"], index["name"]) for index in db.list_indexes()],
    )


def test_every_verb_works_inside_and_is_undone_with_the_rest(full: Database, tmp_path: Path) -> None:
    before = _state(full)
    for verb in sorted(set(CALLS) - SENT_AT_ONCE):
        with pytest.raises(Stop), full.transaction():
            full.insert("t", {"v": "before the verb"})
            CALLS[verb](full, tmp_path)
            full.insert("t", {"v": "after the verb"})
            stop()
        assert _state(full) == before, verb


def test_what_cannot_be_undone_is_refused_inside_and_commits_nothing(full: Database, tmp_path: Path) -> None:
    full.backup_database(tmp_path / "whole.sql")
    before = _state(full)
    for verb in sorted(SENT_AT_ONCE):
        with pytest.raises(Stop), full.transaction():
            full.insert("t", {"v": "inside"})
            with pytest.raises(TransactionError) as caught:
                CALLS[verb](full, tmp_path)
            assert caught.value.hint, verb
            full.insert("t", {"v": "goes on"})
            stop()
        assert _state(full) == before, verb
    assert not (tmp_path / "b.sql").exists()


# DDL


def test_ddl_that_is_rolled_back_is_forgotten(t: Database) -> None:
    t.insert("t", {"v": "a"})
    with pytest.raises(Stop), t.transaction():
        t.add_column("t", "extra", "INTEGER DEFAULT 5")
        t.insert("t", {"v": "b", "extra": 1})
        assert t.select("t", "extra", order_by="id") == [{"extra": 5}, {"extra": 1}]
        t.create_table("new", {"id": "INTEGER PRIMARY KEY"})
        assert t.insert("new", {}) == 1
        t.rename_column("t", "v", "w")
        assert t.find_one("t", "w", order_by="id") == {"w": "a"}
        stop()
    assert t.select("t") == [{"id": 1, "v": "a"}]
    assert not t.table_exists("new")
    with pytest.raises(TableNotFound):
        t.insert("new", {})
    assert [column["name"] for column in t.get_columns("t")] == ["id", "v"]
    assert t.get("t", 1) == {"id": 1, "v": "a"}
    assert t.insert("t", {"v": "c"}) in (2, 3)


def test_ddl_in_an_inner_block_that_is_rolled_back_is_forgotten(t: Database) -> None:
    with t.transaction():
        t.insert("t", {"v": "a"})
        with pytest.raises(Stop), t.transaction():
            t.add_column("t", "extra", int)
            t.insert("t", {"v": "b", "extra": 1})
            stop()
        assert t.select("t") == [{"id": 1, "v": "a"}]
        t.insert("t", {"v": "c"})
    assert values(t) == ["a", "c"]


def test_ddl_that_is_kept(t: Database, other: Database) -> None:
    other.select("t")
    with t.transaction():
        t.add_column("t", "extra", "INTEGER DEFAULT 5")
        t.insert("t", {"v": "a", "extra": 6})
    assert t.get("t", 1) == {"id": 1, "v": "a", "extra": 6}
    assert other.query("SELECT * FROM t") == [{"id": 1, "v": "a", "extra": 6}]


# SQLAlchemy and pandas


def test_others_on_the_engine_take_part(t: Database, other: Database) -> None:
    with pytest.raises(Stop), t.transaction():
        t.insert("t", {"v": "ours"})
        with t.engine.connect() as connection:
            assert connection.execute(sa.text("SELECT v FROM t")).scalars().all() == ["ours"]
        with t.engine.begin() as connection:
            connection.execute(sa.text("INSERT INTO t (v) VALUES ('alchemy')"))
        frame = pd.read_sql_query("SELECT v FROM t ORDER BY id", t.engine)
        assert list(frame["v"]) == ["ours", "alchemy"]
        pd.DataFrame({"v": ["pandas"]}).to_sql("t", t.engine, if_exists="append", index=False)
        assert values(t) == ["ours", "alchemy", "pandas"]
        assert other.count("t") == 0
        stop()
    assert values(t) == []


def test_others_on_the_engine_are_kept_with_the_block(t: Database, other: Database) -> None:
    with t.transaction():
        pd.DataFrame({"v": ["pandas"]}).to_sql("t", t.engine, if_exists="append", index=False)
        with pytest.raises(Stop), t.engine.begin() as connection:
            connection.execute(sa.text("INSERT INTO t (v) VALUES ('undone')"))
            stop()
        with t.engine.connect() as connection:
            connection.execute(sa.text("INSERT INTO t (v) VALUES ('not committed')"))
        t.insert("t", {"v": "ours"})
    assert values(other) == ["pandas", "ours"]


def test_outside_a_transaction_the_engine_commits_by_itself(t: Database, other: Database) -> None:
    with t.engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO t (v) VALUES ('alchemy')"))
    assert values(other) == ["alchemy"]
    with t.engine.connect() as connection:
        connection.execute(sa.text("INSERT INTO t (v) VALUES ('not committed')"))
    assert values(t) == ["alchemy"]
    pd.DataFrame({"n": [1, 2]}).to_sql("frame", t.engine, index=False)
    assert t.count("frame") == 2


# isolation and read_only


@pytest.mark.parametrize("level", ["SERIALIZABLE", "repeatable read", "READ COMMITTED"])
def test_isolation_levels_are_taken(t: Database, level: str) -> None:
    with t.transaction(isolation=level):
        t.insert("t", {"v": "a"})
    t.begin_transaction(isolation=level)
    t.commit()
    assert t.run_transaction(lambda: t.count("t"), isolation=level) == 1


def test_an_unknown_isolation_level_is_refused(t: Database) -> None:
    with pytest.raises(ConfigurationError, match="SERIALIZABLE"), t.transaction(isolation="serialisable"):
        pass
    assert t.insert("t", {"v": "a"}) == 1


def test_a_repeatable_read_does_not_see_what_others_write(t: Database, other: Database) -> None:
    t.insert("t", {"v": "a"})
    with t.transaction(isolation="REPEATABLE READ", read_only=True):
        assert values(t) == ["a"]
        other.insert("t", {"v": "b"})
        assert values(t) == ["a"]
    assert values(t) == ["a", "b"]


def test_read_only_transactions_refuse_writes(t: Database) -> None:
    t.insert("t", {"v": "a"})
    for write in (
        lambda: t.insert("t", {"v": "b"}),
        lambda: t.update("t", {"v": "b"}, {"id": 1}),
        lambda: t.delete("t", {"id": 1}),
        lambda: t.insert_many("t", [{"v": "b"}]),
        lambda: t.create_table("new", {"a": int}),
        lambda: t.drop_table("t"),
        lambda: t.execute("DELETE FROM t"),
    ):
        with pytest.raises(ReadOnlyError), t.transaction(read_only=True):
            assert values(t) == ["a"]
            write()
        assert values(t) == ["a"]
    t.insert("t", {"v": "afterwards"})
    with t.transaction(read_only=True):
        assert t.query("SELECT count(*) AS n FROM t") == [{"n": 2}]
        assert [row["v"] for row in t.stream("t", order_by="id")] == ["a", "afterwards"]


def test_an_inner_block_cannot_have_its_own_mode(t: Database) -> None:
    with t.transaction():
        for options in ({"isolation": "SERIALIZABLE"}, {"read_only": True}):
            with pytest.raises(TransactionError, match="nested"), t.transaction(**options):
                pass
        t.insert("t", {"v": "a"})
    assert values(t) == ["a"]


# run_transaction


def test_run_transaction_commits_and_gives_the_result(t: Database, other: Database) -> None:
    assert t.run_transaction(lambda: t.insert("t", {"v": "a"})) == 1
    assert values(other) == ["a"]

    def fails() -> None:
        t.insert("t", {"v": "b"})
        stop()

    with pytest.raises(Stop):
        t.run_transaction(fails)
    assert values(t) == ["a"]
    with t.transaction(), pytest.raises(TransactionError, match="cannot be part"):
        t.run_transaction(lambda: None)


def test_run_transaction_tries_only_conflicts_again(t: Database) -> None:
    tries = []

    def fails() -> None:
        tries.append(1)
        t.insert("t", {"v": "same"})
        t.insert("t", {"v": "same"})

    with pytest.raises(UniqueViolation):
        t.run_transaction(fails)
    assert len(tries) == 1
    assert values(t) == []


def test_run_transaction_repeats_the_whole_call_on_a_real_conflict(t: Database, url: str) -> None:
    """Two threads read and then write the same row; one meets the other and runs again from its start."""
    t.create_table("account", {"id": "INTEGER PRIMARY KEY", "n": int})
    t.insert("account", {"id": 1, "n": 0})
    both_have_read = threading.Barrier(2, timeout=120)
    runs: list[int] = []

    def add(amount: int) -> None:
        first = [True]

        def work() -> None:
            runs.append(amount)
            read = t.get("account", 1)["n"]
            if first[0]:
                first[0] = False
                # Where the second cannot even read before the first has committed, nobody waits for it.
                with suppress(threading.BrokenBarrierError):
                    both_have_read.wait(timeout=0.5)
            t.update("account", {"n": read + amount}, {"id": 1})

        t.run_transaction(work, isolation="SERIALIZABLE")

    threads = [threading.Thread(target=add, args=(amount,)) for amount in (1, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert t.get("account", 1)["n"] == 11
    assert set(runs) == {1, 10}


def test_a_serialization_failure_is_its_own_error(t: Database, other: Database, engine_name: str) -> None:
    t.insert("t", {"v": "a"})
    if engine_name == "sqlite":
        # The second writer is not let in at all.
        with t.transaction(), pytest.raises(DatabaseBusy), other.transaction():
            pass
        return
    with pytest.raises(SerializationFailure), t.transaction(isolation="SERIALIZABLE"):
        t.count("t")
        with other.transaction(isolation="SERIALIZABLE"):
            other.count("t")
            other.update("t", {"v": "b"}, {"id": 1})
        t.update("t", {"v": "c"}, {"id": 1})
    assert values(t) == ["b"]


def test_retries_are_counted(t: Database, engine_name: str) -> None:
    tries = []

    def conflict() -> None:
        tries.append(1)
        raise SerializationFailure("a conflict")

    with pytest.raises(SerializationFailure):
        t.run_transaction(conflict, retries=3)
    assert len(tries) == 4
    tries.clear()
    with pytest.raises(SerializationFailure):
        t.run_transaction(conflict, retries=0)
    assert len(tries) == 1


# Locks of others

HOLDER = """
import sys, holdfast
db = holdfast.connect(sys.argv[1])
db.begin_transaction()
db.update("t", {"v": "held"}, {"id": 1})
print("holding", flush=True)
sys.stdin.readline()
db.rollback()
db.close()
print("released", flush=True)
"""


@pytest.fixture
def holder(t: Database, url: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock on row 1 until it is told to let go."""
    t.insert("t", {"v": "mine"})
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "holding\n"
        yield process
        if process.poll() is None:
            process.stdin.close()
            process.wait(120)


def let_go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    assert process.stdout.readline() == "released\n"


def test_a_lock_of_another_process_is_waited_for_up_to_the_timeout(
    url: str, holder: subprocess.Popen[str]
) -> None:
    with holdfast.connect(url, timeout=0.5) as db:
        for write in (
            lambda: db.update("t", {"v": "x"}, {"id": 1}),
            lambda: db.update_many("t", [{"id": 1, "v": "x"}]),
            lambda: _in_a_block(db),
        ):
            started = time.monotonic()
            with pytest.raises(DatabaseBusy) as caught:
                write()
            assert 0.4 < time.monotonic() - started < 25, "not the 30 s that are the default"
            assert isinstance(caught.value, TimeoutError)
            assert values(db) == ["mine"], "reading does not wait"
        let_go(holder)
        assert db.update("t", {"v": "x"}, {"id": 1}) == 1
        assert values(db) == ["x"]


def _in_a_block(db: Database) -> None:
    with db.transaction():
        db.update("t", {"v": "x"}, {"id": 1})


def test_a_lock_that_is_let_go_in_time_is_taken(url: str, holder: subprocess.Popen[str]) -> None:
    with holdfast.connect(url, timeout=20) as db:
        timer = threading.Timer(0.4, let_go, [holder])
        timer.start()
        assert db.update("t", {"v": "x"}, {"id": 1}) == 1
        timer.join()
        assert values(db) == ["x"]


def test_run_transaction_waits_out_a_busy_database(url: str, holder: subprocess.Popen[str]) -> None:
    with holdfast.connect(url, timeout=0.2) as db:
        timer = threading.Timer(0.5, let_go, [holder])
        timer.start()
        tries = []

        def work() -> int:
            tries.append(1)
            return db.update("t", {"v": "x"}, {"id": 1})

        assert db.run_transaction(work, retries=30) == 1
        timer.join()
        assert values(db) == ["x"]


def test_signatures_of_the_two_ways_are_alike() -> None:
    block = inspect.signature(Database.transaction).parameters
    by_hand = inspect.signature(Database.begin_transaction).parameters
    assert list(block) == list(by_hand) == ["self", "isolation", "read_only"]


# Interrupted


def interrupt(db: Database, moment: str) -> None:
    """Have Ctrl-C arrive when a statement that starts with ``moment`` is done, but nothing is noted of it."""
    session = db._executor.session()
    execute = session.execute

    def interrupted(sql: str, params: Any) -> Any:
        cursor = execute(sql, params)
        if sql.startswith(moment):
            session.execute = execute
            raise KeyboardInterrupt
        return cursor

    session.execute = interrupted


@pytest.mark.parametrize("moment", ["BEGIN", "SAVEPOINT", "INSERT", "RELEASE", "COMMIT"])
def test_ctrl_c_between_a_statement_and_the_next_leaves_no_transaction_open(
    t: Database, other: Database, moment: str
) -> None:
    interrupt(t, moment)
    with pytest.raises(KeyboardInterrupt), t.transaction(), t.transaction():
        t.insert("t", {"id": 1, "v": "a"})
    t.insert("t", {"id": 2, "v": "b"})
    with t.transaction():
        t.insert("t", {"id": 3, "v": "c"})
    kept = [1, 2, 3] if moment == "COMMIT" else [2, 3]
    assert [row["id"] for row in other.select("t", order_by="id")] == kept


@pytest.mark.parametrize("moment", ["SAVEPOINT", "RELEASE"])
def test_ctrl_c_caught_around_an_inner_block_undoes_all_of_the_outer_one(
    t: Database, other: Database, moment: str
) -> None:
    interrupt(t, moment)
    with pytest.raises(TransactionAborted), t.transaction():
        with suppress(KeyboardInterrupt), t.transaction():
            t.insert("t", {"id": 1, "v": "a"})
        t.insert("t", {"id": 2, "v": "b"})
    t.insert("t", {"id": 3, "v": "c"})
    assert [row["id"] for row in other.select("t")] == [3]


def test_a_statement_that_failed_unseen_is_not_taken_for_a_commit(t: Database, other: Database) -> None:
    done = False
    with suppress(TransactionAborted):
        with t.transaction():
            t.insert("t", {"id": 1, "v": "a"})
            with suppress(Exception):
                t._executor.driver_connection().execute("SELECT * FROM nowhere")
        done = True
    assert other.count("t") == (1 if done else 0)


def test_a_connection_lost_in_a_block_does_not_let_the_rest_of_it_be_kept(
    t: Database, other: Database, engine_name: str
) -> None:
    if engine_name == "sqlite":
        pytest.skip("there is no server to lose")
    with pytest.raises(TransactionAborted), t.transaction():
        with suppress(Error), t.transaction():
            pid = t.execute("SELECT pg_backend_pid()").scalar()
            other.execute("SELECT pg_terminate_backend(?, 5000)", [pid])
            t.insert("t", {"id": 1, "v": "a"})
        with pytest.raises(TransactionAborted):
            t.insert("t", {"id": 2, "v": "b"})
    t.insert("t", {"id": 3, "v": "c"})
    assert [row["id"] for row in other.select("t")] == [3]


def test_a_stream_ends_with_the_transaction_it_was_begun_in(db: Database) -> None:
    db.create_table("streamed", {"id": "INTEGER PRIMARY KEY"})
    db.insert_many("streamed", [{"id": number} for number in range(10)])
    for is_read_only in (False, True):
        for is_kept in (True, False):
            with suppress(KeyError), db.transaction(read_only=is_read_only):
                rows = db.stream("streamed", batch_size=3)
                assert next(rows)["id"] == 0
                if not is_kept:
                    raise KeyError
            with pytest.raises(TransactionError, match="has ended"):
                list(rows)
    with db.transaction():
        rows = db.stream("streamed", batch_size=3)
        next(rows)
    with db.transaction():
        db.insert("streamed", {"id": 10})
        del rows
    assert db.count("streamed") == 11


def test_a_stream_outlasts_savepoints_but_the_one_it_was_begun_in(db: Database) -> None:
    db.create_table("streamed", {"id": "INTEGER PRIMARY KEY"})
    db.insert_many("streamed", [{"id": number} for number in range(10)])
    with db.transaction():
        outer = db.stream("streamed", batch_size=3)
        next(outer)
        with suppress(KeyError), db.transaction():
            undone = db.stream("streamed", batch_size=3)
            next(undone)
            raise KeyError
        with db.transaction():
            kept = db.stream("streamed", batch_size=3)
            next(kept)
        with pytest.raises(TransactionError, match="has ended"):
            list(undone)
        assert len(list(outer)) == len(list(kept)) == 9
        db.insert("streamed", {"id": 10})
    assert db.count("streamed") == 11


def test_a_connection_lost_at_the_end_of_reading_leaves_nothing_unknown(
    db: Database, url: str, engine_name: str
) -> None:
    if engine_name == "sqlite":
        pytest.skip("a file has no server that could go away")
    pid = db.query("SELECT pg_backend_pid() AS pid")[0]["pid"]
    with holdfast.connect(url) as other, pytest.raises(ConnectionLost), db.transaction(read_only=True):
        other.query("SELECT pg_terminate_backend(?, 5000)", [pid])
    assert db.list_tables() == []


def test_sqlalchemy_waits_for_a_lock_too(url: str, holder: subprocess.Popen[str]) -> None:
    with holdfast.connect(url, timeout=20) as db:
        timer = threading.Timer(0.4, let_go, [holder])
        timer.start()
        with db.engine.begin() as connection:
            connection.execute(sa.text("UPDATE t SET v = 'x' WHERE id = 1"))
        timer.join()
        assert values(db) == ["x"]


def test_autocommit_of_sqlalchemy_inside_a_transaction_is_refused(t: Database) -> None:
    with t.transaction():
        t.insert("t", {"id": 1, "v": "a"})
        with pytest.raises(TransactionError, match="AUTOCOMMIT") as caught, t.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
        assert "outside" in str(caught.value.hint)
        t.insert("t", {"id": 2, "v": "b"})
    with t.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("INSERT INTO t (id, v) VALUES (3, 'c')"))
    assert t.count("t") == 3


FORKED_INSIDE = """
import os, sys, holdfast
db = holdfast.connect(sys.argv[1])
db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"})
said = []
with db.transaction():
    db.insert("t", {"v": "parent"})
    pid = os.fork()
    if pid == 0:
        try:
            assert db.count("t") == 0, "a connection of its own does not see what is not committed"
            sys.exit(3)
        finally:
            pass
    _, status = os.waitpid(pid, 0)
    said.append(os.waitstatus_to_exitcode(status))
    db.insert("t", {"v": "parent again"})
print(said, [row["v"] for row in db.select("t", order_by="id")])
db.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_inside_a_transaction_leaves_it_to_the_parent(url: str) -> None:
    """The child leaves the block by an exception, which must not roll the parent's transaction back."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED_INSIDE, url], capture_output=True, text=True
    )
    assert done.stdout.strip() == "[3] ['parent', 'parent again']", done
