"""Commands for backups: backup, verify, restore."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import opening
from holdfast.errors import BackupCorrupt

if TYPE_CHECKING:
    from holdfast.backup.report import Report
    from holdfast.database import Database

File = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.", show_default=False)]


def backup(url: opening.URL, path: File) -> None:
    """Write a backup of the whole database; readers and writers go on."""
    with opening.to_read(url) as db:
        written = db.backup_database(path)
    print(f"wrote {written}")


def verify(url: opening.URL, path: File) -> None:
    """Prove a backup by restoring it beside the database, which stays as it is."""
    # A PostgreSQL server proves it in a scratch database, which a read-only connection cannot create.
    with opening.to_change(url) as db:
        print(proven(db, path))


def proven(db: Database, path: Path) -> Report:
    """Verify a backup.

    Raises:
        BackupCorrupt: if it is not what it says.
    """
    report = db.verify_backup(path)
    if not report.ok:
        raise BackupCorrupt("; ".join(report.problems), hint="keep it apart, and make another backup")
    return report


def restore(
    url: opening.URL,
    path: File,
    into: Annotated[
        str | None, typer.Option(metavar="URL", help="Make a new database of it, and leave this one alone.")
    ] = None,
    table: Annotated[str | None, typer.Option(metavar="TABLE", help="Only this table.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Prove the backup, and say what would be replaced.")
    ] = False,
    no_keep: Annotated[
        bool, typer.Option("--no-keep", help="Do not back up first what is replaced.")
    ] = False,
    unverified: Annotated[
        bool, typer.Option("--unverified", help="Take a file that another program wrote.")
    ] = False,
) -> None:
    """Put the tables of a backup in the place of those in the database, all or none."""
    if into is None and not dry_run and opening.is_new_file(url):
        # So that the file is there only if all of it is.
        url, into = ":memory:", url
    with opening.to_change(url) if dry_run else opening.to_write(url) as db:
        report = db.restore_database(
            path, into=into, table=table, dry_run=dry_run, keep_old=not no_keep, unverified=unverified
        )
    print(report)
    if dry_run:
        print("nothing was changed")


COMMANDS = (backup, verify, restore)
