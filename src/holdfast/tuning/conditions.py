"""What the conditions of a statement compare, as far as a look at its words can tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.engines.names import unquote_identifier
from holdfast.engines.sqltext import Lexicon, Token, tokens

_UNEQUAL = frozenset({"<>", "!="})
_COMPARES = _UNEQUAL | {"=", "==", "<", ">", "<=", ">=", "LIKE", "ILIKE", "GLOB", "IN", "BETWEEN", "IS"}
_PATTERNS = frozenset({"LIKE", "ILIKE", "GLOB"})
_BOUNDS = frozenset(
    {"WHERE", "AND", "OR", "ON", "NOT", "HAVING", "WHEN", "THEN", "ELSE", "SELECT", "SET", "BY", "LIMIT", ","}
)
_OPERATORS = {"<": ("=", ">"), ">": ("=",), "=": ("=",), "!": ("=",)}


@dataclass(frozen=True, slots=True)
class Conditions:
    """Names of columns in lower case: compared as they are, computed with, of any beginning, or unequal.

    ``skipped`` is the OFFSET, where it is known.
    """

    plain: set[str] = field(default_factory=set)
    computed: set[str] = field(default_factory=set)
    anywhere: set[str] = field(default_factory=set)
    unequal: set[str] = field(default_factory=set)
    skipped: int = 0


def conditions(sql: str, values: Sequence[Any], lexicon: Lexicon) -> Conditions:
    """The conditions of a statement in the driver's text, with the values of its marks as far as given."""
    read = list(_joined(token for token in tokens(sql, lexicon) if token.is_code))
    known = _given(read, values)
    found = Conditions(skipped=_offset(read, known))
    for at, token in enumerate(read):
        word = token.text.upper()
        if token.kind not in ("op", "word") or word not in _COMPARES:
            continue
        is_not = at > 0 and read[at - 1].text.upper() == "NOT"
        left = _before(read, at - is_not)
        is_not = is_not or word in _UNEQUAL or (word == "IS" and "NOT" in _texts(read[at + 1 : at + 2]))
        right = [] if word in ("IN", "BETWEEN", "IS") else _after(read, at + 1)
        for side in (left, right):
            names = _names(side)
            if not (len(side) == 1 or (len(side) == 3 and side[1].text == ".")):
                found.computed.update(names)
            elif (
                word in _PATTERNS and not is_not and side is left and _begins_with_anything(known.get(at + 1))
            ):
                found.anywhere.update(names)
            else:
                (found.unequal if is_not else found.plain).update(names)
    return found


def _texts(read: Sequence[Token]) -> list[str]:
    return [token.text.upper() for token in read]


def _joined(read: Iterator[Token]) -> Iterator[Token]:
    """Operators of two characters as one."""
    held: Token | None = None
    for token in read:
        if held is not None:
            if token.kind == "op" and token.text in _OPERATORS[held.text] and token.start == held.start + 1:
                yield Token("op", held.text + token.text, held.start)
                held = None
                continue
            yield held
            held = None
        if token.kind == "op" and token.text in _OPERATORS:
            held = token
        else:
            yield token
    if held is not None:
        yield held


def _given(read: Sequence[Token], values: Sequence[Any]) -> dict[int, Any]:
    """The values in a text, and those of its marks, by where they stand."""
    found: dict[int, Any] = {}
    number = 0
    for at, token in enumerate(read):
        if token.kind == "mark":
            number = int(token.text[1:]) if token.text[1:].isdigit() else number + 1
            if number <= len(values):
                found[at] = values[number - 1]
        elif token.kind == "string":
            found[at] = token.text.partition("'")[2].removesuffix("'")
        elif token.kind == "number" and token.text.isdigit():
            found[at] = int(token.text)
    return found


def _offset(read: Sequence[Token], known: dict[int, Any]) -> int:
    skipped = 0
    for at, token in enumerate(read):
        is_short = token.text == "," and at > 1 and read[at - 2].text.upper() == "LIMIT"
        value = known.get(at - 1) if is_short else None
        if token.text.upper() == "OFFSET":
            value = known.get(at + 1)
        if isinstance(value, int):
            skipped = max(skipped, value)
    return skipped


def _begins_with_anything(pattern: Any) -> bool:
    return isinstance(pattern, str) and pattern.startswith(("%", "_", "*", "?"))


def _before(read: Sequence[Token], at: int) -> list[Token]:
    side: list[Token] = []
    depth = 0
    for token in reversed(read[:at]):
        depth += (token.text == ")") - (token.text == "(")
        if depth < 0 or (depth == 0 and token.text.upper() in _BOUNDS):
            break
        side.insert(0, token)
    return side


def _after(read: Sequence[Token], at: int) -> list[Token]:
    side: list[Token] = []
    depth = 0
    for token in read[at:]:
        depth += (token.text == "(") - (token.text == ")")
        is_end = token.text == ";" or (token.kind == "word" and token.text.upper() in _ENDS)
        if depth < 0 or (depth == 0 and (is_end or token.text.upper() in _BOUNDS)):
            break
        side.append(token)
    return side


_ENDS = frozenset({"GROUP", "ORDER", "UNION", "INTERSECT", "EXCEPT", "RETURNING", "OFFSET", "END", "WINDOW"})


def _names(side: Sequence[Token]) -> set[str]:
    """The columns that may be meant: names that are no function, no table before a dot and no subquery's."""
    if any(token.text.upper() == "SELECT" for token in side):
        return set()
    following = [*(token.text for token in side[1:]), ""]
    return {
        unquote_identifier(token.text).lower()
        for token, after in zip(side, following, strict=False)
        if token.kind in ("word", "quoted") and after not in ("(", ".")
    }
