"""What killed processes leave is removed by the next one, and what a living one uses is not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from psycopg.sql import SQL, Literal

import holdfast
import servers
from holdfast.folders import own_folder, replacing
from holdfast.io.files import publishing

pytestmark = pytest.mark.skipif(os.name != "posix", reason="folders are held under flock")
HOLD = """
import sys, time
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any
from holdfast.folders import own_folder
with own_folder(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("written")
    print(folder, flush=True)
    time.sleep(60)
"""


def holding(folder: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that works in a folder of its own."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_the_next_process_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    (killed, left), (living, used) = holding(tmp_path), holding(tmp_path)
    try:
        killed.kill()
        killed.communicate()
        assert (left / "half").exists()
        with own_folder(tmp_path) as mine, own_folder(tmp_path) as second:
            assert {mine, second, used} == set(tmp_path.iterdir())
            assert (used / "half").read_text() == "written"
        assert list(tmp_path.iterdir()) == [used]
    finally:
        living.kill()
        living.communicate()
    with replacing(tmp_path / "file") as beside:
        beside.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_locked_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / ".holdfast-000000000000.tmp"
    other.symlink_to(tmp_path)
    with own_folder(tmp_path):
        assert other.is_symlink()


def test_a_link_is_followed_and_a_failure_leaves_the_file(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "link") as beside:
        assert beside.write_text("half") / 0
    assert (tmp_path / "real").read_text() == "old"
    with replacing(tmp_path / "link") as beside:
        beside.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_file_of_which_a_part_stayed_beside_it_is_not_published(tmp_path: Path) -> None:
    (tmp_path / "new.db").write_text("old")
    with pytest.raises(OSError, match="error"), replacing(tmp_path / "new.db") as beside:
        assert [beside.with_name(name).touch() for name in ("new.db", "new.db-wal")]
    assert (tmp_path / "new.db").read_text() == "old"


def test_scratch_databases_of_dead_connections_are_dropped(
    server: servers.Server, direct: str, tmp_path: Path
) -> None:
    names = "SELECT datname FROM pg_database WHERE datname LIKE 'holdfast_verify%' ORDER BY 1"
    with holdfast.connect(direct) as db:
        db.create_table("t", {"id": "INTEGER PRIMARY KEY"})
        path = db.backup_database(tmp_path / "b.sql")
        pid, start = db.query(
            "SELECT pid, (extract(epoch FROM backend_start) * 1000000)::bigint AS start "
            "FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        )[0].values()
        mine, dead = f"holdfast_verify_{pid}_{start}_0a", f"holdfast_verify_{pid}_{start - 1}_0a"
        for name in (mine, dead, "holdfast_verify_mine"):
            server.create_database(name)
        with holdfast.connect(direct) as other:
            assert other.verify_backup(path).ok
        assert [name for (name,) in server.execute(names)] == sorted([mine, "holdfast_verify_mine"])
    # A server notices after a moment that its client is gone.
    while server.execute(SQL("SELECT 1 FROM pg_stat_activity WHERE pid = {}").format(Literal(pid))):
        time.sleep(0.02)
    with holdfast.connect(direct) as other:
        assert other.verify_backup(path).ok
    assert server.execute(names) == [("holdfast_verify_mine",)]
    server.drop_database("holdfast_verify_mine")


class Interrupts:
    """Ctrl-C before the ``after``-th line of what writes a file in a folder of ours and puts it in place."""

    PLACES = ("holdfast/folders.py", "holdfast/io/files.py", "contextlib.py")

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Interrupts | None:
        if not frame.f_code.co_filename.endswith(self.PLACES):
            return None
        if event == "line":
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt
        return self


def interrupted(path: Path, after: int) -> bool:
    """Write a file, and say whether that was interrupted."""
    before, interrupts = sys.gettrace(), Interrupts(after)
    sys.settrace(interrupts)
    try:
        with publishing(path) as file:
            file.write("new")
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


# A file whose opening was interrupted is closed when it is collected.
@pytest.mark.filterwarnings("ignore:.*unclosed file", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_at_any_line_leaves_no_folder(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    seen = set()
    for after in count(1):
        path.write_text("old")
        was_interrupted = interrupted(path, after)
        assert os.listdir(tmp_path) == ["file.csv"], after
        seen.add(path.read_text())
        if not was_interrupted:
            break
    assert seen == {"old", "new"}
    assert path.read_text() == "new"
