"""Backups that restore what was there, and refuse to restore anything else."""

from __future__ import annotations

import random
import re
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.backup import manifest, plain
from holdfast.backup.content import content_of
from holdfast.backup.formats import opened
from holdfast.engines.postgres.embedded import bin_directory
from holdfast.errors import (
    BackupCorrupt,
    BackupError,
    ForeignKeyViolation,
    NotABackup,
    NotSupported,
    TableNotFound,
    TransactionError,
)

NewUrl = Callable[[], str]
WEIRD = 'we "ird; -- täble'
TEXTS = [
    "",
    "NULL",
    "it's",
    "a;b\n-- c\r\n/* d",
    "\\restrict x\n\\N",
    "ünïcødé 🦆",
    '"quoted"',
    "$$ $1 ? ?? %s :x",
]
TRIGGERS = {
    "sqlite": [
        "CREATE TRIGGER note_user AFTER INSERT ON users BEGIN "
        "INSERT INTO log (what) VALUES ('user; ' || NEW.name); END"
    ],
    "postgres": [
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO log (what) VALUES ('user; ' || NEW.name); RETURN NEW; END $$",
        "CREATE TRIGGER note_user AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION note()",
    ],
}


def fill(db: holdfast.Database, engine_name: str) -> None:
    """Tables with everything that a backup can lose."""
    db.create_table("log", {"id": "INTEGER PRIMARY KEY AUTOINCREMENT", "what": "TEXT"})
    db.create_table(
        "users",
        {
            "id": "INTEGER PRIMARY KEY AUTOINCREMENT",
            "name": "TEXT NOT NULL",
            "mail": "TEXT UNIQUE",
            "score": "REAL",
            "data": "BLOB",
            "extra": "JSONB",
            "price": "NUMERIC(30,10)",
            "seen": "TIMESTAMPTZ",
            "active": "BOOLEAN DEFAULT TRUE",
        },
        checks="score IS NULL OR score > -1e308",
    )
    db.create_table(
        "orders",
        {"id": "SERIAL PRIMARY KEY", "user_id": "INTEGER NOT NULL", "n": "INTEGER"},
        foreign_keys={"user_id": "users(id) ON DELETE CASCADE"},
    )
    db.create_table(WEIRD, {"select": "INTEGER PRIMARY KEY", 'a "b" ç': "TEXT", "on": "TEXT"})
    db.create_table("pairs", {"a": "TEXT", "b": "INTEGER", "c": "REAL"}, primary_key=["a", "b"])
    db.create_table("empty", {"id": "INTEGER PRIMARY KEY"})
    db.insert_many(
        "users",
        [
            {
                "name": text,
                "mail": f"{number}@x",
                "score": [None, 0.1, 1e-300, 2.754195414446663e-300, 1e300, -7.0][number % 6],
                "data": bytes(range(256)) * number,
                "extra": {"text": text, "list": [1, None, 2.5], "nested": {"a": "'"}},
                "price": Decimal("12345.6789"),
                "seen": datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=UTC),
                "active": number % 2 == 0,
            }
            for number, text in enumerate(TEXTS)
        ],
    )
    db.insert("users", {"name": "all the rest is NULL"})
    db.insert("users", {"name": "to be deleted"})
    db.delete("users", {"name": "to be deleted"})
    db.insert_many("orders", [{"user_id": 1 + i % 5, "n": 9_223_372_036_854_775_807 - i} for i in range(250)])
    db.insert_many(WEIRD, [{"select": i, 'a "b" ç': text, "on": WEIRD} for i, text in enumerate(TEXTS)])
    db.insert_many("pairs", [{"a": text, "b": -i, "c": i / 3} for i, text in enumerate(TEXTS)])
    db.create_index("users", "name", where="active", name="active_users")
    db.create_index("orders", ["user_id", "n"], unique=True)
    db.execute("CREATE VIEW best AS SELECT name, score FROM users WHERE score > 0")
    db.execute("CREATE VIEW better AS SELECT name FROM best WHERE score > 1")
    for sql in TRIGGERS["sqlite" if engine_name == "sqlite" else "postgres"]:
        db.execute(sql)


