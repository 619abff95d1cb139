"""One round between a replica and its hub. Each step is one transaction, after which anything may crash."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from holdfast.core.executor import Executor
from holdfast.core.retry import delays
from holdfast.core.transaction import Transaction
from holdfast.errors import (
    CommitUnknown,
    ConnectionFailed,
    ConnectionLost,
    DatabaseBusy,
    SerializationFailure,
)
from holdfast.sync import enabling, hub, lineage, notes, replica
from holdfast.sync.enabling import Pair
from holdfast.sync.hub import Answer, Cloned, Reading, Sender, Sent
from holdfast.sync.merge import Policy
from holdfast.sync.notes import Entry
from holdfast.sync.parents import only_here
from holdfast.sync.replica import Flight
from holdfast.sync.report import Report
from holdfast.sync.stage import Side

T = TypeVar("T")
BATCH = 20_000
"""Rows of one batch: what a hub applies in one transaction."""
PATIENCE = 30.0


@dataclass
class Round:
    """What a round works with: the two databases, the replica's id, and the tables in their order."""

    local: Executor
    hub: Executor
    policy: Policy
    id: str
    pairs: Sequence[Pair]
    report: Report
    progress: Callable[[int], None] | None = None

    def count(self, *, pushed: int = 0, pulled: int = 0, conflicts: int = 0) -> None:
        """Add to the report what was done."""
        self.report.pushed += pushed
        self.report.pulled += pulled
        self.report.conflicts += conflicts
        if self.progress is not None and pushed + pulled:
            self.progress(pushed + pulled)

    @property
    def sides(self) -> list[Side]:
        return [local for local, _ in self.pairs]


# The four steps


def freeze(rnd: Round, turn: int) -> Flight | None:
    """Step 1, here: put changed rows on their way."""
    return replica.freeze(rnd.local, rnd.sides, turn, BATCH)


def push(rnd: Round, flight: Flight) -> Answer:
    """Step 2, at the hub: have a batch applied once."""
    with Transaction(rnd.local, isolation="REPEATABLE READ", read_only=True):
        sent = [
            Sent(theirs, replica.in_flight(ours)) for ours, theirs in rnd.pairs if replica.is_flying(ours)
        ]
        state = notes.read(rnd.local, notes.STATE)
        if state["id"] != rnd.id:
            # Another run has found that this is a copy.
            raise Cloned
        sender = Sender(rnd.id, lineage.seen(state), [theirs for _, theirs in rnd.pairs])
        return hub.receive(rnd.hub, sender, flight.batch, sent, rnd.policy)


def acknowledge(rnd: Round, flight: Flight, answer: Answer) -> int | None:
    """Step 3, here: take in what became of it, and let it go."""
    return replica.acknowledge(rnd.local, rnd.sides, flight, answer, partial(only_here, rnd.pairs))


def pull(rnd: Round) -> int:
    """Step 4, here: take in what others have changed, as one snapshot of the hub has it.

    The hub knows what is taken in before it is kept here, by a transaction that ends after the snapshot.
    """
    with ExitStack() as here:
        with Transaction(rnd.hub, isolation="REPEATABLE READ", read_only=True):
            entries = {entry.name: entry for entry in notes.entries(rnd.local)}
            readings = _readings(rnd, entries)
            todo = {ours: found for ours, found in readings.items() if hub.has_news(*found)}
            seen = {ours: stop for ours, (reading, stop) in readings.items() if ours in todo or reading.own}
            if not seen:
                return 0
            here.enter_context(Transaction(rnd.local))
            replica.hold_steps(rnd.local)
            # Another run may have gone on meanwhile; what was read here would be older than what it took in.
            state = notes.read(rnd.local, notes.STATE)
            is_another = state.get("flight") or state["id"] != rnd.id
            if is_another or notes.entries(rnd.local) != list(entries.values()):
                return 0
            written = take_in(rnd, todo) if todo else 0
            move_on(rnd, seen)
        note_pulled(rnd, lineage.seen(state))
    return written


def note_pulled(rnd: Round, seen: Sequence[lineage.Seen]) -> None:
    """Have both sides know what was read of the hub; here in the caller's transaction."""
    with Transaction(rnd.hub):
        lineage.check(rnd.hub, rnd.id, seen)
        last = lineage.note(rnd.hub, rnd.id)
    notes.write(rnd.local, notes.STATE, lineage.noted(lineage.PULLED, last))


def take_in(rnd: Round, todo: dict[Side, tuple[Reading, int]]) -> int:
    """Take in what is read, in the caller's transaction."""
    replica.hold(rnd.local, list(todo))
    incoming = {ours: partial(hub.read_feed, reading, stop) for ours, (reading, stop) in todo.items()}
    whole = [ours for ours, (reading, _) in todo.items() if reading.start is None]
    return replica.take_in(rnd.local, incoming, partial(only_here, rnd.pairs), whole=whole)


