"""What a hub's foreign keys remove or change along with a row that a replica has removed.

The replica may never have seen it, so that nobody has said so: it is written down.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from holdfast.core.executor import Executor
from holdfast.core.transaction import Transaction
from holdfast.core.where import encode
from holdfast.engines.changes import listed
from holdfast.engines.names import quote_identifier
from holdfast.errors import Error
from holdfast.sync import notes, setup
from holdfast.sync.images import as_text
from holdfast.sync.merge import Clash, Image, alike
from holdfast.sync.setup import Agreed
from holdfast.sync.stage import Key, Side, Stage, settle

MOST_AT_ONCE = 2_000
_SETTING = ("SET NULL", "SET DEFAULT")
Before = Mapping[Key, dict[str, object]]


@dataclass(frozen=True, eq=False)
class Watched:
    """A table of the hub, from where in its feed, and the columns that a foreign key may set there."""

    side: Side
    low: int
    sets: tuple[str, ...]


class _Undone(Exception):
    """Nothing of it is kept."""


def put_in_place(hub: Executor, stages: Sequence[Stage], sides: Iterable[Side], replica: str) -> int:
    """Put staged rows in their place, and write down what went or changed along; return how much did.

    All tables of the hub are looked at, not only the ``sides`` that the replica syncs with it.
    """
    if not any(stage.removes(1, stage.last) for stage in stages):
        settle(stages)
        return 0
    watched = list(_watched(hub, sides))
    by_table = {stage.side.tracked.name: stage for stage in stages}
    changed = _settled(hub, stages, [each for each in watched if each.sets], by_table)
    count = 0
    for each in watched:
        found = _gone(each, by_table) + _changed(each, changed.get(each, {}))
        for clash, image in found:
            note_conflict(hub, replica, clash, image)
        count += len(found)
    return count


def _watched(hub: Executor, sides: Iterable[Side]) -> Iterator[Watched]:
    shared = notes.shared(hub)
    known = {side.tracked.name: side for side in sides}
    for entry in shared.values():
        side = known.get(entry.name) or _side(hub, entry)
        if side is not None:
            low = hub.engine.changes.upcoming(hub.run, side.tracked)
            yield Watched(side, low, _set_by_foreign_keys(side, entry.columns))


def _side(hub: Executor, entry: notes.SharedEntry) -> Side | None:
    """A table that the sender does not sync, or not now; ``None`` if it is not there any more."""
    try:
        columns = tuple(name for name in entry.columns if name in hub.describe(entry.name).names)
        return setup.side(hub, Agreed(entry.name, entry.key, columns), entry.number, None)
    except Error:
        return None


def _set_by_foreign_keys(side: Side, kept: Sequence[str]) -> tuple[str, ...]:
    """The columns, of those whose values the hub may keep."""
    keys = side.executor.engine.catalog.foreign_keys(side.executor.run, side.tracked.name)
    named = {name for key in keys if key["on_delete"] in _SETTING for name in key["columns"]}
    return tuple(column.name for column in side.tracked.others if column.name in named & set(kept))


def _settled(
    hub: Executor, stages: Sequence[Stage], watched: Sequence[Watched], by_table: Mapping[str, Stage]
) -> dict[Watched, Before]:
    """Put staged rows in their place; return what rows were that may have been changed along.

    Only when it is done it can be told which. If there are any, it is taken back, and done once more.
    """
    if not watched:
        settle(stages)
        return {}
    before: dict[Watched, Before] = {}
    try:
        with Transaction(hub):
            settle(stages)
            touched = {each: _touched(each, by_table) for each in watched}
            before = {each: _as_staged(each, by_table) for each in watched}
            if any(touched.values()):
                raise _Undone
    except _Undone:
        unstaged = {each: _rows(each.side, keys) for each, keys in touched.items()}
        settle(stages)
        before = {each: {**before[each], **unstaged[each]} for each in watched}
    return before


def _touched(watched: Watched, by_table: Mapping[str, Stage]) -> list[Key]:
    """The keys of rows that were changed and that nobody sent."""
    side, stage = watched.side, by_table.get(watched.side.tracked.name)
    return _keys(
        side,
        f"SELECT DISTINCT {', '.join(side.noted_keys('hf_f'))} "
        f'FROM {quote_identifier(side.tracked.feed)} AS hf_f WHERE hf_f."had" = 0 '
        f'AND hf_f."position" >= ? AND EXISTS (SELECT 1 FROM {side.table} WHERE {side.match("hf_f")}) '
        f"{_unstaged(stage, 1)}",
        [watched.low],
    )


def _keys(side: Side, sql: str, values: Sequence[object]) -> list[Key]:
    columns = list(zip(*side.executor.rows(sql, values), strict=True))
    return list(zip(*side.decode(columns, side.carried[: side.width]), strict=True)) if columns else []


def _as_staged(watched: Watched, by_table: Mapping[str, Stage]) -> Before:
    """Rows that were put in their place, and in which a foreign key has set something since."""
    side, stage = watched.side, by_table.get(watched.side.tracked.name)
    if stage is None:
        return {}
    places = {column.name: place for place, column in enumerate(side.tracked.others)}
    same = " AND ".join(
        side.executor.engine.changes.same(
            side.others[places[name]],
            f"{side.table}.{quote_identifier(name)}",
            f'{stage.quoted}."v{places[name]}"',
        )
        for name in watched.sets
    )
    columns = ", ".join(
        [f'{stage.quoted}."n"', *side.noted_keys(stage.quoted), *side.noted(stage.quoted, "v")]
    )
    found = side.executor.rows(
        f"SELECT {columns} FROM {stage.quoted} JOIN {side.table} ON {side.match(stage.quoted)} "
        f'WHERE {stage.quoted}."has" = 1 AND NOT ({same})'
    )
    images = [side.image(row) for number, *row in found if number not in stage.refused]
    return {_key_of(side, image): image for image in images}


def _rows(side: Side, keys: Sequence[Key]) -> Before:
    """The rows of these keys that are there."""
    found: dict[Key, dict[str, object]] = {}
    own = [f"{side.table}.{quote_identifier(column.name)}" for column in side.tracked.key]
    match = " AND ".join(f"{name} = ?" for name in own)
    for begin in range(0, len(keys), 100):
        chunk = keys[begin : begin + 100]
        values = [
            encode(side.tracked.name, column, value)
            for key in chunk
            for column, value in zip(side.tracked.key, key, strict=True)
        ]
        where = " OR ".join([f"({match})"] * len(chunk))
        sql = f"SELECT {', '.join(side.own())} FROM {side.table} WHERE {where}"
        for row in side.executor.rows(sql, values):
            image = side.image(row)
            found[_key_of(side, image)] = image
    return found


def _key_of(side: Side, image: Mapping[str, object]) -> Key:
    return tuple(image[column.name] for column in side.tracked.key)


def _named(side: Side, key: Key) -> dict[str, object]:
    return {column.name: value for column, value in zip(side.tracked.key, key, strict=True)}


def _gone(watched: Watched, by_table: Mapping[str, Stage]) -> list[tuple[Clash, Image]]:
    side = watched.side
    return [
        (Clash(side.tracked.name, _named(side, key), image, None, image, ()), None)
        for key, image in gone_since(side, watched.low, but=by_table.get(side.tracked.name))
    ]


def _changed(watched: Watched, before: Before) -> list[tuple[Clash, Image]]:
    side, after = watched.side, _rows(watched.side, list(before))
    found: list[tuple[Clash, Image]] = []
    for key, image in before.items():
        now = after.get(key)
        columns = () if now is None else tuple(n for n in watched.sets if not alike(image[n], now[n]))
        if columns:
            found.append((Clash(side.tracked.name, _named(side, key), image, now, image, columns), now))
    return found


def note_conflict(hub: Executor, replica: str, clash: Clash, image: Image) -> None:
    """Write down what was not kept, in the transaction that does not keep it."""
    hub.run(
        f'INSERT INTO {notes.CONFLICTS} ("id", "at", "replica", "table_name", "key", "kind", "columns", '
        '"base", "ours", "hub", "result") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
        (
            uuid.uuid4().hex,
            datetime.now(UTC).isoformat(" "),
            replica,
            clash.table,
            as_text(clash.key),
            clash.kind,
            json.dumps(clash.columns),
            *map(as_text, (clash.base, clash.ours, clash.hub, image)),
        ),
    )


def gone_since(side: Side, start: int, *, but: Stage | None = None) -> Iterator[tuple[Key, Image]]:
    """Rows that were removed from a position on, as they were, the last image first; but for staged ones."""
    kept = notes.shared(side.executor)[side.tracked.name].columns
    noted = [
        carried.read.format(f'hf_f."b{kept.index(column.name)}"') if column.name in kept else "NULL"
        for carried, column in zip(side.others, side.tracked.others, strict=True)
    ]
    columns = ", ".join([*side.noted_keys("hf_f"), *noted])
    sql = (
        f'SELECT {columns} FROM {quote_identifier(side.tracked.feed)} AS hf_f WHERE hf_f."had" = 1 '
        f'AND hf_f."position" >= ? AND NOT EXISTS (SELECT 1 FROM {side.table} WHERE {side.match("hf_f")}) '
        f"{_unstaged(but, 0)}"
        'ORDER BY hf_f."position" DESC'
    )
    for batch in side.executor.stream(sql, [start], batch_size=MOST_AT_ONCE, undisturbed=True):
        for row in batch:
            image = side.image(row)
            yield tuple(image[column.name] for column in side.tracked.key), image


def _unstaged(stage: Stage | None, has: int) -> str:
    if stage is None:
        return ""
    keys = listed(stage.side.tracked.keys)
    noted = listed(stage.side.tracked.keys, "hf_f.")
    return f'AND ({noted}) NOT IN (SELECT {keys} FROM {stage.quoted} WHERE "has" = {has}) '
