"""If Alembic fails: the tables straight from the models, compared with them, and the revision noted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.agents.drift import check, compared
from holdfast.agents.migrate import backed_up, heads_of, in_turn
from holdfast.agents.project import Project
from holdfast.agents.revisions import OURS, Revision, Revisions, context_of
from holdfast.database import Database
from holdfast.errors import SchemaError

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass
class Bootstrapped:
    """What was made: the tables, the revisions that the database is at now, and where the backup lies."""

    created: list[str]
    revisions: list[Revision]
    backup: Path | None = None


def bootstrap(db: Database, *, project: Project | None = None, backup: bool = True) -> Bootstrapped:
    """Create the tables of the models that are missing, verify all of them, and note the newest revisions.

    For a database that migrations cannot bring there. Tables, columns, types, keys, indexes and checks are
    compared; where one that was there already differs, nothing is changed.

    Raises:
        SchemaError: with the differences.
        TransactionError: inside a transaction.
    """
    project = project or Project.at()
    metadata = project.load()
    revisions = Revisions(project)
    kept = backed_up(db, project) if backup else None
    created: list[str] = []
    there: set[str] = set()

    def create(connection: Connection) -> None:
        created.clear()
        created.extend(table.name for table in metadata.sorted_tables if table.name not in there)
        metadata.create_all(connection, checkfirst=True)

    def note(connection: Connection) -> None:
        context = context_of(connection)
        context.stamp(revisions.scripts, "heads")

    def verify(names: set[str]) -> None:
        db._executor.forget()
        found = compared(db, metadata, names)
        if found:
            raise SchemaError(
                f"the database is not what the models say: {'; '.join(found)}",
                hint="nothing was changed; correct or rename those tables first",
            )

    def work() -> None:
        there.clear()
        there.update(db.list_tables())
        verify(there & set(metadata.tables))
        in_turn(db, create)
        verify(set(metadata.tables))
        in_turn(db, note)

    try:
        db.run_transaction(work, retries=3)
    finally:
        db._executor.forget()
    return Bootstrapped(created, [one for one in revisions.listed(heads_of(db)) if one.applied], kept)


__all__ = ["OURS", "Bootstrapped", "bootstrap", "check"]
