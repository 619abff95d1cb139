"""LangGraph's checkpoints and items in a SQLite file: ours beside LangGraph's own saver and store."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from graph import cases_of, with_saver, with_store
from measure import US, Case

from holdfast.memory.langgraph import HoldfastSaver, HoldfastStore

TITLE = "LangGraph, SQLite"
LIBRARIES = ("langgraph-checkpoint", "langgraph-checkpoint-sqlite")


@contextmanager
def cases(folder: Path) -> Iterator[list[Case]]:
    from langgraph.checkpoint.sqlite import SqliteSaver
    from langgraph.store.sqlite import SqliteStore

    with ExitStack() as stack:
        saver = SqliteSaver(_connection(folder / "saver.db", stack))
        store = SqliteStore(_connection(folder / "store.db", stack))
        store.setup()
        url = f"sqlite:///{folder}/{{}}.db?durability=normal"
        ours = stack.enter_context(HoldfastSaver(url.format("our-saver")))
        our_store = stack.enter_context(HoldfastStore(url.format("our-store")))
        yield cases_of(
            {"SqliteSaver": with_saver(saver), US: with_saver(ours)},
            {"SqliteStore": with_store(store), US: with_store(our_store)},
        )


def _connection(path: Path, stack: ExitStack) -> Any:
    con = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    con.execute("PRAGMA journal_mode = WAL")
    con.execute("PRAGMA synchronous = NORMAL")
    return stack.enter_context(closing(con))
