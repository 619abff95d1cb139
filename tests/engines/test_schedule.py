"""Backups that are made when they are due, kept by rules, and never removed by mistake."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyrage
import pytest

import holdfast
from holdfast.backup import plain, schedule
from holdfast.errors import BackupCorrupt, BackupError, ConfigurationError, DatabaseBusy, Error, InvalidQuery


@pytest.fixture
def lab(db: holdfast.Database) -> holdfast.Database:
    db.create_table("runs", {"id": "INTEGER PRIMARY KEY", "x": "TEXT"})
    db.insert_many("runs", [{"x": "a"}, {"x": "b"}])
    return db


def backups(lab: holdfast.Database, folder: Path, number: int) -> list[Path]:
    folder.mkdir(exist_ok=True)
    return [lab.backup_database(folder / f"{at}.sql") for at in range(number)]


def test_the_newest_come_first_whatever_the_files_say(lab: holdfast.Database, tmp_path: Path) -> None:
    made = backups(lab, tmp_path / "all", 3)
    os.utime(made[0], (2e9, 2e9))
    (tmp_path / "all" / "notes.txt").write_text("no backup")
    (tmp_path / "all" / "other.sql").write_text("SELECT 1;")
    with holdfast.connect(tmp_path / "all" / "live.db") as other:
        other.create_table("t", {"id": "INTEGER"})
        found = lab.list_backups(tmp_path / "all")
    assert [backup.path for backup in found] == made[::-1]
    assert all(backup.ok and backup.tables == {"runs": 2} for backup in found)
    assert lab.list_backups(tmp_path / "all") == found
    with pytest.raises(ConfigurationError, match="not a folder"):
        lab.list_backups(tmp_path / "none")


def test_listing_leaves_the_locks_of_a_live_database(tmp_path: Path) -> None:
    """Closing a file in this process would take its locks away."""
    with holdfast.connect(tmp_path / "live.db") as live:
        live.execute("PRAGMA journal_mode = DELETE")
        live.create_table("t", {"id": "INTEGER"})
        with live.transaction():
            live.insert("t", {"id": 1})
            live.list_backups(tmp_path)
            code = f"import sqlite3; sqlite3.connect({str(tmp_path / 'live.db')!r}, timeout=0)"
            import subprocess
            import sys

            done = subprocess.run(
                [sys.executable, "-c", code + ".execute('BEGIN IMMEDIATE')"], capture_output=True, text=True
            )
        assert "locked" in done.stderr


def test_pruning_keeps_what_the_rules_say(lab: holdfast.Database, tmp_path: Path) -> None:
    made = backups(lab, tmp_path / "all", 5)
    os.utime(made[0], (2e9, 2e9))
    planned = lab.prune_backups(tmp_path / "all", keep_last=2, dry_run=True)
    assert [backup.path for backup in planned.removed] == made[:3]
    assert all(path.exists() for path in made)
    done = lab.prune_backups(tmp_path / "all", keep_last=2)
    assert [backup.path for backup, _ in done.kept] == made[:2:-1]
    assert [path.exists() for path in made] == [False, False, False, True, True]
    with pytest.raises(InvalidQuery, match="no rule"):
        lab.prune_backups(tmp_path / "all")


def test_damaged_backups_do_not_count_and_stay(lab: holdfast.Database, tmp_path: Path) -> None:
    made = backups(lab, tmp_path / "all", 4)
    for path in made[2:]:
        path.write_bytes(path.read_bytes()[:-20])
    done = lab.prune_backups(tmp_path / "all", keep_last=1)
    assert [backup.path for backup, _ in done.kept] == [made[1]]
    assert sorted(backup.path for backup in done.damaged) == made[2:]
    assert [path.exists() for path in made] == [False, True, True, True]


@pytest.fixture
def key(tmp_path: Path) -> tuple[str, Path]:
    """A public key, and the file of its secret one."""
    identity = pyrage.x25519.Identity.generate()
    (tmp_path / "key.txt").write_text(f"{identity}\n")
    return str(identity.to_public()), tmp_path / "key.txt"


def test_encrypted_backups_count_with_their_key(
    lab: holdfast.Database, key: tuple[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "all").mkdir()
    made = [lab.backup_database(tmp_path / "all" / f"{n}.hfz", recipients=[key[0]]) for n in range(3)]
    found = lab.list_backups(tmp_path / "all", identity=key[1])
    assert [(backup.path, backup.ok, backup.tables) for backup in found] == [
        (path, True, {"runs": 2}) for path in made[::-1]
    ]
    made[1].write_bytes(made[1].read_bytes()[:-20])
    done = lab.prune_backups(tmp_path / "all", keep_last=1, identity=key[1])
    assert [[backup.path for backup in some] for some in (done.removed, done.damaged, done.closed)] == [
        [made[0]],
        [made[1]],
        [],
    ]
    assert [path.exists() for path in made] == [False, True, True]


def test_encrypted_backups_of_another_key_are_listed_and_never_pruned(
    lab: holdfast.Database, key: tuple[str, Path], tmp_path: Path
) -> None:
    sound = backups(lab, tmp_path / "all", 2)
    closed = lab.backup_database(tmp_path / "all" / "x.hfz", recipients=[key[0]])
    other = tmp_path / "other.txt"
    other.write_text(str(pyrage.x25519.Identity.generate()))
    for identity in (None, other):
        *open_ones, last = lab.list_backups(tmp_path / "all", identity=identity)
        assert [backup.path for backup in open_ones] == [path for path in sound[::-1] if path.exists()]
        assert (last.path, last.ok, last.is_closed, last.problem) == (closed, False, True, None)
        done = lab.prune_backups(tmp_path / "all", keep_last=1, identity=identity)
        assert [backup.path for backup in done.closed] == [closed]
        assert done.damaged == []
        assert [path.exists() for path in (*sound, closed)] == [False, True, True]


def test_encrypted_backups_by_themselves(
    lab: holdfast.Database, key: tuple[str, Path], tmp_path: Path
) -> None:
    folder, options = tmp_path / "b", {"recipients": [key[0]], "identity": key[1]}
    path = lab.backup_if_due(folder, "6h", **options)
    assert path is not None
    assert path.read_bytes().startswith(b"age-encryption.org/v1")
    assert lab.verify_backup(path, identity=key[1]).ok
    assert lab.backup_if_due(folder, "6h", **options) is None
    assert lab.next_backup(folder, "6h", identity=key[1]) > datetime.now(UTC)
    assert lab.next_backup(folder, "6h") <= datetime.now(UTC), "what cannot be opened proves nothing"
    plan = schedule.plan_of(folder, "1m", None, {"keep_last": 1}, schedule.Key(**options))
    newer = schedule.run_due(lab._executor, plan, datetime.now(UTC) + timedelta(hours=1))
    assert [backup.path for backup in lab.list_backups(folder, identity=key[1])] == [newer]
    with pytest.raises(InvalidQuery, match="key"):
        lab.backup_if_due(folder, "6h", recipients=[key[0]])


def test_each_database_is_counted_by_itself(lab: holdfast.Database, tmp_path: Path) -> None:
    made = backups(lab, tmp_path / "all", 2)
    with holdfast.connect(tmp_path / "other.db") as other:
        alone = other.backup_database(tmp_path / "all" / "other.sql")
    lab.prune_backups(tmp_path / "all", keep_last=1)
    assert [made[0].exists(), made[1].exists(), alone.exists()] == [False, True, True]


def test_a_backup_is_made_when_it_is_due(lab: holdfast.Database, tmp_path: Path) -> None:
    folder = tmp_path / "made by it"
    now = datetime.now(UTC)
    assert lab.next_backup(folder, "6h") <= datetime.now(UTC)
    path = lab.backup_if_due(folder, "6h", keep_last=3)
    assert path is not None
    assert lab.verify_backup(path).ok
    assert lab.backup_if_due(folder, "6h") is None
    assert now + timedelta(hours=5, minutes=59) < lab.next_backup(folder, "6h") < now + timedelta(hours=7)
    path.write_bytes(path.read_bytes()[:-3])
    assert lab.next_backup(folder, "6h") <= datetime.now(UTC)


def test_what_was_missed_is_made_up_for(lab: holdfast.Database, tmp_path: Path) -> None:
    plan = schedule.plan_of(tmp_path / "b", "1d", None, {"keep_last": 2})
    moments = [datetime.now(UTC) + timedelta(days=days) for days in (0, 0.5, 1.5, 1.6, 9)]
    made = [schedule.run_due(lab._executor, plan, moment) for moment in moments]
    # The backups say when they were made in truth, which is now.
    assert [path is not None for path in made] == [True, False, True, True, True]
    assert len(lab.list_backups(tmp_path / "b")) == 2


def test_a_backup_that_cannot_be_proven_prunes_nothing(
    lab: holdfast.Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backups(lab, tmp_path / "all", 3)
    real = schedule.write

    def damaged(executor: Any, table: None, path: Path, **options: Any) -> Path:
        real(executor, table, path, **options)
        path.write_bytes(path.read_bytes()[:-9])
        return path

    monkeypatch.setattr(schedule, "write", damaged)
    plan = schedule.plan_of(tmp_path / "all", "1m", ".sql", {"keep_last": 1})
    with pytest.raises(BackupCorrupt):
        schedule.run_due(lab._executor, plan, datetime.now(UTC) + timedelta(hours=1))
    assert all(path.exists() for path in made)
    assert [backup.path for backup in lab.list_backups(tmp_path / "all")] == made[::-1]


def test_a_clock_that_was_ahead_stops_no_backups(
    lab: holdfast.Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was years ahead, a backup was made, and it was put right."""
    folder = tmp_path / "all"
    folder.mkdir()
    with monkeypatch.context() as ahead:
        ahead.setattr(plain, "now", lambda: "2099-01-01T00:00:00.000+00:00")
        late = lab.backup_database(folder / "late.sql")
    assert lab.next_backup(folder, "1d") <= datetime.now(UTC)
    first = lab.backup_if_due(folder, "1d", keep_last=1)
    assert first is not None
    assert first.exists()
    assert lab.backup_if_due(folder, "1d", keep_last=1) is None
    second = lab.backup_database(folder / "second.sql")
    assert [backup.path for backup in lab.prune_backups(folder, keep_last=1).removed] == [first]
    assert late.exists()
    assert second.exists()


