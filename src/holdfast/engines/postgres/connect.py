"""Opening connections to PostgreSQL with the settings Holdfast promises."""

from __future__ import annotations

import contextlib
import itertools
import logging
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import islice
from os import getpid
from threading import get_ident
from typing import TYPE_CHECKING, Any, NoReturn

import psycopg
from psycopg import RawCursor
from psycopg.adapt import Buffer, Loader
from psycopg.pq import Format, TransactionStatus
from psycopg.pq.abc import PGresult

from holdfast.engines.base import Cursor, Opened, Run, paced
from holdfast.engines.pool import Pool
from holdfast.engines.postgres import embedded
from holdfast.engines.postgres.commit import fate as fate
from holdfast.engines.postgres.commit import identity
from holdfast.engines.postgres.commit import ticket as ticket
from holdfast.engines.postgres.errors import translate
from holdfast.engines.postgres.liveness import Unsent, answers, check_before, command
from holdfast.engines.postgres.liveness import limited as limited
from holdfast.engines.postgres.plans import GENERIC
from holdfast.engines.sqltext import POSTGRES, first_word, is_single_statement
from holdfast.errors import ConfigurationError, ConnectionFailed
from holdfast.settings import Target

if TYPE_CHECKING:
    import sqlalchemy


def _is_news(record: logging.LogRecord) -> bool:
    # The same refusal is raised; with no logging set up, Python prints this line on the standard error.
    return not str(record.msg).startswith("error ignored terminating")


logging.getLogger("psycopg").addFilter(_is_news)

DEFAULT_TIMEOUT = 5.0
CONNECT_TIMEOUT = 5
# For the first two questions to a server that has let us in; a busy one takes its time.
SETUP_SECONDS = 30.0
# Measured in the design notes: each of the two alone leaves a half-open connection hanging.
KEEPALIVE = {
    "keepalives": 1,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}

# The type numbers of the server: https://github.com/postgres/postgres/blob/master/src/include/catalog/pg_type.dat
FLOAT4 = 700
IDLE_IN_TRANSACTION = 60.0
# What a statement may take longer than its timeout until we stop waiting for the answer.
GRACE = 5.0
FIRST_IN_PORTIONS = 170_000

driver_error: tuple[type[Exception], ...] = (psycopg.Error,)
_refreshes = itertools.count()
_of_parent: list[Any] = []


