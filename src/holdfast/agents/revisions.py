"""The revisions there are, ours and a project's, and running their scripts with Alembic."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.agents.project import BRANCH, Project
from holdfast.errors import MigrationError, MissingDependency, did_you_mean

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext, RevisionStep
    from alembic.script import Script, ScriptDirectory
    from sqlalchemy import Connection

HERE = Path(__file__).with_name("migrations")
OURS = "holdfast"
"""The label of the application's own branch."""
TABLE = "alembic_version"
"""Where a database keeps the revisions it is at."""
Heads = tuple[str, ...]
_RELATIVE = re.compile(r"(?:(?P<branch>[^@]+)@)?(?P<steps>[+-]\d+)")
# Alembic keeps what it is about in one place for all threads.
_ALONE = threading.RLock()


@dataclass(frozen=True)
class Revision:
    """One migration: its id, what it does, and the branch it is in."""

    id: str
    message: str
    branch: str
    parents: tuple[str, ...] = ()
    applied: bool | None = None

    def __str__(self) -> str:
        return f"{self.id} ({self.branch}): {self.message}"


class Revisions:
    """The scripts of our branch, and of the project's where it has a folder of them."""

    def __init__(self, project: Project) -> None:
        self.project = project
        locations = [HERE / "versions"]
        if project.migrations.is_dir():
            locations.append(project.migrations)
        with told():
            self.scripts: ScriptDirectory = _alembic().script.ScriptDirectory(
                str(HERE), version_locations=list(map(str, locations)), messaging_opts={"quiet": True}
            )
            self._all = list(self.scripts.walk_revisions())

    def listed(self, heads: Sequence[str] | None = None) -> list[Revision]:
        """All revisions, the newest first; with ``heads``, each says whether it is applied there."""
        applied = None if heads is None else {script.revision for script in self.lineage(heads)}
        return [self.described(script, applied) for script in self._all]

    def described(self, script: Script, applied: set[str] | None = None) -> Revision:
        """A script in short."""
        return Revision(
            script.revision,
            script.doc,
            self.branch_of(script),
            tuple(script._versioned_down_revisions),
            None if applied is None else script.revision in applied,
        )

    def branch_of(self, script: Script) -> str:
        """The branch of a script; one without a label is named by its file."""
        labels = sorted(script.branch_labels)
        return labels[0] if labels else Path(script.path).stem

    def lineage(self, heads: Sequence[str]) -> list[Script]:
        """The scripts that have run where the heads are these.

        Raises:
            MigrationError: if one of them is in no folder here.
        """
        with told():
            known = {script.revision for script in self._all}
            for head in heads:
                if head not in known:
                    raise MigrationError(
                        f"the database is at revision {head!r}, which is in no folder here",
                        hint=f"run this in the project's folder (migrations are sought in "
                        f"{self.project.migrations}), or with the holdfast that made it",
                    )
            return list(self.scripts.iterate_revisions(tuple(heads), "base", inclusive=True))

    def up(self, to: str, heads: Heads) -> list[RevisionStep]:
        """The steps from ``heads`` up to a revision."""
        self.lineage(heads)
        with self._named(to):
            return self.scripts._upgrade_revs(self._upper(to), heads)  # type: ignore[arg-type]

    def down(self, to: str, heads: Heads) -> list[RevisionStep]:
        """The steps from ``heads`` down to a revision; ``base`` is that of our branch.

        Raises:
            MigrationError: if the project's tables need what would go.
        """
        self.lineage(heads)
        with self._named(to):
            to = f"{OURS}@base" if to == "base" else to
            steps = self.scripts._downgrade_revs(to, heads)  # type: ignore[arg-type]
        if to.startswith(f"{OURS}@"):
            _refuse_others(self, steps)
        return steps

    def absolute(self, to: str, heads: Heads) -> str:
        """``to``, or what ``+1``, ``-1`` and ``app@-1`` mean here: so many steps along one branch."""
        applied = {script.revision for script in self.lineage(heads)}
        relative = _RELATIVE.fullmatch(to)
        if relative is None:
            return to
        branches = sorted({self.branch_of(script) for script in self._all})
        branch = relative["branch"] or branches[0]
        if branch not in branches or (relative["branch"] is None and len(branches) > 1):
            named = " or ".join(f"{one}@{relative['steps']}" for one in branches)
            raise MigrationError(f"{to!r} does not say of which branch", hint=f"write {named}")
        line = [script.revision for script in reversed(self._all) if self.branch_of(script) == branch]
        at = sum(revision in applied for revision in line) + int(relative["steps"])
        if not 0 <= at <= len(line):
            raise MigrationError(
                f"the branch {branch!r} does not go so far: {to!r}", hint=f"it has {len(line)} revisions"
            )
        return line[at - 1] if at else f"{branch}@base"

    def _upper(self, to: str) -> str:
        labels = {label for script in self._all for label in script.branch_labels}
        if to == "head":
            return "heads"
        return f"{to}@head" if to in labels else to

    @contextmanager
    def _named(self, to: str) -> Iterator[None]:
        try:
            with told():
                yield
        except MigrationError as exc:
            if "locate" in exc.message or "No such revision" in exc.message:
                known = [script.revision for script in self._all]
                labels = sorted({label for script in self._all for label in script.branch_labels})
                raise MigrationError(
                    f"there is no revision {to!r}",
                    hint=did_you_mean(to, [*known, *labels], "revisions and branches"),
                ) from exc.__cause__
            raise

    def run(
        self,
        choose: Callable[[Heads, Any], list[Any]],
        connection: Connection,
        operations: Any,
    ) -> None:
        """Run the steps that ``choose`` gives for the heads of a database, in its open transaction."""
        given = {"connection": connection, "operations": operations}
        self._run(given, fn=choose)

    def write(self, steps: list[RevisionStep], start: Heads, dialect: str) -> str:
        """The SQL of these steps as Alembic writes it, each a transaction."""
        output = io.StringIO()
        given = {"dialect": dialect, "output": output}
        self._run(given, fn=lambda heads, context: steps, as_sql=True, starting_rev=start or "base")
        return output.getvalue()

    def _run(self, given: dict[str, Any], **options: Any) -> None:
        from alembic.config import Config
        from alembic.runtime.environment import EnvironmentContext

        from holdfast.agents.models import metadata

        config = Config()
        # Alembic takes the names of constraints from it.
        config.attributes.update(given, metadata=metadata)
        with _ALONE, EnvironmentContext(config, self.scripts, **options):
            self.scripts.run_env()


