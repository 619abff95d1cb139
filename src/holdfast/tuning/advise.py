"""Which indexes would help, shown by building them on a copy and measuring.

Candidates are tried one after the other, and the best is kept for the next round, as in Chaudhuri and
Narasayya, "An efficient, cost-driven index selection tool for Microsoft SQL Server", VLDB 1997; what they
take from the planner's costs is measured here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core.executor import Executor
from holdfast.core.indexes import index_name
from holdfast.core.query import bound
from holdfast.engines.base import Run
from holdfast.engines.plans import Rehearsal
from holdfast.errors import Error, InvalidQuery, TransactionError
from holdfast.tuning.candidates import Candidate, Parsed, parsed
from holdfast.tuning.slow_log import fingerprint

MOST_ROWS = 200_000
_TRIAL = "hf_trial"
_LEAST_GAIN = 1.3
"""A statement has to become this many times as fast for an index to be worth its keeping."""
_LEAST_PART = 0.1
_ROUNDS = 3
_LONG = 1.0


@dataclass(frozen=True, slots=True)
class Advice:
    """An index that made statements faster on a copy.

    ``before`` and ``after`` are the seconds of all the ``statements`` that use it, together; ``size`` is in
    bytes and ``write_cost`` in seconds for each row that is written, both of the copy. ``sql`` makes it.
    """

    table: str
    columns: tuple[str, ...]
    sql: str
    before: float
    after: float
    size: int
    write_cost: float
    statements: tuple[str, ...]

    def __str__(self) -> str:
        times = self.before / max(self.after, 1e-9)
        return "\n    ".join(
            [
                f"{self.sql};",
                f"{times:,.1f} times as fast: {self.before * 1000:,.2f} ms, then {self.after * 1000:,.2f} ms",
                f"{self.size / 1024:,.0f} KiB, and some {self.write_cost * 1e6:,.1f} µs for each row written",
                *(f"for {statement}" for statement in self.statements),
            ]
        )


class Advices(list[Advice]):
    """Indexes that help, the one with the most gain first; print it.

    ``skipped`` are statements that could not be looked at, and why.
    """

    skipped: dict[str, str]

    def __str__(self) -> str:
        lines = [*map(str, self)] or ["no index would make these statements faster"]
        return "\n".join([*lines, *(f"not looked at, {why}: {sql}" for sql, why in self.skipped.items())])


@dataclass(slots=True)
class _Query:
    name: str
    native: str
    values: Sequence[Any]
    parsed: Parsed
    at_first: float
    seconds: float
    """With the indexes that are kept so far."""

    def gains(self, after: float) -> bool:
        """Whether that is worth an index: a good part of now, and not only of what little is left."""
        return self.seconds >= _LEAST_GAIN * after and self.seconds - after >= _LEAST_PART * self.at_first


def suggest(executor: Executor, workload: Iterable[str], most_rows: int = MOST_ROWS) -> Advices:
    """The indexes that would make statements faster; nothing is built but on a copy.

    Values that they were given are not needed: each mark gets one of the column it is compared with.
    """
    if executor.in_transaction:
        raise TransactionError(
            "suggest_indexes cannot be part of a transaction", hint="commit or roll back first"
        )
    statements = [] if isinstance(workload, str) else list(workload)
    if isinstance(workload, str) or not all(isinstance(sql, str) for sql in statements):
        raise InvalidQuery("the workload is a list of statements, each a text")
    catalog = executor.engine.catalog
    schema = {table: list(executor.describe(table).names) for table in catalog.tables(executor.run)}
    found = Advices()
    found.skipped = {}
    read: dict[str, Parsed] = {}
    for sql in statements:
        name = fingerprint(sql, executor.engine.lexicon)
        try:
            read[name] = parsed(sql, executor.engine.lexicon, executor.engine.name, schema)
        except InvalidQuery as exc:
            found.skipped[name] = exc.message
    tables = sorted({candidate.table for one in read.values() for candidate in one.candidates})
    if not tables:
        return found
    with executor.engine.plans.rehearsal(executor.driver_connection(), tables, most_rows) as copy:
        found.extend(_tried(executor, copy, read, found.skipped))
    return found


def _tried(
    executor: Executor, copy: Rehearsal, read: dict[str, Parsed], skipped: dict[str, str]
) -> Iterator[Advice]:
    queries = []
    for name, one in read.items():
        copy.run("SAVEPOINT hf_tried")
        try:
            native, values = bound(executor, one.sql, _values(executor, copy.run, one))
            took = _measured(copy.run, native, values)
            queries.append(_Query(name, native, values, one, took, took))
        except Exception as exc:
            if not isinstance(exc, (Error, *executor.caught)):
                raise
            skipped[name] = exc.message if isinstance(exc, Error) else "it does not run on a copy"
            copy.run("ROLLBACK TO SAVEPOINT hf_tried")
        copy.run("RELEASE SAVEPOINT hf_tried")
    waiting = _new(executor, {c for query in queries for c in query.parsed.candidates})
    number = 0
    while waiting:
        trials = []
        for candidate in waiting:
            number += 1
            if trial := _trial(executor, copy, queries, candidate, f"{_TRIAL}{number}"):
                trials.append(trial)
        if not trials:
            return
        best = _best(trials)
        _keep(executor, copy.run, queries, best.advice, f"{_TRIAL}_kept{number}")
        yield best.advice
        waiting = [c for c in waiting if c.columns != best.advice.columns or c.table != best.advice.table]


def _values(executor: Executor, run: Run, one: Parsed) -> dict[str, Any]:
    """Values for the marks, of rows in the middle of what they are compared with; none is ever kept."""
    quote = executor.engine.quote
    found: dict[str, Any] = {}
    rows: dict[str, int] = {}
    for mark, place in one.marks.items():
        if place is None:
            # A LIMIT, or something that is computed.
            found[mark] = 10
            continue
        table, column = map(quote, place)
        if table not in rows:
            rows[table] = int(run(f"SELECT count(*) FROM {table}").fetchall()[0][0])
        seen = run(f"SELECT {column} FROM {table} LIMIT 1 OFFSET {rows[table] // 2:d}").fetchall()
        found[mark] = seen[0][0] if seen else None
    return found


def _measured(run: Run, native: str, values: Sequence[Any]) -> float:
    """The least seconds of some runs: noise only ever adds."""
    least = float("inf")
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        run(native, values).fetchall()
        least = min(least, time.perf_counter() - started)
        if least > _LONG:
            break
    return least


def _new(executor: Executor, candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that no index that is there begins with."""
    catalog = executor.engine.catalog
    there = {
        (index["table"], tuple(index["columns"][:length]))
        for index in catalog.indexes(executor.run, None)
        if not index["partial"]
        for length in range(1, len(index["columns"]) + 1)
    }
    return sorted(
        (c for c in candidates if (c.table, c.columns) not in there), key=lambda c: (c.table, c.columns)
    )


