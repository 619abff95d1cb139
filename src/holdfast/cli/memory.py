"""Commands for an agent's memory: holdfast memory add, import, search and the others."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli import opening
from holdfast.cli.output import AsCsv, AsJson, panel, show, write_csv, write_json
from holdfast.errors import InvalidQuery, NotFoundError

if TYPE_CHECKING:
    from holdfast.database import Database
    from holdfast.memory import Record, SQLStore

app = typer.Typer(
    name="memory",
    help="An agent's memory: keep passages and messages, and find them by words and by meaning.",
    no_args_is_help=True,
)
SHORT = 80

Db = Annotated[
    str,
    typer.Option(
        metavar="URL", envvar="HOLDFAST_MEMORY", help="Where the memory is: a path, or a URL as for connect."
    ),
]
Name = Annotated[str, typer.Option(metavar="NAME", help="The name of the memory in there.")]
User = Annotated[str, typer.Option(metavar="USER", help="Whose memories.")]
Agent = Annotated[
    str | None, typer.Option(metavar="AGENT", help="Only this agent's of them.", show_default=False)
]
Embedder = Annotated[
    str | None,
    typer.Option(
        metavar="EMBEDDER",
        envvar="HOLDFAST_EMBEDDER",
        help="Makes vectors of texts: hashing, sentence-transformers:MODEL, openai:MODEL or ollama:MODEL.",
        show_default=False,
    ),
]
Where = Annotated[
    str | None,
    typer.Option(
        metavar="JSON", help='Only those that satisfy a filter, as \'{"topic": "tea"}\'.', show_default=False
    ),
]
Limit = Annotated[int, typer.Option(help="The most to print.", min=1)]


@contextmanager
def _memory(
    db: str,
    name: str,
    user: str,
    agent: str | None,
    embedder: str | None = None,
    *,
    write: bool = False,
) -> Iterator[SQLStore]:
    """The memory; one that is only read has to be there."""
    import holdfast.memory
    from holdfast.memory import embed

    options: dict[str, Any] = {
        "name": name,
        "user_id": user,
        "agent_id": agent,
        "embed": embed.named(embedder) if embedder else None,
    }
    if write:
        with holdfast.memory.open(db, **options) as store:
            yield store
        return
    with _looked_into(db) as database:
        _refuse_missing(database, db, name)
        if not _is_folder(db):
            yield holdfast.memory.open(database, **options)
            return
    with holdfast.memory.open(db, **options) as store:
        yield store


def _is_folder(db: str) -> bool:
    """Whether it is a folder with LanceDB, which opens in a way of its own."""
    return db.lower().startswith("lancedb:") or ("://" not in db and Path(db).is_dir())


def _looked_into(db: str) -> Database:
    """The database, for reading alone."""
    from holdfast.memory.lance_store import TRUTH
    from holdfast.settings import resolve

    if not _is_folder(db):
        return opening.to_read(db)
    target = resolve(f"sqlite{db[len('lancedb') :]}" if "://" in db else db)
    return opening.to_read(str((target.path or Path(db)) / TRUTH))


def _refuse_missing(database: Any, place: str, name: str) -> None:
    from holdfast.memory import tables

    names = sorted({layout.name for layout in tables.stores(database._executor) if layout.kind == "passages"})
    if name not in names:
        raise NotFoundError(
            f"there is no memory {name!r} in {place if '@' not in place else 'it'}",
            hint=f"--name is one of: {', '.join(names)}" if names else "holdfast memory add makes one",
        )


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

    text = sys.stdin.read() if text == "-" else text
    if role is not None and (source is not None or meta):
        raise typer.BadParameter("a message has no --source and no --meta")
    metadata = dict(map(_named, meta or ()))
    record = Passage(text, data_source=source, metadata=metadata) if role is None else Message(role, text)
    with _memory(db, name, user, agent, embedder, write=True) as memory:
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
        with _memory(db, name, user, agent, embedder, write=True) as memory:
            _import_whole(memory, paths[0], memgpt, memgpt_user, as_json)
        return
    files = list(_files(paths))
    rows = []
    with (
        _memory(db, name, user, agent, embedder, write=True) as memory,
        track("import", total=len(files)) as advance,
    ):
        for path in files:
            done = import_markdown(memory, path)
            rows.append([str(path), done.added, done.changed, done.removed, done.unchanged])
            if advance is not None:
                advance(1)
    columns = ["file", "added", "changed", "removed", "unchanged"]
    if as_json:
        write_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        show(columns, rows)


def _import_whole(memory: SQLStore, path: str, memgpt: bool, memgpt_user: str | None, as_json: bool) -> None:
    from holdfast.memory import import_memgpt, import_memory

    done: Any = import_memgpt(memory, path, user=memgpt_user) if memgpt else import_memory(memory, path)
    if as_json:
        write_json(asdict(done))
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


def _check_form(as_json: bool, as_csv: bool) -> None:
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other")


def _filter(where: str | None) -> dict[str, Any] | None:
    if where is None:
        return None
    try:
        found = json.loads(where)
    except ValueError as exc:
        raise InvalidQuery("--where is no JSON", hint='such as \'{"topic": "tea"}\'') from exc
    if not isinstance(found, dict):
        raise InvalidQuery("--where is a JSON object", hint='such as \'{"topic": "tea"}\'')
    return found


def _text(record: Record) -> str:
    return str(getattr(record, "text", None) or getattr(record, "name", ""))


def _body(record: Record) -> str:
    """The text without the heading that was put above it, which is shown beside it."""
    heading = (getattr(record, "metadata", None) or {}).get("heading")
    text = _text(record)
    return text.removeprefix(f"{heading.rpartition(' > ')[2]}\n\n") if isinstance(heading, str) else text


def _place(record: Record) -> tuple[str | None, str | None]:
    """Where a record is from: its source and heading, or who said it."""
    heading = (getattr(record, "metadata", None) or {}).get("heading")
    source = getattr(record, "data_source", None) or getattr(record, "role", None)
    return source, heading if isinstance(heading, str) else None


def _shown_place(record: Record) -> str:
    """The same in short: the name of the file and the innermost heading."""
    source, heading = _place(record)
    return " # ".join(filter(None, [source and Path(source).name, heading and heading.rpartition(" > ")[2]]))


def _fields(record: Record) -> dict[str, Any]:
    names = ("id", "text", "name", "role", "user", "model", "data_source", "doc_id", "metadata", "tool_calls")
    found = {name: getattr(record, name, None) for name in (*names, "agent_id", "created_at")}
    return {name: value for name, value in found.items() if value is not None}


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
    _check_form(as_json, as_csv)
    with _memory(db, name, user, agent) as memory:
        filters = _filter(where)
        page, size = memory.page(limit=limit, reverse=not oldest, filters=filters), memory.size(filters)
    if as_json:
        write_json([_fields(record) for record in page])
    elif as_csv:
        rows = [[str(one.id), one.created_at, _text(one), *_place(one)] for one in page]
        write_csv(["id", "made", "text", "source", "heading"], rows)
    else:
        rows = [
            [
                f"{one.created_at:%Y-%m-%d %H:%M}",
                _short(_body(one)),
                _shown_place(one),
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
) -> None:
    """Print every change of one memory, the first one first.

    $ holdfast memory history 0192d7c1-5b0e-7c3a-9a64-3f0d6a1f2b11
    """
    with _memory(db, name, user, agent) as memory:
        changes = memory.history(id)
    if as_json:
        write_json(
            [
                {"operation": one.operation, "at": one.at, **(_fields(one.record) if one.record else {})}
                for one in changes
            ]
        )
        return
    rows = [
        [
            f"{one.at:%Y-%m-%d %H:%M:%S}",
            one.operation,
            "" if one.record is None else _short(_text(one.record)),
        ]
        for one in changes
    ]
    show(["at", "what", "text"], rows)


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
    with _memory(db, name, user, agent) as memory:
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
