"""Indexes of no use: another one does their work, or no statement is slower without."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from holdfast.core.executor import Executor
from holdfast.tuning.advice import Advice
from holdfast.tuning.candidates import Candidate
from holdfast.tuning.explain import outline
from holdfast.tuning.trials import Bench

_SPECIAL = (" DESC", " COLLATE ", " NULLS ", "_OPS")


def stand_in(index: Mapping[str, Any], others: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Another one of these that does the work of an index: its columns come first there, in the same order.

    What keeps rows from being alike is done by one that keeps just the same from it.
    """
    if index["constraint"] or index["partial"] or None in index["columns"] or not _is_ordinary(index):
        return None
    width = len(index["columns"])
    for other in others:
        if other is index or other["table"] != index["table"] or other["partial"]:
            continue
        if other["columns"][:width] != index["columns"] or not _is_ordinary(other, holds_more=True):
            continue
        if not index["unique"] or (other["unique"] and len(other["columns"]) == width):
            return other
    return None


def _is_ordinary(index: Mapping[str, Any], *, holds_more: bool = False) -> bool:
    """A B-tree in its usual order: another kind of index, or order, answers other questions."""
    text = (index.get("sql") or "").upper()
    ways = _SPECIAL if holds_more else (*_SPECIAL, " INCLUDE ")
    return not any(way in text for way in ways) and (" USING " not in text or " USING BTREE " in text)


class Spare:
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
            {
                "name": one.index,
                "table": one.table,
                "columns": list(one.columns),
                "unique": False,
                "partial": one.where is not None,
                "sql": one.sql,
            }
            for one in created
        ]

    def found(self) -> list[Advice]:
        gone = []
        # The narrow ones first: a wider one does their work.
        for index in sorted(self._there, key=lambda index: len(index["columns"])):
            reason = None if index["constraint"] else self._reason(index)
            if reason is not None and (advice := self._without(index, reason)) is not None:
                gone.append(advice)
                self._there.remove(index)
        return gone

    def _reason(self, index: dict[str, Any]) -> str | None:
        if (other := stand_in(index, [*self._there, *self._new])) is not None:
            return f"{other['name']} does what it does"
        if index["unique"] or not self._complete or self._is_for_key(index):
            return None
        if any(query.uses(index["name"]) for query in self._bench.queries):
            return "what uses it is as fast without"
        if self._scans.get(index["name"]):
            # Somebody uses it whom nobody told of.
            return None
        return "none of these statements uses it"

    def _is_for_key(self, index: dict[str, Any]) -> bool:
        """Whether a foreign key needs it, which no statement shows."""
        keys = self._executor.engine.catalog.foreign_keys(self._executor.run, index["table"])
        return any(set(index["columns"][: len(key["columns"])]) == set(key["columns"]) for key in keys)

    def _without(self, index: dict[str, Any], reason: str) -> Advice | None:
        if (done := self._bench.unharmed(index["name"])) is None:
            return None
        cost = 0.0 if index["partial"] else self._cost(index)
        most = max(done.times, key=lambda name: done.times[name][1], default=None)
        online, quote = self._executor.engine.features.builds_online, self._executor.engine.quote
        return Advice(
            "drop",
            index["table"],
            tuple(index["columns"]),
            f"DROP INDEX {online}{quote(index['name'])}",
            sum(before for before, _ in done.times.values()),
            sum(after for _, after in done.times.values()),
            done.size,
            cost,
            tuple(done.times),
            index=index["name"],
            reason=reason,
            times=tuple(done.times.values()),
            plan_before=outline(done.plans[most][0]) if most is not None else None,
            plan_after=outline(done.plans[most][1]) if most is not None else None,
        )

    def _cost(self, index: dict[str, Any]) -> float:
        return self._bench.write_cost(Candidate(index["table"], tuple(index["columns"])))