@dataclass(frozen=True, slots=True)
class _Trial:
    advice: Advice
    gain: float


def _trial(
    executor: Executor, copy: Rehearsal, queries: Sequence[_Query], candidate: Candidate, name: str
) -> _Trial | None:
    """What an index does for the statements that use it; it is gone again afterwards."""
    quote, plans = executor.engine.quote, executor.engine.plans
    concerned = [query for query in queries if candidate in query.parsed.candidates]
    size, started = copy.size(), time.perf_counter()
    _build(copy.run, executor.engine.quote, candidate, name)
    took, size = time.perf_counter() - started, copy.size() - size
    copy.run(f"ANALYZE {quote(candidate.table)}")
    rows = int(copy.run(f"SELECT count(*) FROM {quote(candidate.table)}").fetchall()[0][0])
    gained: list[tuple[_Query, float]] = []
    slower = 0.0
    for query in queries if concerned else []:
        step = plans.explain(copy.run, query.native, query.values, analyze=False).step
        if all(one.index != name for one in step.walk()):
            continue
        after = _measured(copy.run, query.native, query.values)
        if query.gains(after):
            gained.append((query, after))
        else:
            slower += max(after - query.seconds, 0.0)
    copy.run(f"DROP INDEX {quote(name)}")
    before, after = sum(query.seconds for query, _ in gained), sum(after for _, after in gained)
    if not gained or slower > before - after:
        return None
    own = index_name(candidate.table, candidate.columns)
    sql = (
        f"CREATE INDEX {executor.engine.features.builds_online}{quote(own)} ON {quote(candidate.table)} "
        f"({', '.join(map(quote, candidate.columns))})"
    )
    statements = tuple(query.name for query, _ in gained)
    advice = Advice(
        candidate.table, candidate.columns, sql, before, after, size, took / max(rows, 1), statements
    )
    return _Trial(advice, before - after - slower)


def _build(run: Run, quote: Callable[[str], str], candidate: Candidate, name: str) -> None:
    columns = ", ".join(map(quote, candidate.columns))
    run(f"CREATE INDEX {quote(name)} ON {quote(candidate.table)} ({columns})")


def _best(trials: Sequence[_Trial]) -> _Trial:
    """The most gain; of those that are nearly as good the narrowest."""
    most = max(trial.gain for trial in trials)
    near = [trial for trial in trials if trial.gain >= 0.9 * most]
    return min(near, key=lambda trial: (len(trial.advice.columns), -trial.gain))


def _keep(executor: Executor, run: Run, queries: Sequence[_Query], advice: Advice, name: str) -> None:
    _build(run, executor.engine.quote, Candidate(advice.table, advice.columns), name)
    run(f"ANALYZE {executor.engine.quote(advice.table)}")
    for query in queries:
        if query.name in advice.statements:
            query.seconds = _measured(run, query.native, query.values)
