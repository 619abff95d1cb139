"""DataFrames and Arrow data as columns of Python values. No library is loaded that its caller has not."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from functools import partial
from typing import Any
from uuid import UUID

from holdfast.errors import DatabaseError, InvalidQuery, ValueRefused
from holdfast.types import KindName
from holdfast.types.array import has_mark, unframe

_PARTS = 5
_BYTES = 1 << 20
_TEXTS = ("str", "string")


Kinds = Mapping[str, KindName]
"""The kind of each column that the rows go into."""
Read = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a frame: as Arrow arrays, if it has such, and as columns of values, fewer at a time."""

    names: tuple[str, ...]
    count: int
    arrays: Callable[[], list[Any] | None]
    values: Callable[[Kinds], Iterator[list[list[Any]]]]


Columns = Iterator[Part]


def columns_of(rows: Any, size: int) -> Columns | None:
    """Names and values of so many rows at a time; ``None`` if ``rows`` is no frame and no Arrow data."""
    library = type(rows).__module__.partition(".")[0]
    kind = type(rows).__name__
    if library == "pandas" and kind == "DataFrame":
        return _pandas(rows, size)
    if library == "polars" and kind in ("DataFrame", "LazyFrame"):
        if kind == "LazyFrame":
            raise InvalidQuery("a LazyFrame has no rows yet", hint="pass frame.collect()")
        return _polars(rows, size)
    arrow = sys.modules.get("pyarrow")
    if arrow is None:
        return None
    if isinstance(rows, arrow.Table):
        return _arrow(rows.to_reader(), size)
    if isinstance(rows, arrow.RecordBatch):
        return _arrow(arrow.Table.from_batches([rows]).to_reader(), size)
    if isinstance(rows, arrow.RecordBatchReader):
        return _arrow(rows, size)
    if hasattr(rows, "__arrow_c_stream__"):
        return _arrow(stream_reader(arrow, rows), size)
    return None


def stream_reader(arrow: Any, rows: Any) -> Any:
    """A reader of whatever offers an Arrow stream of columns with names.

    Raises:
        InvalidQuery: if it is one column alone, or a column has a type that only its library knows.
    """
    if type(rows).__module__.partition(".")[0] == "polars":
        for name, dtype in getattr(rows, "schema", {}).items():
            # Its stream holds the places of Python's objects in memory, as if they were bytes.
            if dtype.base_type().__name__ == "Object":
                raise InvalidQuery(f"column {name!r} holds Python objects", hint="cast it to another type")
    try:
        return arrow.RecordBatchReader.from_stream(rows)
    except arrow.ArrowException as exc:
        raise InvalidQuery(
            f"the {type(rows).__name__} is no Arrow data of columns with names and types",
            hint="make a Series a DataFrame with to_frame(); cast 128-bit integers to Int64 or Decimal",
        ) from exc


def is_inert(rows: Any) -> bool:
    """Whether reading on in a frame runs no code of the caller's: a stream may do anything."""
    return type(rows).__name__ in ("DataFrame", "Table", "RecordBatch")


def _names(given: Any) -> tuple[str, ...]:
    names = tuple(given)
    for name in names:
        if not isinstance(name, str):
            raise InvalidQuery(
                f"a frame's columns must have names of text, not {type(name).__name__}",
                hint="rename them, e.g. df.columns = df.columns.map(str)",
            )
    if len(set(names)) < len(names):
        raise InvalidQuery("two columns of the frame have one name", hint="rename one of them")
    if not names:
        raise InvalidQuery("the frame has no columns")
    return names


def _pandas(frame: Any, size: int) -> Columns:
    names = _names(frame.columns)
    yield from of_series(names, [frame.iloc[:, place] for place in range(len(names))], size)


def of_series(names: tuple[str, ...], series: list[Any], size: int) -> Columns:
    """Columns of pandas, all of one length."""
    for start in range(0, len(series[0]), size * _PARTS):
        some = [column.iloc[start : start + size * _PARTS] for column in series]
        yield Part(names, len(some[0]), partial(_arrays_of_pandas, some), partial(_pandas_parts, some, size))


def _pandas_parts(series: list[Any], size: int, kinds: Kinds) -> Iterator[list[list[Any]]]:
    for start in range(0, len(series[0]), size):
        yield [pandas_values(column.iloc[start : start + size]) for column in series]


def _arrays_of_pandas(series: list[Any]) -> list[Any] | None:
    """Arrow arrays of columns with a dtype that says all; an object may be anything."""
    pa = _pyarrow()
    dtypes = [column.dtype for column in series]
    if pa is None or any(dtype.kind not in "biufM" and str(dtype) not in _TEXTS for dtype in dtypes):
        return None
    try:
        found = [pa.array(column, from_pandas=True) for column in series]
    except pa.ArrowException:
        return None
    return [column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column for column in found]


def pandas_values(series: Any) -> list[Any]:
    """A column's values as Python's own, with ``None`` for whatever pandas says is missing.

    Values that Python cannot hold, such as nanoseconds, stay what they are, and the table refuses them.
    """
    values = _python_values(series)
    missing = series.isna().to_numpy()
    if not missing.any():
        return values
    return [None if gone else value for value, gone in zip(values, missing.tolist(), strict=True)]


