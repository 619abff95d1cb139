"""Where a project keeps its own tables: a package of models, and a folder of migrations beside ours.

They are ``models/`` and ``migrations/`` in the project's folder, or what its ``pyproject.toml`` says::

    [tool.holdfast.agents]
    models = "src/shop/models"
    migrations = "src/shop/migrations"
"""

from __future__ import annotations

import importlib
import os
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import MetaData

BRANCH = "app"
"""The label of the project's own branch of migrations."""
_PART = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Project:
    """A project's folder, and where in it its models and its migrations are; neither need be there."""

    folder: Path
    models: Path
    migrations: Path

    @classmethod
    def at(cls, folder: str | os.PathLike[str] = ".") -> Project:
        """The project in a folder.

        Raises:
            ConfigurationError: if there is no such folder, or its ``pyproject.toml`` cannot be read.
        """
        root = Path(folder).resolve()
        if not root.is_dir():
            raise ConfigurationError(f"there is no folder {root}", hint="name the folder of your project")
        said = _said(root / "pyproject.toml")
        places = []
        for name in ("models", "migrations"):
            place = said.get(name, name)
            if not isinstance(place, str) or not (root / place).resolve().is_relative_to(root):
                raise ConfigurationError(
                    f"[tool.holdfast.agents] {name} in pyproject.toml is no folder of the project",
                    hint=f'write {name} = "src/app/{name}"',
                )
            places.append(root / place)
        return cls(root, *places)

    @property
    def package(self) -> str:
        """The models' package as it is imported, seen from the nearest folder that is no package."""
        parts = [self.models.name]
        above = self.models.parent
        while above != self.folder and (above / "__init__.py").exists():
            parts.insert(0, above.name)
            above = above.parent
        for part in parts:
            if not _PART.fullmatch(part):
                raise ConfigurationError(
                    f"{self.models} cannot be a package of Python", hint="use letters, digits and _"
                )
        return ".".join(parts)

    @property
    def path(self) -> Path:
        """What is on ``sys.path`` while the models are imported."""
        path = self.models
        for _ in self.package.split("."):
            path = path.parent
        return path

    def load(self) -> MetaData:
        """Import the models, and return the metadata of all tables, ours and theirs.

        Raises:
            ConfigurationError: if they cannot be imported.
        """
        from holdfast.agents.models import metadata

        if not (self.models / "__init__.py").exists():
            return metadata
        sys.path.insert(0, str(self.path))
        try:
            package = importlib.import_module(self.package)
        except Exception as exc:
            raise ConfigurationError(
                f"the models in {self.models} cannot be imported: {type(exc).__name__}: {exc}",
                hint="correct them; nothing was changed",
            ) from exc
        finally:
            sys.path.remove(str(self.path))
        found = getattr(package, "__file__", None)
        if found is None or Path(found).resolve().parent != self.models.resolve():
            raise ConfigurationError(
                f"a package {self.package!r} was imported from elsewhere already",
                hint="give the models another folder: [tool.holdfast.agents] models in pyproject.toml",
            )
        return metadata


def class_names() -> frozenset[str]:
    """The names of the classes of all tables that were imported, ours and a project's."""
    from holdfast.agents.models import Model

    return frozenset(mapper.class_.__name__ for mapper in Model._sa_registry.mappers)


def own_tables() -> frozenset[str]:
    """The names of the application's own tables, without those of a project."""
    from holdfast.agents.models import Model

    mappers = Model._sa_registry.mappers
    named = {
        str(mapper.local_table.name)  # type: ignore[attr-defined]
        for mapper in mappers
        if mapper.class_.__module__.startswith("holdfast.agents.")
    }
    return frozenset(named)


def _said(path: Path) -> dict[str, object]:
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        raise ConfigurationError(f"{path} cannot be read", hint="it must be TOML") from exc
    found = said.get("tool", {}).get("holdfast", {}).get("agents", {})
    return found if isinstance(found, dict) else {}