def move_on(rnd: Round, seen: dict[Side, int]) -> None:
    """Note how far the feed was read, in the transaction that took it in."""
    for ours, stop in seen.items():
        number = ours.tracked.number
        rnd.local.run(f'UPDATE {notes.TABLES} SET "position" = ? WHERE "number" = ?', (stop, number))
        rnd.local.run(f'DELETE FROM {notes.OWN} WHERE "number" = ? AND "high" < ?', (number, stop))


def _readings(rnd: Round, entries: dict[str, Entry]) -> dict[Side, tuple[Reading, int]]:
    """What is to be read of each table, and up to where the hub's snapshot has it."""
    shared = notes.shared(rnd.hub)
    return {
        ours: (
            _reading(rnd, ours, theirs, entries, shared[theirs.tracked.name].pruned),
            hub.position(theirs),
        )
        for ours, theirs in rnd.pairs
    }


def _reading(rnd: Round, ours: Side, theirs: Side, entries: dict[str, Entry], pruned: int) -> Reading:
    entry = entries[ours.tracked.name]
    start = entry.position
    if start is not None and start < pruned:
        # The hub has forgotten changes that were not read: all is compared.
        start = None
    own = rnd.local.rows(f'SELECT "low", "high" FROM {notes.OWN} WHERE "number" = ?', (entry.number,))
    again = rnd.local.rows(
        f'SELECT "key" FROM {notes.QUARANTINE} WHERE "number" = ? AND "direction" = \'pull\' LIMIT 1000',
        (entry.number,),
    )
    return Reading(theirs, start, own, [notes.key_of(text) for (text,) in again])


# All of them


def send_all(rnd: Round) -> None:
    """Send what has changed, batch by batch; what was refused is tried again once all have been sent."""
    turn = int(notes.read(rnd.local, notes.STATE)["turn"])
    finish_flight(rnd)
    progress = True
    while progress:
        turn, progress = turn + 1, False
        while (flight := again(rnd, lambda at=turn: freeze(rnd, at))) is not None:  # type: ignore[misc]
            progress = send(rnd, flight) or progress
        if not replica.is_waiting(rnd.local, rnd.sides):
            return


def finish_flight(rnd: Round) -> None:
    """Send what an earlier round left on its way."""
    flight = replica.flight(rnd.local)
    if flight is not None:
        send(rnd, flight)


def send(rnd: Round, flight: Flight) -> bool:
    """Push a batch and acknowledge it; return whether any row got in."""
    try:
        answer = again(rnd, lambda: push(rnd, flight))
    except Cloned:
        known = notes.read(rnd.local, notes.STATE)["id"]
        rnd.id = enabling.new_identity(rnd.local, rnd.hub) if known == rnd.id else known
        found = replica.flight(rnd.local)
        if found is None:
            return True
        flight = found
        answer = again(rnd, lambda: push(rnd, flight))
    pulled = again(rnd, lambda: acknowledge(rnd, flight, answer)) or 0
    rnd.count(pushed=answer.rows, pulled=pulled, conflicts=answer.conflicts)
    return answer.rows > 0 or answer.is_repeated


def fetch_all(rnd: Round) -> None:
    """Pull, tell the hub how far this replica has read, and have it forget what all have read."""
    rnd.count(pulled=again(rnd, lambda: pull(rnd)))
    if tell(rnd):
        again(rnd, lambda: forget_read(rnd))


def tell(rnd: Round) -> bool:
    """Tell the hub how far this replica has read; false if it knows."""
    entries = {entry.name: entry for entry in notes.entries(rnd.local)}
    known = dict(rnd.hub.rows(f'SELECT "number", "position" FROM {notes.CURSORS} WHERE "id" = ?', (rnd.id,)))
    news = {
        theirs.tracked.number: entries[theirs.tracked.name].position
        for _, theirs in rnd.pairs
        if entries[theirs.tracked.name].position not in (None, known.get(theirs.tracked.number))
    }
    if not news:
        return False
    again(rnd, lambda: _tell(rnd, news))
    return True


def _tell(rnd: Round, news: dict[int, int | None]) -> None:
    with Transaction(rnd.hub):
        for number, position in news.items():
            rnd.hub.run(
                f'UPDATE {notes.CURSORS} SET "position" = ? WHERE "id" = ? AND "number" = ?',
                (position, rnd.id, number),
            )


def forget_read(rnd: Round) -> None:
    """Have the hub forget changes that every replica has read."""
    hub.prune(rnd.hub, [theirs for _, theirs in rnd.pairs])


def again(rnd: Round, step: Callable[[], T]) -> T:
    """Do a step, again if the database was busy or away: none does anything twice."""
    waiting = delays(PATIENCE, longest=1.0)
    tries = 5
    while True:
        try:
            return step()
        except (SerializationFailure, DatabaseBusy, ConnectionLost, CommitUnknown, ConnectionFailed) as exc:
            tries -= 1
            is_final = isinstance(exc, ConnectionFailed) and not exc.is_temporary
            pause = None if is_final or tries <= 0 else next(waiting, None)
            if pause is None:
                raise
            time.sleep(pause)


def has_quarantined(local: Executor) -> int:
    return int(local.scalar(f"SELECT count(*) FROM {notes.QUARANTINE}") or 0)
