"""Which indexes would help and which are of no use, shown by building and dropping them on a copy.

Candidates are tried one after the other, and the best is kept for the next round, as in Chaudhuri and
Narasayya, "An efficient, cost-driven index selection tool for Microsoft SQL Server", VLDB 1997; what they
take from the planner's costs is measured here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from holdfast.core.executor import Executor
from holdfast.core.indexes import index_name
from holdfast.core.query import bound
from holdfast.core.transaction import Transaction
from holdfast.engines.plans import Rehearsal, Step
from holdfast.errors import Error, InvalidQuery, TransactionError
from holdfast.tuning.candidates import Candidate, Parsed, Write, parsed
from holdfast.tuning.explain import outline
from holdfast.tuning.fingerprints import fingerprint
from holdfast.tuning.slow_log import Asked
from holdfast.tuning.trials import (
    LEAST_GAIN,
    Bench,
    Query,
    Trial,
    best,
    definition,
    measured,
    planned,
)

MOST_ROWS = 200_000
_FAR = 50_000
_BRIEF = 10_000
_WORDS = {"create": "made the index", "drop": "dropped the index", "analyze": "renewed the statistics"}


@dataclass(frozen=True, slots=True)
class Advice:
    """An index to make or to drop, or statistics to renew, with what that did on a copy.

    ``before`` and ``after`` are the seconds of one call of each of the ``statements`` together, and
    ``plan_before`` and ``plan_after`` how the one that gains most is run. ``size`` is in bytes and
    ``write_cost`` in seconds for each row that is written, both of the copy: what a new index costs, or one
    that is dropped gives back. ``index`` is its name and ``sql`` what to run.
    """

    action: Literal["create", "drop", "analyze"]
    table: str
    columns: tuple[str, ...]
    sql: str
    before: float
    after: float
    size: int
    write_cost: float
    statements: tuple[str, ...]
    include: tuple[str, ...] = ()
    where: str | None = None
    index: str | None = None
    plan_before: str | None = None
    plan_after: str | None = None
    reason: str | None = None

    def __str__(self) -> str:
        return "\n    ".join([f"{self.sql};", *self._lines()])

    def _lines(self) -> Iterator[str]:
        if self.reason is not None:
            yield self.reason
        times = f"{self.before * 1000:,.2f} ms, then {self.after * 1000:,.2f} ms"
        costs = f"{self.size / 1024:,.0f} KiB, and some {self.write_cost * 1e6:,.1f} µs for each row written"
        if self.action == "drop":
            yield f"gives back {costs}"
            if self.statements:
                yield f"what used it took {times}"
        else:
            yield f"{self.before / max(self.after, 1e-9):,.1f} times as fast: {times}"
        if self.action == "create":
            yield costs
        if self.plan_before is not None:
            yield f"was: {self.plan_before}"
            yield f"now: {self.plan_after}"
        yield from (f"for {statement}" for statement in self.statements)


class Advices(list[Advice]):
    """What would help, indexes to make first and the one with the most gain before the others; print it.

    ``skipped`` are statements that could not be looked at, and why.
    """

    skipped: dict[str, str]
    _executor: Executor

    def __str__(self) -> str:
        lines = [*map(str, self)] or ["no index would make these statements faster"]
        return "\n".join([*lines, *(f"not looked at, {why}: {sql}" for sql, why in self.skipped.items())])

    def apply(self, *, drop: bool = False) -> Iterator[str]:
        """Make the indexes and renew the statistics; with ``drop`` also drop what is of no use.

        Gives a line for each that was done. On PostgreSQL nobody is kept from writing meanwhile, and what
        a failed or killed try has left of such an index is removed first.

        Raises:
            TransactionError: inside a transaction.
        """
        if self._executor.in_transaction:
            raise TransactionError("indexes are made outside transactions", hint="commit or roll back first")
        for advice in self:
            if advice.action == "drop" and not drop:
                continue
            self._executor.engine.plans.carry_out(self._executor.send, advice.sql, advice.index)
            self._executor.forget()
            of = advice.table if advice.index is None else f"{advice.index} of {advice.table}"
            yield f"{_WORDS[advice.action]} {of}"


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
    found.skipped, found._executor = {}, executor
    study = _Study(executor, _asked(executor, workload), found.skipped)
    if not study.queries:
        return found
    indexes = study.indexes()
    left = executor.engine.plans.leftovers(executor.run)
    indexes = [index for index in indexes if index["name"] not in left]
    before = study.as_it_is()
    scans = executor.engine.plans.scans(executor.run)
    wanted = study.wanted()
    with executor.engine.plans.rehearsal(executor.driver_connection(), study.tables, most_rows) as copy:
        bench = Bench(executor, copy, study.queries, study.writes)
        found.skipped |= dict.fromkeys(bench.failed, "it does not run on a copy")
        renewed = [query for query in bench.queries if _is_other(before.get(query.name), query.plan)]
        after = {query.name: (query.seconds, query.plan) for query in renewed}
        created = list(_created(executor, bench, wanted, {index["name"] for index in indexes}))
        stale = _stale(copy, renewed)
        spare = _Spare(executor, bench, indexes, created, scans if complete else None, complete).found()
    for table in stale:
        found.extend(_analysed(executor, table, [q for q in renewed if table in q.tables], before, after))
    found[:0] = created
    found += spare
    return found


def _asked(executor: Executor, workload: Iterable[str | Asked]) -> dict[str, Asked]:
    """Each kind of statement, with how often it is asked."""
    if isinstance(workload, (str, bytes)):
        raise InvalidQuery("the workload is a list of statements, each a text")
    asked: dict[str, Asked] = {}
    for one in workload:
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


class _Study:
    """The statements, read, and what the database itself says of them."""

    def __init__(self, executor: Executor, asked: Mapping[str, Asked], skipped: dict[str, str]) -> None:
        self._executor = executor
        catalog = executor.engine.catalog
        schema = {table: list(executor.describe(table).names) for table in catalog.tables(executor.run)}
        self.queries: list[Query] = []
        self.writes: dict[Write, int] = {}
        self._rows: dict[str, dict[str, Any]] = {}
        for name, one in asked.items():
            try:
                read = parsed(one.sql, executor.engine.lexicon, executor.engine.name, schema)
            except InvalidQuery as exc:
                skipped[name] = exc.message
                continue
            if read.write is not None:
                self.writes[read.write] = self.writes.get(read.write, 0) + one.written
            if read.sql is not None and read.tables:
                self._add(name, one, read, skipped)
            if read.write is not None and read.write.verb == "delete":
                for child, look in self._referring(read.write.table, schema):
                    self._add(f"{name}, which looks for its rows in {child}", one, look, skipped)
        self.tables = sorted({table for query in self.queries for table in query.tables})

    def _add(self, name: str, asked: Asked, read: Parsed, skipped: dict[str, str]) -> None:
        assert read.sql is not None
        try:
            native, values = bound(self._executor, read.sql, self._values(read))
        except Error as exc:
            skipped[name] = exc.message
            return
        self.queries.append(
            Query(
                name,
                native,
                values,
                frozenset(map(self._possible, read.candidates)),
                read.tables,
                asked.calls,
                asked.is_fixed,
            )
        )

    def _possible(self, one: Candidate) -> Candidate:
        """Where an index cannot include columns, they come last among those that it is read by."""
        if self._executor.engine.features.includes_columns:
            return one
        return replace(one, columns=(*one.columns, *one.include), include=())

    def _values(self, one: Parsed) -> dict[str, Any]:
        """Values for the marks, of a row in the middle of what they are compared with; none is ever kept."""
        # A LIMIT, or something that is computed, has no such place.
        return {
            mark: 10 if place is None else self._row(place[0]).get(place[1])
            for mark, place in one.marks.items()
        }

    def _row(self, table: str) -> dict[str, Any]:
        if table not in self._rows:
            run, quoted = self._executor.run, self._executor.engine.quote(table)
            names = self._executor.describe(table).names
            count = f"SELECT count(*) FROM (SELECT 1 FROM {quoted} LIMIT {_FAR}) AS counted"
            middle = int(run(count).fetchall()[0][0]) // 2
            columns = ", ".join(map(self._executor.engine.quote, names))
            rows = run(f"SELECT {columns} FROM {quoted} LIMIT 1 OFFSET {middle:d}").fetchall()
            self._rows[table] = dict(zip(names, rows[0], strict=True)) if rows else {}
        return self._rows[table]

    def _referring(self, parent: str, schema: Iterable[str]) -> Iterator[tuple[str, Parsed]]:
        """What a database looks for before it lets a row go: those that refer to it."""
        catalog, quote = self._executor.engine.catalog, self._executor.engine.quote
        for child in schema:
            for key in catalog.foreign_keys(self._executor.run, child):
                if key["references"] != parent:
                    continue
                columns = tuple(key["columns"])
                terms = " AND ".join(f"{quote(column)} = :p{n}" for n, column in enumerate(columns))
                marks = {f"p{n}": (child, column) for n, column in enumerate(columns)}
                sql = f"SELECT 1 FROM {quote(child)} WHERE {terms}"
                yield child, Parsed((Candidate(child, columns),), sql, marks, frozenset({child}))

    def indexes(self) -> list[dict[str, Any]]:
        every = self._executor.engine.catalog.indexes(self._executor.run, None)
        return [index for index in every if index["table"] in self.tables]

    def as_it_is(self) -> dict[str, Step]:
        """How the statements are run now, by what the planner knows."""
        return {
            query.name: step
            for query in self.queries
            if (step := _apart(self._executor, lambda q=query: self._planned(q))) is not None
        }

    def _planned(self, query: Query) -> Step:
        return planned(self._executor, self._executor.send, query)

    def wanted(self) -> list[Candidate]:
        """The candidates, without those that the planner would leave alone, where it can be asked."""
        every = {candidate for query in self.queries for candidate in query.candidates}
        ordered = sorted(every, key=lambda c: (c.table, c.columns, c.include, c.where or ""))
        imagine = self._executor.engine.plans.imagining(self._executor.send)
        if imagine is None:
            return ordered
        return [candidate for candidate in ordered if self._is_used(candidate, imagine)]

    def _is_used(self, candidate: Candidate, imagine: Any) -> bool:
        used: list[bool] = []

        def ask() -> None:
            with imagine(definition(self._executor, candidate, "hf_imagined")) as name:
                for query in self.queries:
                    if candidate in query.candidates:
                        used.append(any(step.index == name for step in self._planned(query).walk()))

        _apart(self._executor, ask)
        return any(used)


class _Done(Exception):
    """Ends a transaction that nothing is to be kept of."""


def _apart(executor: Executor, action: Any) -> Any:
    """What ``action`` gives, in a transaction that is taken back; ``None`` where the database refuses."""
    found = None
    try:
        with Transaction(executor, read_only=True):
            found = action()
            raise _Done
    except (_Done, Error):
        return found


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


def _free_name(candidate: Candidate, taken: set[str]) -> str:
    parts = [*candidate.columns, *candidate.include, *(["some"] if candidate.where else [])]
    name, number = index_name(candidate.table, parts), 1
    while name in taken:
        number += 1
        name = index_name(candidate.table, [*parts, str(number)])
    return name


def _advice(executor: Executor, bench: Bench, trial: Trial, name: str, cost: float) -> Advice:
    gained = {query.name: query for query in bench.queries if query.name in trial.after}
    most = max(gained.values(), key=lambda query: query.seconds - trial.after[query.name])
    return Advice(
        "create",
        trial.candidate.table,
        trial.candidate.columns,
        definition(executor, trial.candidate, name, online=executor.engine.features.builds_online),
        sum(query.seconds for query in gained.values()),
        sum(trial.after.values()),
        trial.size,
        cost,
        tuple(gained),
        include=trial.candidate.include,
        where=trial.candidate.where,
        index=name,
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
        took = _apart(executor, lambda q=query: measured(executor, executor.send, q))
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
            plan_before=outline(plans[most]),
            plan_after=outline(after[most][1]),
            reason="what the planner believes of the table is far from what is there",
        )


# Indexes of no use


class _Spare:
    """Indexes that no statement is slower without.

    With ``complete`` the statements are all that is asked; otherwise only an index goes that another one does
    the work of. ``scans`` is how often a server has used each, where it counts.
    """

    def __init__(
        self,
        executor: Executor,
        bench: Bench,
        indexes: Sequence[dict[str, Any]],
        created: Sequence[Advice],
        scans: Mapping[str, int] | None,
        complete: bool,
    ) -> None:
        self._executor = executor
        self._bench = bench
        self._complete = complete
        self._scans = scans or {}
        self._there = [index for index in indexes if index["columns"] and None not in index["columns"]]
        self._new = [
            {"name": one.index, "table": one.table, "columns": list(one.columns), "unique": False}
            for one in created
            if one.where is None
        ]

    def found(self) -> list[Advice]:
        gone = []
        # The narrow ones first: a wider one does their work.
        for index in sorted(self._there, key=lambda index: len(index["columns"])):
            if index["unique"] or index["constraint"]:
                continue
            reason = self._reason(index)
            if reason is not None and (advice := self._without(index, reason)) is not None:
                gone.append(advice)
                self._there.remove(index)
        return gone

    def _reason(self, index: dict[str, Any]) -> str | None:
        if (other := self._instead(index)) is not None:
            return f"{other} does what it does"
        if not self._complete or self._is_for_key(index):
            return None
        if any(query.uses(index["name"]) for query in self._bench.queries):
            return "what uses it is as fast without"
        if self._scans.get(index["name"]):
            # Somebody uses it whom nobody told of.
            return None
        return "none of these statements uses it"

    def _instead(self, index: dict[str, Any]) -> str | None:
        """Another index that begins with the same columns in the same order."""
        if index["partial"] or not is_ordinary(index):
            return None
        width = len(index["columns"])
        for other in [*self._there, *self._new]:
            if other is index or other["table"] != index["table"] or other.get("partial"):
                continue
            if other["columns"][:width] == index["columns"] and is_ordinary(other):
                return str(other["name"])
        return None

    def _is_for_key(self, index: dict[str, Any]) -> bool:
        """Whether a foreign key needs it, which no statement shows."""
        keys = self._executor.engine.catalog.foreign_keys(self._executor.run, index["table"])
        return any(set(index["columns"][: len(key["columns"])]) == set(key["columns"]) for key in keys)

    def _without(self, index: dict[str, Any], reason: str) -> Advice | None:
        names = tuple(query.name for query in self._bench.queries if query.uses(index["name"]))
        if (done := self._bench.unharmed(index["name"])) is None:
            return None
        before, after, size = done
        cost = 0.0 if index["partial"] else self._cost(index)
        return Advice(
            "drop",
            index["table"],
            tuple(index["columns"]),
            f"DROP INDEX {self._executor.engine.features.builds_online}"
            f"{self._executor.engine.quote(index['name'])}",
            before,
            after,
            size,
            cost,
            names,
            index=index["name"],
            reason=reason,
        )

    def _cost(self, index: dict[str, Any]) -> float:
        return self._bench.write_cost(Candidate(index["table"], tuple(index["columns"])))


def is_ordinary(index: Mapping[str, Any]) -> bool:
    """A B-tree in its usual order: another kind of index, or order, answers other questions."""
    text = (index.get("sql") or "").upper()
    ways = (" DESC", " COLLATE ", " INCLUDE ", " NULLS ", "_OPS")
    return not any(way in text for way in ways) and (" USING " not in text or " USING BTREE " in text)
