"""What is remembered: passages, messages and sources, as plain dataclasses that are checked when made."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import ArrayLike, NDArray

from holdfast.errors import InvalidIdentifier, ValueRefused
from holdfast.types.json import json_text
from holdfast.types.text import storable

Vector = NDArray[np.float32]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
LONGEST_NAME = 1000
_LONGEST_LIFE = 10_000 * 366 * 86_400
# The squares of its numbers, and of theirs the sum, must be in the range of float32: pgvector reckons so.
SHORTEST = 1e-15


def uuid7() -> UUID:
    """A new id that begins with the time, so that ids made later sort later (RFC 9562).

    >>> uuid7().version
    7
    """
    now = time.time_ns()
    # The millisecond and, in the twelve bits after it, its fraction.
    milliseconds, rest = divmod(now, 1_000_000)
    fraction = rest * 4096 // 1_000_000
    random = int.from_bytes(os.urandom(8)) & (2**62 - 1)
    return UUID(int=milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | random)


def as_id(value: Any) -> UUID:
    """An id as a ``UUID``, from one or from its text.

    Raises:
        ValueRefused: if it is neither.
    """
    if isinstance(value, UUID):
        return value
    if isinstance(value, str):
        try:
            return UUID(value)
        except ValueError:
            pass
    raise ValueRefused("the id of a memory is a UUID", hint="leave it out, and one is made")


def as_name(value: Any, noun: str) -> str:
    """A label or a tenant's name: any text of 1 to 1,000 characters; a ``UUID`` stands for its text.

    Raises:
        InvalidIdentifier: if it is none.
    """
    if isinstance(value, UUID):
        return str(value)
    if not isinstance(value, str):
        raise InvalidIdentifier(f"{noun} is a text, not {type(value).__name__}")
    if not 1 <= len(value) <= LONGEST_NAME or not value.strip():
        raise InvalidIdentifier(f"{noun} has 1 to {LONGEST_NAME} characters, not all of them blanks")
    try:
        return storable(value)
    except ValueRefused as exc:
        raise InvalidIdentifier(f"{noun}: {exc.message}") from exc


def as_vector(value: ArrayLike) -> Vector:
    """A vector as a read-only float32 array.

    Raises:
        ValueRefused: if it is no list of numbers, or empty, or zero, or holds NaN or an infinity.
    """
    try:
        found = np.array(value, dtype=np.float32)
    except (TypeError, ValueError) as exc:
        raise ValueRefused("an embedding is a list of numbers") from exc
    if found.ndim != 1 or not len(found):
        raise ValueRefused(f"an embedding has one dimension of at least one number, not shape {found.shape}")
    # NaN is in no range, and no number of float32 squared leaves that of float64.
    wide = found.astype(np.float64)
    if not SHORTEST**2 <= wide.dot(wide) <= SHORTEST**-2:
        raise _fault_of(found)
    found.flags.writeable = False
    return found


def _fault_of(vector: Vector) -> ValueRefused:
    if not np.isfinite(vector).all():
        return ValueRefused("an embedding holds NaN or an infinity", hint="as float32, too")
    if not vector.any():
        return ValueRefused("an embedding is zero, and has no direction to compare")
    return ValueRefused("an embedding is too short or too long to be compared in float32")


def as_moment(value: Any, noun: str = "created_at") -> datetime:
    """A time with its zone.

    Raises:
        ValueRefused: if it has none.
    """
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueRefused(f"{noun} is a datetime with a zone", hint="such as datetime.now(timezone.utc)")
    return value.astimezone(UTC)


def microseconds(moment: datetime) -> int:
    """A time as it is stored: microseconds since 1970."""
    return (moment - EPOCH) // _MICROSECOND


def moment_of(stored: int) -> datetime:
    return EPOCH + stored * _MICROSECOND


def lifetime(ttl: Any) -> int | None:
    """How long something lives, in microseconds, from a timedelta or seconds.

    Raises:
        ValueRefused: if it is not positive, or longer than 10,000 years.
    """
    if ttl is None:
        return None
    if isinstance(ttl, (int, float)) and not isinstance(ttl, bool) and 0 < ttl < _LONGEST_LIFE:
        ttl = timedelta(seconds=ttl)
    if not isinstance(ttl, timedelta) or not timedelta(0) < ttl < timedelta(seconds=_LONGEST_LIFE):
        raise ValueRefused("ttl is how long a memory lives", hint="a timedelta, or seconds")
    return ttl // _MICROSECOND


def _text(value: Any, noun: str, *, empty: bool = True) -> str:
    if not isinstance(value, str):
        raise ValueRefused(f"{noun} is a text, not {type(value).__name__}")
    if not empty and not value.strip():
        raise ValueRefused(f"{noun} is empty")
    return storable(value)


def _now() -> datetime:
    return datetime.now(UTC)


class _Remembered:
    """What the three kinds of records share; equal if all fields are, vectors by their numbers."""

    id: UUID

    def _put(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check(self) -> None:
        """Bring the fields that every kind has into their form."""
        self._put("id", as_id(self.id))
        for name in ("user_id", "agent_id"):
            if getattr(self, name, None) is not None:
                self._put(name, as_name(getattr(self, name), name))
        self._put("created_at", as_moment(getattr(self, "created_at", None)))
        if getattr(self, "embedding", None) is not None:
            self._put("embedding", as_vector(getattr(self, "embedding", None)))  # type: ignore[arg-type]

    def _check_texts(self, *names: str) -> None:
        for name in names:
            if getattr(self, name) is not None:
                _text(getattr(self, name), name)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        names = [each.name for each in fields(self)]  # type: ignore[arg-type]
        return all(_same(getattr(self, name), getattr(other, name)) for name in names)

    def __hash__(self) -> int:
        return hash(self.id)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return one is not None and other is not None and bool(np.array_equal(one, other))
    return bool(one == other)


@dataclass(frozen=True, eq=False)
class Passage(_Remembered):
    """A piece of text to find again.

    ``id`` is a UUID, by default a new one that sorts by time. ``embedding`` becomes a read-only array of
    float32; left out, the store's embedder makes it. ``user_id`` and ``agent_id`` are filled in by the store.
    ``metadata`` is a dict of what JSON has.

    >>> Passage("tea, no sugar", metadata={"topic": "drinks"}).text
    'tea, no sugar'

    Raises:
        ValueRefused: for a value that would not come back as it went in, an empty text, a vector of zeros.
    """

    text: str
    embedding: Vector | None = None
    id: UUID = field(default_factory=uuid7)
    user_id: str | None = None
    agent_id: str | None = None
    data_source: str | None = None
    doc_id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    created_at: datetime = field(default_factory=_now)

    def __post_init__(self) -> None:
        self._check()
        _text(self.text, "text", empty=False)
        if isinstance(self.doc_id, UUID):
            self._put("doc_id", str(self.doc_id))
        self._check_texts("data_source", "doc_id")
        if self.metadata is None:
            self._put("metadata", {})
        if not isinstance(self.metadata, dict):
            raise ValueRefused(f"metadata is a dict, not {type(self.metadata).__name__}")
        json_text(self.metadata)


class Document(Passage):
    """A passage that is never merged with another one of the same text."""


@dataclass(frozen=True, eq=False)
class Message(_Remembered):
    """One message of a conversation.

    ``text`` may be empty where there are ``tool_calls``, a list of what JSON has. ``user`` is the name of
    who spoke; the tenant is ``user_id``.

    >>> Message("user", "I drink tea").role
    'user'

    Raises:
        ValueRefused: for a value that would not come back as it went in.
    """

    role: str
    text: str
    id: UUID = field(default_factory=uuid7)
    user_id: str | None = None
    agent_id: str | None = None
    model: str | None = None
    user: str | None = None
    tool_calls: list[Any] | None = None
    tool_call_id: str | None = None
    embedding: Vector | None = None
    created_at: datetime = field(default_factory=_now)

    def __post_init__(self) -> None:
        self._check()
        _text(self.role, "role", empty=False)
        _text(self.text, "text", empty=bool(self.tool_calls))
        self._check_texts("model", "user", "tool_call_id")
        if self.tool_calls is not None:
            if not isinstance(self.tool_calls, list):
                raise ValueRefused(f"tool_calls is a list, not {type(self.tool_calls).__name__}")
            json_text(self.tool_calls)


@dataclass(frozen=True, eq=False)
class Source(_Remembered):
    """Where passages came from: a file, a site, a book."""

    name: str
    id: UUID = field(default_factory=uuid7)
    user_id: str | None = None
    created_at: datetime = field(default_factory=_now)

    def __post_init__(self) -> None:
        self._check()
        _text(self.name, "name", empty=False)


Record = Passage | Message | Source
KINDS: dict[str, type[Passage] | type[Message] | type[Source]] = {
    "passage": Passage,
    "document": Document,
    "message": Message,
    "source": Source,
}
NAMES = {record: name for name, record in KINDS.items()}


def vector_of(record: Record) -> Vector | None:
    """The embedding of a record, of which a source has none."""
    return None if isinstance(record, Source) else record.embedding


def records_of(given: Any) -> list[Record]:
    """A list of records, each of a known kind.

    Raises:
        ValueRefused: with ``row_number`` if one is something else.
    """
    if isinstance(given, (Passage, Message, Source)):
        raise ValueRefused("this takes several records", hint="insert() takes one")
    found: Sequence[Any] = list(given)
    for number, record in enumerate(found, 1):
        if type(record) not in NAMES:
            error = ValueRefused(
                f"a memory is a Passage, a Message or a Source, not {type(record).__name__}",
                hint="holdfast.memory.Passage(text)",
            )
            error.row_number = number
            raise error
    return list(found)