def context_of(connection: Connection, **options: Any) -> MigrationContext:
    """Alembic's view of a database, for reading it."""
    return _alembic().runtime.migration.MigrationContext.configure(  # type: ignore[no-any-return]
        connection, opts={"dont_mutate": True, **options}
    )


def _refuse_others(revisions: Revisions, steps: Sequence[RevisionStep]) -> None:
    others = [
        revisions.described(script)
        for step in steps
        for script in revisions.scripts.get_revisions(step.revision.revision)
        if script is not None and OURS not in script.branch_labels
    ]
    if others:
        raise MigrationError(
            f"revision {others[0]} needs tables that would go",
            hint=f"`downgrade {others[0].branch}@base` undoes that branch first",
        )


@contextmanager
def told() -> Iterator[None]:
    """Alembic's complaints in Holdfast's words."""
    from alembic.script.revision import RevisionError
    from alembic.util import CommandError

    try:
        yield
    except (CommandError, RevisionError) as exc:
        raise MigrationError(" ".join(str(exc).split())) from exc
    except AssertionError as exc:
        # Alembic's own, for ways that it does not know.
        raise MigrationError("there is no way from these revisions to that one") from exc
    except (SyntaxError, ImportError) as exc:
        raise MigrationError(
            f"a migration cannot be read: {type(exc).__name__}: {exc}", hint="correct it, or remove the file"
        ) from exc


def _alembic() -> Any:
    try:
        import alembic
        import alembic.runtime.migration
        import alembic.script
    except ImportError as exc:
        raise MissingDependency("alembic", "agents") from exc
    return alembic


__all__ = ["BRANCH", "OURS", "Revision", "Revisions"]
