"""A small SQL lexer, and what is done with its tokens: binding parameters and splitting statements.

It does not parse. It knows where strings, quoted names, comments and parameter marks begin and end,
which is enough to change the marks of a text, and nothing else in it, without ever reading a value.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Literal, NamedTuple

from holdfast.engines.names import unquote_identifier
from holdfast.errors import InvalidQuery

Kind = Literal["space", "comment", "string", "quoted", "number", "word", "mark", "op"]


@dataclass(frozen=True, eq=False)
class Lexicon:
    """How one dialect writes its text. Compared by identity, so that it is a cheap cache key."""

    string_prefixes: str
    """Letters that may stand directly before a string: ``X'00'``."""
    escape_strings: bool
    """``E'it\\'s'``."""
    dollar_quotes: bool
    """``$tag$ ... $tag$``, and ``$1`` as a mark."""
    nested_comments: bool
    line_ends: str
    """The characters that end a ``--`` comment."""
    other_quotes: bool
    """``[name]`` and `` `name` `` besides ``"name"``."""
    quoted_strings: bool
    """``"name"`` is a string where nothing has that name."""
    foreign_marks: str
    """A pattern of marks the engine has besides ``?`` and ``:name``."""
    mark_operators: bool
    """``?`` and ``:name`` may also be an operator or a slice, so they may stand in a text unbound."""
    trigger_bodies: bool
    """``CREATE TRIGGER`` has a body of statements; otherwise ``BEGIN ATOMIC`` opens one."""
    own_names: str
    """A pattern of the names of tables and functions that tell of the engine itself."""


SQLITE = Lexicon(
    string_prefixes="xX",
    escape_strings=False,
    dollar_quotes=False,
    nested_comments=False,
    line_ends="\n",
    other_quotes=True,
    quoted_strings=True,
    foreign_marks=r"[@$\#][A-Za-z0-9_\u0080-\U0010ffff]+",
    mark_operators=False,
    trigger_bodies=True,
    own_names=r"sqlite_\w+|pragma_\w+|dbstat",
)
POSTGRES = Lexicon(
    string_prefixes="xXbBnN",
    escape_strings=True,
    dollar_quotes=True,
    nested_comments=True,
    line_ends="\n\r",
    other_quotes=False,
    quoted_strings=False,
    foreign_marks=r"\$[0-9]+",
    mark_operators=True,
    trigger_bodies=False,
    # https://www.postgresql.org/docs/current/ddl-schemas.html#DDL-SCHEMAS-CATALOG
    own_names=r"pg_(?!sleep|advisory|try_advisory)\w+|information_schema",
)


class Token(NamedTuple):
    """A piece of a text: the tokens of a text, joined, are the text."""

    kind: Kind
    text: str
    start: int

    @property
    def is_code(self) -> bool:
        """Neither space nor comment."""
        return self.kind != "space" and self.kind != "comment"


_WORD = r"[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_$\u0080-\U0010ffff]*"
_BEFORE_SLICE = r"""(?<![A-Za-z0-9_$\u0080-\U0010ffff)\]"':])"""
_COMMENT_EDGE = re.compile(r"/\*|\*/")


def _quoted_by(quote: str) -> str:
    # \Z: an unterminated one reaches to the end of the text.
    return rf"{quote}[^{quote}]*+(?:{quote}{quote}[^{quote}]*+)*+(?:{quote}|\Z)"


def _patterns(lexicon: Lexicon) -> dict[str, str]:
    strings = [rf"[{lexicon.string_prefixes}]?" + _quoted_by("'")]
    if lexicon.escape_strings:
        escaped = r"'[^'\\]*+(?:(?:\\.|'')[^'\\]*+)*+(?:'|\\?\Z)"
        # A string goes on after a newline, still with backslashes.
        strings.insert(0, rf"[eE]{escaped}(?:[ \t\f\v]*[\n\r][ \t\f\v\n\r]*{escaped})*+")
    if lexicon.dollar_quotes:
        tag = r"(?:[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_\u0080-\U0010ffff]*)?"
        strings.append(rf"\$(?P<tag>{tag})\$.*?(?:\$(?P=tag)\$|\Z)")
    names = [_quoted_by('"')]
    if lexicon.other_quotes:
        names += [_quoted_by("`"), r"\[[^\]]*+(?:\]|\Z)"]
    return {
        "comment": rf"--[^{lexicon.line_ends}]*" + ("" if lexicon.nested_comments else r"|/\*.*?(?:\*/|\Z)"),
        "nest": r"/\*",
        "string": "|".join(strings),
        "quoted": "|".join(names),
        "word": _WORD,
    }


