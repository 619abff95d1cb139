"""Rows that the hub has removed and that stay: one that waits to be sent would go with them, and nobody knew.

A row that waits, or stays, and refers to one that is to go is looked for before. What cannot be found so is
seen by counting, and taken back: a row below a table that is paused or not synced, one that a program writes
just then, or one that the hub keeps, because only the replica has the foreign key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from holdfast.core.executor import Executor
from holdfast.engines.changes import Tracked, matching
from holdfast.engines.names import quote_identifier
from holdfast.sync import notes
from holdfast.sync.notes import Entry
from holdfast.sync.stage import Side, Stage

_ACTIONS = ("CASCADE", "SET NULL", "SET DEFAULT")
HELD = 3
"""What a staged row says in the place of whether there is one, when it is left as it is."""


def keep_all_parents(stages: Sequence[Stage], among: Sequence[Entry]) -> dict[str, dict[int, str]]:
    """Have parents stay, and theirs: what stays for another row's sake would go with its own parent."""
    held: dict[str, dict[int, str]] = {stage.name: {} for stage in stages}
    by_table = {stage.side.tracked.name: stage for stage in stages}
    more = True
    while more:
        more = False
        for stage in stages:
            if found := keep_parents(stage, among, by_table):
                held[stage.name] |= found
                more = True
    return held


def keep_parents(stage: Stage, among: Sequence[Entry], stages: Mapping[str, Stage]) -> dict[int, str]:
    """Have rows stay to which one refers that waits to be sent: it might go with them, and nobody would know.

    ``among`` are all tables of the sync: one that is paused has changes that wait, too; ``stages`` are those
    of which rows may stay. Return the numbers of the rows, with the reason.
    """
    tracked, quoted, held = stage.side.tracked, stage.quoted, dict[int, str]()
    places = {column.name: name for column, name in zip(tracked.key, tracked.keys, strict=True)}
    for entry, columns, keys in _referring(stage.side, among, stages):
        child = quote_identifier(entry.name)
        same = matching(quoted, child, [(places[k], c) for k, c in zip(keys, columns, strict=True)])
        needed = [_waiting(stage.side.executor, entry)]
        if entry.name in stages:
            needed.append(_staying(stages[entry.name]))
        needs = " OR ".join(f"EXISTS ({each})" for each in needed)
        for (number,) in stage.side.executor.rows(
            f'SELECT {quoted}."n" FROM {quoted} WHERE {quoted}."has" = 0 AND EXISTS '
            f"(SELECT 1 FROM {child} WHERE {same} AND ({needs}))"
        ):
            held[number] = f"a row of {entry.name!r} that waits to be sent refers to it"
    for number in held:
        stage.side.executor.run(f'UPDATE {quoted} SET "has" = {HELD} WHERE "n" = ?', (number,))
    return held


def _referring(
    parent: Side, among: Sequence[Entry], stages: Mapping[str, Stage]
) -> Iterator[tuple[Entry, list[str], list[str]]]:
    """The tables with rows that wait or stay whose foreign keys are on a table's key; the columns of both."""
    executor, own = parent.executor, {column.name for column in parent.tracked.key}
    for entry in among:
        looked = [f"SELECT 1 FROM {_log(entry)} LIMIT 1"]
        if entry.name in stages:
            looked.append(f'SELECT 1 FROM {stages[entry.name].quoted} WHERE "has" = {HELD} LIMIT 1')
        if not any(map(executor.rows, looked)):
            continue
        for found in executor.engine.catalog.foreign_keys(executor.run, entry.name):
            if found["references"].lower() == parent.tracked.name.lower() and set(found["keys"]) <= own:
                yield entry, found["columns"], found["keys"]


def _waiting(executor: Executor, entry: Entry) -> str:
    """A query that finds something if a row of a table waits to be sent; of one that has another key, any."""
    match = _match(executor, entry)
    return f"SELECT 1 FROM {_log(entry)} AS hf_n WHERE {match or '1 = 1'}"


def _log(entry: Entry) -> str:
    return quote_identifier(Tracked(entry.name, entry.number, (), ()).log)


