"""LangGraph's store beyond its model: time to live, refusals, transactions, vectors, and the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from langgraph.store.base import GetOp, InvalidNamespaceError, ListNamespacesOp, PutOp, SearchOp

import holdfast
from holdfast.errors import (
    ClosedError,
    ConfigurationError,
    Error,
    InvalidQuery,
    TransactionError,
    ValueRefused,
)
from holdfast.memory.langgraph import HoldfastSaver, HoldfastStore
from holdfast.memory.langgraph import items as items_module
from holdfast.memory.langgraph.tables import ITEMS, VECTORS

HERE = ("users", "ada")


def embed(texts: list[str]) -> list[list[float]]:
    return [[text.count(letter) + 0.25 for letter in "aeiou"] for text in texts]


INDEX: Any = {"dims": 5, "embed": embed, "fields": ["text"]}


@pytest.fixture
def store(db: holdfast.Database) -> HoldfastStore:
    return HoldfastStore(db)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A function that lets minutes go by."""
    ahead = [0]
    monkeypatch.setattr(items_module, "_now", lambda: time.time_ns() // 1000 + ahead[0])

    def wait(minutes: float) -> None:
        ahead[0] += int(minutes * 60e6)

    return wait


def test_an_item_keeps_when_it_was_made_and_changed(store: HoldfastStore) -> None:
    store.put(HERE, "k", {"v": 1})
    first = store.get(HERE, "k")
    store.put(HERE, "k", {"v": {"deep": [1.5, None, True, "é"]}})
    second = store.get(HERE, "k")
    assert first is not None
    assert second is not None
    assert second.created_at == first.created_at == first.updated_at < second.updated_at
    assert second.value == {"v": {"deep": [1.5, None, True, "é"]}}
    assert (second.namespace, second.key) == (HERE, "k")


# A time to live


def test_what_has_expired_is_gone_at_once(
    store: HoldfastStore, clock: Callable[[float], None], db: holdfast.Database
) -> None:
    store.put(HERE, "short", {"v": 1}, ttl=1)
    store.put(HERE, "long", {"v": 1}, ttl=0.5)
    store.put(HERE, "long", {"v": 1}, ttl=None)
    store.put(("gone",), "k", {}, ttl=0.5)
    clock(1.1)
    assert store.get(HERE, "short") is None
    assert [item.key for item in store.search(())] == ["long"]
    assert store.list_namespaces() == [HERE]
    assert db.count(ITEMS) == 3
    assert store.sweep_ttl() == 2
    assert db.count(ITEMS) == 1


def test_reading_refreshes_unless_it_is_told_not_to(
    store: HoldfastStore, clock: Callable[[float], None]
) -> None:
    store.put(HERE, "k", {"v": 1}, ttl=1)
    for _ in range(3):
        clock(0.6)
        assert store.get(HERE, "k") is not None
        clock(0.6)
        assert len(store.search(HERE)) == 1
    clock(0.6)
    assert store.get(HERE, "k", refresh_ttl=False) is not None
    assert store.search(HERE, refresh_ttl=False)
    clock(0.6)
    assert store.get(HERE, "k") is None


def test_one_that_expired_and_is_put_again_is_new(
    store: HoldfastStore, clock: Callable[[float], None]
) -> None:
    store.put(HERE, "k", {"v": 1}, ttl=1)
    first = store.get(HERE, "k")
    clock(2)
    store.put(HERE, "k", {"v": 2})
    second = store.get(HERE, "k")
    assert first is not None
    assert second is not None
    assert second.created_at > first.created_at


def test_the_configuration_says_the_default_and_the_sweeper_sweeps(
    db: holdfast.Database, clock: Callable[[float], None]
) -> None:
    with HoldfastStore(db, ttl={"default_ttl": 1, "refresh_on_read": False}) as store:
        store.put(HERE, "k", {"v": 1})
        store.put(HERE, "kept", {"v": 1}, ttl=None)
        clock(2)
        done = store.start_ttl_sweeper(0.0005)
        deadline = time.monotonic() + 60
        while db.count(ITEMS) > 1 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert db.count(ITEMS) == 1
        assert store.stop_ttl_sweeper()
        assert done.result(60) is None


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), "5", True])
def test_a_time_to_live_is_a_number_of_minutes(store: HoldfastStore, ttl: Any) -> None:
    with pytest.raises(InvalidQuery):
        store.put(HERE, "k", {}, ttl=ttl)
    assert store.search(()) == []


# What is refused


@pytest.mark.parametrize(
    "namespace",
    [(), ("a.b",), ("",), ("a", ""), ("nul\0",), ("\ud800",), (1,), "text", None, ("a", None)],
    ids=repr,
)
def test_a_namespace_that_cannot_be_is_refused_also_in_a_batch(
    store: HoldfastStore, db: holdfast.Database, namespace: Any
) -> None:
    with pytest.raises((ValueRefused, InvalidNamespaceError)):
        store.batch([PutOp(HERE, "good", {"v": 1}), PutOp(namespace, "k", {"v": 1})])
    if namespace != ():
        for op in (GetOp(namespace, "k"), SearchOp(namespace)):
            with pytest.raises((ValueRefused, InvalidNamespaceError)):
                store.batch([PutOp(HERE, "good", {"v": 1}), op])
    assert db.count(ITEMS) == 0


@pytest.mark.parametrize(
    "value",
    [
        {"v": ...},
        {"v": float("nan")},
        {"v": (1, 2)},
        {1: 2},
        {"v": "\0"},
        {"v": "\ud800"},
        {"v": {1}},
        [1],
        "text",
    ],
    ids=repr,
)
@pytest.mark.parametrize("index", [None, INDEX], ids=["plain", "index"])
def test_a_value_that_json_would_change_is_refused_and_nothing_of_the_batch_written(
    db: holdfast.Database, value: Any, index: Any
) -> None:
    store = HoldfastStore(db, index=index and {**index, "fields": ["$"]})
    with pytest.raises(ValueRefused):
        store.batch([PutOp(HERE, "good", {"v": 1}), PutOp(HERE, "bad", value)])
    assert db.count(ITEMS) == 0


@pytest.mark.parametrize("key", ["\0", "\ud800", 1, None])
def test_a_key_that_cannot_be_is_refused(store: HoldfastStore, key: Any) -> None:
    with pytest.raises(ValueRefused):
        store.batch([PutOp(HERE, key, {})])


@pytest.mark.parametrize(
    "filter",
    [
        {"n": {"$gtt": 1}},
        {"n": {"$gt": None}},
        {"n": {"$gt": 1, "x": 2}},
        {"n": {"$lt": [1]}},
        {1: 2},
        "text",
        {"n": ...},
    ],
    ids=repr,
)
def test_a_filter_that_is_not_understood_is_refused(store: HoldfastStore, filter: Any) -> None:
    store.put(HERE, "k", {"n": 1})
    with pytest.raises(Error):
        store.search((), filter=filter)


def test_filters_compare_by_type(store: HoldfastStore) -> None:
    for key, value in {"int": 1, "float": 1.0, "text": "1", "true": True, "null": None, "ten": 10}.items():
        store.put(HERE, key, {"v": value})
    store.put(HERE, "none", {})

    def found(wanted: Any) -> set[str]:
        return {item.key for item in store.search((), filter={"v": wanted}, limit=20)}

    assert found(1) == {"int", "float"}
    assert found("1") == {"text"}
    assert found(True) == {"true"}
    assert found(None) == {"null", "none"}
    assert found({"$gt": 2}) == {"ten"}
    assert found({"$gte": "0"}) == {"text"}
    assert found({"$ne": 1}) == {"text", "true", "null", "ten", "none"}


@pytest.mark.parametrize("bad", [-1, 1.5, "1", True])
def test_limits_are_whole_numbers(store: HoldfastStore, bad: Any) -> None:
    for op in (SearchOp((), limit=bad), SearchOp((), offset=bad), ListNamespacesOp(limit=bad)):
        with pytest.raises(InvalidQuery):
            store.batch([op])


def test_a_closed_one_says_so(url: str) -> None:
    store = HoldfastStore(url)
    store.close()
    with pytest.raises(ClosedError):
        store.put(HERE, "k", {})
    with pytest.raises(ClosedError):
        asyncio.run(store.aget(HERE, "k"))


# Batches and transactions


