"""Opening SQLite files with the settings Holdfast promises."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import sqlite3
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import quote

from holdfast.engines.base import Cursor, Opened, Run, paced
from holdfast.engines.names import quote_identifier
from holdfast.engines.pool import Pool
from holdfast.engines.sqlite.errors import translate
from holdfast.engines.sqlite.mounts import network_file_system
from holdfast.errors import ConfigurationError, ConnectionFailed
from holdfast.settings import Target

OLDEST = (3, 37, 0)
DEFAULT_TIMEOUT = 30.0
LONGEST_TIMEOUT = 1_000_000.0
# The engine's own wait is short and the looks around it are jittered: one long wait starves writers.
ENGINE_WAIT = 0.002
DURABILITY = {"full": "FULL", "normal": "NORMAL"}

# How many of its instructions SQLite runs between two looks at the time, and seconds a writer can be kept.
_OFTEN, _BRIEF = 10_000, 1.0
_streams = itertools.count()
# As many rows as are still in the processor's cache when they are made into what was asked for.
_PORTION = 500

driver_error: tuple[type[Exception], ...] = (sqlite3.Error, sqlite3.Warning)


def create(target: Target, options: Mapping[str, Any]) -> Opened:
    """A pool of connections to one file, or to one database in memory that all threads share."""
    if sqlite3.sqlite_version_info < OLDEST:
        raise ConfigurationError(
            f"SQLite {sqlite3.sqlite_version} is older than 3.37",
            hint="use a Python that was built with a newer SQLite",
        )
    durability = options.get("durability") or "full"
    if durability not in DURABILITY:
        raise ConfigurationError(f"unknown durability {durability!r}", hint="use 'full' or 'normal'")
    read_only = bool(options.get("read_only"))
    location = _memory() if target.path is None else _file(target.path, read_only=read_only)
    journal = "WAL" if target.path is None else _journal(target.path)

    def open_connection() -> sqlite3.Connection:
        try:
            return _open(location, options, DURABILITY[durability], journal)
        except driver_error as exc:
            error = translate(exc)
            located = type(error)(f"{target.masked_url}: {error.message}", hint=error.hint)
            if isinstance(located, ConnectionFailed):
                located.is_temporary = False
            raise located from exc

    anchor = open_connection() if target.path is None else None
    # The file may be locked, and one in memory is while somebody writes.
    pool = Pool(open_connection, options, apart=lambda: sqlite3.connect(":memory:"), leave=_leave)
    return Opened(pool, target.sqlalchemy_url, anchor.close if anchor else _nothing)


def _nothing() -> None:
    pass


def _memory() -> str:
    return f"file:/holdfast-{uuid.uuid4().hex}?vfs=memdb"


def _file(path: Path, *, read_only: bool) -> str:
    if path.is_dir():
        raise ConnectionFailed(f"{path} is a directory", hint="name a file in it")
    if not path.parent.is_dir():
        raise ConnectionFailed(f"the folder {path.parent} does not exist", hint="create it first")
    if not path.exists():
        if read_only:
            raise ConnectionFailed(f"{path} does not exist", hint="a read-only connection creates nothing")
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            pass
        except OSError as exc:
            raise ConnectionFailed(f"{path} cannot be created: {exc.strerror}") from exc
    return f"file:{quote(str(path.resolve()))}?mode={'ro' if read_only else 'rw'}"


class Connection(sqlite3.Connection):
    """A connection that knows how long SQLAlchemy, which does not try again, is to wait for a lock."""

    milliseconds = 0
    read_by: sqlite3.Cursor | None = None
    "What the last stream reads it with: it stays open as long as that does."

    def wait(self, milliseconds: int) -> None:
        self.execute(f"PRAGMA busy_timeout = {milliseconds}").close()


def _open(location: str, options: Mapping[str, Any], synchronous: str, journal: str) -> Connection:
    read_only, page_size = options.get("read_only"), options.get("page_size")
    given = options.get("timeout")
    timeout = min(DEFAULT_TIMEOUT if given is None else given, LONGEST_TIMEOUT)
    # Who has just made the file holds it while it goes over to WAL.
    raw = sqlite3.connect(location, uri=True, timeout=timeout, check_same_thread=False, factory=Connection)
    raw.milliseconds = int(timeout * 1000)
    raw.create_function("regexp", 2, _matches, deterministic=True)
    if read_only:
        # What is attached may be written, the same file once more as well; VACUUM INTO attaches, too.
        raw.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    try:
        raw.execute("PRAGMA foreign_keys = ON")
        raw.execute(f"PRAGMA trusted_schema = {'OFF' if _distrusts_well() else 'ON'}")
        # Without a log the folder has to be synced too, or a power cut can bring a journal back.
        is_extra = synchronous == "FULL" and journal == "DELETE"
        raw.execute(f"PRAGMA synchronous = {'EXTRA' if is_extra else synchronous}")
        if page_size:
            raw.execute(f"PRAGMA page_size = {int(page_size)}")
        if read_only:
            raw.execute("SELECT count(*) FROM sqlite_master").fetchall()
        else:
            raw.wait(round(ENGINE_WAIT * 1000))
            _use(raw, journal)
        raw.wait(raw.milliseconds)
    except BaseException:
        raw.close()
        raise
    return raw


def _matches(pattern: str, text: str | None) -> bool | None:
    """What ``text REGEXP pattern`` calls, which SQLite has no function of its own for."""
    return None if text is None else re.search(pattern, text) is not None


def _journal(path: Path) -> str:
    """WAL where its shared memory works; elsewhere the journal that needs locks alone, and a warning."""
    kind = network_file_system(path)
    if kind is None:
        return "WAL"
    warnings.warn(
        f"{path} is on a network file system ({kind}): SQLite's locks cannot be trusted there, so that one "
        "process at a time should use the file; it is kept without a write-ahead log",
        RuntimeWarning,
        stacklevel=2,
    )
    return "DELETE"


def _use(raw: sqlite3.Connection, journal: str) -> None:
    try:
        raw.execute(f"PRAGMA journal_mode = {journal}").fetchall()
    except sqlite3.OperationalError as exc:
        # Somebody is using the file in another mode, or it may not be written: it works as it is.
        if not exc.sqlite_errorname.startswith(("SQLITE_BUSY", "SQLITE_READONLY", "SQLITE_LOCKED")):
            raise


def hold(raw: Any) -> tuple[Callable[..., Cursor], Callable[..., Cursor], Callable[..., Cursor]]:
    """Take the connection out of the driver's own transaction keeping."""
    raw.isolation_level = None
    raw.wait(round(ENGINE_WAIT * 1000))
    return raw.execute, raw.executemany, raw.execute


