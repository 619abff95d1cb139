"""What is wrong with a database, or will be: each finding with its evidence and what mends it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

from holdfast.core import indexes
from holdfast.core.executor import Executor
from holdfast.core.preview import as_printed
from holdfast.core.transaction import Transaction
from holdfast.engines.checks import Finding
from holdfast.engines.names import quote_identifier as quote
from holdfast.errors import ClosedError, ConfigurationError, ConnectionFailed, Error, TransactionError
from holdfast.tuning import explain, slow_queries
from holdfast.tuning.fingerprints import fingerprint
from holdfast.tuning.slow_log import SlowLog
from holdfast.tuning.superfluous import stand_in

_ORDER = {"error": 0, "warning": 1, "note": 2}
MANY = 1_000
"""A table with fewer rows is read faster than an index of it."""
_MOST_STATEMENTS = 20
_OFTEN = 10


class Findings(list[Finding]):
    """What :func:`examine` found, the worst first; print it.

    ``is_healthy`` is true where nothing is an error.
    """

    @property
    def is_healthy(self) -> bool:
        return not any(finding.severity == "error" for finding in self)

    def __str__(self) -> str:
        return "\n".join(map(str, self)) or "nothing was found"

    def _repr_html_(self) -> str:
        return as_printed(self)


def examine(executor: Executor, others: Sequence[Finding] = (), log: SlowLog | None = None) -> Findings:
    """Look for damage, for what may lead to it and for what is slow; nothing is changed."""
    run, target = executor.run, executor.target
    looks = [(name, partial(check, run, target)) for name, check in executor.engine.checks.CHECKS]
    looks += [
        ("the tables", partial(_of_tables, executor)),
        ("the statements", partial(_of_statements, executor, log)),
    ]
    found = [finding for name, look in looks for finding in _seen(executor, name, look)]
    return Findings(sorted((*found, *others), key=lambda finding: _ORDER[finding.severity]))


def _seen(executor: Executor, name: str, look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """What a check finds; that it may not look, or cannot, is one more finding."""
    failures: tuple[type[Exception], ...] = (Error, *executor.engine.connect.driver_error)
    try:
        with Transaction(executor) if executor.in_transaction else nullcontext():
            return list(look())
    except (ConnectionFailed, ClosedError):
        raise
    except failures as exc:
        error = exc if isinstance(exc, Error) else executor.engine.translate(exc)
        why = error.message
    except OSError as exc:
        why = str(exc.strerror)
    seen = f"{name} could not be looked at: {why}"
    return [Finding("check", "note", seen, "see what this user may do, and whether the file is sound")]


def mend(executor: Executor, findings: Sequence[Finding]) -> list[Finding]:
    """Do what mends them and can do no harm; return those that were mended.

    Raises:
        TransactionError: inside a transaction.
    """
    if executor.in_transaction:
        raise TransactionError("doctor() cannot mend inside a transaction", hint="commit or roll back first")
    mended = [finding for finding in findings if finding.is_safe]
    for statement in dict.fromkeys(statement for finding in mended for statement in finding.sql):
        cursor = executor.run(statement)
        if cursor.description is not None:
            cursor.fetchall()
    executor.forget()
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
        yield from _superfluous(table, own, executor.engine.features.builds_online)
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
            "tell it:",
            sql=("ANALYZE",),
            is_safe=True,
        )


def _of_statements(executor: Executor, log: SlowLog | None) -> Iterator[Finding]:
    """Those that took the most time and read far more than they have to, as far as anybody counted them."""
    try:
        known = slow_queries.workload(executor, log)
    except ConfigurationError:
        return
    asked = explain.of_tables(executor, [one for one in known if one.calls >= _OFTEN])
    counts = executor.engine.plans.statistics(executor.run) is not None
    suggesting = shlex.join(["holdfast", "suggest", *executor.target.words]) if counts else None
    for one in asked[:_MOST_STATEMENTS]:
        try:
            plan = explain.generic(executor, one.sql)
        except Error:
            continue
        unread = [finding for finding in plan.findings if finding.startswith(explain.LACKS_INDEX)]
        if unread:
            name = fingerprint(one.sql, executor.engine.lexicon)
            yield Finding(
                "statements",
                "note",
                f"{name}, which was run {one.calls:,} times, {unread[0]}",
                "which one, and by how much, if any would help:",
                command=suggesting,
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
                (_indexing(executor, table, columns),),
                is_safe=True,
            )


def _indexing(executor: Executor, table: str, columns: Sequence[str]) -> str:
    """The statement that makes an index, under a name that is free, and keeps nobody from writing."""
    taken = {index["name"] for index in executor.engine.catalog.indexes(executor.run, None)}
    name = indexes.index_name(table, columns)
    number = 2
    while name in taken:
        name, number = indexes.index_name(table, [*columns, str(number)]), number + 1
    online = executor.engine.features.builds_online
    keys = ", ".join(map(quote, columns))
    return f"CREATE INDEX {online}{quote(name)} ON {quote(table)} ({keys})"


def _superfluous(table: str, own: Sequence[dict[str, Any]], online: str) -> Iterator[Finding]:
    """Indexes that another one does the work of."""
    left = sorted(own, key=lambda index: len(index["columns"]))
    for index in list(left):
        if (keeps := stand_in(index, left)) is None:
            continue
        left.remove(index)
        yield Finding(
            "indexes",
            "note",
            f"the index {index['name']} of {table} does nothing that {keeps['name']} does not do",
            f"drop_index({table!r}, {index['name']!r})",
            table,
            sql=(f"DROP INDEX {online}{quote(index['name'])}",),
        )
