"""The SQL of migrations, written without a database.

For PostgreSQL Alembic writes it. On SQLite a table that is altered may have to be written anew, which depends
on what it is: the migrations run in a scratch database in memory, and what they do there is noted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from holdfast.agents.migrate import engine_of, heads_of, in_turn, operations_of
from holdfast.agents.project import Project
from holdfast.agents.revisions import TABLE, Heads, Revisions
from holdfast.database import Database
from holdfast.engines.base import Engine
from holdfast.engines.registry import engine_for
from holdfast.engines.sqltext import split_statements
from holdfast.errors import ConfigurationError, MigrationError, did_you_mean
from holdfast.settings import resolve

if TYPE_CHECKING:
    from alembic.runtime.migration import RevisionStep
    from sqlalchemy import Connection

DIALECTS = {"sqlite": "sqlite", "postgresql": "postgresql", "postgres": "postgresql"}
_NOTE = """-- Written by `holdfast agents migrate sql`. Each migration is a transaction of its own.
-- The tables of memories are not in here: holdfast.memory makes them when they are first used.
"""


def sql(dialect: str, span: str = "base:heads", *, project: Project | None = None) -> str:
    """The SQL of migrations for ``"sqlite"`` or ``"postgresql"``; no database is needed.

    ``span`` is ``FROM:TO``, or ``TO`` alone, which begins at the base. Where ``TO`` is before ``FROM`` it
    is that of the downgrades.

    Raises:
        MigrationError: for an unknown revision, or one that needs a database to say what it does.
    """
    if dialect not in DIALECTS:
        raise ConfigurationError(
            f"there is no SQL for {dialect!r}", hint=did_you_mean(dialect, ["sqlite", "postgresql"], "kinds")
        )
    revisions = Revisions(project or Project.at())
    heads, steps = _steps(revisions, span)
    engine = engine_for(DIALECTS[dialect])
    text = written(engine, revisions, steps, heads)
    return f"{_NOTE}\n{text}"


def _steps(revisions: Revisions, span: str) -> tuple[Heads, list[RevisionStep]]:
    """Where a span begins, and the way from there."""
    start, colon, end = span.partition(":")
    start, end = (start or "base", end or "heads") if colon else ("base", start)
    heads = _heads_at(revisions, start)
    end = revisions.absolute(end, heads)
    if end.endswith("base"):
        return heads, revisions.down(end, heads)
    before = {script.revision for script in revisions.lineage(heads)}
    steps = revisions.up(end, heads)
    if steps or not heads:
        return heads, steps
    wanted = _heads_at(revisions, end)
    return heads, revisions.down(end, heads) if set(wanted) < before and wanted != heads else []


def _heads_at(revisions: Revisions, name: str) -> Heads:
    """The heads of a database that was brought to a revision."""
    if name.endswith("base"):
        return ()
    reached = [step.revision for step in revisions.up(name, ())]
    # What another one depends on is no head either.
    below = {revision for script in reached for revision in script._all_down_revisions}
    return tuple(script.revision for script in reached if script.revision not in below)


def written(engine: Engine, revisions: Revisions, steps: list[RevisionStep], heads: Heads) -> str:
    """The script of some steps that begin at ``heads``."""
    if not steps:
        return "-- there is nothing to do\n"
    if engine.migrating.SCRATCH is None:
        text = _by_alembic(engine, revisions, steps, heads)
    else:
        noted = _noted(engine.migrating.SCRATCH, revisions, steps, heads)
        text = "".join(f"{line.strip()}" + ("\n" if line.startswith("--") else ";\n\n") for line in noted)
    # The table stays when everything is undone.
    return text.replace(f"CREATE TABLE {TABLE} ", f"CREATE TABLE IF NOT EXISTS {TABLE} ")


def statements(engine: Engine, revisions: Revisions, steps: list[RevisionStep], heads: Heads) -> list[str]:
    """The statements of some steps that begin at ``heads``."""
    return split_statements(written(engine, revisions, steps, heads), engine.lexicon) if steps else []


def _by_alembic(engine: Engine, revisions: Revisions, steps: list[RevisionStep], heads: Heads) -> str:
    with _without_database():
        return revisions.write(steps, heads, engine.migrating.DIALECT)


def _noted(scratch: str, revisions: Revisions, steps: list[RevisionStep], heads: Heads) -> list[str]:
    with Database(resolve(scratch), {}) as db, _without_database():
        for before in heads:
            _run(db, revisions, revisions.up(before, heads_of(db)))
        with engine_of(db).migrating.recording(db._executor.driver_connection()) as noted:
            for step in steps:
                noted.append(f"-- {step.short_log}")
                _run(db, revisions, [step])
        return noted


def _run(db: Database, revisions: Revisions, steps: Sequence[RevisionStep]) -> None:
    for step in steps:

        def work(connection: Connection, step: RevisionStep = step) -> None:
            revisions.run(lambda heads, context: [step], connection, operations_of(db))

        with db.transaction():
            in_turn(db, work)


@contextmanager
def _without_database() -> Iterator[None]:
    try:
        yield
    except Exception as exc:
        raise MigrationError(
            f"a migration cannot be written as SQL: {exc}",
            hint="one that reads the database, or is for one kind of database only, can only be run",
        ) from exc
