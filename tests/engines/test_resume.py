"""Imports that go on after a crash: no row lost, none doubled, and nothing else taken for the same file."""

from __future__ import annotations

import io
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import holdfast
from holdfast import errors
from holdfast.io import records, resuming

FORMATS = ("csv", "tsv", "jsonl", "json", "jsonl.gz", "parquet", "feather")
ROWS = 12_000


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """The same rows in a file of each format."""
    folder = tmp_path_factory.mktemp("files")
    with holdfast.connect(f"sqlite:///{folder}/made.db") as db:
        db.create_table("t", {"id": "INTEGER", "t": "TEXT"})
        db.insert_many("t", ({"id": n, "t": f"a, text\n{n}" if n % 50 == 0 else str(n)} for n in range(ROWS)))
        for name in FORMATS:
            db.export("t", folder / f"t.{name}")
    return folder


def state(db: holdfast.Database) -> list[dict]:
    return db.select("holdfast_imports", columns=["file", "rows_loaded", "finished"])


IMPORT = """
import sys
import holdfast
from holdfast.io import records, resuming
resuming.ROWS, records._LINES = 300, 3000
with holdfast.connect(sys.argv[1]) as db:
    print("ready", flush=True)
    print(db.load("t", sys.argv[2], resume=True), flush=True)
"""


def child(url: str, path: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", IMPORT, url, str(path)], stdout=subprocess.PIPE, text=True)


def until_done(db: holdfast.Database, path: Path) -> int:
    for _ in range(600):
        try:
            return db.load("t", path, resume=True)
        except errors.SerializationFailure:
            # The server has not noticed yet that its client is dead.
            time.sleep(0.1)
    raise AssertionError("never free")


@pytest.mark.parametrize("name", ["csv", "jsonl", "json", "parquet", "feather"])
def test_a_killed_import_goes_on(url, files, name):
    seed = int(os.environ.get("HOLDFAST_SEED", random.randrange(10**6)))
    print(f"HOLDFAST_SEED={seed}")
    chance = random.Random(seed)
    stopped = []
    with holdfast.connect(url) as db:
        for _ in range(2):
            program = child(url, files / f"t.{name}")
            assert program.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0.0, 0.5))
            program.send_signal(signal.SIGKILL)
            program.wait()
            program.stdout.close()
            stopped.append(state(db) if db.table_exists("holdfast_imports") else [])
        assert until_done(db, files / f"t.{name}") == ROWS, stopped
        (found,) = db.query("SELECT count(*) AS n, count(DISTINCT id) AS m, max(id) AS last FROM t")
        assert found == {"n": ROWS, "m": ROWS, "last": ROWS - 1}, stopped
        assert state(db) == [{"file": f"t.{name}", "rows_loaded": ROWS, "finished": True}]


class Stop(Exception):
    pass


@pytest.fixture
def stops(monkeypatch):
    """Make the import end, as by a crash, at the commit of that number."""

    def at(number: int) -> None:
        monkeypatch.setattr(resuming, "ROWS", 500)
        commits = iter(range(1, number + 1))
        plain = resuming.Resumable.commit

        def commit(steps: resuming.Resumable) -> None:
            if next(commits) == number:
                raise Stop
            plain(steps)

        monkeypatch.setattr(resuming.Resumable, "commit", commit)

    yield at
    monkeypatch.undo()


@pytest.mark.parametrize("name", FORMATS)
def test_what_was_committed_is_not_read_again(db, files, stops, monkeypatch, name):
    monkeypatch.setattr(records, "_LINES", 5_000)
    stops(3)
    with pytest.raises(Stop):
        db.load("t", files / f"t.{name}", resume=True)
    monkeypatch.undo()
    before = db.count("t")
    assert 0 < before < ROWS
    assert state(db) == [{"file": f"t.{name}", "rows_loaded": before, "finished": False}]
    db.execute("UPDATE t SET t = 'kept'")
    assert db.load("t", files / f"t.{name}", resume=True) == ROWS
    assert db.count("t") == ROWS
    assert db.count("t", "t = 'kept'") == before
    assert db.load("t", files / f"t.{name}", resume=True) == ROWS
    assert db.count("t") == ROWS


@pytest.fixture
def half(db, tmp_path, stops, monkeypatch):
    """An import of ``t.csv`` that stopped in the middle."""
    path = tmp_path / "t.csv"
    path.write_text("id,t\n" + "".join(f"{n},x{n}\n" for n in range(50_000)))
    stops(2)
    with pytest.raises(Stop):
        db.import_from_csv("t", path, resume=True)
    monkeypatch.undo()
    assert 0 < db.count("t") < 50_000
    return path


