"""What only the texts of tables and indexes say: CHECKs, collations, expressions, options."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from holdfast.engines.definition import ColumnSpec, group_end, joined, parse_column
from holdfast.engines.names import quote_identifier, unquote_identifier
from holdfast.engines.sqltext import Lexicon, Token, tokens
from holdfast.errors import Error

_CONSTRAINTS = frozenset({"CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN", "EXCLUDE"})
_OPTIONS = {
    "DEFERRABLE": "a DEFERRABLE constraint is checked at once",
    "CONFLICT": "ON CONFLICT clauses of constraints",
    "EXCLUDE": "an exclusion constraint",
    "NULLS": "UNIQUE NULLS NOT DISTINCT lets NULLs repeat",
    "INCLUDE": "columns that a constraint's index INCLUDEs",
    "ALWAYS AS IDENTITY": "an identity that is GENERATED ALWAYS becomes BY DEFAULT",
}
_TABLE_OPTIONS = {
    "UNLOGGED": "the table is logged",
    "STRICT": "STRICT",
    "WITHOUT": "WITHOUT ROWID",
    "PARTITION": "the partitions become one table",
}
_CONSTANTS = frozenset({"NULL", "TRUE", "FALSE", "CURRENT_TIMESTAMP", "CURRENT_DATE", "CURRENT_TIME"})
_LOGIC = frozenset({"AND", "OR", "NOT", "IN", "BETWEEN", "IS", "NULL"})
_NUMBERS, _TEXTS = frozenset({"integer", "float", "decimal"}), frozenset({"text"})


@dataclass(frozen=True)
class TableText:
    """A table's text, as far as the catalogue does not tell it; a column not understood has no spec."""

    columns: dict[str, ColumnSpec]
    checks: tuple[str, ...]
    options: tuple[str, ...]
    is_virtual: bool


def read_table(sql: str, lexicon: Lexicon) -> TableText:
    code = _code(sql, lexicon)
    start = next((at for at, token in enumerate(code) if token.text == "("), len(code))
    head = [token.text.upper() for token in code[:start]]
    if "VIRTUAL" in head[:2] or start == len(code):
        return TableText({}, (), (), is_virtual=True)
    end = group_end(code, start)
    columns: dict[str, ColumnSpec] = {}
    checks: list[str] = []
    around = [*head[:2], *(token.text.upper() for token in code[end:] if token.kind == "word")]
    said: list[str] = []
    for part in _split(code[start + 1 : end - 1]):
        if part[0].kind == "quoted" or part[0].text.upper() not in _CONSTRAINTS:
            name = unquote_identifier(part[0].text)
            spec = _column(name, part[1:], lexicon)
            if spec is not None:
                columns[name] = spec
        checks += _checks(part)
        words = [token.text.upper() for token in _outside(part) if token.kind == "word"]
        said += words if words[:1] == ["EXCLUDE"] else words[1:]
        said += ["ALWAYS AS IDENTITY"] if "ALWAYS AS IDENTITY" in " ".join(words) else []
    options = [text for word, text in _OPTIONS.items() if word in said]
    options += [text for word, text in _TABLE_OPTIONS.items() if word in around]
    return TableText(columns, tuple(checks), tuple(options), is_virtual=False)


def _code(text: str, lexicon: Lexicon) -> list[Token]:
    return [token for token in tokens(text, lexicon) if token.is_code]


