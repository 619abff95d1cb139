"""The power is cut: what was acknowledged is there, what was not is absent or whole, and files are sound.

The disks that a cut could leave are built from a recording (see power.py). So that these tests can fail, the
same is done to a database that was asked to be quick, and to backups that were not synced.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import holdfast
from faults.children import no_strace
from faults.power import Cut, Event, cuts, record
from faults.powered import KINDS, ROUNDS, TRANSACTIONS
from holdfast.backup.formats import opened
from holdfast.backup.listing import Backup, list_backups
from holdfast.errors import BackupError

SEED = os.environ.get("HOLDFAST_SEED", "20261130")
PROGRAM = str(Path(__file__).with_name("powered.py"))
FEW, MANY = 40, int(os.environ.get("HOLDFAST_CUTS", "1000"))


def recorded(folder: Path, *what: str) -> list[Event]:
    if reason := no_strace():
        pytest.skip(reason)
    folder.mkdir()
    kind, *options = what
    return record(folder.resolve(), [PROGRAM, kind, str(folder.resolve()), *options])


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("power")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def commits(where: Path) -> list[Event]:
    return recorded(where / "full", "commits", "full")


@pytest.fixture(scope="module")
def quick_commits(where: Path) -> list[Event]:
    return recorded(where / "normal", "commits", "normal")


@pytest.fixture(scope="module")
def backups(where: Path) -> list[Event]:
    return recorded(where / "backups", "backups")


@pytest.fixture(scope="module")
def backups_that_are_not_synced(where: Path) -> list[Event]:
    return recorded(where / "unsynced", "backups", "unsynced")


def newest(cut: Cut, word: str) -> int:
    """The last that was acknowledged of a kind; -1 for none."""
    numbers = [int(text.split()[1]) for text in cut.told if text.startswith(f"{word} ")]
    return max(numbers, default=-1)


def lost_commits(cut: Cut) -> int:
    """How many acknowledged transactions are not there; those that are must be whole, and the file sound."""
    acknowledged, path = newest(cut, "commit"), cut.folder / "lab.db"
    if not path.exists():
        return acknowledged + 1
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    with holdfast.connect(path) as db:
        if not db.table_exists("last"):
            return acknowledged + 1
        last = db.get("last", 1)["tx"]
        whole = dict.fromkeys(range(max(0, last - 39), last + 1), 3)
        found = db.query("SELECT tx, count(*) AS c FROM t GROUP BY tx")
        assert {row["tx"]: row["c"] for row in found} == whole
        # It can be written again.
        db.insert("t", {"tx": TRANSACTIONS})
    return max(0, acknowledged - last)


def lost_backups(cut: Cut) -> list[str]:
    """What was acknowledged and is not there, and what is there and is damaged."""
    found = [kind for kind in KINDS if not _is_as_told(cut, kind)]
    if newest(cut, "nightly") == 0 and not _listed(cut.folder / "nightly" / "lab"):
        found.append("nightly")
    for number in range(1, newest(cut, "new") + 1):
        path = cut.folder / f"new{number}.db"
        if not path.exists() or _rows_of_database(path) != number * 100:
            found.append(path.name)
    many = newest(cut, "many")
    if many > 0:
        listed = _listed(cut.folder / "many")
        if not listed or any(not each.ok for each in listed) or listed[0].tables["t"] < many * 100:
            found.append("many")
    return found


def _listed(folder: Path) -> list[Backup]:
    return list_backups(folder) if folder.is_dir() else []


def _is_as_told(cut: Cut, kind: str) -> bool:
    path, told = cut.folder / f"kept.{kind}", max(newest(cut, kind), 0)
    if not path.exists():
        return told == 0
    try:
        rows = _rows_of_csv(path) if kind == "csv" else _rows_of_backup(path)
    except BackupError:
        return False
    return rows in (told * 100, (told + 1) * 100) and told <= ROUNDS


def _rows_of_backup(path: Path) -> int:
    with opened(path) as source:
        assert source.manifest is not None
        return source.manifest.tables["t"].rows


def _rows_of_csv(path: Path) -> int:
    return path.read_text().count("\n") - 1


def _rows_of_database(path: Path) -> int:
    try:
        with holdfast.connect(path, read_only=True) as db:
            return db.count("t")
    except holdfast.errors.Error:
        return -1


def check_commits(events: list[Event], times: int, where: Path) -> None:
    lost = 0
    for cut in cuts(events, times, SEED, where / "cuts"):
        lost += lost_commits(cut)
        shutil.rmtree(cut.folder)
    print(f"durability full, seed {SEED}: {times} cuts, {TRANSACTIONS} commits, {lost} lost")
    assert lost == 0


def check_backups(events: list[Event], times: int, where: Path) -> None:
    for number, cut in enumerate(cuts(events, times, SEED, where / "cuts")):
        assert lost_backups(cut) == [], f"cut {number}, seed {SEED}, after {cut.told[-1:]}"
        shutil.rmtree(cut.folder)
    print(f"backups, exports and restores, seed {SEED}: {times} cuts, nothing lost")


def test_commits_survive_power_cuts(commits: list[Event], where: Path) -> None:
    """A sample; the whole is ``test_commits_survive_many_power_cuts``."""
    check_commits(commits, FEW, where)


def test_backups_survive_power_cuts(backups: list[Event], where: Path) -> None:
    """A sample; the whole is ``test_backups_survive_many_power_cuts``."""
    check_backups(backups, FEW, where)


def test_a_quick_database_loses_commits_and_stays_sound(quick_commits: list[Event], where: Path) -> None:
    """What ``durability="normal"`` says; and this harness sees losses."""
    lost = 0
    for cut in cuts(quick_commits, FEW, SEED, where / "cuts"):
        lost += lost_commits(cut)
        shutil.rmtree(cut.folder)
    print(f"durability normal, seed {SEED}: {FEW} cuts, {lost} commits lost")
    assert lost > 0


def test_backups_that_are_not_synced_are_lost(backups_that_are_not_synced: list[Event], where: Path) -> None:
    found = []
    for cut in cuts(backups_that_are_not_synced, FEW, SEED, where / "cuts"):
        found += lost_backups(cut)
        shutil.rmtree(cut.folder)
    assert {"sql", "db", "hfz", "csv", "many"} <= set(found)


@pytest.mark.long
def test_commits_survive_many_power_cuts(commits: list[Event], where: Path) -> None:
    check_commits(commits, MANY, where)


@pytest.mark.long
def test_backups_survive_many_power_cuts(backups: list[Event], where: Path) -> None:
    check_backups(backups, MANY, where)
