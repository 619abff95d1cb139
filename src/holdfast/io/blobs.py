"""Rows that hold bytes or arrays, in a table that is made when it is first needed."""

from __future__ import annotations

from typing import Any

from holdfast.core import rows, schema
from holdfast.core.executor import Executor
from holdfast.core.query import Params
from holdfast.core.rows import Row
from holdfast.core.transaction import Transaction
from holdfast.core.where import Where
from holdfast.errors import InvalidQuery, NotFoundError
from holdfast.io.guess import type_of_values
from holdfast.types.array import is_array


def store(executor: Executor, table: str, row: Row) -> Any:
    """Write one row and return its key; a missing table gets ``id`` as its key, and columns as in ``row``."""
    rows.check_row(row)
    with Transaction(executor):
        if not schema.table_exists(executor, table):
            schema.create_table(executor, table, _columns(table, row))
        return rows.insert(executor, table, row)


def _columns(table: str, row: Row) -> dict[str, str | type]:
    if not row:
        raise InvalidQuery("the row is empty", hint="give {'name': ..., 'data': b'...'}")
    columns: dict[str, str | type] = {} if "id" in row else {"id": "INTEGER PRIMARY KEY"}
    for name, value in row.items():
        try:
            found = type_of_values([value])
        except TypeError:
            found = None
        if found is None:
            raise InvalidQuery(
                f"there is no table {table!r}, and a {type(value).__name__} does not say which type its "
                f"column {name!r} has",
                hint=f"make the table first: db.create_table({table!r}, {{...}})",
            )
        columns[name] = f"{found} PRIMARY KEY" if name == "id" else found
    return columns


def get(executor: Executor, table: str, column: str, where: Where = None, params: Params = None) -> Any:
    """The bytes, or the array, in ``column`` of the first row by primary key that satisfies ``where``.

    Raises:
        NotFoundError: if there is no such row, or its value is NULL.
        InvalidQuery: if the value is neither bytes nor an array.
    """
    key = list(executor.describe(table).primary_key) or None
    found = rows.select(executor, table, [column], where, params, key, 1)
    if not found:
        raise NotFoundError(f"no row of {table!r} satisfies the condition")
    value = found[0][column]
    if value is None:
        raise NotFoundError(f"{table}.{column} is NULL in that row")
    if not isinstance(value, bytes) and not is_array(value):
        raise InvalidQuery(
            f"{table}.{column} holds a {type(value).__name__}, not bytes", hint="select() reads any value"
        )
    return value
