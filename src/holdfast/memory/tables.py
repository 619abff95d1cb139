"""Where memories lie: a table of truth for each store, with its vectors and its history beside it.

The truth has one row for each memory. Vectors are kept by memory and model, so that those of several models
lie side by side. The history has what a row was before each change, so that adding memories costs no second
row. A list of all stores keeps their names as they were given; a table's own name is made from that.
"""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass

from holdfast.core import indexes, schema
from holdfast.core.executor import Executor
from holdfast.core.transaction import Transaction
from holdfast.errors import ConfigurationError, Error, TableNotFound
from holdfast.memory.records import as_name
from holdfast.search import fulltext

STORES = "hf_memories"
PREFIX = "hf_memory_"
_SLUG = 24
TYPES = ("archival_memory", "recall_memory", "passages", "data_sources")
"""The kinds of stores; those of an agent's own come first."""

COLUMNS: dict[str, str] = {
    "user_id": "TEXT NOT NULL",
    "agent_id": "TEXT",
    "id": "TEXT NOT NULL",
    "kind": "TEXT NOT NULL",
    "text": "TEXT",
    "digest": "TEXT",
    "data_source": "TEXT",
    "doc_id": "TEXT",
    "metadata": "JSON",
    "role": "TEXT",
    "model": "TEXT",
    "user": "TEXT",
    "tool_calls": "JSON",
    "tool_call_id": "TEXT",
    "name": "TEXT",
    "created_at": "BIGINT NOT NULL",
    "written_at": "BIGINT NOT NULL",
}
"""The columns of a memory after its number; times are microseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One store as it lies in the database."""

    kind: str
    name: str
    table: str
    dimension: int | None
    model: str
    vector_kind: str

    @property
    def vectors(self) -> str:
        return f"{self.table}_vectors"

    @property
    def history(self) -> str:
        return f"{self.table}_history"


def table_name(kind: str, name: str) -> str:
    """The table of a store: letters of its name to read, and a hash that no other name has.

    >>> table_name("passages", "My data")
    'hf_memory_my_data_010ae3ebab8c'
    """
    slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:_SLUG].strip("_") or "memory"
    return f"{PREFIX}{slug}_{hashlib.sha256(chr(0).join((kind, name)).encode()).hexdigest()[:12]}"


def found(executor: Executor, kind: str, name: str) -> Layout | None:
    """The store of that kind and name, if it is there."""
    try:
        rows = executor.rows(
            f'SELECT "dimension", "model", "vector_kind" FROM "{STORES}" WHERE "table_name" = ?',
            (table_name(kind, name),),
        )
    except TableNotFound:
        return None
    return Layout(kind, name, table_name(kind, name), *rows[0]) if rows else None


def ensure(executor: Executor, kind: str, name: str, dimension: int | None, model: str) -> Layout:
    """The store of that kind and name, made if it is not there.

    Raises:
        ConfigurationError: if it is there with vectors of another dimension or another model.
    """
    if kind not in TYPES:
        raise ConfigurationError(f"unknown kind of store {kind!r}", hint=f"kinds: {', '.join(TYPES)}")
    as_name(name, "the name of a memory")
    layout = _there(executor, kind, name)
    if layout is None:
        try:
            layout = _made(executor, kind, name, dimension, model)
        except Error:
            # Another process may have made it at the same moment; by now it is there, or this raises.
            layout = _there(executor, kind, name) or _made(executor, kind, name, dimension, model)
    if dimension is not None and layout.dimension not in (None, dimension):
        raise ConfigurationError(
            f"the memory {name!r} holds vectors of {layout.dimension} numbers, not {dimension}",
            hint="open it without dimension=, or under another name",
        )
    if model != layout.model:
        raise ConfigurationError(
            f"the vectors of the memory {name!r} are of the model {layout.model!r}, not {model!r}",
            hint="give the embedder they were made with, or another name",
        )
    return layout


def _there(executor: Executor, kind: str, name: str) -> Layout | None:
    # Not by its error, which would end a transaction.
    return found(executor, kind, name) if schema.table_exists(executor, STORES) else None


