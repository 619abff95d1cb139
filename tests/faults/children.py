"""Child processes that are killed, or refused something, at a system call: ``strace`` does both."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
WRITES = (
    "write",
    "pwrite64",
    "writev",
    "ftruncate",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdir",
    "rmdir",
    "fallocate",
)
SECONDS = 300


@dataclass(frozen=True)
class Outcome:
    """What a child had acknowledged, which errors it gave, and whether it came to its end."""

    done: tuple[int, ...]
    refused: tuple[str, ...]
    untyped: tuple[str, ...]
    ended: bool


@cache
def no_strace() -> str | None:
    """Why system calls cannot be chosen here, or ``None``."""
    if sys.platform != "linux" or shutil.which("strace") is None:
        return "strace is not installed"
    command = ["strace", "-qq", "-f", "-o", "/dev/null", "-e", "inject=write:error=EIO", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"strace may not trace here: {done.stderr.strip()[:200]}"


class Workers:
    """Starts children that run steps of an operation."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="holdfast-test-")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *filter(None, sys.path)])}
        self._process = subprocess.Popen(
            [sys.executable, str(TESTS / "faults" / "worker.py")],
            stdin=subprocess.PIPE,
            env=environment,
            text=True,
        )
        self._number = 0

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(SECONDS)
        self._folder.cleanup()

    @contextmanager
    def _child(self, task: dict[str, Any]) -> Iterator[tuple[socket.socket, int]]:
        self._number += 1
        path = f"{self._folder.name}/{self._number}"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            listener.settimeout(SECONDS)
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({**task, "socket": path}) + "\n")
            self._process.stdin.flush()
            talk, _ = listener.accept()
        os.unlink(path)
        with talk:
            talk.settimeout(SECONDS)
            yield talk, int(talk.recv(100))

    def run(self, task: dict[str, Any], faults: tuple[str, ...] = (), after: float | None = None) -> Outcome:
        """Run the steps, with these options of strace's, or killed after so many seconds."""
        with self._child(task) as (talk, pid), _traced(pid, faults):
            talk.send(b".")
            if after is not None:
                select.select([], [], [], after)
                # It may have come to its end by then.
                with suppress(ProcessLookupError):
                    os.kill(pid, 9)
            return _read(talk)

    def count(self, task: dict[str, Any], calls: tuple[str, ...] = WRITES) -> Counter[str]:
        """How often the child itself makes each of these calls when nothing is in its way."""
        log = Path(self._folder.name) / "log"
        with self._child(task) as (talk, pid):
            with _traced(pid, (f"--trace={','.join('?' + call for call in calls)}",), log):
                talk.send(b".")
                outcome = _read(talk)
            assert outcome.ended, outcome
            assert not outcome.refused, outcome
            assert not outcome.untyped, outcome
        made = re.findall(rf"^{pid} +(\w+)\(", log.read_text(errors="replace"), re.MULTILINE)
        return Counter(made)


@contextmanager
def _traced(pid: int, options: tuple[str, ...], log: Path = Path("/dev/null")) -> Iterator[None]:
    if not options:
        yield
        return
    command = ["strace", "-f", "-s", "0", "-o", str(log), *options, "-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert tracer.stderr is not None
        first = tracer.stderr.readline()
        assert "attached" in first, first
        yield
    finally:
        # It ends with the last process that it traces.
        try:
            tracer.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            tracer.terminate()
            tracer.communicate()


def _read(talk: socket.socket) -> Outcome:
    text = b""
    try:
        while data := talk.recv(65_536):
            text += data
    except ConnectionResetError:
        pass
    lines = text.decode().splitlines()

    def after(word: str) -> tuple[str, ...]:
        return tuple(line.partition(" ")[2] for line in lines if line.startswith(word))

    return Outcome(tuple(map(int, after("done"))), after("refused"), after("untyped"), "end" in lines)


def kill(call: str, number: int) -> tuple[str, ...]:
    """Kill the process as it makes this call for the n-th time."""
    return (f"--trace={call}", f"--inject={call}:signal=KILL:when={number}")


def refuse(call: str, number: int, error: str = "EIO", *, on: bool = False) -> tuple[str, ...]:
    """Let this call fail once, or from then on."""
    return (f"--trace={call}", f"--inject={call}:error={error}:when={number}{'+' if on else ''}")
