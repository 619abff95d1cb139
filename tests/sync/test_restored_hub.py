"""A hub that was put back from a backup is noticed by every replica that has seen more than it has."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sync.world import Fault, Replica, World, kill

Make = Callable[..., World]
LAST = 16
"""No round of these has more commits."""


def _begun(make: Make) -> World:
    world = make()
    world.add(), world.add()
    world.write("r0", "k0", "insert"), world.write("hub", "k1", "insert")
    world.settle()
    return world


def _news(world: World, direction: str) -> None:
    """Something to send, something to take in, or both."""
    if direction != "pull":
        world.write("r0", "k0", "a")
    if direction != "push":
        world.write("hub", "k1", "a"), world.insert_many("hub", 2)


def _end(world: World) -> None:
    try:
        world.check_quiet()
    finally:
        world.close()


@pytest.mark.parametrize("make", ["sqlite"], indirect=True)
@pytest.mark.parametrize("direction", ["both", "push", "pull"])
def test_a_replica_was_killed_within_its_round(make: Make, direction: str) -> None:
    _killed_at_each_commit(make, direction)


@pytest.mark.long
@pytest.mark.parametrize("make", ["postgres"], indirect=True)
@pytest.mark.parametrize("direction", ["both", "push", "pull"])
def test_a_replica_of_a_server_was_killed_within_its_round(make: Make, direction: str) -> None:
    _killed_at_each_commit(make, direction)


def _killed_at_each_commit(make: Make, direction: str) -> None:
    for commit in range(1, LAST):
        world = _begun(make)
        world.back_up_hub()
        _news(world, direction)
        report = world.round(world.replicas[0], Fault(commit, "after", kill), direction=direction)
        world.put_back_hub()
        _end(world)
        if report is not None:
            return
    raise AssertionError("no round ended")


def _back_up_then_kill(world: World, commit: int, write: Callable[[], object]) -> Callable[[], None]:
    """A backup is made, somebody writes, and later in the round the replica is killed."""

    def happen() -> None:
        world.back_up_hub()
        write()
        if commit:
            world.commits.fault = Fault(commit, "after", kill)

    return happen


def _around(make: Make, backup: int, killed: int, direction: str) -> bool:
    """Whether the round had as many commits."""
    world = _begun(make)
    _news(world, direction)
    reached: list[int] = []

    def write() -> None:
        reached.append(1)
        world.write("hub", "k1", "b"), world.insert_many("hub", 1)

    world.round(world.replicas[0], Fault(backup, "after", _back_up_then_kill(world, killed, write)))
    if reached:
        world.round(world.replicas[0], Fault(killed + 1, "after", kill))
        world.put_back_hub()
    _end(world)
    return bool(reached)


@pytest.mark.parametrize("make", ["sqlite"], indirect=True)
def test_the_backup_was_made_within_the_round(make: Make) -> None:
    for backup in range(1, LAST):
        if not _around(make, backup, 0, "both"):
            break
    assert backup > 3


@pytest.mark.long
@pytest.mark.parametrize("direction", ["both", "push", "pull"])
def test_the_backup_was_made_and_the_replica_killed_within_the_round(make: Make, direction: str) -> None:
    for backup in range(1, LAST):
        for killed in range(backup + 1, LAST):
            _around(make, backup, killed, direction)


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_a_copy_of_the_replica_has_moved_the_restored_hub_on(make: Make, rounds: int) -> None:
    """As many rounds and batches as before, but others: numbers alone could not tell."""
    world = _begun(make)
    world.clone(world.replicas[0])
    one, copy = world.replicas[0], world.replicas[-1]
    world.back_up_hub()
    _rounds(world, one, 2)
    world.put_back_hub()
    _rounds(world, copy, rounds)
    _end(world)


def _rounds(world: World, replica: Replica, count: int) -> None:
    for _ in range(count):
        world.write(replica.name, "k0", "a"), world.write("hub", "k1", "a")
        world.round(replica)


def test_another_replica_has_moved_the_restored_hub_on(make: Make) -> None:
    world = _begun(make)
    one, other = world.replicas
    world.back_up_hub()
    world.insert_many("hub", 2)
    world.round(one, Fault(4, "after", kill))
    assert len(world.rows(one.place)) == 4
    world.put_back_hub()
    _rounds(world, other, 3)
    _end(world)


def test_what_a_repeated_answer_told(make: Make) -> None:
    """The backup has the batch, but not what was made of the row until its answer was asked for again."""
    world = _begun(make)
    one, _ = world.replicas
    world.write("r0", "k0", "a")
    world.round(one, Fault(2, "after", kill))
    world.back_up_hub()
    world.write("hub", "k0", "b")
    world.round(one, direction="push")
    world.put_back_hub()
    _end(world)


def test_a_first_copy_that_the_hub_has_lost(make: Make) -> None:
    world = make()
    one, _ = world.add(), world.add()
    world.write("r0", "k0", "insert")
    world.back_up_hub()
    world.round(one, direction="push")
    world.put_back_hub()
    _end(world)


def test_a_replica_that_has_seen_no_more_goes_on(make: Make) -> None:
    """One that never saw more than the backup has need not begin anew."""
    world = _begun(make)
    world.back_up_hub()
    world.write("hub", "k2", "insert")
    world.put_back_hub()
    world.write("r0", "k0", "a")
    try:
        assert world.round(world.replicas[0]) is not None, "the hub is the one that it knows"
    finally:
        _end(world)


@pytest.mark.parametrize("is_flying", [True, False])
def test_what_waits_when_a_restored_hub_is_joined(make: Make, is_flying: bool) -> None:
    """A row that was removed here and not told yet stays so, and one outside the filter arrives."""
    world = make()
    one = world.add(is_filtered=True)
    for key in ("k0", "k1", "k2"):
        world.write("hub", key, "insert")
    world.settle()
    world.back_up_hub()
    world.insert_many("hub", 4)
    world.round(one)
    (key, *_) = sorted(world.rows(one.place))
    world.write("r0", key, "delete"), world.insert_many("r0", 7)
    if is_flying:
        world.round(one, Fault(1, "after", kill), direction="push")
    new = world.rows(one.place).keys()
    assert len(one.kept(world.rows(one.place))) < len(new)
    world.put_back_hub()
    world.settle()
    try:
        found = world.rows(world.hub).keys()
        assert key not in found
        assert found >= new
    finally:
        _end(world)


@pytest.mark.parametrize("make", ["sqlite"], indirect=True)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_while_it_joins_a_restored_hub(make: Make, moment: str) -> None:
    for commit in range(1, 9):
        world = _begun(make)
        one, _ = world.replicas
        world.back_up_hub()
        world.insert_many("hub", 2)
        world.round(one)
        world.put_back_hub()
        world.write("r0", "k0", "a"), world.insert_many("r0", 2)
        world.round(one, Fault(commit, moment, kill))
        world.write("r0", "k1", "b")
        _end(world)


def test_only_who_has_seen_more_joins_it_anew(make: Make) -> None:
    """One replica that finds the hub put back does not have the others begin anew."""
    world = _begun(make)
    one, other = world.replicas
    world.back_up_hub()
    world.write("hub", "k2", "insert")
    world.round(one)
    world.put_back_hub()
    world.write("r0", "k0", "a"), world.write("r1", "k1", "b")
    try:
        assert world.round(one) is None, "it has seen more"
        assert world.round(other) is not None
        assert world.round(one) is not None
    finally:
        _end(world)
