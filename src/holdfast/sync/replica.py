"""A replica's half of a round: what is on its way, and how it takes in what the hub says."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from typing import Any

from holdfast.core.executor import Executor
from holdfast.core.transaction import Transaction
from holdfast.core.where import encode
from holdfast.engines.changes import Tracked, listed
from holdfast.engines.names import quote_identifier
from holdfast.sync import lineage, notes
from holdfast.sync.hub import Answer
from holdfast.sync.images import as_text
from holdfast.sync.merge import Image, rebase
from holdfast.sync.notes import Entry
from holdfast.sync.parents import OnlyHere, count_kept, count_lost, keep_all_parents
from holdfast.sync.stage import REFUSALS, Columns, Key, Side, Stage, copy_in, is_empty, settle

AT_ONCE = 2_000
ALL = 2**62
Keys = Callable[[], Sequence[OnlyHere]]
Read = Callable[[], Generator[Columns, None, None]]
"""Rows of the hub by column, each time anew: the key, whether there is a row, and the row."""


@dataclass(frozen=True, slots=True)
class Flight:
    """The batch that is on its way: its number, a token that no other batch has, and whose it is."""

    seq: int
    token: str
    turn: int
    id: str

    @property
    def batch(self) -> tuple[int, str]:
        return self.seq, self.token


def flight(local: Executor) -> Flight | None:
    """The batch that is on its way, if there is one."""
    state = notes.read(local, notes.STATE)
    token = state.get("flight")
    return Flight(int(state["seq"]), token, int(state["turn"]), state["id"]) if token else None


def hold_steps(local: Executor) -> None:
    """Have no other run of this replica take a step until the transaction ends."""
    local.engine.changes.hold(local.run, [Tracked(notes.STATE.strip('"'), 0, (), ())])


# Freeze


def freeze(local: Executor, sides: Sequence[Side], turn: int, most: int) -> Flight | None:
    """Put up to ``most`` changed rows on their way, with what they were and are, and unmark them.

    One transaction. What was tried in this ``turn`` already stays. ``None`` if nothing is to be sent.
    """
    with Transaction(local, isolation="REPEATABLE READ"):
        hold_steps(local)
        state = notes.read(local, notes.STATE)
        if state.get("flight"):
            return flight(local)
        room = most
        for side in sides:
            if room <= 0:
                break
            if taken := _take(side, turn, room):
                room -= taken
                lift_settled(side)
        if not any(map(is_flying, sides)):
            return None
        token = uuid.uuid4().hex
        notes.write(local, notes.STATE, {"seq": int(state["seq"]) + 1, "flight": token, "turn": turn})
    return flight(local)


def _count(executor: Executor, table: str) -> int:
    return int(executor.scalar(f"SELECT count(*) FROM {quote_identifier(table)}") or 0)


def has_changes(side: Side, turn: int) -> bool:
    """Whether any change waits that was not tried in this turn."""
    log = quote_identifier(side.tracked.log)
    return bool(side.executor.rows(f'SELECT 1 FROM {log} WHERE "tried" < ? LIMIT 1', (turn,)))


def is_waiting(local: Executor, sides: Sequence[Side]) -> bool:
    """Whether any change waits, tried or not."""
    return any(has_changes(side, ALL) for side in sides)


def pending(side: Side, is_new: bool) -> int:
    """How many rows wait to be sent."""
    tracked = side.tracked
    if is_new:
        return _count(side.executor, tracked.name)
    log, keys = quote_identifier(tracked.log), listed(tracked.keys)
    return int(
        side.executor.scalar(f"SELECT count(*) FROM (SELECT DISTINCT {keys} FROM {log}) AS waiting") or 0
    )


def is_flying(side: Side) -> bool:
    """Whether rows of a table are on their way."""
    return bool(side.executor.rows(f"SELECT 1 FROM {quote_identifier(side.tracked.flight)} LIMIT 1"))


def _take(side: Side, turn: int, most: int) -> int:
    """Move changed rows of one table from the notes to the flight; return how many notes there were."""
    if not has_changes(side, turn):
        return 0
    executor, tracked = side.executor, side.tracked
    first, log = executor.engine.changes.first(tracked, 'n."tried" < ?'), quote_identifier(tracked.log)
    columns = ["n", "had", "has", *tracked.keys, *tracked.notes("b"), *tracked.notes("v")]
    own = listed([column.name for column in tracked.others], f"{side.table}.")
    noted = listed([*tracked.keys, *tracked.notes("b")], "hf_f.")
    is_same = (
        f'hf_f."had" = 1 AND {side.there()} AND {side.same("hf_f", "b")} '
        f'OR hf_f."had" = 0 AND NOT {side.there()}'
    )
    to = quote_identifier(tracked.flight)
    taken = quote_identifier(tracked.flight + "_keys")
    for statement in executor.engine.changes.stage(
        tracked.flight + "_keys", f"SELECT {listed(tracked.keys)} FROM {log} WHERE 1 = 0"
    ):
        executor.run(statement)
    executor.run(
        f"INSERT INTO {taken} SELECT {listed(tracked.keys, 'hf_f.')} FROM ({first}) AS hf_f", (turn, most)
    )
    count = _count(executor, taken.strip('"'))
    # Where every note is taken, none is looked up.
    is_all = count < most and _count(executor, tracked.log) == count
    of_them = f"IN (SELECT {listed(tracked.keys)} FROM {taken})"
    mine = "1 = 1" if is_all else f"({listed(tracked.keys, 'n.')}) {of_them}"
    every = executor.engine.changes.first(tracked, mine)
    number = executor.engine.changes.numbered[1]
    executor.run(
        f'INSERT INTO {to} ({listed(columns)}) SELECT {number}, hf_f."had", '
        f"CASE WHEN {side.there()} THEN 1 ELSE 0 END, {noted}{', ' + own if own else ''} "
        f"FROM ({every}) AS hf_f LEFT JOIN {side.table} ON {side.match('hf_f')} WHERE NOT ({is_same})",
        (ALL,),
    )
    executor.run(f"DELETE FROM {log}" + ("" if is_all else f" WHERE ({listed(tracked.keys)}) {of_them}"))
    executor.run(f"DROP TABLE {taken}")
    return count


def in_flight(side: Side) -> Iterator[Columns]:
    """The rows of one table that are on their way, by column."""
    tracked = side.tracked
    columns = [
        '"n"',
        '"had"',
        '"has"',
        *side.noted_keys("hf_f"),
        *side.noted("hf_f", "b"),
        *side.noted("hf_f", "v"),
    ]
    carried = [*side.carried, *side.others]
    sql = f'SELECT {", ".join(columns)} FROM {quote_identifier(tracked.flight)} AS hf_f ORDER BY "n"'
    for batch in side.executor.stream(sql, batch_size=AT_ONCE, undisturbed=True):
        numbers, had, has, *values = zip(*batch, strict=True)
        yield [numbers, had, has, *side.decode(values, carried)]


# Acknowledge


def acknowledge(
    local: Executor, sides: Sequence[Side], flight_of: Flight, answer: Answer, only_here: Keys
) -> int | None:
    """Take in what became of a batch, and let it go; return how many rows are others now.

    One transaction. ``None`` if another run has done that already.
    """
    with Transaction(local):
        hold_steps(local)
        if not is_in_flight(local, flight_of):
            return None
        aside = _set_aside(local, sides, answer)
        hold(local, sides)
        for entry in aside:
            put_back_table(local, entry, answer.taken.get(entry.name))
        for side in sides:
            name = side.tracked.name
            for key, reason in answer.refused.get(name, {}).items():
                _put_back(side, key, flight_of.turn, reason)
        written = take_in(local, {side: partial(_answered, side, answer) for side in sides}, only_here)
        for side in sides:
            span = answer.own.get(side.tracked.name)
            if span:
                local.run(f"INSERT INTO {notes.OWN} VALUES (?, ?, ?)", (side.tracked.number, *span))
            local.run(f"DELETE FROM {quote_identifier(side.tracked.flight)}")
            lift_settled(side)
        landed = {"flight": None, "last": flight_of.token, **lineage.noted(lineage.PUSHED, answer.seen)}
        notes.write(local, notes.STATE, landed)
    return written


def is_in_flight(local: Executor, flight_of: Flight) -> bool:
    return flight(local) == flight_of


def hold(local: Executor, sides: Sequence[Side]) -> None:
    local.engine.changes.hold(local.run, [side.tracked for side in sides])


def _answered(side: Side, answer: Answer) -> Generator[Columns, None, None]:
    found = answer.images.get(side.tracked.name, {})
    if found:
        width, empty = side.width, [None] * len(side.names)
        rows = [
            (*key, int(image is not None), *(empty if image is None else image.values()))
            for key, image in found.items()
        ]
        yield [list(column) for column in zip(*rows, strict=True)]
        assert width


def _put_back(side: Side, key: Key, turn: int, reason: str) -> None:
    """Mark a row again that the hub refused: with what it was before, whatever was done to it meanwhile."""
    executor, tracked = side.executor, side.tracked
    flight_name, log = quote_identifier(tracked.flight), quote_identifier(tracked.log)
    condition, values = located(side, key)
    executor.run(f"DELETE FROM {log} WHERE {condition}", values)
    columns = listed(["had", *tracked.keys, *tracked.notes("b")])
    executor.run(
        f'INSERT INTO {log} ({columns}, "tried") SELECT {columns}, CAST(? AS BIGINT) FROM {flight_name} '
        f"WHERE {condition}",
        [turn, *values],
    )
    quarantine(side, key, "push", reason, _flown(side, condition, values))


def _set_aside(local: Executor, sides: Sequence[Side], answer: Answer) -> list[Entry]:
    """Tables with rows on their way that are paused, or were when the hub applied the batch."""
    settled = {side.tracked.name for side in sides} & answer.taken.keys()
    others = [entry for entry in notes.entries(local) if entry.name not in settled]
    return [entry for entry in others if _count(local, Tracked(entry.name, entry.number, (), ()).flight)]


def put_back_table(local: Executor, entry: Entry, refused: Mapping[int, str] | None) -> None:
    """Mark the rows of a table again, with what they were before, whatever was done to them meanwhile.

    ``refused`` is ``None`` if the hub was not given them. If it was, only these numbers are to be sent again,
    and the whole table is to be read, for what it has made of the others.
    """
    tracked = Tracked(entry.name, entry.number, (), ())
    flying, log = quote_identifier(tracked.flight), quote_identifier(tracked.log)
    if notes.is_there(local, quote_identifier(entry.name)):
        local.engine.changes.hold(local.run, [tracked])
    keys = listed([f"k{place}" for place in range(len(entry.key))])
    columns = listed(["had", *(f"b{place}" for place in range(len(entry.columns)))]) + f", {keys}"
    chosen = [("1 = 1", ())] if refused is None else [('"n" = ?', (number,)) for number in refused]
    for condition, values in chosen:
        local.run(
            f"DELETE FROM {log} WHERE ({keys}) IN (SELECT {keys} FROM {flying} WHERE {condition})", values
        )
        local.run(
            f'INSERT INTO {log} ({columns}, "tried") SELECT {columns}, 0 FROM {flying} WHERE {condition}',
            values,
        )
    local.run(f"DELETE FROM {flying}")
    if refused is not None:
        local.run(f'UPDATE {notes.TABLES} SET "position" = NULL WHERE "number" = ?', (entry.number,))


def _flown(side: Side, condition: str, values: Sequence[Any]) -> Image:
    columns = ", ".join(['"has"', *side.noted_keys("hf_f"), *side.noted("hf_f", "v")])
    rows = side.executor.rows(
        f"SELECT {columns} FROM {quote_identifier(side.tracked.flight)} AS hf_f WHERE {condition}", values
    )
    return side.image(rows[0][1:]) if rows and rows[0][0] else None


def located(side: Side, key: Key, prefix: str = "") -> tuple[str, list[Any]]:
    """A condition on the key as the notes have it."""
    tracked = side.tracked
    condition = " AND ".join(f'{prefix}"{name}" = ?' for name in tracked.keys)
    values = [encode(tracked.name, column, value) for column, value in zip(tracked.key, key, strict=True)]
    return condition, values


def quarantine(side: Side, key: Key, direction: str, reason: str, image: Image) -> None:
    side.executor.run(
        f'INSERT INTO {notes.QUARANTINE} ("number", "key", "direction", "reason", "image") '
        'VALUES (?, ?, ?, ?, ?) ON CONFLICT ("number", "key", "direction") '
        'DO UPDATE SET "reason" = excluded."reason", "image" = excluded."image"',
        (side.tracked.number, notes.key_text(key), direction, reason, as_text(image)),
    )


def mark_new(side: Side, condition: str, values: Sequence[Any]) -> None:
    """Have rows that nothing is noted of be sent as new ones."""
    tracked, log = side.tracked, quote_identifier(side.tracked.log)
    names = [f"{side.table}.{quote_identifier(column.name)}" for column in tracked.key]
    known = " AND ".join(f"{name} IS NOT NULL" for name in names)
    noted = f"SELECT 1 FROM {log} AS hf_n WHERE {side.match('hf_n')}"
    side.executor.run(
        f'INSERT INTO {log} ("had", "tried", {listed(tracked.keys)}) SELECT 0, 0, {", ".join(names)} '
        f"FROM {side.table} WHERE {known} AND ({condition}) AND NOT EXISTS ({noted})",
        values,
    )


def take_for_known(side: Side, key: Key, image: Image) -> None:
    """Have a row that waits to be sent as a new one be sent as a change of what it was at the hub."""
    tracked = side.tracked
    condition, values = located(side, key)
    writes = [carried.write.format("?") for carried in side.others]
    sets = "".join(f', "{name}" = {write}' for name, write in zip(tracked.notes("b"), writes, strict=True))
    for name in (tracked.log, tracked.flight):
        side.executor.run(
            f'UPDATE {quote_identifier(name)} SET "had" = 1{sets} WHERE {condition} AND "had" = 0',
            [*_noted(side, image), *values],
        )


def take_for_removed(side: Side) -> None:
    """Have rows that came and went here be sent as removed: the hub may have had them from a copy of this."""
    tracked = side.tracked
    log = quote_identifier(tracked.log)
    side.executor.run(
        f'UPDATE {log} SET "had" = 1 WHERE "had" = 0 '
        f"AND NOT EXISTS (SELECT 1 FROM {side.table} WHERE {side.match(log)})"
    )


def _noted(side: Side, image: Image) -> list[Any]:
    """The values of an image as the notes have them, but for the key."""
    return [
        encode(side.tracked.name, carried.staged, None if image is None else image[column.name])
        for carried, column in zip(side.others, side.tracked.others, strict=True)
    ]


def lift_settled(side: Side) -> None:
    """Let rows out of the quarantine that were refused by the hub and no longer wait to be sent."""
    tracked = side.tracked
    for (text,) in side.executor.rows(
        f'SELECT "key" FROM {notes.QUARANTINE} WHERE "number" = ? AND "direction" = \'push\'',
        (tracked.number,),
    ):
        condition, values = located(side, notes.key_of(text))
        waits = (
            f"SELECT 1 FROM {quote_identifier(name)} WHERE {condition} LIMIT 1"
            for name in (tracked.log, tracked.flight)
        )
        if not any(side.executor.rows(sql, values) for sql in waits):
            lift(side, text, "push")


def lift(side: Side, text: str, direction: str) -> None:
    """Take a row out of the quarantine."""
    side.executor.run(
        f'DELETE FROM {notes.QUARANTINE} WHERE "number" = ? AND "key" = ? AND "direction" = ?',
        (side.tracked.number, text, direction),
    )


# Taking in


def take_in(
    local: Executor, incoming: Mapping[Side, Read], only_here: Keys, *, whole: Iterable[Side] = ()
) -> int:
    """Put the hub's rows in the place of those here, but for what was changed here; return how many.

    Rows come as columns: the key, whether there is a row, and the row. ``whole`` are tables of which all rows
    come: what else is here and was not changed here, goes. ``only_here`` are foreign keys that the hub has
    not. The transaction is the caller's, and holds the tables.
    """
    local.engine.changes.applying(local.run, on=True)
    stages = []
    written = 0
    for side, read in incoming.items():
        if side in whole and (copied := _copied(side, read)) is not None:
            written += copied
            continue
        stage = Stage(side, was=False)
        stage.create()
        refused: dict[Key, str] = {}
        stage.load(_numbered(side, read()), refused.__setitem__)
        for key, reason in refused.items():
            quarantine(side, key, "pull", reason, None)
        if side in whole:
            _add_missing(stage, refused)
        _mark_own(stage)
        rebase_changed(stage)
        stages.append(stage)
    among = notes.entries(local)
    held = keep_all_parents(stages, among)
    keys = cache(only_here)
    written += settle(stages, lost=lambda: count_lost(local, among) - count_kept(keys(), stages))
    for stage in stages:
        stage.refused |= held[stage.name]
        _note_refused(stage)
        stage.drop()
    local.engine.changes.applying(local.run, on=False)
    return written


def _copied(side: Side, read: Read) -> int | None:
    """Write all rows straight into an empty table; ``None`` if there are some, or one is refused."""
    log = quote_identifier(side.tracked.log)
    if not is_empty(side) or side.executor.rows(f"SELECT 1 FROM {log} LIMIT 1") or not side.is_plain:
        return None
    try:
        with closing(read()) as batches, Transaction(side.executor):
            return copy_in(side, (columns[side.width + 1 :] for columns in batches), "log")
    except REFUSALS:
        return None


def _numbered(side: Side, batches: Iterable[Columns]) -> Iterator[Columns]:
    width, before = side.width, 0
    for columns in batches:
        count = len(columns[0])
        numbers = range(before + 1, before + count + 1)
        before += count
        key, there, row = columns[:width], columns[width], columns[width + 1 :]
        yield [numbers, [0] * count, there, *key, *row[width:]]


def _add_missing(stage: Stage, refused: Mapping[Key, str]) -> None:
    """Stage the removal of rows that the hub does not have; that are changed here is looked at later."""
    side, quoted = stage.side, stage.quoted
    keys = listed([column.name for column in side.tracked.key], f"{side.table}.")
    text, values = side.where
    condition = f" AND {text}" if text else ""
    side.executor.run(
        f'INSERT INTO {quoted} ("n", "had", "has", {listed(side.tracked.keys)}) '
        f"SELECT CAST(? AS BIGINT) + row_number() OVER (), 0, 0, {keys} FROM {side.table} WHERE NOT EXISTS "
        f"(SELECT 1 FROM {quoted} WHERE {side.match(quoted)}){condition}",
        [stage.last, *values],
    )
    stage.last = int(side.executor.scalar(f'SELECT max("n") FROM {quoted}') or 0)
    for key in refused:
        where, given = located(side, key)
        side.executor.run(f"DELETE FROM {quoted} WHERE {where}", given)


def _mark_own(stage: Stage) -> None:
    """Have a row that was here before, outside the filter, be sent before the hub's takes its place."""
    side = stage.side
    text, values = side.where
    if text:
        incoming = f"SELECT 1 FROM {stage.quoted} WHERE {side.match(stage.quoted)}"
        # One that comes back from the hub was sent, and is to go.
        flying = f"SELECT 1 FROM {quote_identifier(side.tracked.flight)} AS hf_f WHERE {side.match('hf_f')}"
        is_own = f"COALESCE(NOT ({text}), 1 = 1) AND EXISTS ({incoming}) AND NOT EXISTS ({flying})"
        mark_new(side, is_own, values)


