"""Short histories that go wrong when one rule of the protocol is left out: each mutant is found by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from holdfast.sync import Clash, hub, lineage, replica, round
from holdfast.sync.merge import Merged
from sync.world import Fault, Violation, World, kill, lose

Make = Callable[..., World]


# Histories. Each holds in the code as it is.


def two_writers(make: Make) -> None:
    """Two replicas change one column, each from what both have seen."""
    world = _with_a_row(make)
    world.write("r0", "k0", "a"), world.write("r1", "k0", "a")
    _end(world)


def a_writer_before_the_pull(make: Make) -> None:
    """A row is changed here, in a column or two, while the hub's change of it is on its way."""
    world = _with_a_row(make)
    world.write("r0", "k0", "a")
    world.round(world.replicas[0])
    world.write("r1", "k0", "b")
    world.round(world.replicas[1], direction="pull")
    _end(world)


def a_writer_before_the_acknowledgement(make: Make) -> None:
    """A row is changed once more while what it was before is on its way."""
    world = _with_a_row(make)
    world.write("r0", "k0", "a")
    world.round(world.replicas[0], Fault(3, "after", lambda: _wrote(world, "r0", "k0", "b")))
    _end(world)


def two_runs_of_one_replica(make: Make) -> None:
    """The slower of two runs acknowledges when a later batch is on its way."""
    world = _with_a_row(make)
    one, _ = world.replicas

    def meanwhile() -> None:
        # All of a run, and half of another one, whose batch is on its way.
        world.round(one, runner=1)
        _wrote(world, "r0", "k0", "a")
        with world.commits.during(Fault(1, "after", kill)):
            world.round(one, world.commits.fault, runner=1)

    world.write("r0", "k0", "b")
    world.round(one, Fault(3, "after", meanwhile))
    _end(world)


def a_removed_row(make: Make) -> None:
    world = _with_a_row(make)
    world.write("r0", "k0", "delete")
    _end(world)


def a_crash_after_the_push(make: Make) -> None:
    """The hub has a batch, the replica does not know, and goes on writing."""
    world = _with_a_row(make)
    world.write("r0", "k0", "a")
    world.round(world.replicas[0], Fault(2, "after", kill))
    world.write("r0", "k0", "a")
    _end(world)


def a_long_transaction_of_the_hub(make: Make) -> None:
    """A transaction that began early commits after others have been read."""
    world = _with_a_row(make)
    world.open()
    world.write("hub", "k0", "a")
    world.round(world.replicas[0])
    _end(world)


def a_lost_reply(make: Make) -> None:
    """A batch comes twice, and the policy puts values together."""
    world = _with_a_row(make, policy=joined)
    world.write("hub", "k0", "a"), world.write("r0", "k0", "a")
    world.round(world.replicas[0], Fault(2, "after", lose))
    (value,) = [row["a"] for row in world.rows(world.hub).values()]
    world.close()
    parts = str(value).split("+")
    if len(parts) != len(set(parts)):
        raise Violation(f"a batch was applied twice: {value}")


def a_restored_hub(make: Make) -> None:
    """The replica has taken rows in that the backup does not have, and was killed before it told."""
    world = _with_a_row(make)
    world.back_up_hub()
    world.write("hub", "k0", "a"), world.write("hub", "k1", "insert")
    world.round(world.replicas[0], Fault(4, "after", kill))
    assert "k1" in world.rows(world.replicas[0].place)
    world.put_back_hub()
    _end(world)


def a_restored_hub_and_a_copy(make: Make) -> None:
    """A copy of the replica has moved the hub on, as far as it was."""
    world = _with_a_row(make)
    world.clone(world.replicas[0])
    world.back_up_hub()
    world.write("hub", "k0", "a"), world.write("hub", "k1", "insert")
    world.round(world.replicas[0])
    world.put_back_hub()
    world.write("hub", "k0", "b"), world.write("hub", "k2", "insert")
    world.round(world.replicas[-1])
    _end(world)


def joined(clash: Clash) -> Any:
    """A policy that is not the same when it is asked twice."""
    if clash.ours is None or clash.hub is None:
        return clash.hub
    return {**clash.hub, **{name: f"{clash.hub[name]}+{clash.ours[name]}" for name in clash.columns}}


def _with_a_row(make: Make, policy: Any = "hub") -> World:
    world = make(policy)
    for _ in range(2):
        world.add()
    world.write("r0", "k0", "insert")
    world.settle()
    return world


def _wrote(world: World, *what: str) -> None:
    assert world.write(*what)


