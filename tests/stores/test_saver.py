"""The checkpointer beyond LangGraph's own suite: what is kept, shared, refused and cleaned away."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import Checkpoint, empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import ERROR
from pydantic import BaseModel, ConfigDict, Field, RootModel, computed_field

import holdfast
from holdfast.errors import (
    AlreadyExists,
    ClosedError,
    ConfigurationError,
    InvalidQuery,
    NotFoundError,
    TransactionError,
    ValueRefused,
)
from holdfast.memory.langgraph import HoldfastSaver, HoldfastStore, threads
from holdfast.memory.langgraph.checkpoints import LONGEST_OWN
from holdfast.memory.langgraph.serialising import Serialiser
from holdfast.memory.langgraph.tables import BLOBS, CHECKPOINTS, WRITES

LARGE = "long " * (LONGEST_OWN // 5 + 1)
OTHER = LARGE.replace("long", "else")
MIDDLING = "some " * 100


@pytest.fixture
def saver(db: holdfast.Database) -> HoldfastSaver:
    return HoldfastSaver(db)


def named(thread: Any = "t", namespace: str = "", **more: Any) -> Any:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": namespace, **more}}


def made(values: dict[str, Any], versions: dict[str, Any] | None = None) -> Checkpoint:
    versions = dict.fromkeys(values, 1) if versions is None else versions
    return {
        **empty_checkpoint(),
        "id": str(uuid6()),
        "channel_values": values,
        "channel_versions": versions,
    }


def put(
    saver: Any,
    values: dict[str, Any],
    versions: dict[str, Any] | None = None,
    *,
    after: Any = None,
    **more: Any,
) -> Any:
    checkpoint = made(values, versions)
    config = named() if after is None else after
    return saver.put(
        config, checkpoint, {"source": "loop", "step": 0, **more}, checkpoint["channel_versions"]
    )


def values_of(saver: Any, config: Any) -> Any:
    found = saver.get_tuple(config)
    return None if found is None else found.checkpoint["channel_values"]


def rows(db: holdfast.Database) -> tuple[int, int, int]:
    return db.count(CHECKPOINTS), db.count(BLOBS), db.count(WRITES)


VALUES = {
    "nothing": None,
    "text": LARGE,
    "short": "x",
    "bytes": b"\x00\xff" * 200,
    "messages": [HumanMessage("hello", id="1")],
    "exact": {"decimal": Decimal("1.10"), "set": {1, 2}, "deep": [[{"a": [1.5, True, None]}]]},
}


def test_values_come_back_as_they_were(saver: HoldfastSaver) -> None:
    config = put(saver, VALUES)
    found = saver.get_tuple(config)
    assert found is not None
    assert found.checkpoint["channel_values"] == VALUES
    assert found.config == config
    assert found.metadata == {"source": "loop", "step": 0}
    assert [each.checkpoint for each in saver.list(named())] == [found.checkpoint]


def test_a_large_value_is_written_once_for_each_of_its_versions(
    saver: HoldfastSaver, db: holdfast.Database
) -> None:
    first = put(saver, {"a": LARGE, "b": LARGE}, {"a": 1, "b": 1})
    checkpoint = made({"a": LARGE, "b": OTHER}, {"a": 1, "b": 2})
    second = saver.put(first, checkpoint, {}, {"b": 2})
    assert values_of(saver, second) == checkpoint["channel_values"]
    assert values_of(saver, first) == {"a": LARGE, "b": LARGE}
    assert rows(db) == (2, 3, 0)


@pytest.mark.parametrize("length", [100, LONGEST_OWN])
def test_a_value_that_stays_gets_a_row_of_its_own_and_outlives_its_checkpoint(
    saver: HoldfastSaver, db: holdfast.Database, length: int
) -> None:
    values = {"a": ["x" * length], "b": 0}
    first = config = put(saver, values)
    for number in range(1, 4):
        checkpoint = made({**values, "b": number}, {"a": 1, "b": number + 1})
        config = saver.put(config, checkpoint, {"run_id": "later"}, {"b": number + 1})
    assert rows(db) == (4, 1, 0)
    assert values_of(saver, first) == values
    db.delete(CHECKPOINTS, {"checkpoint_id": first["configurable"]["checkpoint_id"]})
    assert [each.checkpoint["channel_values"] for each in saver.list(named())] == [
        {**values, "b": number} for number in (3, 2, 1)
    ]
    saver.delete_for_runs(["later"])
    assert rows(db) == (0, 0, 0)


def test_a_value_that_stays_is_found_again_without_its_parent(
    saver: HoldfastSaver, db: holdfast.Database
) -> None:
    # Its parent was removed, has another version of it, or never was.
    put(saver, {"a": MIDDLING}, {"a": 1})
    for parent in (named(checkpoint_id="gone"), put(saver, {"a": OTHER}, {"a": 2}), named()):
        checkpoint = made({"a": MIDDLING, "b": 1}, {"a": 1, "b": 1})
        assert values_of(saver, saver.put(parent, checkpoint, {}, {"b": 1}))["a"] == MIDDLING
    assert db.count(BLOBS, {"version": "1"}) == 1


def test_branches_of_a_thread_keep_their_own_values(saver: HoldfastSaver) -> None:
    start = put(saver, {"a": LARGE}, {"a": saver.get_next_version(None, None)})
    branches = {}
    for word in ("left ", "right "):
        version = saver.get_next_version("00000000000000000000000000000001.5", None)
        branches[word] = put(saver, {"a": word * 200}, {"a": version}, after=start)
    assert {word: values_of(saver, config)["a"] for word, config in branches.items()} == {
        word: word * 200 for word in branches
    }


def test_put_put_writes_and_get_tuple_are_one_statement_and_one_more_for_long_values(
    saver: HoldfastSaver, db: holdfast.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, long = put(saver, {"a": MIDDLING}), put(saver, {"a": LARGE}, after=named("long"))
    sent: list[str] = []
    executor = db._executor
    plain_send, plain_fetch = executor.send, executor.fetch
    monkeypatch.setattr(executor, "send", lambda sql, *a: sent.append(sql) or plain_send(sql, *a))
    monkeypatch.setattr(executor, "fetch", lambda sql, *a, **k: sent.append(sql) or plain_fetch(sql, *a, **k))
    saver.get_tuple(config)
    assert len(sent) == 1
    sent.clear()
    saver.get_tuple(long)
    assert len(sent) == 2
    sent.clear()
    saver.put_writes(config, [("a", 1), ("b", LARGE)], "task")
    assert len(sent) == 1
    sent.clear()
    put(saver, {"a": MIDDLING, "b": MIDDLING})
    assert len(sent) == 1
    sent.clear()
    put(saver, {"a": LARGE, "b": LARGE})
    assert len(sent) == (1 if executor.engine.features.writes_in_with else 2)


def test_a_task_that_is_run_again_keeps_its_writes_and_replaces_its_error(saver: HoldfastSaver) -> None:
    config = put(saver, {})
    for saw in ("first", "second"):
        saver.put_writes(config, [("a", saw), (ERROR, saw)], "task", "path")
    found = saver.get_tuple(config)
    assert found is not None
    assert found.pending_writes == [("task", ERROR, "second"), ("task", "a", "first")]


def test_writes_are_in_the_order_of_their_tasks(saver: HoldfastSaver) -> None:
    memory = InMemorySaver()
    config = named(checkpoint_id="1")
    for each in (saver, memory):
        each.put(named(), {**made({}), "id": "1"}, {}, {})
        for number, (task, path) in enumerate([("b", "z"), ("a", "z"), ("c", ""), ("d", "é"), ("e", "Z")]):
            each.put_writes(config, [("x", number), ("y", number)], task, path)
    assert saver.get_tuple(config).pending_writes == memory.get_tuple(config).pending_writes  # type: ignore[union-attr]


def test_listing_in_portions_finds_each_once(saver: HoldfastSaver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.memory.langgraph.saver.PAGE", 3)
    ids = []
    for number in range(11):
        config = put(
            saver, {"n": number, "large": LARGE}, after=named(f"t{number % 2}"), even=number % 2 == 0
        )
        saver.put_writes(config, [("c", number)], "task")
        ids.append(config["configurable"]["checkpoint_id"])
    found = list(saver.list(None))
    assert [each.checkpoint["id"] for each in found] == ids[::-1]
    assert [each.pending_writes for each in found] == [[("task", "c", n)] for n in range(10, -1, -1)]
    assert [
        each.checkpoint["channel_values"]["n"] for each in saver.list(None, filter={"even": True}, limit=4)
    ] == [*(10, 8, 6, 4)]
    before = named("t1", checkpoint_id=ids[5])
    assert [each.checkpoint["id"] for each in saver.list(named("t1"), before=before)] == [ids[3], ids[1]]
    assert list(saver.list(None, limit=0)) == []


FILTERS: list[dict[str, Any]] = [
    {"n": 1},
    {"n": 1.5},
    {"n": "1"},
    {"missing": None},
    {"nested": {"a": [1]}},
    {"text": "50%_"},
    {"big": 2**63},
    {"k\0": 1},
    {"text": "\ud800"},
    {"text": "tä", "n": 1},
    {},
]


@pytest.mark.parametrize("filter", FILTERS, ids=repr)
def test_filters_find_what_langgraphs_own_saver_finds(saver: HoldfastSaver, filter: dict[str, Any]) -> None:
    memory = InMemorySaver()
    metadata: list[dict[str, Any]] = [
        {"n": 1, "text": "50%_"},
        {"n": 1.5, "text": "50xx"},
        {"n": "1", "nested": {"a": [1]}},
        {"missing": None, "big": 2**63},
        {"n": 1, "text": "tä"},
    ]
    for more in metadata:
        checkpoint = made({})
        for each in (saver, memory):
            each.put(named(), checkpoint, more, {})  # type: ignore[arg-type]
    wanted = [each.checkpoint["id"] for each in memory.list(named(), filter=filter)]
    assert [each.checkpoint["id"] for each in saver.list(named(), filter=filter)] == wanted


# Threads


def test_removing_leaves_nothing_behind_and_others_as_they_were(
    saver: HoldfastSaver, db: holdfast.Database
) -> None:
    kept = put(saver, {"a": LARGE}, after=named("other"))
    saver.put_writes(kept, [("c", 1)], "task")
    first = put(saver, {"a": LARGE, "b": LARGE}, {"a": 1, "b": 1}, run_id="r1")
    last = put(saver, {"a": LARGE, "b": OTHER}, {"a": 1, "b": 2}, after=first, run_id="r2")
    for config in (first, last):
        saver.put_writes(config, [("c", 1)], "task")
    saver.delete_for_runs(["r1"])
    assert rows(db) == (2, 3, 2)
    assert values_of(saver, last) == {"a": LARGE, "b": OTHER}
    saver.delete_thread("t")
    assert rows(db) == (1, 1, 1)
    assert values_of(saver, kept) == {"a": LARGE}


def test_prune_keeps_what_the_latest_checkpoint_is_made_of(
    saver: HoldfastSaver, db: holdfast.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "PORTION", 3)
    config = None
    for number in range(4):
        config = put(saver, {"a": LARGE, "b": f"{number} {LARGE}"}, {"a": 1, "b": number}, after=config)
    saver.prune(["t"])
    assert rows(db) == (1, 2, 0)
    assert values_of(saver, named()) == {"a": LARGE, "b": f"3 {LARGE}"}


@pytest.mark.parametrize("text", [MIDDLING, LARGE], ids=["in its row", "apart"])
def test_prune_keeps_the_changes_of_a_channel_back_to_its_snapshot(saver: HoldfastSaver, text: str) -> None:
    configs: list[Any] = [None]
    for number in range(6):
        values: dict[str, Any] = {"delta": [text, number]} if number in (0, 2) else {}
        config = put(
            saver,
            values,
            {"delta": number},
            after=configs[-1],
            counters_since_delta_snapshot={"delta": (1, 1)},
        )
        saver.put_writes(config, [("delta", number)], "task")
        configs.append(config)
    before = saver.get_delta_channel_history(config=configs[-1], channels=["delta"])
    saver.prune(["t"])
    assert len(list(saver.list(named()))) == 4
    assert saver.get_delta_channel_history(config=configs[-1], channels=["delta"]) == before
    assert before["delta"]["seed"] == [text, 2]


def test_a_copied_thread_has_everything_and_lives_on_its_own(
    saver: HoldfastSaver, db: holdfast.Database
) -> None:
    config = put(saver, {"a": LARGE})
    saver.put_writes(config, [("c", 1)], "task")
    saver.copy_thread("t", "copy")
    saver.delete_thread("t")
    found = saver.get_tuple(named("copy"))
    assert found is not None
    assert found.checkpoint["channel_values"] == {"a": LARGE}
    assert found.pending_writes == [("task", "c", 1)]
    with pytest.raises(NotFoundError):
        saver.copy_thread("t", "copy")
    put(saver, {})
    with pytest.raises(AlreadyExists):
        saver.copy_thread("t", "copy")
    assert rows(db) == (2, 1, 1)


def test_retain_prunes_the_threads_that_were_not_used(saver: HoldfastSaver, db: holdfast.Database) -> None:
    for thread in ("old", "new"):
        put(saver, {}, after=put(saver, {}, after=named(thread)))
    db.update(CHECKPOINTS, {"written_at": 0}, {"thread_id": "old"})
    assert saver.retain(timedelta(days=1), strategy="keep_latest") == 1
    assert [len(list(saver.list(named(thread)))) for thread in ("old", "new")] == [1, 2]
    assert saver.retain(3600) == 1
    assert [len(list(saver.list(named(thread)))) for thread in ("old", "new")] == [0, 2]
    with pytest.raises(InvalidQuery):
        saver.retain(-1)


# What is refused


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"configurable": {}},
        named(""),
        named(None),
        named(True),
        named("nul\0"),
        named("\ud800"),
        named(namespace="\0"),
        named(namespace=1),  # type: ignore[arg-type]
        named(checkpoint_id=b"x"),
    ],
    ids=repr,
)
def test_a_config_that_names_nothing_is_refused(
    saver: HoldfastSaver, db: holdfast.Database, config: Any
) -> None:
    for call in (
        lambda: saver.put(config, made({"a": LARGE}), {}, {"a": 1}),
        lambda: saver.put_writes(config, [("a", 1)], "task"),
        lambda: saver.get_tuple(config),
        lambda: list(saver.list(config)),
    ):
        with pytest.raises((ConfigurationError, ValueRefused)):
            call()
    assert rows(db) == (0, 0, 0)


@pytest.mark.parametrize(
    "thread", ["a.b", "🦊" * 50, "x'; DROP TABLE t;--", "%", "_", " ", "a\nb", "é" * 500]
)
def test_any_text_names_a_thread(saver: HoldfastSaver, thread: str) -> None:
    config = put(saver, {"a": LARGE}, after=named(thread, thread))
    assert values_of(saver, named(thread, thread)) == {"a": LARGE}
    assert saver.get_tuple(named(thread + "x")) is None
    assert config["configurable"]["thread_id"] == thread


def test_what_cannot_be_serialised_is_refused_whole(saver: HoldfastSaver, db: holdfast.Database) -> None:
    class Odd:
        def model_dump(self) -> Any:
            raise RuntimeError("secret")

    for bad in (object(), lambda: None, threading.Lock(), 2**70, [Odd()]):
        with pytest.raises(ValueRefused) as caught:
            put(saver, {"good": LARGE, "bad": [bad]})
        assert "secret" not in str(caught.value)
        with pytest.raises(ValueRefused):
            saver.put_writes(named(checkpoint_id="1"), [("good", 1), ("bad", bad)], "task")
    with pytest.raises(ValueRefused):
        saver.put_writes(named(checkpoint_id="1"), [("good", 1), ("bad\0", 1)], "task")
    with pytest.raises(ValueRefused):
        put(saver, {"bad\0": LARGE})
    assert rows(db) == (0, 0, 0)


def test_metadata_may_hold_what_json_cannot(saver: HoldfastSaver) -> None:
    metadata: Any = {
        "step": 1,
        "odd": {"nul": "\0", "nan": [float("inf")], 1: {2}},
        "big": 2**64 - 1,
        "é": "\0",
    }
    saver.put(named(), made({}), metadata, {})
    (found,) = saver.list(named(), filter={"step": 1})
    assert found.metadata == {**metadata, "é": ""}


class Custom:
    """Not on the list."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Custom) and self.value == other.value

    __hash__ = None  # type: ignore[assignment]

    def dict(self) -> Any:
        return {"value": self.value}


