"""A replica that was put back from a backup, or copied, neither brings back nor loses anything."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sync.world import Fault, World, kill

Make = Callable[..., World]


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize("changed", [True, False])
def test_a_row_that_waited_when_the_backup_was_made(make: Make, is_new: bool, changed: bool) -> None:
    """It was sent after that, and removed by another replica since; all have read that by now."""
    world = make()
    one, other = world.add(), world.add()
    if not is_new:
        world.round(one)
    world.write("r0", "k0", "insert")
    world.back_up(one)
    if changed:
        world.write("r0", "k0", "a")
    world.round(one), world.round(other)
    world.write("r1", "k0", "delete")
    world.settle()
    world.put_back(one)
    # What is new since then is kept.
    world.write("r0", "k1", "insert")
    try:
        world.check_quiet()
        assert list(world.rows(world.hub)) == ["k1"]
    finally:
        world.close()


@pytest.mark.parametrize("is_new", [True, False])
def test_a_table_that_is_paused_while_the_backup_takes_a_name(make: Make, is_new: bool) -> None:
    """Once it is healed, it is treated as the others were: nothing comes back, and what is new is kept."""
    world = make()
    one, other = world.add(), world.add()
    if not is_new:
        world.round(one)
    world.write("r0", "k0", "insert")
    world.write("r0", "k2", "insert")
    world.back_up(one)
    world.round(one), world.round(other)
    world.write("r1", "k0", "delete")
    world.settle()
    world.put_back(one)
    one.place.run("ALTER TABLE things ADD COLUMN more text")
    for _ in range(2):
        report = world.round(one)
        assert list(report.paused) == ["things"]
    world.write("r1", "k2", "delete")
    world.round(other), world.round(other)
    world.write("r0", "k1", "insert")
    one.place.run("ALTER TABLE things DROP COLUMN more")
    try:
        for commit in range(1, 30):
            if world.round(one, Fault(commit, "after", kill)) is not None:
                break
        assert commit > 2
        world.check_quiet()
        assert list(world.rows(world.hub)) == ["k1"]
        assert world.hub.run("SELECT count(*) FROM hf_sync_cursors") == [(3,)]
    finally:
        world.close()


def test_two_copies_with_the_same_row_waiting(make: Make) -> None:
    world = make()
    one = world.add()
    world.write("r0", "k0", "insert")
    world.clone(one)
    world.round(one)
    world.write("r0", "k0", "delete")
    world.write("r1", "k1", "insert")
    world.round(one)
    try:
        world.check_quiet()
        assert list(world.rows(world.hub)) == ["k1"]
    finally:
        world.close()


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize("policy", ["hub", "delete_wins"])
def test_a_row_that_waited_is_removed_once_the_backup_is_put_back(
    make: Make, policy: str, is_new: bool
) -> None:
    """The file takes it for a row that nobody else has, and the hub has it: the removal is told."""
    world = make(policy)
    one, _ = world.add(), world.add()
    if not is_new:
        world.round(one)
    world.write("r0", "k0", "insert")
    world.back_up(one)
    world.settle()
    world.put_back(one)
    world.write("r0", "k0", "delete")
    try:
        world.check_quiet()
        assert list(world.rows(world.hub)) == (["k0"] if policy == "hub" else [])
    finally:
        world.close()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_copy_that_is_killed_while_it_takes_a_name(make: Make, moment: str) -> None:
    """However often it begins again, the hub knows one more replica, and not some that never come back."""
    world = make()
    one = world.add()
    world.round(one)
    world.back_up(one)
    world.write("r0", "k0", "insert")
    world.round(one)
    world.put_back(one)
    try:
        for commit in range(1, 30):
            if world.round(one, Fault(commit, moment, kill)) is not None:
                break
        assert commit > 3
        world.check_quiet()
        assert world.hub.run("SELECT count(*) FROM hf_sync_replicas") == [(2,)]
        assert world.hub.run("SELECT count(*) FROM hf_sync_cursors") == [(2,)]
    finally:
        world.close()


def test_a_row_that_was_never_sent_is_each_copys_own(make: Make) -> None:
    """Removed from one of two copies, it is still the other's, and comes back with it."""
    world = make()
    one = world.add()
    world.write("r0", "k0", "insert")
    world.clone(one)
    copy = world.replicas[-1]
    world.write(copy.name, "k0", "delete")
    world.round(copy), world.round(one)
    try:
        world.check_quiet()
        assert list(world.rows(world.hub)) == list(world.rows(copy.place)) == ["k0"]
    finally:
        world.close()
