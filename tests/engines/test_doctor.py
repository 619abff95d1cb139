"""What is wrong with a database is found, and what can be mended without risk is."""

from __future__ import annotations

import json
import os
import shlex
import sqlite3
import subprocess
import sys
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import holdfast
from holdfast.engines.postgres import checks as postgres_checks
from holdfast.engines.postgres import versions
from holdfast.engines.sqlite import checks as sqlite_checks
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


def test_an_index_in_another_order_of_letters_is_not_taken_for_a_plain_one(
    labs: holdfast.Database, engine_name: str
) -> None:
    way = "COLLATE NOCASE" if engine_name == "sqlite" else "text_pattern_ops"
    labs.execute(f"CREATE INDEX patterns ON labs (name {way})")
    labs.create_index("labs", "name", name="plain")
    assert seen(labs, "indexes") == []


def test_statements_that_want_an_index_are_said(labs: holdfast.Database) -> None:
    assert seen(labs, "statements") == []
    labs.insert_many("runs", [{"lab": 1, "acc": float(n)} for n in range(12_000)])
    labs.analyze()
    labs.record_queries()
    for n in range(12):
        labs.query("SELECT id FROM runs WHERE acc = 4.5")
        labs.find_one("labs", where={"id": n})
    (finding,) = [finding for finding in labs.doctor() if finding.check == "statements"]
    assert finding.evidence.startswith(
        "SELECT id FROM runs WHERE acc = ?, which was run 12 times, reads every row"
    )
    assert "4.5" not in str(finding)
    assert list(labs.suggest_indexes().apply())
    assert seen(labs, "statements") == []


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


def damaged(path: Path, text: bytes) -> None:
    """Change the last place where ``text`` stands in a closed file."""
    data = bytearray(path.read_bytes())
    at = data.rindex(text)
    data[at : at + 5] = b"VALUE"
    path.write_bytes(data)


def filled(path: Path) -> None:
    with holdfast.connect(path) as db:
        db.create_table("t", {"id": "INTEGER PRIMARY KEY", "a": str})
        db.insert_many("t", [{"a": f"value {n:05}"} for n in range(2000)])


def mended(db: holdfast.Database, check: str) -> None:
    """Run what a finding prints, and see that it is gone."""
    found = [finding for finding in db.doctor() if finding.check == check]
    assert found, check
    for finding in found:
        assert finding.sql, finding
        for statement in finding.sql:
            assert f"    {statement};" in str(finding)
            db.execute(statement)
    assert seen(db, check) == []


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    from holdfast.cli import main

    with pytest.raises(SystemExit) as ended:
        main.run(["doctor", *arguments])
    shown = capsys.readouterr()
    return int(ended.value.code or 0), shown.out, shown.err


