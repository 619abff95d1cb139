"""Memories from one place to another: between backends, and out to a file and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from holdfast.core.executor import Executor
from holdfast.core.progress import track
from holdfast.core.transaction import Transaction
from holdfast.database import open_database
from holdfast.errors import (
    AlreadyExists,
    ConfigurationError,
    ImportFailed,
    SerializationFailure,
    UniqueViolation,
)
from holdfast.io import files
from holdfast.memory import tables
from holdfast.memory.carrying import Entry, Tally, entries, line, models, write
from holdfast.memory.sql_store import SQLStore
from holdfast.urls import path_of

FORMAT = 1
_ARCHIVE = ".hfz"
_PLAIN = (".jsonl", ".ndjson")


@dataclass(frozen=True, slots=True)
class Moved:
    """What was carried: how many memories, vectors and former versions, and the SHA-256 of all of them.

    Two memories with the same ``sha256`` hold the same.
    """

    memories: int
    vectors: int
    changes: int
    sha256: str

    def __str__(self) -> str:
        return f"{self.memories} memories, {self.vectors} vectors, {self.changes} former versions"


def copy_memory(source: SQLStore, target: SQLStore, *, progress: bool | None = None) -> Moved:
    """Copy all of a memory's user (and agent) into another memory, on any backend, and prove it.

    Vectors of every model, the history and times to live come along; the copies belong to the target's user.
    What the target then has is read back and compared, or nothing is kept. The target may hold nothing of
    its user yet.

    >>> import holdfast.memory
    >>> from holdfast.memory import Passage
    >>> with holdfast.memory.open("agent.db") as one, holdfast.memory.open("other.db") as other:
    ...     id = one.insert(Passage("Ada drinks tea"))
    ...     print(holdfast.memory.copy_memory(one, other))
    1 memories, 0 vectors, 0 former versions

    Raises:
        AlreadyExists: if the target holds memories of its user.
    """
    # What has to be made for it is, before only reading is left.
    source._shape()
    with ExitStack() as reading:
        reading.enter_context(_snapshot(source._executor, target._executor))
        given = models(source)
        model = target._embedding.model
        if given and model is not None and model != next(iter(given)):
            raise ConfigurationError(
                f"the vectors are of the model {next(iter(given))!r}, the target was opened for {model!r}",
                hint="open it with that model's embedder, or without one",
            )
        total = source.size()
        with Transaction(target._executor):
            sent = _written(target, _watched(entries(source), total, progress), given)
    target.save()
    return sent


def export_memory(store: SQLStore, path: str | Path, *, progress: bool | None = None) -> Moved:
    """Write all of a memory's user (and agent) into a file, by its ending: ``.jsonl`` or ``.hfz``.

    ``.jsonl`` has a line for each memory and each former version; ``.jsonl.gz`` and ``.jsonl.zst`` are that,
    packed. ``.hfz`` is the portable archive of a database with nothing else in it.
    """
    target = path_of(path)
    if target.suffix == _ARCHIVE:
        return _archive(store, target, progress)
    _check_name(target)
    store._shape()
    with _snapshot(store._executor), files.publishing(target) as out:
        tally = Tally()
        head = {"holdfast_memory": FORMAT, "name": store.name, "models": models(store)}
        out.write(json.dumps(head, ensure_ascii=False) + "\n")
        for entry in tally.over(_watched(entries(store), store.size(), progress)):
            out.write(line(entry))
        out.write(json.dumps({"end": tally.counts}) + "\n")
    return Moved(**tally.counts)


def import_memory(store: SQLStore, path: str | Path, *, progress: bool | None = None) -> Moved:
    """Bring back what :func:`export_memory` wrote, all of it or nothing, for the user of ``store``.

    Raises:
        AlreadyExists: if the memory holds something of its user already.
        ImportFailed: if the file is cut short or damaged, or none of these.
    """
    origin = path_of(path)
    if origin.suffix == _ARCHIVE:
        return _from_archive(store, origin, progress)
    _check_name(origin)
    with files.reading(origin) as raw:
        found = _Lines(raw, origin)
        with Transaction(store._executor):
            moved = _written(store, _watched(found.entries(), None, progress), found.models)
            if moved != found.end:
                raise ImportFailed(
                    f"{origin} is damaged: its content is not what its last line says",
                    hint="nothing was written",
                )
    store.save()
    return moved


def _written(target: SQLStore, given: Iterable[Entry], dimensions: dict[str, int]) -> Moved:
    """Write entries, and read back what came of them; in an open transaction.

    Raises:
        AlreadyExists: if there is something of the user already.
        SerializationFailure: if it is not what was sent.
    """
    if next(entries(target), None) is not None:
        raise AlreadyExists(
            f"the memory {target.name!r} there holds memories of {target.user_id!r} already",
            hint="take another name or user_id for it; nothing was written",
        )
    sent, kept = Tally(), Tally()
    try:
        write(target, sent.over(given), dimensions)
    except UniqueViolation as exc:
        raise AlreadyExists(
            "an id or a text is there twice, or of another agent of this user", hint="nothing was written"
        ) from exc
    for _ in kept.over(entries(target)):
        pass
    if kept.counts != sent.counts:
        raise SerializationFailure(
            "what the target holds is not what was sent, so nothing was kept",
            hint="run it again while nobody else writes there",
        )
    return Moved(**sent.counts)


def _watched(given: Iterable[Entry], total: int | None, progress: bool | None) -> Iterator[Entry]:
    with track("memories", total=total, show=progress) as advance:
        for entry in given:
            yield entry
            if advance is not None and "memory" in entry:
                advance(1)


def _snapshot(executor: Executor, other: Executor | None = None) -> Any:
    """Read one state of a database, unless what reads it writes too."""
    if executor is other or executor.in_transaction:
        return nullcontext()
    return Transaction(executor, isolation="REPEATABLE READ", read_only=True)


def _check_name(path: Path) -> None:
    plain = path.with_suffix("") if path.suffix in files.PACKED else path
    if plain.suffix not in _PLAIN:
        raise ConfigurationError(
            f"{path.name} has no ending that says how memories are written", hint=".jsonl, .jsonl.gz or .hfz"
        )


class _Lines:
    """A file of entries: its first line, the entries, and its last one."""

    def __init__(self, raw: Iterable[bytes], path: Path) -> None:
        self._lines, self._path = enumerate(raw, 1), path
        head = self._next()
        self.models: dict[str, int] = head.get("models", {}) if isinstance(head, dict) else {}
        if not isinstance(head, dict) or head.get("holdfast_memory") != FORMAT or not _is_models(self.models):
            raise ImportFailed(f"{path} holds no memory", hint="holdfast memory export writes such a file")
        self.end: Moved | None = None

    def _next(self) -> Any:
        number, raw = next(self._lines, (0, b""))
        if not number or not raw.endswith(b"\n"):
            raise ImportFailed(f"{self._path} is cut short", hint="nothing was written")
        try:
            return json.loads(raw)
        except ValueError as exc:
            raise ImportFailed(f"{self._path}, line {number} is no JSON", hint="nothing was written") from exc

    def entries(self) -> Iterator[Entry]:
        """The entries, until the line that says how many there are."""
        while True:
            entry = self._next()
            if isinstance(entry, dict) and "end" in entry:
                break
            yield entry
        try:
            self.end = Moved(**entry["end"])
        except TypeError:
            self.end = None


def _is_models(given: Any) -> bool:
    return isinstance(given, dict) and all(type(count) is int and count > 0 for count in given.values())


def _archive(store: SQLStore, path: Path, progress: bool | None) -> Moved:
    """Write a database with this memory alone as a portable archive."""
    with TemporaryDirectory() as folder, open_database(Path(folder) / "memory.db", {}) as database:
        apart = SQLStore(
            store._kind, database, user_id=store.user_id, agent_id=store.agent_id, name=store.name
        )
        moved = copy_memory(store, apart, progress=progress)
        database.backup_database(path)
    return moved


def _from_archive(store: SQLStore, path: Path, progress: bool | None) -> Moved:
    with TemporaryDirectory() as folder, open_database(Path(folder) / "memory.db", {}) as database:
        database.restore_database(path)
        executor = database._executor
        layouts = tables.stores(executor)
        chosen = [one for one in layouts if (one.kind, one.name) == (store._kind, store.name)] or layouts
        if len(chosen) != 1:
            names = ", ".join(repr(one.name) for one in layouts[:5])
            raise ImportFailed(
                f"{path} holds {len(layouts)} memories{': ' if names else ''}{names}",
                hint="open the memory under the name of the one that is meant",
            )
        table = executor.engine.quote(chosen[0].table)
        users = [user for (user,) in executor.rows(f'SELECT DISTINCT "user_id" FROM {table}')]
        if len(users) > 1 and store.user_id not in users:
            raise ImportFailed(
                f"{path} holds memories of {len(users)} users",
                hint="open the memory for the one that is meant",
            )
        owner = store.user_id if store.user_id in users or not users else users[0]
        apart = SQLStore(chosen[0].kind, database, user_id=owner, name=chosen[0].name)
        return copy_memory(apart, store, progress=progress)
