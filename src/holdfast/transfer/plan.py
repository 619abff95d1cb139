"""What a copy would do, worked out from the source's catalogue before anything is written."""

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
from holdfast.errors import TableNotFound
from holdfast.transfer import texts
from holdfast.transfer.report import ColumnCopy, LeftBehind
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

    source: Executor
    target: Executor
    names: Sequence[str]
    dialect: Dialect
    is_same: bool
    missing_types: frozenset[str]
    columns: list[ColumnCopy] = field(default_factory=list)
    left: list[LeftBehind] = field(default_factory=list)
    refused: list[LeftBehind] = field(default_factory=list)

    def leave(self, kind: str, name: str, reason: str) -> None:
        self.left.append(LeftBehind(kind, name, reason))


def make_plan(
    source: Executor, target: Executor, tables: Iterable[str] | None, exclude: Iterable[str] = ()
) -> Plan:
    """Read the source's catalogue in this thread's transaction; of the target only what types it has."""
    names = source.engine.catalog.tables(source.run) if tables is None else list(dict.fromkeys(tables))
    # A name that is mistyped would have its table copied.
    left_out = {source.describe(name).name for name in exclude}
    names = [name for name in names if name not in left_out]
    for name in names:
        if source.describe(name).is_view:
            raise TableNotFound(f"{name!r} is a view, not a table")
    is_same = source.engine.ddl is target.engine.ddl
    others = source.engine.catalog.others(source.run)
    missing = _types(others) - _types(target.engine.catalog.others(target.run)) if is_same else frozenset()
    making = _Making(source, target, names, _dialect(target.engine.ddl, is_same), is_same, missing)
    keys = {name: _foreign_keys(making, name) for name in names}
    order = _in_order(names, keys)
    plans = [_table(making, name, keys[name], order[:place]) for place, name in enumerate(order)]
    if tables is None:
        for view in source.engine.catalog.views(source.run):
            making.leave("view", view, "views are not copied")
    for kind, name, table in others:
        if table in names or (tables is None and table is None):
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
    catalog, run = making.source.engine.catalog, making.source.run
    found = []
    for key in catalog.foreign_keys(run, table):
        shown = f"{table}({', '.join(key['columns'])})"
        other = _resolved(key["references"], making.names)
        if other is None:
            making.leave("foreign key", shown, f"it refers to {key['references']}, which is not copied")
            continue
        info, own = making.source.describe(other), making.source.describe(table)
        columns = [_resolved(name, own.names) for name in key["columns"]]
        targets = [_resolved(name or "", info.names) for name in key["keys"]]
        if None in [*columns, *targets] or not targets:
            making.leave("foreign key", shown, f"it refers to columns that {other} does not have")
        elif frozenset(targets) not in catalog.unique_keys(run, other):
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
    source = making.source
    info = source.describe(name)
    text = texts.read_table(source.engine.catalog.create_sql(source.run, name), source.engine.lexicon)
    if text.is_virtual:
        making.refused.append(LeftBehind("table", name, "it is a virtual table"))
    for option in text.options:
        making.leave("option", name, option)
    specs = [_column(making, info, column, text.columns.get(column.name)) for column in info.columns]
    found = [index for index in source.engine.catalog.indexes(source.run, name) if not index["primary_key"]]
    uniques = [tuple(index["columns"]) for index in found if index["constraint"] and index["unique"]]
    inline = [key for key in keys if key.table in before and _is_constraint(source, key)]
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
    search = _search(making, info)
    indexes = _indexes(making, info, [index for index in found if not index["constraint"]])
    return TablePlan(info, statement, indexes, [key for key in keys if key not in inline], search)


def _is_constraint(source: Executor, key: ForeignKey) -> bool:
    """Whether what a foreign key refers to is there as soon as its table is."""
    if source.describe(key.table).primary_key == key.references:
        return True
    found = source.engine.catalog.indexes(source.run, key.table)
    return any(index["constraint"] and set(index["columns"]) == set(key.references) for index in found)


def _checks(making: _Making, info: TableInfo, checks: Sequence[str]) -> list[str]:
    if making.is_same:
        return list(checks)
    kinds = {column.name: column.codec.kind.name for column in info.columns}
    kept = []
    for check in checks:
        portable = texts.portable_check(check, kinds, making.source.engine.lexicon)
        if portable is None:
            making.leave("check", info.name, f"the engines may read it differently: {check}")
        else:
            kept.append(portable)
    return kept


def _search(making: _Making, info: TableInfo) -> tuple[tuple[str, ...], str] | None:
    found = making.source.engine.fulltext.find(making.source.run, info.name)
    if found is None:
        return None
    needs_number = making.target.engine.ddl.identity is None
    kinds = [info.column(name).codec.kind.name for name in info.primary_key]
    if needs_number and (kinds != ["integer"]):
        making.leave("search", info.name, "it needs an INTEGER PRIMARY KEY there")
        return None
    return tuple(found.columns), found.language


def _indexes(making: _Making, info: TableInfo, found: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    searched = making.source.engine.fulltext.find(making.source.run, info.name)
    statements = {}
    for index in found:
        name = index["name"]
        if searched is not None and name == searched.name:
            continue
        code = texts.index_keys(index["sql"], making.source.engine.lexicon)
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
    always = numbered and making.source.engine.ddl.identity is not None
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
    text = texts.as_literal(text, making.source.engine.lexicon)
    if making.is_same and "nextval(" not in text:
        return text
    if texts.portable_default(text, making.dialect.defaults, making.source.engine.lexicon):
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
