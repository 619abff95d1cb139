"""Rows that the hub has removed and that stay: one that waits to be sent would go with them, and nobody knew.

A row that waits, or stays, and refers to one that is to go is looked for before. What cannot be found so is
seen by counting, and taken back: a row below a table that is paused or not synced, or one that a program
writes just then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from holdfast.core.executor import Executor
from holdfast.engines.changes import Tracked, matching
from holdfast.engines.names import quote_identifier
from holdfast.sync import notes
from holdfast.sync.notes import Entry
from holdfast.sync.stage import Side, Stage

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
