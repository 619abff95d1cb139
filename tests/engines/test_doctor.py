"""What is wrong with a database is found, and what can be mended without risk is."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

import holdfast
from holdfast.errors import TransactionError


def seen(db: holdfast.Database, check: str) -> list[str]:
    return [finding.evidence for finding in db.doctor() if finding.check == check]


@pytest.fixture
def labs(db: holdfast.Database) -> holdfast.Database:
    db.create_table("labs", {"id": "INTEGER PRIMARY KEY", "name": "TEXT"})
    db.create_table(
        "runs",
        {"id": "INTEGER PRIMARY KEY", "lab": "INTEGER", "acc": "REAL"},
        foreign_keys={"lab": "labs(id)"},
    )
    db.insert_many("labs", [{"name": f"lab {n}"} for n in range(20)])
    db.insert_many("runs", [{"lab": n % 20 + 1, "acc": n} for n in range(1500)])
    db.analyze()
    return db


def test_a_foreign_key_without_an_index_is_found_and_mended(labs: holdfast.Database, tmp_path: Path) -> None:
    (found,) = [finding for finding in labs.doctor() if finding.check == "foreign keys"]
    assert (found.severity, found.table, found.columns) == ("warning", "runs", ("lab",))
    assert found.remedy == "create_index('runs', ['lab'])"
    after = labs.doctor(fix=tmp_path / "before.hfz")
    assert not [finding for finding in after if finding.check == "foreign keys"]
    assert [index["columns"] for index in labs.list_indexes("runs") if not index["primary_key"]] == [["lab"]]
    assert labs.verify_backup(tmp_path / "before.hfz").ok


def test_an_index_that_leads_with_the_key_is_enough(labs: holdfast.Database) -> None:
    labs.create_index("runs", ["lab", "acc"])
    assert seen(labs, "foreign keys") == []


def test_indexes_that_do_nothing_are_found(labs: holdfast.Database) -> None:
    labs.create_index("runs", ["lab", "acc"])
    labs.create_index("runs", "lab")
    labs.create_index("runs", "acc", name="one")
    labs.create_index("runs", "acc", name="two")
    labs.create_index("runs", "acc", name="some", where="acc > 5")
    labs.create_index("runs", ["acc", "lab"], unique=True, name="rule")
    labs.create_index("runs", "acc DESC", name="down")
    spare = {text.split()[2] for text in seen(labs, "indexes")}
    assert spare == {"idx_runs_lab", "one", "two"}
    for name in spare:
        labs.drop_index("runs", name)
    assert seen(labs, "indexes") == []


def test_a_table_without_a_key_is_said(labs: holdfast.Database) -> None:
    labs.create_table("loose", {"a": int})
    assert [text.split()[0] for text in seen(labs, "keys")] == ["loose"]


def test_statistics_that_are_not_there_are_made(db: holdfast.Database, tmp_path: Path) -> None:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY"})
    if db._engine.name == "postgres":
        db.execute("ALTER TABLE t SET (autovacuum_enabled = false)")
    db.insert_many("t", [{"id": n} for n in range(10_000)])
    assert "t" in seen(db, "statistics")[0]
    assert [f for f in db.doctor(fix=tmp_path / "before.sql") if f.check == "statistics"] == []


def test_a_backup_that_is_overdue_is_said(labs: holdfast.Database, tmp_path: Path) -> None:
    def overdue() -> list[str]:
        return [f.evidence for f in labs.doctor(backups=tmp_path, every="1d") if f.check == "backups"]

    assert "there is none" in overdue()[0]
    labs.backup_if_due(tmp_path, "1d")
    assert overdue() == []


def test_nothing_is_changed_and_a_transaction_is_left_alone(labs: holdfast.Database, tmp_path: Path) -> None:
    with labs.transaction():
        labs.insert("labs", {"name": "new"})
        labs.doctor()
    assert labs.count("labs") == 21
    with pytest.raises(TransactionError), labs.transaction():
        labs.doctor(fix=tmp_path / "x.sql")
    assert not (tmp_path / "x.sql").exists()


def test_rows_that_refer_to_nothing_are_found(tmp_path: Path) -> None:
    with holdfast.connect(tmp_path / "a.db") as db:
        db.create_table("a", {"id": "INTEGER PRIMARY KEY"})
        db.create_table("b", {"id": "INTEGER PRIMARY KEY", "a": int}, foreign_keys={"a": "a(id)"})
        with sqlite3.connect(tmp_path / "a.db") as other:
            other.execute("INSERT INTO b VALUES (1, 7)")
        other.close()
        found = db.doctor()
        assert not found.is_healthy
        assert found[0].evidence == "1 rows of b refer to rows of a that are not there"
        assert str(found).startswith("error: 1 rows of b")


def test_a_damaged_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with holdfast.connect(path) as db:
        db.create_table("t", {"id": "INTEGER PRIMARY KEY", "a": str})
        db.insert_many("t", [{"a": f"value {n:05}"} for n in range(2000)])
        db.create_index("t", "a")
    data = bytearray(path.read_bytes())
    at = data.rindex(b"value 01000")
    data[at : at + 5] = b"VALUE"
    path.write_bytes(data)
    with holdfast.connect(path, read_only=True) as db:
        found = db.doctor()
        assert not found.is_healthy
        assert any(f.check == "integrity" for f in found)


def test_what_only_postgresql_can_have(labs: holdfast.Database) -> None:
    if labs._engine.name != "postgres":
        pytest.skip("PostgreSQL's own")
    labs.execute("ALTER TABLE runs SET (autovacuum_enabled = false)")
    labs.execute("ALTER TABLE runs ADD CONSTRAINT high CHECK (acc > 5) NOT VALID")
    assert "high" in seen(labs, "constraints")[0]
    labs.execute("ALTER TABLE runs DROP CONSTRAINT high")
    labs.insert_many("runs", [{"lab": 1, "acc": 1.0} for _ in range(12_000)])
    labs.delete("runs", {"acc": 1.0})
    labs.execute("SELECT pg_stat_force_next_flush()")
    assert "dead rows" in seen(labs, "unused space")[0]
    assert any("fsync is off" in text for text in seen(labs, "durability"))


def test_the_command(labs: holdfast.Database, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    from holdfast.cli import main

    with pytest.raises(SystemExit) as ended:
        main.run(["doctor", url, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert {"check", "severity", "evidence", "remedy"} <= set(found[0])
    assert ended.value.code == (0 if labs.doctor().is_healthy else 1)
