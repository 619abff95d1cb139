"""The command that says how two databases differ."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli import opening
from holdfast.cli.copying import names_of
from holdfast.cli.output import AsCsv, AsJson, nested, show, shown, write_csv, write_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from holdfast.transfer.differing import Difference, RowDifference, TableDifference


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="One database: a path or a URL.", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="The other one.", show_default=False)],
    tables: Annotated[
        str | None, typer.Option(metavar="A,B", help="Only these tables, by their names.")
    ] = None,
    exclude: Annotated[
        str | None, typer.Option(metavar="A,B", help="All tables but these, by their names.")
    ] = None,
    rows: Annotated[bool, typer.Option("--rows", help="Print the values of rows that differ, too.")] = False,
    limit: Annotated[int, typer.Option(min=0, help="How many rows of each table to print.")] = 20,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Say how two databases differ, in their schemas and row by row; exit code 1 if they do.

    Both are only read, each as it is at one moment, and all rows that differ are counted.

    $ holdfast diff runs.db postgresql://me@host/lab --rows
    """
    import holdfast

    with opening.to_read(a) as one, opening.to_read(b) as other:
        found = holdfast.diff(
            one, other, names_of(tables), exclude=names_of(exclude) or (), limit=limit, rows=rows
        )
    if as_json:
        write_json({"is_equal": found.is_equal, **asdict(found)})
    elif as_csv:
        write_csv(["what", "table", "key", "column", "in_a", "in_b", "times"], list(_csv_rows(found)))
        _tell_the_rest(found)
    elif found.is_equal:
        print(found)
    else:
        _show(found, rows)
    if not found.is_equal:
        raise typer.Exit(1)


def _csv_rows(found: Difference) -> Iterator[list[Any]]:
    """A row for each difference of the schema, and for each row, or with its values for each column of it."""
    for item in found.schema:
        yield [item.kind, item.table, None, item.name, item.a, item.b, None]
    for table in found.tables:
        for row in table.rows:
            key = None if row.key is None else nested(dict(row.key))
            names: tuple[str | None, ...] = row.columns or tuple(row.a or row.b or ()) or (None,)
            for name in names:
                sides = [nested(side.get(name)) if side and name else None for side in (row.a, row.b)]
                yield [row.which, table.table, key, name, *sides, row.count]


def _tell_the_rest(found: Difference) -> None:
    """Beside the CSV: what is counted but not in it, and what was not compared."""
    for table in found.tables:
        for line in _not_compared(table):
            typer.echo(line, err=True)
        if left := _left(table):
            typer.echo(shown(f"{table.table}: {left:,} more rows differ{_hint(table)}"), err=True)


def _show(found: Difference, values: bool) -> None:
    if found.schema:
        show(
            ["schema", "table", "name", "in a", "in b"],
            [
                [item.kind, item.table, item.name or "", *map(_there, (item.a, item.b))]
                for item in found.schema
            ],
        )
    differing = [table for table in found.tables if not table.has_equal_rows]
    if found.schema and differing:
        print()
    if differing:
        show(
            ["table", "rows in a", "rows in b", "only in a", "only in b", "changed"],
            [
                [table.table, table.rows_a, table.rows_b, table.only_in_a, table.only_in_b, table.changed]
                for table in differing
            ],
        )
    for table in found.tables:
        for line in _not_compared(table):
            print(line)
    for table in differing:
        _show_rows(table, values)


def _there(text: str | None) -> str:
    """What a side has of something; a dash for nothing."""
    return "-" if text is None else text or "yes"


def _not_compared(table: TableDifference) -> Iterator[str]:
    for column, reason in table.not_compared.items():
        yield shown(f"{table.table}.{column} was not compared: {reason}")


def _left(table: TableDifference) -> int:
    """How many rows that differ are not among those that are told."""
    return table.only_in_a + table.only_in_b + table.changed - sum(row.count for row in table.rows)


def _hint(table: TableDifference) -> str:
    """Rows without a key are known by nothing but their values."""
    return "" if table.by or table.rows else "; it has no key: --rows prints their values"


def _show_rows(table: TableDifference, values: bool) -> None:
    print()
    if not table.rows:
        print(shown(f"{table.table}: {_left(table):,} rows differ{_hint(table)}"))
        return
    if values:
        heads, lines = (
            ["row", "key", "column", "in a", "in b"],
            [line for row in table.rows for line in _value_lines(row)],
        )
    else:
        heads, lines = (
            ["row", "key", "columns"],
            [[row.which, _key(row), ", ".join(row.columns)] for row in table.rows],
        )
    show(heads, lines, title=table.table)
    if left := _left(table):
        print(f"and {left:,} more")


def _value_lines(row: RowDifference) -> Iterator[list[str]]:
    names = row.columns or tuple(row.a or row.b or ())
    for number, name in enumerate(names):
        head = [row.which, _key(row)] if number == 0 else ["", ""]
        yield [*head, name, *(_value(side, name) for side in (row.a, row.b))]


def _value(side: Mapping[str, Any] | None, name: str) -> str:
    return "-" if side is None else shown(side[name])


def _key(row: RowDifference) -> str:
    if row.key is None:
        return f"{row.count} times" if row.count > 1 else ""
    return ", ".join(f"{name}={shown(value)}" for name, value in row.key.items())


COMMANDS = (diff,)
