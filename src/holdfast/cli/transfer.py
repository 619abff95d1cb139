"""Commands that carry rows between a database and files: export, import."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli import opening

FORMATS = "csv|tsv|jsonl|json|parquet|feather"
Format = Annotated[
    str | None,
    typer.Option("--format", metavar=FORMATS, help="By default what the extension says; csv for -."),
]


def export(
    url: opening.URL,
    source: Annotated[
        str, typer.Argument(metavar="TABLE", help="A table, or a SELECT in quotes.", show_default=False)
    ],
    path: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Replaced if it is there; - is the output of this command."),
    ],
    format: Format = None,
) -> None:
    """Write a table or the rows of a query in the format of the file's extension."""
    from holdfast.io import formats

    to_pipe = str(path) == "-"
    form = formats.format_of(path, format or ("csv" if to_pipe else None))
    with opening.to_read(url) as db:
        if to_pipe:
            stream = sys.stdout if form.is_text else sys.stdout.buffer
            formats.export(db._executor, source, path, format=form.name, stream=stream, progress=False)
            return
        rows = db.export(source, path, format=form.name)
    print(f"wrote {rows} rows to {path}")


def import_(
    url: opening.URL,
    table: Annotated[str, typer.Argument(metavar="TABLE", help="Created from the data if it is missing.")],
    path: Annotated[Path, typer.Argument(metavar="FILE", help="- is the input of this command.")],
    if_exists: Annotated[
        str, typer.Option(metavar="append|fail|replace", help="What to do with a table that is there.")
    ] = "append",
    extra_columns: Annotated[
        str, typer.Option(metavar="error|ignore|add", help="What to do with columns the table lacks.")
    ] = "error",
    rejects: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Put bad rows of CSV or JSON there instead of stopping."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Commit as it goes; run again, it goes on where it stopped.")
    ] = False,
    format: Format = None,
) -> None:
    """Load a file in the format of its extension, all rows or none."""
    from holdfast.io import formats

    from_pipe = str(path) == "-"
    form = formats.format_of(path, format or ("csv" if from_pipe else None))
    options: dict[str, Any] = {} if rejects is None else {"rejects": rejects}
    with opening.to_write(url) as db:
        rows = formats.load(
            db._executor,
            table,
            path,
            if_exists,
            format=form.name,
            stream=sys.stdin.buffer if from_pipe else None,
            extra_columns=extra_columns,
            resume=resume,
            **options,
        )
    print(f"{table} has all {rows} rows of {path}" if resume else f"loaded {rows} rows into {table}")


import_.__name__ = "import"

COMMANDS = (export, import_)
