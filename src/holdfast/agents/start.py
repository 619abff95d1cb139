"""Starting an application's database: wait for it, migrate it, put the first data in, and say so."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from dataclasses import replace

import holdfast.memory
from holdfast.agents import drift, migrate
from holdfast.agents.initial_data import seed
from holdfast.agents.project import Project
from holdfast.agents.settings import Settings, load
from holdfast.core.retry import until_reached
from holdfast.database import Database
from holdfast.errors import ConnectionFailed, SchemaError
from holdfast.memory.tables import STORES, found

WAIT = 60.0
MEMORY = "memory"
"""What `holdfast.memory.open` calls a memory without a name."""
Tell = Callable[[str], None]


def reached(settings: Settings, *, wait: float = WAIT) -> Database:
    """Open the database of the settings; a server that does not answer yet is tried again.

    Raises:
        ConnectionFailed: after ``wait`` seconds; at once where waiting cannot help, as for a wrong password.
    """
    started = time.monotonic()
    try:
        return until_reached(settings.open, wait)
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
    settings = _settings(url, tell)
    started = time.monotonic()
    with reached(settings, wait=wait) as db:
        waited = time.monotonic() - started
        place = replace(db._executor.target, options={}).masked_url
        tell(f"connected to {place}" + (f" after {waited:.1f} s" if waited > 1 else ""))
        done = migrate.upgrade(db, project=project, backup=backup, tell=tell)
        if not done.revisions:
            tell("the schema is up to date")
        _look(db, project, tell)
        remember(db, tell)
        if settings.first_superuser is None:
            tell(
                "warning: there is no first user and no managed skill; set FIRST_SUPERUSER and "
                "FIRST_SUPERUSER_PASSWORD in .env, and run `holdfast agents init` again"
            )
        else:
            tell(str(seed(db, settings)))
        return done


def _look(db: Database, project: Project | None, tell: Tell) -> None:
    """Say what somebody changed by hand.

    Raises:
        SchemaError: if something is missing without which the application cannot work.
    """
    found = drift.check(db, project=project)
    missing = [line for line in found if line.endswith(" is missing")]
    if missing:
        raise SchemaError(
            f"somebody changed the database by hand: {'; '.join(missing)}",
            hint="restore a backup, or put it back; `holdfast agents bootstrap` makes missing tables",
        )
    for line in found:
        tell(f"warning: {line}")


def _settings(url: str | os.PathLike[str] | None, tell: Tell) -> Settings:
    """The settings, checked before anything is changed."""
    with warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter("always")
        settings = load(url)
    for complaint in complaints:
        tell(f"warning: {complaint.message}")
    if settings.first_superuser is not None or settings.first_superuser_password is not None:
        for variable in ("FIRST_SUPERUSER", "FIRST_SUPERUSER_PASSWORD"):
            settings.require(variable)
    return settings


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
