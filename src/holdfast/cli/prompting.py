"""What ``holdfast shell`` reads on a terminal: lines with completion, colours and a history."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.engines.names import quote_identifier, unquote_identifier
from holdfast.engines.sqltext import ended_statements, first_word, tokens
from holdfast.errors import Error, MissingDependency

try:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion
    from prompt_toolkit.document import Document
    from prompt_toolkit.filters import has_completions
    from prompt_toolkit.history import FileHistory
    from prompt_toolkit.key_binding import KeyBindings
    from prompt_toolkit.lexers import Lexer
    from prompt_toolkit.styles import Style
except ImportError as exc:
    raise MissingDependency("prompt-toolkit", "shell") from exc

if TYPE_CHECKING:
    from holdfast.cli.shell import Shell

KEYWORDS = (  # noqa: SIM905 - as a list it is a page long
    "ADD ALL ALTER ANALYZE AND AS ASC BEGIN BETWEEN BY CASE CAST CHECK COLUMN COMMIT CONFLICT "
    "CONSTRAINT CREATE CROSS DEFAULT DELETE DESC DISTINCT DO DROP ELSE END EXCEPT EXISTS EXPLAIN FALSE "
    "FOREIGN FROM FULL GROUP HAVING IF IN INDEX INNER INSERT INTERSECT INTO IS JOIN KEY LEFT LIKE LIMIT "
    "NOT NOTHING NULL NULLS OFFSET ON OR ORDER OUTER OVER PARTITION PRIMARY RECURSIVE REFERENCES RENAME "
    "RETURNING RIGHT ROLLBACK SELECT SET TABLE THEN TO TRIGGER TRUE UNION UNIQUE UPDATE USING VALUES "
    "VIEW WHEN WHERE WITH"
).split()
FUNCTIONS = "abs avg coalesce count date lower max min nullif round sum trim upper".split()  # noqa: SIM905
MOST_TABLES = 40
_BEFORE_A_TABLE = frozenset({"FROM", "JOIN", "INTO", "UPDATE", "TABLE", "REFERENCES"})
_SECRET = re.compile(r"://[^\s/@]*:[^\s@]*@|password|identified\s+by", re.IGNORECASE)
_STYLES = {
    "string": "class:string",
    "number": "class:number",
    "comment": "class:comment",
    "mark": "class:number",
}
_COLOURS = Style.from_dict(
    {
        "keyword": "bold ansiblue",
        "string": "ansigreen",
        "number": "ansicyan",
        "comment": "italic ansibrightblack",
    }
)


def lines(shell: Shell) -> Iterator[str]:
    """What is typed, a statement or a command at a time, until Ctrl-D."""
    session: PromptSession[str] = PromptSession(
        history=history(),
        completer=Names(shell),
        complete_while_typing=False,
        lexer=Colours(shell),
        style=None if os.environ.get("NO_COLOR") else _COLOURS,
        multiline=True,
        key_bindings=_keys(shell),
        prompt_continuation=lambda width, _, wraps: " " * width if wraps else " " * (width - 3) + ".> ",
        reserve_space_for_menu=4,
    )
    name = _name(shell)
    while True:
        try:
            text = session.prompt(f"{name}{shell.state()}> ")
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        yield text


def _name(shell: Shell) -> str:
    target = shell.db._target
    return target.path.name if target.path else getattr(target, "dbname", None) or "db"


def folder() -> Path:
    """Where programs of this user keep such things."""
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (state if state.is_absolute() else Path.home() / ".local" / "state") / "holdfast"


class History(FileHistory):
    """What was typed before, for its owner alone, without lines that may hold a password."""

    def store_string(self, string: str) -> None:
        """Keep a line."""
        if not _SECRET.search(string):
            super().store_string(string)


def history() -> Any:
    """The history of this user, or one that is forgotten where it cannot be written."""
    from prompt_toolkit.history import InMemoryHistory

    path = folder() / "history"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return History(str(path))


def is_whole(text: str, shell: Shell) -> bool:
    """Whether Enter ends what was typed, rather than the line."""
    stripped = text.strip()
    if not stripped or stripped.startswith((".", "\\")):
        return True
    return bool(stripped) and not ended_statements(stripped, shell.lexicon)[1].strip()


def _keys(shell: Shell) -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter", filter=~has_completions)
    def _(event: Any) -> None:
        buffer = event.current_buffer
        if is_whole(buffer.text, shell):
            buffer.validate_and_handle()
        else:
            buffer.insert_text("\n")

    @keys.add("enter", filter=has_completions)
    def _(event: Any) -> None:
        event.current_buffer.complete_state = None

    return keys


class Names(Completer):
    """Tables, columns and keywords; those of the catalogue are read again after a statement changed it."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._as_of = -1
        self._tables: list[str] = []
        self._columns: dict[str, list[str]] = {}

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """What the word before the cursor may become."""
        words = [
            token.text
            for token in tokens(document.text_before_cursor, self._shell.lexicon)
            if token.kind != "comment"
        ]
        word = words.pop() if words and _is_name(words[-1]) else ""
        before = [one.upper() for one in words if not one.isspace()]
        self._refresh()
        if before and before[-1] == "." and words[-1] == ".":
            table = unquote_identifier(words[-2]) if words[1:] else ""
            yield from _beginning(word, self._columns_of(self._meant(table, document.text)), quoted)
            return
        tables = _beginning(word, self._tables, quoted)
        if before and before[-1] in _BEFORE_A_TABLE:
            yield from tables
            return
        named = self._named(document.text) or self._tables[:MOST_TABLES]
        columns = [name for table in named for name in self._columns_of(table)]
        yield from _beginning(word, sorted(set(columns)), quoted)
        yield from tables
        if word:
            in_capitals = not word.islower()
            yield from _beginning(word, KEYWORDS, lambda name: name if in_capitals else name.lower())
            yield from _beginning(word, FUNCTIONS, str)

    def _refresh(self) -> None:
        if self._as_of == self._shell.changes:
            return
        db = self._shell.db
        try:
            self._tables = self._shell.ask(lambda: sorted({*db.list_tables(), *db.list_views()}))
        except Error:
            return
        self._columns.clear()
        self._as_of = self._shell.changes

    def _columns_of(self, table: str) -> list[str]:
        name = next((one for one in self._tables if one.lower() == table.lower()), None)
        if name is None:
            return []
        if name not in self._columns:
            try:
                columns = self._shell.ask(lambda: self._shell.db.get_columns(name))
            except Error:
                return []
            self._columns[name] = [column["name"] for column in columns]
        return self._columns[name]

    def _meant(self, alias: str, text: str) -> str:
        """The table that a statement calls so: ``runs`` in ``FROM runs AS r``."""
        words = [
            unquote_identifier(token.text).lower()
            for token in tokens(text, self._shell.lexicon)
            if token.is_code and token.text.upper() != "AS"
        ]
        tables = {name.lower(): name for name in self._tables}
        called = {after: tables[name] for name, after in pairwise(words) if name in tables}
        return alias if alias.lower() in tables else called.get(alias.lower(), "")

    def _named(self, text: str) -> list[str]:
        """The tables that a statement names already."""
        words = {unquote_identifier(token.text).lower() for token in tokens(text, self._shell.lexicon)}
        return [name for name in self._tables if name.lower() in words]


