"""What a replica and a hub know of a sync, in tables of their own, which no listing shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core.executor import Executor
from holdfast.engines.names import SYNC_PREFIX, quote_identifier
from holdfast.sync.images import as_text, of_text

STATE = quote_identifier(f"{SYNC_PREFIX}state")
"""What a replica knows: its id, the hub's epoch, the number of its last batch."""
TABLES = quote_identifier(f"{SYNC_PREFIX}tables")
"""A replica's tables, and how far each has read the hub's feed."""
OWN = quote_identifier(f"{SYNC_PREFIX}own")
"""Positions of the feed that are this replica's own changes."""
QUARANTINE = quote_identifier(f"{SYNC_PREFIX}quarantine")
"""Rows that one side would not take, and why."""
HUB = quote_identifier(f"{SYNC_PREFIX}hub")
"""What a hub knows: its epoch, the policy, the server it is on."""
SHARED = quote_identifier(f"{SYNC_PREFIX}shared")
"""A hub's tables, and below which position its feed has been pruned."""
REPLICAS = quote_identifier(f"{SYNC_PREFIX}replicas")
"""The replicas of a hub, and the last batch of each that was applied."""
CURSORS = quote_identifier(f"{SYNC_PREFIX}cursors")
"""How far each replica has read the feed of each table."""
ROUNDS = quote_identifier(f"{SYNC_PREFIX}rounds")
"""What each replica has taken from a hub, by a number and a token."""
CONFLICTS = quote_identifier(f"{SYNC_PREFIX}conflicts")
"""Every value that was not kept."""

_OF_REPLICA = (
    f'CREATE TABLE IF NOT EXISTS {STATE} ("name" TEXT PRIMARY KEY, "value" TEXT)',
    f'CREATE TABLE IF NOT EXISTS {TABLES} ("number" BIGINT PRIMARY KEY, "name" TEXT NOT NULL UNIQUE, '
    '"key" TEXT NOT NULL, "columns" TEXT NOT NULL, "has_all" BIGINT NOT NULL, "filter" TEXT, '
    '"position" BIGINT, "is_new" BIGINT NOT NULL)',
    f'CREATE TABLE IF NOT EXISTS {OWN} ("number" BIGINT NOT NULL, "low" BIGINT NOT NULL, '
    '"high" BIGINT NOT NULL)',
    f'CREATE TABLE IF NOT EXISTS {QUARANTINE} ("number" BIGINT NOT NULL, "key" TEXT NOT NULL, '
    '"direction" TEXT NOT NULL, "reason" TEXT NOT NULL, "image" TEXT, '
    'PRIMARY KEY ("number", "key", "direction"))',
)
_OF_HUB = (
    f'CREATE TABLE IF NOT EXISTS {HUB} ("name" TEXT PRIMARY KEY, "value" TEXT)',
    f'CREATE TABLE IF NOT EXISTS {SHARED} ("number" BIGINT PRIMARY KEY, "name" TEXT NOT NULL UNIQUE, '
    '"key" TEXT NOT NULL, "columns" TEXT NOT NULL, "pruned" BIGINT NOT NULL)',
    f'CREATE TABLE IF NOT EXISTS {REPLICAS} ("id" TEXT PRIMARY KEY, "seq" BIGINT NOT NULL, "hash" TEXT, '
    '"refused" TEXT, "rounds" BIGINT NOT NULL, "name" TEXT, "seen" TEXT)',
    f'CREATE TABLE IF NOT EXISTS {CURSORS} ("id" TEXT NOT NULL, "number" BIGINT NOT NULL, '
    '"position" BIGINT NOT NULL, PRIMARY KEY ("id", "number"))',
    f'CREATE TABLE IF NOT EXISTS {ROUNDS} ("id" TEXT NOT NULL, "number" BIGINT NOT NULL, '
    '"token" TEXT NOT NULL, PRIMARY KEY ("id", "number"))',
    f'CREATE TABLE IF NOT EXISTS {CONFLICTS} ("id" TEXT PRIMARY KEY, "at" TEXT NOT NULL, '
    '"replica" TEXT NOT NULL, "table_name" TEXT NOT NULL, "key" TEXT NOT NULL, "kind" TEXT NOT NULL, '
    '"columns" TEXT NOT NULL, "base" TEXT, "ours" TEXT, "hub" TEXT, "result" TEXT, "resolved" TEXT)',
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A table as the replica's notes have it. ``position`` is ``None`` until the hub was read whole."""

    number: int
    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    has_all: bool
    filter: Mapping[str, Any] | None
    position: int | None
    is_new: bool


@dataclass(frozen=True, slots=True)
class SharedEntry:
    """A table as the hub's notes have it."""

    number: int
    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    pruned: int


def prepare_replica(executor: Executor) -> None:
    for statement in _OF_REPLICA:
        executor.run(statement)


def prepare_hub(executor: Executor) -> None:
    for statement in _OF_HUB:
        executor.run(statement)


def is_there(executor: Executor, table: str) -> bool:
    """Whether a table of these is there; not by its error, which would end a transaction."""
    name = table.strip('"')
    return executor.engine.catalog.describe(executor.run, name, executor.engine.types) is not None


def read(executor: Executor, table: str) -> dict[str, str]:
    """What ``STATE`` or ``HUB`` says."""
    return dict(executor.rows(f'SELECT "name", "value" FROM {table}'))


def write(executor: Executor, table: str, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        executor.run(
            f'INSERT INTO {table} ("name", "value") VALUES (?, ?) '
            'ON CONFLICT ("name") DO UPDATE SET "value" = excluded."value"',
            (name, None if value is None else str(value)),
        )


def entries(executor: Executor) -> list[Entry]:
    rows = executor.rows(
        'SELECT "number", "name", "key", "columns", "has_all", "filter", "position", "is_new" '
        f'FROM {TABLES} ORDER BY "number"'
    )
    return [
        Entry(
            number,
            name,
            tuple(json.loads(key)),
            tuple(json.loads(columns)),
            bool(has_all),
            json.loads(given) if given else None,
            position,
            bool(is_new),
        )
        for number, name, key, columns, has_all, given, position, is_new in rows
    ]


def shared(executor: Executor) -> dict[str, SharedEntry]:
    rows = executor.rows(f'SELECT "number", "name", "key", "columns", "pruned" FROM {SHARED}')
    return {
        row[1]: SharedEntry(row[0], row[1], tuple(json.loads(row[2])), tuple(json.loads(row[3])), row[4])
        for row in rows
    }


def is_synced(executor: Executor, name: str) -> bool:
    """Whether a table is synced with any other database."""
    return (is_there(executor, STATE) and any(entry.name == name for entry in entries(executor))) or (
        is_there(executor, HUB) and name in shared(executor)
    )


def key_text(key: Sequence[Any]) -> str:
    """A key as the notes of the quarantine have it."""
    return as_text({str(place): value for place, value in enumerate(key)}) or ""


def key_of(text: str) -> tuple[Any, ...]:
    """The key that :func:`key_text` wrote."""
    return tuple((of_text(text) or {}).values())
