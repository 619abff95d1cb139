"""Whole threads of checkpoints: removing, copying, pruning."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core.transaction import Transaction
from holdfast.errors import AlreadyExists, NotFoundError
from holdfast.memory.langgraph.checkpoints import AFTER, MOST_AT_ONCE, Rows, Stored
from holdfast.memory.langgraph.tables import BLOBS, CHECKPOINTS, COLUMNS, KEYS, WRITES

STRATEGIES = ("keep_latest", "delete")
PORTION = 100
_TABLES = (WRITES, BLOBS, CHECKPOINTS)


@dataclass(frozen=True, slots=True)
class Threads:
    """Changes threads, each call as one transaction."""

    rows: Rows

    def delete(self, thread_ids: Sequence[str]) -> None:
        """Remove threads."""
        with Transaction(self.rows.executor):
            for table in _TABLES:
                self._delete(table, {}, "thread_id", thread_ids)

    def _delete(self, table: str, where: dict[str, str], column: str, values: Sequence[str]) -> None:
        conditions = "".join(f'"{name}" = ? AND ' for name in where)
        for at in range(0, len(values), MOST_AT_ONCE):
            some = values[at : at + MOST_AT_ONCE]
            self.rows.executor.run(
                f'DELETE FROM "{table}" WHERE {conditions}"{column}" IN ({", ".join("?" * len(some))})',
                [*where.values(), *some],
            )

    def delete_runs(self, run_ids: Sequence[str]) -> None:
        """Remove the checkpoints of runs."""
        with Transaction(self.rows.executor):
            found: dict[tuple[str, str], list[Stored]] = defaultdict(list)
            for at in range(0, len(run_ids), MOST_AT_ONCE):
                some = run_ids[at : at + MOST_AT_ONCE]
                for stored in self._read(f'"run_id" IN ({", ".join("?" * len(some))})', some):
                    found[stored.place[:2]].append(stored)
            for stored_ones in found.values():
                self._remove(stored_ones)

    def _read(self, condition: str, given: Sequence[Any]) -> Iterator[Stored]:
        """What satisfies a condition, read some at a time, without the values that are in its rows."""
        below, last = "", tuple[str, ...]()
        while found := self.rows.page(condition + below, [*given, *last], PORTION):
            for stored in found:
                stored.own = dict.fromkeys(stored.own, ("", b""))
                yield stored
            thread_id, namespace, checkpoint_id = found[-1].place
            below, last = AFTER, (checkpoint_id, thread_id, namespace)

    def _remove(self, gone: Sequence[Stored]) -> None:
        """Remove checkpoints of one namespace, and the values that no other one has."""
        if not gone:
            return
        thread_id, namespace, _ = gone[0].place
        where = {"thread_id": thread_id, "checkpoint_ns": namespace}
        ids = [stored.place[2] for stored in gone]
        for table in (WRITES, CHECKPOINTS):
            self._delete(table, where, "checkpoint_id", ids)
        values = {key for stored in gone for key in stored.blobs()}
        if values:
            for stored in self._read('"thread_id" = ? AND "checkpoint_ns" = ?', (thread_id, namespace)):
                values.difference_update(stored.blobs())
        versions: dict[str, list[str]] = defaultdict(list)
        for _, _, channel, version in values:
            versions[channel].append(version)
        for channel, some in versions.items():
            self._delete(BLOBS, {**where, "channel": channel}, "version", some)

    def copy(self, source: str, target: str) -> None:
        """Copy a thread into a new one."""
        executor = self.rows.executor
        with Transaction(executor):
            if not self._is_there(source):
                raise NotFoundError("there is no thread of that id to copy")
            if self._is_there(target):
                raise AlreadyExists("the thread to copy into is there already", hint="delete it first")
            for table in _TABLES:
                names = ", ".join(f'"{name}"' for name in COLUMNS[table] if name != "thread_id")
                executor.run(
                    f'INSERT INTO "{table}" ("thread_id", {names}) '
                    f'SELECT ?, {names} FROM "{table}" WHERE "thread_id" = ?',
                    (target, source),
                )

    def _is_there(self, thread_id: str) -> bool:
        sql = f'SELECT 1 FROM "{CHECKPOINTS}" WHERE "thread_id" = ? LIMIT 1'
        return bool(self.rows.executor.rows(sql, (thread_id,)))

    def idle(self, before: int) -> list[str]:
        """The threads whose last checkpoint is older, in microseconds since 1970."""
        rows = self.rows.executor.rows(
            f'SELECT "thread_id" FROM "{CHECKPOINTS}" GROUP BY "thread_id" HAVING max("written_at") < ?',
            (before,),
        )
        return [thread_id for (thread_id,) in rows]

    def keep_latest(self, thread_ids: Sequence[str]) -> None:
        """Remove all but the latest checkpoint of each namespace, and what that is made of."""
        with Transaction(self.rows.executor):
            for thread_id in dict.fromkeys(thread_ids):
                by_namespace: dict[str, list[Stored]] = defaultdict(list)
                for stored in self._read('"thread_id" = ?', (thread_id,)):
                    by_namespace[stored.place[1]].append(stored)
                for newest_first in by_namespace.values():
                    kept = self._needed(newest_first)
                    self._remove([stored for stored in newest_first if stored.place[2] not in kept])

    def _needed(self, newest_first: Sequence[Stored]) -> set[str]:
        """The latest checkpoint and, for channels kept as changes, its ancestors up to a snapshot."""
        latest = newest_first[0]
        kept = {latest.place[2]}
        changing = set(latest.metadata.get("counters_since_delta_snapshot") or ())
        by_id = {stored.place[2]: stored for stored in newest_first}
        stored: Stored | None = latest
        while stored is not None and (changing := changing - self._valued(stored)):
            stored = by_id.get(stored.parent_id or "")
            if stored is not None:
                if stored.place[2] in kept:
                    break
                kept.add(stored.place[2])
        return kept

    def _valued(self, stored: Stored) -> set[str]:
        """The channels whose value is kept with this checkpoint."""
        found = self.rows.among(BLOBS, KEYS[BLOBS], (), stored.blobs())
        return {*stored.checkpoint["channel_values"], *stored.own, *(key[2] for key, _ in found)}