def _split(code: Sequence[Token]) -> list[list[Token]]:
    """The parts between the commas that are in no parentheses."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in code:
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(token.text, 0)
        if token.text == "," and depth == 0:
            parts.append([])
        else:
            parts[-1].append(token)
    return [part for part in parts if part]


def _outside(code: Sequence[Token]) -> list[Token]:
    kept, depth = [], 0
    for token in code:
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if depth == 0:
            kept.append(token)
    return kept


def _column(name: str, rest: Sequence[Token], lexicon: Lexicon) -> ColumnSpec | None:
    try:
        return parse_column(name, joined(rest), lexicon)
    except Error:
        return None


def _checks(part: Sequence[Token]) -> list[str]:
    found, at = [], 0
    while at < len(part) - 1:
        if part[at + 1].text != "(":
            at += 1
            continue
        end = group_end(part, at + 1)
        if part[at].kind == "word" and part[at].text.upper() == "CHECK":
            found.append(joined(part[at + 2 : end - 1]))
        at = end
    return found


def as_literal(text: str, lexicon: Lexicon) -> str:
    """A default that SQLite lets stand in double quotes is a text."""
    code = _code(text, lexicon)
    if len(code) != 1 or code[0].kind != "quoted":
        return text
    return "'" + unquote_identifier(code[0].text).replace("'", "''") + "'"


def portable_default(text: str, known: Collection[str], lexicon: Lexicon) -> bool:
    """Whether a default means the same everywhere: a literal, perhaps cast, or one that DDL translates."""
    if "".join(text.split()).lower() in known:
        return True
    code = _code(text, lexicon)
    if code and code[0].text == "(" and group_end(code, 0) == len(code):
        code = code[1:-1]
    code = code[1:] if code and code[0].text in {"+", "-"} else code
    is_literal = bool(code) and (code[0].kind in {"string", "number"} or code[0].text.upper() in _CONSTANTS)
    return is_literal and (len(code) == 1 or code[1].text == "::")


def portable_check(text: str, kinds: Mapping[str, str], lexicon: Lexicon) -> str | None:
    """The CHECK in the words that both engines read alike, or ``None``."""
    code = _uncast(_code(text, lexicon))
    pieces: list[str] = []
    seen: set[str] = set()
    has_length = False
    for token in _in_lists(code):
        word = token.text.upper()
        if token.kind == "quoted" or (token.kind == "word" and token.text in kinds):
            name = unquote_identifier(token.text)
            if name not in kinds:
                return None
            seen.add(kinds[name])
            pieces.append(quote_identifier(name))
        elif token.kind == "word" and word in _LOGIC | {"LENGTH", "ABS"}:
            has_length |= word == "LENGTH"
            pieces.append(word)
        elif token.kind in {"number", "string"} or (
            token.kind == "op" and set(token.text) <= set("()<>=!+-*,")
        ):
            seen |= {"'"} if token.kind == "string" else set()
            if pieces and {pieces[-1][-1], token.text} <= set("<>=!"):
                pieces[-1] += token.text
            else:
                pieces.append(token.text)
        else:
            return None
    allowed = _TEXTS | {"'"} if "'" in seen else _NUMBERS | (_TEXTS if has_length else frozenset())
    # SQLite would reckon with decimals as floats; it compares them exactly.
    is_exact = "decimal" not in seen or not {"*", "+"} & set(pieces)
    return " ".join(pieces) if seen and seen <= allowed and is_exact else None


def _uncast(code: list[Token]) -> list[Token]:
    """Without ``::type``, in one or two words, with its arguments."""
    kept: list[Token] = []
    at = 0
    while at < len(code):
        if code[at].text != "::":
            kept.append(code[at])
            at += 1
            continue
        at += 1
        while at < len(code) and code[at].text.lower() in _CASTS:
            at += 1
        if at < len(code) and code[at].text == "[":
            at += 2
    return kept


_CASTS = frozenset(
    "text numeric double precision integer bigint smallint real character varying bpchar".split()  # noqa: SIM905
)


def _in_lists(code: list[Token]) -> list[Token]:
    """``= ANY (ARRAY[...])``, as PostgreSQL keeps it, is ``IN (...)``."""
    texts = [token.text.upper() for token in code]
    for at in range(len(code) - 4):
        if texts[at : at + 3] != ["=", "ANY", "("]:
            continue
        inner = at + 3
        doubled = texts[inner] == "("
        opening = inner + doubled + 1
        if texts[inner + doubled : opening + 1] != ["ARRAY", "["] or "]" not in texts[opening:]:
            continue
        closing = texts.index("]", opening)
        word = Token("word", "IN", code[at].start)
        end = closing + 1 + doubled
        bracketed = [Token("op", "(", 0), *code[opening + 1 : closing], Token("op", ")", 0)]
        return [*code[:at], word, *bracketed, *_in_lists(code[end + 1 :])]
    return code


def index_keys(sql: str, lexicon: Lexicon) -> list[Token]:
    """What stands behind the table's name in CREATE INDEX."""
    code = _code(sql, lexicon)
    at = next(at for at, token in enumerate(code) if token.kind == "word" and token.text.upper() == "ON") + 1
    if code[at].kind == "word" and code[at].text.upper() == "ONLY":
        at += 1
    return code[at + 3 :] if code[at + 1].text == "." else code[at + 1 :]


def plain_keys(code: Sequence[Token], names: Collection[str]) -> str | None:
    """The keys of an index of nothing but columns, for either engine; ``None`` for any other."""
    if [token.text.upper() for token in code[:2]] == ["USING", "BTREE"]:
        code = code[2:]
    if not code or code[0].text != "(" or group_end(code, 0) != len(code):
        return None
    keys = []
    for part in _split(code[1:-1]):
        name, order = unquote_identifier(part[0].text), [token.text.upper() for token in part[1:]]
        if (
            part[0].kind not in {"word", "quoted"}
            or name not in names
            or order not in ([], ["ASC"], ["DESC"])
        ):
            return None
        keys.append(quote_identifier(name) + (" DESC" if order == ["DESC"] else ""))
    return f"({', '.join(keys)})"