class Point(BaseModel):
    model_config = ConfigDict(extra="allow")
    x: int = Field(alias="the x")
    when: datetime = datetime(2026, 1, 2, tzinfo=UTC)

    @computed_field
    def doubled(self) -> int:
        return 2 * self.x


class Dumping(Point):
    def model_dump(self, **options: Any) -> dict[str, Any]:
        return {"x": "another way"}


class Numbers(RootModel[list[int]]):
    pass


def test_our_serialiser_writes_what_langgraphs_own_writes() -> None:
    point = Point(**{"the x": 1, "more": Decimal(2)})
    messages = [
        HumanMessage("hi", id="1"),
        AIMessage("ho", tool_calls=[{"name": "f", "args": {}, "id": "2"}]),
    ]
    value = [point, Dumping(**{"the x": 3}), Numbers([1, 2]), messages, {"set": {point.when}}, uuid4(), None]
    for each in (value, None, b"x", bytearray(b"x"), "x", messages[0]):
        assert Serialiser().dumps_typed(each) == JsonPlusSerializer().dumps_typed(each)
    with pytest.raises(TypeError):
        Serialiser().dumps_typed(object())


def test_only_listed_classes_come_back_as_objects(url: str) -> None:
    with HoldfastSaver(url) as saver:
        config = put(saver, {"a": Custom(1)})
        assert values_of(saver, config) == {"a": {"value": 1}}
    with HoldfastSaver(url, allowed_classes=[Custom]) as saver:
        assert values_of(saver, config) == {"a": Custom(1)}


