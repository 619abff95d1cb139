"""Tables as Arrow data: a column's declared type decides its Arrow type, never what the first rows hold.

==================  ======================================================================================
INTEGER             int64
REAL                float64
TEXT, UUID, JSON    string
BOOLEAN             bool
NUMERIC(p,s)        decimal128(p,s), decimal256(p,s) beyond 38 digits
NUMERIC             decimal128(38,s), decimal256(76,s) beyond, with the most digits that a value has behind
                    the point
DATE, TIME          date32, time64[us]
TIMESTAMP           timestamp[us]
TIMESTAMPTZ         timestamp[us, UTC]
BLOB                binary; a NumPy array as the bytes that Holdfast stores it in
==================  ======================================================================================

Each field says its declared type in its metadata, so that a table made from it has the same columns.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID

from holdfast.core import query
from holdfast.core.executor import Executor
from holdfast.core.recording import kind_of, recorded
from holdfast.errors import MissingDependency, NotSupported
from holdfast.io.guess import type_of_values
from holdfast.types import Kind, KindName, classify
from holdfast.types.array import MARK, frame, has_mark, is_array, unframe
from holdfast.types.column import types_read

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

BATCH = 1_000
BATCH_BYTES = 1 << 20
TYPE_KEY = b"holdfast.type"
_MOST_DIGITS = 76
_dumps = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

Batches = Iterator[list[tuple[Any, ...]]]
Parts = Iterator[list[Sequence[Any]]]
"""Some rows at a time, by column."""


def pyarrow() -> Any:
    """The library, or the error that says how to get it."""
    try:
        import pyarrow as pa
    except ImportError as exc:
        raise MissingDependency("pyarrow", "frames") from exc
    return pa


def to_arrow(executor: Executor, table_or_sql: str, *args: Any, **kwargs: Any) -> pa.Table:  # type: ignore[name-defined]
    """A table or a query as an Arrow table.

    Raises:
        NotSupported: if a column holds what its Arrow type cannot.
    """
    schema, batches = record_batches(executor, table_or_sql, *args, **kwargs)
    return pyarrow().Table.from_batches(batches, schema)


def to_polars(executor: Executor, table_or_sql: str, *args: Any, **kwargs: Any) -> pl.DataFrame:
    """A table or a query as a polars DataFrame, its types those of :func:`to_arrow`."""
    try:
        import polars as pl
    except ImportError as exc:
        raise MissingDependency("polars", "frames") from exc
    table = to_arrow(executor, table_or_sql, *args, **kwargs)
    wide = [field.name for field in table.schema if pyarrow().types.is_decimal256(field.type)]
    if wide:
        raise NotSupported(
            f"column {wide[0]!r} has more digits than the 38 of a polars Decimal",
            hint="use to_arrow(), or cast the column to TEXT in a query",
        )
    found = pl.from_arrow(table)
    assert isinstance(found, pl.DataFrame)
    return found


def record_batches(
    executor: Executor, table_or_sql: str, *args: Any, **kwargs: Any
) -> tuple[Any, Iterator[Any]]:
    """The schema, which is known before the first row is taken, and the rows in batches."""
    pa = pyarrow()
    asked = query.reading(executor, table_or_sql, *args, **kwargs)
    query.refuse_same_names(asked.names)
    kinds = [executor.engine.types.codec(text).kind if text else None for text in asked.types]
    columns = [_Out(name, kind) for name, kind in zip(asked.names, kinds, strict=True)]
    open_ones = [place for place, column in enumerate(columns) if column.is_open]
    if not open_ones and reads_columns(executor, asked, kinds):
        return _by_columns(pa, executor, asked, columns)
    parts = _parts(executor, asked)
    if open_ones:
        held = _look(columns, open_ones, parts)
        # A second reading may see other rows than the first; what does not fit then is refused.
        parts = _parts(executor, asked) if held is None else iter(held)
    schema = pa.schema([column.field(pa) for column in columns])
    types = [field.type for field in schema]

    def built() -> Iterator[Any]:
        for part in parts:
            arrays = [
                column.array(pa, type_, values)
                for column, type_, values in zip(columns, types, part, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    return schema, built()


def _parts(executor: Executor, asked: query.Reading) -> Parts:
    return map(asked.shape.columns, asked.raw(executor, BATCH))


def reads_columns(executor: Executor, asked: query.Reading, kinds: Sequence[Kind | None]) -> bool:
    """Whether the engine can hand over whole columns."""
    columnar = executor.engine.columnar
    return columnar is not None and not asked.values and columnar.reads(executor.driver_connection(), kinds)


def read_columns(
    executor: Executor, asked: query.Reading, kinds: Sequence[Kind | None]
) -> Iterator[list[Any]]:
    """Whole columns as Arrow arrays, some megabytes at a time."""
    columnar, native = executor.engine.columnar, executor.native(asked.sql)
    assert columnar is not None
    read, known = columnar.read, [kind or Kind("text") for kind in kinds]
    found = executor.reading(lambda raw, shared, _: read(raw, native, known, shared=shared))
    if executor.recorder is None:
        return found
    return recorded(kind_of(executor.recorder, native), found, lambda columns: len(columns[0]))


def _by_columns(
    pa: Any, executor: Executor, asked: query.Reading, columns: Sequence[_Out]
) -> tuple[Any, Iterator[Any]]:
    schema = pa.schema([column.field(pa) for column in columns])

    def built() -> Iterator[Any]:
        for found in read_columns(executor, asked, [column.kind for column in columns]):
            arrays = [
                column.of_column(pa, field.type, array)
                for column, field, array in zip(columns, schema, found, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    return schema, built()


def stream_typed(
    executor: Executor, table_or_sql: str, *args: Any, **kwargs: Any
) -> tuple[list[str], Sequence[str], Batches]:
    """Names, types and rows in batches."""
    asked = query.reading(executor, table_or_sql, *args, **kwargs)
    return asked.names, asked.types, asked.batches(executor, BATCH)


def _look(columns: list[_Out], open_ones: list[int], parts: Parts) -> list[list[Sequence[Any]]] | None:
    """Find the types that no declaration tells, from all rows; return these if they are few."""
    looks = {place: _Look() for place in open_ones}
    first: list[Sequence[Any]] | None = None
    few = True
    for part in parts:
        few, first = first is None, first or part
        for place, look in looks.items():
            look.add(part[place])
    for place, look in looks.items():
        columns[place] = look.settle(columns[place])
    return ([first] if first else []) if few else None


@dataclass(frozen=True, slots=True)
class _Out:
    """A column on its way out. ``kind`` is ``None`` where a query does not say.

    ``digits`` are the precision and the scale of a NUMERIC that declares none.
    """

    name: str
    kind: Kind | None
    digits: tuple[int, int] | None = None

    @property
    def is_open(self) -> bool:
        """Whether only the values can tell the Arrow type."""
        if self.kind is None or self.kind.name == "other":
            return True
        return self.kind.name == "decimal" and not _is_sized(self.kind)

    def field(self, pa: Any) -> Any:
        kind = self.kind or Kind("text")
        if kind.name == "decimal":
            precision, scale = self.digits or (kind.precision or 38, kind.scale or 0)
            type_ = (pa.decimal128 if precision <= 38 else pa.decimal256)(precision, scale)
        else:
            type_ = _simple_types(pa).get(kind.name) or pa.string()
        return pa.field(self.name, type_, metadata={TYPE_KEY: type_text(kind).encode()})

    def array(self, pa: Any, type_: Any, values: Sequence[Any]) -> Any:
        kind = self.kind.name if self.kind else "text"
        known, convert = _BUILT[kind]
        for found in types_read(values) - known:
            if found is not type(None) and not (
                kind == "json" or (kind == "bytes" and _is_array_type(found))
            ):
                self.refuse(found.__name__)
        if kind.startswith("timestamp") and any(
            value is not None and (value.tzinfo is None) is not (kind == "timestamp") for value in values
        ):
            self.refuse("datetime with a zone" if kind == "timestamp" else "datetime without a zone")
        if kind == "time" and any(value is not None and value.tzinfo is not None for value in values):
            self.refuse("time with a zone")
        try:
            if convert is not None:
                values = [None if value is None else convert(value) for value in values]
            found = pa.array(values, type_)
        except (ValueError, TypeError, OverflowError, pa.ArrowException) as exc:
            self.refuse("value", exc)
        if isinstance(found, pa.ChunkedArray):
            self.refuse("value that is too long for a batch")
        return found

    def of_column(self, pa: Any, type_: Any, found: Any) -> Any:
        """The same from an array as an engine hands it over."""
        kind = self.kind.name if self.kind else "text"
        if kind == "decimal":
            try:
                return found.cast(type_)
            except pa.ArrowException as exc:
                self.refuse("value", exc)
        if kind == "json":
            return pa.array(
                [None if text is None else _dumps(json.loads(text)) for text in found.to_pylist()]
            )
        if kind == "bytes" and _may_be_arrays(pa, found):
            return self.array(
                pa,
                type_,
                [
                    unframe(value) if value is not None and has_mark(value) else value
                    for value in found.to_pylist()
                ],
            )
        return found

    def refuse(self, what: str, cause: Exception | None = None) -> NoReturn:
        article = "an" if what[:1] in "aeiou" else "a"
        declared = type_text(self.kind) if self.kind else "TEXT"
        raise NotSupported(
            f"column {self.name!r} holds {article} {what} that Arrow cannot hold exactly as {declared}",
            hint=f'give a query that says how, such as SELECT CAST("{self.name}" AS TEXT) AS "{self.name}"',
        ) from cause


class _Look:
    """What the values of a column are, over all rows."""

    def __init__(self) -> None:
        self._samples: dict[Any, Any] = {}
        self._before = self._after = 0

    def add(self, values: Sequence[Any]) -> None:
        for found in types_read(values):
            if issubclass(found, (datetime, Decimal)):
                for value in values:
                    if type(value) is found:
                        self._add_one(value)
            elif found is not type(None) and found not in self._samples:
                self._samples[found] = next(value for value in values if type(value) is found)

    def _add_one(self, value: Any) -> None:
        if isinstance(value, datetime):
            self._samples[datetime, value.tzinfo is None] = value
            return
        self._samples[Decimal] = value
        if value.is_finite():
            _, digits, exponent = value.as_tuple()
            self._before = max(self._before, len(digits) + exponent)
            self._after = max(self._after, -exponent)

    def settle(self, column: _Out) -> _Out:
        """The column with the kind that holds all of them."""
        if column.kind is not None and column.kind.name == "decimal":
            return replace(column, digits=self._digits(column))
        try:
            text = type_of_values(self._samples.values())
        except TypeError as exc:
            column.refuse(f"mixture of {exc}")
        if text is None:
            return replace(column, kind=Kind("text"))
        kind = classify(text)
        if kind.name not in _BUILT or (column.kind is not None and kind.name == "json"):
            column.refuse(" and ".join(sorted(type(value).__name__ for value in self._samples.values())))
        return replace(column, kind=kind, digits=self._digits(column) if kind.name == "decimal" else None)

    def _digits(self, column: _Out) -> tuple[int, int]:
        if any(isinstance(value, int) for value in self._samples.values()):
            self._before = max(self._before, 19)
        digits = 38 if self._before + self._after <= 38 else _MOST_DIGITS
        if self._before + self._after > digits:
            column.refuse(f"number of more than {_MOST_DIGITS} digits")
        return digits, self._after


def _is_sized(kind: Kind) -> bool:
    precision, scale = kind.precision, kind.scale
    return precision is not None and scale is not None and 0 <= scale <= precision <= _MOST_DIGITS


def type_text(kind: Kind) -> str:
    """The type text that gives a column of this kind on either engine."""
    name = _NEUTRAL.get(kind.name, "TEXT")
    if kind.name == "integer" and kind.bits == 16:
        return "SMALLINT"
    if kind.name == "text" and kind.length is not None:
        return f"{'CHAR' if kind.fixed else 'VARCHAR'}({kind.length})"
    if kind.precision is None:
        return name
    if kind.name == "decimal":
        return f"{name}({kind.precision},{kind.scale})"
    return f"{name}({kind.precision})"


_NEUTRAL: dict[KindName, str] = {
    "integer": "INTEGER",
    "float": "REAL",
    "boolean": "BOOLEAN",
    "decimal": "NUMERIC",
    "date": "DATE",
    "time": "TIME",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMPTZ",
    "json": "JSON",
    "bytes": "BLOB",
    "uuid": "UUID",
}


@cache
def _simple_types(pa: Any) -> dict[str, Any]:
    return {
        "integer": pa.int64(),
        "float": pa.float64(),
        "boolean": pa.bool_(),
        "date": pa.date32(),
        "time": pa.time64("us"),
        "timestamp": pa.timestamp("us"),
        "timestamptz": pa.timestamp("us", "UTC"),
        "bytes": pa.binary(),
    }


def _may_be_arrays(pa: Any, found: Any) -> bool:
    """Whether a value carries the mark of a stored array, in one of its two places."""
    import pyarrow.compute

    pc: Any = pyarrow.compute
    starts = (pc.binary_slice(found, start, start + len(MARK)) for start in (0, 56))
    return any(pc.any(pc.equal(start, pa.scalar(MARK, pa.binary()))).as_py() for start in starts)


def _is_array_type(found: type) -> bool:
    return found.__module__.partition(".")[0] == "numpy"


def _bytes(value: Any) -> bytes:
    return frame(value) if is_array(value) else value


_BUILT: dict[str, tuple[frozenset[type], Callable[[Any], Any] | None]] = {
    "integer": (frozenset({int}), None),
    "float": (frozenset({float, int}), None),
    "text": (frozenset({str}), None),
    "boolean": (frozenset({bool}), None),
    "decimal": (frozenset({Decimal, int}), Decimal),
    "date": (frozenset({date}), None),
    "time": (frozenset({time}), None),
    "timestamp": (frozenset({datetime}), None),
    "timestamptz": (frozenset({datetime}), None),
    "json": (frozenset(), _dumps),
    "bytes": (frozenset({bytes}), _bytes),
    "uuid": (frozenset({UUID}), str),
}
