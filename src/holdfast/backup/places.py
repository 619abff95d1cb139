"""Databases that a backup is restored into besides the one in use: a scratch one, or a new one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from holdfast.backup.files import publishing
from holdfast.core.executor import Executor
from holdfast.engines.base import Engine
from holdfast.engines.registry import engine_for
from holdfast.errors import BackupError, Error
from holdfast.settings import Target, resolve


@contextmanager
def scratch(executor: Executor) -> Iterator[Executor]:
    """An empty database of the same engine, gone after the block."""
    try:
        with executor.engine.dump.scratch(executor.run, executor.target) as target:
            yield from _opened(executor.engine, target, executor.timeout)
    except Error:
        raise
    except OSError as exc:
        raise BackupError(
            f"there can be no scratch database: {exc.strerror or 'the system refuses it'}",
            hint="check the space for temporary files",
        ) from exc


@contextmanager
def new(url: str | Path) -> Iterator[Executor]:
    """A database that holds nothing yet; a SQLite file is there only if the block ends well.

    Raises:
        BackupError: if there is something already.
    """
    target = resolve(url)
    engine = engine_for(target.scheme)
    timeout = engine.features.default_timeout
    if target.path is not None or target.is_memory:
        if target.path is None:
            raise BackupError("a database in memory would be gone at once", hint="name a file")
        if target.path.exists():
            raise BackupError(
                f"{target.path} exists already", hint="name a new file, or connect to it and restore over it"
            )
        with publishing(target.path) as beside:
            yield from _opened(engine, replace(target, path=beside), timeout)
        return
    for executor in _opened(engine, target, timeout):
        if found := engine.catalog.tables(executor.run):
            raise BackupError(
                f"{target.masked_url} holds tables already, {found[0]!r} for one",
                hint="create an empty database, or connect to it and restore over it",
            )
        yield executor


def _opened(engine: Engine, target: Target, timeout: float) -> Iterator[Executor]:
    executor = Executor(engine, target, engine.connect.create(target, {}), timeout=timeout, is_private=False)
    try:
        yield executor
    finally:
        executor.close()
