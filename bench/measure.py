"""Measuring contenders beside each other: in turn, round after round, against the first of them."""

from __future__ import annotations

import gc
import os
import re
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

US = "holdfast"
FEWEST = 5
"""Rounds that are made however long they take, unless fewer were asked for."""

Made = TypeVar("Made")


class Against(Enum):
    """How a figure is set against the limit's figure of the same round."""

    RATIO = "divided by it"
    EXTRA = "minus it"


@dataclass(frozen=True)
class Contender:
    """One way to do the work of a case; ``repeat(n)`` does it n times, in a loop of its own."""

    name: str
    repeat: Callable[[int], object]

    @property
    def is_apart(self) -> bool:
        return self.name.endswith("own process")


@dataclass(frozen=True)
class Case:
    """One comparison. The first contender is the limit; ``goal`` is the most that Holdfast may need."""

    name: str
    contenders: tuple[Contender, ...]
    calls: int
    goal: float | None = None
    against: Against = Against.RATIO
    unit: str = "µs"
    is_here: bool = False
    """All of the work is done in this process, so that its processor time says what it costs."""
    blocks: int = 1
    """So often in a round the contenders take turns, and each turn is compared by itself.

    With short ones what else the machine does meets all alike.
    """

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
    """What one contender came to: the time of a call, and that against the limit.

    ``processor`` is the processor time of this process against the limit's, where it says something.
    """

    contender: Contender
    time: Figure
    against: Figure
    processor: Figure | None = None


@dataclass(frozen=True)
class Result:
    """The lines of one comparison, and how many rounds they come from."""

    case: Case
    lines: list[Line]
    rounds: int


@dataclass(frozen=True)
class Effort:
    """How often a case is measured: so many rounds, but only the fewest once its seconds are used up."""

    rounds: int
    seconds: float


_PER_SECOND = {"µs": 1e6, "ms": 1e3}

left_out: dict[str, str] = {}
"""The peers of a family that could not be measured, each with its reason."""


def rows(usual: int) -> int:
    """How many rows a case works on: fewer than usual in a trial."""
    return min(usual, int(os.environ.get("HOLDFAST_BENCH_ROWS", usual)))


def ready(makers: Mapping[str, Callable[[], Made]], needed: Iterable[str] = (US,)) -> dict[str, Made]:
    """What the contenders made ready; a peer that cannot be had is left out, and said to be."""
    found = {}
    for who, make in makers.items():
        try:
            found[who] = make()
        except Exception as exc:
            if who in needed:
                raise
            _leave_out(who, exc)
    return found


def _leave_out(who: str, exc: Exception) -> None:
    text = (str(exc).strip().splitlines() or [""])[0]
    left_out[who] = f"{type(exc).__name__}: {re.sub(r'/[^ ]+', '…', text)[:100]}"


def measure(case: Case, effort: Effort) -> Result:
    """Time each contender in each round, in an order that moves on, so that none is always first."""
    running = _Running(case)
    running.warm_up()
    started, number = time.perf_counter(), 0
    while number < effort.rounds and (number < FEWEST or time.perf_counter() - started < effort.seconds):
        gc.collect()
        gc.disable()
        try:
            running.round(number)
        finally:
            gc.enable()
        number += 1
    return Result(case, [running.line(contender) for contender in running.going], number)


@dataclass
class _Running:
    """A case while it is measured, with the contenders that have not failed."""

    case: Case
    going: list[Contender] = field(init=False)
    times: dict[str, list[float]] = field(init=False)
    used: dict[str, list[float]] = field(init=False)

    def __post_init__(self) -> None:
        self.going = list(self.case.contenders)
        self.times = {contender.name: [] for contender in self.going}
        self.used = {contender.name: [] for contender in self.going}

    def warm_up(self) -> None:
        for contender in tuple(self.going):
            self._seconds(contender)

    def round(self, number: int) -> None:
        for block in range(number, number + self.case.blocks):
            first = block % len(self.going)
            for contender in (*self.going[first:], *self.going[:first]):
                used = time.process_time()
                seconds = self._seconds(contender)
                self.used[contender.name].append(time.process_time() - used)
                self.times[contender.name].append(seconds * _PER_SECOND[self.case.unit])

    def line(self, contender: Contender) -> Line:
        own, limit = self.times[contender.name], self.times[self.case.limit.name]
        against = Figure.of(_set_against(self.case.against, own, limit))
        processor = None
        if self.case.is_here and not contender.is_apart:
            used = zip(self.used[contender.name], self.used[self.case.limit.name], strict=True)
            processor = Figure.of(mine / other for mine, other in used)
        return Line(contender, Figure.of(own), against, processor)

    def _seconds(self, contender: Contender) -> float:
        """Seconds of one call; a peer that fails is measured no more, we and the limit may not."""
        start = time.perf_counter()
        try:
            contender.repeat(self.case.calls)
        except Exception as exc:
            if contender.name in (US, self.case.limit.name):
                raise
            _leave_out(f"{contender.name} ({self.case.name})", exc)
            self.going.remove(contender)
        return (time.perf_counter() - start) / self.case.calls


def _set_against(how: Against, own: list[float], limit: list[float]) -> list[float]:
    if how is Against.RATIO:
        return [mine / other for mine, other in zip(own, limit, strict=True)]
    return [mine - other for mine, other in zip(own, limit, strict=True)]