def _compiled(kinds: dict[str, str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in kinds.items()), re.DOTALL)


@cache
def _pattern(lexicon: Lexicon) -> re.Pattern[str]:
    return _compiled(
        {"space": r"[ \t\n\r\f\v]+"}
        | _patterns(lexicon)
        | {
            "number": r"0[xX][0-9A-Fa-f_]+"
            r"|(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?",
            "literal": r"\?\?",
            "mark": rf"\?[0-9]*|{_BEFORE_SLICE}:{_WORD}|{lexicon.foreign_marks}",
            "op": r"::|:=|.",
        }
    )


@cache
def _coarse_pattern(lexicon: Lexicon) -> re.Pattern[str]:
    """What splitting needs, three times as fast: numbers, operators and space are one piece."""
    return _compiled(_patterns(lexicon) | {"end": ";", "rest": r"[0-9(),.=<>+*%&|!~ \t\n\r\f\v]+|."})


def tokens(sql: str, lexicon: Lexicon) -> Iterator[Token]:
    """The tokens of ``sql``, space and comments included; joined they are ``sql`` again.

    An unterminated string, name or comment is one token that reaches to the end.
    """
    match = _pattern(lexicon).match
    at, size = 0, len(sql)
    while at < size:
        found = match(sql, at)
        assert found is not None
        kind, end = found.lastgroup, found.end()
        if kind == "nest":
            kind, end = "comment", _nested_comment_end(sql, at)
        elif kind == "literal":
            kind = "op"
        yield Token(kind, sql[at:end], at)  # type: ignore[arg-type]
        at = end


def _nested_comment_end(sql: str, start: int) -> int:
    depth = 0
    for edge in _COMMENT_EDGE.finditer(sql, start):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(sql)


class _Template(NamedTuple):
    """A text in the driver's form, and the values it wants, by position or by name."""

    text: str
    size: int
    names: tuple[str, ...]
    left: tuple[str, ...]
    """Marks of the other style, left in the text as they are."""
    foreign: tuple[str, ...]
    """Marks that only one engine knows."""


_CACHED_LENGTH = 20_000
_MARKS = frozenset("?:@$#")
"""What marks begin with, in any dialect."""
_EMPTY: tuple[Any, ...] = ()


def bind(
    sql: str,
    params: Sequence[Any] | Mapping[str, Any] | None,
    *,
    lexicon: Lexicon,
    numbered: bool,
) -> tuple[str, list[Any]]:
    """Turn neutral text and its values into the driver's text and a list of values.

    With a sequence, or without values, each ``?`` is a mark; with a mapping each ``:name`` is, and a name
    may recur. ``??`` is a literal ``?``. Quotes and comments are untouched, and ``%`` means nothing.
    ``numbered`` writes ``$1, $2``, otherwise ``?``.

    >>> bind("a = ? AND b = '?'", [1], lexicon=POSTGRES, numbered=True)
    ("a = $1 AND b = '?'", [1])
    >>> bind("a = :x OR b = :x", {"x": 1}, lexicon=SQLITE, numbered=False)
    ('a = ? OR b = ?', [1, 1])

    Raises:
        InvalidQuery: if the marks and the values do not fit; the message never holds a value.
    """
    if params is None:
        params = _EMPTY
    kind = type(params)
    if kind is not tuple and kind is not list:
        if isinstance(params, Mapping):
            return _bind_names(sql, params, lexicon, numbered)
        if isinstance(params, str | bytes | bytearray | memoryview) or not isinstance(params, Sequence):
            raise InvalidQuery(
                f"params must be a list, a tuple or a dict, not {kind.__name__}",
                hint="give a single value as [value]",
            )
    template = _template(sql, lexicon, numbered, named=False)
    if template.size != len(params) or template.left or template.foreign:
        _check_positions(template, len(params), lexicon)
    return template.text, list(params)


def native(sql: str, *, lexicon: Lexicon, numbered: bool) -> str:
    """The driver's text of a neutral one whose marks are all ``?``; the values come with each call."""
    if ("?" if numbered else "??") not in sql:
        return sql
    return _template(sql, lexicon, numbered, named=False).text


def positional(
    sql: str, params: Sequence[Any] | Mapping[str, Any] | None, *, lexicon: Lexicon
) -> tuple[str, list[Any]]:
    """A fragment with its values in neutral form: each mark a ``?``, each value in its place.

    >>> positional("a = :x OR b = :x", {"x": 1}, lexicon=SQLITE)
    ('a = ? OR b = ?', [1, 1])
    """
    if not isinstance(params, Mapping):
        return sql, bind(sql, params, lexicon=lexicon, numbered=False)[1]
    _, values = bind(sql, params, lexicon=lexicon, numbered=False)
    return _unnamed(sql, lexicon), values