def _end(world: World) -> None:
    try:
        world.check_quiet()
    finally:
        world.close()


# Mutants


def blind_overwrite(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(hub, "merge_row", lambda base, new, current, *rest: Merged(new))


def clobbering_pull(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(replica, "rebase_row", lambda base, current, incoming: (incoming, incoming))


def blind_acknowledge(patch: pytest.MonkeyPatch) -> None:
    """The marks of all rows that were sent go, also of those that were changed since."""
    right = replica.acknowledge

    def wrong(local: Any, sides: Any, *given: Any) -> Any:
        for side in sides:
            local.run(f'DELETE FROM "{side.tracked.log}"')
        return right(local, sides, *given)

    patch.setattr(replica, "acknowledge", wrong)


def whichever_batch(patch: pytest.MonkeyPatch) -> None:
    """What is acknowledged is not looked at."""
    patch.setattr(replica, "is_in_flight", lambda local, flight: True)


def hard_deletes(patch: pytest.MonkeyPatch) -> None:
    """The feed does not tell of rows that are gone."""
    right = hub.read_feed

    def wrong(reading: Any, stop: int) -> Iterator[Any]:
        width = reading.side.width
        for columns in right(reading, stop):
            kept = [row for row in zip(*columns, strict=True) if row[width]]
            if kept:
                yield [list(column) for column in zip(*kept, strict=True)]

    patch.setattr(hub, "read_feed", wrong)


def no_frozen_batch(patch: pytest.MonkeyPatch) -> None:
    """What is sent is what the rows are when it is sent."""
    right = round.push

    def wrong(rnd: Any, flight: Any) -> Any:
        for side in rnd.sides:
            log, flying, keys = side.tracked.log, side.tracked.flight, side.tracked.keys
            names = zip(side.tracked.notes("v"), side.tracked.others, strict=True)
            sets = ", ".join(f'"{v}" = {side.table}."{column.name}"' for v, column in names)
            quoted = f'"{flying}"'
            rnd.local.run(f"UPDATE {quoted} SET {sets} FROM {side.table} WHERE {side.match(quoted)}")
            rnd.local.run(f'DELETE FROM "{log}" WHERE {keys[0]} IN (SELECT {keys[0]} FROM {quoted})')
        return right(rnd, flight)

    patch.setattr(round, "push", wrong)


def sequence_cursor(patch: pytest.MonkeyPatch) -> None:
    """The feed is read up to the last position that is seen."""

    def wrong(side: Any) -> int:
        return int(side.executor.scalar(f'SELECT max("position") FROM "{side.tracked.feed}"') or 0) + 1

    patch.setattr(hub, "position", wrong)


def no_dedupe(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(hub, "was_applied", lambda hub, replica, batch: False)


def whatever_hub(patch: pytest.MonkeyPatch) -> None:
    """The hub is not asked whether it knows what a replica has seen."""
    patch.setattr(lineage, "is_lost", lambda hub, replica, known: False)


def rounds_without_tokens(patch: pytest.MonkeyPatch) -> None:
    """Rounds are counted, and nothing else tells them apart."""
    right = lineage.seen
    patch.setattr(lineage, "seen", lambda state: [(number, "") for number, _ in right(state)])
    noted = lineage.is_lost

    def wrong(hub: Any, replica: str, known: Any) -> bool:
        hub.run("UPDATE hf_sync_rounds SET token = ''")
        return noted(hub, replica, known)

    patch.setattr(lineage, "is_lost", wrong)


MUTANTS = [
    (blind_overwrite, two_writers),
    (clobbering_pull, a_writer_before_the_pull),
    (blind_acknowledge, a_writer_before_the_acknowledgement),
    (whichever_batch, two_runs_of_one_replica),
    (hard_deletes, a_removed_row),
    (no_frozen_batch, a_crash_after_the_push),
    (sequence_cursor, a_long_transaction_of_the_hub),
    (no_dedupe, a_lost_reply),
    (whatever_hub, a_restored_hub),
    (rounds_without_tokens, a_restored_hub_and_a_copy),
]


@pytest.mark.parametrize(("mutant", "history"), MUTANTS, ids=lambda each: each.__name__)
def test_a_mutant_is_found(
    mutant: Callable[[pytest.MonkeyPatch], None],
    history: Callable[[Make], None],
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    if mutant is sequence_cursor and "sqlite" in request.node.callspec.id:
        pytest.skip("SQLite has one writer at a time, so that its numbers are in the order of commits")
    history(make)
    mutant(monkeypatch)
    with pytest.raises(Violation):
        history(make)
