"""Tables as pandas DataFrames: a column's declared type decides its dtype, not what it happens to hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from holdfast.core import bulk, query, rows, schema
from holdfast.core.executor import Executor
from holdfast.core.frames import of_series, pandas_values
from holdfast.core.progress import track
from holdfast.core.sources import Source, framed_chunks
from holdfast.core.transaction import Transaction
from holdfast.errors import ImportFailed, MissingDependency
from holdfast.io import arrow
from holdfast.io.arrowrows import from_arrow
from holdfast.io.guess import type_of_values
from holdfast.io.loading import IF_EXISTS, one_of, refuse_existing
from holdfast.types import KindName
from holdfast.types.column import types_read

if TYPE_CHECKING:
    import pandas as pd

# What is read at once: rows that are still in the processor's cache when their columns are packed.
_PORTION = 500


def _pandas() -> Any:
    try:
        import pandas as pd
    except ImportError as exc:
        raise MissingDependency("pandas", "frames") from exc
    return pd


# Reading


def to_dataframe(executor: Executor, table_or_sql: str, *args: Any, **kwargs: Any) -> pd.DataFrame:
    """A table or a query as a DataFrame.

    INTEGER is int64, or Int64 where there are NULLs; BOOLEAN is bool, or boolean; REAL is float64; TIMESTAMP
    and TIMESTAMPTZ are datetime64[us]; TEXT is pandas' string dtype; everything else is an object column of
    Python values. A column of which some values are no values of its type is an object column, too.
    """
    pandas = _pandas()
    asked = query.reading(executor, table_or_sql, *args, **kwargs)
    query.refuse_same_names(asked.names)
    known = [executor.engine.types.codec(text).kind if text else None for text in asked.types]
    kinds = [kind.name if kind else None for kind in known]
    arrays = _arrays(pandas, kinds)
    if arrays and arrow.reads_columns(executor, asked, known):
        return _of_arrays(pandas, asked.names, arrays, arrow.read_columns(executor, asked, known))
    columns = [_Column(pandas, kind) for kind in kinds]
    for batch in asked.raw(executor, _PORTION):
        for column, values in zip(columns, asked.shape.columns(batch), strict=True):
            column.add(values)
    return _frame(pandas, asked.names, columns)


def _of_arrays(
    pandas: Any, names: Sequence[str], forms: list[_Arrays], parts: Iterator[list[Any]]
) -> pd.DataFrame:
    """The same from whole columns, none of whose values becomes an object of Python's."""
    packed: list[list[Any]] = [[] for _ in forms]
    for part in parts:
        for form, found, array in zip(forms, packed, part, strict=True):
            found.append(form.of_array(array))
    series = [form.series(pandas, found) for form, found in zip(forms, packed, strict=True)]
    frame: pd.DataFrame = pandas.DataFrame(dict(zip(names, series, strict=True)), columns=list(names))
    return frame


def result_to_dataframe(result: query.Result) -> pd.DataFrame:
    """The rows of a result that is read already, typed as :func:`to_dataframe` has it."""
    pandas = _pandas()
    query.refuse_same_names(result.columns)
    columns = [_Column(pandas, kind) for kind in result.kinds]
    for column, values in zip(columns, zip(*result.tuples, strict=True), strict=False):
        column.add(values)
    return _frame(pandas, result.columns, columns)


def _frame(pandas: Any, names: Sequence[str], columns: list[_Column]) -> pd.DataFrame:
    series: dict[str, Any] = {}
    for name in names:
        series[name] = columns.pop(0).series()
    frame: pd.DataFrame = pandas.DataFrame(series, columns=list(names))
    return frame


