"""Commands that keep a database in shape, and say how it does."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from holdfast.cli import opening
from holdfast.cli.output import AsCsv, AsJson, panel, write, write_json
from holdfast.cli.rows import Table, split


def vacuum(url: opening.URL) -> None:
    """Give space that nothing uses back.

    $ holdfast vacuum runs.db
    """
    with opening.to_change(url) as db:
        before = db.get_stats()["size"]
        db.vacuum()
        print(f"{before:,} bytes before, {db.get_stats()['size']:,} bytes now")


def analyze(url: opening.URL) -> None:
    """Renew the statistics that plans are made from.

    $ holdfast analyze runs.db
    """
    with opening.to_change(url) as db:
        db.analyze()
    print("the statistics are those of now")


def optimize(url: opening.URL) -> None:
    """Do what the engine recommends from time to time.

    $ holdfast optimize runs.db
    """
    with opening.to_change(url) as db:
        db.optimize()
    print("done")


def delete_duplicates(
    url: opening.URL,
    table: Table,
    columns: Annotated[
        str | None, typer.Option(metavar="A,B", help="Rows are alike in these. [default: all]")
    ] = None,
    keep: Annotated[
        str, typer.Option(metavar="first|last", help="Which of them stays, by its key.")
    ] = "first",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count them.")] = False,
) -> None:
    """Remove rows that are alike, but one of each; NULLs equal each other.

    $ holdfast delete-duplicates runs.db runs --columns model,acc --dry-run
    """
    with opening.to_read(url) if dry_run else opening.to_change(url) as db:
        count = db.delete_duplicates(table, split(columns), keep, dry_run)
    print(f"{count:,} row{'' if count == 1 else 's'} " + ("would be removed" if dry_run else "removed"))


def slow_queries(
    url: opening.URL,
    limit: Annotated[int, typer.Option(min=1, help="The most to print.")] = 20,
    plans: Annotated[bool, typer.Option("--plans", help="Say how each is run now.")] = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Print the statements that took the most time together, as pg_stat_statements counted them.

    $ holdfast slow-queries postgresql://me@host/lab --plans
    """
    with opening.to_read(url) as db:
        found = db.slow_queries(limit, plans=plans, source="server")
    if as_json or as_csv:
        from holdfast.tuning.slow_queries import COLUMNS

        rows = [tuple(query.record().values()) for query in found]
        write(COLUMNS, rows, as_json=as_json, as_csv=as_csv)
    else:
        print(found)


def health(url: opening.URL, as_json: AsJson = False) -> None:
    """Say whether a database answers, and how; exit code 1 if not.

    $ holdfast health postgresql://me@host/lab
    """
    with opening.to_read(url) as db:
        found = db.health()
    if as_json:
        write_json(asdict(found))
    else:
        panel("Health", [(name.replace("_", " "), str(value)) for name, value in asdict(found).items()])
    if not found.is_ok:
        raise typer.Exit(1)


COMMANDS = (vacuum, analyze, optimize, delete_duplicates, slow_queries, health)
