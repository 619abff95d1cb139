"""What is wrong with a database, or will be: each finding with its evidence and what mends it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

from holdfast.core import indexes
from holdfast.core.executor import Executor
from holdfast.engines.checks import Finding
from holdfast.errors import TransactionError

_ORDER = {"error": 0, "warning": 1, "note": 2}
MANY = 1_000
"""A table with fewer rows is read faster than an index of it."""


class Findings(list[Finding]):
    """What :func:`examine` found, the worst first; print it.

    ``is_healthy`` is true where nothing is an error.
    """

    @property
    def is_healthy(self) -> bool:
        return not any(finding.severity == "error" for finding in self)

    def __str__(self) -> str:
        return "\n".join(map(str, self)) or "nothing was found"


def examine(executor: Executor, others: Sequence[Finding] = ()) -> Findings:
    """Look for damage, for what may lead to it and for what is slow; nothing is changed."""
    found = [
        *executor.engine.checks.findings(executor.run, executor.target),
        *_of_tables(executor),
        *others,
    ]
    return Findings(sorted(found, key=lambda finding: _ORDER[finding.severity]))


def mend(executor: Executor, findings: Sequence[Finding]) -> list[Finding]:
    """Do what mends them and can do no harm; return those that were mended.

    Raises:
        TransactionError: inside a transaction.
    """
    if executor.in_transaction:
        raise TransactionError("doctor() cannot mend inside a transaction", hint="commit or roll back first")
    upkeep, done = executor.engine.upkeep, set()
    mended = []
    for finding in findings:
        what = (finding.fix, finding.table, finding.columns)
        if finding.fix is None or what in done:
            continue
        done.add(what)
        if finding.fix == "create_index":
            indexes.create_index(executor, str(finding.table), finding.columns)
        else:
            {"analyze": upkeep.analyze, "optimize": upkeep.optimize, "vacuum": upkeep.vacuum}[finding.fix](
                executor.run
            )
        mended.append(finding)
    return mended


def _of_tables(executor: Executor) -> Iterator[Finding]:
    catalog = executor.engine.catalog
    unknown = []
    for table in catalog.tables(executor.run):
        own = catalog.indexes(executor.run, table)
        if not executor.describe(table).primary_key:
            yield Finding(
                "keys",
                "note",
                f"{table} has no primary key: its rows cannot be told apart, paged by key, or synchronised",
                "give it one when it is made anew",
                table,
            )
        yield from _superfluous(table, own)
        count = executor.engine.upkeep.rough_count(executor.run, table)
        if count is None and _has(executor, table, 10 * MANY):
            unknown.append(table)
        if (count if count is not None else MANY * _has(executor, table, MANY)) >= MANY:
            yield from _unindexed(executor, table, own)
    if unknown:
        yield Finding(
            "statistics",
            "warning",
            f"the planner knows nothing of {', '.join(unknown)}, and guesses",
            "analyze() tells it",
            fix="analyze",
        )


def _has(executor: Executor, table: str, rows: int) -> bool:
    quoted = executor.engine.quote(table)
    return bool(executor.rows(f"SELECT 1 FROM {quoted} LIMIT 1 OFFSET {rows - 1}"))


def _unindexed(executor: Executor, table: str, own: Sequence[dict[str, Any]]) -> Iterator[Finding]:
    for key in executor.engine.catalog.foreign_keys(executor.run, table):
        columns = key["columns"]
        led = (index["columns"][: len(columns)] for index in own if not index["partial"])
        if not any(set(some) == set(columns) for some in led):
            yield Finding(
                "foreign keys",
                "warning",
                f"{table}({', '.join(columns)}) refers to {key['references']} and has no index: "
                f"each deletion there reads all of {table}",
                f"create_index({table!r}, {columns!r})",
                table,
                tuple(columns),
                "create_index",
            )


def _superfluous(table: str, own: Sequence[dict[str, Any]]) -> Iterator[Finding]:
    """Indexes that another one does the work of: the same columns, or the same and more after them."""
    plain = [index for index in own if not index["partial"] and None not in index["columns"]]
    gone: set[str] = set()
    for one, other in combinations(sorted(plain, key=lambda index: len(index["columns"])), 2):
        spare, keeps = (one, other) if not one["unique"] or other["unique"] else (other, one)
        if spare["constraint"] or spare["primary_key"] or spare["name"] in gone:
            continue
        if len(spare["columns"]) > len(keeps["columns"]) or (spare["unique"] and not keeps["unique"]):
            continue
        if spare["unique"] and spare["columns"] != keeps["columns"]:
            continue
        if not _is_ordinary(spare) or not _is_ordinary(keeps):
            continue
        if keeps["columns"][: len(spare["columns"])] == spare["columns"]:
            gone.add(spare["name"])
            yield Finding(
                "indexes",
                "note",
                f"the index {spare['name']} of {table} does nothing that {keeps['name']} does not do",
                f"drop_index({table!r}, {spare['name']!r})",
                table,
            )


def _is_ordinary(index: dict[str, Any]) -> bool:
    """A B-tree in its usual order: another kind of index, or order, answers other questions."""
    text = (index.get("sql") or "").upper()
    ways = (" USING ", " DESC", " COLLATE ", " INCLUDE ")
    return not any(way in text for way in ways) or (" USING BTREE " in text and " DESC" not in text)