class _Column:
    """The values of a column as they come: packed as long as each is of its kind, then as they are."""

    def __init__(self, pandas: Any, kind: Any) -> None:
        self._pandas = pandas
        self._kind = kind
        self._packing = _packing(pandas, kind)
        self._parts: list[Any] = []
        self._values: list[Any] = []

    def add(self, values: Sequence[Any]) -> None:
        if self._packing is not None:
            packed = self._packing.pack(values)
            if packed is not None:
                self._parts.append(packed)
                return
            self._values = [value for part in self._parts for value in self._packing.unpack(part)]
            self._packing, self._parts = None, []
        self._values += values

    def series(self) -> Any:
        if self._packing is None:
            return _series(self._pandas, self._kind, self._values)
        parts, self._parts = self._parts, []
        return self._packing.series(self._pandas, parts)


class _Arrays(Protocol):
    """A form that Arrow arrays of one kind are brought into."""

    def of_array(self, array: Any) -> Any: ...
    def series(self, pandas: Any, parts: list[Any]) -> Any: ...


class _Packing(_Arrays, Protocol):
    """A form for values of one kind: ``None`` for what does not fit it, and back without a difference."""

    def pack(self, values: Sequence[Any]) -> Any: ...
    def unpack(self, part: Any) -> list[Any]: ...


@dataclass(frozen=True, slots=True)
class _Numbers:
    """NumPy arrays, and masks of what is NULL where anything is."""

    type: type
    dtype: str
    null: Any
    masked: str | None

    def pack(self, values: Sequence[Any]) -> Any:
        import numpy as np

        types = types_read(values)
        if types == {self.type}:
            return np.array(values, self.dtype), None
        if not types <= {self.type, type(None)}:
            return None
        mask = np.array([value is None for value in values])
        return np.array([self.null if value is None else value for value in values], self.dtype), mask

    def unpack(self, part: Any) -> list[Any]:
        values, mask = part
        found: list[Any] = values.tolist()
        if mask is None:
            return found
        return [None if null else value for value, null in zip(found, mask.tolist(), strict=True)]

    def of_array(self, array: Any) -> Any:
        if not array.null_count:
            return array.to_numpy(zero_copy_only=False), None
        mask = array.is_null().to_numpy(zero_copy_only=False)
        return array.fill_null(self.null).to_numpy(zero_copy_only=False), mask

    def series(self, pandas: Any, parts: list[Any]) -> Any:
        import numpy as np

        values = np.concatenate([values for values, _ in parts]) if parts else np.array([], self.dtype)
        if self.masked is None or all(mask is None for _, mask in parts):
            return pandas.Series(values)
        masks = [np.zeros(len(values), bool) if mask is None else mask for values, mask in parts]
        return pandas.Series(getattr(pandas.arrays, self.masked)(values, np.concatenate(masks)))


@dataclass(frozen=True, slots=True)
class _Texts:
    """Arrow arrays, which are what pandas keeps texts in."""

    arrow: Any

    def pack(self, values: Sequence[Any]) -> Any:
        if not types_read(values) <= {str, type(None)}:
            return None
        return self.arrow.array(values, self.arrow.large_string())

    def unpack(self, part: Any) -> list[Any]:
        found: list[Any] = part.to_pylist()
        return found

    def of_array(self, array: Any) -> Any:
        return array.cast(self.arrow.large_string())

    def series(self, pandas: Any, parts: list[Any]) -> Any:
        texts = self.arrow.chunked_array(parts, self.arrow.large_string())
        return pandas.Series(pandas.array(texts.combine_chunks(), dtype="str"))


_NUMBERS: dict[KindName | None, _Packing] = {
    "integer": _Numbers(int, "int64", 0, "IntegerArray"),
    "boolean": _Numbers(bool, "bool", False, "BooleanArray"),
    "float": _Numbers(float, "float64", float("nan"), None),
}


@dataclass(frozen=True, slots=True)
class _Moments:
    """NumPy arrays with NaT for NULL; moments with a zone are in UTC."""

    zone: str | None

    def of_array(self, array: Any) -> Any:
        return array.to_numpy(zero_copy_only=False)

    def series(self, pandas: Any, parts: list[Any]) -> Any:
        import numpy as np

        values = np.concatenate(parts) if parts else np.array([], "datetime64[us]")
        found = pandas.Series(values)
        return found if self.zone is None else found.dt.tz_localize(self.zone)


