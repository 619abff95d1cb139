"""``kill -9`` at every write and at random moments of what changes databases, files and backups."""

from __future__ import annotations

import os
import random
import time
from collections import Counter

import pytest

from faults.children import WRITES, kill, no_strace
from faults.grounds import Ground
from faults.operations import OPERATIONS

SEED = int(os.environ.get("HOLDFAST_SEED", "20261120"))
# Each trial on a server makes databases, which takes seconds: this many of each operation's points there,
# drawn by the seed, or HOLDFAST_POINTS=all.
_POINTS = os.environ.get("HOLDFAST_POINTS", "4")
ON_SERVERS = ("transaction", "backup own", "verify", "restore text")


def points(ground: Ground, operation: str) -> list[tuple[str, int]]:
    """Every call of the operation that writes, by its name and number."""
    with ground.place() as place:
        # The client of a server writes little, and sends.
        calls = ground.workers.count(
            ground.task(place, operation), (*WRITES, *["sendto"] * bool(ground.server))
        )
    return [(call, number) for call, many in sorted(calls.items()) for number in range(1, many + 1)]


def kill_at(ground: Ground, operation: str, call: str, number: int) -> str:
    with ground.place() as place:
        outcome = ground.workers.run(ground.task(place, operation), kill(call, number))
        return ground.check(place, operation, outcome)


def kill_after(ground: Ground, operation: str, seconds: float) -> str:
    with ground.place() as place:
        outcome = ground.workers.run(ground.task(place, operation), after=seconds)
        return ground.check(place, operation, outcome)


def drawn(found: list[tuple[str, int]], ground: Ground, operation: str) -> list[tuple[str, int]]:
    """All of them on SQLite; on a server so many."""
    if ground.server is None or _POINTS == "all":
        return found
    return random.Random(f"{SEED} {operation}").sample(found, min(int(_POINTS), len(found)))


def told(what: str, ground: Ground, operation: str, ends: Counter[str]) -> None:
    engine = "PostgreSQL" if ground.server else "SQLite"
    print(f"{what}, {engine}, {operation}, seed {SEED}: {ends.total()} kills, {dict(ends)}, 0 partial")


def a_few(found: list[tuple[str, int]], operation: str, many: int) -> list[tuple[str, int]]:
    """Late ones rather than early ones: the first calls only open the database."""
    chance = random.Random(f"{SEED} {operation}")
    return chance.sample(found[len(found) // 4 :] or found, min(many, len(found)))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_killed_at_a_write(ground: Ground, operation: str) -> None:
    """A sample; the whole is ``test_killed_at_every_write``."""
    if reason := no_strace():
        pytest.skip(reason)
    if ground.server is not None and operation not in ON_SERVERS:
        pytest.skip("make test-long does this on servers")
    for call, number in a_few(points(ground, operation), operation, 2 if ground.server is None else 1):
        kill_at(ground, operation, call, number)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_killed_at_some_moment(ground: Ground, operation: str) -> None:
    """A sample; the whole is ``test_killed_at_random_moments``."""
    if ground.server is not None and operation not in ON_SERVERS:
        pytest.skip("make test-long does this on servers")
    kill_after(ground, operation, random.Random(f"{SEED} {operation}").uniform(0.0, 0.15))


@pytest.mark.long
@pytest.mark.parametrize("operation", OPERATIONS)
def test_killed_at_every_write(ground: Ground, operation: str) -> None:
    if reason := no_strace():
        pytest.skip(reason)
    chosen = drawn(points(ground, operation), ground, operation)
    ends = Counter(kill_at(ground, operation, *each) for each in chosen)
    told("at every write", ground, operation, ends)


@pytest.mark.long
@pytest.mark.parametrize("operation", OPERATIONS)
def test_killed_at_random_moments(ground: Ground, operation: str) -> None:
    chance = random.Random(f"{SEED} {operation}")
    with ground.place() as place:
        started = time.monotonic()
        assert ground.workers.run(ground.task(place, operation)).ended
        seconds = time.monotonic() - started
    times = 50 if ground.server is None or _POINTS == "all" else int(_POINTS)
    ends = Counter(kill_after(ground, operation, chance.uniform(0, seconds)) for _ in range(times))
    told("at random moments", ground, operation, ends)
