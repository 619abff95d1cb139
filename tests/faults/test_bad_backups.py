"""What is in the way of a backup, or is none: typed errors, and nothing is touched."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

import holdfast
from holdfast.backup.apart import MARK
from holdfast.engines.postgres import programs
from holdfast.errors import BackupError, ConfigurationError, Error, MissingDependency

NewUrl = Callable[[], str]


@pytest.fixture
def full(db: holdfast.Database) -> holdfast.Database:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"})
    db.insert_many("t", [{"id": n, "v": f"row {n}"} for n in range(50)])
    return db


def rows(db: holdfast.Database) -> list[dict[str, object]]:
    return db.select("t", order_by="id")


def own(engine_name: str) -> str:
    return ".db" if engine_name == "sqlite" else ".dump"


def sealed(path: Path, **changes: object) -> Path:
    """A backup whose manifest says something else, with the right checksum."""
    data = path.read_bytes()
    start = data.rindex(MARK)
    manifest = json.loads(data[start + len(MARK) + 65 :]) | changes
    text = json.dumps(manifest).encode()
    found = sha256(data[:start] + text).hexdigest().encode()
    path.write_bytes(data[:start] + MARK + found + b" " + text + b"\n")
    return path


@pytest.mark.parametrize("engine_name", ["sqlite"], indirect=True)
@pytest.mark.parametrize("way", ["itself", "link", "hard link", "another"])
def test_a_live_database_in_the_way_of_a_backup(
    full: holdfast.Database, url: str, way: str, tmp_path: Path
) -> None:
    place = Path(url.removeprefix("sqlite:///"))
    before = rows(full)
    target = tmp_path / "target.db"
    if way == "itself":
        target = place
    elif way == "link":
        target.symlink_to(place)
    elif way == "hard link":
        os.link(place, target)
    else:
        other = holdfast.connect(target)
        other.create_table("mine", {"id": "INTEGER PRIMARY KEY"})
    with pytest.raises(BackupError, match="database"):
        full.backup_database(target)
    full.insert("t", {"id": 1_000})
    full.delete("t", {"id": 1_000})
    assert rows(full) == before
    with closing(sqlite3.connect(place)) as raw:
        assert raw.execute("SELECT count(*) FROM t").fetchone() == (50,)
    if way == "another":
        assert other.list_tables() == ["mine"]
        other.close()


@pytest.mark.parametrize("suffix", [".sql", ".hfz", "own"])
def test_a_closed_database_in_the_way_of_a_backup(
    full: holdfast.Database, engine_name: str, suffix: str, tmp_path: Path
) -> None:
    """Nobody has it open, and it is somebody's data all the same. A backup is replaced by a newer one."""
    target = tmp_path / f"closed{own(engine_name) if suffix == 'own' else suffix}"
    with closing(sqlite3.connect(target)) as raw:
        raw.execute("CREATE TABLE mine (id INTEGER PRIMARY KEY)")
    before = target.read_bytes()
    with pytest.raises(BackupError, match="database"):
        full.backup_database(target)
    if suffix != "own":
        with pytest.raises(BackupError, match="database"):
            full.backup_table("t", target)
    assert target.read_bytes() == before
    target.unlink()
    full.backup_database(target)
    full.backup_database(target)
    assert full.verify_backup(target).ok


@pytest.mark.parametrize("engine_name", ["sqlite"], indirect=True)
@pytest.mark.parametrize("unverified", [False, True])
def test_a_live_database_is_not_restored_from_itself(
    full: holdfast.Database, url: str, unverified: bool
) -> None:
    before = rows(full)
    with pytest.raises(BackupError):
        full.restore_database(url.removeprefix("sqlite:///"), unverified=unverified)
    assert rows(full) == before