def state(db: holdfast.Database) -> dict[str, Any]:
    """All that can be seen of a database."""
    found: dict[str, Any] = {name: db.select(name) for name in [*db.list_tables(), *db.list_views()]}
    for rows in found.values():
        rows.sort(key=repr)
    for name in db.list_tables():
        found[f"columns of {name}"] = db.get_columns(name)
    found["indexes"] = sorted(map(repr, db.list_indexes()))
    return found


@pytest.fixture
def full(db: holdfast.Database, engine_name: str) -> holdfast.Database:
    fill(db, engine_name)
    return db


@pytest.fixture(params=["text", "its own", "portable"])
def suffix(request: pytest.FixtureRequest, engine_name: str) -> str:
    """The extension of SQL text, that of the engine's own kind of backup, and that of the archive."""
    if request.param != "its own":
        return ".sql" if request.param == "text" else ".hfz"
    return ".db" if engine_name == "sqlite" else ".dump"


@pytest.fixture
def backup(full: holdfast.Database, tmp_path: Path, suffix: str) -> Path:
    return full.backup_database(tmp_path / f"all{suffix}")


@pytest.fixture
def text(full: holdfast.Database, tmp_path: Path) -> Path:
    return full.backup_database(tmp_path / "all.sql")


def check_works(db: holdfast.Database) -> None:
    """Keys go on, references and checks are enforced, triggers fire."""
    logged = db.count("log")
    assert db.insert("users", {"name": "new"}) == len(TEXTS) + 3
    assert db.count("log") == logged + 1
    assert db.insert("orders", {"user_id": 1, "n": 1}) == 251
    with pytest.raises(holdfast.errors.ForeignKeyViolation):
        db.insert("orders", {"user_id": 1000, "n": 1})
    with pytest.raises(holdfast.errors.UniqueViolation):
        db.insert("users", {"name": "x", "mail": "1@x"})
    with pytest.raises(holdfast.errors.CheckViolation):
        db.insert("users", {"name": "x", "score": -1.5e308})


def test_restores_into_an_empty_database(backup: Path, full: holdfast.Database, new_url: NewUrl) -> None:
    with holdfast.connect(new_url()) as other:
        report = other.restore_database(backup)
        assert state(other) == state(full)
        assert report.ok
        assert dict(report.tables) == {name: full.count(name) for name in full.list_tables()}
        check_works(other)


def test_restores_over_a_changed_database(backup: Path, full: holdfast.Database) -> None:
    before = state(full)
    full.delete("users", {"id": 1})
    full.update("orders", {"n": 0}, {"id": 7})
    full.drop_table("pairs")
    full.add_column("log", "more", "TEXT")
    full.create_table("mine", {"id": "INTEGER PRIMARY KEY"})
    full.insert("mine", {"id": 5})
    full.restore_database(backup)
    assert full.select("mine") == [{"id": 5}]
    full.drop_table("mine")
    assert state(full) == before
    check_works(full)


def test_a_backup_of_the_restored_is_the_same(
    backup: Path, new_url: NewUrl, tmp_path: Path, suffix: str
) -> None:
    with holdfast.connect(new_url()) as other:
        first = other.restore_database(backup)
        again = other.restore_database(other.backup_database(tmp_path / f"again{suffix}"))
    assert first.tables == again.tables


def test_restoring_twice_is_the_same(backup: Path, full: holdfast.Database) -> None:
    before = state(full)
    full.restore_database(backup)
    full.restore_database(backup)
    assert state(full) == before


