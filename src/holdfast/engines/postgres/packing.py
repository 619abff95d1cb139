"""Arrow arrays as the bytes of a binary COPY, where the column takes exactly what they hold.

What a column would round, cut, refuse or read in its own way is not packed, and goes in value by value.
https://www.postgresql.org/docs/current/sql-copy.html#SQL-COPY-FILE-FORMATS
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from psycopg import RawCursor

from holdfast.engines.base import Column
from holdfast.engines.names import quote_identifier
from holdfast.engines.postgres.columnar import DAYS, EPOCH_DAYS, HEADER, MICROSECONDS, TRAILER
from holdfast.engines.writing import Batch, Load, Packed
from holdfast.types import Kind, KindName
from holdfast.types.array import MARK

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_EPOCH = EPOCH_DAYS * 86_400_000_000
_MOST_DIGITS = 18
"""What 64 bits hold."""


@dataclass(frozen=True, slots=True)
class Packer:
    """Rows that are all new, packed already, into one table."""

    sql: str
    columns: tuple[Column, ...]
    least: int
    overlaps: bool = True
    finds_fault: bool = False

    def pack(self, arrays: Sequence[Any]) -> Any:
        """The bytes of the rows, or ``None`` if a value has to be looked at."""
        row = _Row(len(arrays[0]))
        row.add(">i2", len(arrays))
        for column, array in zip(self.columns, arrays, strict=True):
            if not _add(row, column.codec.kind, array):
                return None
        return row.joined()

    def greatest(self, array: Any) -> int:
        """The greatest of packed integers, from 0 on."""
        import pyarrow.compute

        compute: Any = pyarrow.compute
        return max(0, compute.max(array).as_py() or 0)

    def write(self, raw: Any, batches: Iterable[Batch]) -> int:
        cursor = RawCursor(raw)
        with cursor.copy(self.sql) as copy:
            copy.write(HEADER)
            for batch in batches:
                assert isinstance(batch, Packed)
                copy.write(batch.data)
            copy.write(TRAILER)
        return int(cursor.rowcount)


def packer(load: Load, least: int) -> Packer:
    names = ", ".join(quote_identifier(column.name) for column in load.columns)
    sql = f"COPY {quote_identifier(load.info.name)} ({names}) FROM STDIN (FORMAT BINARY)"
    return Packer(sql, load.columns, least)


@dataclass(slots=True)
class _Row:
    """What all rows are made of: fields of fixed width, gathered until one comes whose width differs."""

    count: int
    _fixed: list[tuple[str, Any]] = field(default_factory=list)
    _parts: list[Any] = field(default_factory=list)

    def add(self, dtype: str, values: Any) -> None:
        """A field of fixed width; one value stands for all rows."""
        self._fixed.append((dtype, values))

    def add_fixed(self, dtype: str, values: NDArray[Any], null: NDArray[np.bool_] | None) -> None:
        """Numbers with their length before them, or where they are NULL only that."""
        import numpy as np

        width = np.dtype(dtype).itemsize
        if null is None:
            self.add(">i4", width)
            self.add(dtype, values)
            return
        self.add(">i4", np.where(null, -1, width))
        compute = _compute()
        found = _of_width(values.astype(dtype), width)
        self.add_part(compute.if_else(_pyarrow().array(null), _nothing(), found))

    def add_sized(self, values: Any) -> None:
        """Bytes with their lengths before them."""
        import numpy as np

        pa, compute = _pyarrow(), _compute()
        sizes = compute.binary_length(values)
        if values.null_count:
            sizes, values = compute.fill_null(sizes, -1), compute.fill_null(values, _nothing())
        self.add(">i4", np.asarray(sizes))
        self.add_part(values.cast(pa.binary()))

    def add_part(self, part: Any) -> None:
        self._flush()
        self._parts.append(part)

    def _flush(self) -> None:
        import numpy as np

        if not self._fixed:
            return
        record = np.empty(
            self.count, np.dtype([(f"f{place}", dtype) for place, (dtype, _) in enumerate(self._fixed)])
        )
        for place, (_, values) in enumerate(self._fixed):
            record[f"f{place}"] = values
        self._parts.append(_of_width(record, record.dtype.itemsize))
        self._fixed = []

    def joined(self) -> memoryview:
        import numpy as np

        self._flush()
        found = self._parts[0]
        if len(self._parts) > 1:
            found = _compute().binary_join_element_wise(*self._parts, _nothing())
        _, ends, data = found.buffers()
        return memoryview(data)[: int(np.frombuffer(ends, np.int32)[self.count])]


def _pyarrow() -> Any:
    import pyarrow

    return pyarrow


def _compute() -> Any:
    import pyarrow.compute

    return pyarrow.compute


def _nothing() -> Any:
    pa = _pyarrow()
    return pa.scalar(b"", pa.binary())


def _of_width(values: NDArray[Any], width: int) -> Any:
    """Numbers as an array of their bytes."""
    import numpy as np

    pa = _pyarrow()
    ends = np.arange(0, (len(values) + 1) * width, width, dtype=np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(np.ascontiguousarray(values))]
    return pa.Array.from_buffers(pa.binary(), len(values), buffers, null_count=0)


def _add(row: _Row, kind: Kind, array: Any) -> bool:
    """Add a column; false if it does not go in exactly as it is."""
    pa = _pyarrow()
    adding = _KINDS.get(kind.name)
    if adding is None:
        return False
    try:
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        return adding(row, kind, array)
    except pa.ArrowException:
        return False


def _numbers(array: Any) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """The numbers, anything where they are NULL, and where that is."""
    import numpy as np

    if not array.null_count:
        return np.asarray(array), None
    return np.asarray(_compute().fill_null(array, 0)), np.asarray(array.is_null())


def _within(values: NDArray[Any], null: NDArray[np.bool_] | None, low: int, high: int) -> bool:
    outside = (values < low) | (values > high)
    return not bool((outside if null is None else outside & ~null).any())


def _integers(row: _Row, kind: Kind, array: Any) -> bool:
    pa = _pyarrow()
    if not pa.types.is_integer(array.type):
        return False
    bits = kind.bits or 64
    type_ = {16: pa.int16(), 32: pa.int32()}.get(bits, pa.int64())
    row.add_fixed(f">i{bits // 8}", *_numbers(array.cast(type_)))
    return True


def _floats(row: _Row, kind: Kind, array: Any) -> bool:
    pa = _pyarrow()
    if not pa.types.is_floating(array.type) or kind.bits == 32:
        return False
    row.add_fixed(">f8", *_numbers(array.cast(pa.float64())))
    return True


def _booleans(row: _Row, kind: Kind, array: Any) -> bool:
    pa = _pyarrow()
    if not pa.types.is_boolean(array.type):
        return False
    row.add_fixed("u1", *_numbers(array.cast(pa.uint8())))
    return True


def _texts(row: _Row, kind: Kind, array: Any) -> bool:
    kinds = _pyarrow().types
    if kind.fixed or not any(
        is_one(array.type) for is_one in (kinds.is_string, kinds.is_large_string, kinds.is_string_view)
    ):
        return False
    if kinds.is_string_view(array.type):
        array = array.cast(_pyarrow().string())
    if kind.length is not None and (_compute().max(_compute().utf8_length(array)).as_py() or 0) > kind.length:
        return False
    row.add_sized(array.cast(_pyarrow().binary()))
    return True


def _bytes(row: _Row, kind: Kind, array: Any) -> bool:
    pa, compute = _pyarrow(), _compute()
    if isinstance(array, pa.ExtensionArray) or not (
        pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type)
    ):
        return False
    array, mark = array.cast(pa.binary()), pa.scalar(MARK, pa.binary())
    for start in (0, 56):
        if compute.any(compute.equal(compute.binary_slice(array, start, start + len(MARK)), mark)).as_py():
            return False
    row.add_sized(array)
    return True


def _uuids(row: _Row, kind: Kind, array: Any) -> bool:
    if getattr(array.type, "extension_name", "") != "arrow.uuid":
        return False
    row.add_sized(array.storage.cast(_pyarrow().binary()))
    return True


def _dates(row: _Row, kind: Kind, array: Any) -> bool:
    pa = _pyarrow()
    if not pa.types.is_date(array.type):
        return False
    days, null = _numbers(array.cast(pa.date32()).view(pa.int32()))
    if not _within(days, null, *DAYS):
        return False
    row.add_fixed(">i4", days - EPOCH_DAYS, null)
    return True


def _times(row: _Row, kind: Kind, array: Any) -> bool:
    pa = _pyarrow()
    if not pa.types.is_time(array.type) or (kind.precision or 6) < 6:
        return False
    found, null = _numbers(array.cast(pa.time64("us")).view(pa.int64()))
    if not _within(found, null, 0, 86_399_999_999):
        return False
    row.add_fixed(">i8", found, null)
    return True


def _moments(row: _Row, kind: Kind, array: Any) -> bool:
    pa = _pyarrow()
    has_zone = kind.name == "timestamptz"
    if not pa.types.is_timestamp(array.type) or (array.type.tz is not None) is not has_zone:
        return False
    if kind.precision is not None and kind.precision < 6:
        return False
    found, null = _numbers(array.cast(pa.timestamp("us", array.type.tz)).view(pa.int64()))
    if not _within(found, null, *MICROSECONDS):
        return False
    row.add_fixed(">i8", found - _EPOCH, null)
    return True


def _decimals(row: _Row, kind: Kind, array: Any) -> bool:
    """Numbers of up to 18 digits, in groups of four as the server keeps them; zeros in front do not count."""
    import numpy as np

    type_ = array.type
    if not _pyarrow().types.is_decimal128(type_) or not 0 <= type_.scale <= min(
        type_.precision, _MOST_DIGITS
    ):
        return False
    if kind.scale is not None and type_.scale > kind.scale:
        return False
    words = np.frombuffer(array.buffers()[1], np.int64)[2 * array.offset : 2 * (array.offset + len(array))]
    null = np.asarray(array.is_null()) if array.null_count else None
    low, high = (part if null is None else np.where(null, 0, part) for part in (words[::2], words[1::2]))
    before, after = -(-(_MOST_DIGITS - type_.scale) // 4), -(-type_.scale // 4)
    padding = after * 4 - type_.scale
    most = 10 ** (_MOST_DIGITS - padding) - 1
    if (high != low >> 63).any() or not _within(low, None, -most, most):
        return False
    row.add_fixed(*_groups(low, before, after, type_.scale), null)
    return True


def _groups(values: NDArray[np.int64], before: int, after: int, scale: int) -> tuple[str, NDArray[Any]]:
    import numpy as np

    groups = before + after
    digits = np.abs(values) * 10 ** (after * 4 - scale)
    found = np.empty((len(values), 4 + groups), ">i2")
    found[:, 4:] = 0
    found[:, :4] = (groups, before - 1, 0, scale)
    found[values < 0, 2] = 0x4000
    for place in range(min(groups, -(-_MOST_DIGITS // 4))):
        found[:, -1 - place] = digits // 10 ** (4 * place) % 10_000
    width = f"V{found.itemsize * (4 + groups)}"
    return width, found.view(width)[:, 0]


_KINDS: dict[KindName, Callable[[_Row, Kind, Any], bool]] = {
    "integer": _integers,
    "float": _floats,
    "boolean": _booleans,
    "text": _texts,
    "bytes": _bytes,
    "uuid": _uuids,
    "date": _dates,
    "time": _times,
    "timestamp": _moments,
    "timestamptz": _moments,
    "decimal": _decimals,
}
