"""The hub's half of a round: applying a batch once, telling what changed, forgetting what all have read."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.core.executor import Executor
from holdfast.core.transaction import Transaction
from holdfast.core.where import encode
from holdfast.engines.changes import listed
from holdfast.engines.names import quote_identifier
from holdfast.sync import lineage, notes
from holdfast.sync.along import note_conflict, put_in_place
from holdfast.sync.lineage import Seen
from holdfast.sync.merge import Clash, Image, Merged, Policy, merge, with_latest
from holdfast.sync.stage import DECIDED, Columns, Key, Side, Stage

MOST_AT_ONCE = 2_000


@dataclass(frozen=True)
class Sender:
    """Whose batch it is, what of the hub it was made from, and the tables that are synced with it."""

    id: str
    seen: Sequence[Seen]
    sides: Sequence[Side]


@dataclass(frozen=True)
class Sent:
    """One table's part of a batch: where it goes, and its rows."""

    side: Side
    batches: Iterable[Columns]


@dataclass
class Answer:
    """What became of a batch, by table: rows that are not as they were sent, and those that were refused.

    ``own`` are the positions in the feed that hold nothing else than these rows. ``taken`` has each table
    that was in the batch when it was applied, with the numbers of the rows that were refused.
    """

    is_repeated: bool = False
    images: dict[str, dict[Key, Image]] = field(default_factory=dict)
    refused: dict[str, dict[Key, str]] = field(default_factory=dict)
    own: dict[str, tuple[int, int]] = field(default_factory=dict)
    taken: dict[str, dict[int, str]] = field(default_factory=dict)
    rows: int = 0
    conflicts: int = 0
    seen: Seen = (0, "")


class Cloned(Exception):
    """A batch of that number was applied, and it was another one: this replica is a copy of what it was."""


def receive(
    hub: Executor, sender: Sender, batch: tuple[int, str], sent: Sequence[Sent], policy: Policy
) -> Answer:
    """Apply a batch in one transaction, or only answer if it was applied before.

    ``sent`` are the tables in the order in which they refer to each other.

    Raises:
        Cloned: if the number stands for another batch.
        HubChanged: if the hub does not know what the replica has seen of it.
    """
    replica = sender.id
    answer = Answer()
    with Transaction(hub):
        hub.engine.connect.wait_for_rows(hub.run)
        hub.engine.changes.turn(hub.run)
        lineage.check(hub, replica, sender.seen)
        answer.is_repeated = was_applied(hub, replica, batch)
        if answer.is_repeated:
            answer.taken = _remembered(hub, replica)
            # A table that was paused then is not of this batch: its rows are put back, and come with another.
            sent = [part for part in sent if part.side.tracked.name in answer.taken]
        stages = []
        for part in sent:
            stage = Stage(part.side, was=True)
            refused = answer.refused.setdefault(part.side.tracked.name, {})
            stage.create()
            stage.load(part.batches, refused.__setitem__)
            stages.append(stage)
        if not answer.is_repeated:
            _apply(hub, stages, sender, policy, answer)
            note_applied(hub, replica, batch, answer.taken)
        for stage in stages:
            stage.refused = answer.taken[stage.side.tracked.name]
            _tell(stage, answer)
            stage.drop()
        answer.seen = lineage.note(hub, replica)
    return answer


def was_applied(hub: Executor, replica: str, batch: tuple[int, str]) -> bool:
    """Whether a batch was applied before; a replica sends one after the other."""
    rows = hub.rows(f'SELECT "seq", "hash" FROM {notes.REPLICAS} WHERE "id" = ?', (replica,))
    seq, token = rows[0] if rows else (0, None)
    if (seq, token) == batch:
        return True
    if seq >= batch[0]:
        raise Cloned
    return False


def note_applied(
    hub: Executor, replica: str, batch: tuple[int, str], taken: Mapping[str, Mapping[int, str]]
) -> None:
    """Know the batch again, its tables, and what was refused of it: the answer may be lost."""
    hub.run(
        f'UPDATE {notes.REPLICAS} SET "seq" = ?, "hash" = ?, "refused" = ? WHERE "id" = ?',
        (*batch, json.dumps(taken), replica),
    )


