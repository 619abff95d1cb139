"""What counts statements while they are run: how often each, how long, and how many rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from time import perf_counter_ns
from typing import Any, Protocol

QUICK = 1 << 18
"""Nanoseconds. A statement that takes less is not measured each time."""
_KNOWN = 32
# A prime: what comes again in steps of its own is not met at the same place each time.
_SKIPPED = 31
# Times are counted by their first bits, within an eighth.
_BITS = 4


class Kind:
    """What is known of the calls of one statement.

    Every call is counted. Every one is measured too, its time and its rows, but of a statement that was
    quick some dozen times only each 31st, which then stands for those up to the next: two looks at the clock
    take 3 % of the time in which SQLite finds a row. One that turns out slow stands for itself alone, and
    the call after it is measured again.

    To add to a number here calls nothing, so no other thread comes in between, without a lock.
    """

    __slots__ = (
        "_last",
        "calls",
        "due",
        "into",
        "is_fixed",
        "measured",
        "rows",
        "sample",
        "spent",
        "times",
        "worst",
    )

    def __init__(self, sample: str) -> None:
        self.sample = sample
        self.is_fixed = True
        "All calls had this very text."
        self.calls = 0
        self.due = 0
        "The number of the call that is measured next."
        self.measured = self.rows = self.spent = self.worst = 0
        self.times: defaultdict[int, int] = defaultdict(int)
        self.into: Kind | None = None
        "What has taken this one in, and is told of what was still going on."
        self._last = (0, 0)

    def note(self, took: int, rows: int) -> None:
        """A call took so many nanoseconds and had so many rows."""
        if self.into is not None:
            self.into._add(took, rows, 1)
        elif took < QUICK and self.calls > _KNOWN:
            self.due = self.calls + _SKIPPED
            self._last = took, rows
            self._add(took, rows, _SKIPPED)
        else:
            self._add(took, rows, 1)

    def _add(self, took: int, rows: int, stands_for: int) -> None:
        self.measured += stands_for
        self.spent += took * stands_for
        self.rows += rows * stands_for
        if took > self.worst:
            self.worst = took
        above = max(took.bit_length() - _BITS, 0)
        self.times[(above << _BITS) + (took >> above)] += stands_for

    def take_in(self, other: Kind) -> None:
        """Add what is known of another one, but for calls that were taken to follow and did not yet."""
        self.is_fixed = self.is_fixed and other.is_fixed and other.sample == self.sample
        ahead, (took, rows) = max(other.measured - other.calls, 0), other._last
        self.calls += other.calls
        self.measured += other.measured - ahead
        self.spent += other.spent - ahead * took
        self.rows += other.rows - ahead * rows
        self.worst = max(self.worst, other.worst)
        for step, count in list(other.times.items()):
            self.times[step] += count

    def percentile(self, part: float) -> float:
        """Nanoseconds that this part of the calls took less than, or as many."""
        left = part * sum(self.times.values())
        for step in sorted(self.times):
            left -= self.times[step]
            if left <= 0:
                above, first = divmod(step, 1 << _BITS)
                return min((first + 0.5) * (1 << above), self.worst)
        return self.worst


class Recorder(Protocol):
    """Keeps what is known of each statement by the driver's text, which holds no parameter."""

    kinds: dict[str, Kind]

    def kind(self, native: str) -> Kind:
        """That of a statement which is not among ``kinds``."""
        ...

    def forked(self) -> None:
        """The process is another one now."""
        ...


def kind_of(recorder: Recorder, native: str) -> Kind:
    """The kind of a statement, of which one more call is counted."""
    kind = recorder.kinds.get(native) or recorder.kind(native)
    kind.calls += 1
    return kind


def counted(result: Any) -> int:
    """How many rows a result stands for; a statement that failed has none."""
    if type(result) is list:
        return len(result)
    return 0 if result is None else max(getattr(result, "rowcount", 1), 0)


def recorded(
    kind: Kind, batches: Iterator[list[Any]], count: Callable[[list[Any]], int] = len
) -> Generator[list[Any], None, None]:
    """The same batches, of so many rows by ``count``; only the time until each came counts."""
    took = rows = 0
    started = perf_counter_ns()
    try:
        for batch in batches:
            took += perf_counter_ns() - started
            rows += count(batch)
            yield batch
            started = perf_counter_ns()
    finally:
        batches.close()  # type: ignore[attr-defined]
        kind.note(took, rows)
