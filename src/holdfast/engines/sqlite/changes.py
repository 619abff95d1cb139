"""Changes noted by triggers for each row. Writers come one after the other, and so do their numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from holdfast.engines.base import Column, Run
from holdfast.engines.changes import APPLYING, UNNOTED, Carried, Tracked, listed
from holdfast.engines.names import SYNC_PREFIX, quote_identifier

# A window would hold all rows before it numbers the first.
numbered = ("INTEGER PRIMARY KEY", "NULL")
_GUARDS = {"log": APPLYING, "feed": UNNOTED}
# Of several notes of a row the first stays, whatever the statement that fires a trigger says of conflicts:
# that rules over OR IGNORE in a trigger, but not over this clause (sqlite3GenerateConstraintChecks).
_FIRST = {"log": " ON CONFLICT DO NOTHING", "feed": ""}
_EVENTS = ("replace", "insert", "move", "update", "rekey", "delete")


def log(run: Run, table: Tracked) -> list[str]:
    """One note for each row, of what it was when it was changed first."""
    keys = ", ".join(f'"{k}" {c.type} NOT NULL' for k, c in zip(table.keys, table.key, strict=True))
    return [
        f'CREATE TABLE IF NOT EXISTS "{APPLYING}" ("applying" INTEGER)',
        f'CREATE TABLE {quote_identifier(table.log)} ("had" INTEGER NOT NULL, "tried" INTEGER NOT NULL, '
        f"{keys}, {_before(table)}PRIMARY KEY ({listed(table.keys)})) WITHOUT ROWID",
        *_triggers(table, "log"),
    ]


def feed(run: Run, table: Tracked) -> list[str]:
    """One note for each change, numbered."""
    keys = ", ".join(f'"{k}" {c.type} NOT NULL' for k, c in zip(table.keys, table.key, strict=True))
    before = _before(table).rstrip(", ")
    return [
        f'CREATE TABLE IF NOT EXISTS "{UNNOTED}" ("unnoted" INTEGER)',
        f'CREATE TABLE {quote_identifier(table.feed)} ("position" INTEGER PRIMARY KEY AUTOINCREMENT, '
        f'"had" INTEGER NOT NULL, {keys}{", " if before else ""}{before})',
        *_triggers(table, "feed"),
    ]


def _before(table: Tracked) -> str:
    return "".join(f'"{b}" {column.type}, ' for b, column in zip(table.notes("b"), table.others, strict=True))


def _triggers(table: Tracked, role: str) -> list[str]:
    own = quote_identifier(table.name)
    known, keys = _is_known("OLD", table), _names(table.key)
    moved = " OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in keys)
    old, new = _old(table, role), _new(table, role)
    # A hub's replicas may sync other columns than it notes.
    of = f" OF {listed([column.name for column in table.columns])}" if role == "log" else ""
    # No trigger fires for the rows that OR REPLACE puts away, so they are looked for before.
    made = [
        (
            "replace",
            f"BEFORE INSERT ON {own}",
            _is_in_the_way(table),
            _in_the_way(table, role, inserted=True),
        ),
        ("insert", f"AFTER INSERT ON {own}", _is_known("NEW", table), [new]),
        ("delete", f"AFTER DELETE ON {own}", known, [old]),
    ]
    # A replica needs what a row was, a hub only where it is gone. A trigger on the key costs no other change.
    changed, of_key = f"AFTER UPDATE{of} ON {own}", f"AFTER UPDATE OF {', '.join(keys)} ON {own}"
    if role == "log":
        made.append(("update", changed, known, [old]))
        made.append(("rekey", of_key, f"({moved}) AND {_is_known('NEW', table)}", [new]))
    else:
        made.append(("update", changed, _is_known("NEW", table), [new]))
        made.append(("rekey", of_key, f"({moved}) AND {known}", [old]))
    if in_the_way := _in_the_way(table, role, inserted=False):
        made.append(("move", f"BEFORE UPDATE ON {own}", "1", in_the_way))
    return [
        f"CREATE TRIGGER {_trigger(table, role, event)} {head} WHEN {when} "
        f'AND NOT EXISTS (SELECT 1 FROM "{_GUARDS[role]}") BEGIN {"; ".join(notes)}; END'
        for event, head, when, notes in made
    ]


def _trigger(table: Tracked, role: str, event: str) -> str:
    return quote_identifier(f"{SYNC_PREFIX}{table.number}_{role}_{event}")


def _names(columns: Sequence[Column]) -> list[str]:
    return [quote_identifier(column.name) for column in columns]


def _into(table: Tracked, role: str) -> str:
    columns = [*(["tried"] if role == "log" else []), "had", *table.keys, *table.notes("b")]
    return f"INSERT INTO {quote_identifier(getattr(table, role))} ({listed(columns)})"


def _was(table: Tracked, role: str, row: str) -> str:
    """The values of a note of what a row was."""
    return (
        f"{'0, ' if role == 'log' else ''}1, {', '.join(f'{row}.{name}' for name in _names(table.columns))}"
    )


def _old(table: Tracked, role: str) -> str:
    return f"{_into(table, role)} VALUES ({_was(table, role, 'OLD')}){_FIRST[role]}"


def _new(table: Tracked, role: str) -> str:
    """The shortest note of a row that is new: it is paid for with each."""
    values = ", ".join(f"NEW.{name}" for name in _names(table.key))
    return f"{_into_new(table, role)} VALUES ({'0, ' if role == 'log' else ''}0, {values}){_FIRST[role]}"


def _into_new(table: Tracked, role: str) -> str:
    tried = '"tried", ' if role == "log" else ""
    return f'INSERT INTO {quote_identifier(getattr(table, role))} ({tried}"had", {listed(table.keys)})'


def _is_known(row: str, table: Tracked) -> str:
    """A key may hold NULL on SQLite; no other row is found by one, so such a row stays where it is."""
    return " AND ".join(f"{row}.{name} IS NOT NULL" for name in _names(table.key))


def _is_in_the_way(table: Tracked) -> str:
    keys = tuple(column.name for column in table.key)
    found = " OR ".join(
        f"EXISTS (SELECT 1 FROM {quote_identifier(table.name)} AS o WHERE "
        + " AND ".join(f"o.{name} = NEW.{name}" for name in map(quote_identifier, unique))
        + ")"
        for unique in (keys, *table.uniques)
    )
    return f"({found})"


def _in_the_way(table: Tracked, role: str, *, inserted: bool) -> list[str]:
    """Notes of the rows that OR REPLACE would put away for the one that is written."""
    own = quote_identifier(table.name)
    key = tuple(column.name for column in table.key)
    found = []
    for unique in (key, *table.uniques) if inserted or table.uniques else ():
        alike = " AND ".join(f"o.{q} = NEW.{q}" for q in map(quote_identifier, unique))
        if not inserted:
            alike += " AND NOT (" + " AND ".join(f"o.{q} IS OLD.{q}" for q in _names(table.key)) + ")"
        found.append(
            f"{_into(table, role)} SELECT {_was(table, role, 'o')} FROM {own} AS o "
            f"WHERE ({alike}) AND {_is_known('o', table)}{_FIRST[role]}"
        )
    return found


def forget(run: Run, table: Tracked) -> None:
    for role in _GUARDS:
        for event in _EVENTS:
            run(f"DROP TRIGGER IF EXISTS {_trigger(table, role, event)}")
    for name in (table.log, table.flight, table.feed):
        run(f"DROP TABLE IF EXISTS {quote_identifier(name)}")


def first(table: Tracked, condition: str) -> str:
    """Each key has one note."""
    columns = listed(["had", "tried", *table.keys, *table.notes("b")], "n.")
    return f"SELECT {columns} FROM {quote_identifier(table.log)} AS n WHERE {condition} LIMIT ?"


def position(run: Run, table: Tracked) -> int:
    return here(run, table) + 1


def upcoming(run: Run, table: Tracked) -> int:
    return here(run, table) + 1


def here(run: Run, table: Tracked) -> int:
    found = run("SELECT seq FROM sqlite_sequence WHERE name = ?", (table.feed,)).fetchall()
    return int(found[0][0]) if found else 0


def hold(run: Run, tables: Sequence[Tracked]) -> None:
    """The transaction has kept every other writer off since it began."""


def turn(run: Run) -> None:
    """The transaction is the only one that writes."""


def applying(run: Run, *, on: bool) -> None:
    run(f'INSERT INTO "{APPLYING}" VALUES (1)' if on else f'DELETE FROM "{APPLYING}"')


def unnoted(run: Run, *, on: bool) -> None:
    run(f'INSERT INTO "{UNNOTED}" VALUES (1)' if on else f'DELETE FROM "{UNNOTED}"')


@contextmanager
def copying(run: Run, table: Tracked, role: str) -> Iterator[None]:
    """Without the triggers of a role, which a statement of many rows pays for with each."""
    names = {_trigger(table, role, event).strip('"') for event in _EVENTS}
    found = run(
        "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE",
        (table.name,),
    ).fetchall()
    kept = {name: sql for name, sql in found if name in names}
    for name in kept:
        run(f"DROP TRIGGER {quote_identifier(name)}")
    # An error undoes all of this with the transaction.
    yield
    for sql in kept.values():
        run(sql)
    if kept and not run(f'SELECT 1 FROM "{_GUARDS[role]}"').fetchall():
        zeros, keys = "0, 0" if role == "log" else "0", ", ".join(_names(table.key))
        known = " AND ".join(f"{name} IS NOT NULL" for name in _names(table.key))
        own = quote_identifier(table.name)
        run(f"{_into_new(table, role)} SELECT {zeros}, {keys} FROM {own} WHERE {known}{_FIRST[role]}")


def stage(name: str, select: str) -> list[str]:
    quoted = quote_identifier(name)
    return [f"DROP TABLE IF EXISTS temp.{quoted}", f"CREATE TEMP TABLE {quoted} AS {select}"]


def staged(run: Run, name: str, keys: Sequence[str]) -> None:
    run(f"CREATE INDEX temp.{quote_identifier(name + '_keys')} ON {quote_identifier(name)} ({listed(keys)})")


def carried(column: Column) -> Carried:
    kind = column.codec.kind.name
    # An array comes as the bytes that it is stored as.
    decode = None if kind == "bytes" else column.codec.decode
    return Carried(kind, column, decode=decode)


def same(carried: Carried, left: str, right: str) -> str:
    binary = " COLLATE BINARY" if carried.kind in ("text", "other") else ""
    return f"{left}{binary} IS {right}"


def identity(run: Run) -> str:
    """A file is the same wherever it is."""
    return ""
