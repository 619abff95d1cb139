"""Random histories of three tables, each below the other by a cascade: no row goes that nobody removed."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

import holdfast
from holdfast.core import transaction
from holdfast.sync import Sync
from sync.world import Commits, Fault, Killed, kill

ABOVE: dict[str, str | None] = {"top": None, "mid": "top", "low": "mid"}
BELOW: dict[str, str | None] = {"top": "mid", "mid": "low", "low": None}
FEW, MANY = 5, 60

Opened = Callable[[str], holdfast.Database]
Row = tuple[str, str]
"""A table and an id."""


class Family:
    """A hub and two replicas, what was written, and what somebody removed, by hand or by a cascade there."""

    def __init__(self, sites: dict[str, holdfast.Database], commits: Commits, chance: random.Random) -> None:
        self.sites, self.commits, self.chance = sites, commits, chance
        self.written: set[Row] = set()
        self.removed: set[Row] = set()
        for db in sites.values():
            for table, above in ABOVE.items():
                to = f", up TEXT REFERENCES {above} (id) ON DELETE CASCADE" if above else ""
                db.execute(f"CREATE TABLE {table} (id TEXT PRIMARY KEY, a TEXT{to})")
        self.syncs = {
            name: Sync(db, sites["hub"], list(ABOVE)) for name, db in sites.items() if name != "hub"
        }
        for sync in self.syncs.values():
            sync.enable()

    def step(self, number: int) -> None:
        site = self.chance.choice(list(self.sites))
        table = self.chance.choice(list(ABOVE))
        happens = [self.insert] * 3 + [self.update, self.remove] + [self.round] * 3
        self.chance.choice(happens)(site, table, number)

    def insert(self, site: str, table: str, number: int) -> None:
        row = {"id": f"{table}{number}", "a": "x"}
        if above := ABOVE[table]:
            if not (parents := self.ids(site, above)):
                return
            row["up"] = self.chance.choice(parents)
        self.sites[site].insert(table, row)
        self.written.add((table, row["id"]))

    def update(self, site: str, table: str, number: int) -> None:
        if ids := self.ids(site, table):
            self.sites[site].update(table, {"a": f"v{number}"}, {"id": self.chance.choice(ids)})

    def remove(self, site: str, table: str, number: int) -> None:
        if not (ids := self.ids(site, table)):
            return
        chosen = self.chance.choice(ids)
        todo = [(table, chosen)]
        while todo:
            self.removed.add(row := todo.pop())
            if below := BELOW[row[0]]:
                todo += [
                    (below, child["id"]) for child in self.sites[site].select(below, where={"up": row[1]})
                ]
        self.sites[site].delete(table, {"id": chosen})

    def round(self, site: str, table: str, number: int) -> None:
        fault = Fault(self.chance.randint(1, 12), self.chance.choice(["before", "after"]), kill)
        with self.commits.during(self.chance.choice([fault, None])), suppress(Killed):
            sync = self.chance.choice(list(self.syncs.values()))
            sync.run(direction=self.chance.choice(["both", "both", "push", "pull"]))

    def ids(self, site: str, table: str) -> list[str]:
        return [row["id"] for row in self.sites[site].select(table, ["id"], order_by="id")]

    def settle(self) -> None:
        for _ in range(12):
            reports = [sync.run() for sync in self.syncs.values()]
            if not any(report.pushed or report.pulled for report in reports):
                return
        raise AssertionError("the rounds never end")

    def row(self, site: str, table: str, key: str) -> dict[str, Any] | None:
        return next(iter(self.sites[site].select(table, where={"id": key})), None)

    def bring_back_parents(self) -> None:
        """Give what waits in quarantine what it refers to, at the hub."""
        for name, sync in self.syncs.items():
            for waiting in sync.status().quarantined:
                missing: list[tuple[str, dict[str, Any]]] = []
                table, row = waiting.table, self.row(name, waiting.table, waiting.key[0])
                while row and (above := ABOVE[table]) and not self.row("hub", above, row["up"]):
                    table, row = above, self.row(name, above, row["up"])
                    assert row is not None
                    missing.append((table, row))
                for table, parent in reversed(missing):
                    self.sites["hub"].insert(table, parent)

    def check(self) -> None:
        for _ in range(4):
            self.settle()
            self.bring_back_parents()
        self.settle()
        hub = self.sites["hub"]
        for name, sync in self.syncs.items():
            assert not list(sync.status().quarantined)
            for table in ABOVE:
                assert self.sites[name].select(table, order_by="id") == hub.select(table, order_by="id")
        on_record = {(clash.table, clash.key["id"]) for clash in self.syncs["r0"].conflicts()}
        kept = {(table, key) for table in ABOVE for key in self.ids("hub", table)}
        assert not self.written - self.removed - on_record - kept


def try_history(seed: int, way: tuple[str, str], opened: Opened, patch: pytest.MonkeyPatch) -> None:
    commits = Commits()
    patch.setattr(transaction, "_commit", commits)
    sites = {"hub": opened(way[1]), "r0": opened(way[0]), "r1": opened(way[0])}
    chance = random.Random(seed)
    family = Family(sites, commits, chance)
    for number in range(chance.randint(8, 40)):
        family.step(number)
    family.check()


@pytest.mark.parametrize("seed", range(FEW))
def test_a_history(seed: int, way: tuple[str, str], opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    try_history(seed, way, opened, monkeypatch)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(FEW, MANY))
def test_another_history(
    seed: int, way: tuple[str, str], opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    try_history(seed, way, opened, monkeypatch)
