"""Copying a database: one transaction on the target, one snapshot of the source, proven before the commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from holdfast.core import schema
from holdfast.core.bulk import insert_many
from holdfast.core.executor import Executor
from holdfast.core.progress import track
from holdfast.core.sources import Chunk, Source
from holdfast.core.transaction import Transaction
from holdfast.engines.base import TableInfo
from holdfast.engines.names import quote_identifier as quote
from holdfast.errors import (
    DatabaseError,
    IndexExists,
    InvalidQuery,
    NotSupported,
    TableExists,
    TransactionError,
)
from holdfast.transfer.content import Content
from holdfast.transfer.plan import Plan, TablePlan, make_plan
from holdfast.transfer.reading import Batches, inexact, read_batches
from holdfast.transfer.report import CopyReport
from holdfast.transfer.schema import read_schema
from holdfast.types.array import Framed, has_mark

Rows = Callable[[TableInfo], tuple[int | None, Batches]]
"""How many rows a table has, if that is known, and the rows as columns, and how many they are."""


def copy_database(
    source: Executor,
    target: Executor,
    tables: Iterable[str] | None = None,
    *,
    exclude: Iterable[str] = (),
    dry_run: bool = False,
    progress: bool | None = None,
) -> CopyReport:
    """Copy tables with their keys, constraints and indexes, all or none."""
    for name, given in (("tables", tables), ("exclude", exclude)):
        if isinstance(given, str):
            raise InvalidQuery(f"{name} must be a list of names", hint=f"{name}=['runs', 'notes']")
    for executor in (source, target):
        if executor.in_transaction:
            raise TransactionError("a copy cannot be part of a transaction", hint="commit or roll back first")
    with ExitStack() as writing:
        with Transaction(source, isolation="REPEATABLE READ", read_only=True):
            # What another process did to the schema meanwhile is not known here yet.
            source.forget()
            plan = make_plan(read_schema(source, tables, exclude), target)
            _refuse_existing(target, plan)
            if dry_run:
                counts = {table.info.name: _count(source, table.info.name) for table in plan.tables}
                return _report(source, target, plan, counts, is_dry_run=True)
            _refuse_losses(plan)
            writing.enter_context(Transaction(target))
            contents = carry(target, plan, partial(_rows, source, progress), progress)
        # The source has given all: that it is lost now must not be an error of a copy that is kept.
        for table in plan.tables:
            prove(target, table.info, contents[table.info.name])
    counts = {name: content.rows for name, content in contents.items()}
    return _report(source, target, plan, counts, is_dry_run=False)


def _refuse_losses(plan: Plan) -> None:
    if plan.refused:
        listing = "; ".join(str(item) for item in plan.refused[:5])
        raise NotSupported(
            f"not everything can be copied: {listing}",
            hint="nothing was written; exclude= leaves tables out, dry_run=True lists everything",
        )


def _refuse_existing(target: Executor, plan: Plan) -> None:
    catalog = target.engine.catalog
    there = {*catalog.tables(target.run), *catalog.views(target.run)}
    found = [table.info.name for table in plan.tables if table.info.name in there]
    if found:
        raise TableExists(
            f"the target has {', '.join(map(repr, found[:5]))} already",
            hint="nothing was written; drop them there, or leave them out with exclude=",
        )
    names = {index["name"] for index in catalog.indexes(target.run, None)}
    for name in (name for table in plan.tables for name in table.indexes):
        if name in names:
            raise IndexExists(f"the target has an index {name!r} already", hint="nothing was written")


def _report(
    source: Executor, target: Executor, plan: Plan, counts: dict[str, int], *, is_dry_run: bool
) -> CopyReport:
    return CopyReport(
        source.engine.name,
        target.engine.name,
        counts,
        tuple(plan.columns),
        tuple(plan.left_behind),
        tuple(plan.refused),
        is_dry_run,
    )


def carry(target: Executor, plan: Plan, rows: Rows, progress: bool | None = False) -> dict[str, Content]:
    """Write everything in the target's open transaction, and tell what ``rows`` gave."""
    for table in plan.tables:
        target.run(table.statement)
    target.forget()
    contents = {table.info.name: _load(target, table, rows, progress) for table in plan.tables}
    for table in plan.tables:
        for statement in table.indexes.values():
            target.run(statement)
    target.forget()
    for table in plan.tables:
        _add_rest(target, table)
    return contents


def _load(target: Executor, table: TablePlan, rows: Rows, progress: bool | None) -> Content:
    """Stream one table into the target."""
    info, name = table.info, table.info.name
    taken = tuple(column.name for column in target.describe(name).columns if not column.generated)
    places = [info.names.index(column) for column in taken]
    binary = frozenset(place for place in places if info.columns[place].codec.kind.name == "bytes")
    content = _content(info)
    total, batches = rows(info)

    def chunks() -> Iterator[Chunk]:
        for columns, count in batches:
            content.add(columns, count)
            given = [_framed(columns[p]) if p in binary else columns[p] for p in places]
            yield Chunk(taken, given, count)

    with track(f"copy {name}", total=total, show=progress) as advance:
        # Inert: what is read is another connection's.
        insert_many(target, name, Source(chunks(), is_inert=lambda: True), advance=advance)
    return content


def _framed(values: Sequence[Any]) -> Sequence[Any]:
    """Arrays in their stored form, which a binary column takes only if it is said to be one."""
    return [Framed((value,)) if type(value) is bytes and has_mark(value) else value for value in values]


def _rows(source: Executor, progress: bool | None, info: TableInfo) -> tuple[int | None, Batches]:
    total = _count(source, info.name) if progress is not False else None
    return total, read_batches(source, info)


def _content(info: TableInfo) -> Content:
    return Content(
        [*(column.codec.kind.name for column in info.columns), *("text" for _ in inexact(info.columns))]
    )


def _count(executor: Executor, name: str) -> int:
    return int(executor.scalar(f"SELECT count(*) FROM {quote(name)}"))


def _add_rest(target: Executor, table: TablePlan) -> None:
    """What needs the rows of other tables, or of all."""
    name = table.info.name
    for key in table.later:
        schema.add_foreign_key(
            target,
            name,
            key.columns,
            key.table,
            key.references,
            on_delete=key.on_delete,
            on_update=key.on_update,
        )
    if table.search is not None:
        columns, language = table.search
        target.engine.fulltext.create(target.run, target.describe(name), columns, language)


def prove(target: Executor, info: TableInfo, expected: Content) -> None:
    """Read the copy back, and compare its number of rows and its content."""
    there = _content(info)
    for columns, count in read_batches(target, info):
        there.add(columns, count)
    if there.rows != expected.rows:
        raise DatabaseError(f"the copy of {info.name!r} has {there.rows} rows instead of {expected.rows}")
    if there.total != expected.total:
        raise DatabaseError(
            f"the copy of {info.name!r} does not hold the same values", hint="nothing was kept of it"
        )