# What a read-only connection runs: everything that reads, and the bounds of transactions.
READING = frozenset(
    {
        *("SELECT", "WITH", "VALUES", "TABLE", "EXPLAIN", "SHOW", "DECLARE", "FETCH", "CLOSE"),
        *("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "DEALLOCATE"),
    }
)
COMMANDS = {"BEGIN": b"BEGIN", "COMMIT": b"COMMIT", "ROLLBACK": b"ROLLBACK"}


class Done:
    """What is left of a command that has no rows, in the shape of a cursor."""

    rowcount = -1
    description = None

    def __init__(self, result: PGresult) -> None:
        self.statusmessage = (result.command_status or b"").decode()

    def fetchone(self) -> None:
        return None

    def fetchmany(self, size: int = 0, /) -> list[Any]:
        return []

    fetchall = fetchmany

    def close(self) -> None:
        """There is nothing to close."""


class Connection(psycopg.Connection[Any]):
    """A connection that remembers which server it is to."""

    server: str | None = None
    longest: float | None = None
    prepares = True
    reads_only = False


def create(target: Target, options: Mapping[str, Any]) -> Opened:
    """A pool of connections to one database of a server, started first where it is an embedded one."""
    durability = options.get("durability") or "full"
    if durability not in ("full", "normal"):
        raise ConfigurationError(f"unknown durability {durability!r}", hint="use 'full' or 'normal'")
    if options.get("read_only") and target.directory and not (target.directory / "PG_VERSION").exists():
        raise ConnectionFailed(
            f"no PostgreSQL data in {target.directory}", hint="a read-only connection creates nothing"
        )
    server = embedded.start(target.directory, target.dbname) if target.directory is not None else None
    fields = {**(server.conninfo() if server else {}), **target.conninfo()}
    fields = {"connect_timeout": CONNECT_TIMEOUT, "application_name": "holdfast", **KEEPALIVE, **fields}
    is_pooled = bool(options.get("pgbouncer"))
    settings = _pooled_settings(options) if is_pooled else _settings(options, durability)
    longest = options.get("statement_timeout")

    def open_connection() -> Connection:
        try:
            raw = Connection.connect(**fields)
        except psycopg.Error as exc:
            raise _unreachable(exc, fields) from exc
        try:
            # It may let us in and then say nothing.
            wait = raw.wait
            raw.wait = partial(wait, timeout=SETUP_SECONDS)  # type: ignore[method-assign]
            raw.autocommit = True
            setting = ", ".join(f"set_config('{name}', ${i}, false)" for i, name in enumerate(settings, 1))
            RawCursor(raw).execute(f"SELECT {setting}", list(settings.values()), prepare=False)
            raw.server = identity(raw)
            raw.reads_only = bool(options.get("read_only"))
            if is_pooled:
                raw.prepares, raw.prepare_threshold = False, None
            raw.autocommit = False
        except psycopg.Error as exc:
            raw.close()
            raise translate(exc) from exc
        raw.wait = wait  # type: ignore[method-assign]
        if longest:
            # The server keeps the time; this is for an answer that never comes.
            raw.longest = longest + GRACE
            raw.wait = partial(wait, timeout=raw.longest)  # type: ignore[method-assign]
        return raw

    pool = Pool(open_connection, options, answers=answers)
    return Opened(pool, partial(_url, fields), server.release if server else _nothing)


def _url(fields: Mapping[str, Any]) -> sqlalchemy.URL:
    import sqlalchemy

    return sqlalchemy.URL.create(
        "postgresql+psycopg",
        username=fields.get("user"),
        password=fields.get("password"),
        host=fields.get("host"),
        port=int(fields["port"]) if fields.get("port") else None,
        database=fields.get("dbname"),
    )


def _settings(options: Mapping[str, Any], durability: str) -> dict[str, str]:
    """What each connection is told; 0 milliseconds would mean to wait for ever."""

    def milliseconds(name: str, default: float) -> str:
        seconds = options.get(name)
        return f"{max(1, int((default if seconds is None else seconds) * 1000))}ms"

    settings = {
        "TimeZone": "UTC",
        "lock_timeout": milliseconds("timeout", DEFAULT_TIMEOUT),
        "idle_in_transaction_session_timeout": milliseconds("idle_in_transaction", IDLE_IN_TRANSACTION),
        "synchronous_commit": "on" if durability == "full" else "off",
        "default_transaction_read_only": "on" if options.get("read_only") else "off",
    }
    if options.get("statement_timeout"):
        settings["statement_timeout"] = milliseconds("statement_timeout", 0)
    return settings


def _pooled_settings(options: Mapping[str, Any]) -> dict[str, str]:
    """What PgBouncer carries from one server connection to the next; all else would stay with strangers."""
    for name, harmless in (("read_only", False), ("durability", "full"), ("statement_timeout", 0)):
        if options.get(name) not in (None, harmless):
            raise ConfigurationError(
                f"{name} is a setting of a session, which pgbouncer=True does not have",
                hint="set it on the server, for example with ALTER ROLE ... SET",
            )
    return {"TimeZone": "UTC"}


def _nothing() -> None:
    pass


def _unreachable(exc: psycopg.Error, fields: Mapping[str, Any]) -> ConnectionFailed:
    """Say where nothing answered, in our own words: libpq's may repeat what it was given."""
    host, port = fields.get("host") or "the default host", fields.get("port") or 5432
    where = f"PostgreSQL at {host}, port {port}"
    said = str(exc)
    refused = _refused(exc, where, fields)
    if refused is not None:
        refused.is_temporary = False
        return refused
    if "too many clients" in said or exc.sqlstate == "53300":
        return ConnectionFailed(
            f"{where} has no connection free", hint="close some, or raise max_connections"
        )
    if "resolve" in said or "Name or service not known" in said:
        return ConnectionFailed(
            f"the host {fields.get('host') or 'of the server'} is not known", hint="check its name"
        )
    if isinstance(exc, psycopg.errors.ConnectionTimeout) or "timeout" in said:
        return ConnectionFailed(
            f"{where} did not answer within {fields['connect_timeout']} s",
            hint="check the host, the port and the firewall",
        )
    return ConnectionFailed(
        f"{where} cannot be reached", hint="check that the server runs there and accepts connections"
    )


def _refused(exc: psycopg.Error, where: str, fields: Mapping[str, Any]) -> ConnectionFailed | None:
    """What the server does not let us do, however often we ask."""
    said = str(exc)
    database = fields.get("dbname") or fields.get("user") or "the default database"
    if exc.sqlstate in ("28P01", "28000") or "password authentication failed" in said:
        return ConnectionFailed(
            f"{where} refused the user or the password", hint="check POSTGRES_USER and POSTGRES_PASSWORD"
        )
    if "no password supplied" in said:
        return ConnectionFailed(f"{where} asks for a password", hint="give password= or POSTGRES_PASSWORD")
    if exc.sqlstate == "3D000" or ("database" in said and "does not exist" in said):
        return ConnectionFailed(
            f"{where} has no database {database!r}", hint="create it, or check the name in the URL"
        )
    return None


def hold(raw: Any) -> tuple[Callable[..., Cursor], Callable[..., Cursor], Callable[..., Cursor]]:
    """Take the connection out of the driver's own transaction keeping.

    Statements are always prepared: that is one round trip once warm, and a prepared text cannot hold two
    statements, where the simple protocol would run ``SELECT 1; DROP TABLE t``. A pooler that changes the
    server's connection cannot have them prepared; there a text without values is looked at first.
    """
    raw.autocommit = True
    cursor = RawCursor(raw)
    _trust_known_types(cursor)
    run, check, prepares = cursor.execute, check_before(raw), getattr(raw, "prepares", True)

    def execute(sql: str, params: Sequence[Any] = ()) -> Cursor:
        check()
        if sql in COMMANDS:
            return Done(command(raw, COMMANDS[sql], raw.longest))
        if not prepares and not params:
            _refuse_many(sql)
        return run(sql, params, prepare=prepares)

    def execute_binary(sql: str, params: Sequence[Any] = ()) -> Cursor:
        check()
        if not prepares and not params:
            _refuse_many(sql)
        return run(sql, params, prepare=prepares, binary=True)

    def execute_many(sql: str, rows: Sequence[Sequence[Any]]) -> Cursor:
        check()
        cursor.executemany(sql, rows)
        return cursor

    if raw.reads_only:
        return _only_reading(execute), _only_reading(execute_many), _only_reading(execute_binary)
    return execute, execute_many, execute_binary


def _only_reading(run: Callable[..., Cursor]) -> Callable[..., Cursor]:
    def execute(sql: str, params: Sequence[Any] = ()) -> Cursor:
        _refuse_writing(sql)
        return run(sql, params)

    return execute


# What is prepared does nothing before EXECUTE, which is refused; its plan may be asked for.
_PREPARING = frozenset({"PREPARE", "DEALLOCATE"})


@lru_cache(maxsize=4096)
def _refuse_writing(sql: str) -> None:
    """A superuser could set read-only off again, or have COPY run a program in spite of it."""
    verb = first_word(sql, POSTGRES)
    if sql != GENERIC and (verb not in READING | _PREPARING or "set_config" in sql.lower()):
        raise psycopg.errors.ReadOnlySqlTransaction("not a statement that reads")


@lru_cache(maxsize=4096)
def _refuse_many(sql: str) -> None:
    if not is_single_statement(sql, POSTGRES):
        raise psycopg.errors.SyntaxError("cannot insert multiple commands into one statement")


def end(cursor: Cursor) -> None:
    """Nothing is to be done: its rows are all here."""


def let_go(raw: Any) -> None:
    if raw.closed:
        return
    with contextlib.suppress(psycopg.Error):
        raw.rollback()
        raw.autocommit = False


def interrupt(raw: Any) -> None:
    with contextlib.suppress(psycopg.Error):
        raw.cancel()


def is_alive(raw: Any) -> bool:
    """Whether the connection can go on; after an error one that is still ACTIVE was interrupted."""
    dead = (TransactionStatus.UNKNOWN, TransactionStatus.ACTIVE)
    return not raw.closed and raw.pgconn.transaction_status not in dead


def is_unsent(exc: BaseException | None) -> bool:
    return isinstance(exc, Unsent) or str(exc) == "the connection is closed"


def is_stale(exc: BaseException) -> bool:
    """A statement was prepared for a table that has changed since."""
    if isinstance(exc, _UnknownType):
        return True
    return isinstance(exc, psycopg.errors.FeatureNotSupported) and "cached plan" in str(exc)


class _UnknownType(psycopg.DataError):
    """A value was asked for in binary whose column is not of the type any more that it was."""


class _NoLoader(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> NoReturn:
        raise _UnknownType("a type that is not read in binary")


def _trust_known_types(cursor: Any) -> None:
    """Have the cursor read in binary only what comes back the same as in text."""
    for oid in (0, FLOAT4):
        cursor.adapters.register_loader(oid, _NoLoader)


def refresh(raw: Any) -> None:
    """Drop the statements prepared before the schema changed: their result types may be others now.

    The text differs each time because psycopg looks only at statements it has not seen for a reason to
    drop its own list of them.
    """
    if raw.pgconn.transaction_status == TransactionStatus.INERROR or not raw.prepares:
        return
    try:
        RawCursor(raw).execute(f"DEALLOCATE ALL -- {next(_refreshes)}")
    except psycopg.Error:
        if is_alive(raw):
            raise
        raw.close()


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
    """Batches of rows from a cursor of the server, which writes of the same transaction do not change.

    The driver's own server cursor would be closed in whatever transaction comes next, which that aborts.
    A connection that nobody else uses meanwhile, because it is out of a transaction or not ``shared``, needs
    no cursor: the server then goes on while rows are read.
    """
    name, cursor = f"hf_{uuid.uuid4().hex}", RawCursor(raw)
    _trust_known_types(cursor)
    is_alone = raw.pgconn.transaction_status == TransactionStatus.IDLE or not shared
    if is_alone and _takes_its_time(cursor):
        rows: Any = cursor.stream(sql, params, binary=binary, size=min(size, 1000))
        process = getpid()
        try:
            while lasts() and (batch := list(islice(rows, size))):
                yield batch
        finally:
            # In the child of a fork its parent goes on, with the same socket, and even its end would disturb.
            rows.close() if getpid() == process else _of_parent.append(rows)
        return
    cursor.execute(f"DECLARE {name} NO SCROLL CURSOR FOR {sql}", params, prepare=False)

    def fetch(count: int) -> list[Any]:
        if not lasts():
            return []
        forward = f"FETCH FORWARD {count} FROM {name}"
        return cursor.execute(forward, prepare=False, binary=binary).fetchall()

    thread = get_ident()
    try:
        yield from paced(fetch, size)
    finally:
        # A stream that was left may be collected in another thread, or in the middle of a call on this very
        # connection, which would wait for itself; its cursor then ends with the transaction.
        is_ours = get_ident() == thread and not raw.closed and not raw.lock.locked()
        if is_ours and lasts() and raw.pgconn.transaction_status == TransactionStatus.INTRANS:
            cursor.execute(f"CLOSE {name}", prepare=False)


def _takes_its_time(cursor: Any) -> bool:
    """Whether a statement may last as long as its rows are read, and libpq gives them in portions."""
    if psycopg.pq.version() < FIRST_IN_PORTIONS:
        return False
    return bool(cursor.execute("SHOW statement_timeout").fetchone() == ("0",))


def begin(run: Run, *, isolation: str | None, read_only: bool) -> None:
    words = ["BEGIN"]
    if isolation:
        words.append(f"ISOLATION LEVEL {isolation}")
    if read_only:
        words.append("READ ONLY")
    run(" ".join(words), ())


def ended(run: Run, *, read_only: bool) -> None:
    """PostgreSQL's transactions leave nothing to put back."""


def wait_for_rows(run: Run) -> None:
    run("SET LOCAL idle_in_transaction_session_timeout = 0", ())
