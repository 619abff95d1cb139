"""Proving that a backup can be restored, by restoring it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from holdfast.backup.content import outside
from holdfast.backup.formats import Source, format_of
from holdfast.backup.places import scratch
from holdfast.backup.remote import fetched
from holdfast.backup.report import Report
from holdfast.backup.restore import check_engine, put_in_place, ready, would_replace
from holdfast.core.executor import Executor
from holdfast.errors import BackupCorrupt, BackupError, IntegrityError, SchemaError

__all__ = ["Report", "verify_backup"]


def verify_backup(executor: Executor, path: Path, identity: Path | None = None) -> Report:
    """Restore a backup into a scratch database, and say whether it is what it says.

    A backup that is cut short, changed or cannot be restored gives a report that is not ``ok``.

    Raises:
        BackupError: if there is no such file, it is not ours, or it is of another kind of database.
        NotSupported: if this role may not create a scratch database.
    """
    outside(executor, "verifying a backup")
    form = format_of(path, executor.engine)
    try:
        with fetched(path) as here, form.opened(here, unverified=False, identity=identity) as source:
            check_engine(executor, form, source)
            return _proven(executor, source)
    except BackupCorrupt as exc:
        return Report(path, None, None, {}, [exc.message])


def _proven(executor: Executor, source: Source) -> Report:
    manifest = source.manifest
    assert manifest is not None
    report = Report(
        path=source.path,
        engine=manifest.engine,
        created=manifest.created,
        tables={name: content.rows for name, content in manifest.tables.items()},
    )
    with scratch(executor) as other:
        try:
            ready(other, manifest)
            proven = put_in_place(other, source, None)
        except (BackupError, IntegrityError, SchemaError) as exc:
            if isinstance(exc, BackupCorrupt):
                raise
            return replace(report, problems=[exc.message])
    return proven


def rehearse(executor: Executor, path: Path, table: str | None, identity: Path | None = None) -> Report:
    """Prove a backup, and say which of the tables here restoring it would replace.

    Raises:
        BackupCorrupt: if it is not what it says.
    """
    report = verify_backup(executor, path, identity)
    if report.problems:
        raise BackupCorrupt("; ".join(report.problems), hint="use another backup")
    tables = {name: rows for name, rows in report.tables.items() if table in (None, name)}
    return replace(report, tables=tables, replaced=would_replace(executor, path, table, identity))
