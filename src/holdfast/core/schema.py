"""Tables and columns: create, change, drop, list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from holdfast.core.executor import Executor
from holdfast.core.transaction import Transaction
from holdfast.engines.base import UNSET, Run
from holdfast.engines.ddl import create_table_sql, default_sql, parse_foreign_keys, render_column
from holdfast.engines.definition import ColumnSpec, parse_column
from holdfast.engines.names import check_identifier
from holdfast.errors import (
    ColumnExists,
    ImportFailed,
    InvalidQuery,
    KeyNotUnique,
    SchemaError,
    TableExists,
    TableNotFound,
)
from holdfast.types import python_type_text


def create_table(
    executor: Executor,
    name: str,
    columns: Mapping[str, str | type],
    *,
    primary_key: str | Sequence[str] | None = None,
    foreign_keys: Any = None,
    unique: str | Sequence[str | Sequence[str]] | None = None,
    checks: str | Sequence[str] | None = None,
    if_not_exists: bool = False,
) -> None:
    """Create a table from column names and definitions, each a SQL type text or a Python type."""
    check_identifier(name, "table name")
    if not isinstance(columns, Mapping) or not columns:
        raise InvalidQuery(f"the columns of {name!r} must be a dict", hint="{'id': 'INTEGER PRIMARY KEY'}")
    check_width(executor, len(columns))
    specs = [column_spec(executor, column, definition) for column, definition in columns.items()]
    sql = create_table_sql(
        name,
        specs,
        target=executor.engine.ddl,
        primary_key=primary_key,
        foreign_keys=foreign_keys,
        unique=unique,
        checks=checks,
    )
    if table_exists(executor, name):
        if if_not_exists:
            return
        raise TableExists(f"there is a table {name!r} already", hint="if_not_exists=True leaves it as it is")
    for key in (*(spec.references for spec in specs), *parse_foreign_keys(foreign_keys)):
        if key is not None and key.table != name:
            check_reference(executor, name, key.table, key.references)
    executor.run(sql)
    executor.forget()


def check_width(executor: Executor, columns: int, *, place: str = "") -> None:
    """Refuse more columns than a table can have, before anything is done for each of them."""
    most = executor.engine.features.max_columns
    if columns > most:
        raise (ImportFailed if place else InvalidQuery)(
            f"{place}{': ' if place else ''}{columns:,} columns are more than a table holds ({most:,})",
            hint="turn them into rows, or into one column of JSON",
        )


def check_reference(executor: Executor, table: str, other: str, columns: Sequence[str]) -> None:
    """Refuse a foreign key that no row could satisfy: SQLite would say so with the first row only.

    Raises:
        TableNotFound, ColumnNotFound: if it refers to what is not there.
        KeyNotUnique: if it refers to columns in which two rows may be alike.
    """
    info = executor.describe(other)
    names = tuple(info.column(name).name for name in columns) or info.primary_key
    if frozenset(names) not in executor.engine.catalog.unique_keys(executor.run, other):
        raise KeyNotUnique(
            f"the columns that {table!r} would refer to are no unique key of {other!r}",
            hint=f"db.create_index({other!r}, [{', '.join(map(repr, names))}], unique=True)",
        )


def column_spec(executor: Executor, column: str, definition: str | type) -> ColumnSpec:
    check_identifier(column, "column name")
    text = python_type_text(definition) if isinstance(definition, type) else definition
    if not isinstance(text, str):
        raise InvalidQuery(
            f"the type of column {column!r} must be a text or a Python type", hint="such as 'TEXT' or str"
        )
    return parse_column(column, text, executor.engine.lexicon)


def table_exists(executor: Executor, name: str) -> bool:
    """Whether there is a table or a view of that name."""
    check_identifier(name, "table name")
    return executor.engine.catalog.describe(executor.run, name, executor.engine.types) is not None


def list_tables(executor: Executor) -> list[str]:
    return executor.engine.catalog.tables(executor.run)


def list_views(executor: Executor) -> list[str]:
    return executor.engine.catalog.views(executor.run)


def get_columns(executor: Executor, table: str) -> list[dict[str, Any]]:
    """Name, declared type, nullable, default and primary_key of each column, in order."""
    return [
        {
            "name": column.name,
            "type": column.type,
            "nullable": column.nullable,
            "default": column.default,
            "primary_key": column.primary_key,
        }
        for column in executor.describe(table).columns
    ]


def referring(executor: Executor, table: str) -> list[tuple[str, dict[str, Any]]]:
    """The other tables whose foreign keys refer to ``table``, each with the key."""
    catalog = executor.engine.catalog
    return [
        (other, key)
        for other in catalog.tables(executor.run)
        if other != table
        for key in catalog.foreign_keys(executor.run, other)
        if key["references"] == table
    ]


@contextmanager
def altering(executor: Executor) -> Iterator[Run]:
    """One transaction around the steps of a change to the schema, after which nothing cached is trusted."""
    session = executor.session()
    try:
        if session.stack:
            with Transaction(executor):
                yield executor.run
        else:
            alter = executor.engine.alter
            # What is around it needs the connection once more, after the transaction.
            with executor.lent(), alter.around(session.execute), Transaction(executor):
                yield executor.run
    finally:
        executor.forget()


def _table(executor: Executor, name: str) -> None:
    if executor.describe(name).is_view:
        raise TableNotFound(f"{name!r} is a view, not a table")


def drop_table(executor: Executor, name: str, *, if_exists: bool = False) -> None:
    """Drop a table that no other table and no view depends on."""
    if if_exists and not table_exists(executor, name):
        return
    _table(executor, name)
    others = sorted({other for other, _ in referring(executor, name)})
    if others:
        raise SchemaError(
            f"{name!r} cannot be dropped: foreign keys of {', '.join(others)} refer to it",
            hint="drop those tables first",
        )
    with altering(executor) as run:
        executor.engine.fulltext.drop(run, name)
        executor.engine.alter.drop_table(run, name)


def rename_table(executor: Executor, name: str, new_name: str) -> None:
    """Give a table another name; foreign keys, indexes, triggers and views follow."""
    _table(executor, name)
    check_identifier(new_name, "table name")
    if table_exists(executor, new_name):
        raise TableExists(f"there is a table {new_name!r} already")
    with altering(executor) as run:
        executor.engine.alter.rename_table(run, name, new_name)


def add_column(executor: Executor, table: str, column: str, definition: str | type) -> None:
    """Add a column; the rows there are take its default."""
    _table(executor, table)
    info = executor.describe(table)
    if column in info.names:
        raise ColumnExists(f"table {table!r} has a column {column!r} already")
    spec = column_spec(executor, column, definition)
    text = render_column(spec, executor.engine.ddl, [*info.names, column])
    with altering(executor) as run:
        executor.engine.alter.add_column(run, table, text)


def drop_column(executor: Executor, table: str, column: str) -> None:
    """Drop a column with the indexes and constraints that it is part of."""
    _table(executor, table)
    info = executor.describe(table)
    info.column(column)
    if len(info.columns) == 1:
        raise SchemaError(f"{column!r} is the only column of {table!r}", hint="drop the table")
    searched = executor.engine.fulltext.find(executor.run, table)
    if searched is not None and column in searched.columns:
        raise SchemaError(
            f"{column!r} is part of the search of {table!r}", hint=f"db.disable_search({table!r}) first"
        )
    with altering(executor) as run:
        executor.engine.alter.drop_column(run, table, column)


def rename_column(executor: Executor, table: str, column: str, new_name: str) -> None:
    """Give a column another name; keys, indexes, triggers and views follow."""
    _table(executor, table)
    info = executor.describe(table)
    info.column(column)
    check_identifier(new_name, "column name")
    if new_name in info.names:
        raise ColumnExists(f"table {table!r} has a column {new_name!r} already")
    with altering(executor) as run:
        executor.engine.alter.rename_column(run, table, column, new_name)


def alter_column(
    executor: Executor,
    table: str,
    column: str,
    *,
    type: str | type | None = None,
    nullable: bool | None = None,
    default: Any = UNSET,
) -> None:
    """Change a column's type, whether it may be NULL, or its default (SQL text; ``None`` removes it)."""
    _table(executor, table)
    known = executor.describe(table).column(column)
    if type is None and nullable is None and default is UNSET:
        raise InvalidQuery("there is nothing to change", hint="give type=, nullable= or default=")
    type_text = None
    if type is not None:
        spec = column_spec(executor, column, type)
        rendered = render_column(spec, executor.engine.ddl, [column])
        type_text = rendered.removeprefix(executor.engine.quote(column)).strip()
    if default is not UNSET and default is not None:
        default = _default_text(executor, column, spec.type_text if type is not None else known.type, default)
    with altering(executor) as run:
        executor.engine.alter.alter_column(
            run, table, column, type=type_text, nullable=nullable, default=default
        )


