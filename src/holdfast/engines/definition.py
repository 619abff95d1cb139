"""Column definitions and constraints, read from the text a user writes in either dialect.

The lexer reads them rather than sqlglot, which forgets what must be kept (NUMERIC(10,2) becomes REAL(10, 2)
on SQLite, VARCHAR becomes TEXT), refuses some of SQLite's types, and costs half a second to import.
Expressions stay as they were written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NoReturn

from holdfast.engines.names import check_identifier, unquote_identifier
from holdfast.engines.sqltext import POSTGRES, Lexicon, Token, tokens
from holdfast.errors import InvalidQuery

ACTIONS = ("NO ACTION", "RESTRICT", "CASCADE", "SET NULL", "SET DEFAULT")
_SERIALS = {"SERIAL", "BIGSERIAL", "SMALLSERIAL", "SERIAL2", "SERIAL4", "SERIAL8"}
_NO_TYPES = {"NOT", "ON", "KEY", "AUTOINCREMENT", "AUTO_INCREMENT", "AS", "BY", "SET", "AND", "OR"}
_CLOSING = {"(": ")", "[": "]"}


@dataclass(frozen=True, slots=True)
class Check:
    """``CHECK (expression)``, with its constraint's name if it was given one."""

    expression: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """``FOREIGN KEY (columns) REFERENCES table (references)``; no ``references`` means its primary key."""

    columns: tuple[str, ...]
    table: str
    references: tuple[str, ...] = ()
    on_delete: str | None = None
    on_update: str | None = None
    deferrable: str | None = None
    """``DEFERRABLE``, ``DEFERRABLE INITIALLY DEFERRED`` and so on, as written."""
    name: str | None = None


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """One column as it was asked for, before any engine's own spelling."""

    name: str
    type_text: str
    primary_key: bool = False
    autoincrement: bool = False
    identity: str | None = None
    """``BY DEFAULT`` or ``ALWAYS``; SERIAL is ``BY DEFAULT``."""
    not_null: bool = False
    unique: bool = False
    default: str | None = None
    checks: tuple[Check, ...] = ()
    references: ForeignKey | None = None
    collate: str | None = None
    generated: str | None = None
    stored: bool | None = None
    names: tuple[tuple[str, str], ...] = ()
    """The given names of its PRIMARY KEY and UNIQUE constraints."""

    @property
    def base_type(self) -> str:
        """The type in capitals without its arguments: ``VARCHAR(50)`` is ``VARCHAR``."""
        depth, words = 0, []
        for token in _code(self.type_text, POSTGRES):
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            if depth == 0 and token.text != ")":
                words.append(token.text.upper())
        return " ".join(words)

    @property
    def type_arguments(self) -> str:
        """The arguments of the type with their parentheses, or ``""``: ``VARCHAR(50)`` has ``(50)``."""
        start, end = self.type_text.find("("), self.type_text.rfind(")")
        return self.type_text[start : end + 1] if 0 <= start < end else ""


def parse_column(name: str, definition: str, lexicon: Lexicon = POSTGRES) -> ColumnSpec:
    """Read one column's definition: a type, and constraints in any order.

    >>> parse_column("age", "INT NOT NULL DEFAULT 0").default
    '0'

    Raises:
        InvalidQuery: if the text is not exactly one column definition; it names the column.
    """
    check_identifier(name, "column name")
    if not isinstance(definition, str):
        raise InvalidQuery(f"the definition of column {name!r} is a {type(definition).__name__}, not text")
    what = f"the definition of column {name!r}"
    code = _balanced(definition, lexicon, what)
    starts = clause_starts(code, 0)
    type_tokens = code[: starts[0]] if starts else code
    if not type_tokens:
        raise InvalidQuery(f"{what} has no type", hint="such as INTEGER, REAL, TEXT, TIMESTAMP or BLOB")
    for token in type_tokens:
        is_word = token.kind == "word" and token.text.upper() not in _NO_TYPES
        if not is_word and token.kind not in {"quoted", "number"} and token.text not in set("(),[].-"):
            _refuse(what, token)
    reader = _Reader(name, what, joined(type_tokens))
    for start, end in pairwise([*starts, len(code)]):
        reader.read(code[start:end])
    return reader.finish()


