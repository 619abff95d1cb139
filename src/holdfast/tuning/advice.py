"""What is advised of indexes and statistics, and the doing of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from holdfast.core.executor import Executor
from holdfast.core.preview import as_printed
from holdfast.engines.names import legible
from holdfast.engines.sqltext import Lexicon
from holdfast.errors import TransactionError

_WORDS = {"create": "made the index", "drop": "dropped the index", "analyze": "renewed the statistics"}


@dataclass(frozen=True, slots=True)
class Advice:
    """An index to make or to drop, or statistics to renew, with what that did on a copy.

    ``before`` and ``after`` are the seconds of one call of each of the ``statements`` together, ``times``
    those of each by itself, and ``plan_before`` and ``plan_after`` how the one that gains most is run.
    ``size`` is in bytes and ``write_cost`` in seconds for each row that is written, both of the copy: what a
    new index costs, or one that is dropped gives back. ``columns`` may be expressions, as they are written in
    the index, and ``method`` is its kind if it is no B-tree. ``index`` is its name, ``sql`` what to run, and
    ``first`` what to run before it.
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
    method: str | None = None
    first: str | None = None
    times: tuple[tuple[float, float], ...] = ()

    def __str__(self) -> str:
        first = [f"{self.first};\n"] if self.first is not None else []
        return legible("".join(first) + "\n    ".join([f"{self.sql};", *self._lines()]))

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
        for statement, (before, after) in zip(self.statements, self.times, strict=False):
            times = f"{before * 1000:,.2f} ms, then {after * 1000:,.2f} ms, " if len(self.times) > 1 else ""
            yield f"{times}for {statement}"


class Advices(list[Advice]):
    """What would help, indexes to make first and the one with the most gain before the others; print it.

    ``skipped`` are statements that could not be looked at, and why; ``hints`` say of statements that no index
    helps what would.
    """

    skipped: dict[str, str]
    hints: dict[str, str]
    _executor: Executor

    def __str__(self) -> str:
        lines = [*map(str, self)] or ["no index would make these statements faster"]
        lines += (f"{hint}\n    for {sql}" for sql, hint in self.hints.items())
        lines += (f"not looked at, {why}: {sql}" for sql, why in self.skipped.items())
        return legible("\n".join(lines))

    def _repr_html_(self) -> str:
        return as_printed(self)

    @property
    def lexicon(self) -> Lexicon:
        """How the statements are written."""
        return self._executor.engine.lexicon

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
            if advice.first is not None:
                self._executor.send(advice.first)
            self._executor.engine.plans.carry_out(self._executor.send, advice.sql, advice.index)
            self._executor.forget()
            of = advice.table if advice.index is None else f"{advice.index} of {advice.table}"
            yield f"{_WORDS[advice.action]} {of}"