def _match(executor: Executor, entry: Entry) -> str | None:
    """A condition that a note is of a row; ``None`` if the key is not what it was when it was noted."""
    here, noted = (
        {c.name: c.type for c in executor.describe(name).columns}
        for name in (entry.name, _log(entry).strip('"'))
    )
    pairs = [(name, f"k{place}") for place, name in enumerate(entry.key)]
    is_as_noted = all(here.get(name) == noted[key] for name, key in pairs)
    return matching(quote_identifier(entry.name), "hf_n", pairs) if is_as_noted else None


def _staying(stage: Stage) -> str:
    """A query that finds something if a row of a table stays that was to go."""
    tracked = stage.side.tracked
    pairs = [(key, column.name) for key, column in zip(tracked.keys, tracked.key, strict=True)]
    same = matching(stage.quoted, quote_identifier(tracked.name), pairs)
    return f'SELECT 1 FROM {stage.quoted} WHERE {stage.quoted}."has" = {HELD} AND {same}'


def count_lost(local: Executor, among: Sequence[Entry]) -> int:
    """How many rows that wait to be sent are not there: more once others went, if some went with them."""
    return sum(_lost(local, entry) for entry in among if local.rows(f"SELECT 1 FROM {_log(entry)} LIMIT 1"))


def _lost(local: Executor, entry: Entry) -> int:
    table = quote_identifier(entry.name)
    if not notes.is_there(local, table):
        return 0
    match = _match(local, entry)
    if match is None:
        return -int(local.scalar(f"SELECT count(*) FROM {table}") or 0)
    gone = (
        f"SELECT count(*) FROM {_log(entry)} AS hf_n WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE {match})"
    )
    return int(local.scalar(gone) or 0)


class OnlyHere(NamedTuple):
    """A foreign key that the replica has and the hub has not: the table, the one it is on, their columns."""

    child: Side
    parent: str
    pairs: Sequence[tuple[str, str]]


def only_here(sides: Iterable[tuple[Side, Side]]) -> list[OnlyHere]:
    """Such keys among these tables, here and at the hub, by which a row goes or changes with its parent."""
    pairs = list(sides)
    names = {ours.tracked.name.lower(): ours.tracked.name for ours, _ in pairs}
    found = []
    for ours, theirs in pairs:
        there = {_reference(key) for key in _foreign_keys(theirs)}
        for key in _foreign_keys(ours):
            parent = names.get(key["references"].lower())
            if parent and key["on_delete"] in _ACTIONS and _reference(key) not in there:
                columns = list(zip(key["columns"], key["keys"], strict=True))
                found.append(OnlyHere(ours, parent, columns))
    return found


def _foreign_keys(side: Side) -> list[dict[str, Any]]:
    return side.executor.engine.catalog.foreign_keys(side.executor.run, side.tracked.name)


def _reference(key: Mapping[str, Any]) -> tuple[str, frozenset[tuple[str, str]]]:
    return key["references"].lower(), frozenset(zip(key["columns"], key["keys"], strict=True))


def count_kept(keys: Iterable[OnlyHere], stages: Sequence[Stage]) -> int:
    """How many rows refer by such keys to one that is to go, and are not to go themselves."""
    by_table = {stage.side.tracked.name: stage for stage in stages}
    return sum(_kept(key, by_table) for key in keys if key.parent in by_table)


def _kept(key: OnlyHere, by_table: Mapping[str, Stage]) -> int:
    going, own = by_table[key.parent], by_table.get(key.child.tracked.name)
    refers = " AND ".join(
        f"hf_p.{quote_identifier(k)} = {key.child.table}.{quote_identifier(c)}" for c, k in key.pairs
    )
    goes = matching("hf_p", going.quoted, going.side.pairs())
    sql = (
        f"SELECT count(*) FROM {key.child.table} WHERE EXISTS (SELECT 1 FROM {going.side.table} AS hf_p "
        f'JOIN {going.quoted} ON {goes} WHERE {going.quoted}."has" = 0 AND {refers})'
    )
    if own is not None:
        sql += (
            f' AND NOT EXISTS (SELECT 1 FROM {own.quoted} WHERE "has" = 0 AND {key.child.match(own.quoted)})'
        )
    return int(key.child.executor.scalar(sql) or 0)