def check_expression(text: str, what: str, lexicon: Lexicon = POSTGRES) -> str:
    """Return ``text`` if it can be one SQL expression: balanced, and no comma or semicolon outside.

    Raises:
        InvalidQuery: otherwise; ``what`` says in the message what the text was for.
    """
    code = _balanced(text, lexicon, what)
    if not code:
        raise InvalidQuery(f"{what} is empty")
    return joined(code)


def parse_reference(
    columns: Sequence[str], text: str, what: str, lexicon: Lexicon = POSTGRES, name: str | None = None
) -> ForeignKey:
    """Read what follows REFERENCES: ``users(id) ON DELETE CASCADE``."""
    return _reference(tuple(columns), _balanced(text, lexicon, what), what, name)


def check_action(action: str | None, what: str) -> str | None:
    """Return a referential action in capitals, or ``None``."""
    if action is None:
        return None
    known = " ".join(str(action).upper().split())
    if known not in ACTIONS:
        raise InvalidQuery(f"{what} has an unknown action {action!r}", hint=f"one of {', '.join(ACTIONS)}")
    return known


def joined(code: Sequence[Token]) -> str:
    """Tokens as text again, with one space wherever there was space or a comment."""
    pieces: list[str] = []
    end = code[0].start if code else 0
    for token in code:
        if token.start != end:
            pieces.append(" ")
        pieces.append(token.text)
        end = token.start + len(token.text)
    return "".join(pieces)


def clause_starts(code: Sequence[Token], begin: int) -> list[int]:
    """Where the constraints of a column begin in its tokens (space left out), from ``begin`` on."""
    starts: list[int] = []
    depth = 0
    held = -1
    for at in range(begin, len(code)):
        token = code[at]
        depth += {"(": 1, ")": -1}.get(token.text, 0) if token.kind == "op" else 0
        if depth or token.kind != "word" or at <= held:
            continue
        word, before = token.text.upper(), code[at - 1].text.upper() if at > begin else ""
        after = code[at + 1].text.upper() if at + 1 < len(code) else ""
        inside = bool(starts) and code[starts[-1]].text.upper() == "CONSTRAINT" and at <= starts[-1] + 2
        if _is_start(word, before, after) and not inside:
            starts.append(at)
            # Whatever follows DEFAULT is its value: DEFAULT NULL. A constraint's name is a name.
            held = at + 1 if word in {"DEFAULT", "COLLATE", "CONSTRAINT"} else -1
        elif inside and word == "DEFAULT":
            held = at + 1
    return starts