def test_a_changed_file_is_refused(db, half):
    before = db.count("t")
    half.write_text(half.read_text() + "50000,more\n")
    with pytest.raises(errors.ImportFailed, match="has changed since its import"):
        db.import_from_csv("t", half, resume=True)
    assert db.count("t") == before
    assert db.import_from_csv("t", half, "replace", resume=True) == 50_001
    assert db.count("t") == 50_001


def test_other_options_are_refused(db, half):
    with pytest.raises(errors.ImportFailed, match="begun with other options"):
        db.import_from_csv("t", half, resume=True, null="NA")
    assert db.import_from_csv("t", half, resume=True) == 50_000


def test_rows_that_are_gone_are_noticed(db, half):
    db.delete("t", "id < 100")
    with pytest.raises(errors.ImportFailed, match="rows were loaded before, but"):
        db.import_from_csv("t", half, resume=True)
    db.drop_table("t")
    assert db.import_from_csv("t", half, resume=True) == 50_000


def test_the_same_file_under_another_name_goes_on(db, half):
    other = half.with_name("other.csv")
    half.rename(other)
    assert db.import_from_csv("t", other, resume=True) == 50_000
    assert db.count("t") == 50_000


def test_replace_goes_on_and_begins_anew_when_done(db, half):
    before = db.count("t")
    db.execute("UPDATE t SET t = 'kept'")
    assert db.import_from_csv("t", half, "replace", resume=True) == 50_000
    assert db.count("t", "t = 'kept'") == before
    assert db.import_from_csv("t", half, "replace", resume=True) == 50_000
    assert db.count("t") == 50_000
    assert db.count("t", "t = 'kept'") == 0


def test_two_at_once_double_nothing(db, url, half, monkeypatch):
    plain = resuming.Resumable._note

    def note(steps: resuming.Resumable, *, finished: bool) -> None:
        monkeypatch.setattr(resuming.Resumable, "_note", plain)
        position = db.execute("SELECT reached FROM holdfast_imports").scalar()
        db.execute("UPDATE holdfast_imports SET reached = ?", [position + 1])
        plain(steps, finished=finished)

    with holdfast.connect(url) as other:
        monkeypatch.setattr(resuming.Resumable, "_note", note)
        before = db.count("t")
        if db.engine.dialect.name == "sqlite":
            # Only one may write there: the other's move is then seen as this transaction's own.
            other = db
        with pytest.raises(errors.SerializationFailure, match="under way"):
            other.import_from_csv("t", half, resume=True)
        assert db.count("t") == before


def test_a_bad_row_keeps_what_was_committed_before_it(db, tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    path.write_text("id\n" + "".join(f"{n}\n" for n in range(200_000)) + "x\n")
    db.create_table("t", {"id": "INTEGER"})
    with pytest.raises(errors.ImportFailed, match="line 200002"):
        db.import_from_csv("t", path, resume=True)
    assert db.count("t") == state(db)[0]["rows_loaded"] > 0


def test_keys_given_by_hand_are_known_to_the_next_row(db, tmp_path, stops, monkeypatch):
    path = tmp_path / "t.csv"
    path.write_text("id,t\n" + "".join(f"{n},x{n}\n" for n in range(50_000)))
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "t": "TEXT"})
    stops(2)
    with pytest.raises(Stop):
        db.import_from_csv("t", path, resume=True)
    monkeypatch.undo()
    # PostgreSQL's sequence keeps what the step that was rolled back had told it: a gap, never a clash.
    assert db.insert("t", {"t": "next"}) >= db.count("t") - 1


def test_what_cannot_be_resumed(db, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("id\n1\n")
    with pytest.raises(errors.InvalidQuery, match="stream"):
        db.import_from_csv("t", io.StringIO("id\n1\n"), resume=True)
    with db.transaction(), pytest.raises(errors.TransactionError, match="commits as it goes"):
        db.import_from_csv("t", path, resume=True)
    with pytest.raises(errors.ImportFailed, match="cannot be read"):
        db.load("t", tmp_path / "none.jsonl", resume=True)
    assert "t" not in db.list_tables()


@pytest.mark.parametrize("fate", ["changed", "removed"])
def test_a_file_that_changes_under_the_import(db, tmp_path, monkeypatch, fate):
    path = tmp_path / "t.csv"
    path.write_text("id,t\n" + "".join(f"{n},x{n}\n" for n in range(50_000)))
    plain = resuming.Resumable.commit

    def commit(steps: resuming.Resumable) -> None:
        path.unlink()
        if fate == "changed":
            path.write_text("id,t\n")
        plain(steps)

    monkeypatch.setattr(resuming.Resumable, "commit", commit)
    with pytest.raises(errors.ImportFailed, match="changed while it was read"):
        db.import_from_csv("t", path, resume=True)
    assert not db.table_exists("t")
    assert state(db) == []
