"""A store of memories in a folder: a SQLite file with the truth, and Lance tables of its vectors."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

from holdfast.database import Database, open_database
from holdfast.errors import ConfigurationError, ReadOnlyError
from holdfast.folders import lasting_folder
from holdfast.memory import indexing, tables
from holdfast.memory.erasing import Report
from holdfast.memory.filters import Filters
from holdfast.memory.lance_leg import LanceLeg
from holdfast.memory.lance_tables import require
from holdfast.memory.nearest import VectorLeg
from holdfast.memory.outbox import Graph
from holdfast.memory.records import Record
from holdfast.memory.rows import Shape
from holdfast.memory.sql_store import SQLStore
from holdfast.settings import resolve

SCHEME = "lancedb"
TRUTH = "truth.db"
INDEX = "index"
_EXAMPLE = "lancedb:///folder, or lancedb:////absolute/folder"


class LanceDBConnector(SQLStore):
    """Memories in a folder, with their vectors in LanceDB.

    All that is written lies in the folder's SQLite file, in the transaction of the write. The Lance table is
    an index of its vectors: it is brought up to date in batches, a query compares what is missing there by
    itself, and it is made again from the file whenever it is not there or cannot be read.
    """

    engine_name = "sqlite"

    def __init__(self, kind: str, database: Database, **options: Any) -> None:
        require()
        path = database._executor.target.path
        if path is None or path.name != TRUTH:
            raise ConfigurationError(
                f"{type(self).__name__} needs the file {TRUTH} of a folder",
                hint=f"holdfast.memory.open({_EXAMPLE.split(',')[0]!r}) makes it",
            )
        self._folder = path.parent
        self._index = LanceLeg(self._folder / INDEX)
        super().__init__(kind, database, **options)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name!r} in {SCHEME}:///{self._folder}>"

    def _vector_leg(self) -> VectorLeg:
        return self._index

    def _shape(self, of_model: str | None = None) -> Shape:
        shape = super()._shape(of_model)
        # Where nothing can be written, nothing changes that would have to be noted.
        with contextlib.suppress(ReadOnlyError):
            self._index.attend(self._executor, shape.layout)
        return shape

    def _insert(self, given: Sequence[Record], exists_ok: bool, ttl: int | None) -> list[UUID]:
        ids = super()._insert(given, exists_ok, ttl)
        self._index.wrote(self._executor, self._shape().layout, len(ids))
        return ids

    def delete(self, filters: Filters = None, *, all_rows: bool = False) -> int:
        count = super().delete(filters, all_rows=all_rows)
        self._index.wrote(self._executor, self._shape().layout, count)
        return count

    def create_vector_index(
        self, model: str | None = None, *, m: int = 20, ef_construction: int = 300
    ) -> str:
        """Build an index over the vectors of a model, by default the current one; return its name.

        For stores of very many memories: Lance's HNSW over numbers of one byte, whose candidates are ranked
        again by the vectors of the truth. A search asks it unless a filter leaves few;
        :attr:`Hits.complete` is false where it was asked.

        Raises:
            ConfigurationError: if there are no vectors yet.
            TransactionError: inside a transaction.
        """
        indexing.check(m, ef_construction)
        layout = self._shape(model).layout
        built = self._index.regraph(self._executor, layout, Graph(m, ef_construction))
        if built is None:
            raise ConfigurationError("there are no vectors to index yet", hint="insert memories first")
        return built

    def drop_vector_index(self, model: str | None = None) -> None:
        """Remove the index over the vectors of a model, if there is one."""
        self._index.regraph(self._executor, self._shape(model).layout, None)

    def delete_table(self) -> None:
        layout = self._shape().layout
        super().delete_table()
        if tables.found(self._executor, self._kind, self._name) is None:
            self._index.end(self._executor, layout)

    def erase(self, user_id: str) -> Report:
        """As :meth:`SQLStore.erase`; the Lance tables go, and are made again from the truth when needed."""
        report = super().erase(user_id)
        cleared = [self._index.clear(layout) for layout in tables.stores(self._executor)]
        if not all(cleared):
            return replace(report, unfinished=report.unfinished or "a Lance table could not be removed")
        return report

    def save(self) -> None:
        """Bring what was written since the last time into the Lance table; it is kept and found already."""
        self._index.catch_up(self._executor, self._shape().layout, wait=True)


def opened(url: str | os.PathLike[str]) -> Database | None:
    """The file of truth of the folder that ``url`` names; ``None`` if it names no folder of memories.

    Raises:
        ConfigurationError: if the folder has something else in it, or its file of truth is gone.
        MissingDependency: without lancedb.
    """
    text = os.fspath(url) if isinstance(url, (str, os.PathLike)) else ""
    scheme, separator, rest = text.partition("://")
    if isinstance(url, str) and separator and scheme.lower() == SCHEME:
        if not rest.startswith("/") or not rest.strip("/"):
            raise ConfigurationError("a lancedb URL names a folder after three slashes", hint=_EXAMPLE)
        target = resolve(f"sqlite://{rest}")
        folder, options = target.path, target.options
    elif separator or not text or not Path(text).expanduser().is_dir():
        return None
    else:
        folder, options = Path(text).expanduser().absolute(), {}
        if not (folder / TRUTH).exists():
            raise ConfigurationError(f"{folder} is a folder, and holds no memories", hint=_EXAMPLE)
    if folder is None:
        raise ConfigurationError("a lancedb URL names a folder", hint=_EXAMPLE)
    require()
    _check(folder)
    return open_database(folder / TRUTH, options)


def _check(folder: Path) -> None:
    """Make the folder, or see that it is one of ours."""
    if folder.exists() and not folder.is_dir():
        raise ConfigurationError(f"{folder} is no folder", hint="give the name of an empty or a new one")
    try:
        lasting_folder(folder, 0o700)
        names = {entry.name for entry in folder.iterdir()}
    except OSError as exc:
        raise ConfigurationError(
            f"{folder} cannot be made or read: {exc.strerror}", hint="give the name of another folder"
        ) from exc
    if TRUTH in names:
        return
    if any((folder / INDEX).glob("*.lance")):
        raise ConfigurationError(
            f"{folder} has Lance tables of memories but not the file {TRUTH}, which has the memories",
            hint="put that file back from a backup",
        )
    if names - {INDEX}:
        raise ConfigurationError(
            f"{folder} holds other things than memories", hint="give the name of an empty or a new folder"
        )
