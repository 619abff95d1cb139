"""Commands that read and write the rows of a table: select, insert, update, delete."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli import opening
from holdfast.cli.output import AsCsv, AsJson, write
from holdfast.cli.query import Param, given, named
from holdfast.engines.names import printable
from holdfast.errors import InvalidQuery

if TYPE_CHECKING:
    pass

Table = Annotated[
    str,
    typer.Argument(metavar="TABLE", help="The table.", show_default=False, autocompletion=opening.tables_of),
]
Where = Annotated[
    str | None,
    typer.Option(metavar="SQL", help="Only these rows, as 'acc > :low'; values go into --param."),
]
AllRows = Annotated[bool, typer.Option("--all-rows", help="Without --where, every row.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Do it, say what came of it, and take it back.")]


def select(
    url: opening.URL,
    table: Table,
    columns: Annotated[
        str | None, typer.Option(metavar="A,B", help="Only these columns, by their names.")
    ] = None,
    where: Where = None,
    param: Param = None,
    order_by: Annotated[
        str | None, typer.Option(metavar="A,B", help="Their order, as 'acc DESC, id'.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=0, help="The most rows to print.")] = None,
    offset: Annotated[int | None, typer.Option(min=0, help="How many to pass over first.")] = None,
    distinct: Annotated[bool, typer.Option("--distinct", help="Each row once.")] = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Print the rows of a table.

    $ holdfast select runs.db runs --where "acc > :low" --param low=0.5 --order-by "acc DESC" --limit 10
    """
    with opening.to_read(url) as db:
        names = split(columns) or [column["name"] for column in db.get_columns(table)]
        found = db.select(
            table, names, where, _params(param), split(order_by), limit, offset, distinct=distinct
        )
    write(names, [tuple(row.values()) for row in found], as_json=as_json, as_csv=as_csv)


def insert(
    url: opening.URL,
    table: Table,
    rows: Annotated[
        str,
        typer.Argument(
            metavar="JSON",
            help="One object, or a list of them; - reads such text, or an object a line, from the input.",
            show_default=False,
        ),
    ],
    on_conflict: Annotated[
        str, typer.Option(metavar="error|ignore|update|replace", help="What to do with a key that is there.")
    ] = "error",
    key: Annotated[
        str | None, typer.Option(metavar="A,B", help="The columns of the key. [default: the primary key]")
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Write rows given as JSON, all or none.

    $ holdfast insert runs.db runs '{"model": "cnn", "acc": 0.81}'
    $ holdfast insert runs.db runs - --on-conflict update
    """
    objects = _objects(given(rows))
    with _changing(url, dry_run) as db:
        count = db.insert_many(table, objects, on_conflict=on_conflict, key=split(key))
    _say(count, f"written to {table}", dry_run)


def update(
    url: opening.URL,
    table: Table,
    data: Annotated[
        str, typer.Argument(metavar="JSON", help="The columns and their new values.", show_default=False)
    ],
    where: Where = None,
    param: Param = None,
    all_rows: AllRows = False,
    dry_run: DryRun = False,
) -> None:
    """Change columns in the rows of a table.

    $ holdfast update runs.db runs '{"acc": 0.9}' --where "model = :m" --param m=cnn --dry-run
    """
    (values,) = _objects(data)[:1] or [{}]
    with _changing(url, dry_run) as db:
        count = db.update(table, values, where, _params(param), all_rows=all_rows)
    _say(count, "changed", dry_run)


def delete(
    url: opening.URL,
    table: Table,
    where: Where = None,
    param: Param = None,
    all_rows: AllRows = False,
    dry_run: DryRun = False,
) -> None:
    """Remove rows of a table.

    $ holdfast delete runs.db runs --where "acc IS NULL" --dry-run
    """
    with _changing(url, dry_run) as db:
        count = db.delete(table, where, _params(param), all_rows=all_rows)
    _say(count, "removed", dry_run)


def split(names: str | None) -> list[str] | None:
    """``A,B`` as a list."""
    return None if names is None else [name.strip() for name in names.split(",")]


def _params(param: list[str] | None) -> dict[str, Any] | None:
    return dict(map(named, param)) if param else None


def _changing(url: str, dry_run: bool) -> Any:
    return opening.rehearsing(url) if dry_run else opening.to_change(url)


def _say(count: int, what: str, dry_run: bool) -> None:
    print(f"{count:,} row{'' if count == 1 else 's'} {printable(what)}" + ("; taken back" if dry_run else ""))


def _objects(text: str) -> list[dict[str, Any]]:
    try:
        whole = json.loads(text)
        found = whole if isinstance(whole, list) else [whole]
    except ValueError:
        found = list(_lines(text))
    if not all(isinstance(row, dict) for row in found):
        raise InvalidQuery("a row is a JSON object", hint='such as \'{"model": "cnn", "acc": 0.81}\'')
    return found


def _lines(text: str) -> Iterator[Any]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError as exc:
                raise InvalidQuery(
                    f"line {number} is no JSON", hint='such as {"model": "cnn", "acc": 0.81}'
                ) from exc


COMMANDS = (select, insert, update, delete)
