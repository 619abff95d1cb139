"""Changing SQLite tables: natively where SQLite can, by a rebuild where it cannot.

Every function is a step of an open transaction, which its caller rolls back when it raises. Foreign keys may
be on or off; outside of a user's transaction ``around`` switches them off for the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from holdfast.engines.base import UNSET, Run
from holdfast.engines.ddl import POSTGRES, ForeignKey, default_sql, foreign_key_sql, parse_column
from holdfast.engines.ddl import SQLITE as TARGET
from holdfast.engines.definition import ColumnSpec, joined
from holdfast.engines.names import quote_identifier as quote
from holdfast.engines.sqlite.rebuild import (
    around,
    objects,
    rebuild,
    referring,
    rowid_alias,
    table_text,
    unused,
)
from holdfast.engines.sqlite.tabletext import (
    Clause,
    Item,
    TableText,
    folded,
    read_table,
    with_clause,
    with_item,
    with_type,
    without_items,
)
from holdfast.engines.sqltext import SQLITE, tokens
from holdfast.errors import (
    InvalidQuery,
    KeyNotUnique,
    NotNullViolation,
    NotSupported,
    SchemaError,
    ValueRefused,
)
from holdfast.types import Codec, Storage, TypeMap

__all__ = [
    "add_column",
    "add_foreign_key",
    "alter_column",
    "around",
    "drop_column",
    "drop_table",
    "hold",
    "rename_column",
    "rename_table",
]

_NATIVE_DROP = {"NOT", "NULL", "DEFAULT", "CHECK", "COLLATE", "GENERATED", "AS"}
# What must hold for a new value n made of an old one o, so that nothing was changed or kept unfit.
_SAME = "typeof(n) = typeof(o) AND n IS o"
_FITS = {
    "INTEGER": "typeof(n) = 'integer' AND (typeof(o) = 'text' OR n = o)",
    "REAL": "typeof(n) = 'real' AND (typeof(o) = 'text' OR n = o)",
    "NUMERIC": "typeof(n) IN ('integer', 'real') AND (typeof(o) = 'text' OR n = o)",
    "TEXT": "typeof(n) = 'text' AND (typeof(o) <> 'real' OR CAST(n AS REAL) = o)",
    "BOOLEAN": "typeof(n) = 'integer' AND n IN (0, 1)",
    "BLOB": "typeof(n) = 'blob'",
}
_FAMILIES = {
    "BIGINT": "INTEGER",
    "SMALLINT": "INTEGER",
    "DOUBLE PRECISION": "REAL",
    "NUMERIC": "NUMERIC",
    "TEXT": "TEXT",
    "VARCHAR": "TEXT",
    "CHAR": "TEXT",
    "BOOLEAN": "BOOLEAN",
    "BYTEA": "BLOB",
}


def rename_table(run: Run, table: str, new_name: str) -> None:
    """Rename a table; foreign keys, triggers and views follow."""
    _natively(run, f"ALTER TABLE {quote(table)} RENAME TO {quote(new_name)}")


def rename_column(run: Run, table: str, column: str, new_name: str) -> None:
    """Rename a column; indexes, foreign keys, triggers and views follow."""
    _natively(run, f"ALTER TABLE {quote(table)} RENAME COLUMN {quote(column)} TO {quote(new_name)}")


def hold(run: Run, table: str) -> None:
    """A transaction has the whole file already."""


def drop_table(run: Run, table: str) -> None:
    """Drop a table that no view, and no trigger or foreign key of another table, depends on."""
    others = referring(run, table)
    if others:
        raise SchemaError(f"foreign keys of {_listed(others)} refer to {table!r}", hint="drop those first")
    if any(_mentions(sql, table) for sql in _programs(run, table).values()):
        new_name = unused("holdfast_probe", [name for _, name in objects(run)])
        changed = _changed_by(run, f"ALTER TABLE {quote(table)} RENAME TO {quote(new_name)}")
        _refuse_dependents(f"{table!r} cannot be dropped", changed.keys() & _programs(run, table).keys())
    run(f"DROP TABLE {quote(table)}")


def add_column(run: Run, table: str, definition: str) -> None:
    """Add a column, given as its quoted name and its definition; the rows there are take its default.

    Raises:
        NotNullViolation: if it is NOT NULL without a default and there are rows.
        SchemaError: if it would be a second primary key.
    """
    old = table_text(run, table)
    new = with_item(old, definition, is_column=True)
    item = new.items[sum(each.column is not None for each in old.items)]
    clauses = {clause.kind: clause for clause in item.clauses}
    if "PRIMARY" in clauses and any("PRIMARY" in kinds for kinds in map(_kinds, old.items)):
        raise SchemaError(f"table {table!r} has a primary key already", hint="add the column without one")
    computed = bool({"GENERATED", "AS"} & clauses.keys())
    default = clauses.get("DEFAULT")
    if "NOT" in clauses and not computed and (default is None or _is_null(default)):
        numbered = "PRIMARY" in clauses and joined(item.type_code).upper() == "INTEGER"
        if not numbered and run(f"SELECT 1 FROM {quote(table)} LIMIT 1").fetchall():
            raise NotNullViolation(
                f"column {item.column!r} is NOT NULL without a default, and table {table!r} has rows",
                hint="give it a DEFAULT, or add it without NOT NULL, fill it and alter it",
            )
    # SQLite's ADD COLUMN knows CHECK and computed NOT NULL too, but not to name what was violated.
    if (
        bool({"PRIMARY", "UNIQUE", "CHECK"} & clauses.keys())
        or (computed and ("STORED" in item.words() or "NOT" in clauses))
        or not _is_constant(default)
        or ("REFERENCES" in clauses and default is not None)
    ):
        rebuild(run, new, fresh=[str(item.column)])
    else:
        run(f"ALTER TABLE {quote(table)} ADD COLUMN {definition}")


def drop_column(run: Run, table: str, column: str) -> None:
    """Drop a column, with its indexes and the table's constraints that name it.

    Raises:
        SchemaError: if a view, a trigger, another column, or a foreign key of another table needs it.
    """
    text = table_text(run, table)
    own = text.column(column)
    names = [item.column for item in text.items if item.column is not None]
    if len(names) == 1:
        raise SchemaError(f"{column!r} is the only column of {table!r}", hint="drop the table")
    probe = unused("holdfast_probe", names)
    changed = _changed_by(run, f"ALTER TABLE {quote(table)} RENAME COLUMN {quote(column)} TO {quote(probe)}")
    mine = ("table", text.table)
    what = f"column {column!r} of {table!r} cannot be dropped"
    lost = [key[1] for key in changed if key[0] == "index"]
    _refuse_dependents(what, [key for key in changed if key[0] != "index" and key != mine])
    _refuse_implicit_references(run, text, own, what)
    gone = _needing(text, read_table(changed[mine]), own, probe, what)
    if gone or _kinds(text.items[own]) - _NATIVE_DROP:
        new = without_items(text, [own, *gone])
        if not new.has_rowid and not any("PRIMARY" in _kinds(item) for item in new.items):
            raise NotSupported(f"{what}: a table WITHOUT ROWID needs its primary key")
        rebuild(run, new, lost=lost)
    else:
        for name in lost:
            run(f"DROP INDEX {quote(name)}")
        run(f"ALTER TABLE {quote(table)} DROP COLUMN {quote(column)}")


def alter_column(
    run: Run,
    table: str,
    column: str,
    *,
    type: str | None = None,
    nullable: bool | None = None,
    default: Any = UNSET,
) -> None:
    """Change a column's type, whether it may be NULL, or its default (SQL text; ``None`` for none).

    Raises:
        ValueRefused: if a value there does not fit the new type as it is.
        NotNullViolation: if a row has no value there.
    """
    old = text = table_text(run, table)
    at = text.column(column)
    item = text.items[at]
    computed = any(clause.kind in {"GENERATED", "AS"} for clause in item.clauses)
    if computed and (type is not None or default is not UNSET):
        raise NotSupported(
            f"{column!r} of {table!r} is computed from other columns", hint="drop the column and add it anew"
        )
    if type is not None:
        text = _with_type(run, text, at, type)
    if nullable is not None:
        text = _with_nullable(run, text, at, nullable)
    if default is not UNSET:
        text = with_clause(text, at, "DEFAULT", _default_clause(text.items[at], default))
    if text.sql != old.sql:
        rebuild(run, text)


def add_foreign_key(
    run: Run,
    table: str,
    columns: Sequence[str],
    references: str,
    keys: Sequence[str],
    *,
    on_delete: str | None = None,
    on_update: str | None = None,
) -> None:
    """Add a foreign key; without ``keys`` it refers to the primary key.

    Raises:
        ForeignKeyViolation: if a row refers to one that does not exist.
        KeyNotUnique: if the other table has no unique index over exactly ``keys``.
    """
    text, other = table_text(run, table), table_text(run, references)
    for name in columns:
        text.column(name)
    for name in keys:
        other.column(name)
    known = _unique_keys(run, other)
    wanted = frozenset(map(folded, keys))
    if (wanted and wanted not in known.values()) or (not keys and len(known.get("pk", ())) != len(columns)):
        listing = ", ".join(quote(name) for name in keys)
        raise KeyNotUnique(
            f"the columns that {table!r} would refer to are no unique key of {references!r}",
            hint=f"CREATE UNIQUE INDEX ... ON {quote(references)} ({listing})"
            if keys
            else "name the columns",
        )
    key = ForeignKey(tuple(columns), other.table, tuple(keys), on_delete, on_update)
    rebuild(run, with_item(text, foreign_key_sql(key), is_column=False))


def _natively(run: Run, sql: str) -> None:
    """Run an ALTER TABLE that takes views and triggers along, as it does only outside legacy mode."""
    legacy = run("PRAGMA legacy_alter_table").fetchone()[0]
    if legacy:
        run("PRAGMA legacy_alter_table = OFF")
    try:
        run(sql)
    except Exception as exc:
        # A view or a trigger that is broken already makes SQLite refuse any ALTER TABLE.
        if "error in " in str(exc):
            raise SchemaError(str(exc), hint="drop or correct that view or trigger first") from exc
        raise
    finally:
        if legacy:
            run("PRAGMA legacy_alter_table = ON")


def _changed_by(run: Run, rename: str) -> dict[tuple[str, str], str]:
    """What a renaming would change, each with its new text: SQLite itself says what depends on a name."""
    before = objects(run)
    run("SAVEPOINT holdfast_probe")
    _natively(run, rename)
    after = objects(run)
    run("ROLLBACK TO holdfast_probe")
    run("RELEASE holdfast_probe")
    return {key: sql for key, (_, sql) in after.items() if before.get(key, ("", ""))[1] != sql}


def _programs(run: Run, table: str) -> dict[tuple[str, str], str]:
    """Views, and triggers of other tables."""
    return {
        key: sql
        for key, (owner, sql) in objects(run).items()
        if key[0] == "view" or (key[0] == "trigger" and folded(owner) != folded(table))
    }


def _mentions(sql: str, name: str) -> bool:
    return any(
        token.kind in {"word", "quoted"} and folded(token.text.strip('"`[]')) == folded(name)
        for token in tokens(sql, SQLITE)
    )


def _refuse_dependents(what: str, found: Iterable[tuple[str, str]]) -> None:
    dependents = sorted(f"{kind} {name!r}" for kind, name in found)
    if dependents:
        raise SchemaError(f"{what}: {', '.join(dependents)} needs it", hint="drop or change that first")


def _refuse_implicit_references(run: Run, text: TableText, own: int, what: str) -> None:
    """``REFERENCES t`` without columns means the primary key, and no renaming changes it."""
    column = folded(str(text.items[own].column))
    if column not in _unique_keys(run, text)["pk"]:
        return
    for other in [*referring(run, text.table), text.table]:
        rows = run(
            'SELECT 1 FROM pragma_foreign_key_list(?) WHERE "table" = ? COLLATE NOCASE AND "to" IS NULL',
            (other, text.table),
        ).fetchall()
        if rows:
            raise SchemaError(
                f"{what}: a foreign key of {other!r} needs it", hint="drop or change that first"
            )


def _needing(old: TableText, new: TableText, own: int, probe: str, what: str) -> list[int]:
    """The constraints of the table that name the column; refuses what of other columns names it."""
    gone: list[int] = []
    for index, (before, after) in enumerate(zip(old.items, new.items, strict=True)):
        if index == own or [t.text for t in before.code] == [t.text for t in after.code]:
            continue
        if before.column is not None:
            raise SchemaError(
                f"{what}: column {before.column!r} needs it", hint="drop or change that column first"
            )
        if before.clauses[0].kind == "FOREIGN" and not _child_columns_name(after, probe):
            raise SchemaError(
                f"{what}: a foreign key of the table needs it", hint="drop or change that first"
            )
        gone.append(index)
    return gone


def _child_columns_name(item: Item, name: str) -> bool:
    words = item.words()
    listed = item.code[words.index("FOREIGN") : words.index("REFERENCES")]
    return any(token.text.strip('"') == name for token in listed)


def _kinds(item: Item) -> set[str]:
    return {clause.kind for clause in item.clauses}


def _is_null(default: Clause) -> bool:
    return default.code[-1].text.upper() == "NULL"


def _is_constant(default: Clause | None) -> bool:
    """Whether ALTER TABLE takes this default for rows that are there."""
    if default is None:
        return True
    value = [token for token in default.code if token.text.upper() not in {"DEFAULT", "+", "-"}]
    return value[-1].kind in {"string", "number"} or value[-1].text.upper() in {"NULL", "TRUE", "FALSE"}


def _with_type(run: Run, text: TableText, at: int, type_text: str) -> TableText:
    column = str(text.items[at].column)
    spec = parse_column(column, type_text, SQLITE)
    if spec != ColumnSpec(column, spec.type_text):
        raise InvalidQuery(
            f"the new type of column {column!r} is more than a type", hint="use nullable= and default="
        )
    family = _FAMILIES.get(POSTGRES.types.get(spec.base_type, spec.base_type), "")
    if rowid_alias(run, text.table, text) == column:
        if family == "INTEGER":
            return text
        raise NotSupported(f"{column!r} numbers the rows of {text.table!r} and stays an INTEGER")
    _refuse_unfit(run, text, column, spec.type_text, _FITS.get(family, _SAME))
    return with_type(text, at, spec.type_text)


_TYPES = TypeMap(Storage.PORTABLE)


def _is_kept(codec: Codec, value: Any) -> bool:
    """Whether a column of that type would take a value that is there."""
    try:
        codec.encode(codec.decode(value) if codec.decode else value)
    except ValueRefused:
        return codec.kind.name == "other"
    return True


def _refuse_unfit(run: Run, text: TableText, column: str, type_text: str, fits: str) -> None:
    scratch = "temp.holdfast_fit"
    run(f"CREATE TEMP TABLE holdfast_fit (o, n {type_text})")
    quoted = quote(column)
    run(
        f"INSERT INTO {scratch} SELECT {quoted}, {quoted} FROM {quote(text.table)} WHERE {quoted} IS NOT NULL"
    )
    unfit = run(f"SELECT count(*) FROM {scratch} WHERE NOT ({fits})").fetchone()[0]
    codec = _TYPES.codec(type_text)
    unfit += sum(
        not _is_kept(codec, value) for (value,) in run(f"SELECT n FROM {scratch} WHERE {fits}").fetchall()
    )
    run(f"DROP TABLE {scratch}")
    if unfit:
        raise ValueRefused(
            f"{unfit} values of {text.table!r}.{column!r} do not fit {type_text} as they are",
            hint="correct or delete them first",
        )


def _with_nullable(run: Run, text: TableText, at: int, nullable: bool) -> TableText:
    item = text.items[at]
    column = str(item.column)
    if nullable:
        if folded(column) in _unique_keys(run, text)["pk"]:
            raise SchemaError(f"{column!r} is in the primary key of {text.table!r} and cannot be NULL")
        return with_clause(text, at, "NOT", None)
    if "NOT" in _kinds(item):
        return text
    missing = run(f"SELECT count(*) FROM {quote(text.table)} WHERE {quote(column)} IS NULL").fetchone()[0]
    if missing:
        raise NotNullViolation(
            f"{missing} rows of {text.table!r} have no value in {column!r}", hint="fill them first"
        )
    return with_clause(with_clause(text, at, "NULL", None), at, "NOT", "NOT NULL")


def _default_clause(item: Item, default: Any) -> str | None:
    if default is None:
        return None
    column = str(item.column)
    if not isinstance(default, str):
        raise InvalidQuery(f"the default of {column!r} must be SQL text", hint='such as "0" or "\'new\'"')
    type_text = joined(item.type_code) or "ANY"
    spec = parse_column(column, f"{type_text} DEFAULT {default}", SQLITE)
    if spec != ColumnSpec(column, spec.type_text, default=spec.default):
        raise InvalidQuery(f"the default of {column!r} is more than an expression")
    return f"DEFAULT {default_sql(spec, TARGET)}"


def _unique_keys(run: Run, text: TableText) -> dict[str, frozenset[str]]:
    """The columns of the primary key (as ``pk``) and of each unique index that is not partial."""
    keys = run("SELECT name FROM pragma_table_info(?) WHERE pk", (text.table,)).fetchall()
    found = {"pk": frozenset(folded(name) for (name,) in keys)}
    indexes = run(
        'SELECT name FROM pragma_index_list(?) WHERE "unique" AND NOT partial', (text.table,)
    ).fetchall()
    for (index,) in indexes:
        rows = run("SELECT name FROM pragma_index_info(?)", (index,)).fetchall()
        if all(name is not None for (name,) in rows):
            found[f"index {index}"] = frozenset(folded(name) for (name,) in rows)
    return found


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, sorted(names)))
