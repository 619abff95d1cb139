"""Everything of a user removed from a database, and looked for again afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from holdfast.core import schema
from holdfast.core.executor import Executor
from holdfast.core.transaction import Transaction
from holdfast.errors import Error, TransactionError
from holdfast.memory import tables
from holdfast.memory.embed import cache
from holdfast.sync import forgetting


@dataclass(frozen=True, slots=True)
class Report:
    """What was removed of a user, by table, and what was found afterwards.

    ``unfinished`` says why the files could not be written anew, without which the disk may still have parts
    of what was removed; to erase once more is harmless.
    """

    user_id: str
    removed: dict[str, int]
    left: dict[str, int]
    unfinished: str | None

    @property
    def is_clean(self) -> bool:
        """Whether nothing is left, in the tables or in what they leave on the disk."""
        return not any(self.left.values()) and self.unfinished is None


def erase(executor: Executor, user_id: str) -> Report:
    """Remove the memories of a user from all stores of a database, their past and their kept vectors.

    Raises:
        TransactionError: inside a transaction, as files are written anew.
    """
    if executor.in_transaction:
        raise TransactionError("erase() cannot be part of a transaction", hint="commit or roll back first")
    layouts, removed = tables.stores(executor), {}
    with Transaction(executor):
        # The vectors before the memories, whose removal would take them along uncounted.
        for table in _tables(executor):
            cursor = executor.run(
                f'DELETE FROM {executor.engine.quote(table)} WHERE "user_id" = ?', [user_id]
            )
            removed[table] = int(cursor.rowcount)
        kept = forgetting.Kept(executor, _tables(executor), "user_id", user_id)
        removed |= kept.forget()
    notes = forgetting.places(executor)
    try:
        if executor.engine.upkeep.SAMPLES:
            with Transaction(executor):
                _blank_samples(executor, layouts)
                _blank_notes(executor, notes)
        unfinished = executor.engine.upkeep.scrub(
            executor.run, [*_tables(executor), *notes], [one.table for one in layouts]
        )
    except Error as exc:
        unfinished = exc.message
    left = {
        table: int(
            executor.scalar(
                f'SELECT count(*) FROM {executor.engine.quote(table)} WHERE "user_id" = ?', [user_id]
            )
        )
        for table in _tables(executor)
    }
    waiting = kept.left()
    if any(waiting.values()):
        unfinished = unfinished or "the hub is not told yet: run the sync, then erase once more"
    left |= waiting
    return Report(user_id, removed, left, unfinished)


def _blank_samples(executor: Executor, layouts: Sequence[tables.Layout]) -> None:
    """Make the planner forget the texts of tables that are empty now: of no rows it takes nothing down anew.

    It takes down a row instead that nobody else ever sees.
    """
    quote, vectors = executor.engine.quote, executor.engine.vectors
    one = np.ones(1, dtype=np.float32)
    blank: dict[str, tuple[str, str, list[Any]]] = {}
    for layout in layouts:
        n, mark = f'(SELECT min("n") FROM {quote(layout.table)})', vectors.mark(layout.vector_kind)
        bound = vectors.bound(layout.vector_kind, one)
        common = '"id", "kind", "created_at", "written_at"'
        blank[layout.table] = common, "'', '', 0, 0", []
        number = "version" if "version" in executor.describe(layout.history).names else "n"
        blank[layout.history] = f'{common}, "{number}", "operation", "ended_at"', "'', '', 0, 0, 0, '', 0", []
        blank[layout.vectors] = (
            '"id", "model", "dimension", "n", "embedding"',
            f"'', '', 1, {n}, {mark}",
            [bound],
        )
    blank[cache.TABLE] = '"model", "sha256", "dimension", "made_at", "embedding"', "'', '', 0, 0, ?", [b""]
    present = [table for table in blank if table in _tables(executor)]
    for table in present:
        names, values, given = blank[table]
        sql = f'INSERT INTO {quote(table)} ({names}, "user_id") SELECT {values}, ? '
        if executor.run(f"{sql}WHERE NOT EXISTS (SELECT 1 FROM {quote(table)})", [*given, ""]).rowcount:
            executor.run(f"ANALYZE {quote(table)}")
    for table in reversed(present):
        executor.run(f'DELETE FROM {quote(table)} WHERE "user_id" = ?', [""])


def _blank_notes(executor: Executor, notes: Sequence[str]) -> None:
    """The same for the notes of a sync."""
    for table in notes:
        name, columns = executor.engine.quote(table), executor.describe(table).columns
        given = [column for column in columns if not (column.nullable or column.identity)]
        names = ", ".join(executor.engine.quote(column.name) for column in given)
        values = ", ".join("0" if column.codec.kind.name == "integer" else "''" for column in given)
        sql = f"INSERT INTO {name} ({names}) SELECT {values} WHERE NOT EXISTS (SELECT 1 FROM {name})"
        if executor.run(sql).rowcount:
            executor.run(f"ANALYZE {name}")
            executor.run(f"DELETE FROM {name}")


def _tables(executor: Executor) -> list[str]:
    """The tables that say whose a row is."""

    def all() -> Iterator[str]:
        for layout in tables.stores(executor):
            yield from (layout.vectors, layout.history, layout.table)
        if schema.table_exists(executor, cache.TABLE):
            yield cache.TABLE

    return list(all())
