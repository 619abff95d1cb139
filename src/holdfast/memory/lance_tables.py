"""Lance tables of vectors in a folder: written in whole versions, found again by name and version.

Nothing here is the truth. A version is only used once its files are on the disk, and any table may be thrown
away and made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import secrets
import shutil
import sys
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from holdfast import folders
from holdfast.engines.arrow import pyarrow
from holdfast.errors import Error, MissingDependency
from holdfast.memory.outbox import Graph, VectorRow
from holdfast.memory.records import Vector

_SUFFIX = ".lance"
# From here on a column is looked up faster by an index than by reading it.
_INDEXED = 10_000
# Every so many versions small files are made one, and versions that no query can be using any more go.
_TIDIED = 40
# How many vectors a graph has, how many graphs there may be, and how many of each are looked at in a search.
_PART = 500_000
_PARTS = 64
_LOOKED_AT = 300
_KEPT = timedelta(minutes=10)


_is_lost = False
_of_parent: list[Any] = []
_all: weakref.WeakSet[LanceTables] = weakref.WeakSet()


def is_lost() -> bool:
    """Whether this process is a child that was forked after LanceDB was imported.

    Its threads are not there then, and what it does crashes the process now and then, so that it is let be.
    """
    return _is_lost


def _after_fork() -> None:
    global _is_lost
    if "lancedb" in sys.modules:
        _is_lost = True
        # What lets go of them would need those threads.
        _of_parent.extend(tables._opened for tables in list(_all))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Unusable(Exception):
    """A Lance table is missing, damaged or cannot be written; it has to be made again, or done without."""


@contextmanager
def _faults() -> Iterator[None]:
    """Whatever goes wrong in Lance is one thing to us."""
    try:
        yield
    except Error:
        raise
    except Exception as exc:
        raise Unusable from exc
    except BaseException as exc:
        # What a damaged file may lead to in Rust; it cannot be caught by its name.
        if type(exc).__name__ != "PanicException":
            raise
        raise Unusable from exc


def require() -> None:
    """Refuse to go on without LanceDB, which is imported when the first table is needed: that takes a second.

    Raises:
        MissingDependency: if it is not installed.
    """
    if importlib.util.find_spec("lancedb") is None or importlib.util.find_spec("pyarrow") is None:
        raise MissingDependency("lancedb", "lance")


def _lancedb() -> Any:
    level = "LANCEDB_LOG"
    is_quiet = level not in os.environ
    if is_quiet:
        # Else it prints a line for each table that it makes.
        os.environ[level] = "error"
    try:
        import lancedb
    except ImportError as exc:
        raise MissingDependency("lancedb", "lance") from exc
    finally:
        if is_quiet:
            del os.environ[level]
    return lancedb


class LanceTables:
    """The Lance tables of one store and model; one of them is in use at a time."""

    def __init__(self, folder: Path, store: str, model: str) -> None:
        self._folder = folder
        self._prefix = f"{store}-{hashlib.sha256(model.encode()).hexdigest()[:8]}-"
        self._store = f"{store}-"
        self._opened: tuple[tuple[str, int], Any] | None = None
        self._synced: set[tuple[str, int]] = set()
        _all.add(self)

    @contextmanager
    def held(self, *, wait: bool) -> Iterator[bool]:
        """Whether this process and thread alone may write, until the block ends."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        with folders.held(self._folder, wait=wait) as is_held:
            yield is_held

    def create(self, rows: Iterable[Sequence[VectorRow]], graph: Graph | None) -> tuple[str, int] | None:
        """A new table of these vectors: its name and version; ``None`` if there are none."""
        name, table = f"{self._prefix}{secrets.token_hex(6)}", None
        for some in rows:
            with _faults():
                batch = _batch(some)
                if table is None:
                    table = self._connection().create_table(name, batch)
                else:
                    table.add(batch)
        if table is None:
            return None
        with _faults():
            self._index(table)
            if graph is not None:
                _link(table, graph)
            self._sync(name)
            return name, table.version

    def regraph(self, name: str, version: int, graph: Graph | None) -> int:
        """Build or remove the index over the vectors of a version; the version that has it so."""
        with _faults():
            table = self._writable(name, version)
            if graph is not None:
                _link(table, graph)
            else:
                for index in table.list_indices():
                    if index.columns == ["vector"]:
                        table.drop_index(index.name)
            self._sync(name)
            return int(table.version)

    def _writable(self, name: str, version: int) -> Any:
        table = self._connection().open_table(name)
        if table.version != version:
            # A process ended between writing and saying so.
            table.restore(version)
        return table

    def apply(self, name: str, version: int, rows: Sequence[VectorRow], gone: Sequence[int]) -> int:
        """Write vectors and remove those of the memories that are gone; the version that has it."""
        with _faults():
            table = self._writable(name, version)
            if gone:
                table.delete(f"n IN ({_numbers(gone)})")
            if rows:
                merge = table.merge_insert("n").when_matched_update_all().when_not_matched_insert_all()
                merge.execute(_batch(rows))
            self._index(table)
            if table.version // _TIDIED != version // _TIDIED:
                table.optimize(cleanup_older_than=_KEPT)
            self._sync(name)
            return int(table.version)

    def _index(self, table: Any) -> None:
        from lancedb.index import Bitmap, BTree

        if table.count_rows() < _INDEXED:
            return
        known = {column for index in table.list_indices() for column in index.columns}
        for column in ("n", "owner", "agent"):
            if column not in known:
                table.create_index(column, config=BTree() if column == "n" else Bitmap())

    def nearest(
        self, name: str, version: int, vector: Vector, limit: int, condition: str
    ) -> list[tuple[int, float]]:
        """The nearest memories of a version that satisfy a condition, with their cosine distances.

        Where there is an index over the vectors, some may be missing, and distances are rough.
        """
        with _faults():
            search = self._at(name, version).search(vector.tolist(), vector_column_name="vector")
            found = (
                search.distance_type("cosine")
                .where(condition, prefilter=True)
                .limit(limit)
                .ef(max(_LOOKED_AT, 4 * limit))
                .minimum_nprobes(_PARTS)
                .maximum_nprobes(_PARTS)
                .select(["n", "_distance"])
                .to_arrow()
            )
            return list(zip(found["n"].to_pylist(), found["_distance"].to_pylist(), strict=True))

    def _at(self, name: str, version: int) -> Any:
        key = (name, version)
        opened = self._opened
        if opened is None or opened[0] != key:
            table = self._connection().open_table(name)
            table.checkout(version)
            self._opened = opened = (key, table)
        return opened[1]

    def _connection(self) -> Any:
        return _lancedb().connect(self._folder)

    def forget(self) -> None:
        """Open the table again when it is next needed."""
        self._opened = None

    def sweep(self, keep: str | None, *, all_models: bool = False) -> bool:
        """Remove all tables of the store and model but the one to keep; whether no other is left."""
        prefix, is_clean = self._store if all_models else self._prefix, True
        with contextlib.suppress(FileNotFoundError):
            for entry in list(self._folder.iterdir()):
                if entry.name.startswith(prefix) and entry.name != f"{keep}{_SUFFIX}":
                    shutil.rmtree(entry, ignore_errors=True)
                    is_clean = is_clean and not entry.exists()
        return is_clean

    def _sync(self, name: str) -> None:
        """Have the disk hold what was written: Lance leaves it to the system."""
        for folder, _, files in os.walk(self._folder / f"{name}{_SUFFIX}"):
            is_changed = False
            for path in (Path(folder, file) for file in files):
                with contextlib.suppress(FileNotFoundError):
                    key = (str(path), path.stat().st_mtime_ns)
                    if key not in self._synced:
                        folders.sync(path)
                        self._synced.add(key)
                        is_changed = True
            if is_changed:
                folders.sync(Path(folder))
        folders.sync(self._folder)


