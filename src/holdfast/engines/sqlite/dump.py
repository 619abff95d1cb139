"""A SQLite database as SQL text, read in one transaction, and such a text put in the place of its tables.

``iterdump`` is not used: it leaves out NUL characters, full-text content and AUTOINCREMENT counters.
"""

from __future__ import annotations

import json
import re
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from hashlib import blake2b
from itertools import islice, pairwise
from math import frexp
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from holdfast.engines.base import Run
from holdfast.engines.copying import Content, Fill, RawRows, Script
from holdfast.engines.names import unquote_identifier
from holdfast.engines.sqlite import fulltext
from holdfast.engines.sqlite.tabletext import folded
from holdfast.engines.sqltext import SQLITE, first_word, tokens
from holdfast.errors import BackupError, ForeignKeyViolation, SchemaError, TableNotFound, did_you_mean
from holdfast.folders import own_folder

if TYPE_CHECKING:
    from holdfast.settings import Target

STATEMENT_SIZE = 60_000
_STEP = 10_000
# The bytes of statements that the driver may keep; what it makes of them takes several times as much.
_MOST_KEPT = 4 * STATEMENT_SIZE
_FULL_TEXT = frozenset({"fts3", "fts4", "fts5"})
_CARRIED = _FULL_TEXT | {"rtree", "rtree_i32"}
_AWKWARD = re.compile("[\0\ud800-\udfff]")
_MARK = re.compile(r'^-- (table|view): (".*")$', re.MULTILINE)
_LEADING_COMMENTS = re.compile(r"(?:\s+|--[^\n]*(?:\n|\Z))*")
_OF_TRANSACTIONS = frozenset({"BEGIN", "COMMIT", "END"})


class Carried(NamedTuple):
    """A table that a backup carries; ``module`` is that of a virtual one."""

    name: str
    sql: str
    module: str
    source: str | None
    """The table or view that a full-text index has its text from; ``None`` where it holds its own."""

    @property
    def is_index(self) -> bool:
        return self.source is not None


def quote(name: str) -> str:
    # Files that others made may hold names that Holdfast would not give.
    return '"' + name.replace('"', '""') + '"'


def _carried(raw: sqlite3.Connection) -> list[Carried]:
    """The tables in the order of their creation, without those that virtual tables and searches keep.

    Raises:
        BackupError: if there is one whose content cannot be read and written again.
    """
    rows = raw.execute(
        "SELECT m.name, m.sql, l.type FROM sqlite_master AS m JOIN pragma_table_list AS l "
        "ON l.schema = 'main' AND l.name = m.name WHERE m.type = 'table' AND l.type IN ('table', 'virtual') "
        "AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY m.rowid"
    ).fetchall()
    return [
        _virtual(name, sql) if kind == "virtual" else Carried(name, sql, "", None)
        for name, sql, kind in rows
        if not (kind == "virtual" and name.startswith(fulltext.PREFIX))
    ]


def _virtual(name: str, sql: str) -> Carried:
    code = [token for token in tokens(sql, SQLITE) if token.is_code]
    words = [token.text.lower() for token in code]
    module = words[words.index("using") + 1]
    options = {
        before.text.lower(): unquote_identifier(after.text)
        for (before, equals), (_, after) in pairwise(pairwise(code))
        if equals.text == "="
    }
    source = options.get("content") if module in _FULL_TEXT else None
    if module not in _CARRIED or source == "" or "languageid" in options:
        raise BackupError(
            f"the virtual table {name!r} ({module}) holds content that cannot be read and written again",
            hint="copy the database file, or drop that table and create it again after restoring",
        )
    return Carried(name, sql, module, source)


def find(raw: sqlite3.Connection, only: str) -> Carried:
    known = _carried(raw)
    for table in known:
        if folded(table.name) == folded(only):
            if table.is_index:
                raise BackupError(
                    f"{only!r} is a full-text index of {table.source!r}", hint="back up that table instead"
                )
            return table
    names = [table.name for table in known]
    raise TableNotFound(f"there is no table {only!r}", hint=did_you_mean(only, names, "tables"))


def tables(raw: sqlite3.Connection, only: str | None) -> list[str]:
    """The tables whose rows a backup holds."""
    if only is not None:
        return [find(raw, only).name]
    return [table.name for table in _carried(raw) if not table.is_index]


def columns(raw: sqlite3.Connection, table: Carried) -> str:
    """The columns that are written, without those that are computed."""
    rows = raw.execute(f"PRAGMA table_xinfo({quote(table.name)})").fetchall()
    names = [quote(name) for _, name, *_, hidden in rows if not hidden]
    return ", ".join(["rowid", *names] if has_own_rowid(table) else names)


