"""Statements without their values: alike for all that differ in nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache

from holdfast.engines.names import unquote_identifier
from holdfast.engines.sqltext import Lexicon, Token, tokens

_VALUES = frozenset({"string", "number", "mark"})
_ASSIGN = frozenset({"SET", "PRAGMA"})
_COMPARE = frozenset(
    {
        *("=", "==", "<", ">", "<=", ">=", "<>", "!=", "||", "+", "-", "*", "/"),
        *("LIKE", "GLOB", "MATCH", "REGEXP", "ESCAPE", "BETWEEN", "THEN", "ELSE"),
    }
)
_SETTINGS = ("SHOW ", "PRAGMA ")
_BEFORE_WRITTEN = frozenset({"INTO", "UPDATE", "TABLE"})
_BEFORE_READ = frozenset({"FROM", "JOIN"})
_ENDS_LIST = frozenset({"(", "WHERE", "GROUP", "ORDER", "SELECT", "LIMIT", "UNION"})
_CURSOR = re.compile(r"\bhf_[0-9a-f]{32}\b")
_REST = (Token("space", " ", 0), Token("mark", "?", 0))


# Where one of these is, what looks like a value may be something else.
_UNSURE = re.compile(r"""["`\[$\\]|--|/\*|[eE]'""")
# A mark that what follows would be read as a part of.
_GROWN = re.compile(r"\?(?:[?\w]|:\w)")


def fingerprint(sql: str, lexicon: Lexicon) -> str:
    """A statement without its values, comments and line breaks; a list of values is one.

    >>> from holdfast.engines.sqltext import SQLITE
    >>> fingerprint("SELECT *  FROM t WHERE a = 'secret' AND b IN (1, 2, 3) -- why", SQLITE)
    'SELECT * FROM t WHERE a = ? AND b IN (?)'
    """
    if not _UNSURE.search(sql):
        # A tenth of the time for texts that differ in plain values: their words are read once.
        marked = _plain_values(lexicon).sub("?", sql)
        sql = sql if _GROWN.search(marked) else marked
    return _known(sql, lexicon)


@cache
def _plain_values(lexicon: Lexicon) -> re.Pattern[str]:
    string = rf"(?:(?<!\w)[{lexicon.string_prefixes}])?'(?:[^']|'')*+'"
    return re.compile(rf"{string}|(?<![\w.?:@#'])[0-9]+(?:\.[0-9]+)?(?![\w.?'])")


@lru_cache(maxsize=4096)
def _known(sql: str, lexicon: Lexicon) -> str:
    return without_values(sql, lexicon)


def is_of_catalogue(sql: str, lexicon: Lexicon) -> bool:
    """Whether a statement asks for nothing but what the engine knows of itself, its settings included.

    >>> from holdfast.engines.sqltext import SQLITE
    >>> is_of_catalogue("SELECT name FROM sqlite_master", SQLITE)
    True
    >>> is_of_catalogue("SELECT a FROM t JOIN sqlite_master ON name = a", SQLITE)
    False
    """
    if sql[:10].lstrip().upper().startswith(_SETTINGS):
        return True
    own, part = _own_names(lexicon)
    if not part.search(sql):
        return False
    read = [token for token in tokens(sql, lexicon) if token.is_code]
    is_own = is_listing = False
    for at, token in enumerate(read):
        word, before = token.text.upper(), read[at - 1].text.upper() if at else ""
        is_listing = word == "FROM" or (is_listing and word not in _ENDS_LIST)
        if token.kind not in ("word", "quoted"):
            continue
        if own.fullmatch(unquote_identifier(token.text)):
            is_own = True
        elif before in _BEFORE_WRITTEN:
            return False
        elif before in _BEFORE_READ or (before == "," and is_listing):
            is_function = at + 1 < len(read) and read[at + 1].text == "("
            if not is_function:
                return False
    return is_own


@cache
def _own_names(lexicon: Lexicon) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What such a name is, and what finds one anywhere."""
    names = lexicon.own_names
    return re.compile(names, re.IGNORECASE), re.compile(rf"\b(?:{names})", re.IGNORECASE)


def without_values(sql: str, lexicon: Lexicon) -> str:
    """The same, word by word."""
    read = list(tokens(sql, lexicon))
    if lexicon.quoted_strings and '"' in sql:
        read = list(_unquoted(read))
    words: list[str] = []
    for token in _assigned(read):
        if token.kind in _VALUES:
            words.append("?")
        elif token.is_code:
            words.append(token.text)
        elif words and words[-1] != " ":
            words.append(" ")
    text = "".join(words).strip().rstrip(";").rstrip().replace("( ", "(").replace(" )", ")")
    if "hf_" in text:
        text = _CURSOR.sub("hf_?", text)
    return _collapsed(text)


def _collapsed(text: str) -> str:
    """Lists of values, and lists of rows of values, as one."""
    while (shorter := text.replace("?, ?", "?").replace("?,?", "?")) != text:
        text = shorter
    while (shorter := text.replace("(?), (?)", "(?)").replace("(?),(?)", "(?)")) != text:
        text = shorter
    return text


def _assigned(read: Sequence[Token]) -> Iterator[Token]:
    """What a setting is set to is a value, also where it is a bare word."""
    words = [token.text.upper() for token in read if token.is_code]
    verb = next((word for word in words if word not in "(;"), "")
    is_set = verb in _ASSIGN
    is_setting = is_set or (verb == "ALTER" and "SET" in words)
    for token in read:
        yield token
        word = token.text.upper()
        is_set = is_set or word == "SET"
        if is_setting and is_set and word in ("=", "TO"):
            yield from _REST
            return


def _unquoted(read: Sequence[Token]) -> Iterator[Token]:
    """Strings for names in double quotes where only a value makes sense.

    SQLite takes such a name for a string if nothing is called so.
    """
    code = [number for number, token in enumerate(read) if token.is_code]
    after = dict(zip(code, [*code[1:], -1], strict=True))
    before, opened = "", ""
    lists: list[str] = []
    for number, token in enumerate(read):
        if not token.is_code:
            yield token
            continue
        word = token.text.upper()
        if token.kind == "quoted" and token.text.startswith('"'):
            following = read[after[number]].text if after[number] >= 0 else ""
            is_listed = bool(lists) and lists[-1] in ("VALUES", "IN") and before in ("(", ",")
            if following not in (".", "(") and (before in _COMPARE or is_listed):
                token = Token("string", token.text, token.start)
        elif word == "(":
            # VALUES (...), (...) has one word for all of its lists.
            lists.append(opened if before == "," and not lists else before)
            opened = lists[-1] if len(lists) == 1 else opened
        elif word == ")" and lists:
            lists.pop()
        before = word
        yield token
