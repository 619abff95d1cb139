"""What the commands of an agent's memory share: their options, opening it, and what is shown of a memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli import opening
from holdfast.errors import InvalidQuery, NotFoundError

if TYPE_CHECKING:
    from holdfast.database import Database
    from holdfast.memory import Record, SQLStore

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
def opened(
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
    with looked_into(db) as database:
        refuse_missing(database, db, name)
        if not _is_folder(db):
            yield holdfast.memory.open(database, **options)
            return
    with holdfast.memory.open(db, **options) as store:
        yield store


def _is_folder(db: str) -> bool:
    """Whether it is a folder with LanceDB, which opens in a way of its own."""
    return db.lower().startswith("lancedb:") or ("://" not in db and Path(db).is_dir())


def looked_into(db: str) -> Database:
    """The database, for reading alone."""
    from holdfast.memory.lance_store import TRUTH
    from holdfast.settings import resolve

    if not _is_folder(db):
        return opening.to_read(db)
    target = resolve(f"sqlite{db[len('lancedb') :]}" if "://" in db else db)
    return opening.to_read(str((target.path or Path(db)) / TRUTH))


def refuse_missing(database: Any, place: str, name: str) -> None:
    from holdfast.memory import tables

    names = sorted({layout.name for layout in tables.stores(database._executor) if layout.kind == "passages"})
    if name not in names:
        raise NotFoundError(
            f"there is no memory {name!r} in {place if '@' not in place else 'it'}",
            hint=f"--name is one of: {', '.join(names)}" if names else "holdfast memory add makes one",
        )


def filter_of(where: str | None) -> dict[str, Any] | None:
    if where is None:
        return None
    try:
        found = json.loads(where)
    except ValueError as exc:
        raise InvalidQuery("--where is no JSON", hint='such as \'{"topic": "tea"}\'') from exc
    if not isinstance(found, dict):
        raise InvalidQuery("--where is a JSON object", hint='such as \'{"topic": "tea"}\'')
    return found


def text_of(record: Record) -> str:
    return str(getattr(record, "text", None) or getattr(record, "name", ""))


def body_of(record: Record) -> str:
    """The text without the heading that was put above it, which is shown beside it."""
    heading = (getattr(record, "metadata", None) or {}).get("heading")
    text = text_of(record)
    return text.removeprefix(f"{heading.rpartition(' > ')[2]}\n\n") if isinstance(heading, str) else text


def place_of(record: Record) -> tuple[str | None, str | None]:
    """Where a record is from: its source and heading, or who said it."""
    heading = (getattr(record, "metadata", None) or {}).get("heading")
    source = getattr(record, "data_source", None) or getattr(record, "role", None)
    return source, heading if isinstance(heading, str) else None


def shown_place(record: Record) -> str:
    """The same in short: the name of the file and the innermost heading."""
    source, heading = place_of(record)
    return " # ".join(filter(None, [source and Path(source).name, heading and heading.rpartition(" > ")[2]]))


def fields_of(record: Record) -> dict[str, Any]:
    names = ("id", "text", "name", "role", "user", "model", "data_source", "doc_id", "metadata", "tool_calls")
    found = {name: getattr(record, name, None) for name in (*names, "agent_id", "created_at")}
    return {name: value for name, value in found.items() if value is not None}