def end(cursor: Cursor) -> None:
    """Close it: its statement keeps tables from being dropped as long as it is open."""
    with contextlib.suppress(*driver_error):
        cursor.close()


def let_go(raw: Any) -> None:
    with contextlib.suppress(*driver_error):
        if raw.in_transaction:
            raw.execute("ROLLBACK")
        raw.isolation_level = ""
        raw.wait(raw.milliseconds)


def interrupt(raw: Any) -> None:
    # Its own thread may have closed it meanwhile.
    with contextlib.suppress(*driver_error):
        raw.interrupt()


def _leave(raw: Any) -> None:
    """Close it in the child of a fork, where SQLite believes to hold the locks that its parent has.

    What opens the file next would rely on them, and its writes be lost when the parent closes the file. One
    in a transaction has to stay: what it wrote would be undone in memory that both share.
    """
    if not raw.in_transaction:
        if raw.read_by is not None:
            raw.read_by.close()
        raw.close()


def is_alive(raw: Any) -> bool:
    return True


def is_unsent(exc: BaseException | None) -> bool:
    return False


def is_stale(exc: BaseException) -> bool:
    """SQLite prepares statements again by itself when the schema has changed."""
    return False


def refresh(raw: Any) -> None:
    """Do nothing, for the same reason."""