def test_a_clock_that_is_set_back_while_it_waits(
    lab: holdfast.Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, told = threading.Event(), list[Path | Error]()
    shift = timedelta(days=365)

    class Clock(datetime):
        @classmethod
        def now(cls, zone: Any = None) -> datetime:
            return datetime.now(zone) + shift

    monkeypatch.setattr(schedule, "datetime", Clock)
    monkeypatch.setattr(schedule, "_STEP", 0.05)
    ahead = (datetime.now(UTC) + shift).isoformat(timespec="milliseconds")
    with monkeypatch.context() as then:
        then.setattr(plain, "now", lambda: ahead)
        lab.backup_database(tmp_path / "now in a year.sql")

    class Put(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            nonlocal shift
            shift = timedelta(0)
            return super().wait(timeout)

    def tell(result: Path | Error) -> None:
        told.append(result)
        stop.set()

    stop = Put()
    guard = threading.Timer(120, stop.set)
    guard.start()
    lab.schedule_backups(tmp_path, "1h", stop=stop, tell=tell, extension=".sql")
    guard.cancel()
    assert isinstance(told[0], Path)


def test_two_at_once(lab: holdfast.Database, tmp_path: Path) -> None:
    with schedule._alone(tmp_path / "b"), pytest.raises(DatabaseBusy, match="another process"):
        lab.backup_if_due(tmp_path / "b", "6h")


def test_a_process_of_its_own(lab: holdfast.Database, tmp_path: Path) -> None:
    stop, told = threading.Event(), list[Path | Error]()

    def tell(result: Path | Error) -> None:
        told.append(result)
        stop.set()

    lab.schedule_backups(tmp_path / "b", "1h", stop=stop, tell=tell, keep_daily=2)
    assert [backup.path for backup in lab.list_backups(tmp_path / "b")] == told
    with pytest.raises(InvalidQuery, match="keep_daily"):
        lab.schedule_backups(tmp_path / "b", "1h", keep_dayly=2)


def test_a_failure_is_told_and_tried_again(
    lab: holdfast.Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, told = threading.Event(), list[Path | Error]()
    monkeypatch.setattr(schedule, "_FIRST_RETRY", timedelta(milliseconds=1))
    (tmp_path / "b").write_text("a file is in the way")

    def tell(result: Path | Error) -> None:
        told.append(result)
        if isinstance(result, Path):
            stop.set()
        else:
            (tmp_path / "b").unlink(missing_ok=True)

    lab.schedule_backups(tmp_path / "b", "1h", stop=stop, tell=tell)
    assert isinstance(told[0], BackupError)
    assert isinstance(told[-1], Path)


def test_nobody_else_can_hold_the_lock_of_a_folder(tmp_path: Path) -> None:
    """A file that others may open could be locked by them, and no backup would be made; nor is that raw."""
    with holdfast.connect(tmp_path / "runs.db") as db:
        db.create_table("runs", {"id": "INTEGER PRIMARY KEY"})
        before = os.umask(0)
        try:
            db.backup_if_due(tmp_path / "kept", "1d")
        finally:
            os.umask(before)
        lock = tmp_path / "kept" / ".holdfast-lock"
        assert lock.stat().st_mode & 0o777 == 0o600
        lock.unlink()
        lock.mkdir()
        with pytest.raises(BackupError, match="cannot be opened"):
            db.backup_if_due(tmp_path / "kept", "1d")