@lru_cache(maxsize=4096)
def _unnamed(sql: str, lexicon: Lexicon) -> str:
    neutral = {":": "?", "?": "??"}  # with names, a bare ? was an operator
    return "".join(
        neutral.get(text[0], text) if kind == "mark" else text for kind, text, _ in tokens(sql, lexicon)
    )


def _bind_names(
    sql: str, params: Mapping[str, Any], lexicon: Lexicon, numbered: bool
) -> tuple[str, list[Any]]:
    template = _template(sql, lexicon, numbered, named=True)
    wanted = set(template.names)
    if template.left and not lexicon.mark_operators:
        raise InvalidQuery(
            "the statement has a ? mark, and its values were given by name", hint="use one style: ? or :name"
        )
    _refuse_foreign(template, len(params))
    missing = sorted(wanted - params.keys())
    unused = [key if isinstance(key, str) else type(key).__name__ for key in params if key not in wanted]
    if missing:
        raise InvalidQuery(f"no value was given for {_marks(missing)}")
    if unused:
        raise InvalidQuery(
            f"the statement has no mark for the given {', '.join(map(repr, unused))}",
            hint=f"its marks are {_marks(sorted(wanted))}" if wanted else "write the marks as :name",
        )
    return template.text, [params[name] for name in template.names]


def _check_positions(template: _Template, given: int, lexicon: Lexicon) -> None:
    named = [mark[1:] for mark in template.left]
    if named and not lexicon.mark_operators:
        style = "mixes ? and" if template.size else "has"
        raise InvalidQuery(
            f"the statement {style} {_marks(named)}, and its values were not given by name",
            hint="give the values of :name marks as a dict",
        )
    _refuse_foreign(template, given)
    if template.size != given:
        hint = "give one value for each ?; a literal ? is written ??"
        if named:
            hint = "give the values of :name marks as a dict"
        raise InvalidQuery(
            f"the statement has {template.size} ? marks, and {given} values were given", hint=hint
        )


def _refuse_foreign(template: _Template, given: int) -> None:
    numbered_question = any(mark.startswith("?") for mark in template.foreign)
    if template.foreign and (given or numbered_question):
        raise InvalidQuery(
            f"the statement has the mark {template.foreign[0]}", hint="write marks as ?, or as :name"
        )


def _marks(names: Iterable[str]) -> str:
    return ", ".join(f":{name}" for name in names)


def _template(sql: str, lexicon: Lexicon, numbered: bool, named: bool) -> _Template:
    build = _cached_template if len(sql) <= _CACHED_LENGTH else _build_template
    return build(sql, lexicon, numbered, named)


def _build_template(sql: str, lexicon: Lexicon, numbered: bool, named: bool) -> _Template:
    if _MARKS.isdisjoint(sql):
        # Most programs then need not have the patterns.
        return _Template(sql, 0, (), (), ())
    pieces: list[str] = []
    names: list[str] = []
    left: list[str] = []
    foreign: list[str] = []
    count = 0
    for kind, text, start in tokens(sql, lexicon):
        if text == "??" and kind == "op":
            pieces.append("?")
        elif kind != "mark":
            pieces.append(text)
        elif text != "?" and text[0] != ":":
            foreign.append(text)
            pieces.append(text)
        elif (text == "?") == named:
            left.append(text)
            pieces.append(text)
        else:
            name = text[1:]
            number = names.index(name) + 1 if named and numbered and name in names else 0
            if not number:
                count += 1
                number = count
                names.append(name)
            pieces.append(_numbered(number, sql, start, start + len(text)) if numbered else "?")
    return _Template("".join(pieces), count, tuple(names), tuple(left), tuple(foreign))


_cached_template = lru_cache(maxsize=4096)(_build_template)


def _numbered(number: int, sql: str, start: int, end: int) -> str:
    # A neighbouring letter would make one word with "$1", as in LIMIT?.
    before = " " if start and (sql[start - 1].isalnum() or sql[start - 1] in "_$") else ""
    after = " " if end < len(sql) and (sql[end].isalnum() or sql[end] in "_$") else ""
    return f"{before}${number}{after}"


_CHUNK = 1 << 16


