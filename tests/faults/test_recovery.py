"""How many calls fail in each kind of fault, and how soon they succeed again: printed, and not judged.

    make test PYTEST_ARGS="-rP tests/faults/test_recovery.py"

One thread makes single calls, a write and a read in turn, and knows nothing of any of this.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import holdfast
import servers
from faults.proxy import Proxy
from faults.test_load import end_all
from holdfast import Database
from holdfast.errors import CommitUnknown, ConnectionFailed, Error

AWAY = 0.5
"""Seconds that a network is stalled, or a name unknown."""


@dataclass
class Calls:
    """A thread that makes calls, and when each of those that succeeded was done."""

    db: Database
    done: list[float] = field(default_factory=list)
    failed: list[Error] = field(default_factory=list)
    kept: set[int] = field(default_factory=set)
    strange: list[BaseException] = field(default_factory=list)
    stops: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        number = 0
        while not self.stops.is_set():
            number += 1
            try:
                self.db.insert("t", {"id": number})
                self.kept.add(number)
                self.done.append(time.monotonic())
                self.db.count("t", {"id": number})
                self.done.append(time.monotonic())
            except (CommitUnknown, ConnectionFailed) as exc:
                self.failed.append(exc)
            except BaseException as exc:
                self.strange.append(exc)
                return

    def first_after(self, moment: float, seconds: float = 300) -> float:
        """When the first call after a moment succeeded."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self.strange:
            if self.done and self.done[-1] > moment:
                return next(done for done in self.done if done > moment)
            time.sleep(0.005)
        raise AssertionError(f"no call succeeds any more: {self.strange}")


@dataclass
class Lab:
    """What faults are done to."""

    server: servers.Server
    dbname: str
    proxy: Proxy
    services: Path

    def place(self, host: str) -> None:
        """Where the name of the service leads: libpq reads this each time it connects."""
        given = {**self.server.conninfo(self.dbname), "host": host, "port": str(self.proxy.port)}
        lines = ["[lab]", *(f"{key}={value}" for key, value in given.items()), ""]
        self.services.write_text("\n".join(lines))

    def restarted(self, how: str) -> None:
        self.server.stop(how)
        self.server.start()

    def stalled(self) -> None:
        self.proxy.stall()
        time.sleep(AWAY)
        self.proxy.stall(False)

    def in_a_statement(self, *, stall: bool) -> None:
        before = self.proxy.faults
        self.proxy.fault("INSERT", "during", stall=stall)
        deadline = time.monotonic() + 300
        while self.proxy.faults == before:
            assert time.monotonic() < deadline, "no call comes"
            time.sleep(0.002)

    def unknown(self) -> None:
        self.place("no-such-host.invalid")
        end_all(self.server, self.dbname)
        time.sleep(AWAY)
        self.place(servers.HOST)


FAULTS: dict[str, Callable[[Lab], None]] = {
    "the server is restarted": lambda lab: lab.restarted("fast"),
    "the server crashes and starts": lambda lab: lab.restarted("immediate"),
    "every backend is ended": lambda lab: end_all(lab.server, lab.dbname),
    "every connection is cut": lambda lab: lab.proxy.cut(),
    "a connection is cut in a write": lambda lab: lab.in_a_statement(stall=False),
    "a write stalls for ever, statement_timeout=2": lambda lab: lab.in_a_statement(stall=True),
    "the network stalls for a moment": Lab.stalled,
    "the name is unknown for a moment": Lab.unknown,
}
"""Each returns when its cause is over; those in a write return when it has begun."""


@pytest.fixture
def lab(
    server: servers.Server, dbname: str, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Lab:
    made = Lab(server, dbname, proxy, tmp_path / "services")
    monkeypatch.setenv("PGSERVICEFILE", str(made.services))
    made.place(servers.HOST)
    return made


@pytest.mark.parametrize(
    "times", [pytest.param(2, id="few"), pytest.param(20, id="many", marks=pytest.mark.long)]
)
@pytest.mark.parametrize("fault", FAULTS)
def test_calls_succeed_again(lab: Lab, direct: str, fault: str, times: int) -> None:
    with holdfast.connect(direct) as watch:
        watch.create_table("t", {"id": "INTEGER PRIMARY KEY"})
    waits = []
    with holdfast.connect("postgresql://?service=lab", reconnect_timeout=120, statement_timeout=2) as db:
        calls = Calls(db)
        thread = threading.Thread(target=calls.run)
        thread.start()
        for _ in range(times):
            calls.first_after(time.monotonic())
            FAULTS[fault](lab)
            over = time.monotonic()
            waits.append(calls.first_after(over) - over)
        calls.stops.set()
        thread.join(300)
        assert not thread.is_alive()
    assert not calls.strange
    with holdfast.connect(direct) as watch:
        assert calls.kept <= {row["id"] for row in watch.select("t")}, "what was acknowledged is there"
    assert len(calls.failed) <= times, "the one call that was under way, at most"
    print(
        f"\n{fault}: {len(calls.failed)} of {len(calls.done) + len(calls.failed)} calls failed in {times} "
        f"faults; the next one succeeds after {statistics.median(waits):.3f} s, at most {max(waits):.3f} s"
    )
