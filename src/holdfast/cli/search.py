"""The command that finds rows by the words in them."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli import opening
from holdfast.cli.output import AsCsv, AsJson, show, shown, write_csv, write_json
from holdfast.cli.rows import Table


def search(
    url: opening.URL,
    table: Table,
    text: Annotated[
        str,
        typer.Argument(
            metavar="TEXT",
            help='Words; "words in a row" in double quotes, begin*, and -excluded after the first.',
            show_default=False,
        ),
    ],
    limit: Annotated[int, typer.Option(help="The most rows to print.")] = 20,
    enable: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Make this text column searchable first; may be repeated."),
    ] = None,
    language: Annotated[str, typer.Option(help="With --enable: whose word stems, or simple.")] = "english",
    where: Annotated[str | None, typer.Option(metavar="SQL", help="Only among these rows.")] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Print the rows that hold every word of TEXT, the best first.

    $ holdfast search runs.db notes 'gpt-4 -old' --enable title --enable body
    """
    with opening.to_change(url) if enable else opening.to_read(url) as db:
        if enable:
            db.enable_search(table, enable, language)
        found = db.search(table, text, limit, where)
        if as_json:
            write_json(found)
            return
        columns = db.get_columns(table)
    if as_csv:
        names = list(found[0]) if found else [*(column["name"] for column in columns), "score", "snippet"]
        write_csv(names, [list(row.values()) for row in found])
        return
    key = [column["name"] for column in columns if column["primary_key"]]
    if not found:
        typer.echo(f"No row of {shown(table)} holds all of these words.", err=True)
        return
    rows = [[*(row[name] for name in key), *list(row.values())[-2:]] for row in found]
    show(
        [*key, "score", "snippet"],
        [[*values, f"{score:.3g}", snippet] for *values, score, snippet in rows],
        right=[False] * len(key) + [True, False],
        marks=True,
    )


COMMANDS = (search,)
