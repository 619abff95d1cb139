"""Commands that shape the schema: tables, columns, keys and indexes."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from holdfast.cli import opening
from holdfast.cli.rows import DryRun, Table, split
from holdfast.engines.names import printable

Column = Annotated[str, typer.Argument(metavar="COLUMN", help="The column.", show_default=False)]
NewName = Annotated[str, typer.Argument(metavar="NAME", help="Its new name.", show_default=False)]


def create_table(
    url: opening.URL,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new table.", show_default=False)],
    columns: Annotated[
        list[str],
        typer.Argument(
            metavar="COLUMN=TYPE...", help="Its columns, with types of either engine.", show_default=False
        ),
    ],
    primary_key: Annotated[str | None, typer.Option(metavar="A,B", help="The columns of the key.")] = None,
    unique: Annotated[
        list[str] | None, typer.Option(metavar="A,B", help="Unique together; may be repeated.")
    ] = None,
    foreign_key: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=TABLE(KEY)", help="What a column refers to; may be repeated."),
    ] = None,
    if_not_exists: Annotated[
        bool, typer.Option("--if-not-exists", help="Leave one that is there as it is.")
    ] = False,
) -> None:
    """Create a table; a new SQLite file is made for it.

    $ holdfast create-table runs.db runs id="INTEGER PRIMARY KEY" model="TEXT NOT NULL" acc=REAL
    """
    with opening.to_fill(url) as db:
        db.create_table(
            name,
            dict(map(_pair, columns)),
            primary_key=split(primary_key),
            unique=[split(one) or [] for one in unique] if unique else None,
            foreign_keys=dict(map(_pair, foreign_key)) if foreign_key else None,
            if_not_exists=if_not_exists,
        )
    print(printable(f"{name} is there"))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise typer.BadParameter("a column is NAME=TYPE, such as acc=REAL")
    return name, value


def drop_table(url: opening.URL, table: Table, dry_run: DryRun = False) -> None:
    """Drop a table that no foreign key and no view depends on.

    $ holdfast drop-table runs.db runs --dry-run
    """
    with _changing(url, dry_run) as db:
        rows = db.count(table)
        db.drop_table(table)
    _say(f"dropped {table} with its {rows:,} rows", dry_run)


def rename_table(url: opening.URL, table: Table, name: NewName) -> None:
    """Give a table another name; foreign keys, indexes, triggers and views follow.

    $ holdfast rename-table runs.db runs trials
    """
    with opening.to_change(url) as db:
        db.rename_table(table, name)
    print(printable(f"{table} is {name} now"))


def add_column(
    url: opening.URL,
    table: Table,
    column: Column,
    type: Annotated[str, typer.Argument(metavar="TYPE", help="Such as 'TEXT NOT NULL DEFAULT 0'.")],
) -> None:
    """Add a column to a table; the rows that are there take its default.

    $ holdfast add-column runs.db runs seconds "REAL DEFAULT 0"
    """
    with opening.to_change(url) as db:
        db.add_column(table, column, type)
    print(printable(f"added {table}.{column}"))


def drop_column(url: opening.URL, table: Table, column: Column, dry_run: DryRun = False) -> None:
    """Drop a column with the indexes and constraints it is part of.

    $ holdfast drop-column runs.db runs seconds --dry-run
    """
    with _changing(url, dry_run) as db:
        db.drop_column(table, column)
    _say(f"dropped {table}.{column}", dry_run)


def rename_column(url: opening.URL, table: Table, column: Column, name: NewName) -> None:
    """Give a column another name; keys, indexes, triggers and views follow.

    $ holdfast rename-column runs.db runs acc accuracy
    """
    with opening.to_change(url) as db:
        db.rename_column(table, column, name)
    print(printable(f"{table}.{column} is {name} now"))


def alter_column(
    url: opening.URL,
    table: Table,
    column: Column,
    type: Annotated[str | None, typer.Option(metavar="TYPE", help="Its new type.")] = None,
    nullable: Annotated[
        bool | None, typer.Option("--nullable/--not-null", help="Whether it may be NULL.")
    ] = None,
    default: Annotated[str | None, typer.Option(metavar="SQL", help="Its new default.")] = None,
    no_default: Annotated[bool, typer.Option("--no-default", help="Take its default away.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Change a column's type, whether it may be NULL, or its default.

    $ holdfast alter-column runs.db runs acc --type NUMERIC --not-null --dry-run
    """
    how: dict[str, Any] = {"type": type, "nullable": nullable}
    if default is not None or no_default:
        how["default"] = default
    with _changing(url, dry_run) as db:
        db.alter_column(table, column, **how)
    _say(f"changed {table}.{column}", dry_run)


