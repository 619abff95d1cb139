"""Search by vector in Lance tables kept true to SQLite: nothing written is missed, nothing old found."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from holdfast.core.executor import Executor
from holdfast.errors import DatabaseError, Error, NotSupported, TransactionError
from holdfast.memory.lance_tables import LanceTables, Unusable, among_these, is_lost, owned
from holdfast.memory.matrix import matrix_of
from holdfast.memory.nearest import Among, InDatabase, Leg, Nearest
from holdfast.memory.outbox import UNUSABLE, Graph, Mark, Outbox
from holdfast.memory.records import Vector
from holdfast.memory.tables import Layout

# So many changes are left to be compared one by one before they go into Lance together.
WAITING = 1_000
# Vectors of so many bytes are read from the truth at once, and compared there rather than in Lance.
GATHERED = 64 << 20
# More are asked for than are wanted, to see that those after them are further away.
_MORE = 16
_ROUGH = 100
# How far a float32 distance may be from the true one.
_NOISE = 1e-5
# After a failure Lance is left alone for so many seconds.
_PAUSE = 30.0
# How many memories one statement asks for, how many changes go into Lance at once, and how many rows.
_CHUNK = 5_000
_BATCH = 20_000
_PORTION = 20_000
_log = logging.getLogger("holdfast.memory")


@dataclass(frozen=True, slots=True)
class _State:
    """One look at the truth: the Lance table to use, and the memories that it is behind with."""

    mark: Mark
    waiting: list[int]


class LanceLeg:
    """The vectors of the stores of one folder in Lance, with what SQLite has and Lance has not.

    A query takes a version of the table that the truth names, leaves out what was changed since, and compares
    that with what the truth has. All distances are worked out from the truth's vectors, so that the answer is
    that of the other backends. Where Lance cannot be used, all is compared from the truth.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._exact = InDatabase()
        self._tables: dict[tuple[str, str], LanceTables] = {}
        self._counting = threading.Lock()
        self._written = 0
        self._resting_until = 0.0

    def attend(self, executor: Executor, layout: Layout) -> None:
        """Have changes of a store's vectors noted from now on."""
        key = ("lance", layout.table, layout.model)
        if key not in executor.plans:
            Outbox(executor, layout).attend()
            executor.keep(key, True)

    # Writing

    def wrote(self, executor: Executor, layout: Layout, count: int) -> None:
        """Bring changes into Lance once there are enough of them."""
        with self._counting:
            self._written += count
            is_due = self._written >= WAITING and not executor.in_transaction
            if is_due:
                self._written = 0
        if is_due:
            self.catch_up(executor, layout)

    def catch_up(
        self, executor: Executor, layout: Layout, *, wait: bool = False, failed: Mark | None = None
    ) -> bool:
        """Bring all changes into Lance; whether that is done. What is written is safe whether or not.

        ``failed`` is a table that could not be read, and is made again unless that was done meanwhile.
        """
        if executor.in_transaction or time.monotonic() < self._resting_until or is_lost():
            return False
        outbox, tables = Outbox(executor, layout), self._of(layout)
        try:
            with tables.held(wait=wait) as is_held:
                if is_held:
                    _catch_up(outbox, tables, failed)
                return is_held
        except (Unusable, Error, OSError) as exc:
            # The write that led here is done; only a search is slower until this works again.
            _log.warning("the vectors of a memory could not be brought into Lance", exc_info=exc)
            self._resting_until = time.monotonic() + _PAUSE
            return False

    def regraph(self, executor: Executor, layout: Layout, graph: Graph | None) -> str | None:
        """Build or remove the index over the vectors; the Lance table it is of, if there are vectors.

        Raises:
            TransactionError: inside a transaction.
            DatabaseError: if it cannot be built.
        """
        if is_lost():
            raise NotSupported(
                "LanceDB does not work after a fork",
                hint="use the start method 'spawn', or fork before opening",
            )
        if executor.in_transaction:
            raise TransactionError("Lance takes no part in a transaction", hint="do this outside of it")
        outbox, tables = Outbox(executor, layout), self._of(layout)
        try:
            with tables.held(wait=True):
                _catch_up(outbox, tables, None)
                found = outbox.look()
                if found is None or not found[0].lance:
                    return None
                mark = found[0]
                version = tables.regraph(found[0].lance, mark.version, graph)
                outbox.settle(replace(mark, version=version, graph=graph))
                return mark.lance
        except (Unusable, OSError) as exc:
            raise DatabaseError("the index could not be built in Lance") from (exc.__cause__ or exc)

    def end(self, executor: Executor, layout: Layout) -> None:
        """Remove all there is of a store that was dropped."""
        Outbox(executor, layout).end()
        self._of(layout).sweep(None, all_models=True)

    def clear(self, layout: Layout) -> bool:
        """Remove the Lance tables of a store that stays; whether nothing is left.

        They are made again from the truth. Who is writing one now may have read what is gone by now.
        """
        tables = self._of(layout)
        try:
            with tables.held(wait=True):
                return tables.sweep(None, all_models=True)
        except OSError:
            return False
        finally:
            tables.forget()

    def _of(self, layout: Layout) -> LanceTables:
        key = (layout.table, layout.model)
        return self._tables.setdefault(key, LanceTables(self._folder, *key))

    # Searching

    def nearest(self, among: Among, vector: Vector, count: int) -> Nearest:
        """The nearest memories, all of them compared."""
        executor, layout = among.executor, among.shape.layout
        tables = self._of(layout)
        state = None if is_lost() else self._state(executor, layout)
        for _ in range(2):
            if state is None or state.mark.lance == UNUSABLE:
                break
            try:
                return _Search(among, tables, state, vector, count).nearest()
            except Unusable as exc:
                _log.info("a Lance table cannot be read", exc_info=exc)
                tables.forget()
                self.catch_up(executor, layout, failed=state.mark)
                state = self._look(executor, layout)
        return self._exact.nearest(among, vector, count)

    def _state(self, executor: Executor, layout: Layout) -> _State | None:
        """What is known of the index, brought up to date if it is far behind; ``None`` if it is of no use."""
        found = self._look(executor, layout)
        if found is not None and (found.mark.lance == UNUSABLE or len(found.waiting) > WAITING):
            self.catch_up(executor, layout)
            found = self._look(executor, layout)
        return found

    def _look(self, executor: Executor, layout: Layout) -> _State | None:
        outbox = Outbox(executor, layout)
        try:
            found = outbox.look()
            if found is None:
                outbox.attend()
                found = outbox.look()
        except Error as exc:
            _log.info("the changes of a memory are not noted", exc_info=exc)
            return None
        return None if found is None else _State(*found)


