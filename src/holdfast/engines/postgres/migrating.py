"""Migrations on PostgreSQL: one at a time by an advisory lock, and looked through by squawk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.engines.base import Run

if TYPE_CHECKING:
    from alembic.ddl.impl import DefaultImpl

DIALECT = "postgresql"
SCRATCH = None
# Any number that nobody else has chosen.
_LOCK = 7_466_291_845_511_003
# Matters of taste; and what every migration here has: a transaction of its own and a lock timeout.
_UNASKED = (
    "prefer-bigint-over-int,prefer-bigint-over-smallint,prefer-identity,prefer-robust-stmts,"
    "prefer-text-field,prefer-timestamp-tz,require-lock-timeout,require-statement-timeout,"
    "require-timeout-settings,transaction-nesting,ban-char-field"
)
_TIME = 30
_MOST = 5


def operations() -> type[DefaultImpl] | None:
    """Alembic's own."""
    return None


def hold(run: Run, turn: float, locks: float) -> None:
    """Take the advisory lock of migrations, and set the transaction's timeouts."""
    run("SET LOCAL statement_timeout = 0")
    run(f"SET LOCAL lock_timeout = {int(turn * 1000)}")
    run("SELECT pg_advisory_xact_lock(?)", (_LOCK,))
    run(f"SET LOCAL lock_timeout = {int(locks * 1000)}")


def recording(raw: Any) -> AbstractContextManager[list[str]]:
    """Alembic writes the SQL of PostgreSQL, without a scratch database."""
    raise AssertionError


def lacks_vectors(run: Run) -> str | None:
    """Whether the server has pgvector, and we may use it."""
    found = run(
        "SELECT a.installed_version IS NOT NULL, has_database_privilege(current_database(), 'CREATE') "
        "FROM pg_available_extensions AS a WHERE a.name = 'vector'"
    ).fetchone()
    if found is None:
        return "the server has no pgvector (on Debian: apt install postgresql-NN-pgvector)"
    if not (found[0] or found[1]):
        return "this role may not create the extension pgvector (as its owner: CREATE EXTENSION vector)"
    return None


def dangers(statements: Sequence[str]) -> list[str]:
    """What squawk says of the statements, if it is installed (``pip install squawk-cli``).

    Source: https://squawkhq.com/docs/rules
    """
    program = shutil.which("squawk", path=os.pathsep.join((str(Path(sys.executable).parent), os.defpath)))
    if program is None:
        program = shutil.which("squawk")
    if program is None or not statements:
        return []
    with tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
        path = Path(folder, "migration.sql")
        text = "\n".join(f"{sql.rstrip().rstrip(';')};" for sql in statements)
        path.write_text(text, encoding="utf-8")
        options = ("--reporter", "json", "--assume-in-transaction", f"--exclude={_UNASKED}")
        try:
            done = subprocess.run(  # noqa: S603 - our own file, no shell
                [program, *options, str(path)], capture_output=True, text=True, cwd=folder, timeout=_TIME
            )
            found = json.loads(done.stdout or "[]")
        except (OSError, subprocess.TimeoutExpired, ValueError):
            return []
    return _told(found, text.splitlines())


def _told(found: Sequence[dict[str, Any]], lines: Sequence[str]) -> list[str]:
    """A line for each rule, with the statements that it is about."""
    places: dict[str, list[str]] = {}
    for one in found:
        at = one.get("line")
        place = lines[at].strip().rstrip(";(") if isinstance(at, int) and at < len(lines) else "a statement"
        places.setdefault(f"{one['message']} ({one['rule_name']})", []).append(place)
    return [
        f"{said}: {'; '.join(unique[:_MOST])}" + (f"; and {len(unique) - _MOST} more" * (len(unique) > _MOST))
        for said, every in places.items()
        if (unique := list(dict.fromkeys(every)))
    ]
