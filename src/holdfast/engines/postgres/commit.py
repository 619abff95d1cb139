"""Learning what became of a COMMIT whose answer was lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import RawCursor

from holdfast.engines.postgres.liveness import command

# A standby that was promoted goes on with the numbers of transactions, and they are others then.
_IDENTITY = (
    "SELECT system_identifier::text || ' ' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) "
    "|| ' ' || extract(epoch FROM pg_postmaster_start_time())::text FROM pg_control_system()"
)
_ENDING_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Ticket:
    """A transaction by its number, and the server that gave it."""

    number: str
    server: str | None


def identity(raw: Any) -> str | None:
    """Which server this is, and which of its histories; ``None`` where it does not say, as a standby."""
    try:
        row = RawCursor(raw).execute(_IDENTITY).fetchone()
    except psycopg.Error as exc:
        if exc.sqlstate is None:
            raise
        return None
    return row[0] if row else None


def ticket(raw: Any) -> Ticket | None:
    """What the open transaction can be found by later; ``None`` if it has written nothing."""
    number = command(raw, b"SELECT pg_current_xact_id_if_assigned()", raw.longest).get_value(0, 0)
    return Ticket(number.decode(), raw.server) if number else None


def fate(raw: Any, of: Ticket) -> bool | None:
    """Whether the transaction took effect, asked on another connection; ``None`` if nobody knows.

    One that is still in progress has lost its client, and is ended first.
    """
    if of.server is None or raw.server is None:
        return None
    cursor = RawCursor(raw)
    if raw.server != of.server:
        if raw.server.rpartition(" ")[0] != of.server.rpartition(" ")[0]:
            return None
        # A server that crashed gives numbers again that it had not written down: only of one that is known
        # to have failed it is sure that the first holder of the number did not commit.
        return False if _status(cursor, of) == "aborted" else None
    if _status(cursor, of) == "in progress":
        # The number names the backend better than its process, whose id may be another's by now.
        cursor.execute(
            "SELECT pg_terminate_backend(pid, $2) FROM pg_stat_activity WHERE backend_xid = $1::xid8::xid",
            [of.number, _ENDING_SECONDS * 1000],
        )
    return {"committed": True, "aborted": False}.get(_status(cursor, of) or "")


def _status(cursor: RawCursor[Any], of: Ticket) -> str | None:
    row = cursor.execute("SELECT pg_xact_status($1::xid8)", [of.number]).fetchone()
    return row[0] if row else None
