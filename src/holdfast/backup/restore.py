"""Putting a backup's tables in the place of those that are here: all of it, proven, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from holdfast.backup import aside
from holdfast.backup.content import content_of, differences, outside, translated
from holdfast.backup.formats import Format, Source, format_of
from holdfast.backup.manifest import Manifest
from holdfast.backup.places import new
from holdfast.backup.remote import fetched, is_here
from holdfast.backup.report import Report
from holdfast.core.executor import Executor
from holdfast.core.progress import Advance, track
from holdfast.core.transaction import Transaction
from holdfast.engines.copying import Content
from holdfast.errors import (
    BackupError,
    ConnectionFailed,
    DatabaseBusy,
    Error,
    IntegrityError,
    NotSupported,
    ReadOnlyError,
    SchemaError,
    TransactionError,
    ValueRefused,
    did_you_mean,
)

Contents = Mapping[str, Content] | None
_TITLES = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
# What says by itself what is to be done; anything else means that the text does not fit this database.
_TELLING = (
    BackupError,
    ConnectionFailed,
    DatabaseBusy,
    IntegrityError,
    NotSupported,
    ReadOnlyError,
    TransactionError,
    ValueRefused,
)


@dataclass(frozen=True, slots=True)
class How:
    """What is asked of restoring, besides from where and to where."""

    unverified: bool = False
    "Take a file of another program as it is."
    keep_old: bool = True
    "Back up first what is replaced."
    identity: Path | None = None
    "The file with the secret key of an encrypted archive."
    progress: bool | None = None


def restore(executor: Executor, path: Path, table: str | None, how: How) -> Report:
    """Replace the tables that a backup names, or one of them; the others stay.

    Raises:
        BackupCorrupt: if the file is cut short or changed, before anything was touched.
        BackupError: if it does not fit; the database is as it was.
        TransactionError: inside a transaction.
    """
    outside(executor, "restoring")
    with _opened(executor, path, table, how) as source:
        if source.manifest is None:
            return _run_foreign(executor, source, table, how.progress)
        replaced = _replaced(executor, source.manifest, table)
        with _kept(executor, path, table, bool(replaced) and how.keep_old) as kept:
            report = put_in_place(executor, source, table, progress=how.progress)
    return replace(report, replaced=replaced, kept=kept)


def restore_into(url: str | Path, path: Path, table: str | None, how: How) -> Report:
    """Make a new database of a backup, or of one of its tables.

    Raises:
        BackupError: if there is something at ``url`` already, or the backup does not fit.
    """
    with new(url) as executor, _opened(executor, path, table, how) as source:
        if source.manifest is None:
            return _run_foreign(executor, source, table, how.progress)
        ready(executor, source.manifest)
        return put_in_place(executor, source, table, progress=how.progress)


def ready(executor: Executor, manifest: Manifest) -> None:
    """Make an empty database one that the backup fits."""
    if manifest.engine == executor.engine.name:
        with executor.lent() as raw:
            executor.engine.dump.imitate(raw, manifest.known)


def would_replace(
    executor: Executor, path: Path, table: str | None, identity: Path | None = None
) -> list[str]:
    """The tables here that restoring replaces."""
    with _opened(executor, path, table, How(identity=identity)) as source:
        return [] if source.manifest is None else _replaced(executor, source.manifest, table)


@contextmanager
def _opened(executor: Executor, path: Path, table: str | None, how: How) -> Iterator[Source]:
    form = format_of(path, executor.engine)
    with fetched(path) as here, form.opened(here, unverified=how.unverified, identity=how.identity) as source:
        if source.manifest is not None:
            check_engine(executor, form, source)
            tables = source.manifest.tables
            if table is not None and table not in tables:
                raise BackupError(
                    f"{path} holds no table {table!r}", hint=did_you_mean(table, tables, "tables")
                )
        yield source


def _replaced(executor: Executor, manifest: Manifest, table: str | None) -> list[str]:
    here = set(executor.engine.catalog.tables(executor.run))
    return [name for name in manifest.tables if name in here and table in (None, name)]


@contextmanager
def _kept(executor: Executor, path: Path, table: str | None, is_wanted: bool) -> Iterator[Path | None]:
    """A backup of what is about to be replaced, beside the database or else beside the backup.

    It is gone again if the block fails, for then nothing was replaced.
    """
    if not is_wanted:
        yield None
        return
    place = executor.target.path or (path if is_here(path) else Path(path.name))
    kept = aside.keep(
        executor,
        place,
        "before-restore",
        table=table,
        hint="nothing was changed; keep_old=False restores without keeping it",
    )
    try:
        yield kept
    except BaseException:
        kept.unlink(missing_ok=True)
        raise


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
        return differences(executor, {name: contents[name] for name in chosen if name in contents})

    with track(f"restore {source.path.name}", total=source.size, show=progress) as advance:
        _load(executor, source, table, advance, compare)
    return Report(
        path=source.path,
        engine=manifest.engine,
        created=manifest.created,
        tables={name: content.rows for name, content in chosen.items()},
        left_behind=source.left_behind,
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
        with executor.lent(), executor.engine.alter.around(session.execute), Transaction(executor):
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
            except OSError as exc:
                raise BackupError(
                    f"{source.path} cannot be restored: {exc.strerror or 'the system refuses it'}",
                    hint="nothing was changed; check the space for temporary files",
                ) from exc
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
