"""The commands that change rows and the schema, on every engine."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

import holdfast
from holdfast.cli import main


def call(*words: str, code: int = 0, given: str = "") -> str:
    out, err, before = io.StringIO(), io.StringIO(), sys.stdin
    sys.stdin = io.StringIO(given)
    try:
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
            main.run(words)
    finally:
        sys.stdin = before
    assert left.value.code == code, (out.getvalue(), err.getvalue())
    return out.getvalue() if code == 0 else err.getvalue()


@pytest.fixture
def filled(url: str) -> str:
    with holdfast.connect(url) as db:
        db.create_table("labs", {"id": "INTEGER PRIMARY KEY", "name": "TEXT"})
        db.create_table(
            "runs", {"id": "INTEGER PRIMARY KEY", "lab": "INTEGER", "model": "TEXT", "acc": "REAL"}
        )
        db.insert_many("runs", [{"id": n, "model": f"m{n % 2}", "acc": n / 10} for n in range(1, 7)])
    return url


def test_rows_are_written_read_changed_and_removed(filled: str) -> None:
    assert call("insert", filled, "runs", '{"id": 7, "model": "x\'y"}') == "1 row written to runs\n"
    assert call("insert", filled, "runs", "-", given='{"id": 8}\n\n{"id": 9}\n') == "2 rows written to runs\n"
    assert call("insert", filled, "runs", '[{"id": 9, "acc": 2}]', "--on-conflict", "update").startswith(
        "1 row"
    )
    shown = call(
        "select", filled, "runs", "--columns", "id,acc", "--where", "id > :n", "--param", "n=7", "--csv"
    )
    assert shown == "id,acc\n8,\n9,2.0\n"
    found = call("select", filled, "runs", "--order-by", "id DESC", "--limit", "1", "--json")
    assert json.loads(found)[0]["id"] == 9
    assert call("update", filled, "runs", '{"acc": 1}', "--where", "id > 7") == "2 rows changed\n"
    assert call("delete", filled, "runs", "--where", "id > 7") == "2 rows removed\n"
    assert call("delete", filled, "runs", "--all-rows") == "7 rows removed\n"


def test_mistakes_write_nothing(filled: str) -> None:
    assert "no JSON" in call("insert", filled, "runs", "-", given='{"id": 8}\n{"id"\n', code=1)
    assert "object" in call("insert", filled, "runs", "[1]", code=1)
    call("insert", filled, "runs", '[{"id": 20}, {"id": 1}]', code=1)
    call("update", filled, "runs", '{"acc": 1}', code=1)
    call("delete", filled, "runs", code=1)
    assert "NAME=TYPE" in call("create-table", filled, "t", "a", code=2)
    with holdfast.connect(filled) as db:
        assert db.count("runs") == 6


def test_the_schema_is_shaped(filled: str) -> None:
    call(
        "create-table",
        filled,
        "notes",
        "id=INTEGER PRIMARY KEY",
        "run=INTEGER",
        "--foreign-key",
        "run=runs(id)",
    )
    call("create-table", filled, "notes", "id=INTEGER", "--if-not-exists")
    call("add-column", filled, "notes", "body", "TEXT DEFAULT 'a'")
    call("rename-column", filled, "notes", "body", "words")
    call("alter-column", filled, "notes", "words", "--no-default", "--not-null")
    call("add-foreign-key", filled, "runs", "lab", "labs", "--on-delete", "CASCADE")
    assert call("create-index", filled, "notes", "words", "--unique") == "idx_notes_words is there\n"
    call("rename-table", filled, "notes", "remarks")
    with holdfast.connect(filled) as db:
        columns = {column["name"]: column for column in db.get_columns("remarks")}
        assert (columns["words"]["nullable"], columns["words"]["default"]) == (False, None)
        assert holdfast.inspect(db).get_foreign_keys("runs")[0]["references"] == "labs"
    call("drop-index", filled, "idx_notes_words")
    call("drop-column", filled, "remarks", "words")
    assert call("drop-table", filled, "remarks") == "dropped remarks with its 0 rows\n"


def test_a_dry_run_changes_nothing(filled: str) -> None:
    with holdfast.connect(filled) as db:
        db.create_index("runs", "acc")
        before = db.query("SELECT * FROM runs ORDER BY id"), db.get_columns("runs"), db.list_indexes("runs")
    for words in (
        ["insert", "runs", '{"id": 70}'],
        ["update", "runs", '{"acc": 0}', "--all-rows"],
        ["delete", "runs", "--all-rows"],
        ["drop-column", "runs", "model"],
        ["alter-column", "runs", "model", "--not-null"],
        ["drop-index", "idx_runs_acc"],
        ["drop-table", "runs"],
    ):
        assert "taken back" in call(words[0], filled, *words[1:], "--dry-run")
    shown = call("delete-duplicates", filled, "runs", "--columns", "model", "--dry-run")
    assert shown == "4 rows would be removed\n"
    with holdfast.connect(filled) as db:
        after = db.query("SELECT * FROM runs ORDER BY id"), db.get_columns("runs"), db.list_indexes("runs")
        assert after == before
    assert call("delete-duplicates", filled, "runs", "--columns", "model") == "4 rows removed\n"


def test_upkeep(filled: str) -> None:
    assert "bytes now" in call("vacuum", filled)
    call("analyze", filled)
    call("optimize", filled)
    assert json.loads(call("health", filled, "--json"))["is_ok"] is True
    call("backup", filled, "one.sql", "--table", "runs", "--every", "1d", code=1)


def test_one_table_is_backed_up(filled: str, new_url: Callable[[], str], tmp_path: Path) -> None:
    path, other = str(tmp_path / "runs.sql"), new_url()
    call("backup", filled, path, "--table", "runs")
    call("restore", other, path)
    with holdfast.connect(other) as db:
        assert (db.list_tables(), db.count("runs")) == (["runs"], 6)
