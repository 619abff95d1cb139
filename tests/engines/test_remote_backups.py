"""Backups on other storage, through fsspec's file system in memory: a real one, that this process keeps."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from upath import UPath

import holdfast
from holdfast.errors import BackupError, ConfigurationError, MissingDependency


@pytest.fixture
def lab(db: holdfast.Database) -> holdfast.Database:
    db.create_table("runs", {"id": "INTEGER PRIMARY KEY", "x": "TEXT"})
    db.insert_many("runs", [{"x": "a"}, {"x": "b"}])
    return db


@pytest.fixture
def folder() -> str:
    return f"memory://{uuid.uuid4().hex}"


def test_there_and_back(lab: holdfast.Database, folder: str, engine_name: str) -> None:
    for suffix in (".sql", ".db" if engine_name == "sqlite" else ".dump"):
        path = lab.backup_database(f"{folder}/lab{suffix}")
        assert lab.verify_backup(str(path)).tables == {"runs": 2}
        lab.delete("runs", all_rows=True)
        lab.restore_database(path, keep_old=False)
        assert lab.count("runs") == 2
    assert sorted(found.name for found in UPath(folder).iterdir()) == sorted(
        ["lab.sql", "lab.db" if engine_name == "sqlite" else "lab.dump"]
    )


def test_many_of_them(lab: holdfast.Database, folder: str) -> None:
    made = [lab.backup_database(f"{folder}/{number}.sql") for number in range(3)]
    assert [backup.path.name for backup in lab.list_backups(folder)] == ["2.sql", "1.sql", "0.sql"]
    lab.prune_backups(folder, keep_last=1)
    assert [path.exists() for path in made] == [False, False, True]
    assert lab.backup_if_due(folder, "1h") is None
    assert lab.backup_if_due(folder + "-new", "1h", keep_last=1) is not None


def test_a_damaged_one_is_noticed(lab: holdfast.Database, folder: str) -> None:
    path = lab.backup_database(f"{folder}/lab.sql")
    path.write_bytes(path.read_bytes()[:-10])
    assert not lab.verify_backup(f"{folder}/lab.sql").ok


def test_mistakes(lab: holdfast.Database, folder: str) -> None:
    with pytest.raises(BackupError, match="no backup"):
        lab.verify_backup(f"{folder}/none.sql")
    with pytest.raises(ConfigurationError, match="no storage nowhere://"):
        lab.backup_database("nowhere://lab.sql")
    with pytest.raises(ConfigurationError) as refused:
        lab.backup_database("sftp://me:secret@host/lab.sql")
    assert "secret" not in str(refused.value)


def test_what_storage_needs_is_named(lab: holdfast.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(MissingDependency, match="s3") as caught:
        lab.backup_database("s3://bucket/lab.sql")
    assert "Install s3fs" in str(caught.value.hint), "the extra alone does not bring it"


def test_a_file_url_is_a_path(lab: holdfast.Database, tmp_path: Path) -> None:
    assert lab.backup_database(f"file://{tmp_path}/lab.sql") == tmp_path / "lab.sql"
