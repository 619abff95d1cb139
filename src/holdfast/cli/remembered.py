"""Commands that ask a memory: holdfast memory search and recall."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

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
from holdfast.cli.output import AsCsv, AsJson, show, write_csv, write_json

if TYPE_CHECKING:
    from holdfast.memory import Hit

LONGEST_SNIPPET = 160


def search(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to look for.", show_default=False)],
    limit: Limit = 10,
    mode: Annotated[
        str | None,
        typer.Option(metavar="text|vector|hybrid", help="By default hybrid with an embedder, else text."),
    ] = None,
    where: Where = None,
    why: Annotated[bool, typer.Option("--why", help="Say of each hit why it is one.")] = False,
    embedder: Embedder = None,
    db: Db = "agent.db",
    name: Name = "memory",
    user: User = "default",
    agent: Agent = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Print what fits TEXT, the best first: by words, and with an embedder by meaning too.

    $ holdfast memory search "when does the train leave?" --why
    """
    with opened(db, name, user, agent, embedder) as memory:
        hits = memory.query(
            text, top_k=limit, filters=filter_of(where), mode=mode or ("hybrid" if embedder else "text")
        )
    if as_json:
        write_json([{"score": hit.score, "why": hit.why, **fields_of(hit.record)} for hit in hits])
    elif as_csv:
        rows = [[hit.score, text_of(hit.record), *place_of(hit.record), str(hit.record.id)] for hit in hits]
        write_csv(["score", "text", "source", "heading", "id"], rows)
    elif not hits:
        typer.echo("Nothing fits.", err=True)
    else:
        _show_hits(hits, text, why)


def _show_hits(hits: list[Hit], text: str, why: bool) -> None:
    columns = ["#", "score", "text", "source", *(["why"] if why else [])]
    rows = []
    for rank, hit in enumerate(hits, 1):
        snippet = _snippet(body_of(hit.record), text)
        rows.append([rank, f"{hit.score:.3g}", snippet, shown_place(hit.record), *([hit.why] if why else [])])
    show(columns, rows, right=[True, True, False, False, *([False] if why else [])], marks=True)


def _snippet(text: str, asked: str) -> str:
    """The part of a text with the first of the words that were asked for, and those marked."""
    from holdfast.memory.search import _telling
    from holdfast.search.fulltext import parse

    words = {
        word
        for term in _telling(parse(asked))
        if not term.is_excluded
        for word in term.words
        if len(word) > 2
    }
    text = " ".join(text.split())
    if not words:
        return text[:LONGEST_SNIPPET]
    # A stem is enough: what was found may be another form of the word.
    stems = "|".join(
        sorted((re.escape(word[: max(3, len(word) - 2)]) for word in words), key=len, reverse=True)
    )
    pattern = re.compile(rf"(?i)\b(?:{stems})\w*")
    found = pattern.search(text)
    start = max(0, found.start() - LONGEST_SNIPPET // 3) if found else 0
    start = text.rfind(" ", 0, start) + 1 if start else 0
    cut = text[start : start + LONGEST_SNIPPET]
    end = start + len(cut)
    if end < len(text):
        cut = cut[: cut.rfind(" ")] + " ..." if " " in cut else cut
    return ("... " if start else "") + pattern.sub(r"**\g<0>**", cut)


def recall(
    k: Annotated[int, typer.Option("-k", help="How many neighbours of each.", min=1)] = 10,
    queries: Annotated[int, typer.Option(help="How many memories to take as queries.", min=1)] = 100,
    db: Db = "agent.db",
    name: Name = "memory",
    user: User = "default",
    agent: Agent = None,
    as_json: AsJson = False,
) -> None:
    """Measure how many of the nearest vectors a search finds, and how fast, beside comparing all.

    $ holdfast memory recall -k 10
    """
    from holdfast.memory import measure_recall

    with opened(db, name, user, agent) as memory:
        found = measure_recall(memory, k=k, queries=queries)
    if as_json:
        write_json(asdict(found))
    else:
        print(found)


COMMANDS = (search, recall)
