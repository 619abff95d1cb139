"""The face of a sync: two databases, and what is done with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from holdfast.core import rows as row_verbs
from holdfast.core.executor import Executor
from holdfast.core.transaction import Transaction
from holdfast.errors import Error, InvalidQuery, NotFoundError, SyncError, TransactionError, did_you_mean
from holdfast.sync import enabling, families, first, hub, notes, replica, round, setup
from holdfast.sync.images import of_text
from holdfast.sync.merge import Image, Policy
from holdfast.sync.report import Conflict, Plan, Quarantined, Report, Status
from holdfast.sync.setup import Wish

if TYPE_CHECKING:
    from holdfast.database import Database

DIRECTIONS = ("both", "push", "pull")
_OF_ONE = {"alembic_version", "hf_embeddings"}
"""Tables that are true of one database alone: how far it was migrated, and vectors that can be made anew."""
_IMAGES = '"base", "ours", "hub", "result"'
_COLUMNS = f'"id", "at", "replica", "table_name", "key", "kind", "columns", {_IMAGES}, "resolved"'


class Sync:
    """Two-way sync of tables between a database of one's own and a hub that many share.

    ``local`` is a replica: it may be changed while the hub is away, by any program. ``hub`` is where
    replicas meet; it may be changed directly as well. Either is of either engine. ``tables=None`` means all
    tables, and later those that were enabled; the name of a memory stands for its tables. A change of one
    side goes to the other; where both have changed the same column of a row, ``policy`` decides, and what is
    not kept is listed by :meth:`conflicts`:

    - ``"hub"`` (default): the hub's value stays.
    - ``"delete_wins"``: the same, but for a row that either side has removed: it goes.
    - a function of a :class:`Clash`, which returns the row as it is to be, or ``None`` for none.

    All replicas of a hub have the same policy. No clock is asked.

    ``where`` keeps a replica to some rows of a table, as text, ``(text, params)`` or a dict: a row that
    leaves the filter goes from the replica and stays at the hub. ``columns`` keeps it to some columns.
    ``keys`` names the columns by which the rows of a table are told apart, where that is not the primary key.

    >>> sync = holdfast.sync.Sync(holdfast.connect("laptop.db"), holdfast.connect("hub.db"))
    """

    def __init__(
        self,
        local: Database,
        hub: Database,
        tables: Iterable[str] | None = None,
        policy: Policy = "hub",
        *,
        where: Mapping[str, Any] | None = None,
        columns: Mapping[str, Sequence[str]] | None = None,
        keys: Mapping[str, str | Sequence[str]] | None = None,
        name: str | None = None,
    ) -> None:
        if isinstance(tables, str):
            raise InvalidQuery("tables must be a list of names", hint="tables=['runs', 'notes']")
        enabling.policy_name(policy)
        self._local: Executor = local._executor
        self._hub: Executor = hub._executor
        if self._local is self._hub or self._local.target == self._hub.target:
            raise SyncError("both sides are the same database", hint="give a local one and a hub")
        self._tables = None if tables is None else list(dict.fromkeys(tables))
        self._policy, self._name = policy, name
        self._where, self._columns, self._keys = where or {}, columns or {}, keys or {}

    # Setting up

    @property
    def is_enabled(self) -> bool:
        """Whether changes are noted here."""
        return notes.is_there(self._local, notes.STATE)

    def enable(self, *, create: bool = True) -> list[str]:
        """Note what changes from now on, on both sides; return the tables that are synced.

        Triggers do it, so that changes of every program count. A table that one side lacks is created there
        unless ``create`` is false. Nothing is sent yet: that is :meth:`run`. Doing it twice is harmless, and
        adds tables.

        Raises:
            SyncError: if a table cannot be synced, with the way out; nothing is set up then.
            HubChanged: if this database is a replica of another hub.
        """
        self._outside()
        names, others = families.prepare(
            self._local,
            self._hub,
            self._wanted(),
            {name: _filter(given) for name, given in self._where.items()},
            create=create,
        )
        if create:
            first.create_missing(self._local, self._hub, names)
        setup.in_order((self._local, self._hub), names)
        wishes = {name: others.get(name) or self._wish(name) for name in names}
        agreed = [setup.agree(self._local, self._hub, wish) for wish in wishes.values()]
        setup.check_references((self._local, self._hub), agreed)
        epoch = enabling.enable_hub(self._hub, self._policy, agreed)
        replica_id = enabling.enable_replica(self._local, agreed, wishes, epoch)
        pairs, _ = enabling.pairs_of(self._local, self._hub)
        enabling.register(self._hub, replica_id, self._name, (theirs.tracked for _, theirs in pairs), {})
        return names

    def _wanted(self) -> list[str]:
        if self._tables is not None:
            return self._tables
        here, there = (set(e.engine.catalog.tables(e.run)) for e in (self._local, self._hub))
        if not here | there:
            raise SyncError("there are no tables on either side", hint="create some first")
        return sorted((here | there) - _OF_ONE)

    def _wish(self, name: str) -> Wish:
        key, columns = self._keys.get(name), self._columns.get(name)
        return Wish(
            name,
            (key,) if isinstance(key, str) else None if key is None else tuple(key),
            None if columns is None else tuple(columns),
            _filter(self._where.get(name)),
        )

    def disable(self, tables: Iterable[str] | None = None, *, hub: bool = False) -> None:
        """Note changes no more, here; without ``tables`` the hub forgets this replica, too.

        Rows stay as they are on both sides. ``hub=True`` ends the sync for all replicas: the hub notes no
        change any more, and its list of conflicts goes. Where the hub cannot be reached, it is ended here.

        Raises:
            SyncError: if one of the tables is not synced.
        """
        self._outside()
        chosen = self._chosen(tables)
        try:
            # First, so that what is killed between the two can be done again: the name is known here still.
            self._leave(chosen, hub=hub)
        except Error:
            enabling.disable_replica(self._local, chosen)
            raise
        enabling.disable_replica(self._local, chosen)

    def _chosen(self, tables: Iterable[str] | None) -> list[str] | None:
        if tables is None:
            return None
        if isinstance(tables, str):
            raise InvalidQuery("tables must be a list of names", hint="tables=['runs', 'notes']")
        chosen = list(tables)
        known = [entry.name for entry in notes.entries(self._local)] if self.is_enabled else []
        for name in chosen:
            if name not in known:
                raise SyncError(f"{name!r} is not synced here", hint=did_you_mean(name, known, "tables"))
        return chosen

    def _leave(self, tables: list[str] | None, *, hub: bool) -> None:
        known = notes.is_there(self._local, notes.STATE)
        replica_id = notes.read(self._local, notes.STATE).get("id") if known else None
        if notes.is_there(self._hub, notes.HUB):
            if replica_id:
                enabling.leave(self._hub, replica_id, tables)
            if hub and tables is None:
                enabling.disable_hub(self._hub)

    def rebase(self) -> None:
        """Join a hub that was restored from a backup, or is another database, as it is now.

        The next :meth:`run` puts the rows of both sides together, as the first one does: what only one side
        has, both get; a row that differs is decided by the policy, and recorded. So a row that was removed
        since the backup was made comes back.
        """
        self._outside()
        names = [entry.name for entry in notes.entries(self._local)]
        families.prepare(self._local, self._hub, names, {}, create=True)
        enabling.rejoin(self._local, self._hub, self._policy, self._name)

    def plan(self) -> list[Plan]:
        """Say what the first :meth:`run` would do with two filled databases; nothing is written."""
        self._outside()
        pairs, _ = enabling.pairs_of(self._local, self._hub)
        return [first.compare(ours, theirs) for ours, theirs in pairs]

    # Running

    def run(self, direction: str = "both", *, progress: Callable[[int], None] | None = None) -> Report:
        """Send what has changed here, then take in what has changed at the hub.

        Whatever ends it halfway, the next run goes on, and nothing is done twice. Two runs at once are safe.
        ``direction="push"`` and ``"pull"`` do one half; what was on its way is finished first.
        ``progress`` is told of rows as they are written, so many at a time.

        Raises:
            SyncError: if the sync was not enabled.
            HubChanged: if the hub is not what this replica knew; see :meth:`rebase`.
        """
        if direction not in DIRECTIONS:
            raise InvalidQuery(f"unknown direction {direction!r}", hint=f"use one of {', '.join(DIRECTIONS)}")
        self._outside()
        replica_id = enabling.meet(self._local, self._hub, self._policy)
        pairs, paused = enabling.pairs_of(self._local, self._hub)
        paused |= families.check(self._local, self._hub, (ours.tracked.name for ours, _ in pairs))
        pairs = [pair for pair in pairs if pair[0].tracked.name not in paused]
        enabling.meet_healed(self._local, pairs)
        report = Report(paused=paused)
        rnd = round.Round(self._local, self._hub, self._policy, replica_id, pairs, report, progress)
        first.begin(rnd)
        if direction != "push":
            families.settle(self._local, self._hub, (ours.tracked.name for ours, _ in pairs))
        if direction == "pull":
            round.finish_flight(rnd)
        else:
            round.send_all(rnd)
        if direction != "push":
            round.fetch_all(rnd)
        report.quarantined = round.has_quarantined(self._local)
        return report

    def _outside(self) -> None:
        for executor in (self._local, self._hub):
            if executor.in_transaction:
                raise TransactionError(
                    "a sync cannot be part of a transaction", hint="commit or roll back first"
                )
        # What another program did to the schema meanwhile is not known here yet.
        self._local.forget()
        self._hub.forget()

    # How it stands

    def status(self) -> Status:
        """How many changes wait here, how many at the hub, and what needs a look."""
        self._outside()
        replica_id = enabling.meet(self._local, self._hub, self._policy)
        pairs, paused = enabling.pairs_of(self._local, self._hub)
        entries = {entry.name: entry for entry in notes.entries(self._local)}
        pending = {
            ours.tracked.name: replica.pending(ours, entries[ours.tracked.name].is_new) for ours, _ in pairs
        }
        behind, lag = {}, 0
        for ours, theirs in pairs:
            entry = entries[ours.tracked.name]
            own = self._local.rows(
                f'SELECT "low", "high" FROM {notes.OWN} WHERE "number" = ?', (entry.number,)
            )
            behind[entry.name], late = hub.waiting(hub.Reading(theirs, entry.position, own))
            lag += late
        return Status(
            replica_id,
            pending,
            behind,
            lag,
            replica.flight(self._local) is not None,
            tuple(self._quarantined({entry.number: entry.name for entry in entries.values()})),
            paused,
            int(self._hub.scalar(f'SELECT count(*) FROM {notes.CONFLICTS} WHERE "resolved" IS NULL') or 0),
        )

    def _quarantined(self, names: Mapping[int, str]) -> Iterable[Quarantined]:
        for number, key, direction, reason in self._local.rows(
            f'SELECT "number", "key", "direction", "reason" FROM {notes.QUARANTINE} ORDER BY "number", "key"'
        ):
            yield Quarantined(names.get(number, "?"), notes.key_of(key), direction, reason)

    def conflicts(self, *, all: bool = False) -> list[Conflict]:
        """The clashes that the policy decided, oldest first; ``all=True`` adds those that were resolved."""
        if not notes.is_there(self._hub, notes.CONFLICTS):
            raise SyncError("the sync is not enabled", hint="call Sync.enable() first")
        where = "" if all else ' WHERE "resolved" IS NULL'
        return [
            _conflict(row)
            for row in self._hub.rows(f'SELECT {_COLUMNS} FROM {notes.CONFLICTS}{where} ORDER BY "at", "id"')
        ]

    def resolve(self, conflict: str | Conflict, keep: str | Mapping[str, Any] | None = "result") -> None:
        """Settle a conflict: leave what was decided, or write another row here, which the next run sends.

        ``keep`` is ``"result"``, ``"ours"``, ``"hub"``, a row as a dict, or ``None`` to remove it.

        Raises:
            NotFoundError: if there is no such conflict.
        """
        id = conflict if isinstance(conflict, str) else conflict.id
        found = next((each for each in self.conflicts(all=True) if each.id == id), None)
        if found is None:
            raise NotFoundError(f"there is no conflict {id!r}", hint="Sync.conflicts() lists them")
        if keep != "result":
            self._write(found, _chosen(found, keep))
        with Transaction(self._hub):
            how = keep if isinstance(keep, str) else "by hand"
            self._hub.run(f'UPDATE {notes.CONFLICTS} SET "resolved" = ? WHERE "id" = ?', (how, id))

    def _write(self, found: Conflict, image: Image) -> None:
        where = dict(found.key)
        with Transaction(self._local):
            if image is None:
                row_verbs.delete(self._local, found.table, where)
            elif not row_verbs.update(self._local, found.table, image, where):
                row_verbs.insert(self._local, found.table, image)


def _chosen(found: Conflict, keep: str | Mapping[str, Any] | None) -> Image:
    if isinstance(keep, str):
        if keep not in ("ours", "hub"):
            raise InvalidQuery(f"unknown keep {keep!r}", hint="use 'result', 'ours', 'hub' or a row")
        return found.ours if keep == "ours" else found.hub
    return None if keep is None else {**(found.result or found.ours or found.hub or {}), **keep, **found.key}


def _filter(given: Any) -> dict[str, Any] | None:
    if given is None:
        return None
    text, params = given if isinstance(given, tuple) else (given, None)
    found = {"where": text, "params": params}
    try:
        return dict(json.loads(json.dumps(found)))
    except (TypeError, ValueError) as exc:
        raise InvalidQuery(
            "a filter of a sync must be a text, a text with plain values, or a dict of plain values",
            hint="where={'runs': ('owner = ?', ['ada'])}",
        ) from exc


def _conflict(row: Sequence[Any]) -> Conflict:
    id, at, by, table, key, kind, columns, *images, resolved = row
    base, ours, theirs, result = map(of_text, images)
    return Conflict(
        id,
        at,
        by,
        table,
        of_text(key) or {},
        kind,
        tuple(json.loads(columns)),
        base,
        ours,
        theirs,
        result,
        resolved,
    )
