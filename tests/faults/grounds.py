"""Where faults are tried: copies of one prepared place, on each engine, and what must hold afterwards."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psycopg.sql import SQL, Identifier, Literal

import holdfast
import servers
from faults import operations
from faults.children import Outcome, Workers
from faults.operations import OPERATIONS, Place, litter, place_of, run_step, state

_numbers = itertools.count()
WITH_FILES = ("backup", "verify", "restore", "export")
LAST: dict[str, dict[str, Any]] = {"alter": {"score": 1.0, "batch": "0"}}


@dataclass
class Ground:
    """One engine's prepared place, and the states that each operation goes through."""

    root: Path
    server: servers.Server | None
    workers: Workers
    _template: Place = field(init=False)
    _states: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.root / "tmp").mkdir()
        self._template = self._new(None)
        operations.prepare(self._template)

    def _new(self, template: Place | None) -> Place:
        number = next(_numbers)
        folder = self.root / f"place{number}"
        if template is None:
            folder.mkdir()
        else:
            shutil.copytree(template.folder, folder)
        if self.server is None:
            return Place(folder, f"sqlite:///{folder}/main.sqlite", f"sqlite:///{folder}/other.sqlite")
        names = f"place{number}", f"place{number}_other"
        if template is None:
            self.server.create_database(names[0])
        else:
            base = template.url.rpartition("/")[2]
            self.server.execute(
                SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
                    Identifier(names[0]), Identifier(base)
                )
            )
        self.server.create_database(names[1])
        return Place(folder, self.server.url(names[0]), self.server.url(names[1]))

    @contextmanager
    def place(self) -> Iterator[Place]:
        """A copy of what was prepared."""
        place = self._new(self._template)
        try:
            yield place
        finally:
            self.drop(place)

    def drop(self, place: Place) -> None:
        shutil.rmtree(place.folder, ignore_errors=True)
        if self.server is not None:
            for url in (place.url, place.other):
                self.server.drop_database(url.rpartition("/")[2])

    def close(self) -> None:
        self.drop(self._template)

    def task(self, place: Place, operation: str) -> dict[str, Any]:
        where = [str(place.folder), place.url, place.other]
        return {"operation": operation, "first": 0, "last": len(OPERATIONS[operation]), "place": where}

    def states(self, operation: str) -> list[dict[str, Any]]:
        """What is there before the first step and after each, when nothing is in its way."""
        if operation not in self._states:
            with self.place() as place:
                found = [_lasting(state(place))]
                with holdfast.connect(place.url) as db:
                    for number in range(len(OPERATIONS[operation])):
                        run_step(db, place, operation, number)
                        found.append(_lasting(state(place)))
            self._states[operation] = found
        return self._states[operation]

    # What must hold

    def check(self, place: Place, operation: str, outcome: Outcome) -> str:
        """What was acknowledged is there, the rest is absent or whole, and the operation can go on.

        What became of the step that was not acknowledged.
        """
        assert not outcome.untyped, outcome
        states, done = self.states(operation), len(outcome.done)
        self._wait_for_the_end(place)
        here = _lasting(state(place))
        known = states[done : done + 2]
        assert here in known, f"{operation}: after {outcome} neither the state before nor the one after"
        at = done + known.index(here)
        self._assert_sound(place)
        self.finish(place, operation, at)
        return "all" if done == len(states) - 1 else "absent" if at == done else "whole"

    def finish(self, place: Place, operation: str, at: int) -> None:
        """Do the steps that are left, with nothing left over at the end."""
        states = self.states(operation)
        with self.temporaries(), holdfast.connect(place.url) as db:
            for number in range(at, len(OPERATIONS[operation])):
                run_step(db, place, operation, number)
            assert _lasting(state(place)) == states[-1]
            db.insert("runs", {"id": 99_999, "name": "the verbs work", "batch": 0, **LAST.get(operation, {})})
            if operation.startswith(WITH_FILES):
                db.backup_database(place.folder / "last.sql")
                assert db.verify_backup(place.folder / "last.sql").ok
        assert litter(place.folder) == []
        assert litter(self.root / "tmp") == []
        if self.server is not None:
            assert not self.server.execute("SELECT 1 FROM pg_database WHERE datname LIKE 'holdfast%'")

    def lasting(self, place: Place) -> dict[str, Any]:
        """What is there."""
        return _lasting(state(place))

    @contextmanager
    def temporaries(self) -> Iterator[None]:
        """Where the children have theirs."""
        before = tempfile.tempdir
        tempfile.tempdir = str(self.root / "tmp")
        try:
            yield
        finally:
            tempfile.tempdir = before

    def _wait_for_the_end(self, place: Place) -> None:
        """A server notices after a moment that its client is gone."""
        if self.server is None:
            return
        names = [url.rpartition("/")[2] for url in (place.url, place.other)]
        waiting = SQL(
            "SELECT 1 FROM pg_stat_activity WHERE datname = ANY({}) OR datname LIKE 'holdfast_verify%'"
        ).format(Literal(names))
        deadline = time.monotonic() + 60
        while self.server.execute(waiting):
            assert time.monotonic() < deadline, "a backend goes on without its client"
            time.sleep(0.02)

    def _assert_sound(self, place: Place) -> None:
        if self.server is not None:
            return
        for path in filter(lambda path: Path(path).exists(), map(place_of, (place.url, place.other))):
            with closing(sqlite3.connect(path)) as raw:
                assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                assert raw.execute("PRAGMA foreign_key_check").fetchall() == []


def _lasting(found: dict[str, Any]) -> dict[str, Any]:
    """Without the backups that a restore makes first: such a one is whole, and may be there or not."""
    return {name: content for name, content in found.items() if "MOMENT" not in name}
