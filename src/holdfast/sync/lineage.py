"""What a replica has seen of a hub: a hub that was put back from a backup does not know the last of it.

Each time that a replica takes something from the hub, the hub first notes a number and a token for it, in a
transaction that ends after what is taken was read. A backup that has the token has what was taken, too.
Numbers alone would not tell: after a restore another copy of the replica may have gone as far.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.core.executor import Executor
from holdfast.errors import HubChanged
from holdfast.sync import notes

KEPT = 1_000
"""Rounds of each replica that the hub keeps: a copy of one that is older is taken for what it says it is."""
PUSHED, PULLED = "pushed", "pulled"
"""Under which name a replica notes the last round of a kind. Runs at once may end in either order."""

Seen = tuple[int, str]
"""The number and the token of a round."""


LOST = "the hub has lost what this replica has seen of it"


def changed(what: str) -> HubChanged:
    return HubChanged(
        f"{what}: it was restored from a backup, or is another one",
        hint="Sync.rebase() joins this replica to it as it is now; rows of both sides stay",
    )


def seen(state: Mapping[str, Any]) -> list[Seen]:
    """What a replica's notes say that it has seen."""
    kept = (state.get(name) for name in (PUSHED, PULLED))
    return [(number, token) for number, token in (json.loads(text) for text in kept if text)]


def noted(name: str, last: Seen) -> dict[str, str]:
    """The same for a replica's notes, to be written with what was taken."""
    return {name: json.dumps(last)}


def is_lost(hub: Executor, replica: str, known: Sequence[Seen]) -> bool:
    """Whether the hub lacks a round that a replica has seen."""
    numbers = [number for number, _ in known]
    found = dict(
        hub.rows(
            f'SELECT "number", "token" FROM {notes.ROUNDS} WHERE "id" = ? '
            f'AND "number" IN ({", ".join("?" * len(numbers))})',
            [replica, *numbers],
        )
        if known
        else ()
    )
    lacking = [number for number, token in known if found.get(number) != token]
    return any(number in found or number > _last(hub, replica) - KEPT for number in lacking)


def _last(hub: Executor, replica: str) -> int:
    return int(hub.scalar(f'SELECT "rounds" FROM {notes.REPLICAS} WHERE "id" = ?', (replica,)) or 0)


def check(hub: Executor, replica: str, known: Sequence[Seen]) -> None:
    """See that the hub knows what a replica has seen, in the transaction that goes on from there.

    Raises:
        HubChanged: if it does not.
    """
    if is_lost(hub, replica, known):
        raise changed(LOST)


def note(hub: Executor, replica: str) -> Seen:
    """Have the hub know a round, in the caller's transaction.

    Raises:
        HubChanged: if the hub does not know the replica.
    """
    hub.run(f'UPDATE {notes.REPLICAS} SET "rounds" = "rounds" + 1 WHERE "id" = ?', (replica,))
    number, token = _last(hub, replica), uuid.uuid4().hex
    if not number:
        raise changed(LOST)
    hub.run(
        f'INSERT INTO {notes.ROUNDS} ("id", "number", "token") VALUES (?, ?, ?)', (replica, number, token)
    )
    hub.run(f'DELETE FROM {notes.ROUNDS} WHERE "id" = ? AND "number" <= ?', (replica, number - KEPT))
    return number, token
