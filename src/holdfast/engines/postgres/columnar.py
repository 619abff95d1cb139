"""Rows as Arrow arrays by binary COPY, without a Python object for each value.

A COPY runs on the connection that is there: within its transaction, with its settings and its rights.
https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS
"""

from __future__ import annotations

import selectors
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import DataError, RawCursor
from psycopg.errors import error_from_result
from psycopg.pq import TransactionStatus

from holdfast.types import Kind, KindName

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# That much is in memory a few times; with less, decoding costs more for each value.
PART_BYTES = 1 << 20
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
# Nulls have no bytes: what is read in the place of a last one must be there.
_PADDING = bytes(16)
# Years 1 to 9999; beyond are BC, the years from 10,000 on, and infinity.
DAYS = (-719_162, 2_932_896)
MICROSECONDS = (DAYS[0] * 86_400_000_000, (DAYS[1] + 1) * 86_400_000_000 - 1)
EPOCH_DAYS = 10_957
_CASTS: dict[KindName, str] = {
    "integer": "int8",
    "float": "float8",
    "text": "text",
    "boolean": "bool",
    "decimal": "text",
    "date": "date",
    "time": "time",
    "timestamp": "timestamp",
    "timestamptz": "timestamptz",
    "json": "text",
    "bytes": "bytea",
    "uuid": "text",
}


def reads(raw: Any, kinds: Sequence[Kind | None]) -> bool:
    """Whether columns of these kinds can be read so, as their Arrow types or, what has none, as text."""
    known = all(kind is not None and kind.name in _CASTS for kind in kinds)
    encodings = {raw.pgconn.parameter_status(name) for name in (b"server_encoding", b"client_encoding")}
    return known and bool(kinds) and encodings == {b"UTF8"}


def read(raw: Any, sql: str, kinds: Sequence[Kind], *, shared: bool) -> Iterator[list[Any]]:
    """The columns of a query without parameters, some megabytes at a time.

    On a ``shared`` connection the query is read to its end even if nobody wants the rest: to cancel it
    would undo the transaction.
    """
    places = [f"c{place}" for place in range(len(kinds))]
    listing = ", ".join(_cast(place, kind) for place, kind in zip(places, kinds, strict=True))
    query = f"SELECT {listing} FROM ({sql}\n) AS q ({', '.join(places)})"
    with RawCursor(raw).copy(f"COPY ({query}) TO STDOUT (FORMAT BINARY)") as copy:
        try:
            for rows in _parts(raw.pgconn):
                yield _columns(rows, [kind.name for kind in kinds])
        except (GeneratorExit, Exception):
            if shared and raw.pgconn.transaction_status == TransactionStatus.ACTIVE:
                while copy.read():
                    pass
            raise
        while copy.read():
            pass


def _cast(name: str, kind: Kind) -> str:
    if kind.name == "float" and kind.bits == 32:
        # The shortest decimal that means the number is what Python reads of such a column, too.
        return f"CAST(CAST({name} AS text) AS float8)"
    # A cast to text would drop the blanks at the end.
    return f"CAST({name} AS {'bpchar' if kind.name == 'text' and kind.fixed else _CASTS[kind.name]})"


def _parts(pgconn: Any) -> Iterator[list[bytes]]:
    """The rows as the server sends them, each on its own, from behind the header up to the trailer."""
    get, skip = pgconn.get_copy_data, len(HEADER)
    rows, size = list[bytes](), 0
    with selectors.DefaultSelector() as selector:
        selector.register(pgconn.socket, selectors.EVENT_READ)
        while True:
            count, data = get(1)
            if count > len(TRAILER) and not skip:
                rows.append(bytes(data))
                size += count
                if size >= PART_BYTES:
                    yield rows
                    rows, size = [], 0
            elif count > 0:
                row, skip = bytes(data)[skip:], 0
                if row == TRAILER:
                    break
                rows.extend((row,) if row else ())
            elif count < 0:
                raise _failure(pgconn)
            else:
                selector.select()
                pgconn.consume_input()
    if rows:
        yield rows


def _failure(pgconn: Any) -> Exception:
    result = pgconn.get_result()
    while pgconn.get_result() is not None:
        pass
    return error_from_result(result)