def _is_name(text: str) -> bool:
    return text[0] == '"' or text[0].isalpha() or text[0] == "_"


def quoted(name: str) -> str:
    """A name as it is written in SQL."""
    return (
        name
        if re.fullmatch(r"[a-z_][a-z0-9_]*", name) and name.upper() not in KEYWORDS
        else quote_identifier(name)
    )


def _beginning(word: str, names: Iterable[str], written: Callable[[str], str]) -> Iterator[Completion]:
    begun = word.lstrip('"').lower()
    for name in names:
        if name.lower().startswith(begun) and written(name) != word:
            yield Completion(written(name), start_position=-len(word))


class Colours(Lexer):
    """Keywords, texts, numbers and comments, by the lexer that reads statements."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def lex_document(self, document: Document) -> Callable[[int], Any]:
        """The pieces of each line with their styles."""
        pieces: list[list[tuple[str, str]]] = [[]]
        words = {*KEYWORDS, first_word(document.text, self._shell.lexicon)}
        for token in tokens(document.text, self._shell.lexicon):
            style = _STYLES.get(token.kind, "")
            if token.kind == "word" and token.text.upper() in words:
                style = "class:keyword"
            first, *others = token.text.split("\n")
            pieces[-1].append((style, first))
            pieces.extend([(style, other)] for other in others)
        return lambda number: pieces[number] if number < len(pieces) else []
