"""LangGraph's checkpoints and items: the work that every saver and store does, ours and LangGraph's own."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from measure import US, Case, Contender, rows

ITEMS = rows(1_000)
CHECKPOINTS = rows(50)
Ways = dict[str, Callable[[int], object]]
MESSAGES = [
    kind(f"{number}: what was said in this turn of the conversation, a line or two of text")
    for number in range(10)
    for kind in (HumanMessage, AIMessage)
]
WRITES = [("messages", [AIMessage("the next answer")]), ("branch:to:tools", None)]
HERE = ("users", "ada", "memories")


def _checkpoint(step: int, versions: dict[str, Any]) -> dict[str, Any]:
    return {
        **empty_checkpoint(),
        "id": str(uuid6(clock_seq=step)),
        "channel_values": {"messages": MESSAGES, "step": step, "summary": "a short one", "done": False},
        "channel_versions": versions,
        "versions_seen": {"agent": versions, "__input__": {}},
    }


class _Steps:
    """A graph that goes on, one checkpoint after the other, of which the messages change each time."""

    def __init__(self, saver: Any, thread: str) -> None:
        self.saver = saver
        self.config: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
        self.version: Any = None
        self.numbers = itertools.count()

    def go_on(self, count: int) -> None:
        for _ in range(count):
            step = next(self.numbers)
            self.version = self.saver.get_next_version(self.version, None)
            versions = dict.fromkeys(("messages", "step", "summary", "done"), self.version)
            metadata: Any = {"source": "loop", "step": step, "parents": {}, "run_id": "a run"}
            self.config = self.saver.put(self.config, _checkpoint(step, versions), metadata, versions)


def with_saver(saver: Any) -> Ways:
    steps, tasks = _Steps(saver, "going on"), itertools.count()
    other = _Steps(saver, "to be read")
    other.go_on(CHECKPOINTS)
    saver.put_writes(other.config, WRITES, "a task")
    latest: Any = {"configurable": {"thread_id": "to be read", "checkpoint_ns": ""}}

    def put_writes(count: int) -> None:
        for _ in range(count):
            saver.put_writes(steps.config, WRITES, f"task {next(tasks)}")

    def get_tuple(count: int) -> None:
        for _ in range(count):
            found = saver.get_tuple(latest)
            if len(found.checkpoint["channel_values"]["messages"]) != len(MESSAGES):
                raise RuntimeError("another checkpoint")

    steps.go_on(1)
    return {"put": steps.go_on, "put_writes": put_writes, "get_tuple": get_tuple}


def with_store(store: Any) -> Ways:
    for number in range(ITEMS):
        store.put(HERE, f"{number}", _item(number))
    turns = itertools.count()

    def put(count: int) -> None:
        for _ in range(count):
            number = next(turns)
            store.put(HERE, f"{number % ITEMS}", _item(number))

    def get(count: int) -> None:
        for _ in range(count):
            if store.get(HERE, f"{next(turns) % ITEMS}") is None:
                raise RuntimeError("no item")

    def search(count: int) -> None:
        for _ in range(count):
            if not store.search(HERE[:2], filter={"kind": f"kind {next(turns) % 7}"}, limit=10):
                raise RuntimeError("nothing found")

    return {"put": put, "get": get, "search": search}


def _item(number: int) -> dict[str, Any]:
    return {"text": "Ada drinks tea without sugar", "kind": f"kind {number % 7}", "sure": number / 4}


def cases_of(savers: dict[str, Ways], stores: dict[str, Ways]) -> list[Case]:
    return [
        *(_case(f"saver, {verb}", verb, savers, calls) for verb, calls in _CALLS_OF_SAVERS.items()),
        *(_case(f"store, {verb}", verb, stores, calls) for verb, calls in _CALLS_OF_STORES.items()),
    ]


_CALLS_OF_SAVERS = {"put": 100, "put_writes": 200, "get_tuple": 100}
_CALLS_OF_STORES = {"put": 200, "get": 500, "search": 20}


def _case(name: str, verb: str, all_ways: dict[str, Ways], calls: int) -> Case:
    # LangGraph's own is what we are set against.
    names = sorted(all_ways, key=lambda who: who == US)
    return Case(name, tuple(Contender(who, all_ways[who][verb]) for who in names), calls, 1.0)
