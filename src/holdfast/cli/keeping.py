"""Commands for a memory as a whole: holdfast memory copy, export, reembed and erase."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.memory import Agent, Db, Name, User, _looked_into, _memory, _refuse_missing
from holdfast.cli.output import AsJson, show, write_json
from holdfast.errors import DatabaseError, NotFoundError

if TYPE_CHECKING:
    from holdfast.database import Database


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

    with _memory(db, name, user, agent) as memory:
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
        _memory(db, name, user, agent) as source,
        _memory(target, to_name or name, to_user or user, None, write=True) as there,
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

    with _looked_into(db) as database:
        _refuse_missing(database, db, name)
    with _memory(db, name, user, agent, write=True) as memory:
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
) -> None:
    """Remove all that any memory here has of a user, with history and vectors, and prove it. Backups stay.

    $ holdfast memory erase ada --yes
    """
    import holdfast.memory
    from holdfast.memory import tables

    with _looked_into(db) as database:
        layouts = tables.stores(database._executor)
        if not layouts:
            raise NotFoundError("there is no memory here", hint="check --db; nothing was changed")
        if not yes:
            _show_erasable(database, user, [layout.table for layout in layouts])
            return
    options = {"user_id": user, "name": layouts[0].name}
    with holdfast.memory.get_storage_connector(layouts[0].kind, db, **options) as memory:  # type: ignore[arg-type]
        report = memory.erase(user)
    if as_json:
        write_json(asdict(report))
    else:
        show(
            ["table", "removed", "left"], [[name, n, report.left[name]] for name, n in report.removed.items()]
        )
    if not report.is_clean:
        raise DatabaseError(
            f"something may be left: {report.unfinished or 'a row was written meanwhile'}",
            hint="run it again",
        )


def _show_erasable(database: Database, user: str, names: list[str]) -> None:
    rows = [[name, database.count(name, {"user_id": user})] for name in names]
    show(["table", "memories"], rows)
    typer.echo("nothing was changed; --yes removes them", err=True)


COMMANDS = (copy, export, reembed, erase)
