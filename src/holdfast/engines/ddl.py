"""``CREATE TABLE`` for either engine, from definitions in either dialect.

What differs between the engines is the data of a :class:`Target`; the functions are the same for all.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from holdfast.engines.definition import (
    Check,
    ColumnSpec,
    ForeignKey,
    check_action,
    check_expression,
    group_end,
    joined,
    parse_column,
    parse_reference,
)
from holdfast.engines.names import check_identifier
from holdfast.engines.names import quote_identifier as quote
from holdfast.engines.sqltext import Lexicon, Token, tokens
from holdfast.engines.target import BINARY, POSTGRES, SQLITE, Target
from holdfast.errors import ColumnNotFound, InvalidQuery, NotSupported, did_you_mean

__all__ = [
    "POSTGRES",
    "SQLITE",
    "Check",
    "ColumnSpec",
    "ForeignKey",
    "Target",
    "create_table_sql",
    "default_sql",
    "foreign_key_sql",
    "parse_column",
    "parse_foreign_keys",
    "render_column",
]

_BYTES = re.compile(r"(?:[xX]'|'\\x)((?:[0-9A-Fa-f]{2})*)'(?:::bytea)?")


def render_column(spec: ColumnSpec, target: Target, names: Collection[str] = ()) -> str:
    """Spell one column for ``target``, its quoted name first.

    ``names`` are the table's columns: in a CHECK they are quoted where PostgreSQL would read them in
    small letters.

    Raises:
        NotSupported: if this engine has no such column; the hint says what to use instead.
        InvalidQuery: if the definition contradicts itself.
    """
    generates = spec.identity is not None or spec.autoincrement
    is_key = spec.primary_key and spec.base_type in target.key_types
    if spec.autoincrement and not is_key:
        raise InvalidQuery(
            f"column {spec.name!r} is AUTOINCREMENT but no integer primary key",
            hint="write INTEGER PRIMARY KEY AUTOINCREMENT",
        )
    key = is_key and spec.default is None and spec.generated is None
    type_text = target.key_type if is_key else _type(spec, target)
    parts = [quote(spec.name), type_text, *_collation(spec, type_text, target)]
    if key:
        identity = target.explicit_key if generates else target.generated_key
        # IDENTITY stands before PRIMARY KEY, AUTOINCREMENT after it.
        before, after = ("", identity) if target.identity is None else (identity.strip(), "")
        parts += [before, _named(spec, "PRIMARY", "PRIMARY KEY") + after]
    else:
        if generates:
            parts.append(_identity(spec, target))
        if spec.primary_key:
            parts.append(_named(spec, "PRIMARY", "PRIMARY KEY"))
        if spec.not_null or spec.primary_key:
            parts.append("NOT NULL")
    if spec.unique:
        parts.append(_named(spec, "UNIQUE", "UNIQUE"))
    if spec.default is not None:
        parts.append(f"DEFAULT {default_sql(spec, target)}")
    parts += [check_sql(check, target, names or (spec.name,)) for check in spec.checks]
    if spec.references is not None:
        parts.append(_constraint(spec.references.name) + _references(spec.references))
    if spec.generated is not None:
        stored = target.stores_generated if spec.stored is None else spec.stored
        expression = _expression(spec.generated, target, names or (spec.name,))
        parts.append(f"GENERATED ALWAYS AS ({expression}) {'STORED' if stored else 'VIRTUAL'}")
    return _verified(" ".join(part for part in parts if part), spec.name, target)


def default_sql(spec: ColumnSpec, target: Target) -> str:
    """What follows DEFAULT for a column that has one."""
    text = spec.default or "NULL"
    squeezed = "".join(text.split()).lower()
    if _type(spec, target) in target.boolean_types and text in target.boolean_defaults:
        return target.boolean_defaults[text]
    digits = _BYTES.fullmatch(text)
    if digits and spec.base_type in BINARY:
        return target.binary_literal.format(digits[1])
    if squeezed in target.defaults:
        return target.defaults[squeezed]
    if target.keeps_casts:
        return text
    code = _without_casts([token for token in tokens(text, target.lexicon) if token.is_code])
    literal = code[1:] if code and code[0].text in {"+", "-"} else code
    is_plain = len(literal) == 1 and (
        literal[0].kind in {"string", "number"} or literal[0].text.upper() in target.constants
    )
    is_group = bool(code) and code[0].text == "(" and group_end(code, 0) == len(code)
    return joined(code) if is_plain or is_group else f"({joined(code)})"


def check_sql(check: Check, target: Target, names: Collection[str] = ()) -> str:
    """``[CONSTRAINT name] CHECK (expression)``."""
    return f"{_constraint(check.name)}CHECK ({_expression(check.expression, target, names)})"


def foreign_key_sql(key: ForeignKey) -> str:
    """``[CONSTRAINT name] FOREIGN KEY (columns) REFERENCES table (columns) ...``, as a table constraint."""
    return f"{_constraint(key.name)}FOREIGN KEY ({_list(key.columns)}) {_references(key)}"


def create_table_sql(
    name: str,
    specs: Sequence[ColumnSpec],
    *,
    target: Target,
    primary_key: str | Sequence[str] | None = None,
    foreign_keys: Any = None,
    unique: str | Sequence[str | Sequence[str]] | None = None,
    checks: str | Sequence[str] | None = None,
    if_not_exists: bool = False,
) -> str:
    """One ``CREATE TABLE`` statement.

    ``primary_key`` is a column or several; ``unique`` holds a column or a list of columns for each
    constraint; ``checks`` are SQL expressions; for ``foreign_keys`` see :func:`parse_foreign_keys`.

    Raises:
        ColumnNotFound: if a constraint names a column that the table will not have.
        InvalidQuery: if a definition is not understood.
    """
    names = _distinct(name, specs)
    _known(name, _names(primary_key or ()), names, "primary_key")
    specs, key = _primary_key(name, specs, primary_key)
    uniques = [_names(item) for item in ([unique] if isinstance(unique, str) else unique or ())]
    expressions = [checks] if isinstance(checks, str) else checks or ()
    keys = parse_foreign_keys(foreign_keys, target.lexicon)
    for columns, noun in (
        *((columns, "unique") for columns in uniques),
        *((foreign.columns, "foreign_keys") for foreign in keys),
    ):
        _known(name, columns, names, noun)
    lines = [render_column(spec, target, names) for spec in specs]
    lines += [f"PRIMARY KEY ({_list(key)})"] if key else []
    lines += [f"UNIQUE ({_list(columns)})" for columns in uniques]
    for text in expressions:
        what = f"a check of table {name!r}"
        lines.append(check_sql(Check(check_expression(text, what, target.lexicon)), target, names))
    lines += [foreign_key_sql(foreign) for foreign in keys]
    clause = "IF NOT EXISTS " if if_not_exists else ""
    body = ",\n  ".join(lines)
    return f"CREATE TABLE {clause}{quote(check_identifier(name, 'table name'))} (\n  {body}\n)"


def parse_foreign_keys(value: Any, lexicon: Lexicon = POSTGRES.lexicon) -> tuple[ForeignKey, ...]:
    """Read the ``foreign_keys`` argument.

    A dict from a column, or a tuple of columns, to ``"users(id) ON DELETE CASCADE"`` or to a tuple
    ``("users", "id")``; or a list of dicts ``{"columns": ..., "table": ..., "references": ...,
    "on_delete": ..., "on_update": ...}``, where only ``columns`` and ``table`` are required. Without
    columns the reference is to the other table's primary key.

    >>> parse_foreign_keys({"user_id": ("users", "id")})[0].table
    'users'
    """
    if value is None:
        return ()
    if isinstance(value, ForeignKey):
        return (value,)
    if isinstance(value, Mapping):
        return tuple(_pair(columns, given, lexicon) for columns, given in value.items())
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InvalidQuery(
            "foreign_keys is neither a dict nor a list", hint='such as {"user_id": "users(id)"}'
        )
    return tuple(item if isinstance(item, ForeignKey) else _entry(item) for item in value)


def _pair(columns: str | Sequence[str], given: Any, lexicon: Lexicon) -> ForeignKey:
    names = _names(columns)
    what = f"the foreign key of {', '.join(map(repr, names))}"
    if isinstance(given, str):
        return parse_reference(names, given, what, lexicon)
    if isinstance(given, Mapping):
        return _entry({"columns": names, **given})
    if isinstance(given, Sequence) and len(given) == 2:
        return _entry({"columns": names, "table": given[0], "references": given[1]})
    raise InvalidQuery(f"{what} is not understood", hint='such as "users(id)" or ("users", "id")')


def _entry(item: Any) -> ForeignKey:
    allowed = {"columns", "table", "references", "on_delete", "on_update", "name"}
    if not isinstance(item, Mapping) or not {"columns", "table"} <= item.keys() <= allowed:
        raise InvalidQuery(
            "an item of foreign_keys is not understood",
            hint="a dict with columns and table, and perhaps references, on_delete, on_update, name",
        )
    columns, references = _names(item["columns"]), _names(item.get("references") or ())
    what = f"the foreign key of {', '.join(map(repr, columns))}"
    if references and len(references) != len(columns):
        raise InvalidQuery(f"{what} refers to {len(references)} columns with {len(columns)}")
    name = item.get("name")
    return ForeignKey(
        columns,
        check_identifier(item["table"], "table name"),
        references,
        check_action(item.get("on_delete"), what),
        check_action(item.get("on_update"), what),
        name=None if name is None else check_identifier(name, "constraint name"),
    )


def _names(value: str | Iterable[str]) -> tuple[str, ...]:
    items = (value,) if isinstance(value, str) else tuple(value)
    return tuple(check_identifier(item, "column name") for item in items)


def _distinct(table: str, specs: Sequence[ColumnSpec]) -> tuple[str, ...]:
    if not specs:
        raise InvalidQuery(f"table {table!r} needs at least one column")
    seen: set[str] = set()
    for spec in specs:
        folded = "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in spec.name)
        if folded in seen:
            raise InvalidQuery(f"table {table!r} would have two columns {spec.name!r} (SQLite ignores case)")
        seen.add(folded)
    return tuple(spec.name for spec in specs)


def _known(table: str, columns: Sequence[str], names: Sequence[str], noun: str) -> None:
    for column in columns:
        if column not in names:
            raise ColumnNotFound(
                f"{noun} of table {table!r} names {column!r}", hint=did_you_mean(column, names, "columns")
            )


def _primary_key(
    table: str, specs: Sequence[ColumnSpec], given: str | Sequence[str] | None
) -> tuple[list[ColumnSpec], tuple[str, ...]]:
    """A key of one column is written with the column, so that it generates its values on both engines."""
    inline = tuple(spec.name for spec in specs if spec.primary_key)
    key = _names(given or ())
    if len(inline) > 1 or (inline and key and key != inline):
        raise InvalidQuery(
            f"table {table!r} has more than one primary key",
            hint="name the columns of a composite key in primary_key=",
        )
    if len(set(key)) != len(key):
        raise InvalidQuery(f"primary_key of table {table!r} names a column twice")
    if len(key) == 1:
        return [replace(spec, primary_key=spec.name == key[0]) for spec in specs], ()
    return [replace(spec, not_null=spec.not_null or spec.name in key) for spec in specs], key


def _type(spec: ColumnSpec, target: Target) -> str:
    known = target.types.get(spec.base_type)
    if known is None:
        return spec.type_text
    return known + spec.type_arguments if known in target.keeps_arguments else known


def _collation(spec: ColumnSpec, type_text: str, target: Target) -> list[str]:
    given = spec.collate
    if given is None:
        is_text = type_text.partition("(")[0] in target.text_types
        return [f"COLLATE {quote(target.text_collation)}"] if is_text and target.text_collation else []
    if given.upper() in target.foreign_collations:
        raise NotSupported(
            f"this engine has no collation {given!r} (column {spec.name!r})",
            hint="leave it out, or compare lower(column)",
        )
    name = target.collations.get(given.upper(), given)
    return [] if name is None else [f"COLLATE {quote(name)}"]


def _identity(spec: ColumnSpec, target: Target) -> str:
    if target.identity is None:
        raise NotSupported(
            f"column {spec.name!r} is no primary key of its own, and SQLite numbers only those",
            hint="make it INTEGER PRIMARY KEY, or number the rows yourself",
        )
    return target.identity


def _without_casts(code: Sequence[Token]) -> list[Token]:
    """Leave out ``::type``, which only PostgreSQL has."""
    kept: list[Token] = []
    at = 0
    while at < len(code):
        if code[at].text != "::":
            kept.append(code[at])
            at += 1
            continue
        at += 1
        while at < len(code) and code[at].kind in {"word", "quoted"}:
            at += 1
        if at < len(code) and code[at].text == "(":
            while at < len(code) and code[at].text != ")":
                at += 1
            at += 1
    return kept


def _expression(text: str, target: Target, names: Collection[str]) -> str:
    if not target.folds_case:
        return text
    folded = {name for name in names if name.lower() != name}
    return "".join(
        quote(token.text) if token.kind == "word" and token.text in folded else token.text
        for token in tokens(text, target.lexicon)
    )


def _constraint(name: str | None) -> str:
    return "" if name is None else f"CONSTRAINT {quote(name)} "


def _named(spec: ColumnSpec, kind: str, text: str) -> str:
    return _constraint(dict(spec.names).get(kind)) + text


def _list(columns: Iterable[str]) -> str:
    return ", ".join(quote(column) for column in columns)


def _references(key: ForeignKey) -> str:
    parts = [f"REFERENCES {quote(key.table)}"]
    parts += [f"({_list(key.references)})"] if key.references else []
    parts += [f"ON DELETE {key.on_delete}"] if key.on_delete else []
    parts += [f"ON UPDATE {key.on_update}"] if key.on_update else []
    parts += [key.deferrable] if key.deferrable else []
    return " ".join(parts)


def _verified(text: str, name: str, target: Target) -> str:
    """The definition was read as PostgreSQL reads it; make sure that the target sees one column too."""
    return check_expression(text, f"the definition of column {name!r}", target.lexicon)
