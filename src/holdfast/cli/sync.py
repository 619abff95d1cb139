"""Commands for two-way sync: holdfast sync LOCAL HUB, and how it stands."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from holdfast.cli import opening
from holdfast.cli.copying import names_of
from holdfast.cli.mistakes import one_line
from holdfast.cli.output import AsCsv, AsJson, show, write_json, write_records
from holdfast.errors import ConnectionFailed, ConnectionLost, DatabaseBusy, InvalidQuery, SyncError

if TYPE_CHECKING:
    from holdfast.database import Database
    from holdfast.sync import Report, Sync

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_PASSING = (ConnectionFailed, ConnectionLost, DatabaseBusy)


class _RunFirst(TyperGroup):
    """``holdfast sync LOCAL HUB`` is ``holdfast sync run LOCAL HUB``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line."""
        if args and args[0] not in {*self.commands, "-h", "--help"}:
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="sync",
    cls=_RunFirst,
    help="Two-way sync with a hub: holdfast sync LOCAL HUB, and how it stands.\n\n"
    "The word run may be left out.",
    no_args_is_help=True,
)

Local = Annotated[
    str, typer.Argument(metavar="LOCAL", help="The database here: a path or a URL.", show_default=False)
]
Hub = Annotated[
    str, typer.Argument(metavar="HUB", help="Where all meet: a path or a URL.", show_default=False)
]
Policy = Annotated[
    str, typer.Option(metavar="POLICY", help="Who wins where both changed the same: hub or delete_wins.")
]


@contextmanager
def _sync(
    local: str,
    hub: str,
    policy: str,
    tables: str | None = None,
    opener: Callable[[str], AbstractContextManager[Database]] = opening.to_change,
) -> Iterator[Sync]:
    from holdfast.sync import Sync

    with opener(local) as here, opener(hub) as there:
        yield Sync(here, there, names_of(tables), policy)


def run(
    local: Local,
    hub: Hub,
    tables: Annotated[
        str | None, typer.Option(metavar="A,B", help="Sync these tables from now on; by default all.")
    ] = None,
    policy: Policy = "hub",
    direction: Annotated[
        str, typer.Option(metavar="WAY", help="both, or one half alone: push or pull.")
    ] = "both",
    watch: Annotated[
        str | None,
        typer.Option(metavar="SPAN", help="Go on until interrupted, each 30s, 5m or 1h.", show_default=False),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what the first run would do; no row is written.")
    ] = False,
    rebase: Annotated[
        bool, typer.Option("--rebase", help="Join a hub that was restored, or is another one, as it is.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Send what has changed here, and take in what has changed at the hub.

    The first time, both sides begin to note changes, and a table that one side lacks is created there. It
    may be stopped at any moment and run twice at once. The exit code is 1 if a row or a table was left out.

    $ holdfast sync run laptop.db postgresql://me@host/lab --tables runs,notes
    $ holdfast sync run laptop.db postgresql://me@host/lab --watch 30s
    """
    pause = None if watch is None else _seconds(watch)
    with _sync(local, hub, policy, tables, opening.to_fill) as sync:
        if rebase:
            sync.rebase()
        if tables is not None or not sync.is_enabled:
            sync.enable()
        if dry_run:
            _show_plan(sync, as_json)
            return
        report = _once(sync, direction, as_json, is_watching=pause is not None)
        while pause is not None:
            _wait(pause)
            report = _once(sync, direction, as_json, is_watching=True)
    if report is not None and (report.quarantined or report.paused):
        raise typer.Exit(1)


def _seconds(span: str) -> float:
    """Read ``"30s"``, ``"5m"``, ``"1h"`` or ``"1d"``."""
    found = re.fullmatch(r"([1-9]\d{0,5})([smhd])", span)
    if found is None:
        raise InvalidQuery(f"--watch {span!r} is no span", hint="such as 30s, 5m or 1h")
    return float(int(found[1]) * _UNITS[found[2]])


def _wait(seconds: float) -> None:
    import time

    time.sleep(seconds)


def _once(sync: Sync, direction: str, as_json: bool, *, is_watching: bool) -> Report | None:
    """One run, told; a hub that is away for a while does not end the watching."""
    from holdfast.core.progress import track

    try:
        with track("sync") as advance:
            report = sync.run(direction, progress=advance)
    except _PASSING as exc:
        if not is_watching:
            raise
        print(f"Error: {one_line(exc)}", file=sys.stderr, flush=True)
        return None
    if as_json:
        print(json.dumps(report.as_dict(), ensure_ascii=False), flush=True)
    else:
        print(report, flush=True)
        if report.quarantined or report.paused:
            print("holdfast sync status LOCAL HUB shows what was left out, and why", file=sys.stderr)
    return report


