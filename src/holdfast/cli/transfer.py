"""Commands that carry rows between a database and files: export, import."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli import opening


def export(
    url: opening.URL,
    source: Annotated[
        str, typer.Argument(metavar="TABLE", help="A table, or a SELECT in quotes.", show_default=False)
    ],
    path: Annotated[
        Path,
        typer.Argument(metavar="FILE.csv", help="Replaced if it is there; - is the output of this command."),
    ],
) -> None:
    """Write a table or the rows of a query as CSV."""
    from holdfast.io import csv

    to_pipe = str(path) == "-"
    with opening.to_read(url) as db:
        is_query = " " in source.strip() and not db.table_exists(source)
        if to_pipe:
            write = csv.export_query if is_query else csv.export_table
            write(db._executor, source, sys.stdout, progress=False)
            return
        rows = (db.export_query_to_csv if is_query else db.export_to_csv)(source, path)
    print(f"wrote {rows} rows to {path}")


def import_(
    url: opening.URL,
    table: Annotated[str, typer.Argument(metavar="TABLE", help="Created from the data if it is missing.")],
    path: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.csv", help="Its first line has the names; - is the input of this command."
        ),
    ],
    if_exists: Annotated[
        str, typer.Option(metavar="append|fail|replace", help="What to do with a table that is there.")
    ] = "append",
    extra_columns: Annotated[
        str, typer.Option(metavar="error|ignore|add", help="What to do with columns the table lacks.")
    ] = "error",
    rejects: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Put bad rows there instead of stopping.")
    ] = None,
) -> None:
    """Load a CSV file, all rows or none."""
    from holdfast.io import csv

    with opening.to_write(url) as db:
        if str(path) == "-":
            lines = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", newline="")
            rows = csv.import_table(
                db._executor, table, lines, if_exists, extra_columns=extra_columns, rejects=rejects
            )
        else:
            rows = db.import_from_csv(table, path, if_exists, extra_columns=extra_columns, rejects=rejects)
    print(f"loaded {rows} rows into {table}")


import_.__name__ = "import"

COMMANDS = (export, import_)
