"""The text of a ``CREATE TABLE`` as SQLite keeps it: where its parts are, and edits that leave the rest.

Only the edited part changes; comments, spelling, CHECKs and options of the table stay as they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from holdfast.engines.definition import clause_starts, group_end
from holdfast.engines.names import quote_identifier, unquote_identifier
from holdfast.engines.sqltext import SQLITE, Token, tokens
from holdfast.errors import ColumnNotFound, NotSupported, did_you_mean

_CONSTRAINTS = {"CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"}


@dataclass(frozen=True, slots=True)
class Clause:
    """A constraint of a column (or one of the table), and what kind it is: ``NOT``, ``CHECK`` ..."""

    kind: str
    code: tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """One column, or one constraint of the table (``column`` is ``None``)."""

    column: str | None
    code: tuple[Token, ...]
    comma: Token | None
    """The comma before it; SQLite lets constraints follow each other without."""

    @property
    def start(self) -> int:
        return self.code[0].start

    @property
    def end(self) -> int:
        return _end(self.code[-1])

    @property
    def clauses(self) -> list[Clause]:
        """The constraints of a column; of a table constraint, itself."""
        starts = [0] if self.column is None else clause_starts(self.code, 1)
        return [_clause(self.code[start:end]) for start, end in pairwise([*starts, len(self.code)])]

    @property
    def type_code(self) -> tuple[Token, ...]:
        """The tokens of a column's declared type; it may have none."""
        starts = clause_starts(self.code, 1)
        return self.code[1 : starts[0] if starts else len(self.code)]

    def words(self) -> list[str]:
        return [token.text.upper() for token in self.code]


@dataclass(frozen=True, slots=True)
class TableText:
    """A ``CREATE TABLE`` text and its parts."""

    sql: str
    name: Token
    items: tuple[Item, ...]
    options: tuple[str, ...]
    """The words after the closing parenthesis."""

    @property
    def table(self) -> str:
        return unquote_identifier(self.name.text)

    @property
    def has_rowid(self) -> bool:
        return "WITHOUT" not in self.options

    @property
    def generates_keys(self) -> bool:
        return any("AUTOINCREMENT" in item.words() for item in self.items if item.column is not None)

    def column(self, name: str) -> int:
        """The index of a column's item; SQLite ignores the case of ASCII letters."""
        known = [item.column for item in self.items if item.column is not None]
        for fold in (str, folded):
            for index, item in enumerate(self.items):
                if item.column is not None and fold(item.column) == fold(name):
                    return index
        raise ColumnNotFound(f"there is no column {name!r}", hint=did_you_mean(name, known, "columns"))


def folded(name: str) -> str:
    """A name as SQLite compares it: small ASCII letters."""
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in name)


def read_table(sql: str) -> TableText:
    """Find the parts of a ``CREATE TABLE`` text from ``sqlite_master``.

    Raises:
        NotSupported: if it is a virtual table's.
    """
    code = [token for token in tokens(sql, SQLITE) if token.is_code]
    head = [token.text.upper() for token in code[:2]]
    if head != ["CREATE", "TABLE"] or len(code) < 4 or code[3].text != "(":
        raise NotSupported("only ordinary tables can be altered", hint="a virtual table is made anew")
    end = group_end(code, 3)
    items: list[Item] = []
    at, depth, comma = 4, 0, None
    for position in range(4, end):
        token = code[position]
        if token.kind == "op":
            if position == end - 1 or (token.text == "," and depth == 0):
                items += _items(code[at:position], comma, bool(items) and items[-1].column is None)
                at, comma = position + 1, token
            depth += {"(": 1, ")": -1}.get(token.text, 0)
    return TableText(sql, code[2], tuple(items), tuple(token.text.upper() for token in code[end:]))


def _items(code: Sequence[Token], comma: Token | None, after_constraint: bool) -> list[Item]:
    first = code[0]
    if not after_constraint and not (first.kind == "word" and first.text.upper() in _CONSTRAINTS):
        return [Item(unquote_identifier(first.text), tuple(code), comma)]
    starts, depth = [0], 0
    for at, token in enumerate(code):
        depth += {"(": 1, ")": -1}.get(token.text, 0) if token.kind == "op" else 0
        named = code[starts[-1]].text.upper() == "CONSTRAINT" and at <= starts[-1] + 2
        if at and not depth and not named and token.kind == "word" and token.text.upper() in _CONSTRAINTS:
            starts.append(at)
    return [
        Item(None, tuple(code[start:end]), comma if start == 0 else None)
        for start, end in pairwise([*starts, len(code)])
    ]


def _clause(code: tuple[Token, ...]) -> Clause:
    named = code[0].text.upper() == "CONSTRAINT" and len(code) > 2
    return Clause(code[2 if named else 0].text.upper(), code)


def _end(token: Token) -> int:
    return token.start + len(token.text)


def edited(sql: str, edits: Iterable[tuple[int, int, str]]) -> str:
    """``sql`` with each ``(start, end, text)`` put in the place of what was there."""
    for start, end, text in sorted(edits, reverse=True):
        sql = sql[:start] + text + sql[end:]
    return sql


def without_items(table: TableText, indexes: Iterable[int]) -> TableText:
    """The table without some of its columns and constraints."""
    for index in sorted(indexes, reverse=True):
        item = table.items[index]
        if index + 1 < len(table.items):
            edits = [(item.start, table.items[index + 1].start, "")]
        else:
            edits = _last_item(table.sql, item)
        table = read_table(edited(table.sql, edits))
    return table


def _last_item(sql: str, item: Item) -> list[tuple[int, int, str]]:
    if item.comma is None:
        return [(item.start, item.end, "")]
    if not sql[_end(item.comma) : item.start].strip():
        return [(item.comma.start, item.end, "")]
    # What stands between them is a comment, on what came before the comma.
    return [(item.comma.start, _end(item.comma), ""), (item.start, item.end, "")]


def with_item(table: TableText, text: str, *, is_column: bool) -> TableText:
    """The table with one more column, after the others, or one more constraint at the end."""
    after = [item for item in table.items if item.column is not None] if is_column else table.items
    end = after[-1].end
    return read_table(edited(table.sql, [(end, end, f", {text}")]))


def renamed(table: TableText, name: str) -> str:
    """The text for a table of another name."""
    return edited(table.sql, [(table.name.start, _end(table.name), quote_identifier(name))])


def with_type(table: TableText, index: int, type_text: str) -> TableText:
    """The table with another declared type for a column."""
    item = table.items[index]
    old = item.type_code
    start = old[0].start if old else _end(item.code[0])
    end = _end(old[-1]) if old else start
    return read_table(edited(table.sql, [(start, end, type_text if old else f" {type_text}")]))


def with_clause(table: TableText, index: int, kind: str, text: str | None) -> TableText:
    """The table with a column's clause of that kind replaced, added, or left out."""
    item = table.items[index]
    edits: list[tuple[int, int, str]] = []
    for clause in item.clauses:
        if clause.kind == kind:
            start, end = clause.code[0].start, _end(clause.code[-1])
            # The space before it goes too; a comment there may need the newline after it.
            start -= 1 if table.sql[start - 1 : start] == " " else 0
            edits.append((start, end, ""))
    if text is not None:
        place = _end((item.code[0], *item.type_code)[-1])
        edits.append((place, place, f" {text}"))
    return read_table(edited(table.sql, edits))
