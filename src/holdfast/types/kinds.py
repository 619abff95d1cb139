"""Read a declared type, in either dialect's spelling, as one kind of value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Literal
from uuid import UUID

from holdfast.errors import InvalidQuery

KindName = Literal[
    "integer",
    "float",
    "text",
    "boolean",
    "decimal",
    "date",
    "time",
    "timestamp",
    "timestamptz",
    "json",
    "bytes",
    "uuid",
    "other",
]
Affinity = Literal["integer", "text", "blob", "real", "numeric"]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a column holds.

    ``bits`` is the width of an integer or a float, ``length`` the characters of a text (exactly that many
    when ``fixed``), ``precision`` and ``scale`` the digits of a decimal, ``precision`` also the fractional
    digits of a time. ``affinity`` is what SQLite would turn an undecided value into.
    """

    name: KindName
    length: int | None = None
    precision: int | None = None
    scale: int | None = None
    bits: int | None = None
    fixed: bool = False
    affinity: Affinity = "blob"


_SPELLINGS: Mapping[KindName, tuple[str, ...]] = {
    "integer": (
        "integer", "int", "int4", "int8", "bigint", "mediumint", "smallint", "int2", "tinyint",
        "serial", "serial4", "serial8", "bigserial", "smallserial", "serial2",
        "big int", "unsigned big int", "int unsigned", "integer unsigned", "bigint unsigned",
    ),
    "float": ("float", "real", "double", "double precision", "float4", "float8", "floating point"),
    "text": (
        "text", "varchar", "character varying", "varying character", "char", "character", "nchar", "nvarchar",
        "bpchar", "native character", "national character", "national character varying", "clob", "citext",
        "string", "tinytext", "mediumtext", "longtext",
    ),
    "boolean": ("boolean", "bool"),
    "decimal": ("numeric", "decimal", "dec", "number"),
    "date": ("date",),
    "time": ("time", "time without time zone"),
    "timestamp": ("timestamp", "datetime", "timestamp without time zone"),
    "timestamptz": ("timestamptz", "timestamp with time zone"),
    "json": ("json", "jsonb"),
    "bytes": ("blob", "bytea", "binary", "varbinary", "tinyblob", "mediumblob", "longblob"),
    "uuid": ("uuid", "uniqueidentifier", "guid"),
}  # fmt: skip
_KIND_OF: Mapping[str, KindName] = {word: name for name, words in _SPELLINGS.items() for word in words}
_SMALL = frozenset({"smallint", "int2", "tinyint", "smallserial", "serial2"})
_FIXED = frozenset({"char", "character", "nchar", "native character", "national character"})

# PostgreSQL's catalogue says `integer` and `real` of columns that hold 32 bits; everywhere else the house
# reads those words as 64 bits, and creates such columns.
CATALOGUE_32_BIT = frozenset({"integer", "int", "int4", "serial", "serial4", "real", "float4"})


def classify(type_text: str, *, narrow: frozenset[str] = frozenset()) -> Kind:
    """Return the kind that ``type_text`` declares; what is unknown is ``other``.

    ``narrow`` names the spellings that mean 32 bits here (see ``CATALOGUE_32_BIT``).

    >>> classify("VARCHAR(50)").length
    50
    >>> classify("timestamp(3) with time zone").name
    'timestamptz'
    """
    folded = " ".join(type_text.lower().split())
    found = affinity(folded)
    base = " ".join(re.sub(r"\([^)]*\)", " ", folded).split())
    name = _KIND_OF.get(base, "other")
    bracket = re.search(r"\(([0-9, -]+)\)", folded)
    sizes = [int(size) for size in re.findall(r"-?[0-9]+", bracket[1])] if bracket else []
    first = sizes[0] if sizes else None
    if name in ("integer", "float"):
        bits = 16 if base in _SMALL else 32 if base in narrow else 64
        return Kind(name, bits=bits, affinity=found)
    if name == "text":
        # Without a length PostgreSQL's own word for CHAR holds any, but it compares and casts as CHAR does.
        fixed = base in _FIXED or base == "bpchar"
        length = 1 if base in _FIXED and first is None else first
        return Kind(name, length=length, fixed=fixed, affinity=found)
    if name == "decimal":
        scale = None if first is None else sizes[1] if len(sizes) > 1 else 0
        return Kind(name, precision=first, scale=scale, affinity=found)
    if name in ("time", "timestamp", "timestamptz"):
        return Kind(name, precision=first, affinity=found)
    return Kind(name, affinity=found)


def affinity(type_text: str) -> Affinity:
    """Return the affinity SQLite gives a column of this declared type (sqlite.org/datatype3.html, 3.1)."""
    upper = type_text.upper()
    if "INT" in upper:
        return "integer"
    if any(word in upper for word in ("CHAR", "CLOB", "TEXT")):
        return "text"
    if not upper or "BLOB" in upper:
        return "blob"
    if any(word in upper for word in ("REAL", "FLOA", "DOUB")):
        return "real"
    return "numeric"


_PYTHON_TYPES: Mapping[type, str] = {
    int: "INTEGER",
    float: "REAL",
    str: "TEXT",
    bool: "BOOLEAN",
    bytes: "BLOB",
    dict: "JSON",
    list: "JSON",
    datetime: "TIMESTAMP",
    date: "DATE",
    time: "TIME",
    Decimal: "NUMERIC",
    UUID: "UUID",
}


def python_type_text(python_type: type) -> str:
    """Return the neutral type text of a column declared by a Python type.

    ``bytes`` and ``numpy.ndarray`` give ``BLOB``; an engine spells it its own way.

    >>> python_type_text(dict)
    'JSON'

    Raises:
        InvalidQuery: if no column type goes with that Python type.
    """
    found = _PYTHON_TYPES.get(python_type)
    if found is not None:
        return found
    if python_type.__name__ == "ndarray" and python_type.__module__.partition(".")[0] == "numpy":
        return "BLOB"
    names = ", ".join(known.__name__ for known in _PYTHON_TYPES)
    raise InvalidQuery(
        f"no column type goes with the Python type {python_type.__name__!r}",
        hint=f"use a SQL type as text, numpy.ndarray, or one of: {names}",
    )
