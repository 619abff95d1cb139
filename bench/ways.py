"""From the ways in which contenders do a piece of work to the case that compares them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from subprocess import PIPE, Popen
from sys import executable
from typing import Any

from measure import Case, Contender

Ways = Mapping[str, Callable[[], object]]
"""How one contender does each piece of work, once."""


def case(name: str, what: str, contenders: Mapping[str, Ways], limit: str, goal: float | None = None) -> Case:
    """All who can do ``what``, the limit first."""
    able = [who for who, ways in contenders.items() if what in ways]
    able.sort(key=lambda who: who != limit)
    chosen = tuple(Contender(who, repeated(contenders[who][what])) for who in able)
    return Case(name, chosen, 1, goal, unit="ms")


def repeated(way: Callable[[], object], before: Callable[[], object] | None = None) -> Callable[[int], None]:
    """``way`` n times, each time after ``before``, which everybody pays alike."""

    def repeat(n: int) -> None:
        for _ in range(n):
            if before is not None:
                before()
            way()

    return repeat


def consume(rows: Iterable[Any]) -> None:
    """Take every row and keep none."""
    deque(rows, maxlen=0)


def in_worker(way: str, path: Path, stack: ExitStack) -> Callable[[], None]:
    """One of the ways of worker.py in a process of its own, which brings a SQLite library of its own.

    Two SQLite libraries in one process must not open one file: the locks of a file belong to the process,
    and closing it in one library drops those of the other.
    """
    script = Path(__file__).with_name("worker.py")
    process = Popen([executable, str(script), way, str(path)], stdin=PIPE, stdout=PIPE, text=True)
    given, answers = process.stdin, process.stdout
    assert given is not None
    assert answers is not None

    def stop() -> None:
        given.close()
        answers.close()
        process.wait()

    def answer() -> None:
        line = answers.readline().strip()
        if line != "done":
            raise RuntimeError(line or "the worker process ended")

    def once() -> None:
        given.write("go\n")
        given.flush()
        answer()

    stack.callback(stop)
    answer()
    return once
