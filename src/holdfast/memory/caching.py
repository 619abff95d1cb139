"""Answers of queries that are kept until anybody writes."""

from __future__ import annotations

import copy
import dataclasses
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from holdfast.core.executor import Executor
from holdfast.memory.rows import Shape, changed
from holdfast.memory.scope import Scope, now
from holdfast.memory.search import Hit, Hits

SIZE = 1000


class CacheInfo(NamedTuple):
    """How often an answer was kept already and how often not, how many are kept, and how many can be."""

    hits: int
    misses: int
    size: int
    max_size: int


class QueryCache:
    """The last answers of one store, each with the state of the database that it is true for.

    The state is another one as soon as anybody has committed anything, so that no answer is stale; it is
    told apart for each connection, as SQLite's is. An answer ends, too, when the next memory expires.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, tuple[Any, int | None, Hits]] = OrderedDict()
        self._connections: WeakKeyDictionary[Any, object] = WeakKeyDictionary()
        self._hits = self._misses = 0
        self._lock = threading.Lock()

    def info(self) -> CacheInfo:
        """How it does."""
        with self._lock:
            return CacheInfo(self._hits, self._misses, len(self._kept), SIZE)

    def answer(
        self, executor: Executor, key: Hashable, ends: Callable[[], int | None], ask: Callable[[], Hits]
    ) -> Hits:
        """The kept answer, or that of ``ask``; ``ends`` gives when it ends if nobody writes."""
        # Read before the answer: who writes in between makes it another state.
        state = executor.engine.upkeep.state(executor.run)
        if state is None or executor.in_transaction:
            return ask()
        with self._lock:
            whole = self._connections.setdefault(executor.driver_connection(), object()), key
            kept = self._kept.get(whole)
            if kept is not None and kept[0] == state and (kept[1] is None or now() < kept[1]):
                self._kept.move_to_end(whole)
                self._hits += 1
                return _copied(kept[2])
            self._misses += 1
        end, found = ends(), ask()
        with self._lock:
            self._kept[whole] = state, end, _copied(found)
            self._kept.move_to_end(whole)
            if len(self._kept) > SIZE:
                self._kept.popitem(last=False)
        return found


def next_end(executor: Executor, shape: Shape, scope: Scope) -> int | None:
    """When the next memory of a tenant expires."""
    sql, given = scope.condition(shape.table)
    end: int | None = executor.scalar(
        f'SELECT min("expires_at") FROM {shape.table} WHERE {sql} AND "expires_at" > ?', [*given, now()]
    )
    return end


def _copied(hits: Hits) -> Hits:
    """An answer that its reader may change."""
    found = Hits(_copy(hit) for hit in hits)
    found.complete = hits.complete
    return found


def _copy(hit: Hit) -> Hit:
    record = hit.record
    parts = {
        name: copy.deepcopy(value) for name, value in vars(record).items() if isinstance(value, (dict, list))
    }
    return dataclasses.replace(hit, record=changed(record, **parts), ranks=dict(hit.ranks))
