"""What a backup says of itself, written last: without it, or if it is wrong, there is no backup."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from holdfast._version import __version__
from holdfast.engines.copying import Content
from holdfast.errors import BackupCorrupt, BackupError
from holdfast.settings import Target

FORMAT = 2


@dataclass(frozen=True, slots=True)
class Manifest:
    """When and from what a backup was made, and what each table of it holds.

    ``database`` is the name of the file or of the database, without its place; ``created`` is in UTC.
    ``known`` is what the engine that wrote it needs to put the tables in their places.
    """

    engine: str
    database: str
    created: str
    tables: Mapping[str, Content]
    known: Mapping[str, Any]
    tool: str = f"holdfast {__version__}"

    def as_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "engine": self.engine,
            "database": self.database,
            "created": self.created,
            "tool": self.tool,
            "tables": {name: [content.rows, content.hash] for name, content in self.tables.items()},
            **self.known,
            "end": True,
        }

    @classmethod
    def of_json(cls, path: Path, given: Mapping[str, Any]) -> Manifest:
        """The manifest in a backup at ``path``, from JSON whose bytes are proven.

        Raises:
            BackupError: if a later version wrote it.
            BackupCorrupt: if it is none.
        """
        try:
            if given["format"] > FORMAT:
                raise BackupError(
                    f"{path} was written by a newer Holdfast", hint="pip install --upgrade holdfast"
                )
            rest = dict(given)
            engine, database, created, tool = (
                str(rest.pop(name)) for name in ("engine", "database", "created", "tool")
            )
            tables = {name: Content(rows, digest) for name, (rows, digest) in rest.pop("tables").items()}
            if rest.pop("end") is not True or rest.pop("format") < 1:
                raise ValueError
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise BackupCorrupt(f"{path} has no manifest to be read", hint="use another backup") from exc
        return cls(engine, database, created, tables, rest, tool)


def now() -> str:
    """This moment, as manifests have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def name_of(target: Target) -> str:
    """What a backup calls the database that it is of."""
    return target.path.stem if target.path else target.dbname or target.scheme