def _remembered(hub: Executor, replica: str) -> dict[str, dict[int, str]]:
    known = json.loads(hub.scalar(f'SELECT "refused" FROM {notes.REPLICAS} WHERE "id" = ?', (replica,)))
    return {table: {int(number): why for number, why in rows.items()} for table, rows in known.items()}


def _apply(hub: Executor, stages: Sequence[Stage], sender: Sender, policy: Policy, answer: Answer) -> None:
    clashes, replica = [], sender.id
    for stage in stages:
        lock(stage)
        clashes += [(stage, *found) for found in decide(stage, policy)]
    changes = [(stage.side.executor.engine.changes, stage) for stage in stages]
    low = {stage.name: each.upcoming(stage.side.executor.run, stage.side.tracked) for each, stage in changes}
    answer.conflicts += put_in_place(hub, stages, sender.sides, replica)
    for stage, number, clash, image in clashes:
        # A row that is refused stays as it is on both sides, and is merged again when it comes again.
        if number not in stage.refused:
            note_conflict(hub, replica, clash, image)
            answer.conflicts += 1
    for each, stage in changes:
        span = low[stage.name], each.here(stage.side.executor.run, stage.side.tracked)
        answer.rows += stage.count - len(stage.refused)
        answer.taken[stage.side.tracked.name] = {**dict.fromkeys(stage.unfit, ""), **stage.refused}
        if _is_all(stage, span):
            answer.own[stage.side.tracked.name] = span


def lock(stage: Stage) -> None:
    """Have nobody else change the rows that are there, in the order of their keys."""
    side = stage.side
    locks = side.executor.engine.features.row_locks
    if locks:
        keys = listed([column.name for column in side.tracked.key])
        side.executor.run(
            f"SELECT count(*) FROM (SELECT 1 FROM {side.table} WHERE ({keys}) IN "
            f"(SELECT {listed(side.tracked.keys)} FROM {stage.quoted}) ORDER BY {keys}{locks}) AS locked"
        )


def decide(stage: Stage, policy: Policy) -> list[tuple[int, Clash, Image]]:
    """Merge each row with what others have made of it meanwhile.

    Return the numbers of those that clash, the clashes, and what was decided.
    """
    found = []
    for number, base, new, current in _changed_meanwhile(stage):
        side = stage.side
        image = new or base or {}
        key = {column.name: image.get(column.name) for column in side.tracked.key}
        images = with_latest(base, new, current, side.latest)
        merged = merge_row(*images, policy, side.tracked.name, key)
        if merged.image is not new:
            stage.change(number, None if merged.image is None else {**merged.image, **key})
        if merged.clash is not None:
            found.append((number, merged.clash, merged.image))
    return found


def merge_row(base: Image, new: Image, current: Image, policy: Policy, table: str, key: Any) -> Merged:
    return merge(base, new, current, policy, table=table, key=key)


def _changed_meanwhile(stage: Stage) -> list[tuple[int, Image, Image, Image]]:
    """Number, base, new and current image of the rows that are not what the replica took them for."""
    side, quoted = stage.side, stage.quoted
    keys = listed(side.tracked.keys, f"{quoted}.")
    was, new = (listed(side.tracked.notes(letter), f"{quoted}.") for letter in "bv")
    parts = [f'{quoted}."n"', f'{quoted}."had"', f'{quoted}."has"', side.there(), keys, was, new]
    unchanged = (
        f'({quoted}."had" = 1 AND {side.there()} AND {side.same(quoted, "b")}) '
        f'OR ({quoted}."had" = 0 AND NOT {side.there()})'
    )
    sql = (
        f"SELECT {', '.join(part for part in [*parts, *side.own()] if part)} FROM {quoted} "
        f'LEFT JOIN {side.table} ON {side.match(quoted)} WHERE NOT ({unchanged}) ORDER BY {quoted}."n"'
    )
    width, rest = side.width, len(side.others)
    found: list[tuple[int, Image, Image, Image]] = []
    for row in side.executor.rows(sql):
        number, had, has, there, *values = row
        key, values = values[:width], values[width:]
        was_values, new_values, own = values[:rest], values[rest : 2 * rest], values[2 * rest :]
        found.append(
            (
                number,
                side.image([*key, *was_values]) if had else None,
                side.image([*key, *new_values]) if has else None,
                side.image(own) if there else None,
            )
        )
    return found


