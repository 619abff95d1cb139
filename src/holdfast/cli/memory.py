"""Commands for an agent's memory: holdfast memory add, import, search and the others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.memories import (
    Agent,
    Db,
    Embedder,
    Limit,
    Name,
    User,
    Where,
    body_of,
    fields_of,
    filter_of,
    opened,
    place_of,
    shown_place,
    text_of,
)
from holdfast.cli.output import AsCsv, AsJson, panel, show, write, write_csv, write_json, write_records
from holdfast.cli.query import given
from holdfast.errors import InvalidQuery

if TYPE_CHECKING:
    from holdfast.memory import SQLStore

app = typer.Typer(
    name="memory",
    help="An agent's memory: keep passages and messages, and find them by words and by meaning.",
    no_args_is_help=True,
)
SHORT = 80


def add(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The text; - is the input of this command.")],
    source: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where the text is from.", show_default=False)
    ] = None,
    meta: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help="Metadata: JSON where it is JSON, else text; may be repeated."
        ),
    ] = None,
    role: Annotated[
        str | None,
        typer.Option(metavar="ROLE", help="Keep it as a message of this role, such as user or assistant."),
    ] = None,
    embedder: Embedder = None,
    db: Db = "agent.db",
    name: Name = "memory",
    user: User = "default",
    agent: Agent = None,
) -> None:
    """Keep one text, and print its id; a passage that is there already keeps the id it has.

    $ holdfast memory add 'Ada drinks green tea' --source calendar --meta topic=tea
    """
    from holdfast.memory import Message, Passage

    text = given(text)
    if role is not None and (source is not None or meta):
        raise typer.BadParameter("a message has no --source and no --meta")
    metadata = dict(map(_named, meta or ()))
    record = Passage(text, data_source=source, metadata=metadata) if role is None else Message(role, text)
    with opened(db, name, user, agent, embedder, write=True) as memory:
        print(memory.insert(record))


def _named(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise typer.BadParameter("--meta takes KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def import_(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Markdown or plain text, or a folder of such files; or what export wrote.",
            show_default=False,
        ),
    ],
    memgpt: Annotated[
        bool,
        typer.Option("--memgpt", help="FILE is a database of MemGPT's, a path or a URL: take its memories."),
    ] = False,
    memgpt_user: Annotated[
        str | None, typer.Option(metavar="ID", help="Which of its users, if there are several.")
    ] = None,
    embedder: Embedder = None,
    db: Db = "agent.db",
    name: Name = "memory",
    user: User = "default",
    agent: Agent = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Keep the paragraphs of files as passages, each with its file and heading.

    Once more, only what has changed in a file is written, and what is gone from it is removed.

    $ holdfast memory import notes/
    $ holdfast memory import notes.jsonl --db other.db
    """
    from holdfast.core.progress import track
    from holdfast.memory.markdown import import_markdown

    if memgpt or Path(paths[0]).suffix in (".jsonl", ".hfz", ".gz", ".zst"):
        if len(paths) > 1:
            raise typer.BadParameter("this takes one file")
        with opened(db, name, user, agent, embedder, write=True) as memory:
            _import_whole(memory, paths[0], memgpt, memgpt_user, as_json=as_json, as_csv=as_csv)
        return
    files = list(_files(paths))
    rows = []
    with (
        opened(db, name, user, agent, embedder, write=True) as memory,
        track("import", total=len(files)) as advance,
    ):
        for path in files:
            done = import_markdown(memory, path)
            rows.append([str(path), done.added, done.changed, done.removed, done.unchanged])
            if advance is not None:
                advance(1)
    columns = ["file", "added", "changed", "removed", "unchanged"]
    write(columns, rows, as_json=as_json, as_csv=as_csv)


def _import_whole(
    memory: SQLStore, path: str, memgpt: bool, memgpt_user: str | None, *, as_json: bool, as_csv: bool
) -> None:
    from holdfast.memory import import_memgpt, import_memory

    done: Any = import_memgpt(memory, path, user=memgpt_user) if memgpt else import_memory(memory, path)
    if as_json:
        write_json(asdict(done))
    elif as_csv:
        write_records([done], type(done), as_csv=True)
    else:
        print(f"imported {done}")


