"""Which versions of PostgreSQL are looked after, and which are known to do harm."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from holdfast.engines.checks import Finding

# https://www.postgresql.org/support/versioning/
_ENDS = {
    13: date(2025, 11, 13),
    14: date(2026, 11, 12),
    15: date(2027, 11, 11),
    16: date(2028, 11, 9),
    17: date(2029, 11, 8),
    18: date(2030, 11, 14),
}
_LATEST = {14: 23, 15: 18, 16: 14, 17: 10, 18: 4}
"""The minor releases of May 2026: older ones lack fixes that are known."""
_HARMFUL_14 = 4
"""CREATE INDEX CONCURRENTLY of 14.0 to 14.3 may leave rows out: https://www.postgresql.org/docs/release/14.4/."""


def of_version(major: int, minor: int, today: date) -> Iterator[Finding]:
    """What is known of a version of the server."""
    shown = f"PostgreSQL {major}.{minor}"
    if major == 14 and minor < _HARMFUL_14:
        yield Finding(
            "version",
            "error",
            f"{shown} leaves rows out of indexes that are built CONCURRENTLY",
            "install 14.4 or newer, then make all indexes again with REINDEX",
        )
    ends = _ENDS.get(major)
    if major < min(_ENDS) or (ends is not None and ends < today):
        ended = "long ago" if ends is None else f"on {ends}"
        yield Finding(
            "version",
            "warning",
            f"{shown} gets no fixes any more: its support ended {ended}",
            "move to a newer version: a .hfz backup can be restored there, or see pg_upgrade",
        )
    elif minor < _LATEST.get(major, 0):
        yield Finding(
            "version",
            "warning",
            f"{shown} lacks the fixes of {major}.{_LATEST[major]}, of security too",
            "install the newest minor version and restart the server; nothing is to be converted",
        )
