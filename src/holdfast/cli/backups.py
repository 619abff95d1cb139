"""Commands for backups: backup, verify, restore, backups, prune, schedule."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli import opening
from holdfast.cli.output import AsCsv, AsJson, write
from holdfast.errors import BackupCorrupt, BackupError, ConfigurationError, Error, InvalidQuery

if TYPE_CHECKING:
    from holdfast.backup.listing import Backup
    from holdfast.backup.report import Report
    from holdfast.database import Database

File = Annotated[
    str,
    typer.Argument(metavar="FILE", help="The backup: a path, or a URL such as s3://...", show_default=False),
]


Every = Annotated[
    str | None,
    typer.Option(
        metavar="WHEN", help="A time of day, as 02:00, or a span: 90m, 6h, 1d, 1w.", show_default=False
    ),
]
Extension = Annotated[
    str | None,
    typer.Option(
        metavar="EXT", help="The kind of backup, as .hfz; without it the engine's own.", show_default=False
    ),
]
KeepLast = Annotated[int, typer.Option(help="Keep the last ones.")]
KeepDaily = Annotated[int, typer.Option(help="Keep the newest of each of so many days.")]
KeepWeekly = Annotated[int, typer.Option(help="... of so many weeks.")]
KeepMonthly = Annotated[int, typer.Option(help="... of so many months.")]
KeepYearly = Annotated[int, typer.Option(help="... of so many years.")]
Identity = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The file with the secret key of an encrypted .hfz."),
]
Recipients = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY", help="Encrypt an .hfz for this public key of age; may be repeated."),
]
Folder = Annotated[
    str,
    typer.Argument(metavar="FOLDER", help="Where the backups are: a path, or a URL.", show_default=False),
]


def backup(
    url: opening.URL,
    path: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="The backup to write; with --every the folder.", show_default=False
        ),
    ],
    table: Annotated[str | None, typer.Option(metavar="TABLE", help="Only this table.")] = None,
    every: Every = None,
    keep_last: KeepLast = 0,
    keep_daily: KeepDaily = 0,
    keep_weekly: KeepWeekly = 0,
    keep_monthly: KeepMonthly = 0,
    keep_yearly: KeepYearly = 0,
    extension: Extension = None,
    recipient: Recipients = None,
    identity: Identity = None,
) -> None:
    """Write a backup of the whole database; readers and writers go on.

    With --every it goes on until it is interrupted: it makes each backup when it is due, proves it, and
    removes those that no --keep option keeps.

    $ holdfast backup runs.db runs.hfz
    $ holdfast backup runs.db nightly --every 02:00 --keep-daily 7
    """
    keep = _keep(keep_last, keep_daily, keep_weekly, keep_monthly, keep_yearly)
    if every is None:
        if keep:
            raise InvalidQuery(
                "the --keep options need --every", hint="holdfast prune FOLDER removes old ones"
            )
        keys = recipient or None
        with opening.to_read(url) as db:
            made = (
                db.backup_table(table, path, recipients=keys)
                if table is not None
                else db.backup_database(path, recipients=keys)
            )
            print(f"wrote {made}")
        return
    if table is not None:
        raise InvalidQuery("--every makes backups of the whole database", hint="leave --table out")
    options = {**keep, "extension": extension, **_key(recipient, identity)}
    _make_and_watch(url, path, every, options)


def _key(recipients: list[str] | None, identity: Path | None) -> dict[str, Any]:
    return {"recipients": recipients or None, "identity": identity}


def _make_and_watch(url: str, folder: str, every: str, options: dict[str, Any]) -> None:
    def tell(result: Path | Error) -> None:
        is_made = isinstance(result, Path)
        print(
            f"{'wrote and proved' if is_made else 'failed:'} {result}",
            file=sys.stdout if is_made else sys.stderr,
            flush=True,
        )

    with opening.to_change(url) as db:
        moment = _local(db.next_backup(folder, every, identity=options["identity"]))
        print(f"backups go to {folder}; the next is due {moment}", flush=True)
        db.schedule_backups(folder, every, tell=tell, **options)


def _local(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def _keep(last: int, daily: int, weekly: int, monthly: int, yearly: int) -> dict[str, Any]:
    given = {"last": last, "daily": daily, "weekly": weekly, "monthly": monthly, "yearly": yearly}
    return {f"keep_{name}": count for name, count in given.items() if count}


def backups(
    folder: Folder, identity: Identity = None, as_json: AsJson = False, as_csv: AsCsv = False
) -> None:
    """List the backups in a folder, the newest first, each checked to its last byte.

    $ holdfast backups nightly
    """
    from holdfast.backup.listing import list_backups
    from holdfast.backup.remote import place_of

    found = list_backups(place_of(folder), identity)
    columns = ["backup", "made", "database", "tables", "rows", "bytes", "state"]
    rows = [
        [
            item.path.name,
            _made(item),
            item.database or None,
            len(item.tables) if item.ok else None,
            sum(item.tables.values()) if item.ok else None,
            item.size,
            "ok" if item.ok else "encrypted" if item.is_closed else "DAMAGED",
        ]
        for item in found
    ]
    write(columns, rows, as_json=as_json, as_csv=as_csv)
    if damaged := [item for item in found if item.problem]:
        raise BackupCorrupt(str(damaged[0].problem), hint="keep it apart; it restores nothing")


def prune(
    folder: Folder,
    keep_last: KeepLast = 0,
    keep_daily: KeepDaily = 0,
    keep_weekly: KeepWeekly = 0,
    keep_monthly: KeepMonthly = 0,
    keep_yearly: KeepYearly = 0,
    identity: Identity = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Remove the backups in a folder that no rule keeps; damaged ones and the newest sound one stay.

    Encrypted ones count with the key that opens them, and stay without it.

    $ holdfast prune nightly --keep-last 5 --keep-daily 7 --dry-run
    """
    from holdfast.backup.remote import place_of
    from holdfast.backup.retention import Keep, prune_backups

    keep = Keep(keep_last, keep_daily, keep_weekly, keep_monthly, keep_yearly)
    pruned = prune_backups(place_of(folder), keep, dry_run=dry_run, identity=identity)
    rows = [[item.path.name, _made(item), "kept: " + ", ".join(reasons)] for item, reasons in pruned.kept]
    what = "would be removed" if dry_run else "removed"
    rows += [[item.path.name, _made(item), what] for item in pruned.removed]
    rows += [[item.path.name, _made(item), "damaged, left alone"] for item in pruned.damaged]
    rows += [[item.path.name, _made(item), "encrypted, left alone"] for item in pruned.closed]
    write(["backup", "made", "what"], rows, as_json=as_json, as_csv=as_csv)


