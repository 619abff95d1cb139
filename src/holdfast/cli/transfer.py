"""Commands that carry rows between a database and files: export, import."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli import opening
from holdfast.cli.output import AsJson, write_json
from holdfast.engines.names import printable
from holdfast.errors import InvalidQuery

FORMATS = "csv|tsv|jsonl|json|parquet|feather"
Format = Annotated[
    str | None,
    typer.Option("--format", metavar=FORMATS, help="By default what the extension says; csv for -."),
]
Delimiter = Annotated[
    str | None,
    typer.Option(
        metavar="CHARACTER", help="What separates the fields of CSV; '\\t' is a tab. [default: a comma]"
    ),
]
Null = Annotated[
    str | None, typer.Option(metavar="TEXT", help="What stands for NULL in CSV. [default: an empty field]")
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
    delimiter: Delimiter = None,
    null: Null = None,
    as_json: AsJson = False,
) -> None:
    """Write a table or the rows of a query in the format of the file's extension.

    $ holdfast export runs.db runs runs.parquet
    $ holdfast export runs.db "SELECT model FROM runs" -
    """
    from holdfast.io import formats

    to_pipe = str(path) == "-"
    form = formats.format_of(path, format or ("csv" if to_pipe else None))
    options = _given(delimiter=_one(delimiter), null=null)
    with opening.to_read(url) as db:
        if to_pipe:
            stream = sys.stdout if form.is_text else sys.stdout.buffer
            formats.export(
                db._executor, source, path, format=form.name, stream=stream, progress=False, **options
            )
            return
        rows = db.export(source, path, format=form.name, **options)
    if as_json:
        write_json({"file": str(path), "rows": rows})
    else:
        print(f"wrote {rows} rows to {path}")


def import_(
    url: opening.URL,
    table: Annotated[
        str,
        typer.Argument(
            metavar="TABLE",
            help="Created from the data if it is missing.",
            autocompletion=opening.tables_of,
        ),
    ],
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
    delimiter: Delimiter = None,
    null: Null = None,
    encoding: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of CSV, such as latin-1. [default: utf-8]")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Do all of it, say how many rows, and take it back.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Load a file in the format of its extension, all rows or none.

    $ holdfast import runs.db runs new.csv --rejects bad.csv
    $ gzip -dc new.csv.gz | holdfast import runs.db runs - --dry-run
    """
    from holdfast.io import formats

    from_pipe = str(path) == "-"
    form = formats.format_of(path, format or ("csv" if from_pipe else None))
    if dry_run and (resume or rejects):
        raise InvalidQuery("a dry run takes all back", hint="leave out resume= and rejects=")
    options = _given(rejects=rejects, delimiter=_one(delimiter), null=null, encoding=encoding)
    with opening.rehearsing(url) if dry_run else opening.to_fill(url) as db:
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
    if as_json:
        write_json({"table": table, "file": str(path), "rows": rows, "dry_run": dry_run})
    elif dry_run:
        print(printable(f"{rows} rows would go into {table}; nothing was written"))
    else:
        done = f"{table} has all {rows} rows of {path}" if resume else f"loaded {rows} rows into {table}"
        print(printable(done))


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _one(delimiter: str | None) -> str | None:
    # A shell has no easy way to write a tab.
    return "\t" if delimiter == "\\t" else delimiter


import_.__name__ = "import"

COMMANDS = (export, import_)
