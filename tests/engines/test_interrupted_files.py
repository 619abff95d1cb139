"""Ctrl-C, a full disk, a terminal and a pipe, and the memory it takes: import and export as processes."""

from __future__ import annotations

import contextlib
import os
import pty
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import holdfast
import servers
from holdfast import errors

FORMATS = ("csv", "tsv", "jsonl", "json", "csv.gz", "parquet", "feather")
ROWS = 40_000
PROGRAM = [sys.executable, "-m", "holdfast.cli.main"]
# Says when the work has begun, so that the signal comes while it goes on.
BEGUN = """
import sys
from holdfast.cli import main
from holdfast.core import bulk, executor
def telling(owner, name):
    plain = getattr(owner, name)
    def told(*args, **kwargs):
        print("begun", file=sys.stderr, flush=True)
        setattr(owner, name, plain)
        return plain(*args, **kwargs)
    setattr(owner, name, told)
telling(bulk, "appending")
telling(bulk, "insert_many")
telling(executor.Executor, "stream")
main.run(sys.argv[1:])
"""


def fill(db: holdfast.Database, rows: int) -> None:
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "t": "TEXT", "f": "REAL"})
    db.execute(
        f"WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {rows}) "
        "INSERT INTO t SELECT i, 'a text of some length ' || i, i / 7.0 FROM s"
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    with holdfast.connect(f"sqlite:///{folder}/made.db") as db:
        fill(db, ROWS)
        for name in FORMATS:
            db.export("t", folder / f"t.{name}")
    return folder


def interrupted(*arguments: str) -> int:
    """The exit code of a command that is sent SIGINT at some moment of its work; 0 if it was done before."""
    program = subprocess.Popen([sys.executable, "-c", BEGUN, *arguments], stderr=subprocess.PIPE, text=True)
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    said = program.stderr.readline()
    time.sleep(random.Random(seed).uniform(0.0, 0.15))
    program.send_signal(signal.SIGINT)
    rest = program.communicate(timeout=300)[1]
    # What a library makes of a signal while it is imported, and Python of one while it ends, is theirs.
    assert program.returncode in (0, 1, 130, -signal.SIGINT), said + rest
    assert "Traceback" not in rest
    return program.returncode


@pytest.mark.parametrize("name", FORMATS)
def test_ctrl_c_leaves_nothing_half_done(db, url, files, tmp_path, name):
    out = tmp_path / "out"
    out.mkdir()
    stopped = interrupted("import", url, "t", str(files / f"t.{name}"))
    assert stopped or db.table_exists("t")
    if not db.table_exists("t"):
        fill(db, ROWS)
    # All rows or none: the signal may also come when all is done.
    assert db.count("t") == ROWS
    (out / f"t.{name}").write_text("old")
    stopped = interrupted("export", url, "t", str(out / f"t.{name}"))
    assert [found.name for found in out.iterdir()] == [f"t.{name}"]
    assert db.count("t") == ROWS


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 96 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid():
        pytest.skip("only root can mount a small disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(folder)]
    if (done := subprocess.run(mount, capture_output=True, text=True)).returncode:
        pytest.skip(f"no small disk can be mounted: {done.stderr.strip()}")
    yield folder
    servers.unmount(folder)


@pytest.mark.parametrize("name", FORMATS)
def test_a_full_disk_leaves_the_old_file(db, small_disk, name):
    fill(db, ROWS)
    path = small_disk / f"t.{name}"
    path.write_text("old")
    with pytest.raises(errors.ConfigurationError, match="cannot be written: No space left on device"):
        db.export("t", path)
    assert path.read_text() == "old"
    assert list(small_disk.iterdir()) == [path]
    assert db.count("t") == ROWS


def on_terminal(*arguments: str) -> str:
    """What a command shows on a terminal."""
    here, there = pty.openpty()
    program = subprocess.Popen(
        [*PROGRAM, *arguments], stdout=there, stderr=there, env={**os.environ, "TERM": "xterm"}
    )
    os.close(there)
    shown = b""
    with contextlib.suppress(OSError):
        while part := os.read(here, 1 << 16):
            shown += part
    os.close(here)
    assert program.wait(timeout=300) == 0, shown
    return shown.decode()


@pytest.mark.parametrize("name", ["csv", "jsonl", "json", "parquet"])
def test_progress_is_shown_on_a_terminal_and_nowhere_else(files, tmp_path, name):
    url = f"sqlite:///{tmp_path}/t.db"
    shown = on_terminal("import", url, "t", str(files / f"t.{name}"))
    assert "import t" in shown
    assert f"{ROWS}/{ROWS}" in shown
    shown = on_terminal("export", url, "t", str(tmp_path / f"t.{name}"))
    assert "export t" in shown
    assert f"{ROWS}/{ROWS}" in shown
    for arguments in (
        ["import", url, "again", str(files / f"t.{name}")],
        ["export", url, "t", str(tmp_path / f"t.{name}")],
    ):
        done = subprocess.run([*PROGRAM, *arguments], capture_output=True, timeout=300, check=True)
        assert done.stderr == b""
        assert b"\r" not in done.stdout


@pytest.mark.parametrize("name", ["csv", "json", "parquet"])
def test_a_named_pipe_is_read_once(db, files, tmp_path, name):
    os.mkfifo(tmp_path / "pipe")
    writer = subprocess.Popen(["cp", str(files / f"t.{name}"), str(tmp_path / "pipe")])
    assert db.load("t", tmp_path / "pipe", format=name) == ROWS
    assert writer.wait(timeout=300) == 0
    assert db.count("t") == ROWS


MEMORY = """
import sys
import holdfast
def peak():
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("VmHWM")).split()[1])
url, path, rows = sys.argv[1], sys.argv[2], int(sys.argv[3])
with holdfast.connect(url) as db:
    list(db.stream("SELECT 1 AS one"))
    before = peak()
    assert db.export("t", path, progress=False) == rows
    out = peak() - before
    assert db.load("copy", path, progress=False) == rows
    print(out, peak() - before)
"""


@pytest.mark.parametrize(
    "rows", [pytest.param(200_000, id="200k"), pytest.param(1_000_000, id="1m", marks=pytest.mark.long)]
)
@pytest.mark.parametrize("name", ["csv", "jsonl", "json", "csv.gz"])
def test_memory_stays_under_64_mib(db, url, engine_name, tmp_path, name, rows):
    if engine_name == "debian":
        pytest.skip("the client is the same as on the embedded server")
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak of a process is read from /proc")
    fill(db, rows)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, url, str(tmp_path / f"t.{name}"), str(rows)],
        capture_output=True,
        text=True,
        timeout=3000,
    )
    assert done.returncode == 0, done.stderr
    out, both = map(int, done.stdout.split())
    print(f"export {out / 1024:.1f} MiB, with import {both / 1024:.1f} MiB")
    assert both < 64 * 1024
    assert db.count("copy") == rows
