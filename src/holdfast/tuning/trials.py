"""Indexes tried on a copy: what each does for the statements that might use it, and what it costs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from holdfast.core.executor import Executor
from holdfast.engines.base import Run
from holdfast.engines.names import quote_identifier
from holdfast.engines.plans import Rehearsal, Step
from holdfast.errors import Error
from holdfast.tuning.candidates import Candidate
from holdfast.tuning.expressions import Expression
from holdfast.tuning.statement import Write

LEAST_GAIN = 1.3
"""A statement has to become this many times as fast for an index to be worth its keeping."""
_LEAST_PART = 0.1
_LEAST_SECONDS = 2e-5
_NEARLY = 0.9
_SLOWER = 1.15
_SHORTEST = 5e-6
_LEAST_ROUNDS = 5
_MOST_ROUNDS = 9
_ENOUGH = 0.05
_LONG = 1.0
_TRIAL = "hf_trial"
_MOST_CATEGORIES = 10
_RARE = 0.3
_WRITTEN = 1_000
_BEFORE_WRITTEN = 20_000


@dataclass(slots=True, eq=False)
class Query:
    """A statement of the workload on the copy; times are the seconds of one call.

    ``is_fixed`` says that it was always asked with the same values in its text.
    """

    name: str
    native: str
    values: Sequence[Any]
    candidates: frozenset[Candidate]
    tables: frozenset[str]
    calls: int
    is_fixed: bool
    patterns: frozenset[tuple[str, str]] = frozenset()
    "Columns in which it looks for what may stand anywhere."
    at_first: float = 0.0
    seconds: float = 0.0
    plan: Step = field(default_factory=lambda: Step("other", ""))
    "Both with the indexes that are kept so far."

    def gains(self, after: float) -> bool:
        """Whether that is worth an index: a good part of now, and not only of what little is left."""
        gain = self.seconds - after
        return gain >= max(_LEAST_PART * self.at_first, _LEAST_SECONDS) and self.seconds >= LEAST_GAIN * after

    def uses(self, index: str) -> bool:
        return any(step.index == index for step in self.plan.walk())


@dataclass(frozen=True, slots=True)
class Trial:
    """``after`` are the seconds of the statements that gained, by name; ``gain`` is that of all calls.

    ``write_cost`` is in seconds a row, 0 where nothing of the workload writes the index.
    """

    candidate: Candidate
    after: Mapping[str, float]
    gain: float
    size: int
    plans: Mapping[str, Step]


@dataclass(frozen=True, slots=True)
class Dropped:
    """Seconds and plans of the statements that used an index, by name, with it and without."""

    times: Mapping[str, tuple[float, float]]
    plans: Mapping[str, tuple[Step, Step]]
    size: int


class Bench:
    """The copy, and how long each statement takes there with the indexes that are kept so far."""

    def __init__(
        self, executor: Executor, copy: Rehearsal, queries: Sequence[Query], writes: Mapping[Write, int]
    ) -> None:
        self._executor = executor
        self._copy = copy
        self._writes = writes
        self._number = 0
        self._rare: dict[tuple[str, str, str], bool] = {}
        self.queries = list(queries)
        self.failed: dict[str, str] = {}
        for query in queries:
            self._begin(query)
        self.queries = [query for query in queries if query.name not in self.failed]

    def _begin(self, query: Query) -> None:
        with self._aside():
            if (refusal := self._refused(lambda: self._renew(query))) is not None:
                self.failed[query.name] = f"it does not run on a copy: {refusal}"
        query.at_first = query.seconds

    def _may(self, action: Callable[[], object]) -> bool:
        """Do it; false if the database refuses."""
        return self._refused(action) is None

    def _refused(self, action: Callable[[], object]) -> str | None:
        """Do it; why not, if the database refuses."""
        try:
            action()
        except Error as exc:
            return exc.message
        except self._executor.caught as exc:
            return self._executor.engine.translate(exc).message
        return None

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """What the block does on the copy is taken back."""
        self._copy.run("SAVEPOINT hf_tried")
        try:
            yield
        finally:
            self._copy.run("ROLLBACK TO SAVEPOINT hf_tried")
            self._copy.run("RELEASE SAVEPOINT hf_tried")

    def _renew(self, query: Query) -> None:
        """Measure a statement as the copy is now."""
        query.plan = self.planned(query)
        query.seconds = self.measured(query)

    def measured(self, query: Query) -> float:
        return measured(self._executor, self._copy.run, query)

    def planned(self, query: Query) -> Step:
        return planned(self._executor, self._copy.run, query)

    # Making them

    def create(self, candidate: Candidate, name: str) -> None:
        self._prepare(candidate)
        self._copy.build(name, definition(self._executor, candidate, name))

    def _prepare(self, candidate: Candidate) -> None:
        if candidate.extension is not None:
            self._copy.run(extended(candidate.extension))

    def keep(self, trial: Trial, name: str) -> None:
        """Make an index for good, which the next trials are measured with."""
        self.create(trial.candidate, name)
        for query in self.queries:
            if candidate_of(query, trial.candidate):
                self._renew(query)

    def confirmed(self, trial: Trial) -> Trial | None:
        """The same again, with times of just now on both sides: others use the machine too."""
        for query in self.queries:
            if query.name in trial.after:
                query.seconds = self.measured(query)
        return self.tried(trial.candidate)

    def tried(self, candidate: Candidate) -> Trial | None:
        """What an index does for the statements that use it; ``None`` if it is not worth it."""
        concerned = [query for query in self.queries if candidate_of(query, candidate)]
        concerned = [query for query in concerned if query.is_fixed or candidate.category is None]
        if not concerned or not self._is_sensible(candidate):
            return None
        self._number += 1
        name = f"{_TRIAL}{self._number}"
        found: list[Trial] = []
        with self._aside():
            self._may(lambda: found.extend(self._measured(candidate, name, concerned)))
        return found[0] if found else None

    def _measured(self, candidate: Candidate, name: str, concerned: Sequence[Query]) -> Iterator[Trial]:
        size = self._copy.size()
        self.create(candidate, name)
        size = self._copy.size() - size
        after, plans, gain = {}, {}, 0.0
        for query in concerned:
            plan = self.planned(query)
            if all(step.index != name for step in plan.walk()):
                continue
            seconds = self.measured(query)
            if query.gains(seconds):
                after[query.name], plans[query.name] = seconds, plan
                gain += (query.seconds - seconds) * query.calls
            else:
                gain -= max(seconds - query.seconds, 0.0) * query.calls
        if after and gain > 0:
            yield Trial(candidate, after, gain, size, plans)

    def _is_sensible(self, candidate: Candidate) -> bool:
        """An index for one value of a column is of use if there are few values and this is a rare one."""
        if candidate.category is None:
            return True
        table, column = map(self._executor.engine.quote, (candidate.table, candidate.category))
        key = table, column, str(candidate.where)
        if key not in self._rare:
            some = f"SELECT DISTINCT {column} FROM {table} LIMIT {_MOST_CATEGORIES + 1}"
            values, own, every = (
                int(self._copy.run(f"SELECT count(*) FROM {rows}").fetchall()[0][0])
                for rows in (f"({some}) AS counted", f"{table} WHERE {candidate.where}", table)
            )
            self._rare[key] = 1 < values <= _MOST_CATEGORIES and 0 < own <= _RARE * every
        return self._rare[key]

    # Dropping them

    def unharmed(self, *names: str) -> Dropped | None:
        """What becomes of the statements when these are gone; ``None`` if one of them becomes slower.

        Afterwards the indexes are gone, or there again.
        """
        using = [query for query in self.queries if any(map(query.uses, names))]
        before = {query: self.measured(query) for query in using}
        plans = {query: query.plan for query in using}
        after: dict[Query, float] = {}
        self._copy.run("SAVEPOINT hf_dropped")
        size = self._copy.size()

        def drop() -> None:
            for name in names:
                self._copy.run(f"DROP INDEX {self._executor.engine.quote(name)}")
            after.update((query, self.measured(query)) for query in using)

        is_done = self._may(drop) and not any(
            after[q] > _SLOWER * before[q] and after[q] - before[q] > _SHORTEST for q in using
        )
        if not is_done:
            self._copy.run("ROLLBACK TO SAVEPOINT hf_dropped")
        self._copy.run("RELEASE SAVEPOINT hf_dropped")
        if not is_done:
            return None
        for query in using:
            query.seconds, query.plan = after[query], self.planned(query)
        return Dropped(
            {query.name: (before[query], after[query]) for query in using},
            {query.name: (plans[query], query.plan) for query in using},
            size - self._copy.size(),
        )

    # What they cost

    def write_cost(self, candidate: Candidate) -> float:
        """Seconds that an index adds to each row that is written, measured on tables beside the copy.

        It is at least what each row takes when it is built.
        """
        quote, run = self._executor.engine.quote, self._copy.run
        source = quote(candidate.table)
        columns = ", ".join(quote(column.name) for column in self._executor.describe(candidate.table).columns)
        own = replace(candidate, table="hf_indexed")
        with self._aside():
            self._prepare(candidate)
            for name in ("hf_plain", "hf_indexed"):
                run(
                    f"CREATE TEMPORARY TABLE {name} AS SELECT {columns} FROM {source} LIMIT {_BEFORE_WRITTEN}"
                )
            rows = int(run("SELECT count(*) FROM hf_plain").fetchall()[0][0])
            run(f"CREATE TEMPORARY TABLE hf_rows AS SELECT {columns} FROM {source} LIMIT {_WRITTEN}")
            started = time.perf_counter()
            run(definition(self._executor, own, "hf_shadowed"))
            built = (time.perf_counter() - started) / max(rows, 1)
            took = [(self._inserted("hf_plain"), self._inserted("hf_indexed")) for _ in range(_LEAST_ROUNDS)]
        added = min(after for _, after in took) - min(before for before, _ in took)
        return max(added / max(min(rows, _WRITTEN), 1), built)

    def _inserted(self, table: str) -> float:
        started = time.perf_counter()
        self._copy.run(f"INSERT INTO {table} SELECT * FROM hf_rows")
        return time.perf_counter() - started

    def written(self, candidate: Candidate) -> int:
        """How often the workload writes rows whose entries in such an index change."""
        own = candidate.reads
        return sum(
            count
            for write, count in self._writes.items()
            if write.table == candidate.table and (write.columns is None or own & write.columns)
        )


def candidate_of(query: Query, candidate: Candidate) -> bool:
    return candidate in query.candidates


def planned(executor: Executor, run: Run, query: Query) -> Step:
    return executor.engine.plans.explain(run, query.native, query.values, analyze=False).step


def measured(executor: Executor, run: Run, query: Query) -> float:
    """The least seconds of some runs: noise only ever adds."""
    plans, spent = executor.engine.plans, 0.0
    took: list[float] = []
    while len(took) < _MOST_ROUNDS and spent < _LONG and (len(took) < _LEAST_ROUNDS or spent < _ENOUGH):
        took.append(plans.seconds(run, query.native, query.values))
        spent += took[-1]
    return min(took)


def definition(executor: Executor, candidate: Candidate, name: str, *, online: str = "") -> str:
    """CREATE INDEX."""
    quote, down = executor.engine.quote, candidate.descending
    keys = ((key if isinstance(key, Expression) else quote(key), key in down) for key in candidate.columns)
    listed = ", ".join(key + (" DESC" if goes_down else "") for key, goes_down in keys)
    using = f" USING {candidate.method}" if candidate.method is not None else ""
    sql = f"CREATE INDEX {online}{quote(name)} ON {quote(candidate.table)}{using} ({listed})"
    if candidate.include:
        sql += f" INCLUDE ({', '.join(map(quote, candidate.include))})"
    return sql if candidate.where is None else f"{sql} WHERE {candidate.where}"


def extended(extension: str) -> str:
    """What an index of a kind that the database does not have by itself needs."""
    return f"CREATE EXTENSION IF NOT EXISTS {quote_identifier(extension)}"


def best(trials: Iterable[Trial], queries: Iterable[Query]) -> Trial:
    """The most gain; of those that gain nearly as much the one with the least of time and room together."""
    trials = list(trials)
    most = max(trials, key=lambda trial: trial.gain)
    now = {query.name: query.seconds for query in queries}

    def price(trial: Trial) -> float:
        left = sum(max(trial.after.get(name, now[name]), _SHORTEST) for name in most.after)
        return left * math.sqrt(max(trial.size, 1))

    return min((trial for trial in trials if trial.gain >= _NEARLY * most.gain), key=price)
