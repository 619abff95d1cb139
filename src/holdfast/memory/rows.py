"""A record as a row of its store, and back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any
from uuid import UUID

from holdfast.core.executor import Executor
from holdfast.errors import SchemaError
from holdfast.memory.records import KINDS, NAMES, Passage, Record, microseconds, moment_of
from holdfast.memory.tables import COLUMNS, VERSION, Layout

_OF_RECORD = {
    "passage": ("text", "data_source", "doc_id", "metadata"),
    "document": ("text", "data_source", "doc_id", "metadata"),
    "message": ("text", "role", "model", "user", "tool_calls", "tool_call_id"),
    "source": ("name",),
}
_OUT = [name for name in COLUMNS if name not in ("digest", "written_at", "ttl", "expires_at")]

_PLACES = {name: place for place, name in enumerate(COLUMNS)}


def digest(record: Record) -> str | None:
    """What two passages of one tenant may not share; documents and messages are never merged."""
    if type(record) is not Passage:
        return None
    return hashlib.sha256(f"{record.agent_id or ''}\0{record.text}".encode()).hexdigest()


class Shape:
    """How one store's rows are written and read: its table's codecs, and where its vectors are."""

    def __init__(self, executor: Executor, layout: Layout) -> None:
        engine, quote = executor.engine, executor.engine.quote
        self.layout = layout
        self.table, self.vectors = quote(layout.table), quote(layout.vectors)
        self.history = quote(layout.history)
        info = executor.describe(layout.table)
        search = engine.fulltext.find(executor.run, layout.table)
        if search is None:
            raise SchemaError(
                f"the search of {layout.table!r} is not enabled any more",
                hint=f"db.enable_search({layout.table!r}, 'text')",
            )
        self.search = search
        self._json = {name: info.column(name).codec for name in ("metadata", "tool_calls")}
        self._decode_vector = engine.vectors.decode
        self.names = ", ".join(map(quote, COLUMNS))
        columns = ", ".join(f"{self.table}.{quote(name)}" for name in _OUT)
        vector = engine.vectors.read(layout.vector_kind, f"{self.vectors}.{quote('embedding')}")
        self.listing = f"{columns}, {vector}"
        # Histories of earlier releases have the memory's number instead, and go by their own.
        self.is_versioned = set(VERSION) <= set(executor.describe(layout.history).names)
        self.age = [f"{self.history}.{quote(name)}" for name in VERSION if self.is_versioned]
        self.age = self.age or [f'{self.history}."change"']
        past = ", ".join(f"{self.history}.{quote(name)}" for name in _OUT)
        vector = engine.vectors.read(layout.vector_kind, f"{self.history}.{quote('embedding')}")
        self.listing_of_history = f"{past}, {vector}"
        self.source = (
            f'{self.table} LEFT JOIN {self.vectors} ON {self.vectors}."n" = {self.table}."n" '
            f'AND {self.vectors}."model" = ?'
        )

    def values(
        self, record: Record, agent_id: str | None, written_at: int, ttl: int | None = None
    ) -> tuple[Any, ...]:
        """A record in the order of ``COLUMNS``; ``agent_id`` is for records that have none of their own."""
        found = self.columns([record], agent_id, written_at, ttl)
        return tuple(found[name][0] if name in found else None for name in COLUMNS)

    def columns(
        self, records: Sequence[Record], agent_id: str | None, written_at: int, ttl: int | None = None
    ) -> dict[str, list[Any]]:
        """The same of many records, by column and without those that hold nothing."""
        kinds, given = [NAMES[type(record)] for record in records], list(map(vars, records))
        count = len(records)
        columns: dict[str, list[Any]] = {
            "user_id": [values["user_id"] for values in given],
            "agent_id": [values.get("agent_id", agent_id) for values in given],
            "id": [str(values["id"]) for values in given],
            "kind": kinds,
            "digest": list(map(digest, records)),
            "created_at": [microseconds(values["created_at"]) for values in given],
            "written_at": [written_at] * count,
            "ttl": [ttl] * count,
            "expires_at": [None if ttl is None else written_at + ttl] * count,
        }
        for name in dict.fromkeys(chain.from_iterable(_OF_RECORD[kind] for kind in set(kinds))):
            columns[name] = [values.get(name) for values in given]
        return {name: values for name, values in columns.items() if values.count(None) < count}

    def encoded(self, values: Sequence[Any]) -> list[Any]:
        """Such values as the driver takes them."""
        given = list(values)
        for name, codec in self._json.items():
            if given[_PLACES[name]] is not None:
                given[_PLACES[name]] = codec.encode(given[_PLACES[name]])
        return given

    def record(self, row: Sequence[Any]) -> Record:
        """The record of a row of ``listing``."""
        values = dict(zip(_OUT, row, strict=False))
        kind = values["kind"]
        given: dict[str, Any] = {name: self._value(name, values[name]) for name in _OF_RECORD[kind]}
        given |= {"id": UUID(values["id"]), "user_id": values["user_id"]}
        given["created_at"] = moment_of(values["created_at"])
        if kind != "source":
            given["agent_id"] = values["agent_id"]
            stored = row[len(_OUT)]
            given["embedding"] = (
                None if stored is None else self._decode_vector(self.layout.vector_kind, stored)
            )
        return _made(KINDS[kind], given)

    def _value(self, name: str, stored: Any) -> Any:
        codec = self._json.get(name)
        decode: Callable[[Any], Any] | None = codec.decode if codec is not None else None
        return decode(stored) if decode is not None and stored is not None else stored


def changed(record: Record, **values: Any) -> Record:
    """The record with other values, which are right already."""
    return _made(type(record), {**vars(record), **values})


def _made(kind: type[Record], given: dict[str, Any]) -> Record:
    """A record without another look at values that were checked on their way in."""
    record: Record = object.__new__(kind)
    vars(record).update(given)
    return record
