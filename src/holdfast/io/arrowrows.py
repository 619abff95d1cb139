"""Rows out of Arrow data, each value as its own Python value or refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from holdfast.core import frames
from holdfast.core.executor import Executor
from holdfast.core.sources import Arrow, Chunk, Names
from holdfast.engines.base import Column
from holdfast.errors import ImportFailed, InvalidQuery
from holdfast.io import entries
from holdfast.io.arrow import BATCH_BYTES, TYPE_KEY, pyarrow, type_text
from holdfast.types import Kind, KindName, classify


def from_arrow(
    executor: Executor, data: Any, table: str, if_exists: str = "fail", *, progress: bool | None = None
) -> int:
    """Write the rows of Arrow data, all or none, and return how many there were.

    ``data`` is a Table, a RecordBatch, a RecordBatchReader, or whatever offers an Arrow stream, such as a
    polars DataFrame.
    """
    reader = _reader(data)
    found = Batches("the Arrow data", reader.schema, lambda: reader, frames.is_inert(data))
    return entries.load(executor, table, found, if_exists, "error", progress)


def _reader(data: Any) -> Any:
    pa = pyarrow()
    if isinstance(data, pa.RecordBatchReader):
        return data
    if isinstance(data, pa.RecordBatch):
        data = pa.Table.from_batches([data])
    if isinstance(data, pa.Table):
        return data.to_reader()
    if hasattr(data, "__arrow_c_stream__"):
        return frames.stream_reader(pa, data)
    raise InvalidQuery(
        f"Arrow data is needed, not {type(data).__name__}",
        hint="pass a pyarrow Table or RecordBatchReader, or a polars DataFrame; collect() a LazyFrame",
    )


_ROWS = 2_000
_MOST_ROWS = 4_000


@dataclass(frozen=True, slots=True)
class Batches:
    """Record batches as :mod:`holdfast.io.entries` takes them; ``open`` is called once."""

    name: str
    schema: Any
    open: Callable[[], Any]
    is_inert: bool = True

    def names(self) -> list[str]:
        names: list[str] = list(self.schema.names)
        seen: set[str] = set()
        for place, name in enumerate(names, 1):
            if not name:
                raise ImportFailed(f"{self.name}: column {place} has no name", hint="name it first")
            if name in seen:
                raise ImportFailed(f"{self.name}: two columns are named {name!r}", hint="name them apart")
            seen.add(name)
        if not names:
            raise ImportFailed(f"{self.name} has no columns", hint="a table needs one at least")
        return names

    def place(self, number: int) -> str:
        return f"{self.name}, row {number}"

    def types(self, known: Sequence[str]) -> dict[str, str]:
        pa = pyarrow()
        fields = [self.schema.field(name) for name in self.names() if name not in known]
        return {field.name: self._type(pa, field) for field in fields}

    def given(self, columns: Sequence[Column]) -> list[str]:
        known = {column.name for column in columns}
        return [name for name in self.names() if name in known]

    def rows(self, columns: Sequence[Column], takes: Callable[[str], bool]) -> Iterator[Chunk]:
        pa = pyarrow()
        kinds = {column.name: column.codec.kind.name for column in columns}
        names = self.names()
        for name in names:
            if name not in kinds:
                takes(name)
        taken = self.given(columns)
        for name in taken:
            _kind_of(pa, self.name, self.schema.field(name))
        places = [names.index(name) for name in taken]
        if not taken:
            raise ImportFailed(f"{self.name} has no column that the table takes")
        readers = [_read_as(pa, kinds[name], self.schema.field(name).type) for name in taken]
        for batch in self.open():
            size = rows_within(BATCH_BYTES, batch.num_rows, batch.nbytes)
            for start in range(0, batch.num_rows, size):
                part = batch.slice(start, size)
                arrays = [part.column(place) for place in places]
                plain = partial(self._plain, tuple(taken), arrays, readers)
                yield Chunk(tuple(taken), (), part.num_rows, Arrow(partial(list, arrays), plain))

    def _plain(
        self, names: Names, arrays: Sequence[Any], readers: Sequence[Any], kinds: frames.Kinds
    ) -> Iterator[Chunk]:
        """The same as Python's values, up to one that is refused; ``readers`` know the ``kinds``."""
        pa = pyarrow()
        for start in range(0, len(arrays[0]), _ROWS):
            found = [
                self._values(pa, name, array.slice(start, _ROWS))
                for name, array in zip(names, arrays, strict=True)
            ]
            for columns in frames.read_all(names, found, readers):
                yield Chunk(names, columns, len(columns[0]))

    def _type(self, pa: Any, field: Any) -> str:
        """The declared type in the field's metadata if it goes with the field, otherwise the nearest."""
        kind = _kind_of(pa, self.name, field)
        said = (field.metadata or {}).get(TYPE_KEY, b"").decode("utf-8", "replace")
        declared = classify(said)
        if said and (declared.name == kind or (kind == "text" and declared.name in ("json", "uuid"))):
            # Written anew from what it means, because a file may say anything.
            return type_text(declared)
        type_ = _plain_type(pa, field.type)
        if kind == "decimal" and 0 <= type_.scale <= type_.precision:
            return f"NUMERIC({type_.precision},{type_.scale})"
        return type_text(Kind(kind))

    def _values(self, pa: Any, name: str, array: Any) -> list[Any]:
        import pyarrow.types as kinds

        try:
            if isinstance(array, pa.ExtensionArray):
                array = array.storage
            if kinds.is_dictionary(array.type):
                array = _of_dictionary(pa, array)
            if kinds.is_run_end_encoded(array.type):
                array = _without_runs(array)
            exact = _exact_type(pa, array.type)
            return (array if exact is None else array.cast(exact)).to_pylist()  # type: ignore[no-any-return]
        except (ValueError, OverflowError, pa.ArrowException) as exc:
            raise ImportFailed(
                f"{self.name}: column {name!r} holds a value of {array.type} that Python cannot hold exactly",
                hint="times go to microseconds and to the years 1 to 9999",
            ) from exc