def has_own_rowid(table: Carried) -> bool:
    """Whether a row's number is not one of its columns, and must stay as it is."""
    return table.module in _FULL_TEXT


@contextmanager
def any_text(raw: sqlite3.Connection) -> Iterator[None]:
    """Read text that is not valid UTF-8 too; the driver takes twice as long for it."""
    before = raw.text_factory
    raw.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
    try:
        yield
    finally:
        raw.text_factory = before


def is_undecodable(exc: sqlite3.OperationalError) -> bool:
    """Whether a text was not valid UTF-8, outside of :func:`any_text`."""
    return str(exc).startswith("Could not decode to UTF-8")


def content(
    raw: sqlite3.Connection,
    table: str,
    advance: Callable[[int], None] | None = None,
    like: str | None = None,
) -> Content:
    """Add up the BLAKE2b digests of all rows, modulo 2**128."""
    found = find(raw, table)
    seen = 0

    def told(rows: int) -> None:
        """Rows that are read a second time are not told again."""
        nonlocal seen
        if advance is not None and rows > seen:
            advance(rows - seen)
            seen = rows

    try:
        return _content(raw, found, told)
    except sqlite3.OperationalError as exc:
        if not is_undecodable(exc):
            raise
    with any_text(raw):
        return _content(raw, found, told)


def _content(raw: sqlite3.Connection, table: Carried, told: Callable[[int], None]) -> Content:
    tally = Tally()
    found = raw.execute(f"SELECT {columns(raw, table)} FROM {quote(table.name)}")
    # One row at a time is in memory, however long it is.
    while tally.add(map(shortened, islice(found, _STEP))):
        told(tally.rows)
    return tally.content


@dataclass(slots=True)
class Tally:
    """Rows that were counted, and the sum of their digests."""

    rows: int = 0
    total: int = 0

    def add(self, rows: Iterable[tuple[Any, ...]]) -> int:
        """Count rows in which blobs are :func:`shortened`, and return how many they are."""
        # Not repr: which characters it escapes changes with Python's version of Unicode.
        hashed = map(_hashed, map(str.encode, map(ascii, rows)))
        found = list(map(int.from_bytes, map(_finished, hashed)))
        self.total += sum(found)
        self.rows += len(found)
        return len(found)

    @property
    def content(self) -> Content:
        return Content(self.rows, f"{self.total % 2**128:032x}")


_hashed = partial(blake2b, digest_size=16)
_finished = methodcaller("digest")


def shortened(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """The row with digests in the place of blobs, whose text would take four times as much."""
    if bytes in map(type, row):
        return tuple([blake2b(value).digest() if type(value) is bytes else value for value in row])
    return row


# Writing


Say = Callable[[str], None]


def write(raw: sqlite3.Connection, only: str | None, put: Callable[[bytes], None]) -> dict[str, Any]:
    """Write the whole database, or one table with what belongs to it; return what restoring needs to know."""

    def say(text: str) -> None:
        put(text.encode("utf-8", "surrogateescape"))

    return outline(raw, only, say, lambda table: _write_rows(raw, table, say))


def outline(
    raw: sqlite3.Connection, only: str | None, say: Say, rows: Callable[[Carried], None]
) -> dict[str, Any]:
    """Say the statements, and call ``rows`` for each table where its rows belong."""
    chosen = _carried(raw) if only is None else [find(raw, only)]
    names = {folded(table.name) for table in chosen}
    objects = raw.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_master "
        "WHERE type IN ('index', 'view', 'trigger') AND sql IS NOT NULL ORDER BY rowid"
    ).fetchall()
    views = [name for kind, name, _, _ in objects if kind == "view" and only is None]
    for table in chosen:
        say(_mark("table", table.name) + _ended(table.sql))
        if not table.is_index:
            rows(table)
            _write_counter(raw, table.name, say)
            for sql in fulltext.making(raw.execute, table.name):
                say(_ended(sql))
    for kind, name, owner, sql in objects:
        if kind == "view" and only is None:
            say(_mark("view", name) + _ended(sql))
        elif folded(owner) in names:
            say(_mark("table", owner) + _ended(sql))
        elif kind == "trigger" and owner in views:
            say(_mark("view", owner) + _ended(sql))
    for table in chosen:
        if table.module in _FULL_TEXT:
            _write_index(raw, table, say)
    if only is None:
        for pragma in ("user_version", "application_id"):
            say(f"\n-- database\nPRAGMA {pragma} = {raw.execute(f'PRAGMA {pragma}').fetchone()[0]};\n")
    return {
        "views": views,
        "indexes": [table.name for table in chosen if table.is_index],
        "violations": [
            [*pair, count] for pair, count in _violations(raw).items() if folded(pair[0]) in names
        ],
    }


