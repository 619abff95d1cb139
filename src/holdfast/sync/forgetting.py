"""What the notes of a sync have of rows that are to be forgotten, as those of somebody who is erased."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from holdfast.core.executor import Executor
from holdfast.core.transaction import Transaction
from holdfast.engines.changes import Tracked
from holdfast.engines.names import quote_identifier
from holdfast.sync import notes
from holdfast.sync.images import of_text


def forget(executor: Executor, tables: Sequence[str], column: str, value: str) -> dict[str, int]:
    """Remove what was kept of the rows of these tables whose key has a value; return how many of what.

    Conflicts and quarantined rows go. Of a removed row the hub keeps its key alone, by which other replicas
    learn of it. What waits to be sent stays until then: see :func:`waiting`. One transaction.
    """
    with Transaction(executor):
        return dict(
            [*_at_hub(executor, tables, column, value), *_at_replica(executor, tables, column, value)]
        )


def _at_hub(executor: Executor, tables: Sequence[str], column: str, value: str) -> Iterator[tuple[str, int]]:
    if not notes.is_there(executor, notes.HUB):
        return
    count = 0
    for id, table, key in executor.rows(f'SELECT "id", "table_name", "key" FROM {notes.CONFLICTS}'):
        if table in tables and (of_text(key) or {}).get(column) == value:
            executor.run(f'DELETE FROM {notes.CONFLICTS} WHERE "id" = ?', (id,))
            count += 1
    yield notes.CONFLICTS.strip('"'), count
    for entry in notes.shared(executor).values():
        if entry.name in tables and column in entry.key and entry.columns:
            feed = Tracked(entry.name, entry.number, (), ()).feed
            blank = ", ".join(f'"b{place}" = NULL' for place in range(len(entry.columns)))
            cursor = executor.run(
                f'UPDATE {quote_identifier(feed)} SET {blank} WHERE "k{entry.key.index(column)}" = ?',
                (value,),
            )
            yield feed, int(cursor.rowcount)


def _at_replica(
    executor: Executor, tables: Sequence[str], column: str, value: str
) -> Iterator[tuple[str, int]]:
    if not notes.is_there(executor, notes.STATE):
        return
    count = 0
    for entry in notes.entries(executor):
        if entry.name not in tables or column not in entry.key:
            continue
        place = entry.key.index(column)
        for (key,) in executor.rows(
            f'SELECT "key" FROM {notes.QUARANTINE} WHERE "number" = ?', (entry.number,)
        ):
            if notes.key_of(key)[place] == value:
                executor.run(
                    f'DELETE FROM {notes.QUARANTINE} WHERE "number" = ? AND "key" = ?', (entry.number, key)
                )
                count += 1
    yield notes.QUARANTINE.strip('"'), count


def waiting(executor: Executor, tables: Sequence[str], column: str, value: str) -> dict[str, int]:
    """How many notes of such rows have to stay until the hub was told what became of them."""
    if not notes.is_there(executor, notes.STATE):
        return {}
    found: dict[str, int] = {}
    for entry in notes.entries(executor):
        if entry.name not in tables or column not in entry.key:
            continue
        tracked, key = Tracked(entry.name, entry.number, (), ()), f'"k{entry.key.index(column)}"'
        for name, condition in ((tracked.log, ' AND "had" = 1'), (tracked.flight, "")):
            found[name] = int(
                executor.scalar(
                    f"SELECT count(*) FROM {quote_identifier(name)} WHERE {key} = ?{condition}", (value,)
                )
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