def test_a_serialiser_that_pickles_is_refused(db: holdfast.Database) -> None:
    with pytest.raises(ConfigurationError):
        HoldfastSaver(db, serde=JsonPlusSerializer(pickle_fallback=True))


def test_a_closed_one_says_so(url: str) -> None:
    saver = HoldfastSaver(url)
    saver.close()
    with pytest.raises(ClosedError):
        put(saver, {})
    with pytest.raises(ClosedError):
        asyncio.run(saver.aget_tuple(named()))
    with holdfast.connect(url) as db, HoldfastSaver(db):
        pass
    assert not db.is_open


# Transactions


def test_it_takes_part_in_the_transaction_of_the_thread(saver: HoldfastSaver, db: holdfast.Database) -> None:
    db.create_table("runs", {"id": "INTEGER PRIMARY KEY"})

    def all_of_it() -> None:
        with db.transaction():
            config = put(saver, {"a": LARGE})
            saver.put_writes(config, [("c", 1)], "task")
            db.insert("runs", {"id": 1})
            raise KeyError

    with pytest.raises(KeyError):
        all_of_it()
    assert rows(db) == (0, 0, 0)
    with db.transaction():
        put(saver, {"a": LARGE})
        db.insert("runs", {"id": 1})
    assert rows(db) == (1, 1, 0)
    assert db.count("runs") == 1


