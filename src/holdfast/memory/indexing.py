"""Indexes over vectors: built when asked, known for a while, and the share of rows that a filter leaves."""

from __future__ import annotations

import hashlib
import time

from holdfast.core import indexes
from holdfast.core.executor import Executor
from holdfast.engines.base import Fragment
from holdfast.engines.nearest import VectorIndex, VectorIndexing, VectorTarget
from holdfast.errors import ConfigurationError, InvalidQuery, NotSupported
from holdfast.memory.filters import key_of
from holdfast.memory.tables import Layout, dimensions

FRESH = 60.0
"""For so many seconds another process may build or drop an index before that is noticed here."""
FIELDS = ("data_source", "doc_id")
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
    part_of = executor.engine.vector_index
    if part_of is None:
        return None
    key = ("vector index", layout.table, layout.model)
    found, until = executor.plans.get(key, (None, 0.0))
    if until < time.monotonic():
        found = part_of.find(executor.run, target(layout, layout.dimension or 0))
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
    usable = _usable(executor, layout)
    dimension = layout.dimension or dimensions(executor, layout).get(layout.model)
    if dimension is None:
        raise ConfigurationError("there are no vectors to index yet", hint="insert memories first")
    wanted = target(layout, dimension)
    index = VectorIndex(usable.name(wanted), links=links, effort=effort)
    usable.create(executor.run, wanted, index, beside=not executor.in_transaction)
    executor.forget()
    return index.name


def drop(executor: Executor, layout: Layout) -> None:
    """Remove the index of the model of a layout, if there is one."""
    usable = _usable(executor, layout)
    usable.drop(executor.run, target(layout, layout.dimension or 0), beside=not executor.in_transaction)
    executor.forget()


def index_key(executor: Executor, layout: Layout, named: str) -> None:
    """Build the indexes by which a filter on a key of the metadata, or on a field, finds few rows."""
    if named in FIELDS:
        indexes.create_index(executor, layout.table, ["user_id", named])
        return
    key, beside = key_of(named), not executor.in_transaction
    names = _names(layout.table, key)
    executor.engine.documents.index(executor.run, layout.table, names, key, beside=beside)
    executor.forget()


def unindex_key(executor: Executor, layout: Layout, named: str) -> None:
    """Remove the indexes of a key or a field, if there are any."""
    wanted = _names(layout.table, key_of(named)) if named not in FIELDS else ()
    for name in wanted or [indexes.index_name(layout.table, ["user_id", named])]:
        executor.run(f"DROP INDEX IF EXISTS {executor.engine.quote(name)}")
    executor.forget()


def has_index(executor: Executor, layout: Layout, key: str) -> bool:
    """Whether a key of the metadata has an index, as it was a while ago at most."""
    kept = ("metadata indexes", layout.table)
    found, until = executor.plans.get(kept, (frozenset(), 0.0))
    if until < time.monotonic():
        listed = executor.engine.catalog.indexes(executor.run, layout.table)
        found = frozenset(index["name"] for index in listed)
        executor.keep(kept, (found, time.monotonic() + FRESH))
    return _names(layout.table, key)[0] in found


def _names(table: str, key: str) -> tuple[str, str]:
    stem = f"{table[:40]}_{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    return f"{stem}_key", f"{stem}_text"


def _usable(executor: Executor, layout: Layout) -> VectorIndexing:
    indexes = part(executor)
    if executor.engine.vectors.distance(layout.vector_kind, "") is None:
        raise NotSupported("this memory was made on a server without pgvector, and has no vectors to index")
    return indexes
