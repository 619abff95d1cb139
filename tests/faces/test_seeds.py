"""The documents that Holdfast fulfils, run as written: which rows, which values, which files, which names.

A block is left out where it holds a literal ``...`` or needs sibling packages or sudo; what can be run of
such a block is.
"""

from __future__ import annotations

import json
import re
import sqlite3
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import holdfast
import servers

SEEDS = Path(__file__).parent / "seeds"
NAMES = {"scitex.db": "scitex_db.md", "mngs.db": "mngs_db.md"}


def blocks(name: str) -> dict[str, str]:
    """The Python blocks of a document by their heading; a second one under a heading gets `` 2``."""
    found: dict[str, str] = {}
    heading = ""
    text = (SEEDS / NAMES[name]).read_text()
    for match in re.finditer(
        r"^#{2,4} (?P<heading>[^\n]+)$|^(?P<indent> *)```python\n(?P<code>.*?)```", text, re.M | re.S
    ):
        if match["heading"]:
            heading = re.sub(r"^\d+\. ", "", match["heading"])
            continue
        key, number = heading, 2
        while key in found:
            key, number = f"{heading} {number}", number + 1
        found[key] = textwrap.dedent(match["indent"] + match["code"])
    return found


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    holdfast.install_as(request.param)
    yield request.param
    root = request.param.partition(".")[0]
    for module in [module for module in sys.modules if module.partition(".")[0] == root]:
        del sys.modules[module]


@pytest.fixture
def package(name: str) -> types.ModuleType:
    return sys.modules[name.partition(".")[0]]


