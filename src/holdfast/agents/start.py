"""Starting an application's database: wait for it, migrate it, put the first data in, and say so."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace

import holdfast.memory
from holdfast.agents import migrate
from holdfast.agents.project import Project
from holdfast.database import Database, open_database
from holdfast.errors import ConnectionFailed
from holdfast.memory.tables import STORES, found

WAIT = 60.0
MEMORY = "memory"
"""What `holdfast.memory.open` calls a memory without a name."""
Tell = Callable[[str], None]


def reached(url: str | os.PathLike[str] | None = None, *, wait: float = WAIT) -> Database:
    """Open a database, or that of the environment; a server that does not answer yet is tried again.

    Raises:
        ConnectionFailed: after ``wait`` seconds; at once where waiting cannot help, as for a wrong password.
    """
    started = time.monotonic()
    try:
        return open_database(url, {"wait_until_ready": wait})
    except ConnectionFailed as exc:
        waited = time.monotonic() - started
        if not exc.is_temporary:
            raise
        raise type(exc)(
            f"{exc.message} (waited {waited:.0f} s)",
            hint=exc.hint or "check that the server runs (`docker compose ps`) and the values in .env",
        ) from exc


def init(
    url: str | os.PathLike[str] | None = None,
    *,
    project: Project | None = None,
    wait: float = WAIT,
    backup: bool = True,
    tell: Tell = lambda line: None,
) -> migrate.Done:
    """Wait for the server, run all migrations, and seed; ``tell`` gets a line for each thing done.

    Safe to call at every start and by several processes at once.
    """
    started = time.monotonic()
    with reached(url, wait=wait) as db:
        waited = time.monotonic() - started
        place = replace(db._executor.target, options={}).masked_url
        tell(f"connected to {place}" + (f" after {waited:.1f} s" if waited > 1 else ""))
        done = migrate.upgrade(db, project=project, backup=backup, tell=tell)
        if not done.revisions:
            tell("the schema is up to date")
        remember(db, tell)
        return done


def remember(db: Database, tell: Tell) -> bool:
    """Make the tables of memories, where vectors can be compared; else say what to do about it.

    Where pgvector is missing all other tables work, and so do memories later.
    """
    if db.table_exists(STORES) and found(db._executor, "passages", MEMORY):
        return True
    engine = db._executor.engine
    missing = engine.migrating.lacks_vectors(db._executor.run)
    if missing is not None:
        tell(
            f"warning: {missing}; the tables of memories were left out. Everything else works; add it and "
            "run `holdfast agents init` again to have them"
        )
        return False
    holdfast.memory.open(db, name=MEMORY)
    tell(f"made the tables of the memory {MEMORY!r}")
    return True
