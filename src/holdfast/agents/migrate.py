"""Bringing the database of an agent application to a revision of its schema, and back.

Each migration is one transaction, and one at a time goes through, whichever process it is of: a second
process waits, and then finds the work done. Before anything is changed the database is backed up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.agents.project import Project
from holdfast.agents.revisions import HERE, OURS, TABLE, Heads, Revision, Revisions
from holdfast.backup import aside
from holdfast.database import Database
from holdfast.errors import (
    ConnectionFailed,
    DatabaseBusy,
    Error,
    InvalidQuery,
    MigrationError,
    SerializationFailure,
)
from holdfast.memory.langgraph.tables import COLUMNS as CHECKPOINTS

if TYPE_CHECKING:
    from alembic.runtime.migration import RevisionStep
    from sqlalchemy import Connection

    from holdfast.engines.base import Engine

Tell = Callable[[str], None]
TURN = 600.0
"""Seconds that a process waits for another one that migrates."""
LOCKS = 5.0
"""Seconds that a statement waits for a lock, while everybody else waits behind it."""
RETRIES = 20


@dataclass
class Done:
    """What a migration did: the revisions that ran, in order, and where the backup lies, if there is one."""

    revisions: list[Revision] = field(default_factory=list)
    backup: Path | None = None
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class How:
    """How migrations run. ``locks`` is in seconds, ``retries`` is for a lock that could not be had."""

    backup: bool = True
    locks: float = LOCKS
    retries: int = RETRIES
    tell: Tell = lambda line: None


DEFAULT = How()


def upgrade(
    db: Database,
    to: str = "heads",
    *,
    project: Project | None = None,
    backup: bool = True,
    locks: float = LOCKS,
    retries: int = RETRIES,
    tell: Tell = lambda line: None,
) -> Done:
    """Run the migrations up to ``to``: by default all, or a revision, a branch (``app``), or ``+1``.

    ``locks`` is how many seconds a statement waits for a lock while others wait behind it; it is tried
    ``retries`` times. ``tell`` is called with each warning before anything is changed, and with each step.

    Raises:
        MigrationError: if a migration fails or is not known; that one left nothing behind.
        DatabaseBusy: if the locks could not be had.
        TransactionError: inside a transaction.
    """
    how = How(backup=backup, locks=locks, retries=retries, tell=tell)
    return _Run(db, project, how).go(to, Revisions.up)


def downgrade(
    db: Database,
    to: str,
    *,
    project: Project | None = None,
    backup: bool = True,
    locks: float = LOCKS,
    retries: int = RETRIES,
    tell: Tell = lambda line: None,
) -> Done:
    """Undo migrations down to ``to``: ``base`` undoes ours, ``app@base`` the project's; or a revision.

    Arguments and errors are those of :func:`upgrade`. What lies in the tables that go is in the backup.
    """
    how = How(backup=backup, locks=locks, retries=retries, tell=tell)
    return _Run(db, project, how).go(to, Revisions.down)


def current(db: Database, *, project: Project | None = None) -> list[Revision]:
    """The revisions that a database is at, one for each branch.

    Raises:
        MigrationError: if one is not known here.
    """
    revisions = Revisions(project or Project.at())
    heads = heads_of(db)
    applied = {script.revision for script in revisions.lineage(heads)}
    return [one for one in revisions.listed(heads) if one.applied and _is_last(one, revisions, applied)]


def _is_last(one: Revision, revisions: Revisions, applied: set[str]) -> bool:
    return not any(one.id in other.parents for other in revisions.listed() if other.id in applied)


def history(*, project: Project | None = None, db: Database | None = None) -> list[Revision]:
    """All revisions, the newest first; with a database each says whether it is ``applied`` there."""
    return Revisions(project or Project.at()).listed(None if db is None else heads_of(db))


def pending(db: Database, *, project: Project | None = None) -> list[Revision]:
    """The revisions that an upgrade would run, in order."""
    revisions = Revisions(project or Project.at())
    return [_revision(revisions, step) for step in revisions.up("heads", heads_of(db))]


def heads_of(db: Database) -> Heads:
    """The revisions in the database's own table of them."""
    if not db.table_exists(TABLE):
        return ()
    return tuple(sorted(row["version_num"] for row in db.select(TABLE)))


def _revision(revisions: Revisions, step: RevisionStep) -> Revision:
    return revisions.described(step.revision)


Way = Callable[[Revisions, str, Heads], list[Any]]


