"""The first sync of two databases: tables that one side lacks, and rows that nothing is known of yet."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing

from holdfast.core.executor import Executor
from holdfast.core.transaction import Transaction
from holdfast.engines.names import quote_identifier
from holdfast.errors import NotSupported
from holdfast.sync import enabling, lineage, notes, replica
from holdfast.sync.report import Plan
from holdfast.sync.round import Round
from holdfast.sync.stage import REFUSALS, Columns, Side, Stage, copy_in, is_empty
from holdfast.transfer.plan import make_plan
from holdfast.transfer.schema import read_schema


def create_missing(local: Executor, hub: Executor, names: Sequence[str]) -> None:
    """Create the tables of which only one side has some, without rows, with what belongs to them.

    Raises:
        TableNotFound: if neither has one of that name.
        NotSupported: if the other side has no type for a column.
    """
    here, there = (set(e.engine.catalog.tables(e.run)) for e in (local, hub))
    for source, target, missing in (
        (local, hub, [name for name in names if name not in there]),
        (hub, local, [name for name in names if name not in here]),
    ):
        if missing:
            _create(source, target, missing)


def _create(source: Executor, target: Executor, names: Sequence[str]) -> None:
    plan = make_plan(read_schema(source, names), target)
    if plan.refused:
        raise NotSupported(
            f"not everything can be created on the other side: {'; '.join(map(str, plan.refused[:3]))}",
            hint="create the table there yourself, or leave it out with tables=",
        )
    with Transaction(target):
        # Imported here for its order: tables, indexes, then what refers to other tables.
        from holdfast.transfer.copy import carry

        carry(target, plan, lambda info: (0, iter(())))


class _Undone(Exception):
    """Nothing of it is kept."""


def begin(rnd: Round) -> None:
    """Copy the rows of new tables to a hub that has none, or take them for changes, which are merged."""
    new = {entry.name for entry in notes.entries(rnd.local) if entry.is_new}
    for ours, theirs in rnd.pairs:
        if ours.tracked.name not in new:
            continue
        copied = copy_up(rnd, ours, theirs)
        if copied is None:
            enabling.mark_all(ours)
        else:
            rnd.report.pushed += copied


def copy_up(rnd: Round, ours: Side, theirs: Side) -> int | None:
    """Copy all rows into an empty table of the hub: one transaction there, and then one here.

    Nobody else writes to the table meanwhile. ``None`` if it is not empty, a row is refused, or there is a
    filter, outside which rows may wait as well.
    """
    if ours.where[0] or is_empty(ours) or not is_empty(theirs) or not theirs.is_plain:
        return None
    try:
        with Transaction(rnd.local):
            replica.hold(rnd.local, [ours])
            rnd.local.run(f"DELETE FROM {quote_identifier(ours.tracked.log)}")
            state = notes.read(rnd.local, notes.STATE)
            if state["id"] != rnd.id:
                raise _Undone
            with Transaction(rnd.hub):
                lineage.check(rnd.hub, rnd.id, lineage.seen(state))
                copied, start, own = _copy(rnd, ours, theirs)
                last = lineage.note(rnd.hub, rnd.id)
            number = ours.tracked.number
            rnd.local.run(
                f'UPDATE {notes.TABLES} SET "is_new" = 0, "position" = ? WHERE "number" = ?', (start, number)
            )
            rnd.local.run(f"INSERT INTO {notes.OWN} VALUES (?, ?, ?)", (number, *own))
            notes.write(rnd.local, notes.STATE, lineage.noted(lineage.PUSHED, last))
            return copied
    except (_Undone, *REFUSALS):
        return None


def _copy(rnd: Round, ours: Side, theirs: Side) -> tuple[int, int, tuple[int, int]]:
    """How many rows were copied, from where the feed is to be read, and what of it is this copy."""
    run, changes, tracked = rnd.hub.run, rnd.hub.engine.changes, theirs.tracked
    changes.turn(run)
    changes.hold(run, [tracked])
    if not is_empty(theirs):
        raise _Undone
    others = f'SELECT 1 FROM {notes.REPLICAS} WHERE "id" <> ? LIMIT 1'
    is_alone = not rnd.hub.rows(others, (rnd.id,))
    start, low = changes.position(run, tracked), changes.upcoming(run, tracked)
    changes.unnoted(run, on=is_alone)
    # Closed at once where a row is refused: a query that is open on SQLite keeps tables from being dropped.
    with closing(_rows(ours)) as batches:
        copied = copy_in(theirs, (columns[3:] for columns in batches), "feed")
    changes.unnoted(run, on=False)
    return copied, start, (low, changes.here(run, tracked))


def compare(ours: Side, theirs: Side) -> Plan:
    """What the two sides have of one table, by a copy of the rows at the hub that is not kept."""
    found: list[int] = []
    try:
        with Transaction(ours.executor, read_only=True), Transaction(theirs.executor):
            stage = Stage(theirs, was=False)
            stage.create()
            stage.load(_rows(ours), lambda key, reason: None)
            match = theirs.match(stage.quoted)
            both = f"FROM {theirs.table} JOIN {stage.quoted} ON {match}"
            for sql in (
                f"SELECT count(*) FROM {stage.quoted}",
                f"SELECT count(*) FROM {theirs.table}",
                f"SELECT count(*) {both}",
                f"SELECT count(*) {both} WHERE {theirs.same(stage.quoted, 'v')}",
            ):
                found.append(int(theirs.executor.scalar(sql)))
            raise _Undone
    except _Undone:
        pass
    here, there, common, alike = found
    return Plan(ours.tracked.name, here - common, there - common, alike, common - alike)


def _rows(side: Side) -> Generator[Columns, None, None]:
    text, values = side.where
    sql = f"SELECT {', '.join(side.own())} FROM {side.table}{' WHERE ' + text if text else ''}"
    before = 0
    for batch in side.executor.stream(sql, values, batch_size=2_000, undisturbed=True):
        count = len(batch)
        columns = side.decode(list(zip(*batch, strict=True)), side.carried)
        yield [range(before + 1, before + count + 1), [0] * count, [1] * count, *columns]
        before += count
