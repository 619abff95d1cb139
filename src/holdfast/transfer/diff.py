"""Comparing two databases: their schemas, then the rows of the tables that both have."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace

from holdfast.core.executor import Executor
from holdfast.core.progress import track
from holdfast.core.transaction import Transaction
from holdfast.engines.base import TableInfo
from holdfast.engines.names import quote_identifier as quote
from holdfast.errors import InvalidQuery, TableNotFound
from holdfast.transfer.differing import Difference, TableDifference
from holdfast.transfer.digests import Form, form_of
from holdfast.transfer.rowdiff import Compared, Side, compare_rows
from holdfast.transfer.schema import Schema, read_schema
from holdfast.transfer.schemadiff import of_schemas

LIMIT = 100


def diff(
    a: Executor,
    b: Executor,
    tables: Iterable[str] | None = None,
    *,
    exclude: Iterable[str] = (),
    limit: int | None = LIMIT,
    rows: bool = False,
    progress: bool | None = None,
) -> Difference:
    """Compare two databases, each as it is at one moment; nothing is written."""
    chosen = _names("tables", tables), _names("exclude", exclude) or []
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        raise InvalidQuery("limit must be a whole number from 0 on, or None for all")
    with ExitStack() as snapshots:
        for executor in (a,) if a is b else (a, b):
            if not executor.in_transaction:
                snapshots.enter_context(Transaction(executor, isolation="REPEATABLE READ", read_only=True))
                # What another process did to the schema meanwhile is not known here yet.
                executor.forget()
        schemas = _schemas(a, b, *chosen)
        pairs = [
            (table.info, schemas[1].tables[name].info)
            for name, table in schemas[0].tables.items()
            if name in schemas[1].tables
        ]
        found = [_table((a, b), pair, limit, rows, progress) for pair in pairs]
        return Difference(a.engine.name, b.engine.name, tuple(of_schemas(*schemas)), tuple(found))


def _names(argument: str, given: Iterable[str] | None) -> list[str] | None:
    if isinstance(given, str):
        raise InvalidQuery(f"{argument} must be a list of names", hint=f"{argument}=['runs', 'notes']")
    return None if given is None else list(dict.fromkeys(given))


def _schemas(a: Executor, b: Executor, tables: list[str] | None, exclude: list[str]) -> tuple[Schema, Schema]:
    """Those of the tables asked for; one that neither side has is a mistake."""
    there = [(set(one.engine.catalog.tables(one.run)), one) for one in (a, b)]
    for name in (*(tables or ()), *exclude):
        if not any(name in names for names, _ in there):
            a.describe(name)
            raise TableNotFound(f"{name!r} is a view, not a table")
    return tuple(  # type: ignore[return-value]
        read_schema(
            one,
            None if tables is None else [name for name in tables if name in names],
            [name for name in exclude if name in names],
        )
        for names, one in there
    )


def _table(
    executors: tuple[Executor, Executor],
    pair: tuple[TableInfo, TableInfo],
    limit: int | None,
    rows: bool,
    progress: bool | None,
) -> TableDifference:
    forms, not_compared = _forms(*pair, same=executors[0].engine is executors[1].engine)
    name = pair[0].name
    if not forms:
        a, b = (int(one.scalar(f"SELECT count(*) FROM {quote(name)}")) for one in executors)
        return TableDifference(name, (), a, b, max(0, a - b), max(0, b - a), 0, (), not_compared)
    key = pair[0].primary_key if pair[0].primary_key == pair[1].primary_key else ()
    compared = Compared(tuple(forms), forms, key if set(key) <= set(forms) else ())
    one, other = (
        Side(executor, info, compared.names) for executor, info in zip(executors, pair, strict=True)
    )
    with track(f"compare {name}", show=progress) as advance:
        found = compare_rows((one, other), compared, limit=limit, values=rows, advance=advance)
    return replace(found, not_compared=not_compared)


def _forms(a: TableInfo, b: TableInfo, *, same: bool) -> tuple[dict[str, Form], dict[str, str]]:
    """How each column that both have is compared, and why others are not."""
    forms, reasons = dict[str, Form](), dict[str, str]()
    for column in a.columns:
        if column.name not in b.names:
            continue
        other = b.column(column.name)
        form = form_of(column.codec.kind, other.codec.kind)
        # Types of one engine alone have values that only those of the same type compare with.
        is_strange = column.codec.kind.name == "other" and not (same and column.type == other.type)
        if form is None or is_strange:
            reasons[column.name] = f"{column.type or 'no type'} and {other.type or 'no type'} do not compare"
        else:
            forms[column.name] = form
    return forms, reasons
