"""LangGraph's store: items in namespaces, kept in SQLite or PostgreSQL, found by key, filter and meaning."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from langgraph.store.base import (
    BaseStore,
    Embeddings,
    GetOp,
    IndexConfig,
    InvalidNamespaceError,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchOp,
    TTLConfig,
    ensure_embeddings,
    get_text_at_path,
    tokenize_path,
)

from holdfast.core.rows import count_argument
from holdfast.database import Database
from holdfast.errors import ConfigurationError, Error, InvalidQuery, ValueRefused
from holdfast.memory.face import Face
from holdfast.memory.langgraph import tables
from holdfast.memory.langgraph.items import Asked, Items, Place, Put
from holdfast.memory.records import Vector, as_vector
from holdfast.types.text import storable

MINUTE = 60_000_000
LONGEST_TTL = 1e9
Path = tuple[str, Any]
"""A field that is found by its meaning: as it was written, and as LangGraph reads it."""


class NamespaceRefused(ValueRefused, InvalidNamespaceError):
    """A namespace or a label of one that cannot be."""


@dataclass(slots=True)
class Plan:
    """What a batch will do, checked before anything is done: its texts are embedded, then it runs."""

    ops: list[Op]
    texts: dict[str, Vector | None] = field(default_factory=dict)
    queries: dict[str, Vector | None] = field(default_factory=dict)
    fields: dict[int, dict[str, str]] = field(default_factory=dict)
    "By the place of a put: the texts of its fields."


class HoldfastStore(Face, BaseStore):
    """Keep LangGraph's items in a database: a path or URL as for ``connect``, or a ``Database``.

    ``index`` is LangGraph's: a dict with ``dims``, ``embed`` and perhaps ``fields``; items are then found by
    their meaning, and every vector is compared. ``ttl`` is LangGraph's, too, in minutes; what has expired is
    not found any more, and :meth:`sweep_ttl` removes it. Without a query items come in the order in which
    they were first put. Made from a ``Database`` the methods without an ``a`` take part in the transaction
    of the thread; the others run in threads of their own, so that the event loop goes on.

    >>> from holdfast.memory.langgraph import HoldfastStore
    >>> with HoldfastStore("agent.db") as store:
    ...     store.put(("users", "ada"), "likes", {"drink": "tea"})
    ...     store.get(("users", "ada"), "likes").value
    {'drink': 'tea'}

    Raises:
        ConfigurationError: if the index cannot be used, or there are vectors of another dimension.
    """

    supports_ttl = True

    def __init__(
        self,
        url_or_database: str | os.PathLike[str] | Database,
        *,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
    ) -> None:
        self.index_config, self.ttl_config = index, ttl
        self.embeddings: Embeddings | None = None
        self._fields: list[Path] = []
        if index is not None:
            self._configure(index)
        if ttl is not None:
            _microseconds(ttl.get("default_ttl"))
        self._stopping = threading.Event()
        self._sweeper: threading.Thread | None = None
        Face.__init__(self, url_or_database)
        try:
            self._settle()
        except BaseException:
            self.close()
            raise

    def _configure(self, index: IndexConfig) -> None:
        if not isinstance(index, Mapping) or not isinstance(index.get("dims"), int) or index["dims"] < 1:
            raise ConfigurationError("index= says no dims", hint="{'dims': 384, 'embed': a function}")
        try:
            self.embeddings = ensure_embeddings(index.get("embed"))
        except ValueError as exc:
            raise ConfigurationError(
                "index= says no embed", hint="{'dims': 384, 'embed': a function}"
            ) from exc
        self._fields = [_path(given) for given in index.get("fields") or ["$"]]

    def _settle(self) -> None:
        self._made = self._opened()
        # Tables that were made in a transaction go with it when it is rolled back.
        self._is_settled = not self._executor.in_transaction

    @property
    def _items(self) -> Items:
        if not self._is_settled:
            self._settle()
        return self._made

    def _opened(self) -> Items:
        kind = tables.ensure_items(self._executor)
        if self.index_config is None:
            return Items(self._executor, kind, "")
        model = getattr(self.index_config["embed"], "model", None)
        model = storable(model) if isinstance(model, str) and model else "default"
        known = self._executor.rows(
            f'SELECT "dimension" FROM "{tables.VECTORS}" WHERE "model" = ? LIMIT 1', (model,)
        )
        if known and known[0][0] != self.index_config["dims"]:
            raise ConfigurationError(
                f"the vectors of this store have {known[0][0]} numbers, not {self.index_config['dims']}",
                hint="give the embedder they were made with, or its own attribute model to another one",
            )
        return Items(self._executor, kind, model)

    # Batches, which all other verbs are made of

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do several things: first what reads, then all that writes, as one transaction.

        Of several puts to one key the last one counts.

        Raises:
            ValueRefused: if something of it cannot be kept; nothing is written.
        """
        plan = self._planned(ops)
        if self.embeddings is not None:
            if plan.texts:
                _fill(plan.texts, self.embeddings.embed_documents(list(plan.texts)), self._dimension)
            for query in plan.queries:
                _fill(plan.queries, [self.embeddings.embed_query(query)], self._dimension, [query])
        return self._done(plan)

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Do as :meth:`batch` does, in another thread."""
        plan = self._planned(ops)
        if self.embeddings is not None:
            if plan.texts:
                found = await self.embeddings.aembed_documents(list(plan.texts))
                _fill(plan.texts, found, self._dimension)
            for query in plan.queries:
                found = [await self.embeddings.aembed_query(query)]
                _fill(plan.queries, found, self._dimension, [query])
        return await self._apart(self._done, plan)

    @property
    def _dimension(self) -> int:
        return 0 if self.index_config is None else self.index_config["dims"]

    def _planned(self, ops: Iterable[Op]) -> Plan:
        plan = Plan(list(ops))
        for place, op in enumerate(plan.ops):
            if isinstance(op, GetOp):
                _checked(op.namespace, op.key)
            elif isinstance(op, SearchOp):
                _checked(op.namespace_prefix)
                count_argument("limit", op.limit)
                count_argument("offset", op.offset)
                if op.query and self.embeddings is not None:
                    plan.queries[storable(op.query)] = None
            elif isinstance(op, ListNamespacesOp):
                _check_listing(op)
            elif isinstance(op, PutOp):
                self._plan_put(plan, place, op)
            else:
                raise InvalidQuery(f"a batch cannot do a {type(op).__name__}")
        return plan

    def _plan_put(self, plan: Plan, place: int, op: PutOp) -> None:
        _checked(op.namespace, op.key)
        if not op.namespace:
            raise NamespaceRefused("the namespace is empty", hint="such as ('users', 'ada')")
        _microseconds(op.ttl)
        if op.value is None:
            return
        if not isinstance(op.value, Mapping):
            raise ValueRefused(f"the value of an item is a dict, not {type(op.value).__name__}")
        if self.embeddings is None or op.index is False:
            return
        fields: dict[str, str] = {}
        for written, tokens in self._fields if op.index is None else [_path(given) for given in op.index]:
            texts = _texts(op.value, tokens)
            for number, text in enumerate(texts):
                fields[written if len(texts) == 1 else f"{written}.{number}"] = text
                plan.texts[text] = None
        plan.fields[place] = fields

    def _done(self, plan: Plan) -> list[Result]:
        results: list[Result] = [None] * len(plan.ops)
        places: dict[int, Place] = {}
        wanted: dict[Place, bool] = {}
        for at, op in enumerate(plan.ops):
            if isinstance(op, GetOp):
                places[at] = place = (".".join(op.namespace), op.key)
                wanted[place] = op.refresh_ttl or wanted.get(place, False)
        if wanted:
            found = self._items.get(wanted)
            for at, place in places.items():
                results[at] = found.get(place)
        puts: dict[Place, Put] = {}
        for at, op in enumerate(plan.ops):
            if isinstance(op, SearchOp):
                vector = plan.queries.get(op.query) if op.query else None
                asked = Asked(tuple(op.namespace_prefix), op.filter, vector, op.limit, op.offset)
                results[at] = self._items.search(asked, op.refresh_ttl)
            elif isinstance(op, ListNamespacesOp):
                every = self._items.namespaces(op.match_conditions or (), op.max_depth)
                results[at] = every[op.offset : op.offset + op.limit]
            elif isinstance(op, PutOp):
                put = _put_of(op, plan.fields.get(at, {}), plan.texts)
                puts[put.place] = put
        if puts:
            self._items.write(list(puts.values()))
        return results

    # A time to live

    def sweep_ttl(self) -> int:
        """Remove the items that have expired; return how many there were."""
        return self._items.sweep()

    async def asweep_ttl(self) -> int:
        """Do as :meth:`sweep_ttl` does, in another thread."""
        return await self._apart(self._items.sweep)

    def start_ttl_sweeper(self, sweep_interval_minutes: float | None = None) -> Future[None]:
        """Sweep every so many minutes (by default those of ``ttl``, or 5) until this is closed or stopped.

        Cancelling the future that is returned stops it, too.
        """
        given = sweep_interval_minutes or (self.ttl_config or {}).get("sweep_interval_minutes") or 5
        interval = (_microseconds(given) or 0) / 1e6
        self.stop_ttl_sweeper()
        self._stopping = stopping = threading.Event()
        done: Future[None] = Future()
        done.add_done_callback(lambda future: stopping.set())

        def sweep() -> None:
            while not stopping.wait(interval):
                try:
                    self.sweep_ttl()
                except Error as exc:
                    # A database that is away comes back; one that was closed does not.
                    if not self._executor.is_open:
                        break
                    self._executor.tally.note(exc)
            if not done.done():
                done.set_result(None)

        self._sweeper = threading.Thread(target=sweep, name="holdfast-sweeper", daemon=True)
        self._sweeper.start()
        return done

    def stop_ttl_sweeper(self, timeout: float | None = None) -> bool:
        """Stop sweeping; return whether it has ended within ``timeout`` seconds."""
        self._stopping.set()
        sweeper = self._sweeper
        if sweeper is None or sweeper is threading.current_thread():
            return True
        sweeper.join(timeout)
        return not sweeper.is_alive()

    def close(self) -> None:
        """Stop the sweeper, wait for calls that have begun, and close a database of our own."""
        self.stop_ttl_sweeper()
        super().close()


def _put_of(op: PutOp, fields: Mapping[str, str], vectors: Mapping[str, Vector | None]) -> Put:
    found = {path: vector for path, text in fields.items() if (vector := vectors[text]) is not None}
    return Put(tuple(op.namespace), op.key, op.value, _microseconds(op.ttl), found)


def _fill(
    into: dict[str, Vector | None], found: Any, dimension: int, texts: Sequence[str] | None = None
) -> None:
    """Note the vectors of texts, checked."""
    texts = list(into) if texts is None else texts
    vectors = list(found)
    if len(vectors) != len(texts):
        raise ValueRefused(f"the embedder gave {len(vectors)} vectors for {len(texts)} texts")
    for text, given in zip(texts, vectors, strict=True):
        vector = as_vector(given)
        if len(vector) != dimension:
            raise ValueRefused(f"the embedder gave {len(vector)} numbers, and the index has {dimension}")
        into[text] = vector


def _path(given: Any) -> Path:
    if not isinstance(given, str):
        raise InvalidQuery(
            f"a field of an index is a text, not {type(given).__name__}", hint="such as 'text'"
        )
    return storable(given), given if given == "$" else tokenize_path(given)


def _texts(value: Mapping[str, Any], tokens: Any) -> list[str]:
    try:
        return [text for text in get_text_at_path(value, tokens) if text]
    except (TypeError, ValueError, RecursionError) as exc:
        raise ValueRefused("the value of an item is no JSON", hint="pass plain dicts and lists") from exc


def _microseconds(minutes: Any) -> int | None:
    """LangGraph's minutes as our microseconds."""
    if minutes is None:
        return None
    is_number = isinstance(minutes, (int, float)) and not isinstance(minutes, bool)
    if not is_number or not math.isfinite(minutes) or not 0 < minutes < LONGEST_TTL:
        raise InvalidQuery("a time to live is a number of minutes greater than 0")
    return max(int(minutes * MINUTE), 1)


def _checked(namespace: Any, key: Any = "") -> None:
    """Refuse what could not be told from another namespace, or could not be kept."""
    if not isinstance(namespace, (tuple, list)):
        raise NamespaceRefused(
            f"a namespace is a tuple of texts, not {type(namespace).__name__}",
            hint="such as ('users', 'ada')",
        )
    for label in namespace:
        if not isinstance(label, str) or not label or "." in label:
            raise NamespaceRefused(
                "a label of a namespace is a text of one character at least, without a dot"
            )
        try:
            storable(label)
        except ValueRefused as exc:
            raise NamespaceRefused(exc.message, hint=exc.hint) from None
    if not isinstance(key, str):
        raise ValueRefused(f"the key of an item is a text, not {type(key).__name__}")
    storable(key)


def _check_listing(op: ListNamespacesOp) -> None:
    count_argument("limit", op.limit)
    count_argument("offset", op.offset)
    if op.max_depth is not None:
        count_argument("max_depth", op.max_depth, least=1)
    for condition in op.match_conditions or ():
        if condition.match_type not in ("prefix", "suffix"):
            raise InvalidQuery(f"unknown match type {condition.match_type!r}", hint="prefix or suffix")
        _checked(tuple(condition.path))
