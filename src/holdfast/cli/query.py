"""The command that runs your own SQL."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from holdfast.cli import opening
from holdfast.cli.output import AsCsv, AsJson, show, write_csv, write_json
from holdfast.errors import ReadOnlyError

SQL = Annotated[
    str,
    typer.Argument(metavar="SQL", help="One statement; - reads it from standard input.", show_default=False),
]
Param = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="The value of :NAME in SQL: JSON where it is JSON (5, true, null, '\"5\"'), else text.",
    ),
]


def query(
    url: opening.URL,
    sql: SQL,
    param: Param = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    write: Annotated[bool, typer.Option("--write", help="Let the statement change the database.")] = False,
) -> None:
    """Run one SQL statement and print its rows; nothing is changed without --write.

    $ holdfast query runs.db "SELECT * FROM runs WHERE acc > :low" --param low=0.5
    $ holdfast query runs.db "DELETE FROM runs WHERE acc IS NULL" --write
    $ cat best.sql | holdfast query runs.db - --csv
    """
    params = dict(map(named, param or ()))
    with opening.to_change(url) if write else opening.to_read(url) as db:
        try:
            result = db.execute(given(sql), params)
        except ReadOnlyError as exc:
            raise exc if write else _read_only() from exc
        if as_json:
            write_json(result.rows)
        elif as_csv:
            write_csv(result.columns, result.tuples)
        elif result.columns:
            show(result.columns, result.tuples)
        else:
            print(f"{result.rowcount} rows changed")


def _read_only() -> ReadOnlyError:
    return ReadOnlyError(
        "the statement does not only read",
        hint="add --write to let it change the database, or check its syntax; nothing was changed",
    )


def given(text: str) -> str:
    """What an argument gives that may be ``-`` for standard input."""
    return sys.stdin.read() if text == "-" else text


def named(text: str) -> tuple[str, Any]:
    """What ``--param NAME=VALUE`` gives."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise typer.BadParameter("--param takes NAME=VALUE")
    try:
        return name, json.loads(value, parse_constant=_refuse)
    except ValueError:
        return name, value


def _refuse(text: str) -> Any:
    raise ValueError(text)


COMMANDS = (query,)