def test_tables_that_were_made_in_a_transaction_that_is_rolled_back_are_made_again(
    db: holdfast.Database,
) -> None:
    with suppress(ZeroDivisionError), db.transaction():
        saver, store = HoldfastSaver(db), HoldfastStore(db)
        with suppress(ZeroDivisionError), db.transaction():
            put(saver, VALUES)
            store.put(("n",), "k", {"v": 1})
            raise ZeroDivisionError
        put(saver, VALUES)
        store.put(("n",), "k", {"v": 1})
        assert db.count(CHECKPOINTS) == db.count("hf_store") == 1
        raise ZeroDivisionError
    assert CHECKPOINTS not in db.list_tables()
    assert saver.get_tuple(named()) is None
    assert store.get(("n",), "k") is None
    assert values_of(saver, put(saver, VALUES)) == VALUES
    store.put(("n",), "k", {"v": 2})
    assert store.search(("n",))[0].value == {"v": 2}


def test_an_asynchronous_call_in_a_transaction_is_refused(
    saver: HoldfastSaver, db: holdfast.Database
) -> None:
    async def both() -> None:
        with db.transaction():
            await saver.aget_tuple(named())

    with pytest.raises(TransactionError):
        asyncio.run(both())


CHILD = """
import os, sys
import holdfast
from langgraph.checkpoint.base import empty_checkpoint
from holdfast.memory import Passage, open
from holdfast.memory.langgraph import HoldfastSaver, HoldfastStore

db = holdfast.connect(sys.argv[1])
saver, store, memory = HoldfastSaver(db), HoldfastStore(db), open(db)
stop = int(sys.argv[2])
steps = [
    lambda: saver.put({"configurable": {"thread_id": "t", "checkpoint_ns": ""}},
        {**empty_checkpoint(), "channel_values": {"a": "x" * 99_999}, "channel_versions": {"a": 1}},
        {}, {"a": 1}),
    lambda: store.put(("n",), "k", {"v": 1}),
    lambda: memory.insert(Passage("a memory")),
    lambda: db.insert("runs", {"id": 1}),
]
with db.transaction():
    for number, step in enumerate(steps):
        if number == stop:
            os.kill(os.getpid(), 9)
        step()
    if stop == len(steps):
        os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_a_kill_between_keeps_all_or_nothing(url: str, tmp_path: Path) -> None:
    with holdfast.connect(url) as db:
        db.create_table("runs", {"id": "INTEGER PRIMARY KEY"})

    def counts() -> Iterator[int]:
        with holdfast.connect(url) as db, db.transaction():
            store = holdfast.memory.open(db)
            yield from (db.count("runs"), store.size(), db.count(CHECKPOINTS), db.count(BLOBS))
            yield db.count("hf_store")

    def run(stop: int) -> int:
        return subprocess.run([sys.executable, "-c", CHILD, url, str(stop)], check=False).returncode

    for stop in (2, 4):
        assert run(stop) == -9
        assert set(counts()) == {0}
    assert run(9) == 0
    assert set(counts()) == {1}
