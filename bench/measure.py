"""Measuring contenders beside each other: in turn, round after round, against the first of them."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

US = "holdfast"


class Against(Enum):
    """How a figure is set against the limit's figure of the same round."""

    RATIO = "divided by it"
    EXTRA = "minus it"


@dataclass(frozen=True)
class Contender:
    """One way to do the work of a case; ``repeat(n)`` does it n times, in a loop of its own."""

    name: str
    repeat: Callable[[int], object]


@dataclass(frozen=True)
class Case:
    """One comparison. The first contender is the limit; ``goal`` is the most that Holdfast may need."""

    name: str
    contenders: tuple[Contender, ...]
    calls: int
    goal: float | None = None
    against: Against = Against.RATIO
    unit: str = "µs"

    @property
    def limit(self) -> Contender:
        return self.contenders[0]


@dataclass(frozen=True)
class Figure:
    """The median of some rounds, and the least and the most."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Figure:
        found = sorted(values)
        return cls(statistics.median(found), found[0], found[-1])


@dataclass(frozen=True)
class Line:
    """What one contender came to: the time of a call, and that against the limit."""

    contender: Contender
    time: Figure
    against: Figure


_PER_SECOND = {"µs": 1e6, "ms": 1e3}


def measure(case: Case, rounds: int) -> list[Line]:
    """Time each contender in each round, in an order that moves on, so that none is always first."""
    for contender in case.contenders:
        contender.repeat(case.calls)
    times: dict[str, list[float]] = {contender.name: [] for contender in case.contenders}
    for number in range(rounds):
        first = number % len(case.contenders)
        gc.collect()
        gc.disable()
        try:
            for contender in (*case.contenders[first:], *case.contenders[:first]):
                times[contender.name].append(_seconds(contender, case.calls) * _PER_SECOND[case.unit])
        finally:
            gc.enable()
    limit = times[case.limit.name]
    return [
        Line(contender, Figure.of(own), Figure.of(_set_against(case.against, own, limit)))
        for contender in case.contenders
        for own in (times[contender.name],)
    ]


def _seconds(contender: Contender, calls: int) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    contender.repeat(calls)
    return (time.perf_counter() - start) / calls


def _set_against(how: Against, own: list[float], limit: list[float]) -> list[float]:
    if how is Against.RATIO:
        return [mine / other for mine, other in zip(own, limit, strict=True)]
    return [mine - other for mine, other in zip(own, limit, strict=True)]
