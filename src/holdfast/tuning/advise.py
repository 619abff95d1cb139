"""Which indexes would help and which are of no use, shown by building and dropping them on a copy.

Candidates are tried one after the other, and the best is kept for the next round, as in Chaudhuri and
Narasayya, "An efficient, cost-driven index selection tool for Microsoft SQL Server", VLDB 1997; what they
take from the planner's costs is measured here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from holdfast.core.executor import Executor
from holdfast.core.indexes import index_name
from holdfast.engines.plans import Rehearsal, Step
from holdfast.errors import InvalidQuery, TransactionError
from holdfast.tuning.advice import Advice, Advices
from holdfast.tuning.candidates import Candidate
from holdfast.tuning.explain import of_tables, outline
from holdfast.tuning.expressions import Expression
from holdfast.tuning.fingerprints import fingerprint
from holdfast.tuning.slow_log import Asked
from holdfast.tuning.study import Study, apart
from holdfast.tuning.superfluous import Spare
from holdfast.tuning.trials import LEAST_GAIN, Bench, Query, Trial, best, definition, extended, measured

MOST_ROWS = 200_000


def suggest(
    executor: Executor, workload: Iterable[str | Asked], most_rows: int = MOST_ROWS, *, complete: bool
) -> Advices:
    """What would make statements faster; nothing is built but on a copy.

    Values that they were given are not needed: each mark gets one of the column it is compared with.
    """
    if executor.in_transaction:
        raise TransactionError(
            "suggest_indexes cannot be part of a transaction", hint="commit or roll back first"
        )
    found = Advices()
    found.skipped, found.hints, found._executor = {}, {}, executor
    study = Study(executor, _asked(executor, workload), found.skipped)
    if not study.queries:
        return found
    indexes = study.indexes()
    left = executor.engine.plans.leftovers(executor.run)
    indexes = [index for index in indexes if index["name"] not in left]
    before = study.as_it_is()
    scans = executor.engine.plans.scans(executor.run)
    wanted = study.wanted()
    with (
        executor.lent() as raw,
        executor.engine.plans.rehearsal(raw, study.tables, most_rows) as copy,
    ):
        bench = Bench(executor, copy, study.queries, study.writes)
        found.skipped |= bench.failed
        renewed = [query for query in bench.queries if _is_other(before.get(query.name), query.plan)]
        after = {query.name: (query.seconds, query.plan) for query in renewed}
        created = list(_created(executor, bench, wanted, {index["name"] for index in indexes}))
        stale = _stale(copy, renewed)
        found.hints |= _hints(bench.queries, created)
        spare = Spare(executor, bench, indexes, created, scans if complete else None, complete).found()
    for table in stale:
        found.extend(_analysed(executor, table, [q for q in renewed if table in q.tables], before, after))
    found[:0] = created
    found += spare
    return found


def _asked(executor: Executor, workload: Iterable[str | Asked]) -> dict[str, Asked]:
    """Each kind of statement, with how often it is asked."""
    if isinstance(workload, (str, bytes)) or not isinstance(workload, Iterable):
        raise InvalidQuery("the workload is a list of statements, each a text")
    asked: dict[str, Asked] = {}
    given = list(workload)
    recorded = of_tables(executor, [one for one in given if isinstance(one, Asked)])
    for one in [*recorded, *(one for one in given if not isinstance(one, Asked))]:
        if not isinstance(one, (str, Asked)):
            raise InvalidQuery("the workload is a list of statements, each a text")
        now = Asked(one, 1, 1, True) if isinstance(one, str) else one
        name = fingerprint(now.sql, executor.engine.lexicon)
        asked[name] = asked[name].and_also(now) if name in asked else now
    return asked


def _is_other(before: Step | None, after: Step) -> bool:
    if before is None:
        return False
    return [(step.kind, step.table, step.index) for step in before.walk()] != [
        (step.kind, step.table, step.index) for step in after.walk()
    ]


def _created(executor: Executor, bench: Bench, waiting: list[Candidate], taken: set[str]) -> Iterator[Advice]:
    """The best one of all, then the best one of the others with that, and so on."""
    trials: dict[Candidate, Trial | None] = {}
    while True:
        for candidate in waiting:
            if candidate not in trials:
                trials[candidate] = bench.tried(candidate)
        fit = [trial for trial in trials.values() if trial is not None]
        if not fit:
            return
        trial = best(fit, bench.queries)
        if (again := bench.confirmed(trial)) is None or again.after.keys() != trial.after.keys():
            trials[trial.candidate] = again
            continue
        trial = again
        waiting = [candidate for candidate in waiting if candidate != trial.candidate]
        trials.pop(trial.candidate)
        cost = bench.write_cost(trial.candidate)
        if cost * bench.written(trial.candidate) >= trial.gain:
            # It takes more from what is written than it gives to what is read.
            continue
        name = _free_name(trial.candidate, taken)
        yield _advice(executor, bench, trial, name, cost)
        taken.add(name)
        bench.keep(trial, name)
        changed = {query for query in bench.queries if query.name in trial.after}
        for candidate in list(trials):
            if any(candidate in query.candidates for query in changed):
                del trials[candidate]


def _hints(queries: Sequence[Query], created: Sequence[Advice]) -> Iterator[tuple[str, str]]:
    """What would help statements that look for what may stand anywhere in a text."""
    helped = {statement for advice in created for statement in advice.statements}
    for query in queries:
        read = {step.table for step in query.plan.walk() if step.kind in ("scan", "index scan")}
        for table, column in sorted(query.patterns):
            if table in read and query.name not in helped:
                yield (
                    query.name,
                    f"no index finds what may stand anywhere in {table}.{column}: "
                    f"enable_search({table!r}, {column!r}) has search() find rows by their words",
                )


def _free_name(candidate: Candidate, taken: set[str]) -> str:
    parts = [*map(_in_words, candidate.columns), *candidate.include, *(["some"] if candidate.where else [])]
    name, number = index_name(candidate.table, parts), 1
    while name in taken:
        number += 1
        name = index_name(candidate.table, [*parts, str(number)])
    return name


def _in_words(key: str) -> str:
    return re.sub(r"\W+", "_", key.lower()).strip("_") if isinstance(key, Expression) else key


def _advice(executor: Executor, bench: Bench, trial: Trial, name: str, cost: float) -> Advice:
    gained = {query.name: query for query in bench.queries if query.name in trial.after}
    most = max(gained.values(), key=lambda query: query.seconds - trial.after[query.name])
    return Advice(
        "create",
        trial.candidate.table,
        tuple(map(str, trial.candidate.columns)),
        definition(executor, trial.candidate, name, online=executor.engine.features.builds_online),
        sum(query.seconds for query in gained.values()),
        sum(trial.after.values()),
        trial.size,
        cost,
        tuple(gained),
        include=trial.candidate.include,
        where=trial.candidate.where,
        index=name,
        method=trial.candidate.method,
        first=extended(extension) if (extension := trial.candidate.extension) is not None else None,
        times=tuple((query.seconds, trial.after[name]) for name, query in gained.items()),
        plan_before=outline(most.plan),
        plan_after=outline(trial.plans[most.name]).replace(_trial_index(trial.plans[most.name]), name),
    )


def _trial_index(plan: Step) -> str:
    return next(step.index for step in plan.walk() if step.index and step.index.startswith("hf_trial"))


# Statistics


def _stale(copy: Rehearsal, renewed: Sequence[Query]) -> list[str]:
    asked = {table for query in renewed for table in query.tables}
    return sorted(copy.stale & asked)


def _analysed(
    executor: Executor,
    table: str,
    queries: Sequence[Query],
    plans: Mapping[str, Step],
    after: Mapping[str, tuple[float, Step]],
) -> Iterator[Advice]:
    """Statements are run as they are now, by what the planner believes, and compared with the copy."""
    gained: dict[str, tuple[float, float]] = {}
    for query in queries:
        took = apart(executor, lambda q=query: measured(executor, executor.send, q))
        if took is not None and took >= LEAST_GAIN * after[query.name][0]:
            gained[query.name] = took, after[query.name][0]
    if gained:
        most = max(gained, key=lambda name: gained[name][0] - gained[name][1])
        yield Advice(
            "analyze",
            table,
            (),
            f"ANALYZE {executor.engine.quote(table)}",
            sum(one for one, _ in gained.values()),
            sum(other for _, other in gained.values()),
            0,
            0.0,
            tuple(gained),
            times=tuple(gained.values()),
            plan_before=outline(plans[most]),
            plan_after=outline(after[most][1]),
            reason="what the planner believes of the table is far from what is there",
        )