def _made(item: Backup) -> str | None:
    return _local(item.created) if item.created else None


def schedule(
    url: opening.URL,
    folder: Folder,
    every: Annotated[
        str, typer.Option(metavar="WHEN", help="A time of day, as 02:00, or a span: 90m, 6h, 1d, 1w.")
    ] = "02:00",
    keep_last: KeepLast = 0,
    keep_daily: KeepDaily = 0,
    keep_weekly: KeepWeekly = 0,
    keep_monthly: KeepMonthly = 0,
    keep_yearly: KeepYearly = 0,
    extension: Extension = None,
    recipient: Recipients = None,
    identity: Identity = None,
    cron: Annotated[bool, typer.Option("--cron", help="Print a line for crontab.")] = False,
    systemd: Annotated[bool, typer.Option("--systemd", help="Print a service and its timer.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only say whether one is overdue; exit code 1 if so.")
    ] = False,
) -> None:
    """Make the backup that is due, if one is, prove it and prune; or print what runs this command in time.

    A backup that was missed is made up for the next time that this runs.

    $ holdfast schedule runs.db nightly --every 6h --keep-daily 7
    $ holdfast schedule runs.db nightly --cron
    """
    keep = _keep(keep_last, keep_daily, keep_weekly, keep_monthly, keep_yearly)
    if cron or systemd:
        given = {"extension": extension, "identity": identity and identity.resolve()}
        options = {**keep, **{name: value for name, value in given.items() if value}}
        command = _again(url, folder, every, options) + [f"--recipient={one}" for one in recipient or ()]
        _print_schedule(folder, every, command, cron=cron, systemd=systemd)
        return
    with opening.to_change(url) as db:
        moment = db.next_backup(folder, every, identity=identity)
        if check and moment <= datetime.now(UTC):
            raise BackupError(
                f"a backup is overdue since {_local(moment)}", hint="without --check it is made"
            )
        path = (
            None
            if check
            else db.backup_if_due(folder, every, extension=extension, **keep, **_key(recipient, identity))
        )
        print(f"wrote and proved {path}" if path else f"the next backup is due {_local(moment)}")


def _print_schedule(folder: str, every: str, command: list[str], *, cron: bool, systemd: bool) -> None:
    from holdfast.backup.schedule import Every, cron_line, systemd_units

    texts = {"crontab": cron_line(Every.of(every), command) + "\n"} if cron else {}
    if systemd:
        name = re.sub(r"[^\w-]+", "-", Path(folder).name) or "database"
        texts |= systemd_units(Every.of(every), command, name)
    for title, text in texts.items():
        print(f"# {title}\n{text}", end="")


def _again(url: str, folder: str, every: str, options: dict[str, Any]) -> list[str]:
    """This command as another program calls it, with whole paths.

    Raises:
        ConfigurationError: if it would have to hold a password.
    """
    from holdfast.settings import resolve

    target = resolve(url)
    if target.password:
        raise ConfigurationError(
            "the URL holds a password, which would stand in the schedule",
            hint="put it into .pgpass or PGPASSWORD, or set HOLDFAST_URL there, and leave it out",
        )
    place = str(target.path.resolve()) if target.path else url
    given = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    command = [
        sys.executable,
        "-m",
        "holdfast",
        "schedule",
        place,
        folder if "://" in folder else str(Path(folder).resolve()),
    ]
    return [*command, f"--every={every}", *given]


def verify(url: opening.URL, path: File, identity: Identity = None) -> None:
    """Prove a backup by restoring it beside the database, which stays as it is.

    $ holdfast verify runs.db runs.hfz
    """
    # A PostgreSQL server proves it in a scratch database, which a read-only connection cannot create.
    with opening.to_change(url) as db:
        print(proven(db, path, identity))


def proven(db: Database, path: str | Path, identity: Path | None = None) -> Report:
    """Verify a backup.

    Raises:
        BackupCorrupt: if it is not what it says.
    """
    report = db.verify_backup(path, identity=identity)
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
    identity: Identity = None,
) -> None:
    """Put the tables of a backup in the place of those in the database, all or none.

    $ holdfast restore runs.db runs.hfz --dry-run
    $ holdfast restore runs.db runs.hfz --into copy.db
    """
    if into is None and not dry_run and opening.is_new_file(url):
        # So that the file is there only if all of it is.
        url, into = ":memory:", url
    with opening.to_change(url) if dry_run else opening.to_write(url) as db:
        report = db.restore_database(
            path,
            into=into,
            table=table,
            dry_run=dry_run,
            keep_old=not no_keep,
            unverified=unverified,
            identity=identity,
        )
    print(report)
    if dry_run:
        print("nothing was changed")


COMMANDS = (backup, verify, restore, backups, prune, schedule)
