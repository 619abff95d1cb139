"""The tables of LangGraph's checkpoints; this module needs no LangGraph.

A row of ``hf_checkpoints`` is a checkpoint without the values of its large channels: ``data`` holds, as the
serialiser named in ``kind`` wrote it, the checkpoint with its small values, the names of its large
channels, and the metadata. ``metadata`` is a copy of the latter to filter by and to read, without what
JSON cannot hold. A value of a large channel is a row of ``hf_checkpoint_blobs``, shared by all checkpoints
that have that version of it. ``hf_checkpoint_writes`` has what tasks wrote before the next checkpoint was
made, which may be there before its own checkpoint is.
"""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.core import indexes, schema
from holdfast.core.executor import Executor
from holdfast.core.transaction import Transaction
from holdfast.errors import Error

CHECKPOINTS = "hf_checkpoints"
BLOBS = "hf_checkpoint_blobs"
WRITES = "hf_checkpoint_writes"

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
"""The columns of each table; ``written_at`` is microseconds since 1970."""
KEYS: Mapping[str, tuple[str, ...]] = {
    CHECKPOINTS: ("thread_id", "checkpoint_ns", "checkpoint_id"),
    BLOBS: ("thread_id", "checkpoint_ns", "channel", "version"),
    WRITES: ("thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "idx"),
}
"""The primary key of each table."""


def ensure(executor: Executor) -> None:
    """Make the tables of checkpoints where they are not there yet."""
    if schema.table_exists(executor, WRITES):
        return
    try:
        _make(executor)
    except Error:
        # Another process may have made them at the same moment.
        if executor.in_transaction or not schema.table_exists(executor, WRITES):
            raise


def _make(executor: Executor) -> None:
    with Transaction(executor):
        for table, columns in COLUMNS.items():
            schema.create_table(executor, table, columns, primary_key=KEYS[table], if_not_exists=True)
        indexes.create_index(executor, CHECKPOINTS, ["run_id"])