def _is_all(stage: Stage, span: tuple[int, int]) -> bool:
    """Whether the feed has nothing in a span but the rows of a stage: no trigger or foreign key did more."""
    side, (low, high) = stage.side, span
    if high < low:
        return False
    # EXCEPT hashes both; a join that is to end with its first row may look through one for each of the other.
    keys = listed(side.tracked.keys)
    return not side.executor.rows(
        f'SELECT {keys} FROM {quote_identifier(side.tracked.feed)} WHERE "position" BETWEEN ? AND ? '
        f"EXCEPT SELECT {keys} FROM {stage.quoted} LIMIT 1",
        (low, high),
    )


def _tell(stage: Stage, answer: Answer) -> None:
    """Add the rows that are not as they were sent, and those that were refused."""
    side, quoted = stage.side, stage.quoted
    name, width = side.tracked.name, side.width
    images = answer.images.setdefault(name, {})
    refused = answer.refused.setdefault(name, {})
    keys = listed(side.tracked.keys, f"{quoted}.")
    text, values = side.where
    source = f"(SELECT * FROM {side.table} WHERE {text}) AS {side.table}" if text else side.table
    # What was sent and is refused is as it was, and stays with the replica.
    as_sent = (
        f'({quoted}."has" = 1 AND {side.there()} AND {side.same(quoted, "v")}) '
        f'OR ({quoted}."has" = 0 AND NOT {side.there()})'
    )
    rows = side.executor.rows(
        f'SELECT {quoted}."n", {side.there()}, {keys}, {", ".join(side.own())} FROM {quoted} '
        f"LEFT JOIN {source} ON {side.match(quoted)} "
        f'WHERE {quoted}."had" = {DECIDED} OR NOT ({as_sent})',
        values,
    )
    for number, there, *found in rows:
        key = _key(side, found[:width])
        if number in stage.refused:
            refused[key] = stage.refused[number]
        else:
            images[key] = side.image(found[width:]) if there else None


def _key(side: Side, values: Sequence[Any]) -> Key:
    columns = side.decode([[value] for value in values], side.carried[: side.width])
    return tuple(column[0] for column in columns)


# The feed


@dataclass(frozen=True)
class Reading:
    """What is read of one table: from a position on, or all of it, and keys that are asked for besides."""

    side: Side
    start: int | None
    own: Sequence[tuple[int, int]] = ()
    again: Sequence[Key] = ()


def position(side: Side) -> int:
    """Up to where the feed can be read: everything before has been committed, or never will be."""
    return side.executor.engine.changes.position(side.executor.run, side.tracked)


def has_news(reading: Reading, stop: int) -> bool:
    """Whether there is anything to read."""
    if reading.start is None or reading.again:
        return True
    keys, given = _changes(reading, stop)
    return bool(reading.side.executor.rows(f"SELECT 1 {keys} LIMIT 1", given))


def waiting(reading: Reading) -> tuple[int, int]:
    """How many changes there are to read, and how many that an older open transaction keeps back."""
    side, stop = reading.side, position(reading.side)
    late = f'SELECT count(*) FROM {quote_identifier(side.tracked.feed)} WHERE "position" >= ?'
    late_count = int(side.executor.scalar(late, (stop,)) or 0)
    if reading.start is None:
        return int(side.executor.scalar(f"SELECT count(*) FROM {side.table}") or 0), late_count
    changes, given = _changes(reading, stop)
    return int(side.executor.scalar(f"SELECT count(*) {changes}", given) or 0), late_count