def add_foreign_key(
    url: opening.URL,
    table: Table,
    column: Annotated[str, typer.Argument(metavar="A,B", help="Its columns.", show_default=False)],
    references: Annotated[
        str, typer.Argument(metavar="OTHER", help="The table they refer to.", show_default=False)
    ],
    keys: Annotated[
        str | None, typer.Option(metavar="A,B", help="Its columns. [default: the primary key]")
    ] = None,
    on_delete: Annotated[
        str | None, typer.Option(metavar="ACTION", help="When what they refer to goes, as CASCADE.")
    ] = None,
    on_update: Annotated[
        str | None, typer.Option(metavar="ACTION", help="When its key changes, as CASCADE.")
    ] = None,
) -> None:
    """Make columns refer to another table.

    $ holdfast add-foreign-key runs.db runs lab labs --on-delete CASCADE
    """
    with opening.to_change(url) as db:
        db.add_foreign_key(
            table, split(column) or [], references, split(keys), on_delete=on_delete, on_update=on_update
        )
    print(printable(f"{table}({column}) refers to {references}"))


def create_index(
    url: opening.URL,
    table: Table,
    columns: Annotated[
        list[str], typer.Argument(metavar="COLUMN...", help="Its columns, in order.", show_default=False)
    ],
    unique: Annotated[bool, typer.Option("--unique", help="No two rows may be alike in them.")] = False,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="[default: idx_<table>_<columns>]")] = None,
    where: Annotated[str | None, typer.Option(metavar="SQL", help="Only of these rows.")] = None,
    method: Annotated[
        str | None, typer.Option(metavar="METHOD", help="Such as gin on PostgreSQL. [default: btree]")
    ] = None,
) -> None:
    """Create an index; the same one twice is harmless.

    $ holdfast create-index runs.db runs model acc
    """
    with opening.to_change(url) as db:
        print(printable(f"{db.create_index(table, columns, unique, name, where, method)} is there"))


def drop_index(
    url: opening.URL,
    name: Annotated[str, typer.Argument(metavar="INDEX", help="Its name.", show_default=False)],
    dry_run: DryRun = False,
) -> None:
    """Drop an index.

    $ holdfast drop-index runs.db idx_runs_model_acc
    """
    with _changing(url, dry_run) as db:
        db.drop_index(name)
    _say(f"dropped {name}", dry_run)


def disable_search(url: opening.URL, table: Table) -> None:
    """Take the search off a table; its rows stay as they are.

    $ holdfast disable-search runs.db notes
    """
    with opening.to_change(url) as db:
        db.disable_search(table)
    print(printable(f"{table} has no search"))


def _changing(url: str, dry_run: bool) -> Any:
    return opening.rehearsing(url) if dry_run else opening.to_change(url)


def _say(what: str, dry_run: bool) -> None:
    print(printable(what) + ("; taken back" if dry_run else ""))


COMMANDS = (
    create_table,
    drop_table,
    rename_table,
    add_column,
    drop_column,
    rename_column,
    alter_column,
    add_foreign_key,
    create_index,
    drop_index,
    disable_search,
)
