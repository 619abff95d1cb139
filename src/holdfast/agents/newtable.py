"""A new table in five steps: a model, a migration, a look at it, the migration run, the table verified."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.agents import migrate, revise
from holdfast.agents.drift import compared, known_tables
from holdfast.agents.fields import read_fields, table_name
from holdfast.agents.project import Project, class_names
from holdfast.agents.tablecode import Code, written
from holdfast.database import Database
from holdfast.errors import ConfigurationError, MigrationError, SchemaError, TableExists

KINDS = ("knowledge", "memory")
"""What a table may be besides a plain one."""
Agree = Callable[[Path, Path], bool]
"""Shown the model and the migration; false takes both back."""


@dataclass(frozen=True)
class NewTable:
    """What was made; ``columns`` are as the database has them."""

    name: str
    model: Path
    migration: Path
    columns: list[str]
    done: migrate.Done
    usage: str


def new_table(
    db: Database,
    name: str,
    fields: Sequence[str],
    *,
    project: Project | None = None,
    kind: str | None = None,
    agree: Agree = lambda model, migration: True,
    backup: bool = True,
) -> NewTable | None:
    """Make a table of a project: ``fields`` are ``name:type``, with ``:optional``, ``:unique``, ``:index``.

    Types are str, text, int, float, bool, datetime, date, json, uuid, bytes, or a key such as ``users.id``
    (with ``:cascade``, ``:set_null`` or ``:restrict``). ``kind="knowledge"`` adds a text that is searched by
    words and meaning, ``kind="memory"`` also whose it is. ``agree`` is asked before the migration runs; where
    it says no, nothing is left, and ``None`` is returned.

    Raises:
        InvalidIdentifier, InvalidQuery, TableExists: for what cannot be; nothing was written.
        MigrationError: if the migration fails; both files stay, to be corrected.
    """
    project = project or Project.at()
    if kind not in (None, *KINDS):
        raise ConfigurationError(f"unknown kind of table {kind!r}", hint=f"kinds: {', '.join(KINDS)}")
    metadata = project.load()
    table_name(name, set(db.list_tables()) | known_tables(project, metadata))
    more = {"knowledge": ["text"], "memory": ["text", "user_id"]}.get(kind or "", [])
    code = written(name, read_fields(fields, metadata, more), kind=kind, taken=class_names())
    _refuse_pending(db, project)
    made = _Files(project, name)
    try:
        model = made.write_model(code)
        project.load()
        _import_again(project, name)
        migration = made.note(revise.new(db, f"add the table {name}", project=project, tables={name}))
        if not agree(model, migration):
            made.undo()
            return None
    except BaseException:
        made.undo()
        raise
    done = migrate.upgrade(db, project=project, backup=backup)
    columns = _verified(db, project, name)
    return NewTable(name, model, migration, columns, done, _usage(project, name, code, kind))


def _refuse_pending(db: Database, project: Project) -> None:
    waiting = migrate.pending(db, project=project)
    if waiting:
        raise MigrationError(
            f"revision {waiting[0]} has not run here", hint="`holdfast agents migrate upgrade` first"
        )


class _Files:
    """What was written for a table, to be taken back if it comes to nothing."""

    def __init__(self, project: Project, name: str) -> None:
        self.project, self.name = project, name
        self.made: list[Path] = []
        self.index = project.models / "__init__.py"
        self.before = self.index.read_text(encoding="utf-8") if self.index.exists() else None

    def write_model(self, code: Code) -> Path:
        path = self.project.models / f"{self.name}.py"
        if path.exists():
            raise TableExists(f"there is a file {path} already", hint="choose another name")
        folders = [self.project.models, *self.project.models.parents]
        self.made += [folder for folder in folders if not folder.exists()]
        self.project.models.mkdir(parents=True, exist_ok=True)
        path.write_text(code.text, encoding="utf-8")
        self.made.insert(0, path)
        line = f"from .{self.name} import {code.row} as {code.row}\n"
        text = (
            self.before
            if self.before is not None
            else '"""The models of this project; Holdfast imports them here."""\n\n'
        )
        self.index.write_text(_with_import(text, line), encoding="utf-8")
        return path

    def note(self, path: Path) -> Path:
        self.made.insert(0, path)
        return path

    def undo(self) -> None:
        if self.before is None:
            self.index.unlink(missing_ok=True)
        else:
            self.index.write_text(self.before, encoding="utf-8")
        for path in self.made:
            if path.is_dir():
                for left in path.glob("__pycache__/*"):
                    left.unlink()
                (path / "__pycache__").rmdir() if (path / "__pycache__").exists() else None
                path.rmdir() if not any(path.iterdir()) else None
            else:
                path.unlink(missing_ok=True)


def _with_import(text: str, line: str) -> str:
    """The text with one more import, among the others and in their order."""
    lines = text.splitlines(keepends=True)
    places = [
        node.end_lineno or node.lineno
        for node in ast.parse(text).body
        if isinstance(node, ast.ImportFrom) and node.level == 1
    ]
    if not places:
        return text.rstrip("\n") + "\n\n" + line if text.strip() else line
    own = [at for at in places if lines[at - 1].startswith("from .")]
    after = max((at for at in own if lines[at - 1] < line), default=min(places) - 1)
    lines.insert(after, line)
    return "".join(lines)


def _import_again(project: Project, name: str) -> None:
    """Import a module of the models that was not there when the package was imported."""
    import importlib

    module = f"{project.package}.{name}"
    importlib.invalidate_caches()
    if module not in sys.modules:
        sys.path.insert(0, str(project.path))
        try:
            importlib.import_module(module)
        finally:
            sys.path.remove(str(project.path))


def _verified(db: Database, project: Project, name: str) -> list[str]:
    found = compared(db, project.load(), {name})
    if found or not db.table_exists(name):
        raise SchemaError(
            f"the table {name!r} is not what its model says: {'; '.join(found) or 'it is missing'}",
            hint="look at the migration",
        )
    return [f"{column['name']} {column['type']}" for column in db.get_columns(name)]


def _usage(project: Project, name: str, code: Code, kind: str | None) -> str:
    row, module = code.row, f"{project.package}.{name}"
    url = "holdfast.connect()"
    if kind is None:
        return (
            f"import holdfast\nfrom {module} import {row}\nfrom sqlmodel import Session, select\n\n"
            f"with {url} as db, Session(db.engine) as session:\n"
            f"    session.add({row}(...))\n    session.commit()\n    print(session.exec(select({row})).all())"
        )
    owner = ", user_id=user.id" if kind == "memory" else ""
    return (
        f"import holdfast\nfrom {module} import {row}Create, {name}\n\n"
        f"with {url} as db:\n"
        f'    {name}.add(db, {row}Create(text="...", ...){owner})\n'
        f'    for found in {name}.search(db, "a question"{owner}):\n'
        f"        print(found.score, found.row.text)"
    )