_MOMENTS: dict[KindName | None, _Arrays] = {"timestamp": _Moments(None), "timestamptz": _Moments("UTC")}


def _arrays(pandas: Any, kinds: Sequence[KindName | None]) -> list[_Arrays] | None:
    """The forms of columns, if each has one."""
    if not _has_texts(pandas) or not _has_arrow():
        return None
    found = [_MOMENTS.get(kind) or _packing(pandas, kind) for kind in kinds]
    return [form for form in found if form is not None] if None not in found else None


def _has_arrow() -> bool:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        return False
    return True


def _packing(pandas: Any, kind: Any) -> _Packing | None:
    if kind != "text" or not _has_texts(pandas):
        return _NUMBERS.get(kind)
    try:
        import pyarrow as pa
    except ImportError:
        return None
    return _Texts(pa)


def _has_texts(pandas: Any) -> bool:
    # Before pandas 3 "str" made texts of everything, of None as well.
    return int(pandas.__version__.split(".")[0]) >= 3


def _series(pd: Any, kind: KindName | None, values: list[Any]) -> Any:
    types = types_read(values) - {type(None)}
    if kind is None or kind == "other":
        kind = next((name for name, (known, _) in _DTYPES.items() if types and types <= known), None)
        if kind == "timestamp" and any(value is not None and value.tzinfo is not None for value in values):
            kind = None
    known, build = _DTYPES.get(kind or "other", (frozenset(), None))
    if build is None or not types <= known:
        return pd.Series(values, dtype=object)
    try:
        return build(pd, values)
    except OverflowError:
        return pd.Series(values, dtype=object)


def _masked(values: list[Any], dtype: str, array: Callable[[Any, Any], Any]) -> Any:
    """A NumPy array, or where there are NULLs one of pandas' own with a mask for them."""
    import numpy as np

    if None not in values:
        return np.array(values, dtype=dtype)
    mask = np.array([value is None for value in values], dtype=bool)
    return array(np.array([value or 0 for value in values], dtype=dtype), mask)


def _integers(pd: Any, values: list[Any]) -> Any:
    return pd.Series(_masked(values, "int64", pd.arrays.IntegerArray))


def _booleans(pd: Any, values: list[Any]) -> Any:
    return pd.Series(_masked(values, "bool", pd.arrays.BooleanArray))


def _floats(pd: Any, values: list[Any]) -> Any:
    if any(type(value) is int and float(value) != value for value in values):
        raise OverflowError
    return pd.Series(values, dtype="float64")


def _texts(pd: Any, values: list[Any]) -> Any:
    return pd.Series(values, dtype="str" if _has_texts(pd) else object)


def _moments(pd: Any, values: list[Any]) -> Any:
    import numpy as np

    return pd.Series(np.array(values, dtype="datetime64[us]"))


def _aware_moments(pd: Any, values: list[Any]) -> Any:
    naive = [None if value is None else value.replace(tzinfo=None) for value in values]
    return _moments(pd, naive).dt.tz_localize("UTC")


_DTYPES: dict[KindName, tuple[frozenset[type], Callable[[Any, list[Any]], Any]]] = {
    "integer": (frozenset({int}), _integers),
    "boolean": (frozenset({bool}), _booleans),
    "float": (frozenset({float, int}), _floats),
    "text": (frozenset({str}), _texts),
    "timestamp": (frozenset({datetime}), _moments),
    "timestamptz": (frozenset({datetime}), _aware_moments),
}


# Writing


