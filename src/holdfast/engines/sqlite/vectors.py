"""Vectors on SQLite: blobs of little-endian float32, compared outside of the database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from holdfast.engines.base import OwnedVector, Run
from holdfast.engines.names import quote_identifier

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PLAIN = "BLOB"


def kind(run: Run) -> str:
    """The type of a column of vectors."""
    return PLAIN


def check(kind: str, column: str, dimension: str) -> str:
    """A condition that a stored vector is as long as it should be."""
    return f"length({column}) = 4 * {dimension}"


def read(kind: str, column: str) -> str:
    """SQL for what :func:`decode` takes."""
    return column


def decode(kind: str, stored: bytes) -> NDArray[np.float32]:
    """The vector, which cannot be written to."""
    import numpy as np

    return np.frombuffer(stored, dtype="<f4")


def decode_many(kind: str, stored: Sequence[bytes]) -> NDArray[np.float32]:
    """Vectors of one dimension as the rows of an array."""
    import numpy as np

    return np.frombuffer(b"".join(stored), dtype="<f4").reshape(len(stored), -1)


def distance(kind: str, column: str) -> str | None:
    """SQLite has no distances."""
    return None


def asked(vector: NDArray[np.float32]) -> str:
    """The vector as the mark of :func:`distance` takes it."""
    raise AssertionError


def mark(kind: str) -> str:
    """What stands in SQL for a vector that is written."""
    return "?"


def bound(kind: str, vector: NDArray[np.float32]) -> bytes:
    """The vector as that takes it."""
    return vector.astype("<f4", copy=False).tobytes()


def put(raw: Any, table: str, kind: str, rows: Iterable[OwnedVector]) -> None:
    """Write vectors."""
    raw.executemany(
        f'INSERT INTO {table} ("n", "user_id", "agent_id", "id", "model", "dimension", "embedding") '
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            (
                *(row.n, row.user_id, row.agent_id, row.id, row.model, len(row.vector)),
                row.vector.astype("<f4", copy=False).tobytes(),
            )
            for row in rows
        ),
    )


def state(raw: Any) -> Any:
    """A value that is another one as soon as anybody has written to the database."""
    connection: sqlite3.Connection = raw
    return connection.execute("PRAGMA data_version").fetchone()[0], connection.total_changes


def renumbered(table: str) -> list[str]:
    """A trigger: the table counts its vectors for itself, and gives no number twice."""
    name, counted = quote_identifier(table), f"WHERE name = '{table}'"
    return [
        f"CREATE TRIGGER IF NOT EXISTS {quote_identifier(table + '_renumbered')} "
        f'AFTER UPDATE OF "embedding" ON {name} WHEN OLD."embedding" IS NOT NEW."embedding" BEGIN '
        f"UPDATE sqlite_sequence SET seq = seq + 1 {counted}; "
        f'UPDATE {name} SET "v" = (SELECT seq FROM sqlite_sequence {counted}) WHERE "v" = NEW."v"; END'
    ]
