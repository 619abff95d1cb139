"""How a database differs from the models: in tables, columns, types, defaults, keys, indexes and checks."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.agents.migrate import heads_of, in_turn, operations_of
from holdfast.agents.project import Project, own_tables
from holdfast.agents.revisions import HERE, Revisions, context_of
from holdfast.database import Database

if TYPE_CHECKING:
    from alembic.operations.ops import MigrationScript
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import Connection, MetaData

_PLUGINS = ("alembic.autogenerate.*", "alembic.ext.checkconstraint_byname")
OUR_INDEXES = "hf_"
"""What Holdfast itself adds to a table, as for a search, is no part of any model."""


def check(db: Database, *, project: Project | None = None) -> list[str]:
    """What keeps the database from being as the models say, a line for each; empty if it is.

    Raises:
        MigrationError: if the database is at a revision that is not known here.
    """
    project = project or Project.at()
    metadata = project.load()
    revisions = Revisions(project)
    waiting = [step.revision for step in revisions.up("heads", heads_of(db))]
    found = [f"revision {revisions.described(script)} has not run" for script in waiting]
    names = known_tables(project, metadata)
    if waiting:
        # What those are about would be named twice.
        there = set(db.list_tables())
        names = {name for name in names if name in there}
    return found + compared(db, metadata, names)


def known_tables(project: Project, metadata: MetaData) -> set[str]:
    """The tables of the models, and those that migrations have made: others are nobody's concern here."""
    return set(metadata.tables) | made_by(HERE / "versions") | made_by(project.migrations)


def compared(db: Database, metadata: MetaData, names: Collection[str]) -> list[str]:
    """The differences in these tables, a line for each."""
    lines: list[str] = []

    def work(connection: Connection) -> None:
        context = comparing(db, connection, metadata, names)
        ops = produced(context, metadata).upgrade_ops
        lines.extend(line for diff in (ops.as_diffs() if ops else []) for line in described(diff))

    with db.transaction():
        in_turn(db, work)
    return lines


def comparing(
    db: Database, connection: Connection, metadata: MetaData, names: Collection[str]
) -> MigrationContext:
    """Alembic's view of these tables."""

    def include_name(name: str | None, kind: str, parents: Any) -> bool:
        return kind != "table" or name in names

    def include_object(thing: Any, name: str | None, kind: str, reflected: bool, other: Any) -> bool:
        if kind == "table":
            return name in names
        return not (kind == "index" and reflected and str(name).startswith(OUR_INDEXES) and other is None)

    context = context_of(
        connection,
        target_metadata=metadata,
        compare_type=True,
        compare_server_default=True,
        include_name=include_name,
        include_object=include_object,
        autogenerate_plugins=_PLUGINS,
    )
    operations = operations_of(db)
    if operations is not None:
        context.impl = operations(context.dialect, connection, False, True, None, context.opts)
    return context


def produced(context: MigrationContext, metadata: MetaData) -> MigrationScript:
    """The operations that would make the database what the models say."""
    from alembic.autogenerate import produce_migrations

    return produce_migrations(context, metadata)


def described(diff: Any) -> Iterator[str]:
    """A difference in words; ``models`` are what it should be."""
    if isinstance(diff, list):
        for one in diff:
            yield from described(one)
        return
    kind, *rest = diff
    verb, _, what = kind.partition("_")
    if verb == "modify":
        _, table, column, _, there, wanted = rest
        yield f"{table}.{column}: {what} is {_short(there)}, in the models it is {_short(wanted)}"
        return
    name = _named(what, rest)
    yield f"{name} is missing" if verb == "add" else f"{name} is not in the models"


def _named(what: str, rest: list[Any]) -> str:
    if what == "column":
        return f"the column {rest[1]}.{rest[2].name}"
    thing = rest[0]
    if what == "table":
        return f"the table {thing.name}"
    if what == "fk":
        columns = ", ".join(element.parent.name for element in thing.elements)
        target = thing.elements[0].target_fullname
        rule = f" on delete {thing.ondelete.lower()}" if thing.ondelete else ""
        return f"the foreign key of {thing.table.name} from {columns} to {target}{rule}"
    kind = {"index": "index", "constraint": "constraint"}.get(what, what.replace("_", " "))
    return f"the {kind} {getattr(thing, 'name', None) or '(unnamed)'} of {thing.table.name}"


def _short(value: Any) -> str:
    if value is True or value is False:
        return {True: "nullable", False: "not null"}[value]
    arg = getattr(value, "arg", value)
    return "none" if value is None else " ".join(str(getattr(arg, "text", arg)).split())


def made_by(folder: Path) -> set[str]:
    """The tables that the migrations in a folder create, read from their text."""
    found: set[str] = set()
    for path in sorted(folder.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "create_table"
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                found.add(str(node.args[0].value))
    return found


__all__ = ["check", "compared", "own_tables"]
