"""All that a store keeps for a tenant as a stream of plain dicts, and such a stream as a store again.

An entry is ``{"memory": ..., "vectors": ...}`` for what there is now, with a vector for each model, or
``{"change": ...}`` for a version that has ended. The same entries go from one backend to another and into a
file, and their SHA-256 proves that nothing was lost on the way.
"""

from __future__ import annotations

import binascii
import dataclasses
import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast.core import bulk
from holdfast.engines.base import OwnedVector
from holdfast.errors import ImportFailed, ValueRefused
from holdfast.memory import tables
from holdfast.memory.records import KINDS, Record, Vector, as_moment, as_vector, microseconds, moment_of
from holdfast.memory.rows import digest
from holdfast.memory.tables import COLUMNS
from holdfast.memory.writing import DELETED

if TYPE_CHECKING:
    from holdfast.memory.sql_store import SQLStore

Entry = dict[str, Any]
_AT_ONCE = 1000
_TIMES = ("created_at", "written_at", "expires_at", "ended_at")
_JSON = ("metadata", "tool_calls")
# A new owner, and what follows from others.
_OWN = ("user_id", "digest")
_CARRIED = [name for name in COLUMNS if name not in _OWN]
_OF_CHANGE = ["operation", "ended_at"]


@dataclass(slots=True)
class Tally:
    """How many entries went by, and their SHA-256."""

    memories: int = 0
    vectors: int = 0
    changes: int = 0
    sha: Any = field(default_factory=hashlib.sha256)

    def over(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """The same entries, counted."""
        for entry in entries:
            self.memories += "memory" in entry
            self.vectors += len(entry.get("vectors", ()))
            self.changes += "change" in entry
            self.sha.update(line(entry).encode())
            yield entry

    @property
    def counts(self) -> dict[str, Any]:
        """What the last line of a file says."""
        return {
            "memories": self.memories,
            "vectors": self.vectors,
            "changes": self.changes,
            "sha256": self.sha.hexdigest(),
        }


def line(entry: Entry) -> str:
    """An entry as a line of JSON, always the same for the same entry."""
    return (
        json.dumps(entry, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n"
    )


def models(store: SQLStore) -> dict[str, int]:
    """The models of a store and their dimensions, the current one first."""
    layout = store._shape().layout
    found = tables.dimensions(store._executor, layout)
    current = store._executor.scalar(f"SELECT {tables.CURRENT_MODEL}", [layout.table])
    return {name: found[name] for name in sorted(found, key=lambda name: (name != current, name))}


# Out


def entries(store: SQLStore) -> Iterator[Entry]:
    """All of a tenant's: what there is now in the order of its writing, then what was."""
    shape, executor, encode = store._shape(), store._executor, _Encoder(store)
    names = ", ".join(f"{shape.table}.{executor.engine.quote(name)}" for name in _CARRIED)
    for rows in _pages(store, shape.table, ["n"], names):
        vectors = _vectors(store, [row[0] for row in rows])
        for row in rows:
            yield {"memory": encode.fields(_CARRIED, row[1:]), "vectors": vectors.get(row[0], {})}
    stored = executor.engine.vectors.read(shape.layout.vector_kind, f'{shape.history}."embedding"')
    columns = [*_CARRIED, *_OF_CHANGE, "embedding_model"]
    names = ", ".join(f"{shape.history}.{executor.engine.quote(name)}" for name in columns)
    # Where a number is only of this database, a memory's versions one after the other.
    keys = ["id", *tables.VERSION] if shape.is_versioned else ["change"]
    for rows in _pages(store, shape.history, keys, f"{names}, {stored}"):
        for row in rows:
            change = encode.fields(columns, row[len(keys) : -1])
            if row[-1] is not None:
                change["embedding"] = encode.vector(row[-1])
            yield {"change": change}


def _pages(store: SQLStore, table: str, keys: Sequence[str], names: str) -> Iterator[list[tuple[Any, ...]]]:
    is_present = keys == ["n"]
    sql, tenant = store._scope.present(table) if is_present else store._scope.condition(table)
    key, marks = ", ".join(f'{table}."{name}"' for name in keys), ", ".join("?" * len(keys))
    beyond, last = "", list[Any]()
    while rows := store._executor.rows(
        f"SELECT {key}, {names} FROM {table} WHERE {sql}{beyond} ORDER BY {key} LIMIT {_AT_ONCE}",
        [*tenant, *last],
    ):
        yield rows
        beyond, last = f" AND ({key}) > ({marks})", list(rows[-1][: len(keys)])


def _vectors(store: SQLStore, numbers: Sequence[int]) -> dict[int, dict[str, str]]:
    shape, encode = store._shape(), _Encoder(store)
    stored = store._executor.engine.vectors.read(shape.layout.vector_kind, f'{shape.vectors}."embedding"')
    found: dict[int, dict[str, str]] = {}
    for n, model, vector in store._executor.rows(
        f'SELECT "n", "model", {stored} FROM {shape.vectors} WHERE "n" IN ({", ".join("?" * len(numbers))})',
        numbers,
    ):
        found.setdefault(n, {})[model] = encode.vector(vector)
    return found


class _Encoder:
    """Stored values as JSON has them."""

    def __init__(self, store: SQLStore) -> None:
        self._shape, self._vectors = store._shape(), store._executor.engine.vectors

    def fields(self, names: Sequence[str], row: Sequence[Any]) -> dict[str, Any]:
        return {
            name: self._value(name, value)
            for name, value in zip(names, row, strict=True)
            if value is not None
        }

    def _value(self, name: str, value: Any) -> Any:
        if name in _TIMES:
            return moment_of(value).isoformat()
        return self._shape._value(name, value) if name in _JSON else value

    def vector(self, stored: Any) -> str:
        vector = self._vectors.decode(self._shape.layout.vector_kind, stored)
        return b64encode(vector.astype("<f4").tobytes()).decode()


# In


def write(store: SQLStore, given: Iterable[Entry], dimensions: Mapping[str, int]) -> None:
    """Write entries for the tenant of ``store``, in an open transaction.

    ``dimensions`` are those of the models, the current one first.

    Raises:
        ImportFailed: with ``row_number`` if one is none.
        AlreadyExists: if there is a memory of an id, or a passage of a text, already.
    """
    layout = store._shape().layout
    for model, dimension in dimensions.items():
        known = tables.set_dimension(store._executor, dataclasses.replace(layout, model=model), dimension)
        if known != dimension:
            raise ImportFailed(
                f"vectors of {model!r} have {dimension} numbers, and this memory's have {known}",
                hint="take another name for the memory",
            )
    stream, number = iter(given), 0
    while batch := list(islice(stream, _AT_ONCE)):
        read = [_Read.of(entry, number + place, dimensions) for place, entry in enumerate(batch, 1)]
        number += len(batch)
        _write_memories(store, [one for one in read if one.kind == "memory"])
        _write_changes(store, [one for one in read if one.kind == "change"])
    # The store may have been opened before it had a model.
    store._executor.forget()


def _write_memories(store: SQLStore, read: Sequence[_Read]) -> None:
    if not read:
        return
    shape, executor = store._shape(), store._executor
    rows = [one.row(store) for one in read]
    bulk.insert_many(executor, shape.layout.table, rows, columns=list(COLUMNS))
    if not any(one.vectors for one in read):
        return
    numbers = dict(
        executor.rows(
            f'SELECT "id", "n" FROM {shape.table} WHERE "user_id" = ? '
            f'AND "id" IN ({", ".join("?" * len(read))})',
            [store.user_id, *(one.values["id"] for one in read)],
        )
    )
    vectors = [
        OwnedVector(
            numbers[one.values["id"]],
            store.user_id,
            one.values.get("agent_id"),
            one.values["id"],
            model,
            vector,
        )
        for one in read
        for model, vector in one.vectors.items()
    ]
    executor.drive(
        lambda raw: executor.engine.vectors.put(raw, shape.vectors, shape.layout.vector_kind, vectors)
    )


def _write_changes(store: SQLStore, read: Sequence[_Read]) -> None:
    if not read:
        return
    shape, executor = store._shape(), store._executor
    vectors, kind, quote = executor.engine.vectors, shape.layout.vector_kind, executor.engine.quote
    columns = [*COLUMNS, *_OF_CHANGE, "embedding_model"]
    marks = ", ".join("?" * len(columns))
    number, value = '"n"', "0"
    if shape.is_versioned:
        past = f'FROM {shape.history} WHERE "user_id" = ? AND "id" = ?'
        number, value = '"version"', f'(SELECT coalesce(max("version"), 0) + 1 {past})'
    sql = executor.native(
        f'INSERT INTO {shape.history} ({", ".join(map(quote, columns))}, "embedding", {number}) '
        f"VALUES ({marks}, {vectors.mark(kind)}, {value})"
    )
    rows = []
    for one in read:
        more = [one.values[name] for name in _OF_CHANGE]
        vector = one.vectors.get("")
        bound = None if vector is None else vectors.bound(kind, vector)
        mine = [store.user_id, one.values["id"]] if shape.is_versioned else []
        rows.append((*shape.encoded(one.row(store)), *more, one.values.get("embedding_model"), bound, *mine))
    executor.send_many(sql, rows)


@dataclass(frozen=True, slots=True)
class _Read:
    """An entry that was checked: its values as they are stored, and its vectors, of a change under ``""``."""

    kind: str
    values: dict[str, Any]
    vectors: dict[str, Vector]

    @classmethod
    def of(cls, entry: Any, number: int, dimensions: Mapping[str, int]) -> _Read:
        try:
            if not isinstance(entry, dict):
                raise ValueRefused("an entry is an object of JSON")
            kind = "memory" if "memory" in entry else "change"
            given = entry.get(kind)
            if not isinstance(given, dict):
                raise ValueRefused("an entry has a memory or a change")
            values = {name: _value(name, value) for name, value in given.items() if name != "embedding"}
            record = _record(given)
            values["digest"] = None if record is None else digest(record)
            if kind == "memory":
                vectors = {model: _vector(text) for model, text in entry.get("vectors", {}).items()}
            else:
                vectors = {"": _vector(given["embedding"])} if "embedding" in given else {}
            if any(len(vector) != dimensions.get(model) for model, vector in vectors.items() if model):
                raise ValueRefused("a vector has another dimension than its model")
            return cls(kind, values, vectors)
        except (ValueRefused, KeyError, TypeError, ValueError, AttributeError) as exc:
            reason = exc.message if isinstance(exc, ValueRefused) else "a value is missing or of another kind"
            error = ImportFailed(f"entry {number} is none of a memory: {reason}", hint="nothing was written")
            error.row_number = number
            raise error from exc

    def row(self, store: SQLStore) -> tuple[Any, ...]:
        """The values in the order of ``COLUMNS``."""
        agent = self.values.get("agent_id")
        if store.agent_id is not None and agent != store.agent_id:
            raise ValueRefused(
                "it belongs to another agent than this memory", hint="open it without agent_id="
            )
        return tuple({**self.values, "user_id": store.user_id}.get(name) for name in COLUMNS)


def _value(name: str, given: Any) -> Any:
    if name not in (*_CARRIED, *_OF_CHANGE, "embedding_model"):
        raise ValueRefused("it has a field that no memory has")
    if name in _TIMES:
        return microseconds(as_moment(datetime.fromisoformat(given), name))
    if name == "ttl":
        if not isinstance(given, int) or isinstance(given, bool):
            raise ValueRefused("ttl is a number of microseconds")
        return given
    if name not in _JSON and not isinstance(given, str):
        raise ValueRefused(f"{name} is a text")
    return given


def _record(given: Mapping[str, Any]) -> Record | None:
    """The record that these values are, made to have them checked; ``None`` for the time of a deletion."""
    if given["kind"] == DELETED:
        return None
    kind = KINDS[given["kind"]]
    names = {one.name for one in dataclasses.fields(kind)} - {"embedding", "user_id", "created_at"}
    created = as_moment(datetime.fromisoformat(given["created_at"]))
    return kind(created_at=created, **{name: given[name] for name in names if name in given})


def _vector(text: str) -> Vector:
    try:
        data = b64decode(text, validate=True)
    except (binascii.Error, TypeError) as exc:
        raise ValueRefused("a vector is float32 in base64") from exc
    if len(data) % 4:
        raise ValueRefused("a vector is float32 in base64")
    return as_vector(np.frombuffer(data, dtype="<f4"))