def read_feed(reading: Reading, stop: int) -> Generator[Columns, None, None]:
    """The rows that have changed, by column: the key, whether there is a row, and the row."""
    side = reading.side
    text, values = side.where
    source = f"(SELECT * FROM {side.table} WHERE {text}) AS {side.table}" if text else side.table
    if reading.start is None:
        own = ", ".join(side.own())
        keys = ", ".join(side.own()[: side.width])
        yield from _stream(side, f"SELECT {keys}, 1, {own} FROM {source}", values)
        return
    for key in reading.again:
        yield from _one(side, source, values, key)
    changes, given = _changes(reading, stop)
    keys = f"SELECT DISTINCT {listed(side.tracked.keys)} {changes}"
    sql = (
        f"SELECT {listed(side.tracked.keys, 'hf_c.')}, CASE WHEN {side.there()} THEN 1 ELSE 0 END, "
        f"{', '.join(side.own())} FROM ({keys}) AS hf_c LEFT JOIN {source} ON {side.match('hf_c')}"
    )
    yield from _stream(side, sql, [*given, *values])


def _one(side: Side, source: str, values: Sequence[Any], key: Key) -> Iterator[Columns]:
    """A row that was not taken before."""
    parts = [f"{side.table}.{quote_identifier(column.name)} = ?" for column in side.tracked.key]
    encoded = [
        encode(side.tracked.name, column, value) for column, value in zip(side.tracked.key, key, strict=True)
    ]
    sql = f"SELECT {', '.join(side.own())} FROM {source} WHERE {' AND '.join(parts)}"
    found = side.executor.rows(sql, [*values, *encoded])
    row = list(side.image(found[0]).values()) if found else [None] * len(side.names)
    yield [[value] for value in (*key, int(bool(found)), *row)]


def _changes(reading: Reading, stop: int) -> tuple[str, list[Any]]:
    side = reading.side
    sql = f'FROM {quote_identifier(side.tracked.feed)} WHERE "position" >= ? AND "position" < ?'
    given: list[Any] = [reading.start, stop]
    for low, high in reading.own:
        sql += ' AND NOT "position" BETWEEN ? AND ?'
        given += [low, high]
    return sql, given


def _stream(side: Side, sql: str, values: Sequence[Any]) -> Iterator[Columns]:
    width = side.width
    for batch in side.executor.stream(sql, values, batch_size=MOST_AT_ONCE, undisturbed=True):
        columns = list(zip(*batch, strict=True))
        key = side.decode(columns[:width], side.carried[:width])
        yield [*key, columns[width], *side.decode(columns[width + 1 :], side.carried)]


KEPT = 100_000
"""Rows that are gone and that a table's feed still tells of once all replicas know: for old copies of one."""


def prune(hub: Executor, sides: Iterable[Side]) -> None:
    """Forget the changes of tables that every replica has read, but for what the rows were that are gone."""
    known = {entry.number: entry.pruned for entry in notes.shared(hub).values()}
    for side in sides:
        number, feed = side.tracked.number, quote_identifier(side.tracked.feed)
        ((low,),) = hub.rows(f'SELECT min("position") FROM {notes.CURSORS} WHERE "number" = ?', (number,))
        if low is None or low <= known[number]:
            continue
        with Transaction(hub):
            hub.run(
                f'DELETE FROM {feed} AS hf_f WHERE hf_f."position" >= ? AND hf_f."position" < ? '
                f'AND (hf_f."had" = 0 '
                f"OR EXISTS (SELECT 1 FROM {side.table} WHERE {side.match('hf_f')}))",
                (known[number], low),
            )
            hub.run(
                f'DELETE FROM {feed} WHERE "position" < (SELECT "position" FROM {feed} '
                f'WHERE "position" < ? ORDER BY "position" DESC LIMIT 1 OFFSET {KEPT})',
                (low,),
            )
            hub.run(
                f'UPDATE {notes.SHARED} SET "pruned" = ? WHERE "number" = ? AND "pruned" < ?',
                (low, number, low),
            )
