"""Vectors on PostgreSQL: pgvector's type where the server has it, else bytes that nothing compares."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from holdfast.engines.base import OwnedVector, Run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PLAIN = "BYTEA"
VECTOR = "VECTOR"
# Any number that nobody else has chosen: only one session at a time may create the extension.
_LOCK = 7_466_291_845_511_002
_HEADER, _END = b"PGCOPY\n\xff\r\n\0" + bytes(8), struct.pack("!h", -1)
_NULL = struct.pack("!i", -1)
_PIECE = 1 << 20


def kind(run: Run) -> str:
    """The type of a column of vectors; creates the extension where it is at hand."""
    found = run("SELECT installed_version FROM pg_available_extensions WHERE name = 'vector'").fetchall()
    if not found:
        return PLAIN
    if found[0][0] is None:
        run("SELECT pg_advisory_xact_lock(?)", (_LOCK,))
        run("CREATE EXTENSION IF NOT EXISTS vector")
    return VECTOR


def check(kind: str, column: str, dimension: str) -> str:
    """A condition that a stored vector is as long as it should be."""
    return f"vector_dims({column}) = {dimension}" if kind == VECTOR else f"length({column}) = 4 * {dimension}"


def read(kind: str, column: str) -> str:
    """SQL for what :func:`decode` takes."""
    return f"vector_send({column})" if kind == VECTOR else column


def decode(kind: str, stored: bytes) -> NDArray[np.float32]:
    """The vector, which cannot be written to."""
    import numpy as np

    if kind == VECTOR:
        found = np.frombuffer(stored, dtype=">f4", offset=4).astype(np.float32)
        found.flags.writeable = False
        return found
    return np.frombuffer(stored, dtype="<f4")


def decode_many(kind: str, stored: Sequence[bytes]) -> NDArray[np.float32]:
    """Vectors of one dimension as the rows of an array."""
    import numpy as np

    return np.stack([decode(kind, each) for each in stored])


def distance(kind: str, column: str) -> str | None:
    """The cosine distance to a mark; ``None`` where the server has no pgvector."""
    return f"({column} <=> ?::vector)" if kind == VECTOR else None


def asked(vector: NDArray[np.float32]) -> str:
    """The vector as the mark of :func:`distance` takes it."""
    # Nine digits tell a float32 from every other; the seventeen of its repr take three times as long.
    return "[" + ",".join(["%.9g"] * len(vector)) % tuple(vector.tolist()) + "]"


def mark(kind: str) -> str:
    """What stands in SQL for a vector that is written."""
    return "?::vector" if kind == VECTOR else "?"


def bound(kind: str, vector: NDArray[np.float32]) -> str | bytes:
    """The vector as that takes it."""
    return asked(vector) if kind == VECTOR else vector.astype("<f4", copy=False).tobytes()


def put(raw: Any, table: str, kind: str, rows: Iterable[OwnedVector]) -> None:
    """Write vectors, by binary COPY."""
    columns = '"n", "user_id", "agent_id", "id", "model", "dimension", "embedding"'
    with (
        raw.cursor() as cursor,
        cursor.copy(f"COPY {table} ({columns}) FROM STDIN (FORMAT BINARY)") as copy,
    ):
        for piece in _pieces(kind, rows):
            copy.write(piece)


def _pieces(kind: str, rows: Iterable[OwnedVector]) -> Iterator[bytes]:
    piece = bytearray(_HEADER)
    # Many rows have the same owner and model.
    text = lru_cache(8)(_text)
    for n, user_id, agent_id, id, model, vector in rows:
        if kind == VECTOR:
            data = struct.pack("!hh", len(vector), 0) + vector.astype(">f4").tobytes()
        else:
            data = vector.astype("<f4", copy=False).tobytes()
        piece += struct.pack("!hiq", 7, 8, n) + text(user_id) + text(agent_id) + _text(id) + text(model)
        piece += struct.pack("!iqi", 8, len(vector), len(data)) + data
        if len(piece) >= _PIECE:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece + _END)


def _text(value: str | None) -> bytes:
    if value is None:
        return _NULL
    data = value.encode()
    return struct.pack("!i", len(data)) + data


def state(raw: Any) -> Any:
    """Nothing is kept outside of this database."""
    return None


def renumbered(table: str) -> list[str]:
    """Nothing is kept outside of this database."""
    return []
