"""NumPy arrays by key: saved with what they are, loaded whole or in part, and proved by their checksums."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, TypeVar

from holdfast.core import rows, schema
from holdfast.core.executor import Executor
from holdfast.core.query import Params
from holdfast.core.transaction import Transaction
from holdfast.core.where import Where, condition, encode
from holdfast.engines.base import Blob, Changed, TableInfo
from holdfast.errors import (
    ColumnNotFound,
    DatabaseError,
    InvalidQuery,
    NotFoundError,
    SerializationFailure,
    TableNotFound,
    ValueRefused,
    did_you_mean,
)
from holdfast.types.array import MOST_BYTES, Framed, Stored, framed, has_mark, is_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

T = TypeVar("T")
KEY = "id"
MOST_STORED = 1_000_000_000
"""SQLite's limit for a row; PostgreSQL's is a little higher."""
_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class ArrayInfo:
    """What a stored array is, after all of it was read against its checksums."""

    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    stored_bytes: int
    compressed: bool


# Saving


def save(
    executor: Executor,
    table: str,
    array: Any,
    key: Any = None,
    column: str = "data",
    metadata: Any = None,
    *,
    compress: bool | str = "auto",
) -> Any:
    """Write one array under ``key``, in the place of one that is there, and return the key."""
    stored = _framed(table, column, array, compress)
    try:
        info = executor.describe(table)
    except TableNotFound:
        _enlarge_pages(executor)
        with Transaction(executor):
            _create(executor, table, key, column)
            return _write(executor, executor.describe(table), stored, array, key, column, metadata)
    return _write(executor, info, stored, array, key, column, metadata)


def save_many(
    executor: Executor,
    table: str,
    arrays: Mapping[Any, Any] | Iterable[Any],
    column: str = "data",
    metadata: Mapping[Any, Any] | None = None,
    *,
    compress: bool | str = "auto",
) -> list[Any]:
    """Write arrays, all or none, and return their keys; no more than one is held in its stored form."""
    keys: list[Any] = []
    pairs = arrays.items() if isinstance(arrays, Mapping) else map(_pair, _iterable(arrays))
    _enlarge_pages(executor)
    with Transaction(executor):
        for key, array in pairs:
            own = (metadata or {}).get(key)
            keys.append(save(executor, table, array, key, column, own, compress=compress))
        unused = set(metadata or ()) - set(keys)
        if unused:
            raise InvalidQuery("metadata has keys that no array has")
    return keys


def _iterable(arrays: Any) -> Iterable[Any]:
    if is_array(arrays) or isinstance(arrays, (str, bytes)) or not isinstance(arrays, Iterable):
        raise InvalidQuery(
            "arrays must be a dict of arrays, or a list of arrays or of (key, array)",
            hint="save_array() takes a single one",
        )
    return arrays


def _pair(item: Any) -> tuple[Any, Any]:
    if is_array(item):
        return None, item
    if isinstance(item, tuple) and len(item) == 2:
        return item
    raise InvalidQuery(f"a {type(item).__name__} is neither an array nor (key, array)")


def _framed(table: str, column: str, array: Any, compress: bool | str) -> Framed:
    if not is_array(array):
        raise ValueRefused(
            f"{table}.{column}: a {type(array).__name__} is no NumPy array", hint="pass numpy.asarray(value)"
        )
    if array.nbytes > MOST_STORED and compress is False:
        raise _too_large(table, column)
    try:
        stored = framed(array, compress)
    except ValueRefused as exc:
        raise ValueRefused(f"{table}.{column}: {exc.message}", hint=exc.hint) from exc
    if stored.length > MOST_STORED:
        raise _too_large(table, column)
    return stored


def _too_large(table: str, column: str) -> ValueRefused:
    return ValueRefused(
        f"{table}.{column}: an array of more than {MOST_STORED:,} bytes does not fit into one row",
        hint="save it in parts under keys of their own, or with compress=True if that is enough",
    )


def _create(executor: Executor, table: str, key: Any, column: str) -> None:
    """Make a table for arrays, whose key is a number or a text as ``key`` is."""
    if isinstance(key, str):
        kind = "TEXT"
    elif key is None or (isinstance(key, Integral) and not isinstance(key, bool)):
        kind = "INTEGER"
    else:
        raise InvalidQuery(
            f"there is no table {table!r}, and its key cannot be a {type(key).__name__}",
            hint="give a text or a whole number as key, or make the table first",
        )
    columns: dict[str, str | type] = {KEY: f"{kind} PRIMARY KEY"}
    columns |= {"dtype": "TEXT", "shape": "JSON", "metadata": "JSON"}
    if column in columns:
        raise InvalidQuery(f"the column {column!r} of {table!r} is needed for something else")
    # The payload comes last: what stands before it is read without it.
    schema.create_table(executor, table, {**columns, column: "BLOB NOT NULL"})
    executor.engine.blobs.keep_as_it_is(executor.run, table, column)
    executor.forget()


def _enlarge_pages(executor: Executor) -> None:
    """Make a file that is used for arrays first a file for arrays, unless its pages were chosen."""
    if not executor.in_transaction and "page_size" not in executor.target.options:
        executor.drive(executor.engine.blobs.enlarge_pages)


def _binary(info: TableInfo, column: str) -> None:
    found = info.column(column)
    if found.codec.kind.name != "bytes":
        binary = [other.name for other in info.columns if other.codec.kind.name == "bytes"]
        raise InvalidQuery(
            f"{info.name}.{column} is a {found.type} column, and arrays need a binary one",
            hint=f"binary: {', '.join(binary) or 'none'}",
        )


def _write(
    executor: Executor, info: TableInfo, stored: Framed, array: Any, key: Any, column: str, metadata: Any
) -> Any:
    _binary(info, column)
    kinds = {one.name: one.codec.kind.name for one in info.columns}
    row: dict[str, Any] = {}
    if kinds.get("dtype") == "text" and column != "dtype":
        row["dtype"] = _dtype_text(array.dtype)
    if kinds.get("shape") == "json":
        row["shape"] = list(array.shape)
    if kinds.get("metadata") == "json":
        row["metadata"] = metadata
    elif metadata is not None:
        raise ColumnNotFound(
            f"table {info.name!r} has no JSON column 'metadata'",
            hint=did_you_mean("metadata", info.names, "columns"),
        )
    if key is None:
        return rows.insert(executor, info.name, {**row, column: stored})
    keys = _key(info, key)
    room = executor.drive(lambda raw: executor.engine.blobs.room(raw, info, stored.length))
    if room is None:
        return rows.upsert(executor, info.name, {**keys, **row, column: stored})
    return _fill(executor, info, keys, row, column, stored, room)


def _fill(
    executor: Executor,
    info: TableInfo,
    keys: Mapping[str, Any],
    row: Mapping[str, Any],
    column: str,
    stored: Framed,
    room: str,
) -> Any:
    """Upsert the row with empty bytes and write the array into them, without a copy of its payload."""
    quote = executor.engine.quote
    values = [encode(info.name, info.column(name), value) for name, value in {**keys, **row}.items()]
    names = [quote(name) for name in (*keys, *row, column)]
    sets = ", ".join(f"{name} = excluded.{name}" for name in names[len(keys) :])
    sql = (
        f"INSERT INTO {quote(info.name)} ({', '.join(names)}) VALUES ({'?, ' * len(values)}{room}) "
        f"ON CONFLICT ({', '.join(names[: len(keys)])}) DO UPDATE SET {sets}"
    )
    found = " AND ".join(f"{name} = ?" for name in names[: len(keys)])
    statement = executor.native(sql), [*values, stored.length]
    where = executor.native(found), values[: len(keys)]
    with Transaction(executor):
        executor.drive(
            lambda raw: executor.engine.blobs.fill(raw, statement, info, column, where, stored.parts)
        )
    decoders = [info.column(name).codec.decode for name in keys]
    plain = [decode(value) if decode else value for decode, value in zip(decoders, values, strict=False)]
    by_name = dict(zip(keys, plain, strict=False))
    answer = tuple(by_name[name] for name in info.primary_key)
    return answer[0] if len(answer) == 1 else answer


def _dtype_text(dtype: Any) -> str:
    return str(dtype.str if dtype.names is None and dtype.subdtype is None else dtype.descr)


def _key(info: TableInfo, key: Any) -> dict[str, Any]:
    """The primary key by name, each with one plain value."""
    names = info.primary_key
    if not names:
        raise InvalidQuery(f"table {info.name!r} has no primary key", hint="get_blob() finds rows by where=")
    if isinstance(key, Mapping):
        values = dict(key)
    elif len(names) == 1:
        values = {names[0]: key}
    elif isinstance(key, (tuple, list)) and len(key) == len(names):
        values = dict(zip(names, key, strict=True))
    else:
        values = {}
    if set(values) != set(names) or any(
        value is None or isinstance(value, (list, tuple, set, Mapping)) for value in values.values()
    ):
        raise InvalidQuery(
            f"the key of {info.name!r} is ({', '.join(names)}), one value for each",
            hint="load_arrays() takes several keys",
        )
    return values


# Loading


def load(
    executor: Executor,
    table: str,
    key: Any,
    column: str = "data",
    *,
    rows: slice | None = None,
    max_bytes: int | None = None,
) -> NDArray[Any]:
    """The array under ``key``, or a part of it along its first axis."""
    most = MOST_BYTES if max_bytes is None else max_bytes
    at_once = most if rows is None else 0

    def read(stored: Stored) -> NDArray[Any]:
        if rows is None:
            return stored.array(most)
        if not isinstance(rows, slice) or rows.step not in (None, 1):
            raise InvalidQuery("rows is no slice without a step", hint="rows=slice(start, stop)")
        if not stored.shape:
            raise InvalidQuery("the array has no axis to take rows of", hint="leave rows= out")
        start, stop, _ = rows.indices(stored.shape[0])
        return stored.part(start, max(start, stop), most)

    return _read(executor, table, key, column, read, at_once=at_once)


def load_many(
    executor: Executor,
    table: str,
    keys: Iterable[Any] | None = None,
    where: Where = None,
    params: Params = None,
    column: str = "data",
    *,
    max_bytes: int | None = None,
) -> dict[Any, NDArray[Any]]:
    """The arrays under ``keys``, or of the rows that satisfy ``where``, by their keys; all of one moment."""
    info = executor.describe(table)
    _binary(info, column)
    if keys is not None and where is not None:
        raise InvalidQuery("keys and where are given", hint="give one of them")
    if isinstance(keys, (str, bytes)):
        raise InvalidQuery("keys must be a list of keys", hint="load_array() takes a single one")
    left = MOST_BYTES if max_bytes is None else max_bytes
    found: dict[Any, NDArray[Any]] = {}
    with _one_moment(executor):
        for key in _keys(executor, info, where, params) if keys is None else list(keys):
            found[key] = load(executor, table, key, column, max_bytes=left)
            left -= found[key].nbytes
    return found


def verify(executor: Executor, table: str, key: Any, column: str = "data") -> ArrayInfo:
    """Read all of a stored array against its checksums, with flat memory, and say what it is."""

    def read(stored: Stored) -> ArrayInfo:
        stored.verify()
        text = _dtype_text(stored.dtype)
        return ArrayInfo(text, stored.shape, stored.size, stored.length, stored.is_compressed)

    return _read(executor, table, key, column, read, piece=1 << 22)


def _one_moment(executor: Executor) -> AbstractContextManager[Any]:
    if executor.in_transaction:
        return nullcontext()
    return Transaction(executor, isolation="REPEATABLE READ", read_only=True)


def _keys(executor: Executor, info: TableInfo, where: Where, params: Params) -> list[Any]:
    names: Sequence[str] = info.primary_key
    if not names:
        raise InvalidQuery(f"table {info.name!r} has no primary key", hint="select() reads any table")
    found = rows.select(executor, info.name, names, where, params, list(names))
    return [tuple(row.values()) if len(names) > 1 else row[names[0]] for row in found]


def _read(
    executor: Executor,
    table: str,
    key: Any,
    column: str,
    read: Callable[[Stored], T],
    *,
    piece: int | None = None,
    at_once: int = 0,
) -> T:
    info = executor.describe(table)
    _binary(info, column)
    text, values = condition(executor, info, _key(info, key), None)
    where = executor.native(text)

    def action(raw: Any) -> T:
        with executor.engine.blobs.opened(raw, info, column, where, values, at_once) as blob:
            return read(_stored(table, column, blob, piece))

    for _ in range(_ATTEMPTS):
        try:
            return _driven(executor, action)
        except Changed:
            continue
        except (DatabaseError, ValueRefused) as exc:
            raise type(exc)(f"{table}.{column}: {exc.message}", hint=exc.hint) from exc.__cause__
    raise SerializationFailure(
        f"the array was replaced {_ATTEMPTS} times while it was read", hint="read it in a transaction"
    )


def _stored(table: str, column: str, blob: Blob | None, piece: int | None) -> Stored:
    if blob is None:
        raise NotFoundError(f"table {table!r} has no row with that key")
    if blob.length is None:
        raise NotFoundError(f"{table}.{column} is NULL in that row")
    if not has_mark(bytes(blob.read(0, min(blob.length, 64)))):
        raise InvalidQuery(f"{table}.{column} holds bytes that are no array", hint="get_blob() reads them")
    return Stored(blob.read, blob.length, blob.piece or piece)


def _driven(executor: Executor, action: Callable[[Any], T]) -> T:
    """Use the driver's connection; what it says is said in Holdfast's words."""
    connect = executor.engine.connect
    for last in (False, True):
        try:
            return executor.drive(action)
        except connect.driver_error as exc:
            # The statement was prepared for the table as it was; the executor has renewed the connection.
            if last or not connect.is_stale(exc):
                raise executor.engine.translate(exc) from exc
    raise AssertionError
