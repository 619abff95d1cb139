"""The tables of LangGraph's checkpoints and items; this module needs no LangGraph.

A row of ``hf_checkpoints`` is a checkpoint: ``data`` holds, as the serialiser named in ``kind`` wrote it,
the checkpoint with its small values, the names of the large channels whose values lie elsewhere, the
metadata, and the values of the other large channels, each as the kind and the bytes that the serialiser
made of it. ``metadata`` is a copy of the metadata to filter by and to read, without what JSON cannot hold. A
value that lies elsewhere is a row of ``hf_checkpoint_blobs``, shared by all checkpoints that have that
version of its channel: one that is long, or that an earlier checkpoint has in its row.
``hf_checkpoint_writes`` has what tasks wrote before the next checkpoint was
made, which may be there before its own checkpoint is.

A row of ``hf_store`` is an item of a store: ``namespace`` has its labels with dots between them, ``n``
counts items in the order in which they came, ``ttl`` is how long one lasts after it was last used, and
``expires_at`` until when. ``hf_store_vectors`` has a row for each text of an item that is found by its
meaning; its columns are those of the vectors of a memory, where ``user_id`` is the namespace, ``agent_id``
the key and ``id`` the field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from holdfast.core import indexes, schema
from holdfast.core.executor import Executor
from holdfast.core.transaction import Transaction
from holdfast.errors import Error
from holdfast.memory.tables import best_vector_kind

CHECKPOINTS = "hf_checkpoints"
BLOBS = "hf_checkpoint_blobs"
WRITES = "hf_checkpoint_writes"
ITEMS = "hf_store"
VECTORS = "hf_store_vectors"

COLUMNS: Mapping[str, Mapping[str, str]] = {
    CHECKPOINTS: {
        "thread_id": "TEXT NOT NULL",
        "checkpoint_ns": "TEXT NOT NULL",
        "checkpoint_id": "TEXT NOT NULL",
        "parent_id": "TEXT",
        "run_id": "TEXT",
        "kind": "TEXT NOT NULL",
        "data": "BLOB NOT NULL",
        "metadata": "JSON NOT NULL",
        "written_at": "BIGINT NOT NULL",
    },
    BLOBS: {
        "thread_id": "TEXT NOT NULL",
        "checkpoint_ns": "TEXT NOT NULL",
        "channel": "TEXT NOT NULL",
        "version": "TEXT NOT NULL",
        "kind": "TEXT NOT NULL",
        "data": "BLOB NOT NULL",
    },
    WRITES: {
        "thread_id": "TEXT NOT NULL",
        "checkpoint_ns": "TEXT NOT NULL",
        "checkpoint_id": "TEXT NOT NULL",
        "task_id": "TEXT NOT NULL",
        "idx": "BIGINT NOT NULL",
        "channel": "TEXT NOT NULL",
        "kind": "TEXT NOT NULL",
        "data": "BLOB NOT NULL",
        "task_path": "TEXT NOT NULL",
    },
}
"""The columns of each table of checkpoints; ``written_at`` is microseconds since 1970."""
KEYS: Mapping[str, tuple[str, ...]] = {
    CHECKPOINTS: ("thread_id", "checkpoint_ns", "checkpoint_id"),
    BLOBS: ("thread_id", "checkpoint_ns", "channel", "version"),
    WRITES: ("thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "idx"),
}
"""The primary key of each table of checkpoints."""

ITEM_COLUMNS: Mapping[str, str] = {
    "n": "INTEGER PRIMARY KEY",
    "namespace": "TEXT NOT NULL",
    "key": "TEXT NOT NULL",
    "value": "JSON NOT NULL",
    "created_at": "BIGINT NOT NULL",
    "updated_at": "BIGINT NOT NULL",
    "ttl": "BIGINT",
    "expires_at": "BIGINT",
}
"""The columns of an item; times and durations are microseconds."""


def ensure(executor: Executor) -> None:
    """Make the tables of checkpoints where they are not there yet."""
    _ensure(executor, WRITES, _make_checkpoints)


def ensure_items(executor: Executor) -> str:
    """Make the tables of items where they are not there yet; return the kind of their vectors."""
    _ensure(executor, VECTORS, _make_items)
    kind = executor.describe(VECTORS).column("embedding").type.upper()
    return executor.engine.vectors.PLAIN if kind == executor.engine.vectors.PLAIN else kind


def _ensure(executor: Executor, last: str, make: Callable[[Executor], None]) -> None:
    if schema.table_exists(executor, last):
        return
    try:
        with Transaction(executor):
            make(executor)
    except Error:
        # Another process may have made them at the same moment.
        if executor.in_transaction or not schema.table_exists(executor, last):
            raise


def _make_checkpoints(executor: Executor) -> None:
    for table, columns in COLUMNS.items():
        schema.create_table(executor, table, columns, primary_key=KEYS[table], if_not_exists=True)
    indexes.create_index(executor, CHECKPOINTS, ["run_id"])


def _make_items(executor: Executor) -> None:
    kind = best_vector_kind(executor)
    schema.create_table(executor, ITEMS, ITEM_COLUMNS, unique=[["namespace", "key"]])
    schema.create_table(
        executor,
        VECTORS,
        {
            "v": "INTEGER PRIMARY KEY AUTOINCREMENT",
            "n": "BIGINT NOT NULL",
            "user_id": "TEXT NOT NULL",
            "agent_id": "TEXT",
            "id": "TEXT NOT NULL",
            "model": "TEXT NOT NULL",
            "dimension": "BIGINT NOT NULL",
            "embedding": f"{kind} NOT NULL",
        },
        foreign_keys={"n": f"{ITEMS}(n) ON DELETE CASCADE"},
        checks=[executor.engine.vectors.check(kind, '"embedding"', '"dimension"')],
    )
    indexes.create_index(executor, VECTORS, ["n"])
    indexes.create_index(executor, ITEMS, ["expires_at"], where='"expires_at" IS NOT NULL')
