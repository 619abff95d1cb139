"""DataFrames and Arrow data as columns of Python values. No library is loaded that its caller has not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC
from typing import Any

from holdfast.errors import InvalidQuery, ValueRefused

Columns = Iterator[tuple[tuple[str, ...], list[list[Any]]]]


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
        return _arrow(rows.to_reader(size), size)
    if isinstance(rows, arrow.RecordBatch):
        return _arrow(arrow.Table.from_batches([rows]).to_reader(size), size)
    if isinstance(rows, arrow.RecordBatchReader):
        return _arrow(rows, size)
    if hasattr(rows, "__arrow_c_stream__"):
        return _arrow(arrow.RecordBatchReader.from_stream(rows), size)
    return None


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
    series = [frame.iloc[:, place] for place in range(len(names))]
    for start in range(0, len(frame), size):
        yield names, [pandas_values(column.iloc[start : start + size]) for column in series]


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
    for part in frame.iter_slices(size):
        yield names, [_polars_values(column) for column in part.get_columns()]


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
        for start in range(0, batch.num_rows, size):
            part = batch.slice(start, size)
            yield names, [_arrow_values(name, part.column(place)) for place, name in enumerate(names)]


def _arrow_values(name: str, column: Any) -> list[Any]:
    try:
        return column.to_pylist()  # type: ignore[no-any-return]
    except ValueError as exc:
        # Without pandas, nanoseconds; the message of Arrow holds the value.
        raise ValueRefused(
            f"column {name!r} holds times that are finer than a microsecond", hint="cast it to 'us'"
        ) from exc
