"""Indexes over vectors: built when asked, known for a while, and the share of rows that a filter leaves."""

from __future__ import annotations

import time

from holdfast.core.executor import Executor
from holdfast.engines.base import Fragment
from holdfast.engines.nearest import VectorIndex, VectorIndexing, VectorTarget
from holdfast.errors import ConfigurationError, InvalidQuery, NotSupported
from holdfast.memory.tables import Layout, dimensions

FRESH = 60.0
"""For so many seconds another process may build or drop an index before that is noticed here."""
_SAMPLE = 2_000


def part(executor: Executor) -> VectorIndexing:
    """The engine's part for indexes over vectors.

    Raises:
        NotSupported: if it has none.
    """
    found = executor.engine.vector_index
    if found is None:
        raise NotSupported(
            "there are no indexes over vectors here: all are compared", hint="on PostgreSQL there are"
        )
    return found


def target(layout: Layout, dimension: int) -> VectorTarget:
    """The vectors of the model of a layout."""
    return VectorTarget(layout.vectors, layout.model, dimension)


def known(executor: Executor, layout: Layout) -> VectorIndex | None:
    """The index of the model of a layout, as it was a while ago at most."""
    indexes = executor.engine.vector_index
    if indexes is None:
        return None
    key = ("vector index", layout.table, layout.model)
    found, until = executor.plans.get(key, (None, 0.0))
    if until < time.monotonic():
        found = indexes.find(executor.run, target(layout, layout.dimension or 0))
        executor.keep(key, (found, time.monotonic() + FRESH))
    index: VectorIndex | None = found
    return index


def share(executor: Executor, table: str, condition: Fragment, rows: float) -> float:
    """The part of a table that a condition leaves, from a sample."""
    return part(executor).share(executor.run, table, condition, 100 * _SAMPLE / max(rows, 1))


def check(links: int, effort: int) -> None:
    """Refuse what HNSW's m and ef_construction cannot be."""
    for name, value, least, most in (("m", links, 2, 100), ("ef_construction", effort, 4, 1000)):
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise InvalidQuery(f"{name} is a number from {least} to {most}")
    if effort < 2 * links:
        raise InvalidQuery("ef_construction is at least twice m")


def create(executor: Executor, layout: Layout, links: int, effort: int) -> str:
    """Build the index of the model of a layout, and return its name."""
    check(links, effort)
    indexes = _usable(executor, layout)
    dimension = layout.dimension or dimensions(executor, layout).get(layout.model)
    if dimension is None:
        raise ConfigurationError("there are no vectors to index yet", hint="insert memories first")
    wanted = target(layout, dimension)
    index = VectorIndex(indexes.name(wanted), links=links, effort=effort)
    indexes.create(executor.run, wanted, index, beside=not executor.in_transaction)
    executor.forget()
    return index.name


def drop(executor: Executor, layout: Layout) -> None:
    """Remove the index of the model of a layout, if there is one."""
    indexes = _usable(executor, layout)
    indexes.drop(executor.run, target(layout, layout.dimension or 0), beside=not executor.in_transaction)
    executor.forget()


def _usable(executor: Executor, layout: Layout) -> VectorIndexing:
    indexes = part(executor)
    if executor.engine.vectors.distance(layout.vector_kind, "") is None:
        raise NotSupported("this memory was made on a server without pgvector, and has no vectors to index")
    return indexes
