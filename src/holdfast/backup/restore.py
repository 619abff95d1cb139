"""Putting a backup's tables in the place of those that are here: all of it, proven, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from holdfast.backup.content import content_of, differences, outside, translated
from holdfast.backup.formats import Format, Source, format_of
from holdfast.backup.report import Report
from holdfast.core.executor import Executor
from holdfast.core.progress import Advance, track
from holdfast.core.transaction import Transaction
from holdfast.engines.base import Content
from holdfast.errors import (
    BackupError,
    ConnectionFailed,
    DatabaseBusy,
    Error,
    IntegrityError,
    ReadOnlyError,
    SchemaError,
    TransactionError,
    did_you_mean,
)

Contents = Mapping[str, Content] | None
_TITLES = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
# What says by itself what is to be done; anything else means that the text does not fit this database.
_TELLING = (BackupError, ConnectionFailed, DatabaseBusy, IntegrityError, ReadOnlyError, TransactionError)


def restore_database(
    executor: Executor, path: Path, *, unverified: bool = False, progress: bool | None = None
) -> Report:
    """Replace the tables that a backup names; the others stay.

    Raises:
        BackupCorrupt: if the file is cut short or changed, before anything was touched.
        BackupError: if it does not fit; the database is as it was.
        TransactionError: inside a transaction.
    """
    return _restore(executor, path, None, unverified=unverified, progress=progress)


def restore_table(
    executor: Executor,
    table: str,
    path: Path,
    *,
    unverified: bool = False,
    progress: bool | None = None,
) -> Report:
    """Replace one table by that of a backup of it or of the whole database."""
    return _restore(executor, path, table, unverified=unverified, progress=progress)


def _restore(
    executor: Executor, path: Path, table: str | None, *, unverified: bool, progress: bool | None
) -> Report:
    outside(executor, "restoring")
    form = format_of(path, executor.engine)
    with form.opened(path, unverified=unverified) as source:
        if source.manifest is None:
            return _run_foreign(executor, source, table, progress)
        check_engine(executor, form, source)
        tables = source.manifest.tables
        if table is not None and table not in tables:
            raise BackupError(f"{path} holds no table {table!r}", hint=did_you_mean(table, tables, "tables"))
        return put_in_place(executor, source, table, progress=progress)


def check_engine(executor: Executor, form: Format, source: Source) -> None:
    """Refuse what is of one kind of database for another."""
    assert source.manifest is not None
    made, here = source.manifest.engine, executor.engine.name
    if made != here and not form.is_portable:
        raise BackupError(
            f"{source.path} is a backup of {_TITLES.get(made, made)}, and this is {_TITLES.get(here, here)}",
            hint="restore it into a database of its kind and copy the tables from there",
        )


def put_in_place(
    executor: Executor, source: Source, table: str | None, *, progress: bool | None = False
) -> Report:
    """Load a checked backup and compare what is here then with what it says; keep both or neither."""
    manifest = source.manifest
    assert manifest is not None
    chosen = {name: content for name, content in manifest.tables.items() if table in (None, name)}

    def compare(contents: Contents) -> list[str]:
        assert contents is not None
        return differences(executor, {name: contents[name] for name in chosen})

    with track(f"restore {source.path.name}", total=source.size, show=progress) as advance:
        _load(executor, source, table, advance, compare)
    return Report(
        path=source.path,
        engine=manifest.engine,
        created=manifest.created,
        tables={name: content.rows for name, content in chosen.items()},
    )


def _load(
    executor: Executor,
    source: Source,
    table: str | None,
    advance: Advance | None,
    problems: Callable[[Contents], list[str]],
) -> None:
    session = executor.session()
    try:
        with executor.engine.alter.around(session.execute), Transaction(executor):
            try:
                with translated(executor):
                    found = problems(source.load(executor, table, advance))
            except _TELLING:
                raise
            except SchemaError as exc:
                if exc.hint:
                    raise
                raise _unfit(source, exc) from exc
            except Error as exc:
                raise _unfit(source, exc) from exc
            if found:
                raise BackupError(
                    f"{source.path} could not be restored as it was: {'; '.join(found)}",
                    hint="nothing was changed; use another backup",
                )
    finally:
        executor.forget()


def _unfit(source: Source, exc: Error) -> BackupError:
    return BackupError(
        f"a statement of {source.path} cannot be run here: {exc.message}", hint="nothing was changed"
    )


def _run_foreign(executor: Executor, source: Source, table: str | None, progress: bool | None) -> Report:
    if table is not None:
        raise BackupError(
            f"{source.path} was not written by Holdfast: no single table can be taken out of it",
            hint="restore all of it into an empty database",
        )
    catalog = executor.engine.catalog
    before = set(catalog.tables(executor.run))
    counts: dict[str, int] = {}

    def count(contents: Contents) -> list[str]:
        counts.update(
            (name, content_of(executor, name).rows)
            for name in catalog.tables(executor.run)
            if name not in before
        )
        return []

    with track(f"restore {source.path.name}", total=source.size, show=progress) as advance:
        _load(executor, source, None, advance, count)
    return Report(source.path, None, None, counts)
