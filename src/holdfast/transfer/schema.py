"""What a database holds besides its rows, read once; as JSON it is told where the database is not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core.executor import Executor
from holdfast.engines.base import Column, TableInfo
from holdfast.engines.dialects import BY_NAME, Dialect
from holdfast.errors import TableNotFound

_PLAIN = ("name", "type", "nullable", "default", "primary_key", "generated", "identity", "collation")
Search = tuple[tuple[str, ...], str, str]


@dataclass(frozen=True)
class TableSchema:
    """A table: its columns, its text, and what the catalogue says of its keys and indexes.

    ``search`` are the columns that are searched, their language, and the name that the engine has for it.
    """

    info: TableInfo
    create: str
    indexes: Sequence[Mapping[str, Any]]
    foreign_keys: Sequence[Mapping[str, Any]]
    unique_keys: Sequence[frozenset[str]]
    search: Search | None


@dataclass(frozen=True)
class Schema:
    """The tables of a database of the engine named, its views, and whatever else it holds.

    ``others`` are kind, name, and the table that it is part of.
    """

    engine: str
    tables: Mapping[str, TableSchema]
    views: Sequence[str]
    others: Sequence[tuple[str, str, str | None]]

    @property
    def dialect(self) -> Dialect:
        return BY_NAME[self.engine]


def read_schema(executor: Executor, tables: Iterable[str] | None, exclude: Iterable[str] = ()) -> Schema:
    """Read the catalogue in this thread's transaction.

    Raises:
        TableNotFound: if there is none of a name, or it is a view.
    """
    catalog, run = executor.engine.catalog, executor.run
    names = catalog.tables(run) if tables is None else list(dict.fromkeys(tables))
    # A name that is mistyped would have its table copied.
    left_out = {executor.describe(name).name for name in exclude}
    names = [name for name in names if name not in left_out]
    found = {name: _table(executor, name) for name in names}
    others = [
        (kind, name, table)
        for kind, name, table in catalog.others(run)
        if table in found or (tables is None and table is None)
    ]
    return Schema(executor.engine.name, found, catalog.views(run) if tables is None else [], others)


def _table(executor: Executor, name: str) -> TableSchema:
    catalog, run, info = executor.engine.catalog, executor.run, executor.describe(name)
    if info.is_view:
        raise TableNotFound(f"{name!r} is a view, not a table")
    search = executor.engine.fulltext.find(run, name)
    return TableSchema(
        info,
        catalog.create_sql(run, name),
        catalog.indexes(run, name),
        catalog.foreign_keys(run, name),
        catalog.unique_keys(run, name),
        None if search is None else (search.columns, search.language, search.name),
    )


def as_json(schema: Schema) -> dict[str, Any]:
    """The schema as :func:`of_json` reads it."""
    return {
        "engine": schema.engine,
        "tables": {name: _table_json(table) for name, table in schema.tables.items()},
        "views": list(schema.views),
        "others": [list(other) for other in schema.others],
    }


def _table_json(table: TableSchema) -> dict[str, Any]:
    info = table.info
    return {
        "columns": [{name: getattr(column, name) for name in _PLAIN} for column in info.columns],
        "primary_key": list(info.primary_key),
        "create": table.create,
        "indexes": [dict(index) for index in table.indexes],
        "foreign_keys": [dict(key) for key in table.foreign_keys],
        "unique_keys": [sorted(names) for names in table.unique_keys],
        "search": table.search and [list(table.search[0]), *table.search[1:]],
    }


def of_json(given: Mapping[str, Any]) -> Schema:
    """The schema that :func:`as_json` told.

    Raises:
        KeyError, TypeError, ValueError: if it is none.
    """
    types = BY_NAME[given["engine"]].types
    tables = {}
    for name, table in given["tables"].items():
        columns = tuple(
            Column(**{key: column[key] for key in _PLAIN}, codec=types.codec(column["type"]))
            for column in table["columns"]
        )
        search = table["search"]
        tables[str(name)] = TableSchema(
            TableInfo(str(name), columns, tuple(table["primary_key"])),
            str(table["create"]),
            table["indexes"],
            table["foreign_keys"],
            [frozenset(names) for names in table["unique_keys"]],
            None if search is None else (tuple(search[0]), str(search[1]), str(search[2])),
        )
    others = [(str(kind), str(name), table) for kind, name, table in given["others"]]
    return Schema(given["engine"], tables, list(map(str, given["views"])), others)