def _mark(kind: str, name: str) -> str:
    return f"\n-- {kind}: {json.dumps(name)}\n"


def _ended(sql: str) -> str:
    # A comment at the end would hide the semicolon.
    return f"{sql}\n;\n" if "--" in sql else f"{sql};\n"


def _write_rows(raw: sqlite3.Connection, table: Carried, say: Callable[[str], None]) -> None:
    names = columns(raw, table)
    head = f"INSERT INTO {quote(table.name)} ({names}) VALUES\n"
    room = raw.getlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH) // 4 - len(head)
    number = lru_cache(maxsize=65_536)(partial(_float, raw))
    kinds: dict[type, Callable[[Any], str]] = {
        type(None): lambda _: "NULL",
        int: repr,
        # The cache cannot tell 0.0 from -0.0.
        float: lambda value: number(value) if value else repr(value),
        str: _text,
        bytes: lambda value: f"X'{value.hex()}'",
    }
    waiting: list[str] = []
    size = 0
    with any_text(raw):
        for row in raw.execute(f"SELECT {names} FROM {quote(table.name)}"):
            text = "(" + ", ".join([kinds[type(value)](value) for value in row]) + ")"
            if len(text) > room and len(text.encode("utf-8", "surrogateescape")) > room * 4:
                raise BackupError(f"a row of {table.name!r} is too large for one SQL statement")
            if waiting and size + len(text) > STATEMENT_SIZE:
                say(head + ",\n".join(waiting) + ";\n")
                waiting, size = [], 0
            waiting.append(text)
            size += len(text)
    if waiting:
        say(head + ",\n".join(waiting) + ";\n")


def _text(value: str) -> str:
    if _AWKWARD.search(value):
        return f"CAST(X'{value.encode('utf-8', 'surrogateescape').hex()}' AS TEXT)"
    return "'" + value.replace("'", "''") + "'"


def _float(raw: sqlite3.Connection, value: float) -> str:
    """The shortest text that SQLite reads as exactly this number.

    It reads most numbers right; where it is one bit off, the number is written as a whole number that is
    divided or multiplied by powers of two, which is exact.
    """
    text = repr(value).replace("inf", "9e999")
    if text[-2:] == ".0" and len(text) < 17:
        return text
    # The cast reads the text as the parser does, and is prepared once.
    if raw.execute("SELECT CAST(? AS REAL)", (text,)).fetchone()[0] == value:
        return text
    fraction, exponent = frexp(value)
    steps, rest = divmod(abs(exponent - 53), 62)
    by = (" / " if exponent < 53 else " * ").join(map(str, [2**62] * steps + [2**rest]))
    return f"({int(fraction * 2**53)} * 1.0 {'/' if exponent < 53 else '*'} {by})"


def _write_counter(raw: sqlite3.Connection, name: str, say: Callable[[str], None]) -> None:
    """AUTOINCREMENT goes on after the highest number there ever was, not the highest there is."""
    if not raw.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'").fetchall():
        return
    row = raw.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (name,)).fetchone()
    if row is not None:
        say(f"DELETE FROM sqlite_sequence WHERE name = {_text(name)};\n")
        say(f"INSERT INTO sqlite_sequence (name, seq) VALUES ({_text(name)}, {int(row[0])});\n")


def _write_index(raw: sqlite3.Connection, table: Carried, say: Callable[[str], None]) -> None:
    """A full-text index's settings, and its words where the text is another table's."""
    quoted = quote(table.name)
    say(_mark("table", table.name))
    if table.module == "fts5":
        rows = raw.execute(
            f"SELECT k, v FROM {quote(table.name + '_config')} WHERE k <> 'version'"
        ).fetchall()
        for key, value in rows:
            written = _text(value) if isinstance(value, str) else repr(value)
            say(f"INSERT INTO {quoted} ({quoted}, rank) VALUES ({_text(key)}, {written});\n")
    if table.is_index:
        say(_rebuild(table.name) + ";\n")


def _rebuild(name: str) -> str:
    return f"INSERT INTO {quote(name)} ({quote(name)}) VALUES ('rebuild')"


# Restoring


