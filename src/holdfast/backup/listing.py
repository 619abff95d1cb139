"""The backups in a folder, each checked to its last byte."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from holdfast.backup.formats import opened
from holdfast.backup.remote import fetched
from holdfast.errors import BackupEncrypted, BackupError, ConfigurationError, NotABackup, NotSupported


@dataclass(frozen=True)
class Backup:
    """One backup: of which database, when it was made, and the rows of each table.

    ``problem`` says why it is no backup any more; nothing else is known of it then. Nor is of one that is
    encrypted for another key than the one that was given.
    """

    path: Path
    size: int
    "In bytes."
    engine: str = ""
    database: str = ""
    created: datetime | None = None
    "When it was begun, in UTC; never the time of the file."
    tables: Mapping[str, int] = field(default_factory=dict)
    problem: str | None = None
    is_closed: bool = False
    "Whether it is encrypted and could not be opened."

    @property
    def ok(self) -> bool:
        """Whether its bytes are those that were written, as far as that can be seen."""
        return self.problem is None and not self.is_closed


def list_backups(folder: Path, identity: Path | None = None) -> list[Backup]:
    """The backups in ``folder``, the newest first; what is damaged or cannot be opened comes last.

    Every byte of each is compared with the checksum in it, in an encrypted one with the key in the file
    ``identity``. Databases and files of other programs are left out, but for those that are cut short:
    nothing can tell these from a damaged backup.

    Raises:
        ConfigurationError: if there is no such folder.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is not a folder", hint="name the folder that the backups are in")
    found = [_read(path, identity) for path in sorted(folder.iterdir()) if path.is_file()]
    sound = [backup for backup in found if backup is not None and backup.created is not None]
    sound.sort(key=lambda backup: (backup.created, backup.path.name), reverse=True)
    return sound + [backup for backup in found if backup is not None and backup.created is None]


def _read(path: Path, identity: Path | None) -> Backup | None:
    if path.name.startswith(".") or path.with_name(path.name + "-wal").exists():
        return None
    try:
        size = path.stat().st_size
        with fetched(path) as here, opened(here, identity) as source:
            manifest = source.manifest
            if manifest is None:
                return None
            tables = {name: content.rows for name, content in manifest.tables.items()}
            created = datetime.fromisoformat(manifest.created)
            return Backup(path, size, manifest.engine, manifest.database, created, tables)
    except (NotSupported, NotABackup, FileNotFoundError):
        return None
    except BackupEncrypted:
        return Backup(path, size, is_closed=True)
    except BackupError as exc:
        return Backup(path, size, problem=exc.message)