@pytest.fixture
def own_scratch(full: holdfast.Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary folders, but those of servers, in a place where nobody else makes some meanwhile."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.mark.usefixtures("own_scratch")
def test_verify_restores_for_real_and_leaves_nothing(backup: Path, full: holdfast.Database) -> None:
    before, places = state(full), scratch_places(full)
    report = full.verify_backup(backup)
    assert report.ok, report
    assert report.tables["orders"] == 250
    assert "orders" in str(report)
    assert str(backup) in str(report)
    assert state(full) == before
    assert scratch_places(full) == places


def scratch_places(db: holdfast.Database) -> Any:
    if db.engine.dialect.name == "postgresql":
        return db.query("SELECT datname FROM pg_database WHERE datname LIKE 'holdfast_verify%'")
    return sorted(Path(tempfile.gettempdir()).glob("holdfast-verify-*"))


@pytest.mark.usefixtures("own_scratch")
def test_nothing_is_left_when_verifying_fails(text: Path, full: holdfast.Database) -> None:
    forge(text, lambda text: text.replace(b"it''s", b"it''t"))
    places = scratch_places(full)
    report = full.verify_backup(text)
    assert not report.ok
    assert "users" in str(report)
    assert scratch_places(full) == places


def forge(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change the statements of a backup and make its checksum right again."""
    import hashlib

    body, _, last = path.read_bytes().rpartition(b"-- Holdfast trailer ")
    changed = change(body)
    assert changed != body
    manifest = last[:-1].partition(b" ")[2]
    digest = hashlib.sha256(changed + manifest).hexdigest().encode()
    path.write_bytes(changed + b"-- Holdfast trailer " + digest + b" " + manifest + b"\n")


def end_of(data: bytes) -> int:
    """Where the proof at the end of a backup begins."""
    return max(data.rfind(b"-- Holdfast trailer"), data.rfind(b"Holdfast archive, SHA-256"))


def test_truncation_anywhere_is_refused(
    backup: Path, full: holdfast.Database, tmp_path: Path, suffix: str
) -> None:
    data = backup.read_bytes()
    before = state(full)
    places = random.Random(1)
    cuts = [
        0,
        1,
        10,
        30,
        60,
        len(data) - 1,
        len(data) - 2,
        len(data) - 100,
        end_of(data),
    ]
    cuts += [places.randrange(len(data)) for _ in range(40)]
    for cut in cuts:
        broken = tmp_path / f"broken{suffix}"
        broken.write_bytes(data[:cut])
        with pytest.raises(BackupCorrupt):
            full.restore_database(broken)
        if suffix == ".sql":
            with pytest.raises(BackupCorrupt):
                full.restore_database(broken, unverified=True)
        assert not full.verify_backup(broken).ok
    assert state(full) == before


def test_a_flipped_byte_anywhere_is_refused(
    backup: Path, full: holdfast.Database, tmp_path: Path, suffix: str
) -> None:
    data = backup.read_bytes()
    before = state(full)
    places = random.Random(2)
    trailer = end_of(data)
    flips = [0, 5, 30, trailer, trailer + 25, trailer + 70, len(data) - 1, len(data) - 3]
    flips += [places.randrange(len(data)) for _ in range(40)]
    for at in flips:
        broken = tmp_path / f"broken{suffix}"
        broken.write_bytes(data[:at] + bytes([data[at] ^ (1 << places.randrange(8))]) + data[at + 1 :])
        with pytest.raises(BackupCorrupt):
            full.restore_database(broken)
    assert state(full) == before


def test_what_was_added_to_a_backup_is_refused(backup: Path, full: holdfast.Database) -> None:
    with backup.open("ab") as file:
        file.write(b"DROP TABLE orders;\n")
    with pytest.raises(BackupCorrupt):
        full.restore_database(backup)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b"it''s", b"it''t"),
        lambda text: re.sub(rb"(VIEW \S*)better", rb"\1users", text),
        lambda text: text.replace(b"INSERT INTO", b"INSERT INTOO"),
        lambda text: text.replace(b"9223372036854775807", b"8", 1),
    ],
)
def test_a_failed_restore_leaves_the_old_data(
    change: Callable[[bytes], bytes], text: Path, full: holdfast.Database
) -> None:
    forge(text, change)
    full.insert("empty", {"id": 77})
    before = state(full)
    with pytest.raises(BackupError):
        full.restore_database(text)
    assert state(full) == before
    check_works(full)


def test_backups_agree_with_themselves_while_others_write(
    url: str, db: holdfast.Database, tmp_path: Path, new_url: NewUrl, suffix: str
) -> None:
    db.create_table("accounts", {"id": "INTEGER PRIMARY KEY", "amount": "INTEGER"})
    db.create_table("history", {"id": "INTEGER PRIMARY KEY AUTOINCREMENT", "moved": "INTEGER"})
    db.insert_many("accounts", [{"id": i, "amount": 100} for i in range(2000)])
    with moving_money(url) as moved:
        paths = [db.backup_database(tmp_path / f"{number}{suffix}") for number in range(5)]
        assert db.verify_backup(paths[-1]).ok
    assert moved
    with holdfast.connect(new_url()) as other:
        for path in paths:
            other.restore_database(path)
            assert other.execute("SELECT sum(amount) FROM accounts").scalar() == 200_000
            assert other.execute("SELECT amount FROM accounts WHERE id = 0").scalar() == 100 - other.count(
                "history"
            )


@contextmanager
def moving_money(url: str) -> Iterator[list[int]]:
    stop, moved, failures = threading.Event(), [0], list[BaseException]()

    def work() -> None:
        try:
            with holdfast.connect(url) as own:
                while not stop.is_set():
                    with own.transaction():
                        own.execute("UPDATE accounts SET amount = amount - 1 WHERE id = 0")
                        own.insert("history", {"moved": 1})
                        own.execute("UPDATE accounts SET amount = amount + 1 WHERE id = 1999")
                    moved[0] += 1
        except BaseException as exc:
            failures.append(exc)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield moved
    finally:
        stop.set()
        thread.join()
    assert not failures


def test_others_see_the_old_or_the_new_tables(
    url: str, db: holdfast.Database, tmp_path: Path, suffix: str
) -> None:
    db.create_table("numbers", {"id": "INTEGER PRIMARY KEY", "n": "INTEGER"})
    db.insert_many("numbers", [{"id": i, "n": 1} for i in range(3000)])
    path = db.backup_database(tmp_path / f"x{suffix}")
    db.update("numbers", {"n": 2}, all_rows=True)
    stop, seen, failures = threading.Event(), set(), []

    def read() -> None:
        try:
            with holdfast.connect(url, timeout=60) as own:
                while not stop.is_set():
                    seen.add(own.execute("SELECT sum(n) FROM numbers").scalar())
        except BaseException as exc:
            failures.append(exc)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for _ in range(5):
            db.restore_database(path)
            db.update("numbers", {"n": 2}, all_rows=True)
    finally:
        stop.set()
        thread.join()
    assert not failures
    assert seen <= {3000, 6000}
    assert seen


def test_one_table(full: holdfast.Database, tmp_path: Path) -> None:
    before = state(full)
    path = full.backup_table("users", tmp_path / "users.sql")
    full.update("users", {"name": "changed"}, all_rows=True)
    full.drop_index("active_users")
    report = full.restore_table("users", path)
    assert dict(report.tables) == {"users": len(TEXTS) + 1}
    assert state(full) == before
    check_works(full)


def test_one_table_of_a_whole_backup(backup: Path, full: holdfast.Database) -> None:
    before = state(full)
    for table in ("users", "orders", WEIRD, "pairs", "log", "empty"):
        full.delete("orders", all_rows=True)
        full.restore_table("orders", backup)
        full.restore_table(table, backup)
    assert state(full) == before
    check_works(full)


def test_one_table_into_an_empty_database(
    full: holdfast.Database, backup: Path, tmp_path: Path, new_url: NewUrl
) -> None:
    path = full.backup_table(WEIRD, tmp_path / "weird.sql")
    with holdfast.connect(new_url()) as other:
        other.restore_database(path)
        assert other.list_tables() == [WEIRD]
        assert other.select(WEIRD) == full.select(WEIRD)
        other.restore_table("pairs", backup)
        assert other.list_tables() == ["pairs", WEIRD]
        assert other.select("pairs", order_by=["a", "b"]) == full.select("pairs", order_by=["a", "b"])


def test_a_table_whose_parent_lacks_rows_is_refused(full: holdfast.Database, tmp_path: Path) -> None:
    path = full.backup_table("orders", tmp_path / "orders.sql")
    full.delete("orders", all_rows=True)
    full.delete("users", {"id": 1})
    before = state(full)
    with pytest.raises(ForeignKeyViolation):
        full.restore_table("orders", path)
    assert state(full) == before


def test_a_table_that_others_refer_to(full: holdfast.Database, tmp_path: Path) -> None:
    path = full.backup_table("users", tmp_path / "users.sql")
    full.restore_table("users", path)
    assert full.count("orders") == 250
    late = full.insert("users", {"name": "after the backup"})
    full.insert("orders", {"user_id": late, "n": 3})
    before = state(full)
    with pytest.raises(ForeignKeyViolation):
        full.restore_table("users", path)
    assert state(full) == before
    full.delete("orders", {"user_id": late})
    full.restore_table("users", path)
    with pytest.raises(ForeignKeyViolation):
        full.insert("orders", {"user_id": late, "n": 3})


def test_mistakes_are_named(full: holdfast.Database, text: Path, tmp_path: Path, engine_name: str) -> None:
    for name in ("x.dump" if engine_name == "sqlite" else "x.db", "x", "x.zip"):
        with pytest.raises(NotSupported, match=r"\.sql"):
            full.backup_database(tmp_path / name)
        with pytest.raises(NotSupported, match=r"\.sql"):
            full.restore_database(tmp_path / name)
    with pytest.raises(TableNotFound, match="users"):
        full.backup_table("usres", tmp_path / "x.sql")
    with pytest.raises(BackupError, match="users"):
        full.restore_table("usres", text)
    with pytest.raises(BackupError, match="no backup"):
        full.restore_database(tmp_path / "none.sql")
    with pytest.raises(BackupError):
        full.backup_database(tmp_path / "no folder" / "x.sql")
    (tmp_path / "folder.sql").mkdir()
    with pytest.raises(BackupError):
        full.backup_database(tmp_path / "folder.sql")
    with pytest.raises(BackupError):
        full.restore_database(tmp_path / "folder.sql")
    assert sorted(path.name for path in tmp_path.glob("*.sql")) == ["all.sql", "folder.sql"]
    assert not list(tmp_path.glob(".holdfast*"))


def test_not_inside_a_transaction(full: holdfast.Database, backup: Path, tmp_path: Path) -> None:
    with full.transaction():
        full.insert("empty", {"id": 1})
        for call in (
            lambda: full.backup_database(tmp_path / "x.sql"),
            lambda: full.backup_table("users", tmp_path / "x.sql"),
            lambda: full.restore_database(backup),
            lambda: full.restore_table("users", backup),
            lambda: full.verify_backup(backup),
        ):
            with pytest.raises(TransactionError):
                call()
    assert full.count("empty") == 1
    assert not (tmp_path / "x.sql").exists()


def test_a_failed_backup_keeps_the_old_one(
    full: holdfast.Database, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from holdfast.backup import plain

    def full_disk(self: object, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    old = text.read_bytes()
    monkeypatch.setattr(plain._Text, "put", full_disk)
    with pytest.raises(BackupError, match="No space"):
        full.backup_database(text)
    assert text.read_bytes() == old
    assert not list(text.parent.glob(".holdfast*"))
    assert full.insert("empty", {"id": 3}) == 3


def test_only_the_owner_reads_a_backup(backup: Path) -> None:
    assert backup.stat().st_mode & 0o777 == 0o600


def test_files_of_other_programs(url: str, db: holdfast.Database, tmp_path: Path) -> None:
    path = tmp_path / "other.sql"
    path.write_text(
        "-- of another program\nBEGIN;\nCREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT);\n"
        "INSERT INTO t VALUES (1, 'a;b'), (2, NULL);\nCOMMIT;\n"
    )
    with pytest.raises(BackupError, match="unverified=True"):
        db.restore_database(path)
    report = db.restore_database(path, unverified=True)
    assert dict(report.tables) == {"t": 2}
    assert db.select("t", order_by="id") == [{"id": 1, "x": "a;b"}, {"id": 2, "x": None}]
    path.write_text("CREATE TABLE u (id INTEGER);\nINSERT INTO nowhere VALUES (1);\n")
    with pytest.raises(BackupError):
        db.restore_database(path, unverified=True)
    assert db.list_tables() == ["t"]


def test_a_backup_of_another_engine_is_refused(
    engine_name: str, db: holdfast.Database, backup: Path, tmp_path: Path
) -> None:
    if backup.suffix == ".hfz":
        pytest.skip("every engine reads it")
    made = "postgres" if engine_name == "sqlite" else "sqlite"
    body = backup.read_bytes().rpartition(b"-- Holdfast trailer ")
    manifest = body[2][:-1].partition(b" ")[2]
    here = b"sqlite" if engine_name == "sqlite" else b"postgres"
    manifest = manifest.replace(b'"engine": "' + here, b'"engine": "' + made.encode())
    import hashlib

    digest = hashlib.sha256(body[0] + manifest).hexdigest().encode()
    backup.write_bytes(body[0] + b"-- Holdfast trailer " + digest + b" " + manifest + b"\n")
    for call in (db.restore_database, db.verify_backup):
        with pytest.raises(BackupError, match=r"SQLite.*PostgreSQL|PostgreSQL.*SQLite"):
            call(backup)


def test_a_backup_of_format_1_is_proven(
    full: holdfast.Database, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL its hashes are of the text of whole rows."""
    before = state(full)
    with monkeypatch.context() as old:
        dump = import_module(full._executor.engine.dump.write.__module__)
        content = dump.content
        for module in (manifest, plain):
            old.setattr(module, "FORMAT", 1)
        old.setattr(dump, "content", lambda *given: content(*given[:3], like=""))
        path = full.backup_database(tmp_path / f"old{suffix}")
    with opened(path) as source:
        assert source.manifest is not None
        assert not any(content.hash.startswith("2:") for content in source.manifest.tables.values())
    full.delete("orders", all_rows=True)
    assert full.verify_backup(path).ok
    full.restore_database(path, keep_old=False)
    assert state(full) == before


def test_whatever_changes_in_a_row_changes_its_hash(db: holdfast.Database) -> None:
    db.create_table("t", {"a": "TEXT", "b": "TEXT", "c": "INTEGER"})
    pairs = [
        ("", None),
        (None, ""),
        (None, None),
        ("", ""),
        ("ab", ""),
        ("a", "b"),
        ("b", "a"),
        ("NULL", None),
    ]
    rows = [{"a": a, "b": b, "c": c} for a, b in pairs for c in (None, 0, 1, -1, 2**32, 2**62)]
    found = set()
    for row in rows:
        db.delete("t", all_rows=True)
        db.insert("t", row)
        with db.transaction():
            found.add(content_of(db._executor, "t").hash)
    assert len(found) == len(rows)


def test_a_table_of_very_many_columns(db: holdfast.Database, tmp_path: Path, suffix: str) -> None:
    names = [f"c{number}" for number in range(1_500)]
    db.create_table("wide", {name: "BOOLEAN" if name.endswith("5") else "TEXT" for name in names})
    db.insert_many("wide", [{name: name.endswith("5") or "x" for name in names}, {names[0]: "y"}])
    path = db.backup_database(tmp_path / f"wide{suffix}")
    assert db.verify_backup(path).ok
    if suffix == ".sql":
        with holdfast.connect(tmp_path / "copy.db") as other:
            holdfast.copy_database(db, other)
            assert other.select("wide") == db.select("wide")


def test_an_empty_database(db: holdfast.Database, tmp_path: Path, suffix: str) -> None:
    path = db.backup_database(tmp_path / f"nothing{suffix}")
    assert db.verify_backup(path).ok
    assert dict(db.restore_database(path).tables) == {}


def test_a_read_only_database(
    url: str, full: holdfast.Database, backup: Path, tmp_path: Path, suffix: str
) -> None:
    with holdfast.connect(url, read_only=True) as reader:
        path = reader.backup_database(tmp_path / f"reader{suffix}")
        with pytest.raises(holdfast.errors.ReadOnlyError):
            reader.restore_database(backup)
    assert full.verify_backup(path).ok


def test_memory_stays_flat(db: holdfast.Database, tmp_path: Path, new_url: NewUrl, suffix: str) -> None:
    import tracemalloc

    db.create_table("blobs", {"id": "INTEGER PRIMARY KEY", "data": "BLOB"})
    for i in range(40):
        db.insert("blobs", {"id": i, "data": random.Random(i).randbytes(1_000_000)})
    with holdfast.connect(new_url()) as other:
        tracemalloc.start()
        try:
            path = db.backup_database(tmp_path / f"blobs{suffix}")
            other.restore_database(path)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert path.stat().st_size > 39_000_000
        assert peak < 40_000_000
        assert other.get("blobs", 17) == db.get("blobs", 17)


MEMORY = """
import sys
import holdfast
def memory(name):
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith(name)).split()[1]) // 1024
url, path, target = sys.argv[1:]
# What the libraries take is not counted.
with holdfast.connect(":memory:") as db:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY"})
    db.restore_database(db.backup_database(path + ".hfz"), keep_old=False)
holdfast.connect(url).close()
before = memory("VmRSS")
with holdfast.connect(url) as db:
    db.backup_database(path, progress=False)
wrote = memory("VmHWM") - before
with holdfast.connect(target) as db:
    db.restore_database(path, keep_old=False, progress=False)
    assert db.count("runs") == 1_000_000
print(wrote, memory("VmHWM") - before)
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_million_rows_need_little_memory(
    db: holdfast.Database, url: str, new_url: NewUrl, suffix: str, tmp_path: Path
) -> None:
    db.create_table("runs", {"id": "INTEGER PRIMARY KEY", "name": "TEXT", "x": "REAL", "at": "TIMESTAMP"})
    at = datetime(2024, 1, 1)
    db.insert_many("runs", ({"id": n, "name": f"run {n}", "x": n / 3, "at": at} for n in range(1_000_000)))
    command = [sys.executable, "-c", MEMORY, url, str(tmp_path / f"runs{suffix}"), new_url()]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wrote, both = map(int, done.stdout.split())
    print(f"\n{suffix}: backup {wrote} MiB, with the restore {both} MiB")
    assert both < 64


def test_the_engines_own_tools_read_its_own_kind(
    full: holdfast.Database, engine_name: str, tmp_path: Path
) -> None:
    if engine_name == "sqlite":
        path = full.backup_database(tmp_path / "x.db")
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as con:
            assert con.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert con.execute("SELECT count(*) FROM users").fetchone() == (full.count("users"),)
    else:
        path = full.backup_database(tmp_path / "x.dump")
        program = Path(str(bin_directory())) / "pg_restore"
        listed = subprocess.run([program, "--list", path], capture_output=True, check=True).stdout
        assert b"TABLE DATA public users" in listed
    with pytest.raises(NotSupported, match=r"\.sql"):
        full.backup_table("users", tmp_path / f"one{path.suffix}")
    assert list(tmp_path.glob("*one*")) == []


def test_own_kind_of_another_program(
    full: holdfast.Database, engine_name: str, tmp_path: Path, new_url: NewUrl
) -> None:
    path = full.backup_database(tmp_path / ("x.db" if engine_name == "sqlite" else "x.dump"))
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"\n-- Holdfast trailer")])
    # Nothing tells a whole foreign dump from one of ours that was cut, but SQLite's file says its own length.
    refused = NotABackup if engine_name == "sqlite" else BackupCorrupt
    with pytest.raises(refused, match="unverified"):
        full.restore_database(path)
    with holdfast.connect(new_url()) as other:
        other.restore_database(path, unverified=True)
        assert state(other) == state(full)


@pytest.mark.parametrize("engine_name", ["sqlite"], indirect=True)
def test_a_database_in_use_is_no_backup(url: str, full: holdfast.Database, tmp_path: Path) -> None:
    with holdfast.connect(tmp_path / "other.db") as other:
        other.create_table("t", {"id": "INTEGER"})
        with pytest.raises(BackupError, match="in use"):
            full.restore_database(tmp_path / "other.db", unverified=True)


def new_place(engine_name: str, new_url: NewUrl, tmp_path: Path) -> str:
    return str(tmp_path / "fresh.sqlite") if engine_name == "sqlite" else new_url()


def test_into_a_new_database(
    backup: Path, full: holdfast.Database, engine_name: str, new_url: NewUrl, tmp_path: Path
) -> None:
    place = new_place(engine_name, new_url, tmp_path)
    before = state(full)
    report = full.restore_database(backup, into=place)
    assert (report.ok, report.kept, report.replaced) == (True, None, ())
    assert state(full) == before
    with holdfast.connect(place) as fresh:
        assert state(fresh) == before
        check_works(fresh)
    with pytest.raises(BackupError, match=r"exists already|holds tables already"):
        full.restore_database(backup, into=place)


def test_a_failed_new_database_is_not_there(
    text: Path, full: holdfast.Database, engine_name: str, new_url: NewUrl, tmp_path: Path
) -> None:
    place = new_place(engine_name, new_url, tmp_path)
    forge(text, lambda data: data.replace(b"it''s", b"it''t"))
    names = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(BackupError, match="other values"):
        full.restore_database(text, into=place)
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    if engine_name != "sqlite":
        with holdfast.connect(place) as fresh:
            assert fresh.list_tables() == []


def test_what_is_replaced_is_kept(backup: Path, full: holdfast.Database) -> None:
    full.insert("empty", {"id": 5})
    before = state(full)
    report = full.restore_database(backup)
    assert report.kept is not None
    assert report.kept.suffix == (".db" if backup.suffix == ".db" else report.kept.suffix)
    assert set(report.replaced) == set(full.list_tables())
    assert str(report.kept) in str(report)
    assert full.count("empty") == 0
    assert full.verify_backup(report.kept).ok
    full.restore_database(report.kept, keep_old=False)
    assert state(full) == before
    one = full.restore_table("users", backup)
    assert one.replaced == ["users"]
    assert one.kept is not None
    assert one.kept.suffix == ".sql"


def test_nothing_is_kept_of_a_restore_that_failed(
    text: Path, full: holdfast.Database, tmp_path: Path
) -> None:
    forge(text, lambda data: data.replace(b"it''s", b"it''t"))
    with pytest.raises(BackupError):
        full.restore_database(text)
    assert list(tmp_path.rglob("*before-restore*")) == []


def test_a_dry_run_proves_and_changes_nothing(backup: Path, full: holdfast.Database) -> None:
    full.drop_table("empty")
    before = state(full)
    report = full.restore_database(backup, dry_run=True)
    assert set(report.replaced) == set(full.list_tables())
    assert "empty" in report.tables
    assert full.restore_database(backup, table="users", dry_run=True).replaced == ["users"]
    assert state(full) == before
    backup.write_bytes(backup.read_bytes()[:-9])
    with pytest.raises(BackupCorrupt):
        full.restore_database(backup, dry_run=True)
