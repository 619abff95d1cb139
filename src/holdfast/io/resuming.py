"""Imports in one transaction, or in many that can be resumed: how far one has come is kept with its rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any

from holdfast.core import schema
from holdfast.core.executor import Executor
from holdfast.core.transaction import Transaction
from holdfast.engines.names import quote_identifier
from holdfast.errors import (
    ImportFailed,
    InvalidQuery,
    SerializationFailure,
    TransactionError,
    UniqueViolation,
)

TABLE = "holdfast_imports"
# What a crash can cost: so many rows, or so many seconds where they are large.
ROWS = 20_000
SECONDS = 5.0
_COLUMNS = {
    "table_name": "TEXT NOT NULL",
    "sha256": "TEXT NOT NULL",
    "file": "TEXT NOT NULL",
    "options": "TEXT NOT NULL",
    "reached": "INTEGER NOT NULL",
    "rows_loaded": "INTEGER NOT NULL",
    "finished": "BOOLEAN NOT NULL",
}


class Steps:
    """``with steps:`` all rows in one transaction. ``position`` is how much of the source has been loaded."""

    is_one = True
    position = 0
    loaded = 0
    is_new = True
    is_done = False

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def __enter__(self) -> None:
        self._open = Transaction(self._executor)
        self._open.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, exc, trace)

    @property
    def is_due(self) -> bool:
        """Whether it is time to ``commit``."""
        return False

    def passed(self, position: int, loaded: int) -> None:
        """Rows were written, and all up to ``position`` is dealt with."""
        self.position = position
        self.loaded += loaded

    def commit(self) -> None:
        """Keep for good what was written until now."""

    def parts(self, rows: Iterator[Any]) -> Iterator[Part]:
        """The rows after ``position``, in parts that each end with a call of ``passed`` and ``commit``."""
        yield Part(rows)


class Part:
    """Some of the rows, and after they were read how many there were."""

    def __init__(self, rows: Iterable[Any], most: int | None = None) -> None:
        self._rows = rows
        self._most = most
        self.count = 0
        self.is_last = most is None

    def rows(self) -> Iterator[Any]:
        until = monotonic() + SECONDS
        for row in islice(self._rows, self._most):
            self.count += 1
            yield row
            if self._most is not None and monotonic() > until:
                return
        self.is_last = self._most is None or self.count < self._most


@dataclass(frozen=True, slots=True)
class _Entry:
    """What is known of one import: of which file, and how far it came."""

    sha256: str
    file: str
    options: str
    position: int
    loaded: int
    finished: bool


def steps(
    executor: Executor, table: str, origin: Any, if_exists: str, options: Mapping[str, Any] | None
) -> Steps:
    """One transaction; with ``options``, which say how the file is read, steps that can be resumed.

    Raises:
        InvalidQuery: if the source is a stream, which cannot be read again.
        TransactionError: if a transaction is open, inside which nothing can be kept for good.
        ImportFailed: if an import of the file was left half-done, and it or its options are others now.
    """
    if options is None:
        return Steps(executor)
    if not isinstance(origin, Path):
        raise InvalidQuery("a stream cannot be resumed", hint="write it into a file first")
    if executor.in_transaction:
        raise TransactionError(
            "an import that can be resumed commits as it goes, and cannot be part of a transaction",
            hint="leave the transaction, or import without resume",
        )
    name = origin.name.encode("utf-8", "backslashreplace").decode()
    entry = _Entry(_digest(origin), name, json.dumps(options, sort_keys=True), 0, 0, False)
    if not schema.table_exists(executor, TABLE):
        schema.create_table(
            executor, TABLE, _COLUMNS, primary_key=["table_name", "sha256"], if_not_exists=True
        )
    return _begun(Resumable(executor, table, origin, entry), if_exists)


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise ImportFailed(f"{path} cannot be read: {exc.strerror}", hint="check the path") from exc


def _begun(found: Resumable, if_exists: str) -> Resumable:
    """The steps from where an earlier run of the same import has left them."""
    executor, table, mine = found._executor, found.table, found.entry
    known = _entries(executor, table)
    if not schema.table_exists(executor, table):
        found.stale = list(known)
        return found
    before = known.get(mine.sha256)
    if if_exists == "replace" and (before is None or before.finished):
        found.stale = list(known)
        return found
    if before is None:
        _refuse_changed(found.path, table, mine, known.values())
        return found
    if before.options != mine.options and not before.finished:
        raise ImportFailed(
            f"{found.path}: the import into {table!r} was begun with other options",
            hint=f"give the same as then: {before.options}",
        )
    found.position, found.loaded, found.is_new = before.position, before.loaded, False
    found.is_done = before.finished
    if not before.finished:
        _refuse_fewer(executor, found)
    return found


def _entries(executor: Executor, table: str) -> dict[str, _Entry]:
    listed = executor.rows(
        f"SELECT sha256, file, options, reached, rows_loaded, finished FROM {TABLE} WHERE table_name = ?",
        (table,),
    )
    return {
        sha256: _Entry(sha256, file, options, reached, loaded, bool(finished))
        for sha256, file, options, reached, loaded, finished in listed
    }


def _refuse_changed(path: Path, table: str, mine: _Entry, others: Iterable[_Entry]) -> None:
    for other in others:
        if other.file == mine.file and not other.finished:
            raise ImportFailed(
                f"{path} has changed since its import into {table!r} stopped after {other.loaded} rows",
                hint="put the file back as it was; or delete those rows, or replace them with "
                "if_exists='replace', which begins anew",
            )


def _refuse_fewer(executor: Executor, found: Resumable) -> None:
    rows = executor.scalar(f"SELECT count(*) FROM {quote_identifier(found.table)}")
    if rows < found.loaded:
        raise ImportFailed(
            f"{found.path}: {found.loaded} rows were loaded before, but {found.table!r} has only {rows}",
            hint="if_exists='replace' begins anew",
        )


class Resumable(Steps):
    """Steps that each commit, with their rows, where the next one begins."""

    is_one = False

    def __init__(self, executor: Executor, table: str, path: Path, entry: _Entry) -> None:
        super().__init__(executor)
        self.table = table
        self.path = path
        self.entry = entry
        self.stale: list[str] = []
        self._read = self._stamp()

    def __enter__(self) -> None:
        super().__enter__()
        self._committed, self._loaded, self._until = self.position, self.loaded, monotonic() + SECONDS
        if self.is_new:
            try:
                self._begin()
            except BaseException as exc:
                super().__exit__(type(exc), exc, exc.__traceback__)
                raise

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if exc is None and not self.is_done:
                self._note(finished=True)
        except BaseException as failure:
            super().__exit__(type(failure), failure, failure.__traceback__)
            raise
        super().__exit__(kind, exc, trace)

    @property
    def is_due(self) -> bool:
        return self.loaded - self._loaded >= ROWS or monotonic() > self._until

    def commit(self) -> None:
        self._note(finished=False)
        super().__exit__(None, None, None)
        super().__enter__()
        self._committed, self._loaded, self._until = self.position, self.loaded, monotonic() + SECONDS

    def parts(self, rows: Iterator[Any]) -> Iterator[Part]:
        next(islice(rows, self.position, self.position), None)
        while True:
            part = Part(rows, ROWS)
            yield part
            if part.is_last:
                return

    def _begin(self) -> None:
        mine, run = self.entry, self._executor.run
        for sha256 in self.stale:
            run(f"DELETE FROM {TABLE} WHERE table_name = ? AND sha256 = ?", (self.table, sha256))
        try:
            run(
                f"INSERT INTO {TABLE} ({', '.join(_COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (self.table, mine.sha256, mine.file, mine.options, 0, 0, False),
            )
        except UniqueViolation as exc:
            raise self._raced() from exc

    def _note(self, *, finished: bool) -> None:
        """Move the entry on from where this run knows it to be; nobody else may have moved it."""
        if self._read is None or self._stamp() != self._read:
            raise ImportFailed(
                f"{self.path} changed while it was read", hint="import a file that stays as it is"
            )
        moved = self._executor.run(
            f"UPDATE {TABLE} SET reached = ?, rows_loaded = ?, finished = ? "
            "WHERE table_name = ? AND sha256 = ? AND reached = ? AND NOT finished",
            (self.position, self.loaded, finished, self.table, self.entry.sha256, self._committed),
        )
        if moved.rowcount != 1:
            raise self._raced()

    def _raced(self) -> SerializationFailure:
        return SerializationFailure(
            f"another import of {self.path} into {self.table!r} is under way",
            hint="run it again when it is done",
        )

    def _stamp(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns
