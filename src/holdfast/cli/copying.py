"""The command that copies a database into another one."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import opening
from holdfast.cli.output import AsJson, show, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.database import Database
    from holdfast.transfer.report import CopyReport, LeftBehind


def copy(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="What is read: a path or a URL.", show_default=False)
    ],
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="What the tables are added to: a path or a URL.", show_default=False
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and write nothing.")] = False,
    tables: Annotated[
        str | None, typer.Option(metavar="A,B", help="Only these tables, by their names.")
    ] = None,
    exclude: Annotated[
        str | None, typer.Option(metavar="A,B", help="All tables but these, by their names.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Copy tables into another database, on either engine: all or none, and proven equal.

    $ holdfast copy runs.db postgresql://me@host/lab --dry-run
    """
    import holdfast

    with opening.to_read(source) as origin, _target(target, dry_run) as destination:
        report = holdfast.copy_database(
            origin, destination, names_of(tables), dry_run, exclude=names_of(exclude) or ()
        )
    if as_json:
        write_json(asdict(report))
    else:
        _show(report)
    if report.refused:
        raise typer.Exit(1)


def names_of(text: str | None) -> list[str] | None:
    """Names that are given as one text, with commas between them."""
    return [name.strip() for name in text.split(",")] if text else None


def _show(report: CopyReport) -> None:
    if report.is_dry_run:
        _show_plan(report)
    else:
        show(["table", "rows"], report.tables.items())
    _show_items("left behind", report.left_behind)
    _show_items("cannot be copied", report.refused)
    if report.is_dry_run:
        print("nothing was written")
    else:
        print(f"copied {sum(report.tables.values())} rows, counted and compared")


def _target(url: str, dry_run: bool) -> Database:
    """The target; a dry run neither creates a file nor opens one for writing."""
    import holdfast
    from holdfast.settings import resolve

    if not dry_run:
        return opening.to_write(url)
    path = resolve(url).path
    return opening.to_read(url) if path is None or path.exists() else holdfast.connect(":memory:")


def _show_plan(report: CopyReport) -> None:
    show(
        ["table", "column", report.source, report.target],
        [[item.table, item.column, item.source, item.target or "-"] for item in report.columns],
        title=f"{len(report.tables)} tables, {sum(report.tables.values())} rows",
    )


def _show_items(heading: str, items: Sequence[LeftBehind]) -> None:
    if items:
        show([heading, "name", "reason"], [[item.kind, item.name, item.reason] for item in items])


COMMANDS = (copy,)
