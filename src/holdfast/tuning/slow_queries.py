"""The statements that took the most time, as this process and the server know them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from holdfast.core.executor import Executor
from holdfast.core.preview import as_printed
from holdfast.core.recording import Kind
from holdfast.core.transaction import Transaction
from holdfast.engines.names import legible
from holdfast.engines.plans import Counted
from holdfast.errors import (
    ClosedError,
    ConfigurationError,
    ConnectionFailed,
    Error,
    InvalidQuery,
    NotSupported,
    did_you_mean,
)
from holdfast.tuning import explain
from holdfast.tuning.fingerprints import fingerprint, is_of_catalogue
from holdfast.tuning.slow_log import Asked, SlowLog

SOURCES = ("process", "server")
_SECOND = 1e9
_FIELDS = ("calls", "total", "mean", "worst", "rows")
COLUMNS = (
    *("sql", "source", "process_p50", "process_p95"),
    *(f"{source}_{name}" for source in SOURCES for name in _FIELDS),
    "plan",
)


@dataclass(frozen=True, slots=True)
class Timing:
    """What one side knows of a kind of statement. Times are seconds, the percentiles within an eighth.

    ``p50`` and ``p95`` are ``None`` on the side of a server, whose statistics have none.
    """

    calls: int
    total: float
    mean: float
    p50: float | None
    p95: float | None
    worst: float
    rows: int

    def __str__(self) -> str:
        words = [f"{self.total * 1000:,.1f} ms in {self.calls:,} calls"]
        if self.p50 is not None and self.p95 is not None:
            words.append(f"half under {self.p50 * 1000:,.2f} ms, 95 % under {self.p95 * 1000:,.2f} ms")
        words.append(f"{self.rows:,} rows")
        return ", ".join(words)


@dataclass(frozen=True, slots=True)
class SlowQuery:
    """All statements that differ in nothing but values.

    ``sql`` has a ``?`` for each value, and one for a list of them. ``process`` is what this process measured,
    with the way to the server and back, ``server`` what the server did of everybody; one may be ``None``, as
    ``source`` says: ``process``, ``server`` or ``both``. ``calls``, ``total`` and the other figures are
    those of this process where it asked, else the server's. ``plan`` is how such a statement is run now,
    where it was asked for.
    """

    sql: str
    process: Timing | None
    server: Timing | None = None
    plan: str | None = None

    @property
    def source(self) -> str:
        if self.process is not None and self.server is not None:
            return "both"
        return "server" if self.process is None else "process"

    @property
    def _own(self) -> Timing:
        found = self.process or self.server
        assert found is not None
        return found

    @property
    def calls(self) -> int:
        return self._own.calls

    @property
    def total(self) -> float:
        return self._own.total

    @property
    def mean(self) -> float:
        return self._own.mean

    @property
    def p50(self) -> float | None:
        return self._own.p50

    @property
    def p95(self) -> float | None:
        return self._own.p95

    @property
    def worst(self) -> float:
        return self._own.worst

    @property
    def rows(self) -> int:
        return self._own.rows

    def record(self) -> dict[str, Any]:
        """Everything in one row, for a table."""
        figures = [getattr(timing, name, None) for timing in (self.process, self.server) for name in _FIELDS]
        middle = [getattr(self.process, name, None) for name in ("p50", "p95")]
        return dict(zip(COLUMNS, [self.sql, self.source, *middle, *figures, self.plan], strict=True))

    def __str__(self) -> str:
        said = str(self._own)
        if self.source == "both":
            said = f"this process {self.process}; the server {self.server}"
        elif self.source == "server":
            said = f"the server {said}"
        plan = "" if self.plan is None else "".join(f"\n    {line}" for line in self.plan.splitlines())
        return legible(f"{said}: {self.sql}{plan}")


class SlowQueries(list[SlowQuery]):
    """Kinds of statements, those first that took the most time together; print it."""

    def __str__(self) -> str:
        return "\n".join(map(str, self)) or "no statement was recorded"

    def _repr_html_(self) -> str:
        return as_printed(self)


def slow_queries(
    executor: Executor, log: SlowLog | None, limit: int | None, *, plans: bool, source: str | None
) -> SlowQueries:
    """What the process and the server know, or one of them."""
    if source not in (None, *SOURCES):
        raise InvalidQuery(f"unknown source {source!r}", hint=did_you_mean(str(source), SOURCES, "sources"))
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        raise InvalidQuery("limit must be a whole number from 0 on, or None for all")
    known = None if source == "process" else _of_server(executor)
    if source == "server":
        if known is None:
            raise NotSupported(
                "this database keeps no statistics of the statements of all programs",
                hint="a PostgreSQL server does that once it loads pg_stat_statements and CREATE EXTENSION "
                "pg_stat_statements was run; db.slow_queries() says what a program ran itself",
            )
        log = None
    if log is None and known is None:
        raise _nothing_recorded()
    found: dict[str, SlowQuery] = {}
    samples: dict[str, str] = {}
    for name, kind in log.slowest() if log is not None else ():
        found[name] = SlowQuery(name, _measured(kind))
        samples[name] = kind.sample
    for name, (sql, timing) in _by_name(executor, known or ()).items():
        own = found.get(name)
        found[name] = SlowQuery(name, None, timing) if own is None else replace(own, server=timing)
        samples.setdefault(name, sql)
    queries = sorted(found.values(), key=_weight, reverse=True)[:limit]
    if plans:
        queries = [replace(query, plan=_plan(executor, samples[query.sql])) for query in queries]
    return SlowQueries(queries)


def _weight(query: SlowQuery) -> float:
    return max(timing.total for timing in (query.process, query.server) if timing is not None)


def _measured(kind: Kind) -> Timing:
    return Timing(
        kind.calls,
        kind.spent / _SECOND,
        kind.spent / _SECOND / max(kind.measured, 1),
        kind.percentile(0.5) / _SECOND,
        kind.percentile(0.95) / _SECOND,
        kind.worst / _SECOND,
        kind.rows,
    )


def _of_server(executor: Executor) -> list[Counted] | None:
    """What the server counted; ``None`` if it does not, or may not say."""
    try:
        with Transaction(executor, read_only=not executor.in_transaction):
            return executor.engine.plans.statistics(executor.run)
    except (ClosedError, ConnectionFailed):
        raise
    except Error:
        return None


def _by_name(executor: Executor, known: Iterable[Counted]) -> dict[str, tuple[str, Timing]]:
    """The server's statements, alike but for their values, each with one of them."""
    found: dict[str, tuple[str, Timing]] = {}
    for one in known:
        if not one.calls or is_of_catalogue(one.sql, executor.engine.lexicon):
            continue
        name = fingerprint(one.sql, executor.engine.lexicon)
        own = Timing(one.calls, one.total, one.total / one.calls, None, None, one.worst, one.rows)
        if name in found:
            own = _together(own, found[name][1])
        found[name] = one.sql, own
    return found