def load(
    raw: sqlite3.Connection, statements: Script, manifest: Mapping[str, Any] | None, only: str | None
) -> None:
    """Drop the tables that a backup names and run its statements; without a manifest, just run them.

    Raises:
        ForeignKeyViolation: if a reference does not hold that held before, here or in the backup.
    """
    before = _violations(raw)
    if manifest is not None:
        before |= Counter({(child, parent): count for child, parent, count in manifest["violations"]})
        named = [only] if only else [*manifest["tables"], *manifest["indexes"]]
        for name in named:
            fulltext.drop(raw.execute, name)
        _drop(raw, named, "table")
        _drop(raw, [] if only else manifest["views"], "view")
    section, size = None, 0
    for statement in statements:
        if isinstance(statement, Fill):
            if statement.table is None or only in (None, statement.table):
                statement.write()
            continue
        assert not isinstance(statement, RawRows)
        start = _LEADING_COMMENTS.match(statement)
        assert start is not None
        for kind, name in _MARK.findall(start[0]):
            section = (kind, json.loads(name))
        if manifest is None:
            _run_foreign(raw, statement[start.end() :])
        elif only is None or section == ("table", only):
            raw.execute(statement[start.end() :])
        size += len(statement)
        if size > _MOST_KEPT:
            _let_go_of_texts(raw)
            size = 0
    if manifest is not None:
        _renew_indexes(raw, [only] if only else manifest["tables"], [] if only else manifest["indexes"])
    for (child, parent), count in (_violations(raw) - before).items():
        raise ForeignKeyViolation(
            f"{count} rows of {child!r} would refer to rows that {parent!r} does not have",
            hint="restore the other table too, or correct those rows first",
        )


def _let_go_of_texts(raw: sqlite3.Connection) -> None:
    """Push long texts out of the driver, which keeps its last 128 statements."""
    for number in range(128):
        raw.execute(f"SELECT {number}").fetchone()


def _drop(raw: sqlite3.Connection, names: Iterable[str], wanted: str) -> None:
    for name in names:
        rows = raw.execute(
            "SELECT type FROM sqlite_master WHERE name = ? COLLATE NOCASE AND type IN ('table', 'view')",
            (name,),
        ).fetchall()
        for (kind,) in rows:
            if kind != wanted:
                raise SchemaError(
                    f"{name!r} is a {kind} here and a {wanted} in the backup", hint="rename or drop it first"
                )
            raw.execute(f"DROP {kind} {quote(name)}")


def _run_foreign(raw: sqlite3.Connection, statement: str) -> None:
    """Run a statement of another program, whose transactions and settings are not ours."""
    verb = first_word(statement[:200], SQLITE)
    if verb == "ROLLBACK":
        raise BackupError("the file says that it was not written to its end: ROLLBACK")
    if verb == "PRAGMA" and not re.match(
        r"PRAGMA\s+(user_version|application_id)\b", statement, re.IGNORECASE
    ):
        return
    if verb not in _OF_TRANSACTIONS:
        raw.execute(statement)


def _renew_indexes(raw: sqlite3.Connection, replaced: Iterable[str], done: Iterable[str]) -> None:
    """Full-text indexes that the backup did not bring read the new rows of the tables they are of."""
    names, finished = set(map(folded, replaced)), set(map(folded, done))
    rows = raw.execute(
        "SELECT name, sql FROM sqlite_master WHERE sql LIKE 'CREATE VIRTUAL TABLE%'"
    ).fetchall()
    for name, sql in rows:
        try:
            table = _virtual(name, sql)
        except BackupError:
            continue
        if table.source is not None and folded(table.source) in names and folded(name) not in finished:
            raw.execute(_rebuild(name))


def _violations(raw: sqlite3.Connection) -> Counter[tuple[str, str]]:
    """How many rows refer to rows that do not exist, by table and parent."""
    found: Counter[tuple[str, str]] = Counter()
    children = raw.execute(
        "SELECT DISTINCT m.name FROM sqlite_master AS m, pragma_foreign_key_list(m.name) "
        "WHERE m.type = 'table'"
    ).fetchall()
    for (child,) in children:
        try:
            for _, _, parent, _ in raw.execute(f"PRAGMA foreign_key_check({quote(child)})"):
                found[child, parent] += 1
        except sqlite3.OperationalError as exc:
            if "foreign key mismatch" not in str(exc):
                raise
            found[child, "a table without that key"] += 1
    return found


@contextmanager
def scratch(run: Run, target: Target) -> Iterator[Target]:
    """An empty database that is gone after the block."""
    with own_folder(Path(tempfile.gettempdir()), "holdfast-verify-") as folder:
        yield type(target)("sqlite", path=folder / "scratch.sqlite")


def imitate(raw: sqlite3.Connection, manifest: Mapping[str, Any]) -> None:
    """A scratch database needs nothing beforehand."""
