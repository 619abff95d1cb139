"""Commands that look at a database: tables, schema, summary, inspect, diagram."""

from __future__ import annotations

import sys
from dataclasses import asdict, fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli import opening
from holdfast.cli.output import AsCsv, AsJson, nested, show, write, write_csv, write_json
from holdfast.engines.names import printable
from holdfast.errors import DatabaseBusy

if TYPE_CHECKING:
    from holdfast.database import Database
    from holdfast.inspection import Profile


def tables(url: opening.URL, as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """List the tables with their row counts.

    $ holdfast tables runs.db
    """
    with opening.to_read(url) as db:
        found = counted(db)
    write(["table", "rows"], found, as_json=as_json, as_csv=as_csv)


def counted(db: Database) -> list[tuple[str, int]]:
    """The tables with their row counts."""
    return [(name, _count(db, name)) for name in db.list_tables()]


def _count(db: Database, table: str) -> int:
    try:
        return db.count(table)
    except DatabaseBusy as exc:
        raise DatabaseBusy(f"{table}: {exc.message}", hint=exc.hint) from exc


def schema(
    url: opening.URL,
    table: Annotated[
        str | None,
        typer.Argument(
            metavar="TABLE",
            help="One table; without it, all.",
            show_default=False,
            autocompletion=opening.tables_of,
        ),
    ] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    as_sql: Annotated[bool, typer.Option("--sql", help="Print CREATE statements.")] = False,
) -> None:
    """Show columns, keys and indexes of one table or of all.

    $ holdfast schema runs.db runs
    $ holdfast schema runs.db --sql
    """
    import holdfast

    with opening.to_read(url) as db:
        names = [table] if table is not None else db.list_tables()
        if as_sql:
            for name in names:
                print(f"{holdfast.inspect(db).get_create_table_sql(name).rstrip(';')};")
            return
        found = described(db, names)
    if as_json:
        write_json(found)
    elif as_csv:
        rows = [row for name, table in found.items() for row in _column_rows(name, table)]
        write_csv(["table", "column", "type", "nullable", "default", "primary_key", "references"], rows)
    elif not found:
        typer.echo("There are no tables.", err=True)
    else:
        show_tables(found)


def described(db: Database, names: list[str] | None = None) -> dict[str, Any]:
    """What tables are like, by default all."""
    return {name: _describe(db, name) for name in (db.list_tables() if names is None else names)}


def show_tables(found: dict[str, Any]) -> None:
    """Print what :func:`described` found."""
    for number, (name, table) in enumerate(found.items()):
        if number:
            print()
        _show_table(name, table)


def _describe(db: Database, table: str) -> dict[str, Any]:
    import holdfast

    return {
        "columns": db.get_columns(table),
        "foreign_keys": holdfast.inspect(db).get_foreign_keys(table),
        "indexes": [index for index in db.list_indexes(table) if not index["primary_key"]],
    }


def _references(described: dict[str, Any]) -> dict[str, str]:
    return {
        column: f"{key['references']}({', '.join(key['keys'])})"
        for key in described["foreign_keys"]
        for column in key["columns"]
    }


def _column_rows(name: str, described: dict[str, Any]) -> list[list[Any]]:
    references = _references(described)
    return [
        [
            *(name, column["name"], column["type"], column["nullable"], column["default"]),
            *(column["primary_key"], references.get(column["name"])),
        ]
        for column in described["columns"]
    ]


def _show_table(name: str, described: dict[str, Any]) -> None:
    references = {column: f"-> {target}" for column, target in _references(described).items()}
    show(
        ["column", "type", "null", "default", "key"],
        [
            (
                column["name"],
                column["type"],
                "yes" if column["nullable"] else "no",
                column["default"] if column["default"] is not None else "",
                " ".join(
                    filter(None, ["primary" * column["primary_key"], references.get(column["name"], "")])
                ),
            )
            for column in described["columns"]
        ],
        title=name,
    )
    for index in described["indexes"]:
        kind = "unique index" if index["unique"] else "index"
        print(printable(f"{kind} {index['name']} ({', '.join(map(str, index['columns']))})"))


def summary(url: opening.URL, as_json: AsJson = False) -> None:
    """Print the database at a glance: size, tables, columns, row counts.

    $ holdfast summary runs.db
    """
    with opening.to_read(url) as db:
        found = db.summary
    if as_json:
        write_json(asdict(found))
    else:
        print(found)


def inspect(
    url: opening.URL,
    table: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TABLE]...", help="Some tables; without any, all.", show_default=False),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(min=1, help="The most rows to read of each table.", show_default="up to 100,000"),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="About how long it may take.")] = 10.0,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Say what tables are made of and what their columns hold; it only reads.

    $ holdfast inspect runs.db runs --seconds 2
    """
    import holdfast

    with opening.to_read(url) as db:
        found = holdfast.inspect(db).profile(table or None, rows=rows, seconds=seconds)
    if as_json:
        write_json([asdict(one) for one in found])
    elif as_csv:
        _write_profile(found)
    else:
        _show_profile(found)


def _write_profile(found: Profile) -> None:
    """One row a column, with the rows of its table and how many of them were read."""
    from holdfast.inspection.profile import ColumnProfile

    names = [field.name for field in fields(ColumnProfile)]
    rows = [
        [table.name, table.rows, table.read, *(nested(getattr(column, name)) for name in names)]
        for table in found
        for column in table.columns
    ]
    write_csv(["table", "rows", "read", *names], rows)


def _show_profile(found: Profile) -> None:
    from holdfast.inspection import profiletext

    if not sys.stdout.isatty() or profiletext.is_narrow():
        print(found)
        return
    print(profiletext.headline(found))
    for one in found:
        print()
        show(profiletext.HEADER, profiletext.rows(one), title=profiletext.title(one))
        for line in profiletext.notes(one):
            print(line)


class Shown(StrEnum):
    """Columns that a diagram shows."""

    keys = "keys"
    all = "all"
    none = "none"


class Group(StrEnum):
    """What puts tables into one box."""

    prefix = "prefix"
    connected = "connected"


def diagram(
    url: opening.URL,
    path: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="The picture: .png, .svg, .mmd or .dot.", show_default=False),
    ],
    around: Annotated[
        list[str] | None,
        typer.Option(metavar="TABLE", help="Draw what is near it; may be repeated.", show_default=False),
    ] = None,
    depth: Annotated[int, typer.Option(min=0, help="How many references away is near.")] = 1,
    table: Annotated[
        list[str] | None,
        typer.Option(metavar="TABLE", help="Draw this table; may be repeated.", show_default=False),
    ] = None,
    columns: Annotated[Shown, typer.Option(help="The columns to show.")] = Shown.keys,
    group: Annotated[
        Group | None,
        typer.Option(help="One box for tables of one prefix, or that are connected.", show_default=False),
    ] = None,
) -> None:
    """Draw the tables and their foreign keys, or those around some of them.

    $ holdfast diagram runs.db schema.svg
    $ holdfast diagram shop.db orders.svg --around orders --depth 2
    """
    import holdfast

    with opening.to_read(url) as db:
        holdfast.inspect(db).generate_schema_diagram(
            path,
            table or None,
            around=around or None,
            depth=depth,
            columns=columns.value,
            group=group.value if group else None,
        )
    print(f"wrote {path}")


COMMANDS = (tables, schema, summary, inspect, diagram)
