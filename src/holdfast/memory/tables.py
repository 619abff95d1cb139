"""Where memories lie: a table of truth for each store, with its vectors and its history beside it.

The truth has one row for each memory. Vectors are kept by memory and model, so that those of several models
lie side by side; a list has the dimension of each. The history has what a row was before each change, so that
adding memories costs no second row. A list of all stores keeps their names as they were given, from which the
names of the tables are made, and their current models.
"""

from __future__ import annotations

import dataclasses
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
MODELS = "hf_memory_models"
DEFAULT_MODEL = "default"
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
    "ttl": "BIGINT",
    "expires_at": "BIGINT",
}
"""The columns of a memory after its number; times are microseconds since 1970, or microseconds."""

VERSION: dict[str, str] = {"version": "BIGINT NOT NULL DEFAULT 0", "branch": "TEXT NOT NULL DEFAULT ''"}
"""What tells the past versions of a memory apart, wherever they were written: how many there were before,
and a name that the writer made up, since two may have gone on from the same."""
HISTORY_KEY = ["user_id", "id", *VERSION]


class ModelChanged(ConfigurationError):
    """The store has gone over to another model than the one that it was opened for."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One store as it lies in the database; ``dimension`` is that of the vectors of ``model``."""

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


_LAYOUT = (
    f'"{STORES}"."kind", "{STORES}"."name", "{STORES}"."table_name", "{MODELS}"."dimension", '
    f'"{STORES}"."model", "{STORES}"."vector_kind"'
)
_LISTED = (
    f'"{STORES}" LEFT JOIN "{MODELS}" ON "{MODELS}"."table_name" = "{STORES}"."table_name" '
    f'AND "{MODELS}"."model" = "{STORES}"."model"'
)
CURRENT_MODEL = f'(SELECT "model" FROM "{STORES}" WHERE "{STORES}"."table_name" = ?)'
"""The current model of the store whose table is given, as a value of SQL."""


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
            f'SELECT {_LAYOUT} FROM {_LISTED} WHERE "{STORES}"."table_name" = ?', (table_name(kind, name),)
        )
    except TableNotFound:
        return None
    return Layout(*rows[0]) if rows else None


def ensure(executor: Executor, kind: str, name: str, dimension: int | None, model: str | None) -> Layout:
    """The store of that kind and name, made if it is not there; without a ``model`` it is the current one.

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
    if model is not None and model != layout.model:
        if dimensions(executor, layout):
            raise ConfigurationError(
                f"the vectors of the memory {name!r} are of the model {layout.model!r}, not {model!r}",
                hint="give the embedder they were made with, embed them again, or open another name",
            )
        layout = dataclasses.replace(layout, model=model, dimension=None)
    if dimension is not None and layout.dimension not in (None, dimension):
        raise ConfigurationError(
            f"the memory {name!r} holds vectors of {layout.dimension} numbers, not {dimension}",
            hint="open it without dimension=, or under another name",
        )
    return layout


def _there(executor: Executor, kind: str, name: str) -> Layout | None:
    # Not by its error, which would end a transaction.
    return found(executor, kind, name) if schema.table_exists(executor, STORES) else None


def _made(executor: Executor, kind: str, name: str, dimension: int | None, model: str | None) -> Layout:
    layout = Layout(
        kind, name, table_name(kind, name), dimension, model or DEFAULT_MODEL, best_vector_kind(executor)
    )
    with Transaction(executor):
        schema.create_table(
            executor,
            STORES,
            {
                "table_name": "TEXT PRIMARY KEY",
                "kind": "TEXT NOT NULL",
                "name": "TEXT NOT NULL",
                "model": "TEXT NOT NULL",
                "vector_kind": "TEXT NOT NULL",
                "created_at": "BIGINT NOT NULL",
            },
            if_not_exists=True,
        )
        schema.create_table(
            executor,
            MODELS,
            {"table_name": "TEXT NOT NULL", "model": "TEXT NOT NULL", "dimension": "BIGINT NOT NULL"},
            primary_key=["table_name", "model"],
            if_not_exists=True,
        )
        _make(executor, layout)
        executor.run(
            f'INSERT INTO "{STORES}" ("table_name", "kind", "name", "model", "vector_kind", "created_at") '
            "VALUES (?, ?, ?, ?, ?, ?)",
            (layout.table, kind, name, layout.model, layout.vector_kind, time.time_ns() // 1000),
        )
        if dimension is not None:
            set_dimension(executor, layout, dimension)
    return layout


def best_vector_kind(executor: Executor) -> str:
    """The kind of vectors that this database can have."""
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
            **VERSION,
            **COLUMNS,
            "embedding": layout.vector_kind,
            "embedding_model": "TEXT",
            "operation": "TEXT NOT NULL",
            "ended_at": "BIGINT NOT NULL",
        },
    )
    indexes.create_index(executor, layout.table, ["user_id", "digest"], unique=True)
    indexes.create_index(executor, layout.table, ["user_id", "created_at", "id"])
    indexes.create_index(executor, layout.vectors, ["user_id"])
    indexes.create_index(executor, layout.history, HISTORY_KEY, unique=True)
    for table in (layout.table, layout.history):
        # Few memories expire, and the others cost nothing here.
        indexes.create_index(executor, table, ["expires_at"], where='"expires_at" IS NOT NULL')
    fulltext.enable(executor, layout.table, "text")


def set_dimension(executor: Executor, layout: Layout, dimension: int) -> int:
    """Note the dimension of a model with its first vector; the one that it has by then, or has already.

    The first model with a vector becomes the current one.
    """
    locks = executor.engine.features.row_locks
    executor.rows(f'SELECT 1 FROM "{STORES}" WHERE "table_name" = ?{locks}', (layout.table,))
    if not dimensions(executor, layout):
        executor.run(
            f'UPDATE "{STORES}" SET "model" = ? WHERE "table_name" = ?', (layout.model, layout.table)
        )
    executor.run(
        f'INSERT INTO "{MODELS}" ("table_name", "model", "dimension") VALUES (?, ?, ?) '
        "ON CONFLICT DO NOTHING",
        (layout.table, layout.model, dimension),
    )
    return dimensions(executor, layout)[layout.model]


def check_model(executor: Executor, layout: Layout, current: str) -> None:
    """See that the current model, which was just read, is the one that is worked with.

    Raises:
        ModelChanged: if it is not.
    """
    if current != layout.model and dimensions(executor, layout):
        executor.forget()
        raise ModelChanged(
            f"the memory {layout.name!r} has gone over to the model {current!r}",
            hint="open it with that model's embedder",
        )


def dimensions(executor: Executor, layout: Layout) -> dict[str, int]:
    """The models of which a store may have vectors, and their dimensions."""
    rows = executor.rows(
        f'SELECT "model", "dimension" FROM "{MODELS}" WHERE "table_name" = ? ORDER BY "model"',
        (layout.table,),
    )
    return dict(rows)


def drop(executor: Executor, layout: Layout) -> None:
    """Drop the tables of a store, and forget its name."""
    with Transaction(executor):
        for table in (layout.vectors, layout.history, layout.table):
            schema.drop_table(executor, table, if_exists=True)
        for table in (MODELS, STORES):
            executor.run(f'DELETE FROM "{table}" WHERE "table_name" = ?', (layout.table,))


def stores(executor: Executor) -> list[Layout]:
    """All stores of the database, by name."""
    if not schema.table_exists(executor, STORES):
        return []
    rows = executor.rows(f"SELECT {_LAYOUT} FROM {_LISTED}")
    return sorted((Layout(*row) for row in rows), key=lambda layout: (layout.name, layout.kind))