def _python_values(series: Any) -> list[Any]:
    import numpy as np

    dtype = series.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf" and dtype.itemsize <= 8:
        return series.to_numpy().tolist()  # type: ignore[no-any-return]
    zone = getattr(dtype, "tz", None)
    if dtype.kind == "M" and (isinstance(dtype, np.dtype) or zone is not None):
        naive = (series.dt.tz_convert("UTC").dt.tz_localize(None) if zone is not None else series).to_numpy()
        micro = naive.astype("datetime64[us]")
        if (micro == naive).sum() + np.isnat(naive).sum() < len(naive):
            return list(series)
        found = micro.tolist()
        return found if zone is None else [value and value.replace(tzinfo=UTC) for value in found]
    return series.to_numpy(dtype=object).tolist()  # type: ignore[no-any-return]


def _polars(frame: Any, size: int) -> Columns:
    names = _names(frame.columns)
    rows = _within(size, len(frame), frame.estimated_size())
    for part in frame.iter_slices(rows):
        yield Part(names, len(part), partial(_arrays_of_polars, part), partial(_polars_parts, part, size))


def _polars_parts(frame: Any, size: int, kinds: Kinds) -> Iterator[list[list[Any]]]:
    readers = [READERS.get(kinds[name]) if name in kinds else None for name in frame.columns]
    for part in frame.iter_slices(size):
        yield from read_all(frame.columns, [_polars_values(column) for column in part.get_columns()], readers)


def _arrays_of_polars(frame: Any) -> list[Any] | None:
    pa = _pyarrow()
    if pa is None:
        return None
    try:
        return [column.combine_chunks() for column in frame.to_arrow().columns]
    except pa.ArrowException:
        # A type that only polars knows, such as Int128.
        return None


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError:
        return None
    return pyarrow


def _within(size: int, rows: int, held: int) -> int:
    """How many rows a part has, of ``rows`` that weigh ``held`` bytes."""
    return max(1, min(size * _PARTS, _BYTES * rows // max(1, held)))


def _polars_values(series: Any) -> list[Any]:
    import polars as pl

    # Python's values hold microseconds, and polars would cut the rest off without a word.
    if series.dtype == pl.Time or getattr(series.dtype, "time_unit", None) == "ns":
        fine = (
            series.dt.total_nanoseconds() if series.dtype == pl.Duration else series.dt.nanosecond()
        ) % 1000
        if (fine != 0).any():
            raise ValueRefused(
                f"column {series.name!r} holds times that are finer than a microsecond",
                hint="round them, e.g. pl.col(name).dt.round('1us')",
            )
    return series.to_list()  # type: ignore[no-any-return]


def _arrow(reader: Any, size: int) -> Columns:
    names = _names(reader.schema.names)
    for batch in reader:
        rows = _within(size, batch.num_rows, batch.nbytes)
        for start in range(0, batch.num_rows, rows):
            part = batch.slice(start, rows)
            yield Part(names, part.num_rows, partial(list, part.columns), partial(_arrow_parts, part, size))


def _arrow_parts(batch: Any, size: int, kinds: Kinds) -> Iterator[list[list[Any]]]:
    names = batch.schema.names
    readers = [READERS.get(kinds[name]) if name in kinds else None for name in names]
    for start in range(0, batch.num_rows, size):
        part = batch.slice(start, size)
        columns = [_arrow_values(name, part.column(place)) for place, name in enumerate(names)]
        yield from read_all(names, columns, readers)


def _arrow_values(name: str, column: Any) -> list[Any]:
    try:
        return column.to_pylist()  # type: ignore[no-any-return]
    except (ValueError, OverflowError) as exc:
        # The message of Arrow holds the value.
        raise ValueRefused(
            f"column {name!r} holds times that Python has not",
            hint="they go to microseconds and to the years 1 to 9999",
        ) from exc


# What has no type of its own in Arrow data: the kind of column it goes into says how it is read.


def read_all(
    names: Sequence[str], columns: Sequence[list[Any]], readers: Sequence[Read | None]
) -> Iterator[list[list[Any]]]:
    """The columns as the table has them; if a value is refused, the rows before it, and then the refusal."""
    found = [_read(name, values, read) for name, values, read in zip(names, columns, readers, strict=True)]
    count, fault = min(((len(values), fault) for values, fault in found), key=lambda pair: pair[0])
    if count:
        yield [values[:count] for values, _ in found]
    if fault is not None:
        raise fault


def _read(name: str, values: list[Any], read: Read | None) -> tuple[list[Any], ValueRefused | None]:
    if read is None:
        return values, None
    found: list[Any] = []
    try:
        for value in values:
            found.append(None if value is None else read(value))
    except ValueRefused as exc:
        return found, ValueRefused(f"column {name!r}: {exc.message}", hint=exc.hint)
    return found, None


def _bytes(value: Any) -> Any:
    if type(value) is not bytes or not has_mark(value):
        return value
    try:
        return unframe(value)
    except DatabaseError as exc:
        raise ValueRefused(exc.message) from exc


def _uuid(value: Any) -> Any:
    return UUID(bytes=value) if type(value) is bytes and len(value) == 16 else value


def _json(value: Any) -> Any:
    if type(value) is not str:
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueRefused("the text is no JSON", hint="a text in JSON stands in quotes") from None


READERS: dict[KindName, Read] = {"bytes": _bytes, "uuid": _uuid, "json": _json}