def _link(table: Any, graph: Graph) -> None:
    from lancedb.index import HnswSq

    config = HnswSq(
        distance_type="cosine",
        # All of them are searched; several take less memory to build.
        num_partitions=min(1 + table.count_rows() // _PART, _PARTS),
        m=graph.links,
        ef_construction=graph.effort,
    )
    table.create_index("vector", config=config)


def owned(user_id: str, agent_id: str | None) -> str:
    """The condition for the vectors of a tenant; whose they really are the truth is asked afterwards."""
    condition = f"owner = {_digest(user_id)}"
    return condition if agent_id is None else f"{condition} AND agent = {_digest(agent_id)}"


def among_these(numbers: Sequence[int]) -> str:
    """The condition to be one of these memories."""
    return f"n IN ({_numbers(numbers)})"


def _numbers(numbers: Sequence[int]) -> str:
    # Lance takes no parameters.
    return ", ".join(str(int(n)) for n in numbers)


@lru_cache(maxsize=4096)
def _digest(tenant: str) -> int:
    """A tenant as a number: no name lies in a file of Lance."""
    return int.from_bytes(hashlib.sha256(tenant.encode()).digest()[:8], signed=True)


def _batch(rows: Sequence[VectorRow]) -> Any:
    import numpy as np

    pa = pyarrow()

    width = len(rows[0][3]) // 4
    values = np.frombuffer(b"".join(row[3] for row in rows), dtype="<f4")
    return pa.table(
        {
            "n": pa.array([row[0] for row in rows], pa.int64()),
            "owner": pa.array([_digest(row[1]) for row in rows], pa.int64()),
            "agent": pa.array([None if row[2] is None else _digest(row[2]) for row in rows], pa.int64()),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(values), width),
        }
    )