def rebase_changed(stage: Stage) -> None:
    """Have rows that were changed here keep their changes, on top of what the hub sends."""
    side, quoted, tracked = stage.side, stage.quoted, stage.side.tracked
    log = quote_identifier(tracked.log)
    if not side.executor.rows(f"SELECT 1 FROM {log} LIMIT 1"):
        return
    keys = listed(tracked.keys)
    first = side.executor.engine.changes.first(
        tracked, f"({listed(tracked.keys, 'n.')}) IN (SELECT {keys} FROM {quoted})"
    )
    staged_keys = [(key, key) for key in tracked.keys]
    columns = [
        f'{quoted}."n"',
        'hf_f."had"',
        side.there(),
        f'{quoted}."has"',
        'hf_f."tried"',
        *side.noted_keys("hf_f"),
        *side.noted("hf_f", "b"),
        *side.own()[side.width :],
        *(f'{quoted}."{name}"' for name in tracked.notes("v")),
    ]
    on = " AND ".join(f'{quoted}."{one}" = hf_f."{other}"' for one, other in staged_keys)
    sql = (
        f"SELECT {', '.join(columns)} FROM ({first}) AS hf_f JOIN {quoted} ON {on} "
        f"LEFT JOIN {side.table} ON {side.match('hf_f')}"
    )
    width, rest = side.width, len(side.others)
    for number, had, there, has, tried, *values in side.executor.rows(sql, (ALL,)):
        key, was = values[:width], values[width : width + rest]
        own, sent = values[width + rest : width + 2 * rest], values[width + 2 * rest :]
        base = side.image([*key, *was]) if had else None
        current = side.image([*key, *own]) if there else None
        incoming = side.image([*key, *sent]) if has else None
        new_base, row = rebase_row(base, current, incoming)
        _mark(stage, number, key, (new_base, row), tried)


