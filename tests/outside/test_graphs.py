"""Compiled graphs of LangGraph on our checkpointer and store: interrupts, other pasts, a killed process."""

from __future__ import annotations

import operator
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, Send, interrupt

import holdfast
from holdfast.memory.langgraph import HoldfastSaver, HoldfastStore
from holdfast.memory.langgraph.tables import CHECKPOINTS


def thread_of(name: str) -> Any:
    return {"configurable": {"thread_id": name}}


HERE = thread_of("ada")


class State(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    seats: Annotated[list[str], operator.add]
    booked: str


def think(state: State, runtime: Runtime[None]) -> State:
    assert runtime.store is not None
    liked = runtime.store.search(("likes",), filter={"seat": {"$ne": "aisle"}})
    return {
        "messages": [AIMessage(f"I look for a {liked[0].value['seat']}.", id=f"a{len(state['messages'])}")]
    }


def each_train(state: State) -> list[Send]:
    return [Send("look", train) for train in ("8:00", "9:00", "10:00")]


def look(train: str) -> State:
    return {"seats": [f"{train} window"]}


def ask(state: State) -> State:
    return {"booked": interrupt({"which": sorted(state["seats"])})}


def graph_of(saver: BaseCheckpointSaver[Any], store: BaseStore) -> Any:
    builder = StateGraph(State)
    for node in (think, look, ask):
        builder.add_node(node.__name__, node)
    builder.add_edge(START, "think")
    builder.add_conditional_edges("think", each_train, ["look"])
    builder.add_edge("look", "ask")
    builder.add_edge("ask", END)
    return builder.compile(checkpointer=saver, store=store)


class Calls:
    """The calls of a graph, by its methods or by those with an ``a``."""

    def __init__(self, graph: Any, is_async: bool) -> None:
        self.graph, self.is_async = graph, is_async

    async def run(self, given: Any, config: Any = HERE, **options: Any) -> Any:
        if self.is_async:
            return await self.graph.ainvoke(given, config, **options)
        return self.graph.invoke(given, config, **options)

    async def state(self, config: Any = HERE) -> Any:
        return await self.graph.aget_state(config) if self.is_async else self.graph.get_state(config)

    async def change(self, config: Any, values: Any) -> Any:
        if self.is_async:
            return await self.graph.aupdate_state(config, values)
        return self.graph.update_state(config, values)

    async def past(self, config: Any = HERE) -> list[Any]:
        if self.is_async:
            return [state async for state in self.graph.aget_state_history(config)]
        return list(self.graph.get_state_history(config))


@pytest.fixture(params=[False, True], ids=["sync", "async"])
async def calls(request: pytest.FixtureRequest, url: str) -> AsyncIterator[Calls]:
    async with HoldfastSaver(url) as saver, HoldfastStore(url) as store:
        await store.aput(("likes",), "ada", {"seat": "window"})
        yield Calls(graph_of(saver, store), request.param)


async def test_a_graph_stops_at_an_interrupt_and_goes_on_with_the_answer(calls: Calls, url: str) -> None:
    stopped = await calls.run({"messages": [HumanMessage("Book me a train.", id="h")]})
    which = ["10:00 window", "8:00 window", "9:00 window"]
    assert [each.value for each in stopped["__interrupt__"]] == [{"which": which}]
    assert (await calls.state()).next == ("ask",)
    # As after a restart: another saver, another connection, another graph.
    with HoldfastSaver(url) as saver, HoldfastStore(url) as store:
        again = Calls(graph_of(saver, store), calls.is_async)
        waiting = await again.state()
        assert [each.value for each in waiting.interrupts] == [{"which": which}]
        done = await again.run(Command(resume="9:00"))
    assert done["booked"] == "9:00"
    assert [message.content for message in done["messages"]] == ["Book me a train.", "I look for a window."]
    assert (await calls.state()).next == ()
    assert (await calls.state()).values == done


async def travelled(calls: Calls) -> list[Any]:
    """What is left after going back twice: once to other values, once to run the same again."""
    await calls.run({"messages": [HumanMessage("Book me a train.", id="h")]})
    await calls.run(Command(resume="9:00"))
    past = await calls.past()
    asked = next(state for state in past if state.next == ("ask",))
    changed = await calls.change(asked.config, {"seats": ["11:00 aisle"]})
    stopped = await calls.run(None, changed)
    assert "11:00 aisle" in stopped["__interrupt__"][0].value["which"]
    assert (await calls.run(Command(resume="11:00")))["booked"] == "11:00"
    before = next(state for state in past if state.next == ("think",))
    await calls.run(None, before.config)
    assert (await calls.state(past[0].config)).values["booked"] == "9:00"
    return [
        (state.next, state.metadata["step"], state.metadata["source"], state.values, len(state.interrupts))
        for state in await calls.past()
    ]


async def test_a_graph_goes_on_from_its_past_and_leaves_what_came_after(calls: Calls) -> None:
    store = InMemoryStore()
    store.put(("likes",), "ada", {"seat": "window"})
    theirs = await travelled(Calls(graph_of(InMemorySaver(), store), calls.is_async))
    assert await travelled(calls) == theirs
    assert [found[0] for found in theirs].count(()) == 2


async def test_threads_of_one_graph_know_nothing_of_each_other(calls: Calls) -> None:
    for thread in ("ada", "eve"):
        await calls.run(
            {"messages": [HumanMessage(thread, id=thread)]}, {"configurable": {"thread_id": thread}}
        )
    await calls.run(Command(resume="8:00"), {"configurable": {"thread_id": "eve"}})
    ada, eve = [await calls.state({"configurable": {"thread_id": thread}}) for thread in ("ada", "eve")]
    assert (ada.next, eve.next) == (("ask",), ())
    assert [state.values["messages"][0].content for state in (ada, eve)] == ["ada", "eve"]


async def test_a_subgraph_keeps_its_own_state_where_it_stopped(url: str) -> None:
    inner = StateGraph(State).add_node("ask", ask).add_edge(START, "ask").add_edge("ask", END).compile()
    builder = StateGraph(State).add_node("before", lambda state: {"seats": ["8:00"]}).add_node("inner", inner)
    builder.add_edge(START, "before").add_edge("before", "inner").add_edge("inner", END)
    async with HoldfastSaver(url) as saver:
        graph = builder.compile(checkpointer=saver)
        await graph.ainvoke({"messages": []}, HERE)
        (task,) = (await graph.aget_state(HERE, subgraphs=True)).tasks
        assert (task.state.next, task.state.values["seats"]) == (("ask",), ["8:00"])
        done = await graph.ainvoke(Command(resume="8:00"), HERE)
        assert done["booked"] == "8:00"


KILLED = """
import os, signal, sys
from pathlib import Path
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from typing import TypedDict
from holdfast.memory.langgraph import HoldfastSaver

class State(TypedDict, total=False):
    done: list

trace = Path(sys.argv[2])

def note(name):
    with trace.open("a") as file:
        file.write(name + " ")

def pack(state):
    note("pack")
    return {"done": ["packed"]}

def leave(state):
    note("leave")
    if sys.argv[3] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    return {"done": [*state["done"], "left"]}

builder = StateGraph(State).add_node("pack", pack).add_node("leave", leave)
builder.add_edge(START, "pack").add_edge("pack", "leave").add_edge("leave", END)
with HoldfastSaver(sys.argv[1]) as saver:
    graph = builder.compile(checkpointer=saver)
    config = {"configurable": {"thread_id": "ada"}}
    given = {"done": []} if sys.argv[3] == "killed" else None
    print(graph.invoke(given, config, durability="sync")["done"])
"""


def test_a_graph_that_is_killed_goes_on_where_it_was(url: str, db: holdfast.Database, tmp_path: Any) -> None:
    trace = tmp_path / "trace"

    def start(how: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", KILLED, url, str(trace), how]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert start("killed").returncode == -signal.SIGKILL
    # What was given, what was packed; the step that was cut off has left nothing.
    assert db.count(CHECKPOINTS) == 3
    again = start("again")
    assert (again.stdout.strip(), again.stderr) == ("['packed', 'left']", "")
    assert trace.read_text().split() == ["pack", "leave", "leave"]
