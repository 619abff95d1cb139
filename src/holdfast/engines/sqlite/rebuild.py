"""Replacing a table by one of the same name and rows, with everything that hangs on it.

SQLite's own advice (https://www.sqlite.org/lang_altertable.html, section 7) switches foreign keys off,
which is not possible inside a transaction; and with them on, ``DROP TABLE`` deletes the rows of tables that
refer to it. Therefore the old table is renamed aside and the others keep referring to the name: nothing
refers to the old one when it is dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from holdfast.engines.base import Run
from holdfast.engines.names import quote_identifier as quote
from holdfast.engines.sqlite.tabletext import TableText, folded, read_table, renamed
from holdfast.errors import ForeignKeyViolation, NotSupported, TableNotFound

_MASTER = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"


@contextmanager
def around(run: Run) -> Iterator[None]:
    """Switch foreign key enforcement off around a transaction that alters tables.

    For ``run`` outside any transaction; inside one nothing changes, and altering works too.
    """
    before = run("PRAGMA foreign_keys").fetchone()[0]
    legacy = run("PRAGMA legacy_alter_table").fetchone()[0]
    run("PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        run(f"PRAGMA foreign_keys = {before}")
        run(f"PRAGMA legacy_alter_table = {legacy}")


def objects(run: Run) -> dict[tuple[str, str], tuple[str, str]]:
    """What ``sqlite_master`` holds: (type, name) to (table, text), in order."""
    return {(kind, name): (table, sql) for kind, name, table, sql in run(_MASTER).fetchall()}


def table_text(run: Run, table: str) -> TableText:
    """The parts of a table's text.

    Raises:
        TableNotFound: if there is no such table.
    """
    row = run(
        "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE", (table,)
    ).fetchone()
    if row is None:
        raise TableNotFound(f"there is no table {table!r}")
    return read_table(row[0])


def unused(wanted: str, taken: Collection[str]) -> str:
    """``wanted``, or it with a number after it."""
    names = {folded(name) for name in taken}
    name, number = wanted, 1
    while folded(name) in names:
        number += 1
        name = f"{wanted}_{number}"
    return name


def rebuild(run: Run, new: TableText, *, lost: Collection[str] = (), fresh: Collection[str] = ()) -> None:
    """Put ``new`` in the place of the table of its name; the caller's transaction holds it together.

    Rows, rowids, indexes, triggers and the AUTOINCREMENT counter stay. ``lost`` names the indexes to leave
    out, ``fresh`` the columns to fill with their defaults.

    Raises:
        ForeignKeyViolation: if a reference holds no longer.
    """
    table = new.table
    with settled_references(run, table):
        before = objects(run)
        hanging = _hanging(run, table)
        sequence = _sequence(run, table)
        for kind, name, _ in hanging:
            run(f"DROP {kind} {quote(name)}")
        aside = unused("holdfast_old", [name for _, name in before])
        _rename_aside(run, table, aside, before)
        run(new.sql)
        _copy(run, aside, table, new, fresh)
        if sequence is not None and new.generates_keys:
            run("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
            run("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, sequence))
        run(f"DROP TABLE {quote(aside)}")
        for _, name, sql in hanging:
            if name not in lost:
                run(sql)


def _hanging(run: Run, table: str) -> list[tuple[str, str, str]]:
    """The indexes and triggers of a table: kind, name, text. Temporary triggers too."""
    found = [
        (kind, name, sql)
        for (kind, name), (owner, sql) in objects(run).items()
        if kind in {"index", "trigger"} and folded(owner) == folded(table)
    ]
    temporary = run(
        "SELECT name, sql FROM sqlite_temp_master WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE",
        (table,),
    ).fetchall()
    return found + [("trigger", name, sql.replace("CREATE", "CREATE TEMP", 1)) for name, sql in temporary]


def _sequence(run: Run, table: str) -> Any:
    if not run("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'").fetchall():
        return None
    row = run("SELECT seq FROM sqlite_sequence WHERE name = ? COLLATE NOCASE", (table,)).fetchone()
    return None if row is None else row[0]


def _rename_aside(run: Run, table: str, aside: str, before: dict[tuple[str, str], tuple[str, str]]) -> None:
    # In legacy mode views and triggers keep the name; foreign keys keep it only where they are off.
    legacy = run("PRAGMA legacy_alter_table").fetchone()[0]
    run("PRAGMA legacy_alter_table = ON")
    try:
        run(f"ALTER TABLE {quote(table)} RENAME TO {quote(aside)}")
    finally:
        run(f"PRAGMA legacy_alter_table = {legacy}")
    after = objects(run)
    followed = {
        name: before["table", name][1]
        for (kind, name), (_, sql) in after.items()
        if kind == "table" and name != aside and sql != before["table", name][1]
    }
    own = next(
        sql for (kind, name), (_, sql) in before.items() if kind == "table" and folded(name) == folded(table)
    )
    followed[aside] = renamed(read_table(own), aside)
    if followed.keys() == {aside} and not run("PRAGMA foreign_keys").fetchone()[0]:
        return
    _write_texts(run, {name: sql for name, sql in followed.items() if sql != after["table", name][1]})


def _write_texts(run: Run, texts: dict[str, str]) -> None:
    """Give tables back the texts they had, so that they refer to the name and not to the old table."""
    if not texts:
        return
    run("PRAGMA writable_schema = ON")
    try:
        if not run("PRAGMA writable_schema").fetchone()[0]:
            raise NotSupported(
                "this SQLite does not let a table that others refer to be altered inside a transaction",
                hint="alter it outside of one",
            )
        for name, sql in texts.items():
            run("UPDATE sqlite_master SET sql = ? WHERE type = 'table' AND name = ?", (sql, name))
    finally:
        # RESET also reads the schema again.
        run("PRAGMA writable_schema = RESET")


def _copy(run: Run, old: str, table: str, new: TableText, fresh: Collection[str]) -> None:
    stored = {folded(name) for name, hidden in _columns(run, old) if not hidden}
    skipped = {folded(name) for name in fresh}
    names = [
        name
        for name, hidden in _columns(run, table)
        if not hidden and folded(name) in stored and folded(name) not in skipped
    ]
    rowid = _rowid(run, old, table, new)
    if rowid:
        alias = rowid_alias(run, table, new)
        names = [rowid, *(name for name in names if name != alias)]
    listing = ", ".join(quote(name) for name in names)
    # OR ABORT: a constraint's own ON CONFLICT must not drop rows here.
    run(f"INSERT OR ABORT INTO {quote(table)} ({listing}) SELECT {listing} FROM {quote(old)}")


def _columns(run: Run, table: str) -> list[tuple[str, bool]]:
    """Name, and whether its values are computed, of each column."""
    rows = run("SELECT name, hidden FROM pragma_table_xinfo(?) ORDER BY cid", (table,)).fetchall()
    return [(name, hidden in {2, 3}) for name, hidden in rows]


def _rowid(run: Run, old: str, table: str, new: TableText) -> str | None:
    """A name that means the rowid in both tables."""
    if not new.has_rowid:
        return None
    taken = {folded(name) for each in (old, table) for name, _ in _columns(run, each)}
    return next((name for name in ("rowid", "_rowid_", "oid") if name not in taken), None)


def rowid_alias(run: Run, table: str, text: TableText) -> str | None:
    """The column that is the rowid, if there is one."""
    keys = run("SELECT name, type FROM pragma_table_info(?) WHERE pk", (table,)).fetchall()
    if not text.has_rowid or len(keys) != 1 or keys[0][1].upper() != "INTEGER":
        return None
    # A key that is not the rowid has an index: INTEGER PRIMARY KEY DESC, for one.
    indexed = run("SELECT 1 FROM pragma_index_list(?) WHERE origin = 'pk'", (table,)).fetchall()
    return None if indexed else str(keys[0][0])


@contextmanager
def settled_references(run: Run, table: str) -> Iterator[None]:
    """Make sure that no reference from or to ``table`` is worse off after the block.

    Raises:
        ForeignKeyViolation: if one is.
    """
    enforced = bool(run("PRAGMA foreign_keys").fetchone()[0])
    # SQLite counts the references that are open in a transaction, and a rebuild would upset the count.
    before = _violations(run, None if enforced else table)
    if enforced and before:
        raise ForeignKeyViolation(
            f"{table!r} cannot be altered while rows refer to rows that do not exist",
            hint="finish them first, or alter it outside of the transaction",
        )
    yield
    worse = _violations(run, table) - before
    if worse:
        child, parent = next(iter(worse))
        raise ForeignKeyViolation(
            f"{worse.total()} rows of {child!r} would refer to rows that {parent!r} does not have",
            hint="delete or correct them first",
        )


def _violations(run: Run, table: str | None) -> Counter[tuple[str, str]]:
    """How many rows break the references from or to ``table``, or any: by table and parent."""
    if table is None:
        rows = run("PRAGMA foreign_key_check").fetchall()
    else:
        rows = []
        for name in sorted({table, *referring(run, table)}):
            rows += run(f"PRAGMA foreign_key_check({quote(name)})").fetchall()
    return Counter((child, parent) for child, _, parent, _ in rows)


def referring(run: Run, table: str) -> list[str]:
    """The other tables that have a foreign key to ``table``."""
    rows = run(
        "SELECT DISTINCT m.name FROM sqlite_master AS m, pragma_foreign_key_list(m.name) AS f "
        "WHERE m.type = 'table' AND f.\"table\" = ? COLLATE NOCASE AND m.name <> ? COLLATE NOCASE",
        (table, table),
    ).fetchall()
    return [name for (name,) in rows]
