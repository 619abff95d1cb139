"""The demo's memory: the reference of the Python language, which comes with Python, kept and asked.

Vectors by hashing are the same on every machine and engine, and so are the answers.
"""

from __future__ import annotations

import re
from time import perf_counter
from typing import TYPE_CHECKING

from holdfast.cli.output import show
from holdfast.cli.remembered import _snippet

if TYPE_CHECKING:
    from holdfast.database import Database
    from holdfast.memory import Passage, SQLStore

NAME = "Python's reference"
QUESTIONS = (
    "When are default parameter values evaluated?",
    "How are the names of private attributes mangled?",
    "Can a loop have an else clause?",
)
_LONGEST = 700
_HITS = 2


def remember(db: Database, *, fresh: bool) -> None:
    """Keep the passages, ask the questions, and print what was found."""
    import holdfast.memory
    from holdfast.memory.embed import HashingEmbedder

    wanted, begun = passages(), perf_counter()
    options = {"name": NAME, "user_id": "demo", "embed": HashingEmbedder()}
    memory = holdfast.memory.open(db, **options)  # type: ignore[arg-type]
    if fresh:
        memory.delete_table()
        memory = holdfast.memory.open(db, **options)  # type: ignore[arg-type]
    is_there = memory.size() == len(wanted)
    if not is_there:
        memory.insert_many(wanted)
    took = "there already" if is_there else f"kept with their vectors in {perf_counter() - begun:.1f} s"
    print(f"\nRemembering the reference of the Python language: {len(wanted):,} passages, {took}", flush=True)
    for question in QUESTIONS:
        print()
        show(["likeness", "section", "passage"], answers(memory, question), title=question, marks=True)


def answers(memory: SQLStore, question: str) -> list[list[str]]:
    """What was found for a question: how near it is, under which heading, and the text."""
    from holdfast.errors import NotSupported

    try:
        hits = memory.query(question, top_k=_HITS)
    except NotSupported:
        # This server has no pgvector; words are found all the same.
        hits = memory.query(question, top_k=_HITS, mode="text")
    rows = []
    for hit in hits:
        heading = str(getattr(hit.record, "metadata", {})["heading"])
        # The stars of its own emphasis would look like those of the words that were found.
        text = str(getattr(hit.record, "text", "")).removeprefix(f"{heading}\n\n").replace("*", "")
        rows.append([f"{hit.score:.2f}", heading, _snippet(text, question)])
    return rows


def passages() -> list[Passage]:
    """The topics that ``help()`` knows, in pieces of a few paragraphs."""
    from pydoc_data.topics import topics

    from holdfast.memory import Passage
    from holdfast.memory.markdown import split

    found: dict[str, Passage] = {}
    for name, text in topics.items():
        # Its headings have stars below them.
        text = re.sub(r"(?m)^\*+$", lambda stars: "=" * len(stars[0]), text)
        for piece in split(text, _LONGEST):
            heading = piece.headings[-1] if piece.headings else name
            if piece.whole not in found:
                found[piece.whole] = Passage(piece.whole, data_source=name, metadata={"heading": heading})
    return list(found.values())
