"""Memories that are synced, and all that one holds, to be compared."""

from __future__ import annotations

from typing import Any

import numpy as np

import holdfast
import holdfast.memory
from holdfast.memory import SQLStore


def embed(texts: list[str]) -> np.ndarray[Any, Any]:
    """A vector of what a text speaks of, with numbers that only float32 has exactly."""
    words = ("tea", "rain", "paris", "python")
    return np.array(
        [[text.lower().count(word) + 0.1 * (len(text) % 7 + 1) for word in words] for text in texts],
        dtype=np.float32,
    )


embed.model = "words"  # type: ignore[attr-defined]


def notes(database: holdfast.Database, **options: Any) -> SQLStore:
    return holdfast.memory.open(database, **{"name": "notes", "user_id": "ada", "embed": embed, **options})


def state(memory: SQLStore) -> list[tuple[Any, ...]]:
    """All that a memory holds now and held before, without the numbers of this database."""
    shape, executor = memory._shape(), memory._executor
    found: list[tuple[Any, ...]] = []
    for record in memory.get_all():
        changes = memory.history(record.id)
        found.append((record, [(each.operation, each.record, each.at) for each in changes]))
    vectors = executor.engine.vectors
    stored = vectors.read(shape.layout.vector_kind, f'{shape.vectors}."embedding"')
    for id, model, vector in executor.rows(
        f'SELECT "id", "model", {stored} FROM {shape.vectors} ORDER BY "id", "model"'
    ):
        found.append((id, model, vectors.decode(shape.layout.vector_kind, vector).tobytes()))
    versions = "user_id", "id", "version", "branch", "operation", "text", "expires_at"
    listing = ", ".join(f'"{name}"' for name in versions)
    found += executor.rows(f'SELECT {listing} FROM {shape.history} ORDER BY "id", "version", "branch"')
    columns = "user_id", "agent_id", "id", "digest", "written_at", "ttl", "expires_at"
    listing = ", ".join(f'"{name}"' for name in columns)
    found += executor.rows(f'SELECT {listing} FROM {shape.table} ORDER BY "user_id", "id"')
    return found
