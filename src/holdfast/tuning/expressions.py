"""Keys of indexes that are no plain columns: what a statement computes of a column, in its own words.

SQLite uses such an index only for the same words, so they are cut out of the statement and not written anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from holdfast.engines.sqltext import Lexicon, Token, tokens

_NAMES = frozenset({"word", "quoted"})
_OPENING, _CLOSING = frozenset({"(", "["}), frozenset({")", "]"})
_ALONE = _OPENING | _CLOSING | {",", ".", ";"}
_ENDS = frozenset(
    {"SELECT", "DISTINCT", "WHERE", "AND", "OR", "NOT", "ON", "BY", "HAVING", "IN", "LIKE", "ILIKE", "GLOB"}
    | {"BETWEEN", "IS", "AS", "ASC", "DESC", "NULLS", "LIMIT", "FROM", "JOIN", "SET", "USING", "ESCAPE"}
    | {"THEN", "WHEN", "ELSE", "CASE", "END", "RETURNING"}
)
_COMPARISONS = frozenset({"=", "==", "<", ">", "<=", ">=", "<>", "!=", ",", ";", "@>", "&&", "~~", "~~*"})


class Expression(str):
    """A key of an index that is no plain column: its SQL.

    ``columns`` are those that it reads, and ``value`` is the SQL of what it is compared with.
    """

    __slots__ = ("columns", "value")
    columns: frozenset[str]
    value: str

    def __new__(cls, sql: str, columns: Iterable[str], value: str | None = None) -> Expression:
        made = super().__new__(cls, sql)
        made.columns = frozenset(columns)
        made.value = sql if value is None else value
        return made

    def of_class(self, name: str) -> Expression:
        """The same with a collation or an operator class."""
        return Expression(f"{self} {name}", self.columns, self.value)


class Place(NamedTuple):
    """What a mark is compared with: a key of a table.

    ``ending`` is what follows the beginning of a text there, ``None`` if it is compared whole.
    """

    table: str
    key: str
    ending: str | None = None


def operand(node: Any) -> Any:
    """What is compared, ordered or grouped, of which a column or a mark is a part, or all."""
    from sqlglot import exp

    ends: tuple[Any, ...] = (
        exp.Connector,
        exp.Not,
        exp.Ordered,
        exp.Group,
        exp.Where,
        exp.Having,
        exp.Join,
        exp.Query,
    )
    ends += (exp.Alias, exp.Tuple, exp.AggFunc, exp.Window, *comparisons())
    while node.parent is not None and not isinstance(node.parent, ends):
        node = node.parent
    return node


def comparisons() -> tuple[Any, ...]:
    from sqlglot import exp

    return (exp.Predicate, *compared())


def compared() -> tuple[Any, ...]:
    """Comparisons that an index of another kind may help with."""
    from sqlglot import exp

    patterns = (exp.Like, exp.ILike, exp.Glob, exp.RegexpLike, exp.RegexpILike, exp.StartsWith)
    return (*patterns, exp.ArrayContainsAll, exp.ArrayOverlaps)


class Source:
    """The text of a statement that sqlglot has read, in which its parts are found again."""

    def __init__(self, sql: str, lexicon: Lexicon, dialect: str) -> None:
        self._sql = sql
        self._dialect = dialect
        self._words = list(_joined(token for token in tokens(sql, lexicon) if token.is_code))
        self._at = {word.start: number for number, word in enumerate(self._words)}

    def text(self, node: Any) -> str | None:
        """How a part is written, without names of tables; ``None`` if it is of more than one table."""
        from sqlglot import exp

        node = node.unnest()
        if next(node.find_all(exp.Placeholder, exp.Parameter, exp.Query, exp.Star, exp.AggFunc), None):
            return None
        columns = list(node.find_all(exp.Column))
        if len({column.table for column in columns}) != 1:
            return None
        at = self._at.get(columns[0].this.meta.get("start", -1))
        wanted = _plain(node, self._dialect)
        for first, last in self._around(at) if at is not None else ():
            words = list(_without_tables(self._words[first:last]))
            text = "".join(_spaced(words))
            if self._reads_as(text, wanted):
                return text if _is_call(words) else f"({text})"
        return None

    def condition(self) -> str:
        """The WHERE of a change of rows, as it is written; empty if there is none."""
        depth, begin, end = 0, len(self._sql), len(self._sql)
        for word in self._words:
            depth += (word.text in _OPENING) - (word.text in _CLOSING)
            name = word.text.upper() if depth == 0 and word.kind in ("word", "op") else ""
            if name == "WHERE":
                begin = word.start
            if name in ("RETURNING", ";"):
                end = min(end, word.start)
        return f" {self._sql[begin:end]}" if begin < end else ""

    def _around(self, at: int) -> Iterator[tuple[int, int]]:
        """The parts of the text around a word, the smallest first."""
        first, last = at, at + 1
        while True:
            first, last = self._edge(first, -1, _ends), self._edge(last, 1, _ends)
            yield first, last
            first, last = self._edge(first, -1), self._edge(last, 1)
            if first == 0 or last == len(self._words):
                return
            first, last = first - 1, last + 1

    def _edge(
        self, at: int, step: Literal[-1, 1], is_end: Callable[[Token], bool] = lambda word: False
    ) -> int:
        """Where the parentheses around a place begin or end, or what is to be compared does."""
        depth, shift = 0, min(step, 0)
        while 0 <= at + shift < len(self._words):
            word = self._words[at + shift]
            depth += step * ((word.text in _OPENING) - (word.text in _CLOSING))
            if depth < 0 or (depth == 0 and is_end is not None and is_end(word)):
                break
            at += step
        return at

    def _reads_as(self, text: str, wanted: Any) -> bool:
        import sqlglot
        from sqlglot.errors import SqlglotError

        try:
            return bool(_plain(sqlglot.parse_one(text, dialect=self._dialect), self._dialect) == wanted)
        except SqlglotError:
            return False


def _plain(node: Any, dialect: str) -> Any:
    """A part of a tree by itself, whose columns have no tables."""
    from sqlglot import exp
    from sqlglot.optimizer.normalize_identifiers import normalize_identifiers

    alone = normalize_identifiers(node.copy().unnest(), dialect=dialect)
    for column in alone.find_all(exp.Column):
        column.set("table", None)
        column.set("this", exp.to_identifier(column.name, quoted=True))
    return alone


def _joined(words: Iterable[Token]) -> Iterator[Token]:
    """Words, of which an operator of several letters is one."""
    waiting: Token | None = None
    for word in words:
        is_part = word.kind == "op" and word.text not in _ALONE
        if waiting is not None:
            if is_part and waiting.start + len(waiting.text) == word.start:
                waiting = Token("op", waiting.text + word.text, waiting.start)
                continue
            yield waiting
            waiting = None
        if is_part:
            waiting = word
        else:
            yield word
    if waiting is not None:
        yield waiting


def _ends(word: Token) -> bool:
    return word.text in _COMPARISONS or (word.kind == "word" and word.text.upper() in _ENDS)


def _without_tables(words: Sequence[Token]) -> Iterator[Token]:
    for number, word in enumerate(words):
        before_dot = number + 1 < len(words) and words[number + 1].text == "."
        if not (word.text == "." or (word.kind in _NAMES and before_dot)):
            yield word


def _spaced(words: Sequence[Token]) -> Iterator[str]:
    """Words as they were, with one space where there was any."""
    for number, word in enumerate(words):
        if number and words[number - 1].start + len(words[number - 1].text) < word.start:
            before = words[number - 1]
            yield " " if not (before.text in _OPENING or word.text in _CLOSING) else ""
        yield word.text


def _is_call(words: Sequence[Token]) -> bool:
    """Whether it is one call of a function, which needs no parentheses around it."""
    if len(words) < 3 or words[0].kind != "word" or words[1].text != "(":
        return False
    depth = 0
    for word in words[1:-1]:
        depth += (word.text == "(") - (word.text == ")")
        if depth == 0:
            return False
    return words[-1].text == ")"