class _Run:
    """One call of :func:`upgrade` or :func:`downgrade`."""

    def __init__(self, db: Database, project: Project | None, how: How) -> None:
        self.db, self.how = db, how
        self.project = project or Project.at()
        self.revisions = Revisions(self.project)

    def go(self, to: str, way: Way) -> Done:
        heads = heads_of(self.db)
        to = self.revisions.absolute(to, heads)
        steps = way(self.revisions, to, heads)
        done = Done()
        if not steps:
            return done
        if any(
            step.is_upgrade and step.revision.is_base and OURS in step.revision.branch_labels
            for step in steps
        ):
            there = self._tables_to_be_made()
            if there and heads_of(self.db) != heads:
                # Another process has run them since the revisions were read.
                return self.go(to, way)
            self._refuse(there)
        if self.db.list_tables():
            done.warnings = warnings_of(self.db, self.revisions, steps, heads)
        for warning in done.warnings:
            self.how.tell(f"warning: {warning}")
        if self.how.backup:
            done.backup = backed_up(self.db, self.project)
            if done.backup:
                self.how.tell(f"backup: {done.backup}")
        while step := self._next(to, way):
            done.revisions.append(step)
        return done

    def _tables_to_be_made(self) -> list[str]:
        """The tables of our migrations that are there."""
        from holdfast.agents.drift import made_by

        return sorted(made_by(HERE / "versions").intersection(self.db.list_tables()))

    def _refuse(self, there: Sequence[str]) -> None:
        """Say before the first migration which of its tables are there, and whose they may be."""
        if there:
            of_saver = set(there) <= set(CHECKPOINTS)
            raise MigrationError(
                f"the database has tables already that are to be made: {', '.join(there)}",
                hint="HoldfastSaver made them, for threads that the application does not have: drop them, or "
                "keep one of both in another database; nothing was changed"
                if of_saver
                else "drop or rename them; or if they are what the models say, `holdfast agents bootstrap` "
                "notes the revision; nothing was changed",
            )

    def _next(self, to: str, way: Way) -> Revision | None:
        """Run the next migration that is wanted, in a transaction of its own."""
        tried: list[Revision] = []

        def work() -> Revision | None:
            tried.clear()

            def choose(heads: Heads, context: Any) -> list[Any]:
                steps = way(self.revisions, to, heads)[:1]
                tried.extend(_revision(self.revisions, step) for step in steps)
                return steps

            in_turn(self.db, lambda connection: self._run(choose, connection), self.how)
            return tried[0] if tried else None

        try:
            ran = self.db.run_transaction(work, retries=self.how.retries)
        except Error as exc:
            raise _placed(exc, tried) from exc.__cause__
        finally:
            self.db._executor.forget()
        if ran:
            self.how.tell(f"ran {ran}")
        return ran

    def _run(self, choose: Callable[[Heads, Any], list[Any]], connection: Connection) -> None:
        self.revisions.run(choose, connection, operations_of(self.db))


def engine_of(db: Database) -> Engine:
    """The engine behind a database."""
    return db._executor.engine


def operations_of(db: Database) -> Any:
    """What alters tables there in the place of Alembic's own."""
    return engine_of(db).migrating.operations()


def in_turn(db: Database, work: Callable[[Connection], None], how: How = DEFAULT) -> None:
    """Do ``work`` in the open transaction when no other process migrates; its errors are Holdfast's.

    Raises:
        MigrationError: for an error of Python in a migration.
    """
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    engine = engine_of(db)
    engine.migrating.hold(db._executor.run, TURN, how.locks)
    try:
        with db.engine.connect() as connection, connection.begin():
            work(connection)
    except Error:
        raise
    except DBAPIError as exc:
        raise engine.translate(exc.orig or exc) from exc.orig
    except SQLAlchemyError as exc:
        # Its text may quote parameters.
        raise MigrationError(f"SQLAlchemy refused it: {type(exc).__name__}") from exc
    except Exception as exc:
        raise MigrationError(f"{type(exc).__name__}: {exc}") from exc


def _placed(exc: Error, tried: Sequence[Revision]) -> Error:
    """An error that says which migration failed, and that nothing of it is left."""
    if not tried:
        return exc
    if isinstance(exc, (DatabaseBusy, SerializationFailure)):
        return DatabaseBusy(
            f"revision {tried[0]} could not get its locks: {exc.message}",
            hint="nothing of it was kept; try when fewer programs use these tables, or with more time",
        )
    if isinstance(exc, ConnectionFailed):
        return exc
    kept = "nothing of it was kept: the database is as it was before"
    return MigrationError(
        f"revision {tried[0]} failed: {exc.message}", hint=f"{kept}; {exc.hint}" if exc.hint else kept
    )


def warnings_of(db: Database, revisions: Revisions, steps: Iterable[RevisionStep], heads: Heads) -> list[str]:
    """What of these steps locks, rewrites or loses what is there."""
    from holdfast.agents import offline

    wanted = list(steps)
    try:
        statements = offline.statements(engine_of(db), revisions, wanted, heads)
    except Exception as exc:
        # A migration may read the database, which SQL written beforehand cannot.
        return [f"the migrations cannot be looked through without running them ({type(exc).__name__})"]
    return engine_of(db).migrating.dangers(statements)


def backed_up(db: Database, project: Project) -> Path | None:
    """A backup of what is there, if anything is: beside a file, or in the project's folder ``backups``."""
    executor = db._executor
    target = executor.target
    if target.is_memory or not any(table != TABLE for table in db.list_tables()):
        return None
    if executor.in_transaction:
        raise InvalidQuery("a migration cannot be part of a transaction", hint="call it outside of one")
    place = target.path
    if place is None:
        folder = project.folder / "backups"
        folder.mkdir(mode=0o700, exist_ok=True)
        place = folder / (Path(target.dbname or "").name or "database")
    return aside.keep(executor, place, "before-migration", hint="nothing was changed; --no-backup goes on")
