"""Arrow data of archives, and values of a column that holds several classes of them, as tagged bytes.

A tagged value is a letter for the class, then the value:
``i`` an integer in decimal, ``f`` a float as hexadecimal text, ``t`` text in UTF-8, or in whatever bytes it
was stored, ``b`` bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.errors import MissingDependency


def pyarrow() -> Any:
    """The library, or the error that says how to get it."""
    try:
        import pyarrow as found
    except ImportError as exc:
        raise MissingDependency("pyarrow", "frames") from exc
    return found


def pyarrow_csv() -> Any:
    """Its reader and writer of CSV."""
    from pyarrow import csv

    return csv


def tagged(value: Any) -> bytes | None:
    """A value of one of SQLite's classes; bytes of a text that are no UTF-8 are surrogates in it."""
    if value is None:
        return None
    if type(value) is bytes:
        return b"b" + value
    if type(value) is str:
        return b"t" + value.encode("utf-8", "surrogateescape")
    return f"i{value}".encode() if type(value) is int else b"f" + value.hex().encode()


_CLASSES: dict[bytes, Callable[[bytes], Any]] = {
    b"i": int,
    b"f": lambda rest: float.fromhex(rest.decode("ascii")),
    b"t": lambda rest: rest.decode("utf-8", "surrogateescape"),
    b"b": bytes,
}


def untagged(value: bytes | None) -> Any:
    """The value that :func:`tagged` wrote.

    Raises:
        KeyError, ValueError: if it wrote none such.
    """
    return None if value is None else _CLASSES[value[:1]](value[1:])