def _catch_up(outbox: Outbox, tables: LanceTables, failed: Mark | None) -> None:
    """Bring the changes into the table that there is, or make one if there is none that can be used."""
    outbox.attend()
    found = outbox.look()
    if found is None or not found[0].lance or found[0] == failed:
        return _make(outbox, tables)
    try:
        _apply_all(outbox, tables, found[0])
    except Unusable as exc:
        _log.info("a Lance table is made again", exc_info=exc)
        _make(outbox, tables)


def _apply_all(outbox: Outbox, tables: LanceTables, mark: Mark) -> None:
    while True:
        last, numbers = outbox.batch(mark.floor, _BATCH)
        if not numbers or mark.lance is None:
            return
        rows = outbox.vectors(numbers)
        gone = set(numbers) - {row[0] for row in rows}
        version = tables.apply(mark.lance, mark.version, rows, sorted(gone))
        mark = replace(mark, version=version, floor=last)
        outbox.settle(mark)


def _make(outbox: Outbox, tables: LanceTables) -> None:
    """Make a table of all vectors there are; what changes meanwhile is noted, and comes next."""
    found, floor = outbox.look(), outbox.last()
    graph = None if found is None else found[0].graph
    lance, version = tables.create(outbox.all_vectors(_PORTION), graph) or (None, 0)
    mark = Mark(lance, version, floor, graph)
    outbox.settle(mark)
    tables.sweep(mark.lance)


@dataclass(frozen=True, slots=True)
class _Search:
    """One search, in one version of a table and in what it has not seen."""

    among: Among
    tables: LanceTables
    state: _State
    vector: Vector
    count: int

    def nearest(self) -> Nearest:
        numbers = self.among.numbers() if self.among.is_filtered else None
        if numbers is not None and len(numbers) * self.vector.nbytes <= GATHERED:
            return Nearest(self._compared(numbers))
        fresh = self.state.waiting
        if numbers is not None:
            fresh = sorted(set(numbers).intersection(fresh))
        if self.state.mark.lance is None:
            return Nearest(self._compared(fresh))
        scope = self.among.scope
        condition = owned(scope.user_id, scope.agent_id) if numbers is None else among_these(numbers)
        if self.state.mark.graph is not None:
            return Nearest(self._by_graph(self.state.mark.lance, condition, fresh), is_complete=False)
        return Nearest(self._widening(self.state.mark.lance, condition, fresh))

    def _by_graph(self, lance: str, condition: str, fresh: list[int]) -> Leg:
        """The best of more than are wanted, as the index only has rough distances."""
        changed, limit = set(self.state.waiting), max(4 * self.count, _ROUGH)
        found = self.tables.nearest(lance, self.state.mark.version, self.vector, limit, condition)
        return self._compared([*fresh, *(n for n, _ in found if n not in changed)])

    def _widening(self, lance: str, condition: str, fresh: list[int]) -> Leg:
        """Ask for more until what was not given is further away than what is wanted."""
        changed, limit = set(self.state.waiting), self.count + _MORE
        while True:
            found = self.tables.nearest(lance, self.state.mark.version, self.vector, limit, condition)
            leg = self._compared([*fresh, *(n for n, _ in found if n not in changed)])
            if len(found) < limit:
                return leg
            if len(leg) == self.count and leg[-1][1] + _NOISE < found[-1][1]:
                return leg
            limit *= 4

    def _compared(self, numbers: Sequence[int]) -> Leg:
        """The nearest of these memories, by the vectors that the truth has now."""
        executor, shape = self.among.executor, self.among.shape
        stored = executor.engine.vectors.read(shape.layout.vector_kind, f'{shape.vectors}."embedding"')
        sql, given = self.among.scope.condition(shape.vectors)
        rows: list[tuple[int, str, bytes]] = []
        for start in range(0, len(numbers), _CHUNK):
            some = numbers[start : start + _CHUNK]
            rows += executor.rows(
                # The limit has SQLite find them by their numbers, and not go through all of the tenant's.
                f'SELECT "n", "id", {stored} FROM (SELECT * FROM {shape.vectors} WHERE "model" = ? '
                f'AND "n" IN ({", ".join("?" * len(some))}) LIMIT -1) AS {shape.vectors} WHERE {sql}',
                [shape.layout.model, *some, *given],
            )
        return matrix_of(executor, shape, rows).nearest(self.vector, self.count, None) if rows else []