def test_a_damaged_index_is_found_and_made_again(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    filled(path)
    with holdfast.connect(path) as db:
        db.create_index("t", "a", name='of "a"')
    damaged(path, b"value 01000")
    with holdfast.connect(path) as db:
        found = [finding for finding in db.doctor() if finding.check == "integrity"]
        assert [finding.severity for finding in found] == ["error"]
        assert not db.doctor().is_healthy
        assert found[0].sql == ('REINDEX "of ""a"""',)
        db.doctor(fix=tmp_path / "before.hfz")
        assert db.doctor().is_healthy
        assert db.count("t", {"a": "value 01000"}) == 1


def test_a_file_that_is_damaged_elsewhere_is_said_to_be_and_nothing_is_raised(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "it's.db"
    filled(path)
    data = bytearray(path.read_bytes())
    for page in range(2, len(data) // 4096, 3):
        data[page * 4096 : page * 4096 + 200] = bytes(range(200))
    path.write_bytes(data)
    with holdfast.connect(path, read_only=True) as db:
        found = db.doctor()
        assert not found.is_healthy
        assert any(f.command and "recover" in f.command for f in found if f.check == "integrity")
    for content, says in (
        (bytes(data[:4096]) + b"rubbish" * 3000, "damaged"),
        (b"no database at all, only text" * 200, "not a SQLite database"),
        (b"", ""),
    ):
        path.write_bytes(content)
        code, out, err = command(capsys, str(path))
        assert "Traceback" not in out + err
        assert says in out + err
        assert code == bool(content)
        assert len(err.splitlines()) <= 1


def test_who_may_not_look_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.db"
    filled(path)
    path.chmod(0)
    code, out, err = command(capsys, str(path))
    assert "Traceback" not in out + err
    assert len(err.splitlines()) <= 1
    # The superuser may read all.
    assert code == (0 if os.access(path, os.R_OK) else 1)
    path.chmod(0o444)
    assert command(capsys, str(path))[0] == 0


def test_a_file_that_everybody_may_write(tmp_path: Path) -> None:
    path = tmp_path / "my runs.db"
    filled(path)
    path.chmod(0o666)
    with holdfast.connect(path) as db:
        (found,) = [finding for finding in db.doctor() if finding.check == "rights"]
        subprocess.run(shlex.split(found.command or ""), check=True)
        assert seen(db, "rights") == []


def test_a_file_without_a_write_ahead_log(tmp_path: Path) -> None:
    def by_driver(sql: str) -> None:
        other = sqlite3.connect(tmp_path / "a.db")
        other.execute(sql)
        other.close()

    by_driver("CREATE TABLE t (a INTEGER PRIMARY KEY)")
    with holdfast.connect(tmp_path / "a.db", read_only=True) as db:
        (found,) = [finding for finding in db.doctor() if finding.check == "journal"]
        assert (found.severity, found.sql) == ("note", ("PRAGMA journal_mode = WAL",))
    by_driver(found.sql[0])
    with holdfast.connect(tmp_path / "a.db", read_only=True) as db:
        assert seen(db, "journal") == []


def test_space_and_a_log_that_are_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_checks, "_MUCH", 1 << 16)
    path = tmp_path / "a.db"
    filled(path)
    with holdfast.connect(path) as db, holdfast.connect(path) as reader:
        db.insert_many("t", [{"a": "x" * 3000} for _ in range(200)])
        db.delete("t", "id > 100")
        assert "MiB are unused" in seen(db, "unused space")[0]
        mended(db, "unused space")
        with reader.transaction(read_only=True):
            reader.count("t")
            for _ in range(20):
                db.update("t", {"a": "y" * 3000}, all_rows=True)
        assert "a reader has stayed long" in seen(db, "write-ahead log")[0]
        mended(db, "write-ahead log")


def test_a_network_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"1 2 0:3 / {tmp_path.resolve()} rw - nfs4 server:/x rw\n")
    filled(tmp_path / "a.db")
    with holdfast.connect(tmp_path / "a.db") as db:
        monkeypatch.setattr("holdfast.engines.sqlite.mounts.MOUNTS", mounts)
        assert "nfs4" in seen(db, "network file system")[0]


@pytest.mark.parametrize(
    ("version", "severities"),
    [
        ((3, 40, 1), ["note"]),
        ((3, 51, 2), ["note"]),
        ((3, 52, 0), ["warning"]),
        ((3, 51, 3), []),
        ((3, 53, 1), []),
    ],
)
def test_versions_of_sqlite(version: tuple[int, ...], severities: list[str]) -> None:
    assert [found.severity for found in sqlite_checks.of_version(version)] == severities


@pytest.mark.parametrize(
    ("major", "minor", "says"),
    [
        (12, 5, ["warning: support"]),
        (13, 23, ["warning: support"]),
        (14, 2, ["error: CONCURRENTLY", "warning: support"]),
        (14, 23, ["warning: support"]),
        (15, 1, ["warning: fixes of 15."]),
        (18, 99, []),
        (19, 0, []),
    ],
)
def test_versions_of_postgresql(major: int, minor: int, says: list[str]) -> None:
    found = list(versions.of_version(major, minor, date(2026, 11, 30)))
    assert len(found) == len(says)
    for finding, text in zip(found, says, strict=True):
        severity, _, word = text.partition(": ")
        assert finding.severity == severity
        assert word in finding.evidence
    assert not list(versions.of_version(14, 99, date(2026, 11, 1)))


def test_what_is_printed_mends(labs: holdfast.Database) -> None:
    labs.create_table('odd"; --', {"id": "INTEGER PRIMARY KEY", "the lab": int})
    labs.add_foreign_key('odd"; --', "the lab", "labs")
    labs.insert_many('odd"; --', [{"the lab": 1} for _ in range(1500)])
    labs.create_index("runs", ["lab", "acc"])
    labs.create_index("runs", "lab", name='spare"')
    labs.analyze()
    mended(labs, "indexes")
    mended(labs, "foreign keys")


def test_an_index_gets_a_name_that_is_free(labs: holdfast.Database, tmp_path: Path) -> None:
    labs.create_index("labs", "name", name="idx_runs_lab")
    labs.doctor(fix=tmp_path / "before.hfz")
    assert seen(labs, "foreign keys") == []


def test_rows_that_refer_to_nothing_are_removed_by_what_is_printed(labs: holdfast.Database) -> None:
    labs.create_index("runs", "lab")
    if labs._engine.name == "sqlite":
        other = sqlite3.connect(str(labs._target.path))
        other.execute("DELETE FROM labs WHERE id = 3")
        other.commit()
        other.close()
    else:
        with labs.transaction():
            labs.execute("SET LOCAL session_replication_role = replica")
            labs.delete("labs", {"id": 3})
    (found,) = [finding for finding in labs.doctor() if finding.check == "foreign keys"]
    assert (found.severity, found.is_safe) == ("error", False)
    assert found.evidence == "75 rows of runs refer to rows of labs that are not there"
    mended(labs, "foreign keys")
    assert labs.count("runs") == 1425


def test_a_role_without_rights_is_told_what_could_not_be_looked_at(
    labs: holdfast.Database, url: str, engine_name: str
) -> None:
    if engine_name == "sqlite":
        pytest.skip("PostgreSQL's own")
    labs.execute("CREATE ROLE looker LOGIN PASSWORD 'x'")
    try:
        labs.execute("GRANT USAGE ON SCHEMA public TO looker")
        parts = urlsplit(url)
        theirs = parts._replace(netloc=f"looker:x@{parts.hostname}:{parts.port}").geturl()
        with holdfast.connect(theirs, read_only=True) as db:
            found = db.doctor()
            assert any("could not be looked at" in finding.evidence for finding in found)
            with db.transaction():
                assert len(db.doctor()) == len(found)
                assert db.query("SELECT 1 AS one") == [{"one": 1}]
    finally:
        labs.execute("REVOKE ALL ON SCHEMA public FROM looker")
        labs.execute("DROP ROLE looker")


@pytest.fixture
def served(labs: holdfast.Database) -> holdfast.Database:
    if labs._engine.name != "postgres":
        pytest.skip("PostgreSQL's own")
    return labs


def test_indexes_constraints_and_clocks_of_postgresql(served: holdfast.Database) -> None:
    served.execute("ALTER TABLE runs ADD CONSTRAINT high CHECK (acc >= 0) NOT VALID")
    assert "high" in seen(served, "constraints")[0]
    mended(served, "constraints")
    served.create_index("runs", "lab")
    served.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_runs_lab'::regclass")
    mended(served, "indexes")
    served.execute("ALTER TABLE runs ADD made TIMESTAMP DEFAULT now(), ADD aware TIMESTAMPTZ DEFAULT now()")
    assert len(seen(served, "time zone")) == 1
    mended(served, "time zone")
    assert any("fsync is off" in text for text in seen(served, "durability"))


def test_dead_rows_of_postgresql(served: holdfast.Database) -> None:
    served.execute("ALTER TABLE runs SET (autovacuum_enabled = false)")
    served.insert_many("runs", [{"lab": 1, "acc": -1.0} for _ in range(12_000)])
    served.delete("runs", {"acc": -1.0})
    served.execute("SELECT pg_stat_force_next_flush()")
    assert "dead rows" in seen(served, "unused space")[0]
    mended(served, "unused space")


def test_connections_of_postgresql(
    served: holdfast.Database, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_checks, "IDLE", "0 seconds")
    idle = holdfast.connect(url)
    idle.begin_transaction()
    idle.count("runs")
    mended(served, "open transactions")
    idle.close()
    with holdfast.connect(url) as other:
        other.count("runs")
        name = served.query("SELECT current_database() AS name")[0]["name"]
        served.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT 1')
        assert "of 1 connections are in use" in seen(served, "pool")[0]
        served.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT -1')
        assert seen(served, "pool") == []


def test_a_collation_that_sorts_otherwise_now(served: holdfast.Database) -> None:
    try:
        served.execute("CREATE COLLATION german (provider = icu, locale = 'de')")
    except holdfast.Error:
        pytest.skip("this server has no ICU")
    served.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, a TEXT COLLATE german)")
    assert seen(served, "collation") == []
    served.execute("UPDATE pg_collation SET collversion = '1' WHERE collname = 'german'")
    assert "the collation german had version 1" in seen(served, "collation")[0]
    mended(served, "collation")