def from_dataframe(
    executor: Executor,
    df: pd.DataFrame,
    table: str,
    if_exists: str = "fail",
    *,
    progress: bool | None = None,
) -> int:
    """Write a DataFrame's rows, all or none, and return how many there were; NaN, NaT and NA are NULL.

    An index with a name becomes a column, and so does one of labels without a name, as ``index``; row
    numbers without a name do not. ``"replace"`` deletes the rows that are there and keeps the table.

    Raises:
        ImportFailed: if a column has no name, a name twice, or no type that a table could have.
        ColumnNotFound: if the table lacks a column of the frame.
        ValueRefused: if a value would not come back as it went in; ``row_number`` says where.
    """
    one_of("if_exists", if_exists, IF_EXISTS)
    if type(df).__module__.partition(".")[0] in ("polars", "pyarrow"):
        return from_arrow(executor, df, table, if_exists, progress=progress)
    pandas = _pandas()
    if not isinstance(df, pandas.DataFrame):
        raise ImportFailed(
            f"a DataFrame is needed, not {type(df).__module__.partition('.')[0]}'s {type(df).__name__}",
            hint="of pandas or polars; insert_many takes rows of other kinds",
        )
    schema.check_width(executor, df.shape[1], place="the DataFrame")
    columns = _columns(pandas, df)
    with track(f"insert {table}", total=len(df), show=progress) as advance, Transaction(executor):
        if not schema.table_exists(executor, table):
            schema.create_table(
                executor, table, {name: _type(pandas, name, series) for name, series in columns}
            )
        else:
            refuse_existing(table, if_exists)
            if if_exists == "replace":
                rows.delete(executor, table, all_rows=True)
        series = [column for _, column in columns]
        parts = of_series(tuple(name for name, _ in columns), series, bulk.CHUNK)
        return bulk.insert_many(executor, table, Source(framed_chunks(parts), lambda: True), advance=advance)


def _columns(pd: Any, df: pd.DataFrame) -> list[tuple[str, Any]]:
    """The frame's columns with their names as text, those of its index first."""
    if df.columns.nlevels > 1:
        raise ImportFailed(
            "the DataFrame's columns have several levels", hint="join them: df.columns.map('_'.join)"
        )
    found = [*_index(pd, df.index), *((name, df.iloc[:, i]) for i, name in enumerate(df.columns))]
    if not found:
        raise ImportFailed("the DataFrame has no columns", hint="a table needs one at least")
    named: dict[str, Any] = {}
    for name, series in found:
        text = str(name)
        if name is None or name != name or not text:
            raise ImportFailed("a column of the DataFrame has no name", hint="name it with df.rename()")
        if text in named:
            raise ImportFailed(
                f"two columns of the DataFrame are named {text!r}",
                hint="rename one, or leave the index out with df.reset_index(drop=True)",
            )
        named[text] = series
    return list(named.items())


def _index(pd: Any, index: Any) -> Iterator[tuple[Any, Any]]:
    if index.nlevels == 1:
        if index.name is not None or not pd.api.types.is_integer_dtype(index.dtype):
            yield ("index" if index.name is None else index.name), index.to_series()
        return
    for level, name in enumerate(index.names):
        values = index.get_level_values(level)
        yield (f"level_{level}" if name is None else name), values.to_series()


def _type(pd: Any, name: str, series: Any) -> str:
    """The type of a column in a table that is made for it."""
    dtype = getattr(series.dtype, "categories", series).dtype
    known = _TYPES.get(dtype.kind) or ("TEXT" if isinstance(dtype, pd.StringDtype) else None)
    if dtype.kind == "M" and not isinstance(dtype, pd.ArrowDtype):
        known = "TIMESTAMP" if getattr(dtype, "tz", None) is None else "TIMESTAMPTZ"
    if known is not None:
        return known
    try:
        return type_of_values(pandas_values(series)) or "TEXT"
    except TypeError as exc:
        raise ImportFailed(
            f"column {name!r} of the DataFrame holds {exc}, for which there is no column type",
            hint=f"convert it, e.g. df[{name!r}].astype(str), or make the table first",
        ) from None


# By numpy's letters for kinds of dtypes.
_TYPES = {"b": "BOOLEAN", "i": "INTEGER", "u": "INTEGER", "f": "REAL"}
