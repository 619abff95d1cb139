"""A server whose disk is full: what was acknowledged is there, the rest is a typed error, and it goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import holdfast
import servers
from holdfast import Database
from holdfast.errors import CommitUnknown, ConnectionFailed, Error

MIB = 160
LINE = "x" * 900


class Narrow:
    """A server of its own, whose data lie on a small file system that can be filled."""

    def __init__(self, root: Path, server: servers.Server) -> None:
        self.root = root
        self.server = server

    @contextmanager
    def full(self, kib: int = 0) -> Iterator[None]:
        """Leave so much room."""
        status = os.statvfs(self.root)
        filler = self.root / "filler"
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(status.f_bavail * status.f_frsize - kib * 1024, 1))
        try:
            yield
        finally:
            filler.unlink()

    def wait_until_ready(self, db: Database) -> None:
        """Have it run again: one that cannot write its log ends itself, at once or in a moment."""
        deadline = time.monotonic() + 300
        while True:
            if not self.server.is_running:
                self.server.start()
            try:
                return db.wait_until_ready(5)
            except ConnectionFailed:
                assert time.monotonic() < deadline


@pytest.fixture(scope="module")
def narrow() -> Iterator[Narrow]:
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux may mount a small file system")
    # Not below pytest's own folder, which is closed to the user that a server runs as.
    root = Path(tempfile.mkdtemp(prefix="holdfast-test-"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={MIB}m,mode=755", "tmpfs", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        server = servers.server_in(root)
        yield Narrow(root, server)
        server.destroy()
    except LookupError as exc:
        pytest.skip(str(exc))
    finally:
        servers.unmount(root)
        root.rmdir()


@pytest.fixture
def db(narrow: Narrow) -> Iterator[Database]:
    narrow.server.create_database("lab")
    with holdfast.connect(narrow.server.url("lab"), reconnect_timeout=20) as database:
        database.create_table("t", {"id": "INTEGER PRIMARY KEY", "tx": int, "text": "TEXT"})
        yield database
    if not narrow.server.is_running:
        narrow.server.start()
    narrow.server.drop_database("lab")


def write(db: Database, tx: int) -> None:
    """A transaction of 200 rows, each in one of the ways there are."""
    rows = [{"tx": tx, "text": LINE} for _ in range(200)]
    if tx % 2:
        db.insert_many("t", rows)
        return
    with db.transaction():
        for row in rows:
            db.insert("t", row)


@pytest.mark.parametrize("kib", [0, 64, 2_000])
def test_a_full_disk_of_the_server(narrow: Narrow, db: Database, kib: int) -> None:
    kept, refused = set[int](), list[Error]()
    for tx in range(5):
        write(db, tx)
        kept.add(tx)
    with narrow.full(kib):
        for tx in range(5, 60):
            try:
                write(db, tx)
                kept.add(tx)
            except Error as exc:
                refused.append(exc)
    if not narrow.server.is_running:
        assert any(isinstance(exc, ConnectionFailed) for exc in refused)
    narrow.wait_until_ready(db)
    assert refused, "it was full"
    for tx in range(60, 64):
        write(db, tx)
        kept.add(tx)
    found = {row["tx"]: row["c"] for row in db.query("SELECT tx, count(*) AS c FROM t GROUP BY tx")}
    assert found == dict.fromkeys(kept, 200), {type(exc).__name__ for exc in refused}
    kinds = sorted({type(exc).__name__ for exc in refused})
    print(f"{kib} KiB left: {len(kept)} kept, {len(refused)} refused, {kinds}")


def test_a_server_that_cannot_write_its_log(narrow: Narrow, db: Database) -> None:
    """There is room in the table, so the log is what grows: the server ends itself, and recovers later."""
    for tx in range(150):
        write(db, tx)
    # The last rows keep the file from being cut short, so that the room before them is used again.
    db.delete("t", "tx < 149")
    narrow.server.execute("VACUUM t", "lab")
    kept, refused = {149}, list[Error]()
    with narrow.full(), holdfast.connect(narrow.server.url("lab"), reconnect_timeout=0.5) as impatient:
        for tx in range(149):
            try:
                write(impatient, tx)
                kept.add(tx)
            except Error as exc:
                refused.append(exc)
                if isinstance(exc, ConnectionFailed):
                    break
    narrow.wait_until_ready(db)
    assert refused
    write(db, 1_000)
    found = {row["tx"]: row["c"] for row in db.query("SELECT tx, count(*) AS c FROM t GROUP BY tx")}
    unknown = {number for number in found if number not in kept} - {1_000}
    assert found == dict.fromkeys({*kept, 1_000, *unknown}, 200)
    assert len(unknown) <= sum(isinstance(exc, CommitUnknown) for exc in refused)
    print(f"log full: {len(kept)} kept, {sorted({type(exc).__name__ for exc in refused})}")


def test_a_backup_of_a_full_server_is_made_elsewhere(narrow: Narrow, db: Database, tmp_path: Path) -> None:
    write(db, 0)
    with narrow.full():
        path = db.backup_database(tmp_path / "b.hfz")
        with pytest.raises(Error):
            db.verify_backup(path)
    assert db.verify_backup(path).ok
    assert not narrow.server.execute("SELECT 1 FROM pg_database WHERE datname LIKE 'holdfast%'")
