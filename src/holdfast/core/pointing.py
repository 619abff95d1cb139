"""Where in a statement its mistake is: the line, and a caret below."""

from __future__ import annotations

from holdfast.engines.sqltext import Lexicon, tokens
from holdfast.errors import InvalidQuery

_LONGEST = 100
_VALUES = frozenset({"string", "number"})


def mark(error: InvalidQuery, sql: str, at: int, lexicon: Lexicon) -> None:
    """Have the error show where in the statement it is."""
    begun = next((token for token in tokens(sql, lexicon) if token.start + len(token.text) > at), None)
    if begun is not None and begun.kind == "string":
        # An engine quotes from there to the end.
        error.message = "the statement ends in a text, or there is a text where none can be"
    error.place = pointed(sql, at, lexicon)


def pointed(sql: str, at: int, lexicon: Lexicon) -> str:
    """The line of ``sql`` that ``at`` is in, without any value, and a caret below that place.

    >>> from holdfast.engines.sqltext import SQLITE
    >>> print(pointed("SELECT a FRM t WHERE b = 'secret'", 13, SQLITE))
    SELECT a FRM t WHERE b = '...'
                 ^
    """
    text, place = "", None
    for token in tokens(sql, lexicon):
        if place is None and token.start + len(token.text) > at:
            place = len(text) + (0 if token.kind in _VALUES else at - token.start)
        text += _without_value(token.kind, token.text)
    place = len(text) if place is None else place
    begin = text.rfind("\n", 0, place) + 1
    end = text.find("\n", place)
    line, place = text[begin : end if end >= 0 else len(text)].rstrip(), place - begin
    if len(line) > _LONGEST:
        cut = max(0, min(place - _LONGEST // 2, len(line) - _LONGEST))
        line, place = line[cut : cut + _LONGEST], place - cut
    # A tab is as wide as a terminal likes.
    return f"{line.replace(chr(9), ' ')}\n{' ' * place}^"


def _without_value(kind: str, text: str) -> str:
    if kind == "string":
        return "'...'"
    return "".join("0" if letter.isalnum() else letter for letter in text) if kind == "number" else text