def _made(executor: Executor, kind: str, name: str, dimension: int | None, model: str) -> Layout:
    vector_kind = _vector_kind(executor)
    layout = Layout(kind, name, table_name(kind, name), dimension, model, vector_kind)
    with Transaction(executor):
        schema.create_table(
            executor,
            STORES,
            {
                "table_name": "TEXT PRIMARY KEY",
                "kind": "TEXT NOT NULL",
                "name": "TEXT NOT NULL",
                "dimension": "BIGINT",
                "model": "TEXT NOT NULL",
                "vector_kind": "TEXT NOT NULL",
                "created_at": "BIGINT NOT NULL",
            },
            if_not_exists=True,
        )
        _make(executor, layout)
        executor.run(
            f'INSERT INTO "{STORES}" ("table_name", "kind", "name", "dimension", "model", "vector_kind", '
            '"created_at") VALUES (?, ?, ?, ?, ?, ?, ?)',
            (layout.table, kind, name, dimension, model, vector_kind, time.time_ns() // 1000),
        )
    return layout


def _vector_kind(executor: Executor) -> str:
    vectors = executor.engine.vectors
    try:
        with Transaction(executor):
            return vectors.kind(executor.run)
    except Error:
        # Without the right to create the extension all but a search by vector works, and that says why.
        return vectors.PLAIN


def _make(executor: Executor, layout: Layout) -> None:
    engine, quote = executor.engine, executor.engine.quote
    schema.create_table(
        executor, layout.table, {"n": "INTEGER PRIMARY KEY", **COLUMNS}, unique=[["user_id", "id"]]
    )
    check = engine.vectors.check(layout.vector_kind, '"embedding"', '"dimension"')
    collation = engine.features.binary_collation
    text = "TEXT" if collation is None else f"TEXT COLLATE {quote(collation)}"
    # Whose a vector is stands with it, so that it is compared without a look at its memory.
    executor.run(
        f'CREATE TABLE {quote(layout.vectors)} ("n" BIGINT NOT NULL REFERENCES {quote(layout.table)} ("n") '
        f'ON DELETE CASCADE, "user_id" {text} NOT NULL, "agent_id" {text}, "id" {text} NOT NULL, '
        f'"model" {text} NOT NULL, "dimension" BIGINT NOT NULL, '
        f'"embedding" {layout.vector_kind} NOT NULL, PRIMARY KEY ("n", "model"), CHECK ({check}))'
    )
    schema.create_table(
        executor,
        layout.history,
        {
            "change": "INTEGER PRIMARY KEY",
            "n": "BIGINT NOT NULL",
            **COLUMNS,
            "embedding": layout.vector_kind,
            "operation": "TEXT NOT NULL",
            "ended_at": "BIGINT NOT NULL",
        },
    )
    indexes.create_index(executor, layout.table, ["user_id", "digest"], unique=True)
    indexes.create_index(executor, layout.table, ["user_id", "created_at", "id"])
    indexes.create_index(executor, layout.vectors, ["user_id"])
    indexes.create_index(executor, layout.history, ["user_id", "id"])
    fulltext.enable(executor, layout.table, "text")


def set_dimension(executor: Executor, layout: Layout, dimension: int) -> int:
    """Note the dimension of a store with its first vector; the one that it has by then, or has already."""
    executor.run(
        f'UPDATE "{STORES}" SET "dimension" = ? WHERE "table_name" = ? AND "dimension" IS NULL',
        (dimension, layout.table),
    )
    return int(executor.scalar(f'SELECT "dimension" FROM "{STORES}" WHERE "table_name" = ?', (layout.table,)))


def drop(executor: Executor, layout: Layout) -> None:
    """Drop the tables of a store, and forget its name."""
    with Transaction(executor):
        for table in (layout.vectors, layout.history, layout.table):
            schema.drop_table(executor, table, if_exists=True)
        executor.run(f'DELETE FROM "{STORES}" WHERE "table_name" = ?', (layout.table,))


def stores(executor: Executor) -> list[Layout]:
    """All stores of the database, by name."""
    if not schema.table_exists(executor, STORES):
        return []
    rows = executor.rows(
        f'SELECT "kind", "name", "table_name", "dimension", "model", "vector_kind" FROM "{STORES}"'
    )
    return sorted((Layout(*row) for row in rows), key=lambda layout: (layout.name, layout.kind))
