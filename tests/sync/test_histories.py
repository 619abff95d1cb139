"""Random histories of writers, rounds, faults and restores on real databases; none may break a promise.

``make test`` tries a few, always the same ones; ``make test-long`` many, and prints the seeds.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sync.world import KEYS, Fault, World, cut, kill, lose

SEED = int(os.environ.get("HOLDFAST_SEED", "20261130"))
HISTORIES = int(os.environ.get("HOLDFAST_HISTORIES", "300"))
KINDS = ("insert", "insert", "a", "b", "both", "delete", "replace", "touch")

sites = st.sampled_from(["hub", "r0", "r1", "r2", "r3"])
keys = st.sampled_from(KEYS)
kinds = st.sampled_from(KINDS)
pick = st.integers(0, 3)
commits = st.integers(1, 12)
moments = st.sampled_from(["before", "after"])


class Histories(RuleBasedStateMachine):
    """Whatever happens in whatever order."""

    make: Callable[[str], World]
    count = 0

    def __init__(self) -> None:
        super().__init__()
        self.world: World

    @initialize(
        policy=st.sampled_from(["hub", "hub", "delete_wins"]),
        filtered=st.lists(st.sampled_from([False, False, True]), min_size=2, max_size=3),
    )
    def begin(self, policy: str, filtered: list[bool]) -> None:
        type(self).count += 1
        self.world = type(self).make(policy)
        for is_filtered in filtered:
            self.world.add(is_filtered=is_filtered)

    def _replica(self, number: int) -> Any:
        return self.world.replicas[number % len(self.world.replicas)]

    def _site(self, name: str) -> str:
        return name if name == "hub" else self._replica(int(name[1:])).name

    @rule(site=sites, key=keys, kind=kinds)
    def write(self, site: str, key: str, kind: str) -> None:
        self.world.write(self._site(site), key, kind)

    @rule(site=sites, other=sites, key=keys, kind=kinds, kind_there=kinds)
    def write_twice(self, site: str, other: str, key: str, kind: str, kind_there: str) -> None:
        self.world.write(self._site(site), key, kind)
        self.world.write(self._site(other), key, kind_there)

    @rule(site=sites)
    def write_all(self, site: str) -> None:
        self.world.write_all(self._site(site))

    @rule(site=sites, count=st.integers(1, 5))
    def insert_many(self, site: str, count: int) -> None:
        self.world.insert_many(self._site(site), count)

    @rule(number=pick, direction=st.sampled_from(["both", "both", "both", "push", "pull"]))
    def round(self, number: int, direction: str) -> None:
        self.world.round(self._replica(number), direction=direction)

    @rule(number=pick, commit=commits, moment=moments, how=st.sampled_from([kill, kill, lose, cut]))
    def fail(self, number: int, commit: int, moment: str, how: Callable[[], None]) -> None:
        self.world.round(self._replica(number), Fault(commit, moment, how))

    @rule(number=pick, commit=commits, moment=moments, site=sites, key=keys, kind=kinds)
    def race(self, number: int, commit: int, moment: str, site: str, key: str, kind: str) -> None:
        def write() -> None:
            self.world.write(self._site(site), key, kind)

        self.world.round(self._replica(number), Fault(commit, moment, write))

    @rule(site=sites, on=st.sampled_from([True, False, False]))
    def pause(self, site: str, on: bool) -> None:
        self.world.pause(self._site(site), on=on)

    @rule(number=pick, commit=commits, moment=moments, site=sites, on=st.booleans())
    def pause_within(self, number: int, commit: int, moment: str, site: str, on: bool) -> None:
        def alter() -> None:
            self.world.pause(self._site(site), on=on)

        self.world.round(self._replica(number), Fault(commit, moment, alter))

    @rule(number=pick, other=pick, commit=commits)
    def run_within(self, number: int, other: int, commit: int) -> None:
        """Two runs at once, of one replica or of two."""
        self.world.round(
            self._replica(number),
            Fault(commit, "after", lambda: self.world.nested(self._replica(other))),
        )

    @precondition(lambda self: len(self.world._open) < 2)
    @rule()
    def open(self) -> None:
        self.world.open()

    @precondition(lambda self: self.world._open)
    @rule(keep=st.sampled_from([True, True, False]))
    def end(self, keep: bool) -> None:
        self.world.end(keep=keep)

    @rule(number=pick)
    def back_up(self, number: int) -> None:
        self.world.back_up(self._replica(number))

    @precondition(lambda self: any(replica.backup for replica in self.world.replicas))
    @rule(number=pick)
    def put_back(self, number: int) -> None:
        self.world.put_back(self._replica(number))

    @precondition(lambda self: len(self.world.replicas) < 4)
    @rule(number=pick)
    def clone(self, number: int) -> None:
        self.world.clone(self._replica(number))

    @precondition(lambda self: not self.world._open)
    @rule()
    def back_up_hub(self) -> None:
        self.world.back_up_hub()

    @precondition(lambda self: self.world.hub_backup is not None)
    @rule()
    def put_back_hub(self) -> None:
        self.world.put_back_hub()

    @rule(number=pick)
    def forget_read(self, number: int) -> None:
        self.world.forget_read(self._replica(number))

    @rule()
    def check(self) -> None:
        self.world.check_quiet()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            try:
                self.world.check_quiet()
            finally:
                self.world.close()


def explore(make: Callable[[str], World], number: int, histories: int, **more: Any) -> int:
    """Try so many histories; return how many there were."""
    found = type("Histories", (Histories,), {"make": staticmethod(make), "count": 0})
    run_state_machine_as_test(
        seed(number)(found),
        settings=settings(
            max_examples=histories,
            database=None,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
            **more,
        ),
    )
    return int(found.count)  # type: ignore[attr-defined]


def test_a_few_histories(make: Callable[[str], World]) -> None:
    explore(make, SEED, 12, stateful_step_count=25, phases=[Phase.generate, Phase.shrink])


@pytest.mark.long
def test_many_histories(make: Callable[[str], World], request: pytest.FixtureRequest) -> None:
    done = explore(make, SEED, HISTORIES, stateful_step_count=40, phases=[Phase.generate, Phase.shrink])
    print(f"{request.node.callspec.id}: {done} histories, seed {SEED}, 0 violations")
