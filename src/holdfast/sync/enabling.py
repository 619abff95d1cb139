"""Setting a sync up on both sides, meeting the hub again, and taking it all down."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from holdfast.core.executor import Executor
from holdfast.core.transaction import Transaction
from holdfast.engines.changes import APPLYING, UNNOTED, Tracked
from holdfast.engines.names import quote_identifier
from holdfast.errors import Error, HubChanged, ReadOnlyError, SyncError
from holdfast.sync import lineage, notes, setup
from holdfast.sync.along import gone_since
from holdfast.sync.merge import POLICIES, Policy
from holdfast.sync.notes import Entry, SharedEntry
from holdfast.sync.replica import (
    Flight,
    flight,
    hold,
    mark_new,
    put_back_table,
    take_for_known,
    take_for_removed,
)
from holdfast.sync.setup import PLAIN, Agreed, Lookup, More, Wish
from holdfast.sync.stage import Side

Pair = tuple[Side, Side]
"""A table here, and at the hub."""


def policy_name(policy: Policy) -> str:
    """How a policy is called in the hub's notes.

    Raises:
        SyncError: if it is none.
    """
    if callable(policy):
        return (
            f"{getattr(policy, '__module__', '?')}.{getattr(policy, '__qualname__', type(policy).__name__)}"
        )
    if policy not in POLICIES:
        raise SyncError(
            f"unknown policy {policy!r}", hint=f"use one of {', '.join(POLICIES)}, or a function of a clash"
        )
    return policy


# Enable


def enable_hub(hub: Executor, policy: Policy, agreed: Sequence[Agreed]) -> str:
    """Make the hub note what changes in the tables; return its epoch. One transaction.

    Raises:
        SyncError: if this role has not the right to, or another replica has set it up otherwise.
    """
    try:
        return _enable_hub(hub, policy, agreed)
    except ReadOnlyError as exc:
        raise SyncError(
            f"this user may not set the sync up at the hub: {exc.message}",
            hint="the owner of the tables can call Sync.enable() once; replicas then need SELECT, INSERT, "
            "UPDATE and DELETE on the tables and on those named hf_sync_*",
        ) from exc


def _enable_hub(hub: Executor, policy: Policy, agreed: Sequence[Agreed]) -> str:
    with Transaction(hub):
        if not notes.is_there(hub, notes.HUB):
            notes.prepare_hub(hub)
        hub.engine.changes.turn(hub.run)
        state = notes.read(hub, notes.HUB)
        if not state:
            state = {
                "epoch": uuid.uuid4().hex,
                "policy": policy_name(policy),
                "server": hub.engine.changes.identity(hub.run),
            }
            notes.write(hub, notes.HUB, state)
        check_policy(state, policy)
        known = notes.shared(hub)
        for table in agreed:
            _share(hub, table, known)
        hub.forget()
    return state["epoch"]


def check_policy(state: Mapping[str, str], policy: Policy) -> None:
    """Refuse a policy besides that of the hub: two replicas would decide the same clash differently."""
    name = policy_name(policy)
    if state.get("policy") != name:
        raise SyncError(
            f"this hub's policy is {state.get('policy')!r}, not {name!r}",
            hint=f"open the sync with policy={state.get('policy')!r}, which all replicas of a hub share",
        )


def _share(hub: Executor, table: Agreed, known: dict[str, SharedEntry]) -> None:
    found = known.get(table.name)
    if found is not None:
        if found.key != table.key:
            raise SyncError(
                f"other replicas sync {table.name!r} by ({', '.join(found.key)})",
                hint=f"give keys={{{table.name!r}: {list(found.key)!r}}}",
            )
        return
    info = hub.describe(table.name)
    number = max((entry.number for entry in known.values()), default=0) + 1
    every = [c.name for c in info.columns if not c.generated and c.name not in table.key]
    columns = every if table.keeps_images else []
    tracked = setup.track(hub, info, number, table.key, columns)
    for statement in hub.engine.changes.feed(hub.run, tracked):
        hub.run(statement)
    hub.run(
        f'INSERT INTO {notes.SHARED} ("number", "name", "key", "columns", "pruned") VALUES (?, ?, ?, ?, 0)',
        (number, table.name, json.dumps(table.key), json.dumps(columns)),
    )
    known[table.name] = SharedEntry(number, table.name, table.key, tuple(columns), 0)


def enable_replica(local: Executor, agreed: Sequence[Agreed], wishes: Mapping[str, Wish], epoch: str) -> str:
    """Make the replica note what changes in the tables; return its id. One transaction."""
    with Transaction(local):
        notes.prepare_replica(local)
        state = notes.read(local, notes.STATE)
        if state.get("epoch") not in (None, epoch):
            raise HubChanged(
                "this database is a replica of another hub, or of this one before it was restored",
                hint="Sync.rebase() joins it to this hub, Sync.disable() ends the sync",
            )
        if not state:
            state = {"id": str(uuid.uuid4()), "seq": "0", "turn": "0"}
        more = {**_more(state), **{name: wish.more for name, wish in wishes.items() if wish.more != PLAIN}}
        notes.write(local, notes.STATE, {**state, "epoch": epoch, "more": json.dumps(more)})
        known = {entry.name: entry for entry in notes.entries(local)}
        for table in agreed:
            wish = wishes[table.name]
            if table.name in known:
                _check_same(local, known[table.name], table, wish)
                continue
            number = max((entry.number for entry in notes.entries(local)), default=0) + 1
            _note_table(local, table, number, wish)
        local.forget()
    return str(state["id"])


def _more(state: Mapping[str, str]) -> dict[str, More]:
    """What else is known of tables, by their names."""
    found = json.loads(state.get("more") or "{}")
    return {
        name: More(
            tuple(
                Lookup(column, table, number, tuple((theirs, own) for theirs, own in match))
                for column, table, number, match in lookups
            ),
            tuple(latest),
            keeps_images,
        )
        for name, (lookups, latest, keeps_images) in found.items()
    }


def _check_same(local: Executor, entry: Entry, table: Agreed, wish: Wish) -> None:
    if wish.can_widen:
        local.run(
            f'UPDATE {notes.TABLES} SET "filter" = ? WHERE "number" = ?',
            (json.dumps(wish.filter), entry.number),
        )
    elif (entry.key, entry.columns, entry.filter) != (table.key, table.columns, wish.filter):
        raise SyncError(
            f"{table.name!r} is synced already, by another key, other columns or another filter",
            hint=f"disable it first: Sync.disable(tables=[{table.name!r}])",
        )


def _note_table(local: Executor, table: Agreed, number: int, wish: Wish) -> None:
    tracked = setup.track(local, local.describe(table.name), number, table.key, table.columns)
    changes = local.engine.changes
    for statement in [*changes.log(local.run, tracked), setup.flight_sql(tracked, changes.numbered[0])]:
        local.run(statement)
    local.run(
        f'INSERT INTO {notes.TABLES} ("number", "name", "key", "columns", "has_all", "filter", "is_new") '
        "VALUES (?, ?, ?, ?, ?, ?, 1)",
        (
            number,
            table.name,
            json.dumps(table.key),
            json.dumps(table.columns),
            int(wish.columns is None),
            None if wish.filter is None else json.dumps(wish.filter),
        ),
    )


def register(
    hub: Executor, replica: str, name: str | None, tables: Iterable[Tracked], positions: Mapping[str, Any]
) -> None:
    """Have the hub know a replica, and keep for it what it has not read yet. One transaction."""
    with Transaction(hub):
        hub.engine.changes.turn(hub.run)
        hub.run(
            f'INSERT INTO {notes.REPLICAS} ("id", "seq", "rounds", "name") VALUES (?, 0, 0, ?) '
            'ON CONFLICT ("id") DO NOTHING',
            (replica, name),
        )
        for table in tables:
            start = positions.get(table.name)
            if start is None:
                start = hub.engine.changes.position(hub.run, table)
            hub.run(
                f'INSERT INTO {notes.CURSORS} ("id", "number", "position") VALUES (?, ?, ?) '
                'ON CONFLICT ("id", "number") DO NOTHING',
                (replica, table.number, start),
            )


def mark_all(side: Side) -> None:
    """Take all rows of a table for new ones, of which the hub knows nothing. One transaction.

    What was removed since changes are noted stays so. A row outside the filter is sent if it was written
    since.
    """
    local, tracked = side.executor, side.tracked
    with Transaction(local):
        hold(local, [side])
        log = quote_identifier(tracked.log)
        here = f"SELECT 1 FROM {side.table} WHERE {side.match(log)}"
        local.run(f'UPDATE {log} SET "had" = 0, "tried" = 0 WHERE EXISTS ({here})')
        text, values = side.where
        mark_new(side, text or "1 = 1", values)
        local.run(f'UPDATE {notes.TABLES} SET "is_new" = 0 WHERE "number" = ?', (tracked.number,))


# Meet again


def pairs_of(local: Executor, hub: Executor) -> tuple[list[Pair], dict[str, str]]:
    """The tables, those that others refer to first, and those that are paused, with the reason."""
    shared, paused = notes.shared(hub), dict[str, str]()
    pairs: dict[str, Pair] = {}
    more = _more(notes.read(local, notes.STATE))
    for entry in notes.entries(local):
        try:
            found = shared.get(entry.name)
            if found is None:
                raise SyncError("the hub does not sync this table", hint="call Sync.enable() again")
            wish = Wish(entry.name, entry.key, entry.columns, entry.filter)
            agreed = setup.agree(local, hub, wish)
            if entry.has_all:
                _refuse_new_columns(local, hub, entry)
            pairs[entry.name] = (
                setup.side(local, agreed, entry.number, entry.filter, more.get(entry.name, PLAIN)),
                setup.side(hub, agreed, found.number, entry.filter, more.get(entry.name, PLAIN)),
            )
        except Error as exc:
            paused[entry.name] = str(exc)
    order = setup.in_order((local, hub), list(pairs))
    return [pairs[name] for name in order], paused


def _refuse_new_columns(local: Executor, hub: Executor, entry: Entry) -> None:
    """A column that came later is synced only when it is asked for; on one side alone it is a difference."""
    here, there = set(local.describe(entry.name).names), set(hub.describe(entry.name).names)
    only = sorted((here ^ there) - {*entry.key, *entry.columns})
    if not only:
        return
    numbered = {
        column.name
        for executor in (local, hub)
        for column in executor.describe(entry.name).columns
        if column.identity or column.generated
    }
    if strange := [name for name in only if name not in numbered]:
        raise SyncError(
            f"only one side has the column {strange[0]!r}",
            hint="add it to the other, or disable the table and enable it again with columns=",
        )


def meet(local: Executor, hub: Executor, policy: Policy) -> str:
    """See that the hub is the one that this replica knows; return the replica's id.

    Raises:
        HubChanged: if it is not, or was restored from a backup.
        SyncError: if the sync was not enabled, or with another policy.
    """
    if not notes.is_there(local, notes.STATE) or not notes.is_there(hub, notes.HUB):
        raise SyncError("the sync is not enabled", hint="call Sync.enable() first")
    state, there = notes.read(local, notes.STATE), notes.read(hub, notes.HUB)
    check_policy(there, policy)
    if there.get("server") != hub.engine.changes.identity(hub.run):
        rotate(hub)
        raise lineage.changed("the hub has been put into another server")
    if state.get("epoch") != there.get("epoch"):
        raise lineage.changed("the hub has begun anew since")
    known = hub.rows(f'SELECT "seq", "hash" FROM {notes.REPLICAS} WHERE "id" = ?', (state["id"],))
    if not known:
        raise lineage.changed("the hub does not know this replica")
    ((seq, token),) = known
    # Others may have seen no more than the backup has, and go on.
    lineage.check(hub, state["id"], lineage.seen(state))
    if _is_copy(state, flight(local), seq, token):
        return new_identity(local, hub)
    return state["id"]


def _is_copy(state: Mapping[str, str], flying: Flight | None, seq: int, token: str | None) -> bool:
    """Whether the hub has had batches of this replica that it does not know of."""
    if flying is not None:
        return seq > flying.seq or (seq == flying.seq and token != flying.token)
    return seq > int(state["seq"]) or (seq > 0 and seq == int(state["seq"]) and token != state.get("last"))


def rotate(hub: Executor) -> None:
    """Begin a new epoch: no replica may go on from where it was. One transaction."""
    with Transaction(hub):
        hub.engine.changes.turn(hub.run)
        server = hub.engine.changes.identity(hub.run)
        notes.write(hub, notes.HUB, {"epoch": uuid.uuid4().hex, "server": server})


def new_identity(local: Executor, hub: Executor) -> str:
    """Become a replica of its own: this database is a copy of one, or was restored from a backup.

    What was on its way goes on under the new name. The hub's changes are read from where this database was,
    or all of them, if the hub has forgotten some since. A row that waits to be sent as a new one may have
    been sent by what this is a copy of, and removed since: it counts as a change of that row. Those of tables
    that are paused are noted, for :func:`meet_healed`.
    """
    replica = _next_name(local)
    pairs, paused = pairs_of(local, hub)
    positions = {entry.name: entry.position for entry in notes.entries(local)}
    shared = [Tracked(name, entry.number, (), ()) for name, entry in notes.shared(hub).items()]
    register(hub, replica, None, (table for table in shared if table.name in positions), positions)
    with Transaction(hub):
        last = lineage.note(hub, replica)
    _mark_new(local, pairs)
    with Transaction(local):
        state = notes.read(local, notes.STATE)
        seq = 1 if state.get("flight") else 0
        seen = {lineage.PUSHED: None, **lineage.noted(lineage.PULLED, last)}
        began = {"seq": seq, "last": None, "next": None, **seen}
        notes.write(local, notes.STATE, {**began, "id": replica, "unmet": json.dumps(list(paused))})
        local.run(f"DELETE FROM {notes.OWN}")
        _take_for_sent(local, pairs)
    return replica


def meet_healed(local: Executor, pairs: Sequence[Pair]) -> None:
    """Do for tables that were paused when this replica took a new name what was done for the others."""
    unmet = json.loads(notes.read(local, notes.STATE).get("unmet") or "[]")
    healed = [pair for pair in pairs if pair[0].tracked.name in unmet]
    if not healed:
        return
    _mark_new(local, healed)
    with Transaction(local):
        left = [name for name in unmet if name not in {ours.tracked.name for ours, _ in healed}]
        notes.write(local, notes.STATE, {"unmet": json.dumps(left)})
        _take_for_sent(local, healed)


def _mark_new(local: Executor, pairs: Sequence[Pair]) -> None:
    """Take the rows of tables that were not sent yet for changes, which are merged."""
    new = {entry.name for entry in notes.entries(local) if entry.is_new}
    for ours, _ in pairs:
        if ours.tracked.name in new:
            mark_all(ours)


def _take_for_sent(local: Executor, pairs: Sequence[Pair]) -> None:
    """Have rows that wait as new ones be changes of what the hub may have had from a copy of this."""
    positions = {entry.name: entry.position for entry in notes.entries(local)}
    for ours, theirs in pairs:
        take_for_removed(ours)
        for key, image in gone_since(theirs, positions[ours.tracked.name] or 0):
            take_for_known(ours, key, image)


def _next_name(local: Executor) -> str:
    """A new name, noted before the hub knows it: what is killed and begins again goes on under the same."""
    with Transaction(local):
        replica = notes.read(local, notes.STATE).get("next") or str(uuid.uuid4())
        notes.write(local, notes.STATE, {"next": replica})
    return replica


def rejoin(local: Executor, hub: Executor, policy: Policy, name: str | None) -> None:
    """Take the hub as it is now for new, and this replica, too. Removals that wait to be sent still do."""
    entries, more = notes.entries(local), _more(notes.read(local, notes.STATE))
    wishes = (Wish(e.name, e.key, e.columns, e.filter, more.get(e.name, PLAIN)) for e in entries)
    agreed = [setup.agree(local, hub, wish) for wish in wishes]
    epoch = enable_hub(hub, policy, agreed)
    # Under the name that it had until now, nothing is read any more.
    let_go(hub, notes.read(local, notes.STATE)["id"])
    pairs, _ = pairs_of(local, hub)
    with Transaction(local):
        for entry in entries:
            put_back_table(local, entry, None)
        for ours, _ in pairs:
            take_for_removed(ours)
        local.run(f'UPDATE {notes.TABLES} SET "is_new" = 1, "position" = NULL')
        for table in (notes.OWN, notes.QUARANTINE):
            local.run(f"DELETE FROM {table}")
        known = dict.fromkeys(("flight", "last", "unmet", lineage.PUSHED, lineage.PULLED))
        state = {**known, "seq": 0, "id": str(uuid.uuid4()), "epoch": epoch}
        notes.write(local, notes.STATE, state)
    register(hub, str(state["id"]), name, (theirs.tracked for _, theirs in pairs), {})


# Disable


def disable_replica(local: Executor, names: Iterable[str] | None) -> list[int]:
    """Let nothing note changes any more; return the numbers of the tables. One transaction."""
    if not notes.is_there(local, notes.STATE):
        return []
    with Transaction(local):
        chosen = [e for e in notes.entries(local) if names is None or e.name in set(names)]
        for entry in chosen:
            try:
                info = local.describe(entry.name)
                tracked = setup.track(local, info, entry.number, entry.key, ())
            except Error:
                tracked = Tracked(entry.name, entry.number, (), ())
            local.engine.changes.forget(local.run, tracked)
            for table in (notes.TABLES, notes.OWN, notes.QUARANTINE):
                local.run(f'DELETE FROM {table} WHERE "number" = ?', (entry.number,))
        if names is None:
            for table in (notes.STATE, notes.TABLES, notes.OWN, notes.QUARANTINE, quote_identifier(APPLYING)):
                local.run(f"DROP TABLE IF EXISTS {table}")
        local.forget()
    return [entry.number for entry in chosen]


def leave(hub: Executor, replica: str, names: Iterable[str] | None = None) -> None:
    """Have the hub keep nothing for a replica any more, or no changes of some tables. One transaction."""
    if names is not None:
        let_go(hub, replica, names)
        return
    with Transaction(hub):
        for table in (notes.CURSORS, notes.ROUNDS, notes.REPLICAS):
            hub.run(f'DELETE FROM {table} WHERE "id" = ?', (replica,))


def let_go(hub: Executor, replica: str, names: Iterable[str] | None = None) -> None:
    """Have the hub keep no changes for a replica until it has read them. One transaction.

    Whoever goes on under its name, or with such a table, reads all rows once the hub has forgotten some.
    """
    shared = notes.shared(hub)
    chosen = shared.keys() if names is None else set(names) & shared.keys()
    with Transaction(hub):
        for name in sorted(chosen):
            hub.run(
                f'DELETE FROM {notes.CURSORS} WHERE "id" = ? AND "number" = ?', (replica, shared[name].number)
            )


def disable_hub(hub: Executor) -> None:
    """Drop all that the hub keeps for its replicas. One transaction."""
    with Transaction(hub):
        for entry in notes.shared(hub).values():
            hub.engine.changes.forget(hub.run, Tracked(entry.name, entry.number, (), ()))
        tables = (notes.HUB, notes.SHARED, notes.REPLICAS, notes.ROUNDS, notes.CURSORS, notes.CONFLICTS)
        for table in (*tables, quote_identifier(UNNOTED)):
            hub.run(f"DROP TABLE IF EXISTS {table}")
        hub.forget()
