"""LangGraph's checkpointer: the state of graphs, kept in SQLite or PostgreSQL."""

from __future__ import annotations

import os
import random
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from holdfast.core.rows import count_argument
from holdfast.database import Database
from holdfast.errors import ConfigurationError, InvalidQuery, did_you_mean
from holdfast.memory.face import Face
from holdfast.memory.langgraph import tables
from holdfast.memory.langgraph.checkpoints import Place, Rows, config_of
from holdfast.memory.langgraph.listing import Query
from holdfast.memory.langgraph.serialising import Serialiser
from holdfast.memory.langgraph.threads import STRATEGIES, Threads
from holdfast.types.text import storable

PAGE = 50


class HoldfastSaver(Face, BaseCheckpointSaver[str]):
    """Keep LangGraph's checkpoints in a database: a path or URL as for ``connect``, or a ``Database``.

    A checkpoint and its values are one transaction. Made from a ``Database`` the methods without an ``a``
    take part in the transaction of the thread; the others run in threads of their own, so that the event
    loop goes on. Nothing is pickled, and only LangGraph's own list of safe classes comes back as objects,
    with ``allowed_classes`` besides: classes, or pairs of a module and a name. ``serde`` is a serialiser in
    the place of that.

    >>> from holdfast.memory.langgraph import HoldfastSaver
    >>> with HoldfastSaver("agent.db") as saver:
    ...     saver.get_tuple({"configurable": {"thread_id": "1"}}) is None
    True

    Raises:
        ConfigurationError: for a serialiser that pickles.
    """

    def __init__(
        self,
        url_or_database: str | os.PathLike[str] | Database,
        *,
        serde: SerializerProtocol | None = None,
        allowed_classes: Sequence[type | tuple[str, str]] = (),
    ) -> None:
        if serde is None:
            serde = Serialiser(allowed_msgpack_modules=tuple(allowed_classes) or None)
        elif allowed_classes:
            raise ConfigurationError(
                "allowed_classes= is for the serialiser of our own", hint="leave serde= out"
            )
        _refuse_pickle(serde)
        BaseCheckpointSaver.__init__(self, serde=serde)
        Face.__init__(self, url_or_database)
        try:
            self._settle()
        except BaseException:
            self.close()
            raise

    def setup(self) -> None:
        """Do nothing: the tables are there already. It is there for code that calls it."""

    def _settle(self) -> None:
        tables.ensure(self._executor)
        # Tables that were made in a transaction go with it when it is rolled back.
        self._is_settled = not self._executor.in_transaction

    @property
    def _rows(self) -> Rows:
        if not self._is_settled:
            self._settle()
        # Of the present serialiser: LangGraph gives a copy of a saver another one.
        return Rows(self._executor, self.serde)

    # Writing

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Write a checkpoint, the next one of that which ``config`` names; return the config that names it.

        Raises:
            ValueRefused: if something in it cannot be serialised; nothing is written.
        """
        thread_id, namespace, parent_id = _named(config)
        place = (thread_id, namespace, _text(checkpoint["id"], "the checkpoint's id"))
        self._rows.put(place, parent_id, checkpoint, get_checkpoint_metadata(config, metadata), new_versions)
        return _config(place)

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Write what a task wrote after the checkpoint that ``config`` names."""
        thread_id, namespace, checkpoint_id = _named(config)
        if checkpoint_id is None:
            raise ConfigurationError("the config names no checkpoint_id", hint="pass what put() returned")
        place = (thread_id, namespace, checkpoint_id)
        self._rows.put_writes(place, writes, _text(task_id, "task_id"), storable(task_path))

    # Reading

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that ``config`` names, or else the latest one of its thread and namespace."""
        return self._rows.one(*_named(config))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Checkpoints, the newest first: of a thread and, where ``config`` has one, of a namespace, or all.

        ``filter`` compares with the metadata. They are read some at a time, so that memory stays flat.
        """
        query = self._query(config, filter, before, limit)
        while found := query.next(self._rows, PAGE):
            yield from found

    def _query(
        self,
        config: RunnableConfig | None,
        filter: dict[str, Any] | None,
        before: RunnableConfig | None,
        limit: int | None,
    ) -> Query:
        place: tuple[str | None, ...] = (None, None, None)
        if config is not None:
            place = _named(config, default_namespace=None)
        last = None if before is None else _checkpoint_id(before)
        count = None if limit is None else count_argument("limit", max(limit, 0))
        return Query.of(self._executor.engine, place, filter or {}, last, count)

    # Threads

    def delete_thread(self, thread_id: str) -> None:
        """Remove a thread with all of its namespaces; one that is not there is no error."""
        Threads(self._rows).delete([_thread_id(thread_id)])

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Remove the checkpoints whose metadata have one of these as ``run_id``, and what hangs on them."""
        Threads(self._rows).delete_runs([_text(run_id, "a run's id") for run_id in _several(run_ids)])

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all checkpoints and writes of a thread into a new one.

        Raises:
            NotFoundError: if there is no such thread.
            AlreadyExists: if the target is there already.
        """
        Threads(self._rows).copy(_thread_id(source_thread_id), _thread_id(target_thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Keep of these threads only the latest checkpoint of each namespace, or with ``"delete"`` none.

        Where a channel is kept as changes since a snapshot, the checkpoints from that on are kept, too.
        """
        self._pruned([_thread_id(thread_id) for thread_id in _several(thread_ids)], strategy)

    def _pruned(self, thread_ids: Sequence[str], strategy: str) -> None:
        if strategy not in STRATEGIES:
            raise InvalidQuery(
                f"unknown strategy {strategy!r}", hint=did_you_mean(str(strategy), STRATEGIES, "strategies")
            )
        threads = Threads(self._rows)
        threads.delete(thread_ids) if strategy == "delete" else threads.keep_latest(thread_ids)

    def retain(self, period: timedelta | float, *, strategy: str = "delete") -> int:
        """Prune the threads without a checkpoint in ``period`` (or as many seconds); return their number.

        That is all of them or, if one fails, none.
        """
        if isinstance(period, (int, float)) and not isinstance(period, bool) and 0 <= period < 1e11:
            period = timedelta(seconds=period)
        if not isinstance(period, timedelta) or period < timedelta(0):
            raise InvalidQuery("the period to retain is a timedelta, or seconds")
        before = time.time_ns() // 1000 - period // timedelta(microseconds=1)
        idle = Threads(self._rows).idle(before)
        self._pruned(idle, strategy)
        return len(idle)

    def get_next_version(self, current: str | None, channel: None) -> str:
        """The version after ``current``; branches of one thread never come to the same one."""
        number = 0 if current is None else int(str(current).partition(".")[0])
        return f"{number + 1:032}.{random.random():016}"  # noqa: S311

    # The same, while an event loop goes on

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Do as :meth:`put` does, in another thread."""
        return await self._apart(self.put, config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Do as :meth:`put_writes` does, in another thread."""
        await self._apart(self.put_writes, config, writes, task_id, task_path)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Do as :meth:`get_tuple` does, in another thread."""
        return await self._apart(self.get_tuple, config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Do as :meth:`list` does, in another thread."""
        query = self._query(config, filter, before, limit)
        while found := await self._apart(query.next, self._rows, PAGE):
            for each in found:
                yield each

    async def adelete_thread(self, thread_id: str) -> None:
        """Do as :meth:`delete_thread` does, in another thread."""
        await self._apart(self.delete_thread, thread_id)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Do as :meth:`delete_for_runs` does, in another thread."""
        await self._apart(self.delete_for_runs, run_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Do as :meth:`copy_thread` does, in another thread."""
        await self._apart(self.copy_thread, source_thread_id, target_thread_id)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Do as :meth:`prune` does, in another thread."""
        await self._apart(lambda: self.prune(thread_ids, strategy=strategy))

    async def aretain(self, period: timedelta | float, *, strategy: str = "delete") -> int:
        """Do as :meth:`retain` does, in another thread."""
        return await self._apart(lambda: self.retain(period, strategy=strategy))


def _refuse_pickle(serde: Any) -> None:
    while serde is not None:
        if getattr(serde, "pickle_fallback", False):
            raise ConfigurationError(
                "a serialiser that pickles runs what is in the database", hint="JsonPlusSerializer() does not"
            )
        # One that encrypts has another one inside.
        serde = getattr(serde, "serde", None)


def _named(config: RunnableConfig, default_namespace: str | None = "") -> tuple[str, Any, str | None]:
    """The thread, the namespace and the checkpoint that a config names."""
    given = config.get("configurable") if isinstance(config, dict) else None
    if not isinstance(given, dict) or "thread_id" not in given:
        raise ConfigurationError(
            "the config names no thread_id", hint="{'configurable': {'thread_id': 'a name of your own'}}"
        )
    namespace = given.get("checkpoint_ns", default_namespace)
    if namespace is not None:
        if not isinstance(namespace, str):
            raise ConfigurationError(f"checkpoint_ns is a text, not a {type(namespace).__name__}")
        storable(namespace)
    return _thread_id(given["thread_id"]), namespace, _checkpoint_id(config)


def _checkpoint_id(config: RunnableConfig) -> str | None:
    given = config.get("configurable", {}).get("checkpoint_id")
    return None if given is None or given == "" else _text(given, "checkpoint_id")


def _thread_id(given: Any) -> str:
    if isinstance(given, UUID) or (isinstance(given, int) and not isinstance(given, bool)):
        given = str(given)
    return _text(given, "thread_id")


def _text(given: Any, what: str) -> str:
    if not isinstance(given, str) or not given:
        kind = "empty" if isinstance(given, str) else f"a {type(given).__name__}"
        raise ConfigurationError(f"{what} is {kind}", hint="it is a text of at least one character")
    return storable(given)


def _several(given: Any) -> Sequence[Any]:
    if isinstance(given, str):
        raise ConfigurationError("this takes a list of ids", hint="[id]")
    return list(given)


def _config(place: Place) -> RunnableConfig:
    config: RunnableConfig = config_of(place)
    return config