@cache
def _distrusts_well() -> bool:
    """Whether this SQLite lets an untrusted schema use FTS5 tables and JSON.

    An older one lets no trigger of a search write, and cannot even read a schema with JSON in an index.
    """
    with contextlib.closing(sqlite3.connect(":memory:")) as raw:
        raw.execute("PRAGMA trusted_schema = OFF")
        try:
            raw.execute("CREATE VIRTUAL TABLE probe USING fts5(words)")
            raw.execute("CREATE VIEW probed AS SELECT words, json_valid(words) FROM probe")
            raw.execute("SELECT * FROM probed").fetchall()
        except sqlite3.OperationalError:
            return False
    return True


def stream(
    raw: Any,
    sql: str,
    params: Sequence[Any],
    size: int,
    *,
    binary: bool,
    shared: bool,
    lasts: Callable[[], bool],
) -> Iterator[list[Any]]:
    """Batches of rows; on a ``shared`` connection from a copy, so that its writes do not show up in them."""
    if shared and not raw.execute("PRAGMA query_only").fetchone()[0]:
        yield from _stream_copy(raw, sql, params, size, lasts)
        return
    cursor = raw.execute(sql, params)
    raw.read_by = cursor
    try:
        yield from paced(lambda count: cursor.fetchmany(count) if lasts() else [], min(size, _PORTION))
    finally:
        raw.read_by = None
        # The rest of a stream that was left may be let go after its database.
        with contextlib.suppress(*driver_error):
            cursor.close()


def _stream_copy(
    raw: Any, sql: str, params: Sequence[Any], size: int, lasts: Callable[[], bool]
) -> Iterator[list[Any]]:
    copy = quote_identifier(f"holdfast stream {next(_streams)}")
    raw.execute(f"CREATE TEMP TABLE {copy} AS {sql}", params)
    names = {item[0].lower() for item in raw.execute(f"SELECT * FROM temp.{copy} LIMIT 0").description}
    number = next(name for name in ("rowid", "_rowid_", "oid") if name not in names)
    page = f"SELECT {number}, * FROM temp.{copy} WHERE {number} > ? ORDER BY {number} LIMIT ?"
    last, process = 0, os.getpid()

    def fetch(count: int) -> list[Any]:
        nonlocal last
        found = raw.execute(page, (last, count)).fetchall() if lasts() else []
        last = found[-1][0] if found else last
        return [row[1:] for row in found]

    try:
        yield from paced(fetch, size)
    finally:
        # The file of temporary tables is that of the parent, too, in the child of a fork.
        if os.getpid() == process:
            with contextlib.suppress(*driver_error):
                raw.execute(f"DROP TABLE temp.{copy}")


def begin(run: Run, *, isolation: str | None, read_only: bool) -> None:
    """Take the write lock at once: a transaction that turns to writing later fails whatever the timeout."""
    run("BEGIN" if read_only else "BEGIN IMMEDIATE", ())
    if read_only:
        run("PRAGMA query_only = ON", ())


def ended(run: Run, *, read_only: bool) -> None:
    if read_only:
        run("PRAGMA query_only = OFF", ())


def wait_for_rows(run: Run) -> None:
    """SQLite ends no transaction by itself."""


@contextlib.contextmanager
def limited(raw: Any, seconds: float) -> Iterator[None]:
    """SQLite asks now and then whether to go on. Without a log, who reads keeps others from committing."""
    if raw.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        seconds = min(seconds, _BRIEF)
    end = monotonic() + seconds
    raw.set_progress_handler(lambda: monotonic() > end, _OFTEN)
    try:
        yield
    finally:
        raw.set_progress_handler(None, _OFTEN)


def ticket(raw: Any) -> None:
    """A file answers every COMMIT."""


def fate(raw: Any, of: Any) -> bool | None:
    return None
