"""The engine's own kind of backup, with our trailer at its end: ``.db`` and ``.dump``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.backup import apart
from holdfast.backup.content import translated
from holdfast.backup.files import expect_file
from holdfast.backup.manifest import Manifest, name_of, now
from holdfast.backup.trailer import checked, seal_file
from holdfast.core.executor import Executor
from holdfast.core.progress import Advance
from holdfast.core.transaction import Transaction
from holdfast.engines.copying import Content
from holdfast.errors import BackupCorrupt, BackupError, NotABackup, NotSupported


def write(executor: Executor, table: str | None, path: Path, advance: Advance | None) -> None:
    """Let the engine copy the whole database, as it is at one moment, into the file ``path``."""
    engine, created = executor.engine, now()
    if table is not None:
        raise NotSupported("this format holds whole databases", hint="back up one table as .sql or .hfz")
    with Transaction(executor, isolation="REPEATABLE READ", read_only=True), translated(executor):
        raw = executor.driver_connection()
        names = engine.dump.tables(raw, None)
        with engine.copies.writing(raw, path) as known:
            tables = {name: engine.copies.content(raw, name) for name in names}
            if advance is not None:
                advance(sum(content.rows for content in tables.values()))
    seal_file(path, Manifest(engine.name, name_of(executor.target), created, tables, known))


@dataclass(frozen=True)
class Own:
    """A file whose bytes are those that were written; ``manifest`` is ``None`` for a foreign one."""

    path: Path
    size: int
    manifest: Manifest | None

    @property
    def left_behind(self) -> tuple[str, ...]:
        return ()

    def load(
        self, executor: Executor, table: str | None, advance: Advance | None
    ) -> Mapping[str, Content] | None:
        known: Mapping[str, Any] = self.manifest.as_json() if self.manifest else {}
        with executor.engine.copies.opened(self.path, known, table) as copy:
            known = copy.known if self.manifest is None else {**known, **copy.known}
            raw = executor.driver_connection()
            executor.engine.dump.load(raw, copy.script, known if self.manifest else None, table)
            if advance is not None:
                advance(self.size)
            return copy.contents or (None if self.manifest is None else self.manifest.tables)


@contextmanager
def opened(path: Path, *, unverified: bool, identity: Path | None = None) -> Iterator[Own]:
    """Open a backup after checking every byte of it; ``unverified`` also opens files of other programs.

    Raises:
        BackupCorrupt: if it is cut short, changed, or not ours.
        BackupError: if there is none.
    """
    expect_file(path)
    try:
        size, end, is_database = apart.read(path)
    except OSError as exc:
        raise BackupError(f"{path} cannot be read: {exc}") from exc
    if end is None and is_database and not unverified:
        raise NotABackup(
            f"{path} is a SQLite database that Holdfast did not write as a backup",
            hint="unverified=True takes it as it is",
        )
    if end is None and not unverified:
        raise BackupCorrupt(
            f"{path} does not end as a backup does: it is cut short, or another program wrote it",
            hint="use another backup; unverified=True takes what another program wrote as it is",
        )
    yield Own(path, size, None if end is None else checked(path, end).manifest)
