"""The memories of a MemGPT database, as its db.py laid them out, on SQLite and on PostgreSQL.

Its tables are ``memgpt_archival_memory_agent``, ``memgpt_passages`` and ``memgpt_recall_memory_agent``.
Vectors are filled up with zeros to 4,096 numbers, and stored on SQLite as base64; times on SQLite have no
zone, and are UTC.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import numpy as np

from holdfast.core import schema
from holdfast.core.executor import Executor
from holdfast.core.transaction import Transaction
from holdfast.database import Database, open_database
from holdfast.errors import AlreadyExists, ImportFailed, InvalidQuery, UniqueViolation
from holdfast.memory.carrying import Entry, write
from holdfast.memory.sql_store import SQLStore

PASSAGES = ("memgpt_archival_memory_agent", "memgpt_passages")
MESSAGES = "memgpt_recall_memory_agent"
_COLUMNS = (
    *("id", "user_id", "agent_id", "text", "doc_id", "data_source", "metadata_", "role", "model", "name"),
    *("tool_calls", "tool_call_id", "created_at", "embedding", "embedding_dim", "embedding_model"),
)
_NO_MODEL = "memgpt"


@dataclass(slots=True)
class Imported:
    """What came of the rows of a MemGPT database.

    ``merged`` passages had the text of another one: what they say beside it is in that one's metadata, under
    ``duplicates``. ``empty`` rows had neither a text nor a tool call, and were left out.
    """

    passages: int = 0
    messages: int = 0
    merged: int = 0
    empty: int = 0

    def __str__(self) -> str:
        more = [f"{self.merged} merged into others with their text" if self.merged else ""]
        more.append(f"{self.empty} without a text left out" if self.empty else "")
        return ", ".join([f"{self.passages} passages", f"{self.messages} messages", *filter(None, more)])


def import_memgpt(
    store: SQLStore, source: str | os.PathLike[str] | Database, *, user: str | None = None
) -> Imported:
    """Import the passages and messages of one user of a MemGPT database, all of them or none.

    Their ids, agents, sources, metadata, tool calls, times and vectors come along; they become those of the
    user of ``store``. ``user`` is the id of the MemGPT user, and may be left out if there is only one.

    Raises:
        AlreadyExists: if one of them is in the memory already.
        ImportFailed: if the database is none of MemGPT's, or holds a row that cannot be read.
        InvalidQuery: if it has several users and none is named.
    """
    database = source if isinstance(source, Database) else open_database(source, {"read_only": True})
    try:
        return _import(store, database._executor, user)
    finally:
        if database is not source:
            database.close()


def _import(store: SQLStore, origin: Executor, user: str | None) -> Imported:
    tables = [name for name in (*PASSAGES, MESSAGES) if schema.table_exists(origin, name)]
    if not tables:
        raise ImportFailed("this database has no tables of MemGPT's", hint=f"such as {MESSAGES}")
    reader = _Reader(origin, tables, _user(origin, tables, user))
    dimensions = reader.dimensions()
    with Transaction(store._executor):
        try:
            write(store, reader.entries(dimensions), dimensions)
        except UniqueViolation as exc:
            raise AlreadyExists(
                "some of these are in this memory already",
                hint="nothing was written; take another name for it",
            ) from exc
        _note_duplicates(store, reader.duplicates)
    return reader.done


def _user(origin: Executor, tables: list[str], user: str | None) -> str:
    found = {
        id
        for name in tables
        for (id,) in origin.rows(f'SELECT DISTINCT CAST("user_id" AS TEXT) FROM "{name}"')
    }
    if user is None and len(found) <= 1:
        return next(iter(found), "")
    if user is None or str(user) not in found:
        names = ", ".join(sorted(found)[:5])
        raise InvalidQuery(
            f"this MemGPT database has {len(found)} users" + ("" if user is None else ", and not that one"),
            hint=f"user= is one of: {names}",
        )
    return str(user)


@dataclass(slots=True)
class _Reader:
    origin: Executor
    tables: list[str]
    user: str
    done: Imported = field(default_factory=Imported)
    duplicates: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    _first: dict[tuple[str | None, str], str] = field(default_factory=dict)

    def dimensions(self) -> dict[str, int]:
        """The models that the vectors are of, the commonest first, and how many numbers they have."""
        counts: dict[str, int] = {}
        found: dict[str, int] = {}
        for name in self.tables:
            for row in self._rows(name):
                if row["embedding"] is not None and (vector := _vector(row)) is not None:
                    model = row["embedding_model"] or _NO_MODEL
                    counts[model] = counts.get(model, 0) + 1
                    if found.setdefault(model, len(vector)) != len(vector):
                        raise ImportFailed(f"the vectors of the model {model!r} have different dimensions")
        return {name: found[name] for name in sorted(found, key=lambda name: (-counts[name], name))}

    def entries(self, dimensions: dict[str, int]) -> Iterator[Entry]:
        """Each row as an entry of a memory."""
        for name in self.tables:
            for row in self._rows(name):
                entry = self._message(row) if name == MESSAGES else self._passage(row, name)
                if entry is None:
                    continue
                vector = None if row["embedding"] is None else _vector(row)
                if vector is not None:
                    model = row["embedding_model"] or _NO_MODEL
                    entry["vectors"] = {model: b64encode(vector.astype("<f4").tobytes()).decode()}
                yield entry

    def _rows(self, table: str) -> Iterator[dict[str, Any]]:
        there = {column["name"] for column in schema.get_columns(self.origin, table)}
        names = [name for name in _COLUMNS if name in there]
        texts = ", ".join(f'CAST("{name}" AS TEXT)' for name in names)
        sql = f'SELECT {texts} FROM "{table}" WHERE CAST("user_id" AS TEXT) = ? ORDER BY "created_at", "id"'
        for rows in self.origin.stream(sql, [self.user]):
            for row in rows:
                yield dict.fromkeys(_COLUMNS) | dict(zip(names, row, strict=True))

    def _passage(self, row: dict[str, Any], table: str) -> Entry | None:
        text = row["text"] or ""
        if not text.strip():
            self.done.empty += 1
            return None
        values = _common(row, "passage", text)
        values |= _given(row, "data_source", "doc_id")
        metadata = _json(row["metadata_"]) or {}
        values["metadata"] = metadata if isinstance(metadata, dict) else {"metadata_": metadata}
        first = self._first.setdefault((values.get("agent_id"), text), values["id"])
        if first != values["id"]:
            self.done.merged += 1
            del values["text"], values["kind"]
            self.duplicates.setdefault(first, []).append(values)
            return None
        self.done.passages += 1
        return {"memory": values}

    def _message(self, row: dict[str, Any]) -> Entry | None:
        calls = _json(row["tool_calls"])
        if not (row["text"] or "").strip() and not calls:
            self.done.empty += 1
            return None
        values = _common(row, "message", row["text"] or "")
        values |= _given(row, "role", "model", "tool_call_id")
        if row["name"] is not None:
            values["user"] = row["name"]
        if calls:
            values["tool_calls"] = calls
        self.done.messages += 1
        return {"memory": values}


def _common(row: dict[str, Any], kind: str, text: str) -> dict[str, Any]:
    try:
        moment = datetime.fromisoformat(row["created_at"]) if row["created_at"] else datetime.now(UTC)
        id = str(UUID(row["id"]))
    except ValueError as exc:
        raise ImportFailed("a row has an id that is no UUID, or a time that is none") from exc
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    made = moment.astimezone(UTC).isoformat()
    values = {"id": id, "kind": kind, "text": text, "created_at": made, "written_at": made}
    return values | _given(row, "agent_id")


def _given(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: row[name] for name in names if row[name] is not None}


def _json(text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except ValueError as exc:
        raise ImportFailed("a row has metadata or tool calls that are no JSON") from exc


def _vector(row: dict[str, Any]) -> np.ndarray[Any, Any] | None:
    """The vector of a row without the zeros that fill it up; ``None`` for zeros alone."""
    stored: str = row["embedding"]
    try:
        if stored.startswith("["):
            found = np.array(json.loads(stored), dtype=np.float32)
        else:
            data = b64decode(stored, validate=True)
            # Lists became float32 there; an array of NumPy's stayed what it was.
            is_double = len(data) == 8 * 4096
            found = np.frombuffer(data, dtype="<f8" if is_double else "<f4").astype(np.float32)
    except ValueError as exc:
        raise ImportFailed("a row has an embedding that is no vector of MemGPT's") from exc
    size = int(row["embedding_dim"] or len(np.trim_zeros(found, "b")))
    if found[size:].any():
        raise ImportFailed("a row has an embedding that is longer than its embedding_dim")
    return found[:size] if found[:size].any() else None


def _note_duplicates(store: SQLStore, duplicates: dict[str, list[dict[str, Any]]]) -> None:
    """Keep what passages of one text said beside it."""
    shape, codec = store._shape(), store._shape()._json["metadata"]
    for id, others in duplicates.items():
        record: Any = store.get(id)
        store._executor.run(
            f'UPDATE {shape.table} SET "metadata" = ? WHERE "user_id" = ? AND "id" = ?',
            [codec.encode({**record.metadata, "duplicates": others}), store.user_id, id],
        )
