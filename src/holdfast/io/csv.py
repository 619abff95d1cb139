"""Tables as CSV files: nothing is lost on the way out, and nothing is guessed against a declared type."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from holdfast.core import query, rows
from holdfast.core.executor import Executor
from holdfast.core.progress import Advance, track
from holdfast.core.query import Params
from holdfast.core.where import OrderBy, Where
from holdfast.errors import InvalidQuery
from holdfast.io import loading, resuming, values
from holdfast.io.files import publishing
from holdfast.io.records import check_delimiter, open_source
from holdfast.types import KindName

EXTRA_COLUMNS = ("error", "ignore", "add")


def export_table(
    executor: Executor,
    table: str,
    path: Path | TextIO,
    *,
    progress: bool | None = None,
    columns: Sequence[str] | str | None = None,
    where: Where = None,
    params: Params = None,
    order_by: OrderBy = None,
    limit: int | None = None,
    offset: int | None = None,
    delimiter: str = ",",
    null: str = "",
    spreadsheet_safe: bool = False,
) -> int:
    """Write a table, or some of it, and return how many rows there were; an empty one has its header.

    ``null`` is the text for NULL. ``spreadsheet_safe=True`` puts an apostrophe before text that a
    spreadsheet would run as a formula; such a file does not come back as it was.

    Raises:
        NotSupported: if a value has no text that would be read back; the file that was there stays.
    """
    check_delimiter(delimiter)
    chosen = rows.selection(executor.describe(table), columns)
    names, batches = query.stream_tuples(executor, table, columns, where, params, order_by, limit, offset)
    writers = [
        values.writer(
            column.name,
            column.codec.kind.name,
            delimiter=delimiter,
            null=null,
            spreadsheet_safe=spreadsheet_safe,
        )
        for column in chosen
    ]
    with track(f"export {table}", show=progress) as advance:
        return _write(path, names, writers, batches, delimiter, advance)


def export_query(
    executor: Executor,
    sql: str,
    path: Path | TextIO,
    params: Params = None,
    *,
    progress: bool | None = None,
    delimiter: str = ",",
    null: str = "",
    spreadsheet_safe: bool = False,
) -> int:
    """Write the rows of a query and return how many there were; options as :func:`export_table`."""
    check_delimiter(delimiter)
    names, batches = query.stream_tuples(executor, sql, params)
    query.refuse_same_names(names)
    kind: KindName | None = None
    writers = [
        values.writer(name, kind, delimiter=delimiter, null=null, spreadsheet_safe=spreadsheet_safe)
        for name in names
    ]
    with track("export", show=progress) as advance:
        return _write(path, names, writers, batches, delimiter, advance)


def _write(
    path: Path | TextIO,
    names: Sequence[str],
    writers: Sequence[values.Write],
    batches: Iterator[list[tuple[Any, ...]]],
    delimiter: str,
    advance: Advance | None,
) -> int:
    written = 0
    with publishing(path) as file:
        file.write(values.line(names, delimiter))
        for batch in batches:
            fields = [write(column) for write, column in zip(writers, zip(*batch, strict=True), strict=True)]
            file.write("\n".join(map(delimiter.join, zip(*fields, strict=True))) + "\n")
            written += len(batch)
            if advance:
                advance(len(batch))
    return written


def import_table(
    executor: Executor,
    table: str,
    path: Path | TextIO,
    if_exists: str = "append",
    *,
    extra_columns: str = "error",
    rejects: Path | None = None,
    progress: bool | None = None,
    delimiter: str = ",",
    encoding: str = "utf-8",
    null: str = "",
    resume: bool = False,
) -> int:
    """Load a CSV file or an open text stream, all rows or none; return how many were loaded.

    An unquoted field that is ``null`` is NULL. ``"replace"`` deletes the rows that are there and keeps the
    table. Columns that the database computes are left to it. With ``rejects``, bad rows go to that file with
    their line and the reason, and the rest is loaded. ``resume`` commits as it goes, see
    :mod:`holdfast.io.resuming`; what is returned is then how many rows all runs together have loaded.

    Raises:
        ImportFailed: naming file, line, column and value of the first bad row; nothing was written.
        ColumnNotFound: if the file has a column that the table lacks, unless ``extra_columns`` says else.
        TableExists: if there is such a table, with ``if_exists="fail"``.
    """
    loading.one_of("if_exists", if_exists, loading.IF_EXISTS)
    loading.one_of("extra_columns", extra_columns, EXTRA_COLUMNS)
    if resume and rejects is not None:
        raise InvalidQuery(
            "rejects cannot be kept by an import that resumes", hint="leave out one of the two"
        )
    options = {"format": "csv", "delimiter": delimiter, "encoding": encoding, "null": null}
    with open_source(path, delimiter=delimiter, encoding=encoding, null=null) as source:
        names = source.header()
        steps = resuming.steps(executor, table, path, if_exists, options if resume else None)
        if steps.is_done:
            return steps.loaded
        with (
            track(f"import {table}", show=progress) as advance,
            steps,
            loading.rejecting(source, rejects) as reject,
        ):
            file = loading.File(source, names, reject)
            if_exists = if_exists if steps.is_new else "append"
            loading.prepare(executor, table, file, if_exists, extra_columns)
            loading.load(executor, table, file, steps, advance)
        return steps.loaded