def _default_text(executor: Executor, column: str, type_text: str, default: Any) -> str:
    """A default in this engine's SQL, after it is known to be one expression and nothing else."""
    if not isinstance(default, str):
        raise InvalidQuery(f"the default of {column!r} must be SQL text", hint='such as "0" or "\'new\'"')
    spec = parse_column(column, f"{type_text} DEFAULT {default}", executor.engine.lexicon)
    if spec != ColumnSpec(column, spec.type_text, default=spec.default):
        raise InvalidQuery(f"the default of {column!r} is more than an expression")
    return default_sql(spec, executor.engine.ddl)


def add_foreign_key(
    executor: Executor,
    table: str,
    columns: str | Sequence[str],
    references: str,
    keys: str | Sequence[str] | None = None,
    *,
    on_delete: str | None = None,
    on_update: str | None = None,
) -> None:
    """Make columns refer to another table's key; rows that refer to nothing are refused."""
    _table(executor, table)
    info, other = executor.describe(table), executor.describe(references)
    names = [columns] if isinstance(columns, str) else list(columns)
    targets = [keys] if isinstance(keys, str) else list(keys or other.primary_key)
    for name in names:
        info.column(name)
    check_reference(executor, table, references, targets)
    entry = {"columns": names, "table": references, "references": targets}
    (key,) = parse_foreign_keys([{**entry, "on_delete": on_delete, "on_update": on_update}])
    with altering(executor) as run:
        executor.engine.alter.add_foreign_key(
            run, table, names, references, targets, on_delete=key.on_delete, on_update=key.on_update
        )