def test_a_batch_reads_first_and_writes_the_last_of_each_key(store: HoldfastStore) -> None:
    store.put(HERE, "k", {"v": 0})
    found = store.batch(
        [
            PutOp(HERE, "k", {"v": 1}),
            GetOp(HERE, "k"),
            PutOp(HERE, "k", {"v": 2}),
            PutOp(HERE, "new", {}),
            SearchOp(()),
        ]
    )
    assert [found[0], found[2], found[3]] == [None] * 3
    assert found[1].value == {"v": 0}  # type: ignore[union-attr]
    assert len(found[4]) == 1  # type: ignore[arg-type]
    assert [item.value for item in store.search(())] == [{"v": 2}, {}]


def test_many_at_once_and_deep_offsets(store: HoldfastStore) -> None:
    store.batch([PutOp(HERE, f"{n:04}", {"n": n}) for n in range(1200)])
    assert [item.value["n"] for item in store.search(HERE, limit=3, offset=1190)] == [1190, 1191, 1192]
    deep = store.search(HERE, filter={"n": {"$gte": 1100}}, limit=3, offset=90)
    assert [item.value["n"] for item in deep] == [1190, 1191, 1192]
    assert all(store.batch([GetOp(HERE, f"{n:04}") for n in range(1200)]))
    store.batch([PutOp(HERE, f"{n:04}", None) for n in range(1199)])
    assert [item.key for item in store.search(())] == ["1199"]


def test_it_takes_part_in_the_transaction_of_the_thread(db: holdfast.Database) -> None:
    store = HoldfastStore(db, index=INDEX)

    def all_of_it() -> None:
        with db.transaction():
            store.put(HERE, "k", {"text": "a"})
            assert store.search((), query="a")[0].score == pytest.approx(1)
            raise KeyError

    with pytest.raises(KeyError):
        all_of_it()
    assert (db.count(ITEMS), db.count(VECTORS)) == (0, 0)
    assert store.search((), query="a") == []
    with pytest.raises(TransactionError), db.transaction():
        asyncio.run(store.aput(HERE, "k", {}))


def test_a_plain_put_and_get_are_one_statement(
    store: HoldfastStore, db: holdfast.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(HERE, "k", {})
    sent: list[str] = []
    executor = db._executor
    plain_send, plain_fetch = executor.send, executor.fetch
    monkeypatch.setattr(executor, "send", lambda sql, *a: sent.append(sql) or plain_send(sql, *a))
    monkeypatch.setattr(executor, "fetch", lambda sql, *a, **k: sent.append(sql) or plain_fetch(sql, *a, **k))
    store.get(HERE, "k")
    store.search(HERE, filter={"a": 1})
    store.list_namespaces()
    assert len(sent) == 3
    sent.clear()
    store.put(HERE, "k", {})
    assert len(sent) == (1 if executor.engine.features.writes_in_with else 2)


# Vectors


def test_the_vectors_of_an_item_are_those_of_its_last_value(db: holdfast.Database) -> None:
    store = HoldfastStore(db, index={**INDEX, "fields": ["text", "more[*]"]})
    store.put(HERE, "k", {"text": "a", "more": ["e", "i"]})
    store.put(HERE, "other", {"text": "o"})
    assert [item.key for item in store.search((), query="i")] == ["k", "other"]
    store.put(HERE, "k", {"text": "u"})
    assert db.count(VECTORS) == 2
    assert store.search((), query="u")[0].score == pytest.approx(1)
    assert store.search((), query="i")[0].score < 0.9  # type: ignore[operator]
    HoldfastStore(db).put(HERE, "k", {"text": "aeiou"})
    assert db.count(VECTORS) == 1
    assert [(item.key, item.score is None) for item in store.search((), query="u")] == [
        ("other", False),
        ("k", True),
    ]
    store.delete(HERE, "other")
    assert db.count(VECTORS) == 0


def test_what_another_process_wrote_is_found(url: str) -> None:
    with HoldfastStore(url, index=INDEX) as one, HoldfastStore(url, index=INDEX) as other:
        one.put(HERE, "a", {"text": "a"})
        assert [item.key for item in other.search((), query="a")] == ["a"]
        one.put(HERE, "e", {"text": "e"})
        one.delete(HERE, "a")
        one.put(HERE, "b", {"text": "aa"})
        assert [item.key for item in other.search((), query="a")] == ["b", "e"]


def test_an_index_that_does_not_fit_is_refused(db: holdfast.Database) -> None:
    HoldfastStore(db, index=INDEX).put(HERE, "k", {"text": "a"})
    for index in (
        {},
        {"dims": 5},
        {"dims": 0, "embed": embed},
        {"dims": "5", "embed": embed},
        {**INDEX, "dims": 6},
    ):
        with pytest.raises(ConfigurationError):
            HoldfastStore(db, index=index)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [[[1.0]], [], [[0.0] * 5], [[float("nan")] * 5], [["x"] * 5]],
    ids=["short", "none", "zero", "nan", "text"],
)
def test_wrong_vectors_are_refused_and_nothing_is_written(db: holdfast.Database, wrong: Any) -> None:
    store = HoldfastStore(db, index={**INDEX, "embed": lambda texts: wrong})
    with pytest.raises(ValueRefused):
        store.put(HERE, "k", {"text": "a"})
    store.put(HERE, "unindexed", {"text": "a"}, index=False)
    # LangGraph's own wrapper takes the first of none.
    with pytest.raises(ValueRefused if wrong else IndexError):
        store.search((), query="a")
    assert db.count(ITEMS) == 1


