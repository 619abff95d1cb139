"""Indexes: create, drop, list."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from holdfast.core.executor import Executor
from holdfast.core.where import condition, orders
from holdfast.engines.base import TableInfo
from holdfast.engines.names import MAX_BYTES, check_identifier, quote_identifier
from holdfast.errors import IndexExists, IndexNotFound, InvalidQuery, NotSupported, did_you_mean


def create_index(
    executor: Executor,
    table: str,
    columns: str | Sequence[str],
    *,
    unique: bool = False,
    name: str | None = None,
    where: str | None = None,
    method: str | None = None,
) -> str:
    """Create an index and return its name; the same one twice is harmless."""
    info = executor.describe(table)
    names = [columns] if isinstance(columns, str) else list(columns)
    if not names:
        raise InvalidQuery("an index needs at least one column")
    items = orders(executor, info, names)
    name = (
        check_identifier(name, "index name")
        if name is not None
        else index_name(table, [i.column.name for i in items])
    )
    methods = executor.engine.features.index_methods
    if method is not None and method.lower() not in methods:
        raise NotSupported(
            f"no index method {method!r} here", hint=did_you_mean(method, sorted(methods), "methods")
        )
    keys = [quote_identifier(item.column.name) + (" DESC" if item.descending else "") for item in items]
    sql = f"CREATE {'UNIQUE ' if unique else ''}INDEX {quote_identifier(name)} ON {quote_identifier(table)} "
    sql += f"USING {method.lower()} " if method and len(methods) > 1 else ""
    sql += f"({', '.join(keys)})" + _partial(executor, info, where)
    existing = [index for index in list_indexes(executor) if index["name"] == name]
    if existing:
        _refuse_another(existing[0], table, [item.column.name for item in items], unique, where is not None)
        return name
    executor.run(sql)
    executor.forget()
    return name


def index_name(table: str, columns: Sequence[str]) -> str:
    """``idx_<table>_<columns>``, cut with a hash where that is longer than a name may be."""
    name = "_".join(["idx", table, *columns])
    if len(name.encode()) <= MAX_BYTES:
        return name
    mark = hashlib.sha256(name.encode()).hexdigest()[:8]
    return name.encode()[: MAX_BYTES - 9].decode(errors="ignore") + "_" + mark


def _partial(executor: Executor, info: TableInfo, where: str | None) -> str:
    if where is None:
        return ""
    if not isinstance(where, str):
        raise InvalidQuery("the condition of an index must be a text without parameters")
    text, _ = condition(executor, info, where, None)
    return f" WHERE {text}"


def _refuse_another(
    found: dict[str, Any], table: str, columns: list[str], unique: bool, partial: bool
) -> None:
    same = (found["table"], found["columns"], found["unique"], found["partial"])
    if same != (table, columns, unique, partial):
        raise IndexExists(
            f"there is another index named {found['name']!r} on {found['table']!r}", hint="give a name="
        )


def drop_index(executor: Executor, table_or_name: str, name: str | None = None) -> None:
    """Drop an index by its name, or by its table and its name."""
    table = table_or_name if name is not None else None
    wanted = name if name is not None else table_or_name
    if table is not None:
        executor.describe(table)
    known = list_indexes(executor, table)
    found = [index for index in known if index["name"] == wanted]
    if not found:
        place = f" on {table!r}" if table else ""
        raise IndexNotFound(
            f"there is no index {wanted!r}{place}",
            hint=did_you_mean(wanted, [index["name"] for index in known], "indexes"),
        )
    if found[0]["constraint"]:
        raise NotSupported(f"the index {wanted!r} belongs to a constraint of {found[0]['table']!r}")
    executor.run(f"DROP INDEX {quote_identifier(wanted)}")
    executor.forget()


def list_indexes(executor: Executor, table: str | None = None) -> list[dict[str, Any]]:
    """The indexes of a table, or of all: name, table, columns, unique, primary_key, constraint, partial."""
    if table is not None:
        executor.describe(table)
    return executor.engine.catalog.indexes(executor.run, table)
