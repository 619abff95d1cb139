"""From a declared type to its codec, for each way of storing values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from holdfast.types import binary, boolean, decimal, floating, integer, json, other, temporal, text, uuid
from holdfast.types.codec import Codec
from holdfast.types.kinds import CATALOGUE_32_BIT, Kind, KindName, classify


@dataclass(frozen=True, slots=True)
class _Form:
    """One way of storing values: a codec for each kind, one for parameters, and the words for 32 bits."""

    codecs: Mapping[KindName, Callable[[Kind], Codec]]
    parameter: Callable[[], Codec]
    narrow: frozenset[str]


class Storage(Enum):
    """How an engine keeps values.

    ``PORTABLE``: as SQLite's five classes (NULL, INTEGER, REAL, TEXT, BLOB). ``NATIVE``: as the server's own
    types, which the driver reads and writes.
    """

    PORTABLE = _Form(
        {
            "integer": integer.codec,
            "float": floating.portable,
            "text": text.portable,
            "boolean": boolean.portable,
            "decimal": decimal.portable,
            "date": temporal.date_portable,
            "time": temporal.time_portable,
            "timestamp": temporal.timestamp_portable,
            "timestamptz": temporal.timestamptz_portable,
            "json": json.portable,
            "bytes": binary.codec,
            "uuid": uuid.portable,
            "other": other.portable,
        },
        other.parameter_portable,
        frozenset(),
    )
    NATIVE = _Form(
        {
            "integer": integer.codec,
            "float": floating.native,
            "text": text.native,
            "boolean": boolean.native,
            "decimal": decimal.native,
            "date": temporal.date_native,
            "time": temporal.time_native,
            "timestamp": temporal.timestamp_native,
            "timestamptz": temporal.timestamptz_native,
            "json": json.native,
            "bytes": binary.codec,
            "uuid": uuid.native,
            "other": other.native,
        },
        other.parameter_native,
        CATALOGUE_32_BIT,
    )


@dataclass(frozen=True)
class TypeMap:
    """The codecs of one engine.

    ``parameter`` is the codec of a value in free SQL, where no column says what it is.

    >>> TypeMap(Storage.PORTABLE).codec("BOOLEAN").decode(1)
    True
    """

    storage: Storage
    parameter: Codec = field(init=False, repr=False, compare=False)
    _cache: dict[str, Codec] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameter", self.storage.value.parameter())

    def codec(self, type_text: str) -> Codec:
        """Return the codec of a column declared ``type_text``, as the engine's catalogue spells it."""
        found = self._cache.get(type_text)
        if found is None:
            kind = classify(type_text, narrow=self.storage.value.narrow)
            found = self._cache[type_text] = self.storage.value.codecs[kind.name](kind)
        return found

    def param(self, value: Any) -> Any:
        """Return the driver's form of a parameter of free SQL.

        Raises:
            ValueRefused: if the database could not hold it as it is.
        """
        codec = self.parameter
        return value if value is None or type(value) in codec.passes else codec.encode(value)