def _is_start(word: str, before: str, after: str) -> bool:
    if word in {"CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "COLLATE", "REFERENCES", "GENERATED"}:
        return True
    if word == "NOT":
        return after == "NULL"
    if word == "NULL":
        return before not in {"NOT", "SET"}
    if word == "DEFAULT":
        return before not in {"SET", "BY"}
    return word == "AS" and before not in {"ALWAYS", "DEFAULT"} and after == "("


class _Reader:
    """Collects the constraints of one column."""

    def __init__(self, name: str, what: str, type_text: str) -> None:
        self.name, self.what, self.type_text = name, what, type_text
        self.found: dict[str, object] = {}
        self.checks: list[Check] = []
        self.names: list[tuple[str, str]] = []

    def read(self, clause: Sequence[Token]) -> None:
        given: str | None = None
        if clause[0].text.upper() == "CONSTRAINT":
            if len(clause) < 3 or clause[1].kind not in {"word", "quoted"}:
                _refuse(self.what, clause[-1])
            given = check_identifier(unquote_identifier(clause[1].text), "constraint name")
            clause = clause[2:]
        words = [token.text.upper() for token in clause]
        first, rest = words[0], clause[1:]
        if first == "CHECK":
            self.checks.append(Check(self._group(rest), given))
        elif first == "REFERENCES":
            self._set("references", _reference((self.name,), rest, self.what, given), clause)
        elif first == "DEFAULT":
            self._default(clause)
        elif first == "COLLATE":
            self._collate(clause)
        elif first in {"GENERATED", "AS"}:
            self._generated(words, clause)
        else:
            self._simple(words, clause, given)

    def _simple(self, words: list[str], clause: Sequence[Token], given: str | None) -> None:
        if words[:2] == ["PRIMARY", "KEY"]:
            self._set("primary_key", True, clause)
            options = words[2:]
            if options[:1] in (["ASC"], ["DESC"]):
                options = options[1:]
            if options in (["AUTOINCREMENT"], ["AUTO_INCREMENT"]):
                self.found["autoincrement"] = True
            elif options:
                _refuse(self.what, clause[len(words) - len(options)])
        elif words == ["UNIQUE"]:
            self._set("unique", True, clause)
        elif words == ["NOT", "NULL"]:
            self.found["not_null"] = True
        elif words != ["NULL"]:
            _refuse(self.what, clause[min(1, len(clause) - 1)])
        if given is not None and words[0] in {"PRIMARY", "UNIQUE"}:
            self.names.append((words[0], given))

    def _default(self, clause: Sequence[Token]) -> None:
        if len(clause) == 1:
            raise InvalidQuery(f"{self.what} has DEFAULT without a value")
        self._set("default", joined(clause[1:]), clause)

    def _collate(self, clause: Sequence[Token]) -> None:
        if len(clause) != 2 or clause[1].kind not in {"word", "quoted"}:
            _refuse(self.what, clause[min(2, len(clause) - 1)])
        self._set("collate", unquote_identifier(clause[1].text), clause)

    def _generated(self, words: list[str], clause: Sequence[Token]) -> None:
        if words[:2] == ["GENERATED", "ALWAYS"] and words[2:] == ["AS", "IDENTITY"]:
            self._set("identity", "ALWAYS", clause)
        elif words == ["GENERATED", "BY", "DEFAULT", "AS", "IDENTITY"]:
            self._set("identity", "BY DEFAULT", clause)
        else:
            start = words.index("AS") + 1 if "AS" in words else len(words)
            if start != 1 and words[:start] != ["GENERATED", "ALWAYS", "AS"]:
                _refuse(self.what, clause[-1])
            kind = words[-1] if words[-1] in {"STORED", "VIRTUAL"} else None
            group = clause[start:-1] if kind else clause[start:]
            self._set("generated", self._group(group), clause)
            self.found["stored"] = None if kind is None else kind == "STORED"

    def _group(self, group: Sequence[Token]) -> str:
        """The inside of ``( ... )``, when that is all there is."""
        if not group or group[0].text != "(":
            raise InvalidQuery(f"{self.what} needs parentheses around an expression")
        end = group_end(group, 0)
        if end != len(group):
            _refuse(self.what, group[end])
        if len(group) < 3:
            raise InvalidQuery(f"{self.what} has an empty expression")
        return joined(group[1:-1])

    def _set(self, key: str, value: object, clause: Sequence[Token]) -> None:
        if key in self.found:
            raise InvalidQuery(f"{self.what} says {clause[0].text.upper()} twice")
        self.found[key] = value

    def finish(self) -> ColumnSpec:
        if ColumnSpec(self.name, self.type_text).base_type in _SERIALS:
            self.found = {"identity": "BY DEFAULT", "not_null": True} | self.found
        sources = self.found.keys() & {"default", "generated", "identity", "autoincrement"}
        if len(sources) > 1:
            raise InvalidQuery(f"{self.what} says in two ways where its values come from")
        return ColumnSpec(
            self.name,
            self.type_text,
            checks=tuple(self.checks),
            names=tuple(self.names),
            **self.found,  # type: ignore[arg-type]
        )


def _code(text: str, lexicon: Lexicon) -> list[Token]:
    return [token for token in tokens(text, lexicon) if token.is_code]


def _balanced(text: str, lexicon: Lexicon, what: str) -> list[Token]:
    """The tokens of one balanced text that nothing outside can be smuggled in with."""
    found = list(tokens(text, lexicon))
    awaited: list[str] = []
    for token in found:
        if token.kind == "op":
            if token.text in _CLOSING:
                awaited.append(_CLOSING[token.text])
            elif token.text in {")", "]"}:
                if not awaited or awaited.pop() != token.text:
                    _refuse(what, token)
            elif token.text in {";", "\0"} or (token.text == "," and not awaited):
                _refuse(what, token)
        elif token.kind == "mark":
            _refuse(what, token)
    if awaited or (found and _is_open(found[-1], lexicon)):
        raise InvalidQuery(f"{what} ends inside parentheses, quotes or a comment")
    return [token for token in found if token.is_code]


def _is_open(last: Token, lexicon: Lexicon) -> bool:
    """Whether the last token would swallow what is written after it."""
    if last.kind == "comment":
        return last.text.startswith("/*") and len(next(tokens(last.text + ";", lexicon)).text) > len(
            last.text
        )
    if last.kind in {"string", "quoted"}:
        return len(next(tokens(last.text + " ;", lexicon)).text) > len(last.text)
    return False


def _refuse(what: str, token: Token) -> NoReturn:
    shown = token.text if token.kind in {"op", "word"} else f"a {token.kind}"
    raise InvalidQuery(f"{what} is not understood at {shown!r}", hint="give one definition, without its name")


def group_end(code: Sequence[Token], start: int) -> int:
    """The index after the parenthesis that closes the one at ``start``."""
    depth = 0
    for at in range(start, len(code)):
        depth += {"(": 1, ")": -1}.get(code[at].text, 0) if code[at].kind == "op" else 0
        if depth == 0:
            return at + 1
    return len(code)


def _reference(columns: tuple[str, ...], code: Sequence[Token], what: str, name: str | None) -> ForeignKey:
    if not code or code[0].kind not in {"word", "quoted"}:
        raise InvalidQuery(f"{what} does not say which table it refers to", hint="such as users(id)")
    table = check_identifier(unquote_identifier(code[0].text), "table name")
    at, references = 1, []
    if len(code) > 1 and code[1].text == "(":
        at = group_end(code, 1)
        for position, token in enumerate(code[2 : at - 1]):
            if position % 2 == 0 and token.kind in {"word", "quoted"}:
                references.append(check_identifier(unquote_identifier(token.text), "column name"))
            elif position % 2 == 0 or token.text != ",":
                _refuse(what, token)
        if len(references) != len(columns):
            raise InvalidQuery(f"{what} refers to {len(references)} columns with {len(columns)}")
    rules: dict[str, str] = {}
    while at < len(code):
        at = _rule(code, at, rules, what)
    return ForeignKey(
        columns,
        table,
        tuple(references),
        rules.get("DELETE"),
        rules.get("UPDATE"),
        rules.get("DEFERRABLE"),
        name,
    )


def _rule(code: Sequence[Token], at: int, rules: dict[str, str], what: str) -> int:
    words = [token.text.upper() for token in code[at : at + 4]]
    if words[0] == "ON" and words[1:2] in (["DELETE"], ["UPDATE"]) and words[1] not in rules:
        length = 2 if " ".join(words[2:4]) in ACTIONS else 1
        action = " ".join(words[2 : 2 + length])
        if action in ACTIONS:
            rules[words[1]] = action
            return at + 2 + length
    for length in (1, 2):
        if words[length - 1 : length] == ["DEFERRABLE"] and words[: length - 1] in ([], ["NOT"]):
            initially = words[length : length + 2]
            if initially in (["INITIALLY", "DEFERRED"], ["INITIALLY", "IMMEDIATE"]):
                length += 2
            rules["DEFERRABLE"] = " ".join(words[:length])
            return at + length
    _refuse(what, code[at])