def test_a_database_whose_collation_sorts_otherwise_now(served: holdfast.Database) -> None:
    name, made = served.execute(
        "SELECT datname::text, datcollversion FROM pg_database WHERE datname = current_database()"
    ).tuples[0]
    if made is None:
        pytest.skip("its collation has no versions")
    served.execute("UPDATE pg_database SET datcollversion = '0' WHERE datname = ?", [name])
    assert "the database was made with version 0" in seen(served, "collation")[0]
    mended(served, "collation")


def test_a_replication_slot_that_nobody_reads(served: holdfast.Database) -> None:
    try:
        served.execute("SELECT pg_create_physical_replication_slot('left_alone', true)")
    except holdfast.Error:
        pytest.skip("this server keeps no log for others")
    mended(served, "write-ahead log")


def test_a_backup_that_is_overdue_is_made_by_the_line_that_is_printed(
    labs: holdfast.Database, tmp_path: Path, url: str
) -> None:
    folder = tmp_path / "a folder"
    (found,) = [f for f in labs.doctor(backups=folder, every="1d") if f.check == "backups"]
    assert (labs._target.password or "no password") not in str(found)
    words = shlex.split(found.command or "")
    environment = os.environ | {"HOLDFAST_URL": url}
    subprocess.run([sys.executable, "-m", *words], check=True, capture_output=True, env=environment)
    assert [f for f in labs.doctor(backups=folder, every="1d") if f.check == "backups"] == []


def test_the_command(labs: holdfast.Database, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    from holdfast.cli import main

    with pytest.raises(SystemExit) as ended:
        main.run(["doctor", url, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert {"check", "severity", "evidence", "remedy"} <= set(found[0])
    assert ended.value.code == (0 if labs.doctor().is_healthy else 1)
