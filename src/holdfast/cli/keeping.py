"""Commands for a memory as a whole: holdfast memory copy, export, reembed and erase."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.memories import Agent, Db, Name, User, looked_into, opened, refuse_missing
from holdfast.cli.output import AsCsv, AsJson, write, write_json
from holdfast.errors import DatabaseError, NotFoundError


def export(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="Ends in .jsonl, .jsonl.gz, .jsonl.zst or .hfz.")
    ],
    db: Db = "agent.db",
    name: Name = "memory",
    user: User = "default",
    agent: Agent = None,
) -> None:
    """Write all of a user's memories with vectors and history into a file that import takes.

    $ holdfast memory export notes.jsonl
    """
    from holdfast.memory import export_memory

    with opened(db, name, user, agent) as memory:
        print(f"wrote {export_memory(memory, path)} to {path}")


def copy(
    target: Annotated[
        str, typer.Argument(metavar="URL", help="Where to: a path, or a URL.", show_default=False)
    ],
    to_name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The name there. [default: the same]")
    ] = None,
    to_user: Annotated[
        str | None, typer.Option(metavar="USER", help="Whose they are there. [default: the same]")
    ] = None,
    db: Db = "agent.db",
    name: Name = "memory",
    user: User = "default",
    agent: Agent = None,
    as_json: AsJson = False,
) -> None:
    """Copy all of a user's memories to another place with vectors and history, and prove it.

    $ holdfast memory copy postgresql://me@host/lab
    """
    from holdfast.memory import copy_memory

    with (
        opened(db, name, user, agent) as source,
        opened(target, to_name or name, to_user or user, None, write=True) as there,
    ):
        moved = copy_memory(source, there)
    if as_json:
        write_json(asdict(moved))
    else:
        print(f"copied {moved}; read back and compared")


def reembed(
    embedder: Annotated[str, typer.Argument(metavar="EMBEDDER", help="The new one, as for --embedder.")],
    least: Annotated[
        float, typer.Option(metavar="SHARE", help="Only if so much of the old answers is found again.")
    ] = 0.0,
    drop_old: Annotated[bool, typer.Option("--drop-old", help="Remove the old vectors.")] = False,
    no_switch: Annotated[bool, typer.Option("--no-switch", help="Only write and compare.")] = False,
    db: Db = "agent.db",
    name: Name = "memory",
    user: User = "default",
    agent: Agent = None,
    as_json: AsJson = False,
) -> None:
    """Make new vectors by another model while the old ones serve, compare, and go over to them.

    What was cut off goes on where it was.

    $ holdfast memory reembed sentence-transformers:all-MiniLM-L6-v2
    """
    from holdfast.memory import embed
    from holdfast.memory import reembed as make_anew

    with looked_into(db) as database:
        refuse_missing(database, db, name)
    with opened(db, name, user, agent, write=True) as memory:
        report = make_anew(
            memory, embed.named(embedder), least=least, switch=not no_switch, drop_old=drop_old
        )
    if as_json:
        write_json(asdict(report))
    else:
        print(report)


def erase(
    user: Annotated[str, typer.Argument(metavar="USER", help="Whose memories.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, it only says what there is.")] = False,
    db: Db = "agent.db",
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Remove all that any memory here has of a user, with history and vectors, and prove it. Backups stay.

    $ holdfast memory erase ada --yes
    """
    import holdfast.memory
    from holdfast.memory import tables

    with looked_into(db) as database:
        layouts = tables.stores(database._executor)
        if not layouts:
            raise NotFoundError("there is no memory here", hint="check --db; nothing was changed")
        if not yes:
            rows = [[layout.table, database.count(layout.table, {"user_id": user})] for layout in layouts]
            write(["table", "memories"], rows, as_json=as_json, as_csv=as_csv)
            typer.echo("nothing was changed; --yes removes them", err=True)
            return
    options = {"user_id": user, "name": layouts[0].name}
    with holdfast.memory.get_storage_connector(layouts[0].kind, db, **options) as memory:  # type: ignore[arg-type]
        report = memory.erase(user)
    if as_json:
        write_json(asdict(report))
    else:
        rows = [[name, count, report.left[name]] for name, count in report.removed.items()]
        write(["table", "removed", "left"], rows, as_json=False, as_csv=as_csv)
    if not report.is_clean:
        raise DatabaseError(
            f"something may be left: {report.unfinished or 'a row was written meanwhile'}",
            hint="run it again",
        )


COMMANDS = (copy, export, reembed, erase)