@dataclass(frozen=True, slots=True)
class _Fields:
    """A column within the rows: where each value begins, how long it is, and which are NULL."""

    data: bytes
    start: NDArray[np.int64]
    size: NDArray[np.int64]
    null: NDArray[np.bool_] | None

    def numbers(self, dtype: str) -> NDArray[Any]:
        return _at(self.data, dtype, self.start)

    def within(self, found: NDArray[np.int64], low: int, high: int, what: str) -> NDArray[np.int64]:
        """``found``, or the error that the driver has for a value that is none of Python's."""
        outside = (found < low) | (found > high)
        if self.null is not None:
            outside &= ~self.null
        if outside.any():
            raise DataError(f"{what} out of range")
        return found


def _at(data: bytes, dtype: str, start: NDArray[np.int64]) -> NDArray[Any]:
    """Numbers of a width that stand anywhere."""
    import numpy as np

    kind = np.dtype(dtype)
    anywhere = np.ndarray((len(data) - kind.itemsize + 1,), kind, data, strides=(1,))
    return anywhere[start].astype(kind.newbyteorder("="))


def _columns(rows: list[bytes], kinds: Sequence[KindName]) -> list[Any]:
    import numpy as np

    data = b"".join((*rows, _PADDING))
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    # A row begins with the number of its fields.
    start = np.cumsum(lengths) - lengths + 2
    found = []
    for kind in kinds:
        size = _at(data, ">i4", start).astype(np.int64)
        null = size < 0
        is_null = bool(null.any())
        if is_null:
            size[null] = 0
        start = start + 4
        found.append(_DECODERS[kind](_Fields(data, start, size, null if is_null else None)))
        start = start + size
    return found


def _pyarrow() -> Any:
    import pyarrow

    return pyarrow


def _texts(fields: _Fields) -> Any:
    return _slices(fields, _pyarrow().string())


def _binary(fields: _Fields) -> Any:
    return _slices(fields, _pyarrow().binary())


def _slices(fields: _Fields, type_: Any) -> Any:
    """Take each other slice: the values, without what stands between them."""
    import numpy as np

    pa = _pyarrow()
    count = len(fields.start)
    ends = np.empty(2 * count + 1, np.int32)
    ends[0:-1:2] = fields.start
    ends[1::2] = fields.start + fields.size
    ends[-1] = ends[-2]
    slices = pa.Array.from_buffers(
        type_, 2 * count, [None, pa.py_buffer(ends), pa.py_buffer(fields.data)], null_count=0
    )
    return slices.take(pa.array(np.arange(0, 2 * count, 2, dtype=np.int32), mask=fields.null))


def _integers(fields: _Fields) -> Any:
    pa = _pyarrow()
    return pa.array(fields.numbers(">i8"), mask=fields.null)


def _floats(fields: _Fields) -> Any:
    pa = _pyarrow()
    return pa.array(fields.numbers(">f8"), mask=fields.null, from_pandas=False)


def _booleans(fields: _Fields) -> Any:
    pa = _pyarrow()
    return pa.array(fields.numbers("u1").astype(bool), mask=fields.null)


def _dates(fields: _Fields) -> Any:
    import numpy as np

    pa = _pyarrow()
    days = fields.within(fields.numbers(">i4").astype(np.int64) + EPOCH_DAYS, *DAYS, "date")
    return pa.array(days.astype(np.int32), mask=fields.null).view(pa.date32())


def _times(fields: _Fields) -> Any:
    pa = _pyarrow()
    found = fields.within(fields.numbers(">i8"), 0, 86_399_999_999, "time")
    return pa.array(found, mask=fields.null).view(pa.time64("us"))


def _moments(zone: str | None) -> Callable[[_Fields], Any]:
    def decode(fields: _Fields) -> Any:
        pa = _pyarrow()
        epoch = EPOCH_DAYS * 86_400_000_000
        low, high = MICROSECONDS
        found = fields.within(fields.numbers(">i8"), low - epoch, high - epoch, "timestamp") + epoch
        return pa.array(found, mask=fields.null).view(pa.timestamp("us", zone))

    return decode


_DECODERS: dict[KindName, Callable[[_Fields], Any]] = {
    "integer": _integers,
    "float": _floats,
    "text": _texts,
    "boolean": _booleans,
    "decimal": _texts,
    "date": _dates,
    "time": _times,
    "timestamp": _moments(None),
    "timestamptz": _moments("UTC"),
    "json": _texts,
    "bytes": _binary,
    "uuid": _texts,
}