def _together(one: Timing, other: Timing) -> Timing:
    calls, total = one.calls + other.calls, one.total + other.total
    worst = max(one.worst, other.worst)
    return Timing(calls, total, total / calls, None, None, worst, one.rows + other.rows)


def _plan(executor: Executor, native: str) -> str | None:
    """How such a statement is run, whatever its values are; ``None`` if it has no plan by now."""
    try:
        return str(explain.generic(executor, native)) if native else None
    except Error:
        return None


def workload(executor: Executor, log: SlowLog | None) -> list[Asked]:
    """The statements that were recorded, here or by the server, the slowest first.

    Raises:
        ConfigurationError: if nothing is recorded.
    """
    known = _of_server(executor)
    if log is None and known is None:
        raise _nothing_recorded()
    asked = {} if log is None else {fingerprint(one.sql, executor.engine.lexicon): one for one in log.asked()}
    counted = _by_name(executor, known or ())
    for name, (sql, timing) in sorted(counted.items(), key=lambda item: -item[1][1].total):
        # The server has a mark in the place of each value.
        here = asked.get(name, Asked(sql, timing.calls, timing.rows, True))
        is_fixed = here.is_fixed and here.calls >= timing.calls
        asked[name] = Asked(here.sql, max(here.calls, timing.calls), max(here.written, timing.rows), is_fixed)
    return list(asked.values())


def _nothing_recorded() -> ConfigurationError:
    return ConfigurationError(
        "no statements were recorded", hint="connect(url, slow_log=True), or db.record_queries() first"
    )
