"""How the schemas of two databases differ, be they of one engine or of two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from holdfast.engines.base import Column
from holdfast.engines.definition import joined
from holdfast.engines.sqltext import Lexicon
from holdfast.transfer import texts
from holdfast.transfer.differing import SchemaDifference
from holdfast.transfer.plan import neutral_type
from holdfast.transfer.schema import Schema, TableSchema

Items = list[tuple[str, str]]
"""What there is, as text that is compared, and its name, which is not."""


def of_schemas(a: Schema, b: Schema) -> Iterator[SchemaDifference]:
    """Tables and views that one of them lacks, then what differs in the tables that both have.

    What each engine writes in its own way, such as defaults and CHECKs, is compared on one engine alone.
    """
    yield from _one_sided("table", None, *([(name, name) for name in side.tables] for side in (a, b)))
    yield from _one_sided("view", None, *([(name, name) for name in side.views] for side in (a, b)))
    same = a.engine == b.engine
    lexicons = a.dialect.lexicon, b.dialect.lexicon
    for name, table in a.tables.items():
        if name in b.tables:
            pair = table, b.tables[name]
            yield from _columns(*pair, same=same)
            for kind, items in _KINDS.items():
                if same or kind != "check":
                    found = (items(one, of, same) for one, of in zip(pair, lexicons, strict=True))
                    yield from _one_sided(kind, name, *found)


def _one_sided(kind: str, table: str | None, a: Items, b: Items) -> Iterator[SchemaDifference]:
    for mine, others, is_a in ((a, b, True), (b, a, False)):
        left = Counter(what for what, _ in others)
        for what, name in mine:
            if left[what]:
                left[what] -= 1
                continue
            said = (what if what != name else "", None)
            yield SchemaDifference(
                kind, table or name, name if table else None, *(said if is_a else said[::-1])
            )


def _columns(a: TableSchema, b: TableSchema, *, same: bool) -> Iterator[SchemaDifference]:
    name = a.info.name
    for column in dict.fromkeys((*a.info.names, *b.info.names)):
        here, there = (one.info.column(column) if column in one.info.names else None for one in (a, b))
        if here is None or there is None:
            said = (_type(one) if one else None for one in (here, there))
            yield SchemaDifference("column", name, column, *said)
            continue
        for kind, mine, others in _of_columns(here, there, same=same):
            yield SchemaDifference(kind, name, column, mine, others)


def _of_columns(a: Column, b: Column, *, same: bool) -> Iterator[tuple[str, str, str]]:
    """What differs in a column, and how each side has it."""
    types = [column.type if same else neutral_type(column.codec.kind) for column in (a, b)]
    if types[0] != types[1] or types[0] is None:
        yield "type", _type(a), _type(b)
    for kind, mine, others in (
        ("nullable", a.nullable, b.nullable),
        ("generated", a.generated, b.generated),
    ):
        if mine != others:
            yield kind, "yes" if mine else "no", "yes" if others else "no"
    here, there = (None if one.identity or one.generated else one.default for one in (a, b))
    if here != there if same else (here is None) != (there is None):
        yield "default", here or "none", there or "none"
    if same and a.collation != b.collation:
        yield "collation", a.collation or "the usual", b.collation or "the usual"


def _type(column: Column) -> str:
    return column.type or "no type"


def _listed(names: Sequence[str | None]) -> str:
    return f"({', '.join(name or 'an expression' for name in names)})"


def _primary_key(table: TableSchema, lexicon: Lexicon, same: bool) -> Items:
    return _named(_listed(table.info.primary_key) for _ in table.info.primary_key[:1])


def _named(items: Iterator[str]) -> Items:
    return [(item, item) for item in items]


def _foreign_keys(table: TableSchema, lexicon: Lexicon, same: bool) -> Items:
    return _named(
        f"{_listed(key['columns'])} to {key['references']}{_listed(key['keys'])}"
        + "".join(
            f" {words} {key[rule]}"
            for rule, words in (("on_delete", "ON DELETE"), ("on_update", "ON UPDATE"))
            if key[rule] != "NO ACTION"
        )
        for key in table.foreign_keys
    )


def _unique_keys(table: TableSchema, lexicon: Lexicon, same: bool) -> Items:
    return _named(
        _listed(sorted(index["columns"]))
        for index in table.indexes
        if index["constraint"] and index["unique"] and not index["primary_key"]
    )


def _indexes(table: TableSchema, lexicon: Lexicon, same: bool) -> Items:
    found = []
    for index in table.indexes:
        if index["constraint"] or (table.search is not None and index["name"] == table.search[2]):
            continue
        keys = joined(texts.index_keys(index["sql"], lexicon)) if same else _listed(index["columns"])
        some = " WHERE ..." if index["partial"] and not same else ""
        found.append((f"{'UNIQUE ' if index['unique'] else ''}{keys}{some}", index["name"]))
    return found


def _checks(table: TableSchema, lexicon: Lexicon, same: bool) -> Items:
    return _named(iter(sorted(texts.read_table(table.create, lexicon).checks)))


def _searches(table: TableSchema, lexicon: Lexicon, same: bool) -> Items:
    return [] if table.search is None else [(f"of {_listed(table.search[0])}, {table.search[1]}",) * 2]


_KINDS: dict[str, Callable[[TableSchema, Lexicon, bool], Items]] = {
    "primary key": _primary_key,
    "foreign key": _foreign_keys,
    "unique key": _unique_keys,
    "index": _indexes,
    "check": _checks,
    "search": _searches,
}
