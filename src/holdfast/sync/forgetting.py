"""What the notes of a sync have of rows that are to be forgotten, as those of somebody who is erased."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from holdfast.core.executor import Executor
from holdfast.core.transaction import Transaction
from holdfast.engines.changes import Tracked
from holdfast.engines.names import quote_identifier
from holdfast.sync import notes
from holdfast.sync.images import of_text


@dataclass(frozen=True, slots=True)
class Kept:
    """What notes have of the rows of some tables whose key has a value in a column."""

    executor: Executor
    tables: Sequence[str]
    column: str
    value: str

    def forget(self) -> dict[str, int]:
        """Remove what need not stay; return how many rows of which table of notes. One transaction.

        Conflicts and quarantined rows go. Of a removed row the hub keeps its key alone, by which other
        replicas learn of it. What waits to be sent stays until then: see :meth:`left`.
        """
        with Transaction(self.executor):
            before = self.left()
            for id in self._conflicts():
                self.executor.run(f'DELETE FROM {notes.CONFLICTS} WHERE "id" = ?', (id,))
            for place in self._quarantined():
                self.executor.run(
                    f'DELETE FROM {notes.QUARANTINE} WHERE "number" = ? AND "key" = ? AND "direction" = ?',
                    place,
                )
            for feed, key, columns in self._feeds():
                blank = ", ".join(f"{name} = NULL" for name in columns)
                self.executor.run(
                    f"UPDATE {quote_identifier(feed)} SET {blank} WHERE {key} = ?", (self.value,)
                )
            after = self.left()
        return {name: count - after[name] for name, count in before.items()}

    def left(self) -> dict[str, int]:
        """How many rows each table of notes has of them."""
        found: dict[str, int] = {}
        if notes.is_there(self.executor, notes.HUB):
            found[notes.CONFLICTS.strip('"')] = len(self._conflicts())
            for feed, key, columns in self._feeds():
                is_blank = " AND ".join(f"{name} IS NULL" for name in columns)
                found[feed] = self._count(feed, f"{key} = ? AND NOT ({is_blank})")
        if notes.is_there(self.executor, notes.STATE):
            found[notes.QUARANTINE.strip('"')] = len(self._quarantined())
            for tracked, place in self._entries():
                found[tracked.log] = self._count(tracked.log, f'"k{place}" = ? AND "had" = 1')
                found[tracked.flight] = self._count(tracked.flight, f'"k{place}" = ?')
        return found

    def _count(self, table: str, condition: str) -> int:
        sql = f"SELECT count(*) FROM {quote_identifier(table)} WHERE {condition}"
        return int(self.executor.scalar(sql, (self.value,)))

    def _conflicts(self) -> list[str]:
        if not notes.is_there(self.executor, notes.CONFLICTS):
            return []
        rows = self.executor.rows(f'SELECT "id", "table_name", "key" FROM {notes.CONFLICTS}')
        return [
            id
            for id, table, key in rows
            if table in self.tables and (of_text(key) or {}).get(self.column) == self.value
        ]

    def _feeds(self) -> Iterator[tuple[str, str, list[str]]]:
        """The notes of a hub that say what rows were, the column of the key, and those that say it."""
        if not notes.is_there(self.executor, notes.HUB):
            return
        for entry in notes.shared(self.executor).values():
            if entry.name in self.tables and self.column in entry.key and entry.columns:
                columns = [f'"b{place}"' for place in range(len(entry.columns))]
                feed = Tracked(entry.name, entry.number, (), ()).feed
                yield feed, f'"k{entry.key.index(self.column)}"', columns

    def _entries(self) -> Iterator[tuple[Tracked, int]]:
        if notes.is_there(self.executor, notes.STATE):
            for entry in notes.entries(self.executor):
                if entry.name in self.tables and self.column in entry.key:
                    yield Tracked(entry.name, entry.number, (), ()), entry.key.index(self.column)

    def _quarantined(self) -> list[tuple[int, str, str]]:
        found: list[tuple[int, str, str]] = []
        for tracked, place in self._entries():
            found += (
                (tracked.number, key, direction)
                for key, direction in self.executor.rows(
                    f'SELECT "key", "direction" FROM {notes.QUARANTINE} WHERE "number" = ?', (tracked.number,)
                )
                if notes.key_of(key)[place] == self.value
            )
        return found


def places(executor: Executor) -> list[str]:
    """The tables of notes that may hold values of rows."""
    found: list[str] = []
    if notes.is_there(executor, notes.HUB):
        shared = notes.shared(executor).values()
        found += [notes.CONFLICTS.strip('"'), *(Tracked(e.name, e.number, (), ()).feed for e in shared)]
    if notes.is_there(executor, notes.STATE):
        found.append(notes.QUARANTINE.strip('"'))
        for entry in notes.entries(executor):
            tracked = Tracked(entry.name, entry.number, (), ())
            found += [tracked.log, tracked.flight]
    return found
