"""One row or a few: insert, select, get, update, upsert, delete, count."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core.executor import Executor, each
from holdfast.core.reread import reread_once
from holdfast.core.shapes import Shape, Tuples, shape
from holdfast.core.where import (
    OrderBy,
    Params,
    Where,
    condition,
    encode,
    located,
    order_sql,
    orders,
    qualified,
)
from holdfast.engines.base import Column, TableInfo
from holdfast.engines.names import quote_identifier
from holdfast.errors import InvalidQuery, KeyNotUnique, NotFoundError, ValueRefused, WhereRequired

Row = Mapping[str, Any]

CONFLICTS = ("error", "ignore", "update", "replace")


@dataclass(frozen=True, slots=True)
class Writing:
    """How rows with certain columns are written: the driver's text, their values in its order, the key."""

    native: str
    columns: tuple[Column, ...]
    encode: Callable[[Row], list[Any]]
    key: Callable[[Sequence[Any], Any], Any]
    returns_key: bool


@dataclass(frozen=True, slots=True)
class Setting:
    """How certain columns are changed: neutral SQL up to its WHERE, and the row's values in its order."""

    sql: str
    columns: tuple[Column, ...]
    encode: Callable[[Row], list[Any]]


def row_encoder(table: str, columns: Sequence[Column]) -> Callable[[Row], list[Any]]:
    """A function that gives the values of rows with these columns, in their order, to the driver."""
    codecs = [(column.codec.passes | {type(None)}, column.codec.encode) for column in columns]

    def encode_row(row: Row) -> list[Any]:
        try:
            return [
                value if type(value) in passes else convert(value)
                for value, (passes, convert) in zip(row.values(), codecs, strict=True)
            ]
        except ValueRefused:
            return [encode(table, column, row[column.name]) for column in columns]

    return encode_row


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read of a table and how it comes back: the columns, as SQL, as rows, in binary or not."""

    columns: tuple[Column, ...]
    listing: str
    shape: Shape
    binary: bool

    @property
    def names(self) -> tuple[str, ...]:
        return self.shape.names

    def rows(self, tuples: Tuples) -> list[dict[str, Any]]:
        return self.shape.rows(tuples)

    def fetch(self, executor: Executor, sql: str, values: Sequence[Any]) -> list[dict[str, Any]]:
        """The rows of a SELECT of these columns in neutral text."""
        rows: list[dict[str, Any]] = executor.fetch(
            executor.native(sql), values, lambda cursor: self.shape.rows(each(cursor)), binary=self.binary
        )
        return rows


# Writing


@reread_once
def insert(executor: Executor, table: str, row: Row) -> Any:
    """Write one row and return its primary key: one value, a tuple, or ``None`` without a key."""
    plan: Writing | None = executor.plans.get((table, tuple(row))) if type(row) is dict else None
    if plan is None:
        plan = writing(executor, table, row)
    return _write(executor, table, plan, plan.encode(row))


@reread_once
def upsert(executor: Executor, table: str, row: Row, key: str | Sequence[str] | None = None) -> Any:
    """Insert the row, or update the one that has the same key; return the primary key."""
    plan = writing(executor, table, row, on_conflict="update", key=key)
    return _write(executor, table, plan, plan.encode(row))


def _write(executor: Executor, table: str, plan: Writing, values: list[Any]) -> Any:
    try:
        if plan.returns_key:
            returned: list[Any] = executor.fetch(plan.native, values)
            return plan.key(values, returned[0] if returned else None)
        return plan.key(values, executor.send(plan.native, values))
    except ValueRefused as exc:
        raise named_refusal(exc, table, plan.columns, values) from exc


def named_refusal(
    error: ValueRefused, table: str, columns: Sequence[Column], values: Sequence[Any]
) -> ValueRefused:
    """The driver's refusal of a value that went by its codec, as the codec says it with the column's name."""
    for column, value in zip(columns, values, strict=False):
        if type(value) in column.codec.passes:
            try:
                column.codec.encode(value)
            except ValueRefused as exc:
                return located(exc, table, column)
    return error


def writing(
    executor: Executor,
    table: str,
    row: Row,
    *,
    on_conflict: str = "error",
    key: str | Sequence[str] | None = None,
    many: bool = False,
) -> Writing:
    """The plan for rows with the columns of ``row``, made once for each table and set of columns."""
    check_row(row)
    names = tuple(row)
    plain = on_conflict == "error" and not many
    kept_as: Any = (table, names) if plain else (table, names, on_conflict, _hashable(key), many)
    plan: Writing | None = executor.plans.get(kept_as)
    return plan or executor.keep(kept_as, _plan_writing(executor, table, names, on_conflict, key, many))


def check_row(row: Any) -> None:
    if not isinstance(row, Mapping):
        raise InvalidQuery(f"a row must be a dict, not {type(row).__name__}", hint="{'column': value}")
    for name in row:
        if not isinstance(name, str):
            raise InvalidQuery(f"a row's keys must be column names, not {type(name).__name__}")


def _hashable(key: str | Sequence[str] | None) -> Any:
    return key if key is None or isinstance(key, str) else tuple(key)


def _plan_writing(
    executor: Executor,
    table: str,
    names: tuple[str, ...],
    on_conflict: str,
    key: str | Sequence[str] | None,
    many: bool,
) -> Writing:
    info = executor.describe(table)
    columns = tuple(writable(info, name) for name in names)
    # In the words of an upsert, excluded is the row that could not be inserted.
    alias = 'AS "written" ' if table.lower() == "excluded" else ""
    sql = f"INSERT INTO {quote_identifier(table)} {alias}" + (
        f"({', '.join(map(quote_identifier, names))}) VALUES ({', '.join('?' * len(names))})"
        if names
        else "DEFAULT VALUES"
    )
    sql += conflict_sql(executor, info, names, on_conflict, key)
    key_known = all(name in names for name in info.primary_key)
    by_rowid = info.rowid_key is not None and on_conflict == "error"
    returned = [] if many or key_known or by_rowid else [quote_identifier(name) for name in info.primary_key]
    returns_key = bool(returned)
    returned += executor.engine.insert_returning(info, names)
    if returned:
        sql += f" RETURNING {', '.join(returned)}"
    return Writing(
        native=executor.native(sql),
        columns=columns,
        encode=row_encoder(table, columns),
        key=_key_reader(info, names, key_known, by_rowid),
        returns_key=returns_key,
    )


def writable(info: TableInfo, name: str) -> Column:
    column = info.column(name)
    if column.generated:
        raise InvalidQuery(f"{info.name}.{name} is computed by the database and cannot be written")
    return column


def _key_reader(
    info: TableInfo, names: tuple[str, ...], key_known: bool, by_rowid: bool
) -> Callable[[Sequence[Any], Any], Any]:
    key = info.primary_key
    decode = [info.column(name).codec.decode or _same for name in key]
    if not key:
        return lambda values, answer: None
    if by_rowid and (not key_known or len(key) == 1):
        # A NULL given for the row number asks for a new one, so the cursor knows better than the row.
        return lambda values, answer: answer.lastrowid
    if key_known:
        places = [names.index(name) for name in key]
        if len(key) == 1:
            place, read = places[0], decode[0]
            return lambda values, answer: None if values[place] is None else read(values[place])
        return lambda values, answer: tuple(read(values[i]) for i, read in zip(places, decode, strict=True))
    if len(key) == 1:
        return lambda values, answer: decode[0](answer[0]) if answer else None
    return lambda values, answer: (
        tuple(read(value) for read, value in zip(decode, answer, strict=False)) if answer else None
    )


def _same(value: Any) -> Any:
    return value


def conflict_sql(
    executor: Executor,
    info: TableInfo,
    names: tuple[str, ...],
    on_conflict: str,
    key: str | Sequence[str] | None,
) -> str:
    if on_conflict not in CONFLICTS:
        raise InvalidQuery(f"unknown on_conflict {on_conflict!r}", hint=f"use one of {', '.join(CONFLICTS)}")
    if on_conflict == "error":
        return ""
    if on_conflict == "ignore" and key is None:
        return " ON CONFLICT DO NOTHING"
    keys = conflict_key(executor, info, names, key)
    target = f" ON CONFLICT ({', '.join(map(quote_identifier, keys))}) DO "
    if on_conflict == "ignore":
        return target + "NOTHING"
    # The row proposed for insertion holds the defaults of the columns that were not given.
    touched = names if on_conflict == "update" else [c.name for c in info.columns if not c.generated]
    changed = [name for name in touched if name not in keys] or list(keys[:1])
    if on_conflict == "replace":
        changed = [name for name in changed if name in names or not info.column(name).primary_key] or changed
    sets = ", ".join(f"{quote_identifier(name)} = excluded.{quote_identifier(name)}" for name in changed)
    return f"{target}UPDATE SET {sets}"


def conflict_key(
    executor: Executor, info: TableInfo, names: Sequence[str], key: str | Sequence[str] | None
) -> tuple[str, ...]:
    """The columns that tell whether a row is there already: ``key``, else the primary key.

    Raises:
        KeyNotUnique: if no unique index covers them.
    """
    keys = (key,) if isinstance(key, str) else tuple(key) if key else info.primary_key
    if not keys:
        raise KeyNotUnique(f"table {info.name!r} has no primary key", hint="name the columns with key=")
    for name in keys:
        info.column(name)
        if name not in names:
            raise InvalidQuery(f"the row has no value for the key column {name!r} of {info.name!r}")
    if frozenset(keys) not in executor.engine.catalog.unique_keys(executor.run, info.name):
        listing = ", ".join(map(repr, keys))
        raise KeyNotUnique(
            f"no unique index of {info.name!r} covers ({', '.join(keys)})",
            hint=f"db.create_index({info.name!r}, [{listing}], unique=True)",
        )
    return keys


@reread_once
def update(
    executor: Executor,
    table: str,
    data: Row,
    where: Where = None,
    params: Params = None,
    *,
    all_rows: bool = False,
) -> int:
    """Change the rows that satisfy ``where`` and return how many there were."""
    plan: Setting | None = executor.plans.get(("update", table, tuple(data))) if type(data) is dict else None
    if plan is None:
        plan = _plan_setting(executor, table, data)
    refuse_all_rows("update", table, where, all_rows)
    text, values = condition(executor, executor.describe(table), where, params)
    given = plan.encode(data) + values
    try:
        return executor.run(plan.sql + _where(text), given).rowcount
    except ValueRefused as exc:
        raise named_refusal(exc, table, plan.columns, given) from exc


def _plan_setting(executor: Executor, table: str, data: Row) -> Setting:
    check_row(data)
    info = executor.describe(table)
    if not data:
        raise InvalidQuery("there is nothing to update", hint="give {'column': value}")
    columns = tuple(writable(info, name) for name in data)
    sets = ", ".join(f"{quote_identifier(column.name)} = ?" for column in columns)
    plan = Setting(f"UPDATE {quote_identifier(table)} SET {sets}", columns, row_encoder(table, columns))
    return executor.keep(("update", table, tuple(data)), plan)


@reread_once
def delete(
    executor: Executor, table: str, where: Where = None, params: Params = None, *, all_rows: bool = False
) -> int:
    """Remove the rows that satisfy ``where`` and return how many there were."""
    info = executor.describe(table)
    refuse_all_rows("delete", table, where, all_rows)
    text, values = condition(executor, info, where, params)
    return executor.run(f"DELETE FROM {quote_identifier(table)}{_where(text)}", values).rowcount


def refuse_all_rows(verb: str, table: str, where: Where, all_rows: bool) -> None:
    if where is None and not all_rows:
        raise WhereRequired(
            f"{verb} without where would touch every row of {table!r}",
            hint="give where=, or all_rows=True if that is meant",
        )
    if where is not None and all_rows:
        raise InvalidQuery("where and all_rows=True contradict each other", hint="give one of them")


def _where(text: str) -> str:
    return f" WHERE {text}" if text else ""


# Reading


def selection(info: TableInfo, columns: Sequence[str] | str | None) -> tuple[Column, ...]:
    """The columns asked for, all of them by default."""
    if columns is None:
        return info.columns
    names = [columns] if isinstance(columns, str) else list(columns)
    if names == ["*"] and "*" not in info.names:
        return info.columns
    if not names:
        raise InvalidQuery("columns is empty", hint="leave it out to read all of them")
    if len(set(names)) < len(names):
        raise InvalidQuery("a column is asked for twice")
    return tuple(info.column(name) for name in names)


def reading_of(executor: Executor, info: TableInfo, columns: Sequence[str] | str | None = None) -> Reading:
    """How the columns asked for are read; for all of them it is worked out once."""
    if columns is not None:
        return _reading(executor, info.name, selection(info, columns))
    planned: Reading | None = executor.plans.get(("read", info.name))
    if planned is None:
        planned = executor.keep(("read", info.name), _reading(executor, info.name, info.columns))
    return planned


def _reading(executor: Executor, table: str, columns: tuple[Column, ...]) -> Reading:
    return Reading(
        columns,
        ", ".join(qualified(table, column.name) for column in columns),
        shape(
            tuple(column.name for column in columns),
            tuple(column.codec.decode for column in columns),
        ),
        executor.engine.catalog.has_binary([column.type for column in columns]),
    )


@reread_once
def reading(
    executor: Executor,
    table: str,
    columns: Sequence[str] | str | None = None,
    where: Where = None,
    params: Params = None,
    order_by: OrderBy = None,
    limit: int | None = None,
    offset: int | None = None,
    distinct: bool = False,
) -> tuple[str, list[Any], Reading]:
    """A SELECT in neutral text with its values, and how its rows come back."""
    info = executor.describe(table)
    plan = reading_of(executor, info, columns)
    text, values = condition(executor, info, where, params)
    order = orders(executor, info, order_by)
    if distinct and any(item.column not in plan.columns for item in order):
        raise InvalidQuery("distinct rows can only be ordered by columns that are selected")
    sql = f"SELECT {'DISTINCT ' if distinct else ''}{plan.listing} "
    sql += f"FROM {quote_identifier(table)}{_where(text)}"
    if order:
        sql += f" ORDER BY {order_sql(executor, info, order)}"
    if limit is not None:
        sql += " LIMIT ?"
        values.append(count_argument("limit", limit))
    if offset is not None:
        sql += " OFFSET ?" if limit is not None else f" LIMIT {executor.engine.features.no_limit} OFFSET ?"
        values.append(count_argument("offset", offset))
    return sql, values, plan


def count_argument(name: str, value: Any, *, least: int = 0) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__") or value.__index__() < least:
        raise InvalidQuery(f"{name} must be a whole number from {least} on")
    return int(value)


def select(executor: Executor, table: str, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
    """The rows of a table as dicts; arguments as :func:`reading`."""
    sql, values, plan = reading(executor, table, *args, **kwargs)
    return plan.fetch(executor, sql, values)


@reread_once
def get(executor: Executor, table: str, key: Any) -> dict[str, Any]:
    """The row with that primary key.

    Raises:
        NotFoundError: if there is none.
    """
    planned = executor.plans.get(("get", table))
    if planned is None:
        planned = executor.keep(("get", table), _plan_get(executor, table))
    native, plan, columns = planned
    found = executor.fetch(native, _key_values(table, columns, key), binary=plan.binary)
    if not found:
        raise NotFoundError(f"table {table!r} has no row with that key")
    return plan.shape.row(found[0])


def _plan_get(executor: Executor, table: str) -> tuple[str, Reading, tuple[Column, ...]]:
    info = executor.describe(table)
    if not info.primary_key:
        raise InvalidQuery(f"table {table!r} has no primary key", hint="use find_one(table, where=...)")
    key = " AND ".join(f"{qualified(table, name)} = ?" for name in info.primary_key)
    plan = reading_of(executor, info)
    native = executor.native(f"SELECT {plan.listing} FROM {quote_identifier(table)} WHERE {key}")
    return native, plan, tuple(info.column(name) for name in info.primary_key)


def _key_values(table: str, columns: tuple[Column, ...], key: Any) -> list[Any]:
    if len(columns) == 1 and type(key) in columns[0].codec.passes:
        return [key]
    if isinstance(key, Mapping):
        if set(key) != {column.name for column in columns}:
            raise InvalidQuery(f"the key of {table!r} is ({', '.join(c.name for c in columns)})")
        key = [key[column.name] for column in columns]
    elif len(columns) == 1:
        return [encode(table, columns[0], key)]
    if not isinstance(key, (tuple, list)) or len(key) != len(columns):
        raise InvalidQuery(
            f"the key of {table!r} has {len(columns)} columns", hint="give a tuple of as many values"
        )
    return [encode(table, column, value) for column, value in zip(columns, key, strict=True)]


def find_one(executor: Executor, table: str, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
    """The first row of :func:`select`, or ``None``."""
    found = select(executor, table, *args, **{**kwargs, "limit": 1})
    return found[0] if found else None


@reread_once
def count(executor: Executor, table: str, where: Where = None, params: Params = None) -> int:
    """How many rows satisfy ``where``."""
    info = executor.describe(table)
    text, values = condition(executor, info, where, params)
    return int(executor.scalar(f"SELECT count(*) FROM {quote_identifier(table)}{_where(text)}", values))


@reread_once
def exists(executor: Executor, table: str, where: Where = None, params: Params = None) -> bool:
    """Whether any row satisfies ``where``."""
    info = executor.describe(table)
    text, values = condition(executor, info, where, params)
    return bool(executor.rows(f"SELECT 1 FROM {quote_identifier(table)}{_where(text)} LIMIT 1", values))
