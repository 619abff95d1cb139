"""What this process asked of a database: each kind of statement, how often, and how long it took."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from holdfast.core.executor import Executor
from holdfast.engines.sqltext import Lexicon, tokens
from holdfast.errors import ConfigurationError, Error, InvalidQuery, NotSupported, did_you_mean
from holdfast.tuning import explain

MOST_KINDS = 1000
SOURCES = ("process", "server")
_MOST_WAITING = 2048
# Percentiles are those of a histogram whose steps are this much apart, so that memory stays flat.
_STEP = math.log(1.1)
_LEAST = 1e-7
_STEPS = 256
_VALUES = frozenset({"string", "number", "mark"})


@dataclass(frozen=True, slots=True)
class SlowQuery:
    """All statements that differ in nothing but values. Times are seconds, the percentiles within 10 %.

    ``sql`` has a ``?`` for each value, and one for a list of them. A server's own statistics have no
    percentiles. ``plan`` is how such a statement is run now, where it was asked for.
    """

    sql: str
    calls: int
    total: float
    mean: float
    p50: float | None
    p95: float | None
    worst: float
    rows: int
    plan: str | None = None

    def __str__(self) -> str:
        parts = [f"{self.total * 1000:,.1f} ms in {self.calls:,} calls"]
        if self.p50 is not None and self.p95 is not None:
            parts.append(f"half under {self.p50 * 1000:,.2f} ms, 95 % under {self.p95 * 1000:,.2f} ms")
        parts.append(f"{self.rows:,} rows: {self.sql}")
        plan = "" if self.plan is None else "".join(f"\n    {line}" for line in self.plan.splitlines())
        return ", ".join(parts) + plan


@dataclass(frozen=True, slots=True)
class Asked:
    """A statement of a workload, one of its kind: its calls, and the rows that they wrote together.

    ``is_fixed`` says that all calls had the same values in the text.
    """

    sql: str
    calls: int
    written: int
    is_fixed: bool

    def and_also(self, other: Asked) -> Asked:
        """Both together."""
        is_fixed = self.is_fixed and other.is_fixed and self.sql == other.sql
        return Asked(self.sql, self.calls + other.calls, self.written + other.written, is_fixed)


class _Kind:
    """What is known of one kind of statement; ``sample`` is one of them, for its plan."""

    __slots__ = ("calls", "histogram", "is_fixed", "rows", "sample", "total", "worst")

    def __init__(self, sample: str) -> None:
        self.sample = sample
        self.is_fixed = True
        self.calls = self.rows = 0
        self.total = self.worst = 0.0
        self.histogram = np.zeros(_STEPS, dtype=np.int64)

    def add(self, native: str, times: np.ndarray[Any, Any], rows: np.ndarray[Any, Any]) -> None:
        self.is_fixed = self.is_fixed and native == self.sample
        self.calls += len(times)
        self.total += float(times.sum())
        self.worst = max(self.worst, float(times.max()))
        self.rows += int(rows[rows > 0].sum())
        steps = np.ceil(np.log(np.maximum(times, _LEAST) / _LEAST) / _STEP).astype(np.int64)
        self.histogram += np.bincount(np.minimum(steps, _STEPS - 1), minlength=_STEPS)

    def percentile(self, part: float) -> float:
        step = int(np.searchsorted(np.cumsum(self.histogram), part * self.calls))
        return min(_LEAST * math.exp(step * _STEP), self.worst)


class SlowLog:
    """Gathers what an executor tells; no value is ever shown."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._kinds: dict[str, _Kind] = {}
        self._waiting: list[tuple[str, float, int]] = []
        self._lock = threading.Lock()

    def note(self, statement: tuple[str, float, int]) -> None:
        """One statement was run; more is done once there are many."""
        waiting = self._waiting
        waiting.append(statement)
        if len(waiting) > _MOST_WAITING:
            self._gather()

    def _gather(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
            if not waiting:
                return
            natives, seconds, rows = zip(*waiting, strict=True)
            numbers = {native: number for number, native in enumerate(dict.fromkeys(natives))}
            # All in C: this is most of what recording a quick statement costs.
            own = np.fromiter(map(numbers.__getitem__, natives), dtype=np.intp, count=len(natives))
            order = np.argsort(own, kind="stable")
            times, counts = np.array(seconds)[order], np.array(rows)[order]
            ends = np.cumsum(np.bincount(own))
            for native, first, end in zip(numbers, [0, *ends[:-1]], ends, strict=True):
                name = fingerprint(native, self._lexicon)
                kind = self._kinds.get(name) or self._kinds.setdefault(name, _Kind(native))
                kind.add(native, times[first:end], counts[first:end])
            if len(self._kinds) > MOST_KINDS:
                self._kinds = dict(self._by_time()[: MOST_KINDS // 2])

    def _by_time(self) -> list[tuple[str, _Kind]]:
        return sorted(self._kinds.items(), key=lambda item: -item[1].total)

    def asked(self) -> list[Asked]:
        """One statement of each kind, those first that took the most time together."""
        self._gather()
        with self._lock:
            return [Asked(kind.sample, kind.calls, kind.rows, kind.is_fixed) for _, kind in self._by_time()]

    def slowest(self, limit: int | None) -> list[tuple[SlowQuery, str]]:
        """The kinds of statements that took the most time together, each with one of them."""
        self._gather()
        with self._lock:
            return [(_said(sql, kind), kind.sample) for sql, kind in self._by_time()[:limit]]


def _said(sql: str, kind: _Kind) -> SlowQuery:
    return SlowQuery(
        sql,
        kind.calls,
        kind.total,
        kind.total / kind.calls,
        kind.percentile(0.5),
        kind.percentile(0.95),
        kind.worst,
        kind.rows,
    )


@lru_cache(maxsize=4096)
def fingerprint(sql: str, lexicon: Lexicon) -> str:
    """A statement without its values, comments and line breaks; a list of values is one.

    >>> from holdfast.engines.sqltext import SQLITE
    >>> fingerprint("SELECT *  FROM t WHERE a = 'secret' AND b IN (1, 2, 3) -- why", SQLITE)
    'SELECT * FROM t WHERE a = ? AND b IN (?)'
    """
    words: list[str] = []
    for token in tokens(sql, lexicon):
        if token.kind in _VALUES:
            words.append("?")
        elif token.is_code:
            words.append(token.text)
        elif words and words[-1] != " ":
            words.append(" ")
    text = "".join(words).strip().rstrip(";").replace("( ", "(").replace(" )", ")")
    return _collapsed(text)


def _collapsed(text: str) -> str:
    """Lists of values, and lists of rows of values, as one."""
    while (shorter := text.replace("?, ?", "?").replace("?,?", "?")) != text:
        text = shorter
    while (shorter := text.replace("(?), (?)", "(?)").replace("(?),(?)", "(?)")) != text:
        text = shorter
    return text


class SlowQueries(list[SlowQuery]):
    """Kinds of statements, those first that took the most time together; print it."""

    def __str__(self) -> str:
        return "\n".join(map(str, self)) or "no statement was recorded"


def _of_process(executor: Executor, log: SlowLog, limit: int | None, *, plans: bool) -> SlowQueries:
    found = SlowQueries()
    for query, sample in log.slowest(limit):
        found.append(replace(query, plan=_plan(executor, sample)) if plans else query)
    return found


def _plan(executor: Executor, native: str) -> str | None:
    """How such a statement is run, whatever its values are; ``None`` if it has no plan by now."""
    try:
        return str(explain.generic(executor, native))
    except Error:
        return None


def _of_server(
    executor: Executor, known: list[tuple[str, int, float, float, int]], limit: int | None
) -> SlowQueries:
    lexicon = executor.engine.lexicon
    queries = [
        SlowQuery(fingerprint(sql, lexicon), calls, total, total / calls, None, None, worst, rows)
        for sql, calls, total, worst, rows in known
        if calls
    ]
    return SlowQueries(sorted(queries, key=lambda query: -query.total)[:limit])


def slow_queries(
    executor: Executor, log: SlowLog | None, limit: int | None, *, plans: bool, source: str | None
) -> SlowQueries:
    """What a source knows; left out, it is the process if that records, else the server if that counts."""
    if source not in (None, *SOURCES):
        raise InvalidQuery(f"unknown source {source!r}", hint=did_you_mean(str(source), SOURCES, "sources"))
    if log is not None and source != "server":
        return _of_process(executor, log, limit, plans=plans)
    known = None if source == "process" else executor.engine.plans.statistics(executor.run)
    if known is not None:
        return _of_server(executor, known, limit)
    if source == "server":
        raise NotSupported(
            "this server keeps no statistics of statements",
            hint="have it load pg_stat_statements and run CREATE EXTENSION pg_stat_statements",
        )
    raise _nothing_recorded()


def workload(executor: Executor, log: SlowLog | None) -> list[Asked]:
    """The statements that were recorded, here or by the server, the slowest first.

    Raises:
        ConfigurationError: if nothing is recorded.
    """
    if log is not None:
        return log.asked()
    known = executor.engine.plans.statistics(executor.run)
    if known is None:
        raise _nothing_recorded()
    # The server has a mark in the place of each value.
    return [
        Asked(sql, calls, rows, True) for sql, calls, _, _, rows in sorted(known, key=lambda one: -one[2])
    ]


def _nothing_recorded() -> ConfigurationError:
    return ConfigurationError(
        "no statements were recorded", hint="connect(url, slow_log=True), or db.record_queries() first"
    )
