"""The disk fails, is full or may not be written: a typed error, nothing half-done, then it works again."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import holdfast
import servers
from faults.children import Workers, no_strace, refuse
from faults.grounds import Ground
from faults.operations import OPERATIONS, Place, run_step
from faults.test_kills import SEED, a_few, drawn, points, told
from holdfast.errors import Error

UNTIL_FULL = (0, 4, 40, 150)


def writes(ground: Ground, operation: str) -> list[tuple[str, int]]:
    """Those to files.

    A send that fails on a connection that lives on is not what networks do: libpq then waits for an answer
    to what it never sent: test_connections.py cuts connections instead.
    """
    return [point for point in points(ground, operation) if point[0] != "sendto"]


def fail_at(ground: Ground, operation: str, call: str, number: int) -> str:
    """Let one call fail: the step says so, and the same step on the same connection then succeeds."""
    with ground.place() as place:
        outcome = ground.workers.run(ground.task(place, operation), refuse(call, number))
        assert outcome.ended, outcome
        # strace counts in each process by itself, so a second pg_dump meets the fault too, and so does a
        # second reader of what stands where a backup goes.
        if ground.server is None and "cannot be read: OSError" not in "".join(outcome.refused[-1:]):
            assert not outcome.refused or outcome.refused[-1][:5] != "again", outcome
        ground.check(place, operation, outcome)
        return "refused" if outcome.refused else "not noticed"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_write_that_fails(ground: Ground, operation: str) -> None:
    """A sample; the whole is ``test_every_write_fails_once``."""
    if reason := no_strace():
        pytest.skip(reason)
    if ground.server is not None:
        pytest.skip("make test-long does this on servers")
    for call, number in a_few(writes(ground, operation), operation + " EIO", 1):
        fail_at(ground, operation, call, number)


@pytest.mark.long
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_write_fails_once(ground: Ground, operation: str) -> None:
    if reason := no_strace():
        pytest.skip(reason)
    chosen = drawn(writes(ground, operation), ground, operation + " EIO")
    if not chosen:
        pytest.skip("its client writes no file")
    ends = Counter(fail_at(ground, operation, *each) for each in chosen)
    told("EIO at every write", ground, operation, ends)


# On a file system of a few megabytes


class Small:
    """A mounted file system, which can be filled and made read-only."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def full(self, kib: int) -> Iterator[None]:
        """Leave so much room."""
        filler = self.root / "filler"
        status = os.statvfs(self.root)
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(status.f_bavail * status.f_frsize - kib * 1024, 1))
        try:
            yield
        finally:
            filler.unlink()

    @contextmanager
    def read_only(self) -> Iterator[None]:
        self._remount("ro")
        try:
            yield
        finally:
            self._remount("rw")

    def _remount(self, way: str) -> None:
        servers.until_unused(["mount", "-o", f"remount,{way}", str(self.root)])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    root = tmp_path_factory.mktemp("small")
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux may mount a small file system")
    command = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield Small(root)
    servers.unmount(root)


@pytest.fixture(scope="module")
def narrow(small: Small, workers: Workers) -> Iterator[Ground]:
    made = Ground(small.root, None, workers)
    yield made
    made.close()


def refused_or_done(narrow: Ground, place: Place, operation: str) -> str:
    """Run the steps while the disk is full: each is refused with nothing done, or done."""
    at = 0
    try:
        with holdfast.connect(place.url) as db:
            for number in range(len(OPERATIONS[operation])):
                run_step(db, place, operation, number)
                at = number + 1
    except Error as exc:
        return f"{at} {type(exc).__name__}"
    return str(at)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_full_disk(narrow: Ground, small: Small, operation: str) -> None:
    """With more or less room left, the database and the files are those before or after each step."""
    states = narrow.states(operation)
    kinds = set[str]()
    for kib in UNTIL_FULL:
        with narrow.place() as place, narrow.temporaries():
            with small.full(kib):
                end = refused_or_done(narrow, place, operation)
            at = int(end.partition(" ")[0])
            kinds.add(end)
            assert narrow.lasting(place) == states[at], f"{operation} with {kib} KiB left: {end}"
            narrow.finish(place, operation, at)
    print(f"full disk, {operation}: {sorted(kinds)}")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_full_disk_under_an_open_connection(narrow: Ground, small: Small, operation: str) -> None:
    """The connection that was refused goes on when there is room again."""
    states = narrow.states(operation)
    room = random.Random(f"{SEED} {operation}").choice(UNTIL_FULL)
    with narrow.place() as place, narrow.temporaries(), holdfast.connect(place.url) as db:
        db.count("runs")
        for number in range(len(OPERATIONS[operation])):
            try:
                with small.full(room):
                    run_step(db, place, operation, number)
            except Error:
                assert db.count("runs") >= 1
                run_step(db, place, operation, number)
            assert narrow.lasting(place) == states[number + 1]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_read_only_disk(narrow: Ground, small: Small, operation: str) -> None:
    states = narrow.states(operation)
    with narrow.place() as place, narrow.temporaries():
        with small.read_only():
            end = refused_or_done(narrow, place, operation)
            assert " " in end, f"{operation} wrote on a read-only file system: {end}"
        assert narrow.lasting(place) == states[0]
        narrow.finish(place, operation, 0)
