"""Migrations on SQLite: one at a time by the file's own lock, and tables altered as Holdfast does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from holdfast.engines.base import Run
from holdfast.engines.sqlite.rebuild import around
from holdfast.engines.sqltext import SQLITE, first_word

if TYPE_CHECKING:
    from alembic.ddl.impl import DefaultImpl

DIALECT = "sqlite"
SCRATCH = ":memory:"
_CHANGES = frozenset({"CREATE", "ALTER", "DROP", "INSERT", "UPDATE", "DELETE", "REPLACE", "BEGIN", "COMMIT"})
_SETTING = re.compile(r"PRAGMA (?:foreign_keys|legacy_alter_table) = \w+", re.IGNORECASE)
# What FTS5 does to its own tables when one is created.
_SHADOW = re.compile(r"""(INTO|TABLE|FROM|UPDATE) ?'main'\.'""", re.IGNORECASE)
_NAME = r'("(?:[^"]|"")+"|\w+)'
_CREATED = re.compile(rf"CREATE TABLE {_NAME}", re.IGNORECASE)
_DANGERS = [
    (re.compile(text.replace("NAME", _NAME), re.IGNORECASE), danger)
    for text, danger in (
        (r'ALTER TABLE NAME RENAME TO "?holdfast_old', "tables written anew, while nobody else writes"),
        (
            r"CREATE (?:UNIQUE )?INDEX NAME ON NAME",
            "indexes that read all of a table, while nobody else writes",
        ),
        (r"DROP TABLE NAME", "tables that go, with their rows"),
        (r"ALTER TABLE NAME DROP COLUMN NAME", "columns that go, with their values, of"),
    )
]


def operations() -> type[DefaultImpl] | None:
    """Alembic's operations with Holdfast's ways of altering tables."""
    from holdfast.engines.sqlite.operations import Operations

    return Operations


def hold(run: Run, turn: float, locks: float) -> None:
    """``BEGIN IMMEDIATE`` has waited already: a writing transaction has the whole file."""


def lacks_vectors(run: Run) -> str | None:
    """Vectors are compared outside of the database."""
    return None


@contextmanager
def recording(raw: Any) -> Iterator[list[str]]:
    """Note the statements that change the database of a connection."""
    noted: list[str] = []
    levels: list[tuple[str, int]] = []

    def note(sql: str) -> None:
        word = first_word(sql, SQLITE)
        if word in {"SAVEPOINT", "RELEASE", "ROLLBACK"}:
            _note_level(word, sql.split()[-1], noted, levels)
        elif (word in _CHANGES and not _SHADOW.search(sql)) or _SETTING.fullmatch(sql):
            noted.append(sql)

    # With foreign keys off nothing has to be written into the schema table, where a script has no business.
    raw.set_trace_callback(note)
    try:
        with around(raw.execute):
            yield noted
    finally:
        raw.set_trace_callback(None)


def _note_level(word: str, name: str, noted: list[str], levels: list[tuple[str, int]]) -> None:
    """Leave savepoints out, and what was undone with them."""
    if word == "SAVEPOINT":
        levels.append((name, len(noted)))
    elif levels and levels[-1][0] == name:
        if word == "ROLLBACK":
            del noted[levels[-1][1] :]
        else:
            levels.pop()


def dangers(statements: Sequence[str]) -> list[str]:
    """What writes whole tables anew, reads them whole, or loses what is in them; nobody else writes then."""
    made: set[str] = set()
    found: dict[str, list[str]] = {}
    for sql in statements:
        if created := _CREATED.match(sql):
            made.add(created[1].strip('"'))
        for pattern, danger in _DANGERS:
            named = pattern.match(sql)
            if (
                named
                and "holdfast_old" not in named[1]
                and named[named.lastindex or 1].strip('"') not in made
            ):
                found.setdefault(danger, []).append(named[1].strip('"'))
    return [f"{danger}: {', '.join(dict.fromkeys(names))}" for danger, names in found.items()]
