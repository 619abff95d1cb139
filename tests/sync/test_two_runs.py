"""Two runs of one replica at once, of which the one steps in between two statements of the other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

import holdfast
from holdfast.sync import Sync, round

Opened = Callable[[str], holdfast.Database]


def test_a_run_that_sends_while_another_takes_in(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sent is not overwritten by what the slower one has read before."""
    local, hub, other = opened("postgres"), opened("sqlite"), opened("sqlite")
    local.create_table("runs", {"id": "TEXT PRIMARY KEY", "a": "TEXT", "b": "TEXT"})
    mine, theirs = Sync(local, hub), Sync(other, hub)
    mine.enable(), theirs.enable()
    local.insert("runs", {"id": "r", "a": "1", "b": "1"})
    mine.run(), theirs.run()
    other.update("runs", {"b": "2"}, {"id": "r"})
    theirs.run()
    also_local, also_hub = holdfast.connect(local.url), holdfast.connect(hub.url)
    also = threading.Thread(target=lambda: Sync(also_local, also_hub).run("push"))
    right = round.take_in

    def take_in(*given: Any) -> int:
        if not also.ident:
            also_local.update("runs", {"a": "2"}, {"id": "r"})
            also.start()
            _wait_for_a_lock(also, other_end=also_local)
        return right(*given)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(round, "take_in", take_in)
            mine.run("pull")
        also.join(60)
        assert not also.is_alive()
        mine.run()
        assert local.select("runs") == hub.select("runs") == [{"id": "r", "a": "2", "b": "2"}]
        assert mine.status().is_quiet
    finally:
        also_local.close(), also_hub.close()


def _wait_for_a_lock(thread: threading.Thread, *, other_end: holdfast.Database) -> None:
    """Until the thread waits for a lock, or has ended."""
    with holdfast.connect(other_end.url) as watch:
        waits = "SELECT 1 FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database "
        waits += "WHERE datname = current_database())"
        while thread.is_alive() and not watch.query(waits):
            thread.join(0.05)