def _show_plan(sync: Sync, as_json: bool) -> None:
    plans = [asdict(plan) for plan in sync.plan()]
    if as_json:
        write_json(plans)
    else:
        show(["table", "here only", "hub only", "alike", "different"], [plan.values() for plan in plans])
        print("no row was written")


def status(
    local: Local,
    hub: Hub,
    policy: Policy = "hub",
    check: Annotated[
        bool, typer.Option("--check", help="Exit code 1 if anything waits, or was left out.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what waits here and at the hub, by table, and what was left out with the reason.

    $ holdfast sync status laptop.db postgresql://me@host/lab
    """
    with _sync(local, hub, policy) as sync:
        found = sync.status()
    if as_json:
        write_json({**asdict(found), "is_quiet": found.is_quiet})
    else:
        names = sorted({*found.pending, *found.behind, *found.paused})
        show(
            ["table", "to send", "to read", "paused"],
            [
                [name, found.pending.get(name), found.behind.get(name), found.paused.get(name)]
                for name in names
            ],
        )
        if found.quarantined:
            rows = [[row.table, _text(row.key), row.direction, row.reason] for row in found.quarantined]
            show(["table", "key", "way", "left out, since"], rows)
        print(f"{found.conflicts} conflicts, {found.lag} changes kept back by an open transaction at the hub")
    if check and (not found.is_quiet or found.quarantined or found.paused):
        raise typer.Exit(1)


def _text(values: Any) -> str:
    return ", ".join(map(str, values))


def conflicts(
    local: Local,
    hub: Hub,
    policy: Policy = "hub",
    all: Annotated[bool, typer.Option("--all", help="Those that were resolved, too.")] = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List the clashes that the policy decided, with what was not kept.

    $ holdfast sync conflicts laptop.db postgresql://me@host/lab
    """
    with _sync(local, hub, policy) as sync:
        found = sync.conflicts(all=all)
    if as_json or as_csv:
        from holdfast.sync.report import Conflict

        write_records(found, Conflict, as_csv=as_csv)
        return
    show(
        ["id", "at", "table", "key", "kind", "columns", "ours", "hub", "result", "resolved"],
        [
            [
                *(one.id, one.at, one.table, _text(one.key.values()), one.kind, _text(one.columns)),
                *(_part(image, one.columns) for image in (one.ours, one.hub, one.result)),
                one.resolved or "",
            ]
            for one in found
        ],
    )


def _part(image: Any, columns: tuple[str, ...]) -> str:
    """The columns of a row that clashed."""
    if image is None:
        return "no row"
    return ", ".join(f"{name}={image[name]}" for name in columns or image)


def resolve(
    local: Local,
    hub: Hub,
    conflict: Annotated[
        str, typer.Argument(metavar="ID", help="Which, as conflicts lists them.", show_default=False)
    ],
    keep: Annotated[
        str,
        typer.Option(metavar="WHAT", help="result (leave it), ours, hub, or a row as JSON, null for none."),
    ] = "result",
    policy: Policy = "hub",
) -> None:
    """Settle a conflict: leave what was decided, or write another row here, which the next run sends.

    $ holdfast sync resolve laptop.db postgresql://me@host/lab 0a1b2c --keep ours
    """
    with _sync(local, hub, policy) as sync:
        matches = [one for one in sync.conflicts(all=True) if one.id.startswith(conflict)]
        if len(matches) > 1:
            raise InvalidQuery(f"{conflict!r} is the beginning of {len(matches)} conflicts", hint="give more")
        sync.resolve(matches[0] if matches else conflict, _kept(keep))
    print("resolved; the next run sends it" if keep != "result" else "resolved")


def _kept(text: str) -> Any:
    if text in ("result", "ours", "hub"):
        return text
    try:
        row = json.loads(text)
    except ValueError:
        row = text
    if row is None or isinstance(row, dict):
        return row
    raise InvalidQuery(f"--keep {text!r} is none", hint="use result, ours, hub, null or a row as JSON")


def stop(
    local: Local,
    hub: Hub,
    policy: Policy = "hub",
    at_hub: Annotated[
        bool, typer.Option("--hub", help="For all replicas: the hub notes nothing any more.")
    ] = False,
) -> None:
    """End the sync here; rows stay as they are on both sides.

    $ holdfast sync stop laptop.db postgresql://me@host/lab
    """
    with _sync(local, hub, policy) as sync:
        if not sync.is_enabled:
            raise SyncError("the sync is not enabled", hint="there is nothing to stop")
        sync.disable(hub=at_hub)
    print("the sync has ended here" + (" and at the hub" if at_hub else ""))


COMMANDS = (run, status, conflicts, resolve, stop)