def _of_dictionary(pa: Any, array: Any) -> Any:
    """The values that a dictionary stands for; Arrow cannot take them from its views of texts."""
    import pyarrow.types as kinds

    words = array.dictionary
    if kinds.is_string_view(words.type):
        words = words.cast(pa.large_string())
    elif kinds.is_binary_view(words.type):
        words = words.cast(pa.large_binary())
    return words.take(array.indices)


def _without_runs(array: Any) -> Any:
    import pyarrow.compute as compute

    return compute.run_end_decode(array)  # type: ignore[attr-defined]


def rows_within(size: int, rows: int, held: int) -> int:
    """How many of ``rows``, which weigh ``held`` bytes, are at most ``size`` bytes and a batch."""
    return max(1, min(_MOST_ROWS, size * rows // max(1, held)))


def _exact_type(pa: Any, type_: Any) -> Any:
    """What to cast to first, so that nothing is cut off without a word."""
    import pyarrow.types as kinds

    if kinds.is_timestamp(type_):
        return pa.timestamp("us", "UTC" if type_.tz else None)
    if kinds.is_time(type_):
        return pa.time64("us")
    if kinds.is_date64(type_):
        return pa.date32()
    return pa.float32() if kinds.is_float16(type_) else None


def _plain_type(pa: Any, type_: Any) -> Any:
    import pyarrow.types as kinds

    if isinstance(type_, pa.BaseExtensionType):
        type_ = type_.storage_type
    return type_.value_type if kinds.is_dictionary(type_) or kinds.is_run_end_encoded(type_) else type_


def _kind_of(pa: Any, source: str, field: Any) -> KindName:
    """The kind of column that goes with a field."""
    import pyarrow.types as kinds

    named = getattr(field.type, "extension_name", "")
    if named in ("arrow.uuid", "arrow.json"):
        return "uuid" if named == "arrow.uuid" else "json"
    type_ = _plain_type(pa, field.type)
    if kinds.is_timestamp(type_):
        return "timestamptz" if type_.tz else "timestamp"
    for is_one, kind in _kinds(kinds):
        if is_one(type_):
            return kind
    what = "is nested" if kinds.is_nested(type_) else "cannot go into a column"
    raise ImportFailed(
        f"{source}: column {field.name!r} {what} ({str(type_)[:60]})",
        hint="flatten it, or write it as JSON text, or leave it out"
        if kinds.is_nested(type_)
        else "cast it to an integer or a text, or leave it out",
    )


def _kinds(kinds: Any) -> tuple[tuple[Callable[[Any], bool], KindName], ...]:
    return (
        (kinds.is_integer, "integer"),
        (kinds.is_floating, "float"),
        (kinds.is_boolean, "boolean"),
        (kinds.is_decimal, "decimal"),
        (kinds.is_date, "date"),
        (kinds.is_time, "time"),
        (kinds.is_string, "text"),
        (kinds.is_large_string, "text"),
        (kinds.is_string_view, "text"),
        (kinds.is_null, "text"),
        (kinds.is_binary, "bytes"),
        (kinds.is_large_binary, "bytes"),
        (kinds.is_binary_view, "bytes"),
        (kinds.is_fixed_size_binary, "bytes"),
    )


def _read_as(pa: Any, kind: KindName, type_: Any) -> Callable[[Any], Any] | None:
    if kind == "integer" and _plain_type(pa, type_) == pa.uint64():
        return entries.within_64_bits
    return frames.READERS.get(kind)