def test_what_is_in_the_way_of_a_backup(full: holdfast.Database, engine_name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.sql").mkdir()
    (tmp_path / "real.sql").write_text("old")
    (tmp_path / "link.sql").symlink_to(tmp_path / "real.sql")
    (tmp_path / "dangling.sql").symlink_to(tmp_path / "nowhere" / "x.sql")
    for name in ("folder.sql", "missing/x.sql", "dangling.sql", "real.sql/x.sql"):
        with pytest.raises(BackupError):
            full.backup_database(tmp_path / name)
    if os.name == "posix":
        os.mkfifo(tmp_path / "pipe.sql")
        with pytest.raises(BackupError, match="not a file"):
            full.backup_database(tmp_path / "pipe.sql")
        assert (tmp_path / "pipe.sql").is_fifo()
    assert (tmp_path / "real.sql").read_text() == "old"
    full.backup_database(tmp_path / "link.sql")
    assert (tmp_path / "link.sql").is_symlink()
    assert full.verify_backup(tmp_path / "real.sql").ok
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("verb", ["restore_database", "verify_backup"])
def test_what_is_no_backup(full: holdfast.Database, verb: str, engine_name: str, tmp_path: Path) -> None:
    before = rows(full)
    (tmp_path / "folder.sql").mkdir()
    (tmp_path / "empty.sql").touch()
    (tmp_path / f"text{own(engine_name)}").write_text("hello")
    names = [
        "folder.hfz",
        "empty.hfz",
        "missing.hfz",
        "folder.sql",
        "empty.sql",
        "missing.sql",
        f"text{own(engine_name)}",
        f"missing{own(engine_name)}",
    ]
    (tmp_path / f"folder{own(engine_name)}").mkdir()
    names.append(f"folder{own(engine_name)}")
    if os.name == "posix":
        os.mkfifo(tmp_path / "pipe.sql")
        os.mkfifo(tmp_path / f"pipe{own(engine_name)}")
        os.mkfifo(tmp_path / "pipe.hfz")
        names += ["pipe.hfz", "pipe.sql", f"pipe{own(engine_name)}"]
    if os.name == "posix" and os.geteuid() != 0:
        (tmp_path / "secret.sql").touch(0o000)
        names.append("secret.sql")
    for name in names:
        try:
            report = getattr(full, verb)(tmp_path / name)
        except Error as exc:
            assert isinstance(exc, BackupError), (name, exc)  # noqa: PT017
        else:
            assert not report.ok, name
    assert rows(full) == before


@pytest.mark.parametrize("kind", [".sql", "own"])
def test_a_newer_format_and_another_engine(
    full: holdfast.Database, kind: str, engine_name: str, tmp_path: Path
) -> None:
    before = rows(full)
    path = tmp_path / f"b{own(engine_name) if kind == 'own' else kind}"
    full.backup_database(path)
    with pytest.raises(BackupError, match="newer Holdfast"):
        full.restore_database(sealed(path, format=99))
    here, other = ("sqlite", "postgres") if engine_name == "sqlite" else ("postgres", "sqlite")
    with pytest.raises(BackupError, match="is a backup of"):
        full.restore_database(sealed(path, format=1, engine=other))
    assert rows(full) == before
    assert full.restore_database(sealed(path, engine=here)).ok
    assert rows(full) == before


def test_into_something_that_exists(full: holdfast.Database, new_url: NewUrl, tmp_path: Path) -> None:
    path = full.backup_database(tmp_path / "b.sql")
    url = new_url()
    with holdfast.connect(url) as other:
        other.create_table("mine", {"id": "INTEGER PRIMARY KEY"})
        with pytest.raises(BackupError):
            full.restore_database(path, into=url)
        assert other.list_tables() == ["mine"]


@pytest.mark.parametrize("engine_name", ["embedded", "debian"], indirect=True)
def test_without_pg_dump(full: holdfast.Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = full.backup_database(tmp_path / "b.dump")
    before, data = rows(full), path.read_bytes()
    monkeypatch.setattr(programs, "_candidates", lambda name: iter(()))
    for call in (full.backup_database, full.restore_database):
        with pytest.raises((MissingDependency, BackupError), match=r"pg_dump of PostgreSQL|pg_restore"):
            call(path)
    assert rows(full) == before
    assert path.read_bytes() == data


@pytest.mark.parametrize("engine_name", ["embedded"], indirect=True)
def test_a_dump_of_a_newer_server_is_refused_by_an_older_one(full: holdfast.Database, tmp_path: Path) -> None:
    """PostgreSQL 18 writes settings that 15 does not know; what comes back is either the same or refused."""
    import servers

    server = servers.debian_bin() and servers.debian_server()
    if not server:
        pytest.skip("there is no older server here")
    server.create_database("older")
    try:
        for name in ("b.sql", "b.dump"):
            path = full.backup_database(tmp_path / name)
            with holdfast.connect(server.url("older")) as older:
                older.create_table("mine", {"id": "INTEGER PRIMARY KEY"})
                try:
                    older.restore_database(path)
                except BackupError:
                    assert older.list_tables() == ["mine"]
                else:
                    assert rows(older) == rows(full)
                    older.drop_table("t")
                older.drop_table("mine")
    finally:
        server.drop_database("older")


def test_exports_do_not_replace_pipes(full: holdfast.Database, tmp_path: Path) -> None:
    if os.name != "posix":
        pytest.skip("there are no named pipes")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(ConfigurationError, match="not a file"):
        full.export_to_csv("t", tmp_path / "pipe.csv")
    assert (tmp_path / "pipe.csv").is_fifo()
