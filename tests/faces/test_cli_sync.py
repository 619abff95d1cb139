"""holdfast sync: what a person types, between files, and between a file and a server."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import holdfast
import holdfast.memory
from holdfast.cli import main
from holdfast.cli import sync as commands
from holdfast.errors import ConnectionLost
from holdfast.memory import Passage
from holdfast.sync import Sync

Typed = Callable[..., str]


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Run the program in a folder with a file that has one table."""
    monkeypatch.chdir(tmp_path)
    write(
        "ada.db", "CREATE TABLE runs (id text PRIMARY KEY, name text)", "INSERT INTO runs VALUES ('a', 'one')"
    )

    def run(*words: object, code: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            main.run(["sync", *map(str, words)])
        shown = capsys.readouterr()
        assert ended.value.code == code, shown
        return shown.out if code != 2 and not shown.err.startswith("Error") else shown.err

    return run


def write(path: str, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as raw:
        for statement in statements:
            raw.execute(statement)
        raw.commit()


def names(url: str) -> list[Any]:
    with holdfast.connect(url) as db:
        return [row["name"] for row in db.select("runs", order_by="id")]


def test_two_files_and_a_hub(typed: Typed, url: str) -> None:
    assert typed("ada.db", url, "--dry-run").splitlines()[2].split() == ["runs", "1", "0", "0", "0"]
    assert typed("run", "ada.db", url) == "1 rows pushed, 0 pulled, 0 conflicts\n"
    report = {"pushed": 0, "pulled": 1, "conflicts": 0, "quarantined": 0, "paused": {}}
    assert json.loads(typed("eve.db", url, "--json")) == report
    assert names("eve.db") == names(url) == ["one"]

    write("ada.db", "UPDATE runs SET name = 'hers'")
    write("eve.db", "UPDATE runs SET name = 'other'")
    assert typed("status", "ada.db", url).splitlines()[2].split() == ["runs", "1", "0", "NULL"]
    typed("status", "ada.db", url, "--check", code=1)
    typed("ada.db", url)
    typed("status", "ada.db", url, "--check")
    assert "1 conflicts" in typed("eve.db", url)

    (conflict,) = json.loads(typed("conflicts", "ada.db", url, "--json"))
    assert (conflict["ours"]["name"], conflict["result"]["name"]) == ("other", "hers")
    assert "name=other  name=hers  name=hers" in typed("conflicts", "ada.db", url)
    typed("resolve", "eve.db", url, conflict["id"][:12], "--keep", '{"name": "both"}')
    assert json.loads(typed("conflicts", "ada.db", url, "--json")) == []
    assert typed("conflicts", "ada.db", url, "--csv").startswith("id,at,replica,table,key,kind,")
    assert typed("conflicts", "ada.db", url, "--csv", "--all").count("name") >= 3
    assert len(json.loads(typed("conflicts", "ada.db", url, "--json", "--all"))) == 1
    typed("eve.db", url), typed("ada.db", url)
    assert names("ada.db") == names("eve.db") == names(url) == ["both"]
    assert typed("stop", "eve.db", url) == "the sync has ended here\n"
    assert "holdfast sync LOCAL HUB" in typed("status", "eve.db", url, code=1)
    assert names("eve.db") == ["both"]


def test_a_memory_by_its_name(typed: Typed, url: str) -> None:
    with holdfast.memory.open("ada.db", name="diary") as memory:
        memory.insert(Passage("Ada drinks tea"))
    assert typed("ada.db", url, "--tables", "diary").endswith("0 conflicts\n")
    with holdfast.memory.open(url, name="diary") as memory:
        assert [hit.record.text for hit in memory.query_text("tea")] == ["Ada drinks tea"]
    with holdfast.connect(url) as db:
        assert not db.table_exists("runs")
        assert db.table_exists("hf_sync_5_feed")
    for database in (url, "ada.db"):
        with pytest.raises(SystemExit):
            main.run(["memory", "erase", "default", "--yes", "--db", database])
    assert "there is no table 'dairy'" in typed("ada.db", url, "--tables", "dairy", code=1)


def test_what_was_left_out_is_said_and_is_the_exit_code(typed: Typed) -> None:
    write("hub.db", "CREATE TABLE runs (id text PRIMARY KEY, name text CHECK (name <> 'bad'))")
    write("ada.db", "INSERT INTO runs VALUES ('b', 'bad')")
    assert "1 quarantined" in typed("ada.db", "hub.db", code=1)
    shown = typed("status", "ada.db", "hub.db")
    assert re.search(r"runs +b +push +CheckViolation", shown)


def test_a_hub_that_is_another_one_is_joined_if_asked(typed: Typed) -> None:
    write("hub.db"), write("new.db")
    typed("ada.db", "hub.db")
    assert "--rebase" in typed("ada.db", "new.db", "--tables", "runs", code=1)
    assert "1 rows pushed" in typed("ada.db", "new.db", "--rebase")
    assert names("new.db") == ["one"]


def test_mistakes_change_nothing(typed: Typed) -> None:
    assert "is no span" in typed("ada.db", "hub.db", "--watch", "often", code=1)
    assert "there is no database at" in typed("status", "absent.db", "hub.db", code=1)
    assert "unknown policy" in typed("ada.db", "hub.db", "--policy", "newest", code=1)
    assert not Path("absent.db").exists()
    write("hub.db")
    typed("ada.db", "hub.db")
    assert "no conflict" in typed("resolve", "ada.db", "hub.db", "0a1b", code=1)
    assert "--keep" in typed("resolve", "ada.db", "hub.db", "0a1b", "--keep", "mine", code=1)
    assert "Missing argument" in typed("ada.db", code=2)


def test_watching_goes_on_while_the_hub_is_away(
    typed: Typed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write("hub.db")
    rounds: list[float] = []
    right = Sync.run

    def run(self: Sync, *args: Any, **kwargs: Any) -> Any:
        if len(rounds) == 1:
            raise ConnectionLost("the connection was lost")
        return right(self, *args, **kwargs)

    def wait(seconds: float) -> None:
        rounds.append(seconds)
        if len(rounds) == 3:
            raise KeyboardInterrupt
        write("ada.db", f"UPDATE runs SET name = 'after {len(rounds)}'")

    monkeypatch.setattr(Sync, "run", run)
    monkeypatch.setattr(commands, "_wait", wait)
    with pytest.raises(SystemExit) as ended:
        main.run(["sync", "ada.db", "hub.db", "--watch", "30s"])
    shown = capsys.readouterr()
    assert ended.value.code == 130
    assert shown.out.count("1 rows pushed") == 2
    assert "the connection was lost" in shown.err
    assert rounds == [30.0] * 3
    assert names("hub.db") == ["after 2"]
