"""Markdown and plain text as passages: a piece for each paragraph or few, under its heading."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from holdfast.errors import ImportFailed
from holdfast.memory.records import Passage, Record
from holdfast.memory.store import Store

LONGEST = 1200
"""How many characters a piece has at most, unless a block of code is longer."""
LONGEST_CODE = 20_000
ENDINGS = (".md", ".markdown", ".txt")
_HEADING = re.compile(r" {0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_SETEXT = re.compile(r" {0,3}(=+|-+)\s*$")
_FRONT_MATTER = re.compile(r"\A---\r?\n.*?\r?\n---\r?\n", re.DOTALL)
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_WORD = re.compile(r"\w")
_FORMAT = "markdown"


@dataclass(frozen=True, slots=True)
class Piece:
    """Some paragraphs in a row, and the headings above them from the outermost on."""

    headings: tuple[str, ...]
    text: str

    @property
    def whole(self) -> str:
        """The text below its own heading, which often says what it is about."""
        return f"{self.headings[-1]}\n\n{self.text}" if self.headings else self.text


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of the pieces of a file."""

    added: int
    changed: int
    removed: int
    unchanged: int


def split(text: str, longest: int = LONGEST) -> Iterator[Piece]:
    """The pieces of a text in Markdown, each of whole paragraphs where they are not too long.

    Front matter is left out. What stands between fences is no heading, and is not taken apart.

    >>> [piece.headings for piece in split("# Tea\\n\\nNo sugar.\\n\\n## Green\\n\\nSteep it for 2 minutes.")]
    [('Tea',), ('Tea', 'Green')]
    """
    headings: list[tuple[int, str]] = []
    waiting: list[str] = []
    for block in _blocks(_FRONT_MATTER.sub("", text)):
        heading = _heading(block)
        parts = [] if heading is not None else list(_parts(block, longest))
        if heading is not None or len(parts) > 1 or sum(map(len, [*waiting, *parts])) > longest:
            yield from _piece(headings, waiting)
            waiting = []
        if heading is not None:
            headings = [*(above for above in headings if above[0] < heading[0]), heading]
        elif len(parts) == 1:
            waiting += parts
        for part in parts if len(parts) > 1 else ():
            yield from _piece(headings, [part])
    yield from _piece(headings, waiting)


def _piece(headings: list[tuple[int, str]], parts: list[str]) -> Iterator[Piece]:
    text = "\n\n".join(parts)
    # A line that only separates says nothing.
    if _WORD.search(text):
        yield Piece(tuple(title for _, title in headings), text)


def _blocks(text: str) -> Iterator[str]:
    """Paragraphs, headings and fenced code, in their order."""
    lines: list[str] = []
    fence: str | None = None
    for line in text.splitlines():
        mark = _FENCE.match(line)
        if fence is not None:
            lines.append(line)
            if mark is not None and mark[1].startswith(fence) and not line.strip().strip(fence[0]):
                yield "\n".join(lines)
                lines, fence = [], None
            continue
        if mark is not None:
            fence = mark[1]
        is_heading = _HEADING.match(line) is not None
        is_underline = len(lines) == 1 and _SETEXT.match(line) is not None
        if (not line.strip() or is_heading or mark is not None) and lines:
            yield "\n".join(lines)
            lines = []
        if is_heading:
            yield line
        elif line.strip():
            lines.append(line.rstrip())
        if is_underline:
            yield "\n".join(lines)
            lines = []
    if lines:
        yield "\n".join(lines)


def _heading(block: str) -> tuple[int, str] | None:
    first, _, rest = block.partition("\n")
    found = _HEADING.match(first)
    if found is not None and not rest:
        return (len(found[1]), found[2]) if found[2] else None
    underline = _SETEXT.match(rest) if rest and "\n" not in rest else None
    return None if underline is None else (1 if underline[1][0] == "=" else 2, first.strip())


def _parts(block: str, longest: int) -> Iterator[str]:
    """A block, or its sentences in several parts, or as many words as there is room for."""
    if _FENCE.match(block):
        longest = LONGEST_CODE
    while len(block) > longest:
        ends = [found.start() for found in _SENTENCE.finditer(block, 0, longest)]
        at = ends[-1] if ends else block.rfind(" ", 0, longest)
        at = at if at > longest // 4 else longest
        yield block[:at].rstrip()
        block = block[at:].lstrip()
    if block.strip():
        yield block


def import_markdown(store: Store, path: str | Path, *, data_source: str | None = None) -> Loaded:
    """Keep the paragraphs of a file in Markdown or plain text as passages.

    A passage has the file's path, or ``data_source``, as its source, and in its metadata the ``heading`` it
    stands below, such as ``"Tea > Green"``. Once more, only what has changed in the file is written, and what
    is gone from it is removed, though not from the history.

    Raises:
        ImportFailed: if the file is no text in UTF-8.
    """
    source = data_source or str(path)
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as exc:
        raise ImportFailed(f"{path} is no text in UTF-8", hint="convert it first") from exc
    wanted = {piece.whole: _metadata(piece) for piece in split(text)}
    before = {
        record.text: record
        for record in store.get_all({"data_source": source, "metadata.format": _FORMAT})
        if isinstance(record, Passage)
    }
    added = [
        Passage(text, data_source=source, metadata=metadata)
        for text, metadata in wanted.items()
        if text not in before
    ]
    moved: list[Record] = [
        replace(record, metadata=wanted[text])
        for text, record in before.items()
        if text in wanted and record.metadata != wanted[text]
    ]
    # Another file may have the same piece, which is then one passage.
    count = sum(id == record.id for id, record in zip(store.insert_many(added), added, strict=True))
    for record in moved:
        store.update(record)
    gone = [str(record.id) for text, record in before.items() if text not in wanted]
    for start in range(0, len(gone), 500):
        store.delete({"id": {"$in": gone[start : start + 500]}})
    return Loaded(count, len(moved), len(gone), len(wanted) - count - len(moved))


def _metadata(piece: Piece) -> dict[str, str]:
    heading = {"heading": " > ".join(piece.headings)} if piece.headings else {}
    return {**heading, "format": _FORMAT}