# The event loop


class Rounds:
    """How often the loop came round, for what is slow to wait for; a loop that is blocked does not."""

    def __init__(self) -> None:
        self._come = threading.Condition()
        self._number = 0

    async def beside(self, slow: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """What comes of something slow, while the loop comes round."""
        task = asyncio.ensure_future(slow())
        while not task.done():
            await asyncio.sleep(0.005)
            with self._come:
                self._number += 1
                self._come.notify_all()
        return task.result()

    def wait(self) -> None:
        with self._come:
            wanted = self._number + 4
            assert self._come.wait_for(lambda: self._number >= wanted, 60), "the event loop is blocked"


async def test_the_event_loop_goes_on_while_the_database_is_slow(
    db: holdfast.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = Rounds()

    class Embedder:
        def __call__(self, texts: list[str]) -> list[list[float]]:
            rounds.wait()
            return embed(texts)

    store = HoldfastStore(db, index={**INDEX, "embed": Embedder()})
    saver = HoldfastSaver(db)
    executor = db._executor
    plain_fetch, plain_send = executor.fetch, executor.send
    threads: set[str] = set()

    def slowly(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **options: Any) -> Any:
            threads.add(threading.current_thread().name)
            rounds.wait()
            return call(*args, **options)

        return run

    monkeypatch.setattr(executor, "fetch", slowly(plain_fetch))
    monkeypatch.setattr(executor, "send", slowly(plain_send))
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": "1"}}

    async def listed() -> list[Any]:
        return [found async for found in saver.alist(None)]

    for slow in (
        lambda: store.aput(HERE, "k", {"text": "a"}),
        lambda: store.aget(HERE, "k"),
        lambda: store.asearch((), query="a"),
        lambda: saver.aput_writes(config, [("a", 1)], "task"),
        lambda: saver.aget_tuple(config),
        listed,
    ):
        await rounds.beside(slow)
    assert all(name.startswith("holdfast") for name in threads)
    await store.aclose()
    await saver.aclose()


async def test_asynchronous_calls_run_at_once_and_see_the_callers_context(db: holdfast.Database) -> None:
    store, seen = HoldfastStore(db), contextvars.ContextVar("seen", default="no")
    await asyncio.gather(*(store.aput(HERE, f"{n}", {"n": n}) for n in range(40)))
    assert len(await store.asearch(HERE, limit=100)) == 40
    seen.set("yes")
    assert await store._apart(seen.get) == "yes"
    await store.aclose()


async def test_a_cancelled_call_that_had_not_begun_does_nothing(db: holdfast.Database) -> None:
    store, go_on = HoldfastStore(db), threading.Event()
    busy = [asyncio.ensure_future(store._apart(go_on.wait)) for _ in range(4)]
    await asyncio.sleep(0.05)
    waiting = asyncio.ensure_future(store.aput(HERE, "k", {}))
    await asyncio.sleep(0.05)
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    go_on.set()
    await asyncio.gather(*busy)
    assert await store.aget(HERE, "k") is None
    assert waiting.cancelled()
    await store.aclose()


async def test_closing_waits_for_what_has_begun(url: str) -> None:
    store = HoldfastStore(url)
    await store.aput(HERE, "k", {"v": 1})
    puts = [asyncio.ensure_future(store.aput(HERE, f"{n}", {})) for n in range(4)]
    await asyncio.sleep(0)
    await store.aclose()
    ended = await asyncio.gather(*puts, return_exceptions=True)
    kept = sum(not isinstance(each, BaseException) for each in ended)
    with HoldfastStore(url) as again:
        assert len(again.search(HERE, limit=10)) == 1 + kept


async def test_closing_refuses_what_has_not_begun(url: str) -> None:
    """Nobody cancelled these calls, so that nothing may look as if: not as a cancelled task either."""
    store, go_on, begun = HoldfastStore(url), threading.Event(), threading.Semaphore(0)

    def wait() -> None:
        begun.release()
        go_on.wait()

    busy = [asyncio.ensure_future(store._apart(wait)) for _ in range(4)]
    for _ in busy:
        await asyncio.to_thread(begun.acquire)
    waiting = asyncio.ensure_future(store.aput(HERE, "k", {}))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(store.aclose())
    try:
        with pytest.raises(ClosedError):
            await waiting
    finally:
        go_on.set()
        await asyncio.gather(*busy, closing)


FORKED = """
import asyncio, os, signal, sys
from holdfast.memory.langgraph import HoldfastStore

async def put(key):
    await asyncio.gather(*(store.aput(("a",), f"{key}{n}", {}) for n in range(8)))

store = HoldfastStore(sys.argv[1])
asyncio.run(put("parent"))
child = os.fork()
if child == 0:
    signal.alarm(60)
    asyncio.run(put("child"))
    store.close()
    os._exit(0)
_, status = os.waitpid(child, 0)
print(status, len(store.search(("a",), limit=100)))
store.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_asynchronous_calls_work_in_the_child_of_a_fork(url: str) -> None:
    run = [sys.executable, "-c", FORKED, url]
    done = subprocess.run(run, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("0 16\n", "")


def test_a_lost_connection_comes_back(url: str) -> None:
    if url.startswith("sqlite"):
        pytest.skip("a file has no connection to lose")
    with holdfast.connect(url) as admin, HoldfastStore(url) as store, HoldfastSaver(url) as saver:
        store.put(HERE, "k", {"v": 1})
        for _ in range(2):
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            )
            assert store.get(HERE, "k") is not None
            assert list(saver.list(None)) == []


def test_a_namespace_that_only_begins_alike_is_another_one(db: holdfast.Database) -> None:
    store = HoldfastStore(db)
    for last in ("ada", "ada!", "ada-", "ada/", "ada0", "adam", "ad", "\x01"):
        store.put(("users", last), "k", {"of": last})
        store.put(("users", last, "below"), "k", {"of": last})
    found = store.search(("users", "ada"), limit=99)
    assert [item.namespace for item in found] == [("users", "ada"), ("users", "ada", "below")]


@pytest.mark.parametrize("is_there_before", [False, True])
def test_a_put_without_an_index_at_the_same_moment_leaves_no_vector_of_the_other(
    url: str, is_there_before: bool
) -> None:
    with holdfast.connect(url) as db, HoldfastStore(url, index=INDEX) as indexed, HoldfastStore(url) as plain:
        ours = HoldfastStore(db, index=INDEX)
        if is_there_before:
            indexed.put(HERE, "k", {"text": "the first"})
        other = threading.Thread(target=plain.put, args=(HERE, "k", {"text": "the last"}))
        with db.transaction():
            ours.put(HERE, "k", {"text": "the one between"})
            other.start()
            # A file lets nobody else write meanwhile; a server has a list of those that wait.
            while not url.startswith("sqlite") and other.is_alive():
                if db.query("SELECT 1 FROM pg_locks WHERE NOT granted"):
                    break
                time.sleep(0.01)
        other.join()
        assert plain.get(HERE, "k").value == {"text": "the last"}
        assert db.count(VECTORS) == 0
        assert [item.score for item in indexed.search(HERE, query="the one between")] == [None]
