"""Writing a new revision: what would make the database as the models say, to be reviewed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.agents.drift import comparing, known_tables, made_by, produced
from holdfast.agents.migrate import heads_of, in_turn
from holdfast.agents.project import BRANCH, Project, own_tables
from holdfast.agents.revisions import HERE, OURS, Revisions, told
from holdfast.database import Database
from holdfast.errors import MigrationError

if TYPE_CHECKING:
    from alembic.operations.ops import MigrationScript, UpgradeOps
    from sqlalchemy import Connection

_COLUMNS = "holdfast.agents.models.columns"


def new(
    db: Database,
    message: str,
    *,
    project: Project | None = None,
    empty: bool = False,
    branch: str = BRANCH,
    tables: set[str] | None = None,
) -> Path:
    """Write a migration in the project's own branch, and return its file.

    It is what the models of the project say and the database does not have yet; ``empty`` makes one to be
    filled by hand. ``tables`` limits it to some. Read it before it runs: a renamed column looks like one that
    went and another one that came.

    Raises:
        MigrationError: if there is nothing to do, or migrations wait that have not run.
    """
    project = project or Project.at()
    metadata = project.load()
    revisions = Revisions(project)
    waiting = revisions.up("heads", heads_of(db)) if branch != OURS else []
    if waiting:
        raise MigrationError(
            f"revision {revisions.described(waiting[0].revision)} has not run here",
            hint="`holdfast agents migrate upgrade` first, so that the difference is only what is new",
        )
    names = _tables_of(branch, project, known_tables(project, metadata), tables)
    parts: dict[str, Any] = {"upgrades": "", "downgrades": "", "imports": "", "needs": False}

    def work(connection: Connection) -> None:
        context = comparing(db, connection, metadata, names)
        script = produced(context, metadata)
        parts.update(_rendered(context, script), needs=_needs_ours(script.upgrade_ops))

    if not empty:
        with db.transaction():
            in_turn(db, work)
        if not parts["upgrades"].strip().removeprefix("pass"):
            raise MigrationError(
                "the database is what the models say: there is nothing to do",
                hint="change a model first, or ask for an empty revision (--empty)",
            )
    return _written(revisions, message, branch, parts)


def _tables_of(branch: str, project: Project, known: set[str], only: set[str] | None) -> set[str]:
    own = own_tables() | made_by(HERE / "versions")
    if branch == OURS:
        return known & own
    return (known - own) if only is None else (known & only) - own


def _rendered(context: Any, script: MigrationScript) -> dict[str, str]:
    from alembic.autogenerate import api, render

    def render_item(kind: str, thing: Any, autogen: Any) -> str | bool:
        if kind != "type":
            return False
        cls = type(thing)
        if cls.__module__ == _COLUMNS:
            autogen.imports.add(f"from {_COLUMNS} import {cls.__name__}")
            return f"{cls.__name__}()"
        if cls.__module__.startswith("sqlmodel"):
            return f"sa.String(length={thing.length})" if thing.length else "sa.String()"
        return False

    options = {
        "sqlalchemy_module_prefix": "sa.",
        "alembic_module_prefix": "op.",
        "render_item": render_item,
        "render_as_batch": False,
        "user_module_prefix": None,
    }
    autogen = api.AutogenContext(context, opts=options)
    autogen.imports = set()
    up, down = (
        render._indent(render._render_cmd_body(ops, autogen))
        for ops in (script.upgrade_ops, script.downgrade_ops)
        if ops is not None
    )
    return {"upgrades": _code(up), "downgrades": _code(down), "imports": _imports(autogen.imports)}


def _code(text: str) -> str:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("# ###")]
    return "\n".join(lines).strip()


def _imports(lines: set[str]) -> str:
    ours = sorted(line.rpartition(" ")[2] for line in lines if line.startswith(f"from {_COLUMNS} "))
    others = sorted(line for line in lines if not line.startswith(f"from {_COLUMNS} "))
    return "\n".join([*([f"from {_COLUMNS} import {', '.join(ours)}"] if ours else []), *others])


def _needs_ours(ops: UpgradeOps | None) -> bool:
    """Whether a new table or key refers to one of ours, so that ours has to be there first."""
    own = own_tables()
    if ops is None:
        return False
    for kind, *rest in (diff for diff in ops.as_diffs() if not isinstance(diff, list)):
        keys = rest[0].foreign_key_constraints if kind == "add_table" else []
        keys = [rest[0]] if kind == "add_fk" else keys
        if any(element.target_fullname.split(".")[0] in own for key in keys for element in key.elements):
            return True
    return False


def _written(revisions: Revisions, message: str, branch: str, parts: dict[str, Any]) -> Path:
    from alembic.util import rev_id

    project = revisions.project
    folder = HERE / "versions" if branch == OURS else project.migrations
    first = not any(one.branch == branch for one in revisions.listed())
    ours = [] if branch == OURS else revisions.scripts.get_revisions(f"{OURS}@head")
    folder.mkdir(parents=True, exist_ok=True)
    revisions = Revisions(project)
    number = len([one for one in revisions.listed() if one.branch == branch]) + 1
    revision = f"{number:04d}" if branch == OURS else rev_id()
    with told():
        script = revisions.scripts.generate_revision(
            revision,
            message,
            head="base" if first else f"{branch}@head",
            splice=first,
            branch_labels=branch if first else None,
            version_path=str(folder),
            depends_on=ours[0].revision if parts.pop("needs") and ours and ours[0] else None,
            **parts,
        )
    assert script is not None
    path = Path(script.path)
    _tidied(path)
    return path


def _tidied(path: Path) -> None:
    """Have ruff lay the file out, if it is installed."""
    program = shutil.which("ruff", path=str(Path(sys.executable).parent)) or shutil.which("ruff")
    if program:
        command = [program, "format", "--quiet", "--isolated", "--line-length=100", str(path)]
        subprocess.run(command, check=False, capture_output=True)  # noqa: S603 - our own file, no shell