def rebase_row(base: Image, current: Image, incoming: Image) -> tuple[Image, Image]:
    return rebase(base, current, incoming)


def _mark(stage: Stage, number: int, key: Sequence[Any], images: tuple[Image, Image], tried: int) -> None:
    """Note a row as changed from its new base, or as unchanged if it is that; and stage it."""
    side, tracked, (base, row) = stage.side, stage.side.tracked, images
    log = quote_identifier(tracked.log)
    (decoded,) = zip(*side.decode([[each] for each in key], side.carried[: side.width]), strict=True)
    condition, values = located(side, decoded)
    side.executor.run(f"DELETE FROM {log} WHERE {condition}", values)
    stage.change(number, None if row is None else dict(row))
    if base is row:
        return
    names = listed(["had", "tried", *tracked.keys, *tracked.notes("b")])
    writes = [carried.write.format("?") for carried in side.others]
    marks = ", ".join(["?"] * (2 + side.width) + writes)
    side.executor.run(
        f"INSERT INTO {log} ({names}) VALUES ({marks})",
        [int(base is not None), tried, *values, *_noted(side, base)],
    )


def _note_refused(stage: Stage) -> None:
    """Quarantine what could not be put in its place; let go what was, or is gone."""
    side, quoted = stage.side, stage.quoted
    known = {
        text
        for (text,) in side.executor.rows(
            f'SELECT "key" FROM {notes.QUARANTINE} WHERE "number" = ? AND "direction" = \'pull\'',
            (side.tracked.number,),
        )
    }
    columns = ", ".join(['"n"', *(f'"{name}"' for name in side.tracked.keys)])
    waiting = iter(stage.refused)
    while numbers := list(islice(waiting, 500)):
        marks = ", ".join("?" * len(numbers))
        for number, *key in side.executor.rows(
            f'SELECT {columns} FROM {quoted} WHERE "n" IN ({marks})', numbers
        ):
            (decoded,) = zip(*side.decode([[each] for each in key], side.carried[: side.width]), strict=True)
            quarantine(side, decoded, "pull", stage.refused[number], None)
            known.discard(notes.key_text(decoded))
    for text in known:
        condition, values = located(side, notes.key_of(text))
        if side.executor.rows(f"SELECT 1 FROM {quoted} WHERE {condition}", values):
            lift(side, text, "pull")
