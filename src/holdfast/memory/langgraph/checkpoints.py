"""Checkpoints as rows, and back.

Small values lie in the row of their checkpoint, and so do larger ones that are new with it, unless they are
too long together. What the next checkpoint still has is then kept once for each version of its channel, so
that a checkpoint costs what changed since the one before, which is one row as a rule.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    PendingWrite,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from holdfast.core.executor import Executor
from holdfast.core.transaction import Transaction
from holdfast.errors import DatabaseError, ValueRefused
from holdfast.memory.langgraph.tables import BLOBS, CHECKPOINTS, COLUMNS, KEYS, WRITES
from holdfast.types.text import storable

_dumps = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
Row = tuple[Any, ...]
Dumped = tuple[str, bytes]
"""A value as the serialiser wrote it: its kind and its bytes."""
Place = tuple[str, str, str]
"""The thread, the namespace and the id of a checkpoint."""
LONGEST_SMALL = 256
LONGEST_OWN = 16_384
"""Bytes of the new values of large channels that lie in the row of their checkpoint."""
MOST_AT_ONCE = 500


def _listing(table: str) -> str:
    return ", ".join(f'"{name}"' for name in COLUMNS[table])


@cache
def _upsert(table: str, rows: int, when: str = "") -> str:
    """SQL that writes so many rows, in the place of those that are there already."""
    columns, key = COLUMNS[table], KEYS[table]
    marks = f"({', '.join('?' * len(columns))})"
    changes = ", ".join(f'"{name}" = excluded."{name}"' for name in columns if name not in key)
    names = ", ".join(f'"{name}"' for name in key)
    return (
        f'INSERT INTO "{table}" ({_listing(table)}) VALUES {", ".join([marks] * rows)} '
        f"ON CONFLICT ({names}) DO UPDATE SET {changes}{when}"
    )


# What a task wrote stays when it is run again; an error or an interrupt takes the place of the one before.
_ONLY_SPECIAL = ' WHERE excluded."idx" < 0'
_TUPLE = (
    'SELECT c."checkpoint_id", c."parent_id", c."kind", c."data", '
    'w."task_id", w."idx", w."channel", w."kind", w."data", w."task_path" FROM '
    f'(SELECT "checkpoint_id", "parent_id", "kind", "data" FROM "{CHECKPOINTS}" '
    'WHERE "thread_id" = ? AND "checkpoint_ns" = ?{} ORDER BY "checkpoint_id" DESC LIMIT 1) AS c '
    f'LEFT JOIN "{WRITES}" AS w ON w."thread_id" = ? AND w."checkpoint_ns" = ? '
    'AND w."checkpoint_id" = c."checkpoint_id"'
)
_PLACE = '"thread_id" = ? AND "checkpoint_ns" = ? AND "checkpoint_id" = ?'
AFTER = ' AND ("checkpoint_id", "thread_id", "checkpoint_ns") < (?, ?, ?)'
"""The condition on what comes after a checkpoint in the order of a page."""
_LATEST = _TUPLE.format("")
_THE_ONE = _TUPLE.format(' AND "checkpoint_id" = ?')


@dataclass(slots=True)
class Stored:
    """One checkpoint as it was read, before the values of its large channels are there."""

    place: Place
    parent_id: str | None
    checkpoint: Checkpoint
    large: list[str]
    metadata: CheckpointMetadata
    own: Mapping[str, Dumped]
    "The values of large channels that are in its row."
    writes: list[Row] = field(default_factory=list)

    def blobs(self) -> Iterator[Row]:
        """Where the values of its large channels are."""
        versions = self.checkpoint["channel_versions"]
        for channel in self.large:
            yield (self.place[0], self.place[1], channel, str(versions[channel]))


@dataclass(frozen=True, slots=True)
class Rows:
    """Reads and writes checkpoints with one serialiser."""

    executor: Executor
    serde: SerializerProtocol

    # Writing

    def put(
        self,
        place: Place,
        parent_id: str | None,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> None:
        """Write a checkpoint and the values of the channels that are new in it, all or nothing."""
        values, versions = checkpoint["channel_values"], checkpoint["channel_versions"]
        large = [name for name, value in values.items() if not _is_small(value) and name in versions]
        small = {name: value for name, value in values.items() if name not in large} if large else values
        own: dict[str, Dumped] = {}
        blobs: list[Row] = []
        if large:
            own, blobs = self._parted(place, parent_id, checkpoint, large, new_versions)
            large = [name for name in large if name not in own]
        whole = [{**checkpoint, "channel_values": small}, large, metadata, own]
        kind, data = self._dumped(whole, "the checkpoint")
        run_id = metadata.get("run_id")
        run_id = run_id if isinstance(run_id, str) and is_storable(run_id) else None
        written_at = time.time_ns() // 1000
        row = (*place, parent_id, run_id, kind, data, _document(metadata), written_at)
        self._write(row, blobs)

    def _parted(
        self,
        place: Place,
        parent_id: str | None,
        checkpoint: Checkpoint,
        large: Sequence[str],
        new_versions: ChannelVersions,
    ) -> tuple[dict[str, Dumped], list[Row]]:
        """The values of large channels: those for the row of the checkpoint, and those that get their own."""
        values, own, length = checkpoint["channel_values"], {}, 0
        for name in large:
            if name in new_versions:
                own[storable(name)] = dumped = self._dumped(values[name], "a channel's value")
                length += len(dumped[1])
        blobs = (
            []
            if len(own) == len(large)
            else self._older(place, parent_id, checkpoint, set(large) - own.keys())
        )
        if length > LONGEST_OWN:
            blobs += [(*place[:2], name, _version(new_versions[name]), *own[name]) for name in own]
            own = {}
        return own, blobs

    def _older(
        self, place: Place, parent_id: str | None, checkpoint: Checkpoint, names: Iterable[str]
    ) -> list[Row]:
        """Rows for those values, new with an earlier checkpoint, that have none of their own yet."""
        thread_id, namespace, _ = place
        versions = checkpoint["channel_versions"]
        parents = [] if parent_id is None else self.page(_PLACE, (thread_id, namespace, parent_id), 1)
        blobs: list[Row] = []
        unknown: dict[Row, str] = {}
        for name in names:
            key = (thread_id, namespace, storable(name), _version(versions[name]))
            same = [
                each for each in parents if each.checkpoint["channel_versions"].get(name) == versions[name]
            ]
            if same and name in same[0].own:
                blobs.append((*key, *same[0].own[name]))
            elif not same or name not in same[0].large:
                unknown[key] = name
        for key, _ in self.among(BLOBS, KEYS[BLOBS], (), list(unknown)):
            del unknown[key]
        for key, name in unknown.items():
            blobs.append((*key, *self._dumped(checkpoint["channel_values"][name], "a channel's value")))
        return blobs

    def _write(self, row: Row, blobs: list[Row]) -> None:
        executor = self.executor
        if not blobs:
            executor.run(_upsert(CHECKPOINTS, 1), row)
        elif executor.engine.features.writes_in_with and len(blobs) <= MOST_AT_ONCE:
            # One trip to the server, and one statement is a transaction.
            sql = f"WITH blobs AS ({_upsert(BLOBS, len(blobs))}) {_upsert(CHECKPOINTS, 1)}"
            executor.run(sql, [*(value for blob in blobs for value in blob), *row])
        else:
            with Transaction(executor):
                self._insert(BLOBS, blobs)
                executor.run(_upsert(CHECKPOINTS, 1), row)

    def _insert(self, table: str, rows: list[Row], when: str = "") -> None:
        for some in _portions(rows):
            self.executor.run(_upsert(table, len(some), when), [value for row in some for value in row])

    def put_writes(
        self, place: Place, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> None:
        """Write what a task wrote, all or nothing; what it wrote before, when it is run again, stays."""
        rows: dict[int, Row] = {}
        for number, (channel, value) in enumerate(writes):
            index = WRITES_IDX_MAP.get(channel, number)
            written = self._dumped(value, "a write's value")
            rows[index] = (*place, task_id, index, storable(channel), *written, task_path)
        if len(rows) <= MOST_AT_ONCE:
            self._insert(WRITES, list(rows.values()), _ONLY_SPECIAL)
        else:
            with Transaction(self.executor):
                self._insert(WRITES, list(rows.values()), _ONLY_SPECIAL)

    def _dumped(self, value: Any, what: str) -> tuple[str, bytes]:
        try:
            kind, data = self.serde.dumps_typed(value)
        except Exception as exc:
            # Whatever the value's own class raised while it was written.
            raise ValueRefused(
                f"{what} cannot be serialised ({type(exc).__name__})",
                hint="plain values, dataclasses, Pydantic models and messages can",
            ) from exc
        return kind, data

    # Reading

    def one(self, thread_id: str, namespace: str, checkpoint_id: str | None) -> CheckpointTuple | None:
        """That checkpoint, or the latest one of its namespace."""
        while stored := self.stored(thread_id, namespace, checkpoint_id):
            # None if it was removed in between; then another one may be the latest.
            for found in self.tuples([stored]):
                return found
        return None

    def stored(self, thread_id: str, namespace: str, checkpoint_id: str | None) -> Stored | None:
        place: tuple[str, ...] = (thread_id, namespace)
        if checkpoint_id is None:
            rows = self._fetch(_LATEST, (*place, *place))
        else:
            rows = self._fetch(_THE_ONE, (*place, checkpoint_id, *place))
        if not rows:
            return None
        stored = self._stored((*place, *rows[0][:4]))
        if rows[0][4] is not None:
            stored.writes = [row[4:] for row in rows]
        return stored

    def _fetch(self, sql: str, params: Sequence[Any]) -> list[Row]:
        rows: list[Row] = self.executor.fetch(self.executor.native(sql), params, binary=True)
        return rows

    def _stored(self, row: Sequence[Any]) -> Stored:
        thread_id, namespace, checkpoint_id, parent_id, kind, data = row
        checkpoint, large, metadata, own = self._loaded(kind, data)
        return Stored((thread_id, namespace, checkpoint_id), parent_id, checkpoint, large, metadata, own)

    def _loaded(self, kind: str, data: bytes) -> Any:
        try:
            return self.serde.loads_typed((kind, data))
        except Exception as exc:
            raise DatabaseError(
                f"a stored value of kind {kind!r} cannot be read ({type(exc).__name__})",
                hint="it was written by another serialiser, or was changed since",
            ) from exc

    def page(self, condition: str, given: Sequence[Any], limit: int) -> list[Stored]:
        """The newest checkpoints that satisfy a condition, without values and writes."""
        rows = self._fetch(
            'SELECT "thread_id", "checkpoint_ns", "checkpoint_id", "parent_id", "kind", "data" '
            f'FROM "{CHECKPOINTS}" WHERE {condition} '
            'ORDER BY "checkpoint_id" DESC, "thread_id" DESC, "checkpoint_ns" DESC LIMIT ?',
            [*given, limit],
        )
        return [self._stored(row) for row in rows]

    def add_writes(self, found: Sequence[Stored]) -> None:
        """Read the pending writes of checkpoints."""
        by_place = {stored.place: stored for stored in found}
        names = ("task_id", "idx", "channel", "kind", "data", "task_path")
        for place, row in self.among(
            WRITES, ("thread_id", "checkpoint_ns", "checkpoint_id"), names, by_place
        ):
            by_place[place].writes.append(row)

    def tuples(self, found: Sequence[Stored]) -> list[CheckpointTuple]:
        """Checkpoints with all of their values; one that was removed meanwhile is left out."""
        wanted = {key for stored in found for key in stored.blobs()}
        values = dict(self.among(BLOBS, KEYS[BLOBS], ("kind", "data"), wanted))
        gone = self._gone({stored.place for stored in found if not values.keys() >= set(stored.blobs())})
        return [self._tuple(stored, values) for stored in found if stored.place not in gone]

    def _gone(self, places: set[Place]) -> set[Place]:
        # A value is missing where nobody ever said that it is new, and where its checkpoint was just removed.
        if not places:
            return places
        return places - {place for place, _ in self.among(CHECKPOINTS, KEYS[CHECKPOINTS], (), places)}

    def among(
        self, table: str, keys: Sequence[str], names: Sequence[str], wanted: Iterable[tuple[str, ...]]
    ) -> Iterator[tuple[Any, Row]]:
        """The rows of ``table`` whose ``keys`` are wanted: those keys, and the columns ``names``."""
        for some in _portions(list(wanted)):
            sql = _joining(table, tuple(keys), tuple(names), len(some))
            for row in self._fetch(sql, [value for key in some for value in key]):
                yield row[: len(keys)], row[len(keys) :]

    def _tuple(self, stored: Stored, values: Mapping[Any, Row]) -> CheckpointTuple:
        checkpoint = stored.checkpoint
        for name, (kind, data) in stored.own.items():
            checkpoint["channel_values"][name] = self._loaded(kind, data)
        for key in stored.blobs():
            if key in values:
                checkpoint["channel_values"][key[2]] = self._loaded(*values[key])
        writes: list[PendingWrite] = [
            (task_id, channel, self._loaded(kind, data))
            for task_id, _, channel, kind, data, _ in sorted(stored.writes, key=_order_of_writes)
        ]
        parent = None if stored.parent_id is None else (*stored.place[:2], stored.parent_id)
        return CheckpointTuple(
            config=config_of(stored.place),
            checkpoint=checkpoint,
            metadata=stored.metadata,
            parent_config=None if parent is None else config_of(parent),
            pending_writes=writes,
        )


def config_of(place: Place) -> Any:
    """The config that names a checkpoint."""
    return {"configurable": dict(zip(KEYS[CHECKPOINTS], place, strict=True))}


@cache
def _joining(table: str, keys: tuple[str, ...], names: tuple[str, ...], count: int) -> str:
    listing = ", ".join(f't."{name}"' for name in (*keys, *names))
    if count == 1:
        return f'SELECT {listing} FROM "{table}" AS t WHERE ' + " AND ".join(f't."{key}" = ?' for key in keys)
    joined = " AND ".join(f't."{name}" = k.column{number}' for number, name in enumerate(keys, 1))
    marks = ", ".join([f"({', '.join('?' * len(keys))})"] * count)
    return f'SELECT {listing} FROM (VALUES {marks}) AS k JOIN "{table}" AS t ON {joined}'


def _order_of_writes(row: Row) -> tuple[str, str, int]:
    task_id, index, *_, task_path = row
    return task_path, task_id, index


def _version(given: Any) -> str:
    return storable(str(given))


def _is_small(value: Any) -> bool:
    kind = type(value)
    return kind in (bool, int, float, type(None)) or (kind is str and len(value) <= LONGEST_SMALL)


def _portions(rows: list[Any]) -> Iterator[list[Any]]:
    return (rows[at : at + MOST_AT_ONCE] for at in range(0, len(rows), MOST_AT_ONCE))


def _document(metadata: Mapping[str, Any]) -> str:
    """The metadata as JSON, without what JSON cannot hold."""
    try:
        text = _dumps(metadata)
    except (TypeError, ValueError, RecursionError):
        text = "\\u"
    # Nothing is escaped that would have to be looked at.
    if "\\u" not in text:
        return text
    return json.dumps({key: _plain(value) for key, value in metadata.items() if _is_plain(key, value)})


def _is_plain(key: Any, value: Any) -> bool:
    if not isinstance(key, str) or not is_storable(key):
        return False
    if isinstance(value, str):
        return is_storable(value)
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, (bool, int, Mapping, list, tuple))


def _plain(value: Any, depth: int = 0) -> Any:
    if depth > 20:
        return None
    if isinstance(value, Mapping):
        return {key: _plain(part, depth + 1) for key, part in value.items() if _is_plain(key, part)}
    if isinstance(value, (list, tuple)):
        return [_plain(part, depth + 1) if _is_plain("", part) else None for part in value]
    return value


def is_storable(text: str) -> bool:
    try:
        storable(text)
    except ValueRefused:
        return False
    return True