def iter_statements(chunks: Iterable[str], lexicon: Lexicon) -> Iterator[str]:
    """The statements of a text that arrives in pieces (an open file, say), each without its semicolon.

    Bodies of triggers and functions are kept whole; empty statements and trailing comments are left out.
    Memory stays at the size of the longest statement.

    >>> list(iter_statements(["SELECT 1; SEL", "ECT ';' -- end"], SQLITE))
    ['SELECT 1', "SELECT ';' -- end"]
    """
    waiting: list[str] = []
    size, limit = 0, _CHUNK
    for chunk in chunks:
        waiting.append(chunk)
        size += len(chunk)
        if size < limit:
            continue
        text = "".join(waiting)
        done = yield from _complete(text, lexicon, last=False)
        waiting = [text[done:]]
        size = len(waiting[0])
        # Doubling: a statement of many chunks is read a few times, not once for each of them.
        limit = max(_CHUNK, 2 * size)
    yield from _complete("".join(waiting), lexicon, last=True)


def split_statements(sql: str, lexicon: Lexicon) -> list[str]:
    """The statements of ``sql``, each without its semicolon. See :func:`iter_statements`."""
    return list(iter_statements([sql], lexicon))


def ended_statements(sql: str, lexicon: Lexicon) -> tuple[list[str], str]:
    """The statements whose semicolon is there, and the text of the one that is not finished.

    >>> ended_statements("SELECT 1; SELECT ';", SQLITE)
    (['SELECT 1'], " SELECT ';")
    """
    found: list[str] = []

    def read() -> Generator[str, None, None]:
        nonlocal sql
        sql = sql[(yield from _complete(sql, lexicon, last=False)) :]

    found.extend(read())
    return found, sql


def is_single_statement(sql: str, lexicon: Lexicon) -> bool:
    """Whether ``sql`` is exactly one statement; a semicolon and comments may follow it."""
    statements = iter_statements([sql], lexicon)
    return next(statements, None) is not None and next(statements, None) is None


def _complete(text: str, lexicon: Lexicon, *, last: bool) -> Generator[str, None, int]:
    """Yield the statements that end in ``text``, and return where the unfinished one begins."""
    match = _coarse_pattern(lexicon).match
    begin = at = 0
    statement = _Statement(lexicon)
    while found := match(text, at):
        kind, at = found.lastgroup, found.end()
        if kind == "nest":
            at = _nested_comment_end(text, found.start())
        elif kind == "end" and statement.may_end:
            if statement.has_code:
                yield text[begin : found.start()].strip()
            begin, statement = at, _Statement(lexicon)
        elif kind == "word" or kind == "end":
            statement.read(found[0].upper())
        elif kind != "comment":
            statement.pass_over(found[0])
    if last and statement.has_code:
        yield text[begin:].strip()
    return begin


class _Statement:
    """What is known of a statement half read: whether the next semicolon ends it."""

    __slots__ = ("_before", "_in_body", "_last", "_lexicon", "_words", "has_code")

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._words: list[str] = []
        self._before = self._last = ""
        self._in_body = False
        self.has_code = False

    @property
    def may_end(self) -> bool:
        # As sqlite3_complete() has it: a body ends at "; END ;", whatever CASE ... END it holds.
        return not self._in_body or (self._last == "END" and self._before in {";", "ATOMIC"})

    def read(self, word: str) -> None:
        self.has_code = True
        self._before, self._last = self._last, word
        if len(self._words) < 3:
            self._words.append(word)
        if not self._in_body and self._words[0] == "CREATE":
            self._in_body = self._opens_body()

    def pass_over(self, rest: str) -> None:
        if not rest.isspace():
            self.has_code = True
            self._before, self._last = self._last, ""

    def _opens_body(self) -> bool:
        if self._lexicon.trigger_bodies:
            return [w for w in self._words if w not in {"TEMP", "TEMPORARY"}][:2] == ["CREATE", "TRIGGER"]
        return self._before == "BEGIN" and self._last == "ATOMIC"


@lru_cache(maxsize=4096)
def first_word(sql: str, lexicon: Lexicon) -> str:
    """The verb of a statement, in capitals: its first word after comments and parentheses, or ``""``.

    >>> first_word("/* all */ (select 1)", SQLITE)
    'SELECT'
    """
    for token in tokens(sql, lexicon):
        if token.is_code and token.text not in {"(", ";"}:
            return token.text.upper() if token.kind == "word" else ""
    return ""


def quoted_names(sql: str, lexicon: Lexicon) -> list[str]:
    """The double-quoted identifiers of ``sql``, in order, without their quotes.

    SQLite reads such a name as a string if there is no column of that name.
    """
    return [
        unquote_identifier(text)
        for kind, text, _ in tokens(sql, lexicon)
        if kind == "quoted" and text.startswith('"')
    ]