@pytest.fixture
def opened(
    name: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[holdfast.Database]:
    """A database opened through the old name, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    with holdfast.connect(url) as database:
        yield database


Run = Callable[..., dict[str, object]]


@pytest.fixture
def run(name: str, package: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the block under a heading, as written."""
    monkeypatch.chdir(tmp_path)
    code = blocks(name)

    def run(
        heading: str, until: str | None = None, change: Callable[[str], str] = str, **given: object
    ) -> dict:
        text = change(code[heading])
        namespace = {"__name__": "script", package.__name__: package, **given}
        exec(compile(text.partition(until)[0] if until else text, heading, "exec"), namespace)
        return namespace

    return run


def make_experiments(db: holdfast.Database) -> None:
    db.create_table(
        "experiments",
        {
            "id": "INTEGER PRIMARY KEY AUTOINCREMENT",
            "name": "TEXT NOT NULL",
            "timestamp": "DATETIME DEFAULT CURRENT_TIMESTAMP",
            "accuracy": "REAL",
            "parameters": "TEXT",
        },
    )


def make_users(db: holdfast.Database) -> None:
    db.create_table(
        "users",
        {"id": "INTEGER PRIMARY KEY", "name": "TEXT", "email": "TEXT", "score": "REAL", "username": "TEXT"},
    )


# The two opening blocks


def test_sqlite3_block(run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    namespace = run("SQLite3 Database")
    (row,) = namespace["results"]
    assert {key: row[key] for key in ("id", "name", "accuracy", "parameters")} == {
        "id": 1,
        "name": "exp_001",
        "accuracy": 0.95,
        "parameters": '{"lr": 0.001, "batch_size": 32}',
    }
    assert isinstance(row["timestamp"], datetime)
    assert "exp_001" in capsys.readouterr().out
    assert not namespace["db"].is_open
    with sqlite3.connect(tmp_path / "my_data.db") as plain:
        assert plain.execute("SELECT id, name, accuracy FROM experiments").fetchall() == [
            (1, "exp_001", 0.95)
        ]
    plain.close()


def test_sqlite3_block_runs_again(run: Run) -> None:
    run("SQLite3 Database")
    assert [row["id"] for row in run("SQLite3 Database")["results"]] == [1, 2]


@pytest.fixture(scope="module")
def server_on_5432() -> Iterator[int]:
    """A server where the document looks for one; on another port where that one is taken."""
    try:
        with servers.server_at(5432):
            yield 5432
            return
    except RuntimeError:
        pass
    with servers.server_at() as server:
        yield server.port


def test_postgresql_block(run: Run, server_on_5432: int) -> None:
    namespace = run("PostgreSQL Database", change=lambda code: code.replace("5432", str(server_on_5432)))
    db = namespace["db"]
    try:
        columns = {column["name"]: column["type"] for column in db.get_columns("neural_recordings")}
        assert list(columns) == [
            "id",
            "subject_id",
            "session_date",
            "recording_data",
            "metadata",
            "created_at",
        ]
        assert columns["metadata"] == "JSONB"
        assert columns["recording_data"] == "BYTEA"
        assert "idx_neural_recordings_subject_id_session_date" in [
            index["name"] for index in db.list_indexes("neural_recordings")
        ]
        key = db.insert(
            "neural_recordings", {"subject_id": "s1", "recording_data": b"\0\1", "metadata": {"hz": 1000}}
        )
        row = db.get("neural_recordings", key)
        assert (row["id"], row["recording_data"], row["metadata"]) == (key, b"\0\1", {"hz": 1000})
        assert isinstance(row["created_at"], datetime)
        with pytest.raises(holdfast.errors.ValueRefused, match="subject_id"):
            db.insert("neural_recordings", {"subject_id": "x" * 51})
    finally:
        db.close()


# Core features


def test_crud_block(run: Run, opened: holdfast.Database) -> None:
    make_users(opened)
    opened.insert("users", {"name": "Bob", "email": "bob@example.com", "score": 40})
    namespace = run("Basic CRUD Operations", db=opened)
    assert namespace["users"] == [{"name": "Alice Smith", "email": "alice@example.com"}]
    assert [(row["name"], row["score"]) for row in opened.select("users")] == [("Alice Smith", 90.0)]


def test_batch_block(run: Run, opened: holdfast.Database) -> None:
    make_users(opened)
    run("Batch Operations", db=opened)
    assert [(row["id"], row["name"], row["score"]) for row in opened.select("users", order_by="id")] == [
        (1, "User1", 80),
        (2, "User2", 85),
        (3, "User3", 90),
    ]


def test_transaction_block(run: Run, opened: holdfast.Database) -> None:
    opened.create_table("accounts", {"name": "TEXT PRIMARY KEY", "balance": "INTEGER"})
    run("Transaction Management", until="# Manual transaction control", db=opened)
    assert opened.select("accounts", order_by="name") == [
        {"name": "Alice", "balance": 900},
        {"name": "Bob", "balance": 1100},
    ]
    with pytest.raises(holdfast.errors.UniqueViolation):
        run("Transaction Management", until="# Manual transaction control", db=opened)
    assert opened.count("accounts") == 2


def test_manual_transaction_block(run: Run, opened: holdfast.Database) -> None:
    opened.create_table("accounts", {"name": "TEXT PRIMARY KEY", "balance": "INTEGER"})

    def manual(insert: str, update: str) -> Callable[[str], str]:
        def change(code: str) -> str:
            code = code[code.index("# Manual transaction control") :]
            return code.replace("db.insert(...)", insert).replace("db.update(...)", update)

        return change

    insert = "db.insert('accounts', {'name': 'Eve', 'balance': 1})"
    update = "db.update('accounts', {'balance': 2}, where=\"name = 'Eve'\")"
    run("Transaction Management", change=manual(insert, update), db=opened)
    assert opened.select("accounts") == [{"name": "Eve", "balance": 2}]
    with pytest.raises(holdfast.errors.ColumnNotFound):
        run(
            "Transaction Management",
            change=manual(insert.replace("Eve", "Fay"), "db.update('accounts', {'balnce': 0}, 'name = 1')"),
            db=opened,
        )
    assert opened.count("accounts") == 1
    opened.insert("accounts", {"name": "after", "balance": 0})


def test_schema_block(run: Run, opened: holdfast.Database, capsys: pytest.CaptureFixture[str]) -> None:
    make_experiments(opened)
    opened.add_column("experiments", "deprecated_field", "TEXT")
    opened.insert("experiments", {"name": "kept", "deprecated_field": "x"})
    opened.create_table("old_data", {"a": "TEXT"})
    opened.create_table("old_name", {"a": "TEXT"})
    opened.insert("old_name", {"a": "moved"})
    namespace = run("Schema Management", db=opened)
    assert namespace["tables"] == ["experiments", "old_data", "old_name"]
    assert [column["name"] for column in namespace["columns"]][-1] == "deprecated_field"
    assert opened.list_tables() == ["experiments", "new_name"]
    assert [column["name"] for column in opened.get_columns("experiments")] == [
        "id", "name", "timestamp", "accuracy", "parameters", "notes",
    ]  # fmt: skip
    assert opened.select("new_name") == [{"a": "moved"}]
    assert opened.get("experiments", 1)["name"] == "kept"
    assert "Tables: ['experiments', 'old_data', 'old_name']" in capsys.readouterr().out


def test_index_block(run: Run, opened: holdfast.Database) -> None:
    make_users(opened)
    opened.create_table("logs", {"id": int, "user_id": int, "timestamp": "TIMESTAMP"}, primary_key="id")
    namespace = run("Index Management", db=opened)
    names = {index["name"]: index for index in namespace["indexes"] if not index["constraint"]}
    assert list(names) == ["idx_users_username"]
    assert names["idx_users_username"]["unique"] is True
    assert "idx_logs_user_id_timestamp" in [index["name"] for index in opened.list_indexes("logs")]
    opened.insert("users", {"username": "a"})
    with pytest.raises(holdfast.errors.UniqueViolation):
        opened.insert("users", {"username": "a"})


def test_import_export_block(run: Run, opened: holdfast.Database, tmp_path: Path) -> None:
    opened.create_table("experiments", {"name": "TEXT", "accuracy": "REAL"})
    opened.insert_many("experiments", [{"name": "a", "accuracy": 0.95}, {"name": "b", "accuracy": None}])
    (tmp_path / "experiments_data.csv").write_text("name,accuracy\n007,0.5\n")
    namespace = run("Import/Export Operations", db=opened)
    assert (tmp_path / "experiments_backup.csv").read_text().splitlines() == ["name,accuracy", "a,0.95", "b,"]
    pd.testing.assert_frame_equal(
        namespace["df"],
        pd.DataFrame({"name": ["a", "b", "007"], "accuracy": [0.95, None, 0.5]}),
        check_dtype=False,
    )
    assert opened.count("experiments") == 6
    assert opened.count("experiments", where="name = '007'") == 2
    assert opened.count("experiments", {"accuracy": None}) == 2
    lines = (tmp_path / "high_accuracy_experiments.csv").read_text().splitlines()
    assert lines == ["name,accuracy", "a,0.95", "a,0.95"]


def test_backup_block(run: Run, opened: holdfast.Database, tmp_path: Path) -> None:
    schedule = pytest.importorskip("schedule")
    make_experiments(opened)
    opened.create_index("experiments", ["name"])
    opened.insert("experiments", {"name": "it's; --\n", "accuracy": 0.1})
    before = opened.select("experiments")
    run("Backup and Restore", db=opened)
    assert opened.select("experiments") == before
    assert (tmp_path / "experiments_backup.sql").stat().st_size > 0
    opened.delete("experiments", all_rows=True)
    opened.insert("experiments", {"name": "other"})
    opened.restore_database("backup_20250530.sql")
    assert opened.select("experiments") == before
    assert "idx_experiments_name" in [index["name"] for index in opened.list_indexes("experiments")]
    assert opened.insert("experiments", {"name": "next"}) == 2
    assert len(schedule.get_jobs()) == 1
    schedule.clear()


def test_maintenance_block(run: Run, opened: holdfast.Database, capsys: pytest.CaptureFixture[str]) -> None:
    make_experiments(opened)
    namespace = run("Database Maintenance", db=opened)
    assert namespace["stats"]["table_count"] == 1
    assert namespace["stats"]["size"] > 0
    out = capsys.readouterr().out
    assert "Number of tables: 1" in out
    assert "experiments" in out
    opened()
    assert "experiments" in capsys.readouterr().out


# Advanced features


def test_json_block(run: Run, opened: holdfast.Database, engine_name: str) -> None:
    opened.create_table("experiments", {"name": "TEXT", "config": "JSONB"})
    until = "# Update JSON fields" if engine_name == "sqlite" else None
    namespace = run("JSON/JSONB Support (PostgreSQL)", until=until, db=opened)
    config = {"model": "resnet50", "optimizer": {"type": "adam", "lr": 0.001, "betas": [0.9, 0.999]}}
    assert namespace["results"] == [{"name": "exp_001", "config": config}]
    if until is None:
        config["optimizer"]["lr"] = 0.0001
    assert opened.select("experiments") == [{"name": "exp_001", "config": config}]


@pytest.mark.parametrize("made_before", [True, False])
def test_blob_block(run: Run, opened: holdfast.Database, made_before: bool) -> None:
    if made_before:
        opened.create_table("arrays", {"id": "INTEGER PRIMARY KEY", "name": "TEXT", "data": "BLOB"})
    namespace = run("BLOB Storage", db=opened)
    np.testing.assert_array_equal(namespace["retrieved_data"], namespace["data"])
    assert namespace["result"] == namespace["blob_data"]
    with pytest.raises(holdfast.errors.NotFoundError):
        opened.get_blob("arrays", "data", where="name = 'missing'")


def test_full_text_block(run: Run, opened: holdfast.Database, engine_name: str) -> None:
    if engine_name == "sqlite":
        pytest.skip("the block is PostgreSQL's own SQL")
    opened.create_table("articles", {"id": "SERIAL PRIMARY KEY", "title": "TEXT", "content": "TEXT"})
    opened.insert("articles", {"title": "On machines", "content": "Learning by machine"})
    opened.insert("articles", {"title": "On birds", "content": "They fly"})
    results = run("Full-Text Search (PostgreSQL)", db=opened)["results"]
    assert [row["title"] for row in results] == ["On machines"]


def test_inspection_block(run: Run, opened: holdfast.Database, tmp_path: Path) -> None:
    make_experiments(opened)
    make_users(opened)
    opened.create_table("orders", {"id": int, "user_id": "INTEGER REFERENCES users(id)"}, primary_key="id")
    namespace = run("Database Inspection", db=opened)
    (key,) = namespace["foreign_keys"]
    assert (key["columns"], key["references"], key["keys"]) == (["user_id"], "users", ["id"])
    assert namespace["primary_keys"] == ["id"]
    assert "experiments" in namespace["create_sql"]
    assert namespace["create_sql"].upper().startswith("CREATE TABLE")
    assert (tmp_path / "schema.png").read_bytes().startswith(b"\x89PNG")


# Workflows


def test_experiment_tracker(run: Run, opened: holdfast.Database, package: types.ModuleType, url: str) -> None:
    package.gen = types.SimpleNamespace(gen_timestamp=lambda: "2025Y-05M-30D-02h00m00s")
    namespace = run("Experiment Tracking", json=json)
    tracker = namespace["ExperimentTracker"]()
    for number, accuracy in enumerate([0.5, 0.9, 0.7]):
        started = datetime(2025, 5, 30, 1, number)
        tracker.log_run(f"r{number}", {"name": "sweep", "lr": 0.1}, {"accuracy": accuracy})
        tracker.db.update("runs", {"start_time": started}, {"run_id": f"r{number}"})
    best = tracker.get_best_runs(n=2)
    assert [run["run_id"] for run in best] == ["r1", "r2"]
    assert best[0]["metrics"] == {"accuracy": 0.9}
    assert best[0]["end_time"] == "2025Y-05M-30D-02h00m00s"
    assert best[0]["start_time"] == datetime(2025, 5, 30, 1, 1)
    tracker.db.close()
    again = namespace["ExperimentTracker"]()
    assert again.db.count("runs") == 3
    again.db.close()


def test_time_series(run: Run, opened: holdfast.Database, package: types.ModuleType) -> None:
    class Postgres:
        def __new__(cls, *_: object) -> holdfast.Database:
            return opened

    package.db = types.SimpleNamespace(PostgreSQL=Postgres)
    series = run("Time Series Data Storage")["TimeSeriesDB"]()
    start = datetime(2025, 5, 30, 12)
    readings = [{"timestamp": start + timedelta(minutes=i), "value": i / 2} for i in range(10)]
    readings[3]["metadata"] = {"quality": ["ok", 1]}
    series.insert_readings("s1", readings)
    series.insert_readings("s2", readings)
    rows = series.get_time_range("s1", start + timedelta(minutes=2), start + timedelta(minutes=4))
    assert [row["value"] for row in rows] == [1.0, 1.5, 2.0]
    assert [row["metadata"] for row in rows] == [{}, {"quality": ["ok", 1]}, {}]
    assert [row["timestamp"] for row in rows] == [start + timedelta(minutes=i) for i in (2, 3, 4)]


def test_database_sync(run: Run, opened: holdfast.Database, tmp_path: Path) -> None:
    columns = {
        "id": "INTEGER PRIMARY KEY",
        "name": "TEXT",
        "at": "TIMESTAMP",
        "config": "JSON",
        "ok": "BOOLEAN",
    }
    with holdfast.SQLite3(tmp_path / "local.db") as local:
        for database in (local, opened):
            database.create_table("runs", columns)
        at = datetime(2025, 5, 30, 1, 2, 3, 4)
        local.insert_many("runs", [{"id": 1, "name": "l1", "at": at, "config": {"a": [1]}, "ok": True}])
        opened.insert_many("runs", [{"id": 1, "name": "old"}, {"id": 2, "name": "r2", "config": [1.5]}])
        sync = run("Multi-Database Synchronization")["DatabaseSync"](local, opened)
        sync.sync_table("runs", "up")
        assert opened.get("runs", 1) == {"id": 1, "name": "l1", "at": at, "config": {"a": [1]}, "ok": True}
        sync.sync_table("runs")
        assert local.select("runs", order_by="id") == opened.select("runs", order_by="id")
        assert local.count("runs") == 2
        assert opened.insert("runs", {"name": "next"}) == 3


# Best practices and troubleshooting


def test_parameters_block(run: Run, opened: holdfast.Database) -> None:
    make_users(opened)
    opened.insert_many("users", [{"name": "a"}, {"name": "b"}])
    assert run("SQL Injection Prevention", db=opened, request={"user_id": 2})["results"][0]["name"] == "b"
    attack = {"user_id": "2'; DROP TABLE users; --"}
    code = blocks("scitex.db")["SQL Injection Prevention"]
    only_good = code[: code.index("# Bad")]
    with pytest.raises(holdfast.errors.Error) if opened.url.startswith("postgres") else _nothing():
        run("SQL Injection Prevention", change=lambda _: only_good, db=opened, request=attack)
    assert opened.count("users") == 2


def test_performance_block(run: Run, opened: holdfast.Database) -> None:
    opened.create_table("logs", {"user_id": int, "timestamp": "TIMESTAMP"})
    opened.create_table("records", {"value": int})
    run("Performance Optimization", db=opened, large_list=[{"value": i} for i in range(50)])
    assert opened.count("records") == 100
    assert [index["columns"] for index in opened.list_indexes("logs")] == [["timestamp", "user_id"]]


def test_maintenance_functions(
    run: Run, opened: holdfast.Database, package: types.ModuleType, tmp_path: Path
) -> None:
    make_experiments(opened)
    package.gen = types.SimpleNamespace(gen_timestamp=lambda: "2025")
    namespace = run("Regular Maintenance", db=opened)
    namespace["maintenance"]()
    assert (tmp_path / "backup_2025.sql").exists()
    namespace["cleanup_old_backups"](str(tmp_path))
    assert (tmp_path / "backup_2025.sql").exists()


def test_locked_database_block(run: Run, tmp_path: Path) -> None:
    db = run("Common Issues 2")["db"]
    assert db.execute("PRAGMA journal_mode").scalar() == "wal"
    db.close()


def test_missing_indexes_block(
    run: Run, opened: holdfast.Database, capsys: pytest.CaptureFixture[str]
) -> None:
    make_users(opened)
    opened.create_index("users", ["email"])
    run(
        "Common Issues 3",
        change=lambda code: code.replace('db.execute("EXPLAIN ANALYZE SELECT ...")', ""),
        db=opened,
    )
    assert re.search(r"^users: \d indexes$", capsys.readouterr().out, re.M)


def test_with_and_without_with(
    run: Run, opened: holdfast.Database, package: types.ModuleType, tmp_path: Path
) -> None:
    with package.db.SQLite3("data.db") as db:
        db.create_table("t", {"a": int})
        db.insert("t", {"a": 1})
    assert not db.is_open
    db = package.db.SQLite3("data.db")
    try:
        assert db.select("t") == [{"a": 1}]
    finally:
        db.close()
    with pytest.raises(holdfast.errors.ClosedError):
        db.select("t")


class _nothing:
    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass
