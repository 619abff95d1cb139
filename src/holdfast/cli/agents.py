"""`holdfast agents`: the database of an application of agents, and a project's own tables in it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli import output
from holdfast.errors import ConfigurationError, MigrationError

if TYPE_CHECKING:
    from holdfast.agents.migrate import Done
    from holdfast.agents.project import Project
    from holdfast.database import Database

app = typer.Typer(name="agents", no_args_is_help=True, help="The database of an application of agents.")
migrations = typer.Typer(no_args_is_help=True, help="Bring the schema to a revision, and back.")
app.add_typer(migrations, name="migrate")

URL = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="The database; by default that of .env and the environment."),
]
Folder = Annotated[
    Path, typer.Option("--project", metavar="FOLDER", help="Where the project's own tables are.")
]
NoBackup = Annotated[bool, typer.Option("--no-backup", help="Change it without a backup.")]
Locks = Annotated[
    float, typer.Option("--lock-timeout", metavar="SECONDS", help="How long a statement waits for a lock.")
]
Retries = Annotated[int, typer.Option("--retries", help="How often that is tried.")]
AsJson = output.AsJson
AsCsv = output.AsCsv
HERE = Path()


def _project(folder: Path) -> Project:
    from holdfast.agents.project import Project

    return Project.at(folder)


def _open(url: str | None) -> Database:
    from holdfast.database import open_database

    return open_database(url, {})


def _say(line: str) -> None:
    print(line, file=sys.stderr if line.startswith("warning: ") else sys.stdout)


def _migrated(verb: Callable[..., Done], to: str, url: str | None, project: Path, **how: Any) -> None:
    with _open(url) as db:
        done = verb(db, to, project=_project(project), tell=_say, **how)
    if not done.revisions:
        print("nothing to do: the database is there already")


@migrations.command()
def upgrade(
    to: Annotated[
        str, typer.Argument(metavar="REVISION", help="By default all; or a branch, or app@+1.")
    ] = "heads",
    url: URL = None,
    project: Folder = HERE,
    no_backup: NoBackup = False,
    lock_timeout: Locks = 5.0,
    retries: Retries = 20,
) -> None:
    """Run the migrations that have not run yet; each is all or nothing.

    $ holdfast agents migrate upgrade
    """
    from holdfast.agents import migrate

    _migrated(migrate.upgrade, to, url, project, backup=not no_backup, locks=lock_timeout, retries=retries)


@migrations.command(context_settings={"ignore_unknown_options": True})
def downgrade(
    to: Annotated[
        str,
        typer.Argument(metavar="REVISION", help="base undoes ours, app@base yours; or app@-1."),
    ],
    url: URL = None,
    project: Folder = HERE,
    no_backup: NoBackup = False,
    lock_timeout: Locks = 5.0,
    retries: Retries = 20,
) -> None:
    """Undo migrations; what is in the tables that go is in the backup.

    $ holdfast agents migrate downgrade app@-1
    """
    from holdfast.agents import migrate

    _migrated(migrate.downgrade, to, url, project, backup=not no_backup, locks=lock_timeout, retries=retries)


@migrations.command()
def current(url: URL = None, project: Folder = HERE, as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """Say which revisions the database is at.

    $ holdfast agents migrate current --json
    """
    from holdfast.agents import migrate

    with _open(url) as db:
        _list(migrate.current(db, project=_project(project)), as_json, as_csv)


@migrations.command()
def history(
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="Say what is applied there.")
    ] = None,
    project: Folder = HERE,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List all revisions, the newest first.

    $ holdfast agents migrate history --url agents.db
    """
    from holdfast.agents import migrate

    if url is None:
        _list(migrate.history(project=_project(project)), as_json, as_csv)
        return
    with _open(url) as db:
        _list(migrate.history(project=_project(project), db=db), as_json, as_csv)


def _list(found: list[Any], as_json: bool, as_csv: bool) -> None:
    names = ["revision", "branch", "message", "applied"]
    rows = [[one.id, one.branch, one.message, one.applied] for one in found]
    if rows and rows[0][-1] is None and not (as_json or as_csv):
        names, rows = names[:-1], [row[:-1] for row in rows]
    if rows or as_json or as_csv:
        output.write(names, rows, as_json=as_json, as_csv=as_csv)
    else:
        print("no revision has run")


@migrations.command()
def check(url: URL = None, project: Folder = HERE) -> None:
    """Compare the database with the models, and name what differs; exit code 1 if anything does.

    $ holdfast agents migrate check
    """
    from holdfast.agents import drift

    with _open(url) as db:
        found = drift.check(db, project=_project(project))
    for line in found:
        print(line)
    if found:
        raise MigrationError(
            f"the database differs from the models in {len(found)} ways",
            hint="`holdfast agents migrate upgrade` runs what has not run; `migrate new` writes the rest",
        )
    print("the database is what the models say")


@migrations.command()
def sql(
    span: Annotated[
        str, typer.Argument(metavar="FROM:TO", help="Revisions, or the last one alone; by default all.")
    ] = "base:heads",
    dialect: Annotated[
        str | None,
        typer.Option("--dialect", metavar="KIND", help="sqlite or postgresql; by default the URL's."),
    ] = None,
    url: URL = None,
    project: Folder = HERE,
) -> None:
    """Print the SQL of migrations, without a connection.

    $ holdfast agents migrate sql --dialect postgresql
    """
    from holdfast.agents import offline
    from holdfast.settings import resolve

    kind = dialect or resolve(url).scheme.partition("+")[0]
    print(offline.sql(kind, span, project=_project(project)), end="")


@migrations.command()
def new(
    message: Annotated[str, typer.Argument(metavar="MESSAGE", help="What it does, in a few words.")],
    url: URL = None,
    project: Folder = HERE,
    empty: Annotated[bool, typer.Option("--empty", help="Write one to be filled by hand.")] = False,
) -> None:
    """Write a migration of what the project's models say and the database does not have yet.

    $ holdfast agents migrate new 'add a column for notes'
    """
    from holdfast.agents import revise

    with _open(url) as db:
        path = revise.new(db, message, project=_project(project), empty=empty)
    print(f"wrote {path}\nread it, then `holdfast agents migrate upgrade` runs it")


@app.command("new")
def new_project(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where; made if it is not there.")] = HERE,
) -> None:
    """Write compose.yaml and .env.example for a project; what is there already stays.

    $ holdfast agents new shop
    """
    from holdfast.agents.scaffold import scaffold

    written, kept = scaffold(folder)
    for path in written:
        print(f"wrote {path}")
    for path in kept:
        print(f"kept {path}, which was there")
    print("copy .env.example to .env, fill it, and call `holdfast agents init`")


@app.command()
def init(
    url: URL = None,
    project: Folder = HERE,
    wait: Annotated[float, typer.Option("--wait", metavar="SECONDS", help="How long to wait for it.")] = 60.0,
    no_backup: NoBackup = False,
) -> None:
    """Wait for the server, run the migrations, put the first data in, and say what was done.

    $ holdfast agents init --url agents.db
    """
    from holdfast.agents import start

    start.init(url, project=_project(project), wait=wait, backup=not no_backup, tell=_say)
    print("ready")


@app.command()
def serve(
    url: URL = None,
    host: Annotated[str, typer.Option("--host", help="The address it listens on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="The port it listens on.")] = 8000,
) -> None:
    """Answer over HTTP until it is interrupted; /docs describes the routes.

    $ holdfast agents serve --port 8000
    """
    from holdfast.agents import server
    from holdfast.agents.settings import load

    server.serve(load(url), host=host, port=port)


@app.command()
def bootstrap(url: URL = None, project: Folder = HERE, no_backup: NoBackup = False) -> None:
    """If migrations fail: create missing tables from the models, verify them, and note the revision.

    $ holdfast agents bootstrap --url agents.db
    """
    from holdfast.agents import bootstrap as straight

    with _open(url) as db:
        done = straight.bootstrap(db, project=_project(project), backup=not no_backup)
    if done.backup:
        print(f"backup: {done.backup}")
    print(f"created {', '.join(done.created)}" if done.created else "no table was missing")
    print("verified all tables; now at " + ", ".join(map(str, done.revisions)))


@app.command("new-table")
def new_table(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The table, such as recipes.")],
    fields: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FIELD:TYPE...", help="Such as title:str minutes:int:optional owner:users.id."
        ),
    ] = None,
    knowledge: Annotated[
        bool, typer.Option("--knowledge", help="With a text, searched by words and by meaning.")
    ] = False,
    memory: Annotated[bool, typer.Option("--memory", help="The same, each row a user's own.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Run the migration unasked.")] = False,
    url: URL = None,
    project: Folder = HERE,
    no_backup: NoBackup = False,
) -> None:
    """Make a table: its model, its migration, shown for review, run, and verified.

    $ holdfast agents new-table recipes title:str minutes:int:optional owner:users.id
    """
    from holdfast.agents import newtable

    if knowledge and memory:
        raise ConfigurationError(
            "a table is --knowledge or --memory", hint="a memory is knowledge of one user"
        )
    kind = "knowledge" if knowledge else "memory" if memory else None

    def agree(model: Path, migration: Path) -> bool:
        for path in (model, migration):
            print(f"--- {path}\n{path.read_text(encoding='utf-8')}")
        return yes or typer.confirm("Run this migration?")

    with _open(url) as db:
        made = newtable.new_table(
            db, name, fields or [], project=_project(project), kind=kind, agree=agree, backup=not no_backup
        )
    if made is None:
        print("nothing was changed; both files are gone again")
        raise typer.Exit(1)
    if made.done.backup:
        print(f"backup: {made.done.backup}")
    print(f"verified {made.name}: {', '.join(made.columns)}\n\nUse it:\n\n{made.usage}")
