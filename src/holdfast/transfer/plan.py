"""What a copy would do, worked out from the source's schema before anything is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from holdfast.core.executor import Executor
from holdfast.engines.base import Column, TableInfo
from holdfast.engines.ddl import ColumnSpec, ForeignKey, create_table_sql
from holdfast.engines.ddl import Target as Dialect
from holdfast.engines.definition import joined
from holdfast.engines.names import quote_identifier as quote
from holdfast.engines.sqltext import Lexicon
from holdfast.transfer import texts
from holdfast.transfer.report import ColumnCopy, LeftBehind
from holdfast.transfer.schema import Schema, TableSchema
from holdfast.types import Kind

_ANY_COLLATION = frozenset({"default", "C", "POSIX", "ucs_basic", "BINARY"})


@dataclass(frozen=True)
class TablePlan:
    """One table: how it is created, and what is added when its rows are there."""

    info: TableInfo
    statement: str
    indexes: Mapping[str, str]
    later: Sequence[ForeignKey]
    search: tuple[tuple[str, ...], str] | None


@dataclass(frozen=True)
class Plan:
    """The tables in the order they are filled, and all that is said about them."""

    tables: Sequence[TablePlan]
    columns: Sequence[ColumnCopy]
    left_behind: Sequence[LeftBehind]
    refused: Sequence[LeftBehind]


@dataclass
class _Making:
    """The plan while it is made."""

    source: Schema
    target: Executor
    dialect: Dialect
    is_same: bool
    missing_types: frozenset[str]
    columns: list[ColumnCopy] = field(default_factory=list)
    left: list[LeftBehind] = field(default_factory=list)
    refused: list[LeftBehind] = field(default_factory=list)

    @property
    def lexicon(self) -> Lexicon:
        return self.source.dialect.lexicon

    def leave(self, kind: str, name: str, reason: str) -> None:
        self.left.append(LeftBehind(kind, name, reason))


def make_plan(source: Schema, target: Executor) -> Plan:
    """What copying these tables does; the target is only asked what types it has."""
    is_same = source.dialect.ddl is target.engine.ddl
    missing = (
        _types(source.others) - _types(target.engine.catalog.others(target.run)) if is_same else frozenset()
    )
    making = _Making(source, target, _dialect(target.engine.ddl, is_same), is_same, missing)
    keys = {name: _foreign_keys(making, name) for name in source.tables}
    order = _in_order(list(source.tables), keys)
    plans = [_table(making, name, keys[name], order[:place]) for place, name in enumerate(order)]
    for view in source.views:
        making.leave("view", view, "views are not copied")
    for kind, name, _ in source.others:
        making.leave(kind, name, f"a {kind} is not copied")
    return Plan(plans, making.columns, making.left, making.refused)


def _types(others: Iterable[tuple[str, str, str | None]]) -> frozenset[str]:
    return frozenset(_bare(name) for kind, name, _ in others if kind == "type")


def _bare(type_text: str) -> str:
    return type_text.replace("[]", "").replace('"', "").lower()


def _dialect(dialect: Dialect, is_same: bool) -> Dialect:
    """Between databases of one kind a type is spelt as it is."""
    if not is_same:
        return dialect
    return replace(dialect, types={}, key_types=frozenset({"INTEGER"} if dialect.identity is None else ()))


# Foreign keys, and the order they ask for


def _foreign_keys(making: _Making, table: str) -> list[ForeignKey]:
    tables = making.source.tables
    found = []
    for key in tables[table].foreign_keys:
        shown = f"{table}({', '.join(key['columns'])})"
        other = _resolved(key["references"], list(tables))
        if other is None:
            making.leave("foreign key", shown, f"it refers to {key['references']}, which is not copied")
            continue
        info, own = tables[other].info, tables[table].info
        columns = [_resolved(name, own.names) for name in key["columns"]]
        targets = [_resolved(name or "", info.names) for name in key["keys"]]
        if None in [*columns, *targets] or not targets:
            making.leave("foreign key", shown, f"it refers to columns that {other} does not have")
        elif frozenset(targets) not in tables[other].unique_keys:
            making.leave("foreign key", shown, f"it refers to columns that are no unique key of {other}")
        else:
            rules = [None if key[rule] == "NO ACTION" else key[rule] for rule in ("on_delete", "on_update")]
            found.append(ForeignKey(_names(columns), other, _names(targets), *rules))
    return found


def _names(found: Sequence[str | None]) -> tuple[str, ...]:
    return tuple(name for name in found if name is not None)


def _resolved(name: str, names: Sequence[str]) -> str | None:
    """SQLite takes the name in any case."""
    if name in names:
        return name
    return next((known for known in names if known.lower() == name.lower()), None)


def _in_order(names: Sequence[str], keys: Mapping[str, Sequence[ForeignKey]]) -> list[str]:
    """Tables after those they refer to; where they refer to each other, by name."""
    waiting, order = sorted(names), list[str]()
    while waiting:
        ready = [
            name for name in waiting if all(key.table == name or key.table in order for key in keys[name])
        ]
        order += ready[:1] or waiting[:1]
        waiting.remove(order[-1])
    return order


# Tables


def _table(making: _Making, name: str, keys: Sequence[ForeignKey], before: Sequence[str]) -> TablePlan:
    source = making.source.tables[name]
    info = source.info
    text = texts.read_table(source.create, making.lexicon)
    if text.is_virtual:
        making.refused.append(LeftBehind("table", name, "it is a virtual table"))
    for option in text.options:
        making.leave("option", name, option)
    specs = [_column(making, info, column, text.columns.get(column.name)) for column in info.columns]
    found = [index for index in source.indexes if not index["primary_key"]]
    uniques = [tuple(index["columns"]) for index in found if index["constraint"] and index["unique"]]
    inline = [
        key for key in keys if key.table in before and _is_constraint(making.source.tables[key.table], key)
    ]
    key = info.primary_key
    statement = create_table_sql(
        name,
        specs,
        target=making.dialect,
        primary_key=key if len(key) > 1 else None,
        foreign_keys=inline,
        unique=uniques,
        checks=_checks(making, info, text.checks),
    )
    search = _search(making, source)
    indexes = _indexes(making, source, [index for index in found if not index["constraint"]])
    return TablePlan(info, statement, indexes, [key for key in keys if key not in inline], search)


def _is_constraint(table: TableSchema, key: ForeignKey) -> bool:
    """Whether what a foreign key refers to is there as soon as its table is."""
    if table.info.primary_key == key.references:
        return True
    return any(
        index["constraint"] and set(index["columns"]) == set(key.references) for index in table.indexes
    )


def _checks(making: _Making, info: TableInfo, checks: Sequence[str]) -> list[str]:
    if making.is_same:
        return list(checks)
    kinds = {column.name: column.codec.kind.name for column in info.columns}
    kept = []
    for check in checks:
        portable = texts.portable_check(check, kinds, making.lexicon)
        if portable is None:
            making.leave("check", info.name, f"the engines may read it differently: {check}")
        else:
            kept.append(portable)
    return kept


def _search(making: _Making, table: TableSchema) -> tuple[tuple[str, ...], str] | None:
    info = table.info
    if table.search is None:
        return None
    needs_number = making.target.engine.ddl.identity is None
    kinds = [info.column(name).codec.kind.name for name in info.primary_key]
    if needs_number and (kinds != ["integer"]):
        making.leave("search", info.name, "it needs an INTEGER PRIMARY KEY there")
        return None
    return table.search[:2]


def _indexes(making: _Making, table: TableSchema, found: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    info = table.info
    statements = {}
    for index in found:
        name = index["name"]
        if table.search is not None and name == table.search[2]:
            continue
        code = texts.index_keys(index["sql"], making.lexicon)
        keys = joined(code) if making.is_same else texts.plain_keys(code, info.names)
        if keys is None:
            making.leave(
                "index",
                f"{name} on {info.name}",
                "it has an expression, a condition or an option of its engine",
            )
            continue
        unique = "UNIQUE " if index["unique"] else ""
        statements[name] = f"CREATE {unique}INDEX {quote(name)} ON {quote(info.name)} {keys}"
    return statements


# Columns


def _column(making: _Making, info: TableInfo, column: Column, said: ColumnSpec | None) -> ColumnSpec:
    where = f"{info.name}.{column.name}"
    type_text = column.type if making.is_same else neutral_type(column.codec.kind)
    if column.codec.kind.name == "other" and _bare(column.type) in making.missing_types:
        type_text = None
    if type_text is None:
        making.columns.append(ColumnCopy(info.name, column.name, column.type, None))
        making.refused.append(LeftBehind("column", where, f"no type there for {column.type or 'no type'}"))
        return ColumnSpec(column.name, "TEXT")
    is_key = info.primary_key == (column.name,)
    numbered = column.identity and (is_key or making.target.engine.ddl.identity is not None)
    if column.identity and not numbered:
        making.leave("identity", where, "only a primary key of its own numbers its rows there")
    if column.generated and not (making.is_same and said is not None and said.generated):
        making.leave("expression", where, "the generated values are kept, and no longer generated")
        said = None
    # SQLite numbers every INTEGER PRIMARY KEY; only AUTOINCREMENT never gives a number twice.
    always = numbered and making.source.dialect.ddl.identity is not None
    spec = ColumnSpec(
        column.name,
        type_text,
        primary_key=is_key,
        autoincrement=bool(said and said.autoincrement),
        identity="BY DEFAULT" if always else None,
        not_null=not column.nullable,
        default=_default(making, where, column),
        collate=_collation(making, where, column, said),
        generated=said.generated if said and column.generated else None,
        stored=said.stored if said and column.generated else None,
    )
    making.columns.append(ColumnCopy(info.name, column.name, column.type, _spelt(making, spec)))
    return spec


def _spelt(making: _Making, spec: ColumnSpec) -> str:
    if spec.primary_key and spec.base_type in making.dialect.key_types:
        return making.dialect.key_type
    known = making.dialect.types.get(spec.base_type, spec.base_type)
    keeps = spec.base_type not in making.dialect.types or known in making.dialect.keeps_arguments
    return known + (spec.type_arguments if keeps else "")


def neutral_type(kind: Kind) -> str | None:
    """A type that every engine's DDL understands, or ``None`` for a kind of one engine alone."""
    sizes = [str(size) for size in (kind.precision, kind.scale) if size is not None]
    if kind.name == "text" and kind.length is not None:
        return f"{'CHAR' if kind.fixed else 'VARCHAR'}({kind.length})"
    if kind.name == "integer":
        return "SMALLINT" if kind.bits == 16 else "BIGINT"
    arguments = f"({', '.join(sizes)})" if sizes else ""
    words = {
        "float": "DOUBLE PRECISION",
        "text": "TEXT",
        "boolean": "BOOLEAN",
        "decimal": "NUMERIC" + arguments,
        "date": "DATE",
        "time": "TIME" + arguments,
        "timestamp": "TIMESTAMP" + arguments,
        "timestamptz": "TIMESTAMPTZ" + arguments,
        "json": "JSON",
        "bytes": "BLOB",
        "uuid": "UUID",
    }
    return words.get(kind.name)


def _default(making: _Making, where: str, column: Column) -> str | None:
    text = column.default
    if text is None or column.identity or column.generated:
        return None
    text = texts.as_literal(text, making.lexicon)
    if making.is_same and "nextval(" not in text:
        return text
    if texts.portable_default(text, making.dialect.defaults, making.lexicon):
        return text
    making.leave("default", where, f"it is an expression of its engine: {text}")
    return None


def _collation(making: _Making, where: str, column: Column, said: ColumnSpec | None) -> str | None:
    name = column.collation or (said.collate if said else None)
    if name is None or making.is_same:
        return name
    if name not in _ANY_COLLATION:
        making.leave("collation", where, f"{name}; text compares by code point there")
    return None