def _files(paths: list[str]) -> Iterator[Path]:
    from holdfast.memory.markdown import ENDINGS

    for path in map(Path, paths):
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if file.suffix.lower() in ENDINGS)
            if not found:
                raise InvalidQuery(f"{path} has no file that ends with {', '.join(ENDINGS)}")
            yield from found
        else:
            yield path


def list_(
    limit: Limit = 20,
    where: Where = None,
    oldest: Annotated[bool, typer.Option("--oldest", help="The oldest first.")] = False,
    db: Db = "agent.db",
    name: Name = "memory",
    user: User = "default",
    agent: Agent = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Print memories, the newest first.

    $ holdfast memory list --where '{"topic": "tea"}' --limit 5
    """
    with opened(db, name, user, agent) as memory:
        filters = filter_of(where)
        page, size = memory.page(limit=limit, reverse=not oldest, filters=filters), memory.size(filters)
    if as_json:
        write_json([fields_of(record) for record in page])
    elif as_csv:
        rows = [[str(one.id), one.created_at, text_of(one), *place_of(one)] for one in page]
        write_csv(["id", "made", "text", "source", "heading"], rows)
    else:
        rows = [
            [
                f"{one.created_at:%Y-%m-%d %H:%M}",
                _short(body_of(one)),
                shown_place(one),
                str(one.id),
            ]
            for one in page
        ]
        show(["made", "text", "source", "id"], rows)
        if len(page) < size:
            typer.echo(f"{len(page)} of {size}; --limit shows more", err=True)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= SHORT else text[:SHORT].rsplit(" ", 1)[0] + " ..."


def history(
    id: Annotated[str, typer.Argument(metavar="ID", help="The id of a memory, present or past.")],
    db: Db = "agent.db",
    name: Name = "memory",
    user: User = "default",
    agent: Agent = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Print every change of one memory, the first one first.

    $ holdfast memory history 0192d7c1-5b0e-7c3a-9a64-3f0d6a1f2b11
    """
    with opened(db, name, user, agent) as memory:
        changes = memory.history(id)
    if as_json:
        write_json(
            [
                {"operation": one.operation, "at": one.at, **(fields_of(one.record) if one.record else {})}
                for one in changes
            ]
        )
        return
    if as_csv:
        rows = [[one.at, one.operation, one.record and text_of(one.record)] for one in changes]
        write_csv(["at", "what", "text"], rows)
        return
    show(
        ["at", "what", "text"],
        [
            [f"{one.at:%Y-%m-%d %H:%M:%S}", one.operation, _short(text_of(one.record)) if one.record else ""]
            for one in changes
        ],
    )


def stats(
    db: Db = "agent.db",
    name: Name = "memory",
    user: User = "default",
    agent: Agent = None,
    as_json: AsJson = False,
) -> None:
    """Print what a memory holds, and of which models its vectors are.

    $ holdfast memory stats --db agent.db
    """
    with opened(db, name, user, agent) as memory:
        found: dict[str, Any] = {
            "memory": memory.name,
            "in": memory._database.url.partition("?")[0],
            "user": memory.user_id,
            "memories": memory.size(),
            "messages": memory.size({"role": {"$exists": True}, "metadata.role": {"$exists": False}}),
            "sources": memory.list_data_sources(),
            "models": [asdict(model) for model in memory.models()],
        }
    if as_json:
        write_json(found)
        return
    models = [
        f"{model['name']}: {model['count']:,} vectors of {model['dimension']} numbers"
        + (", current" if model["is_current"] else "")
        for model in found["models"]
    ]
    shown = {**found, "sources": f"{len(found['sources']):,}", "models": "; ".join(models) or "none"}
    items = [(key, f"{value:,}" if isinstance(value, int) else str(value)) for key, value in shown.items()]
    panel("Memory", items)


import_.__name__, list_.__name__ = "import", "list"

COMMANDS = (add, import_, list_, history, stats)
