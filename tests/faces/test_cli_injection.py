"""Hostile texts in every place of the command line that takes one: refused or taken as what they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import holdfast
from engines.test_injection import HOSTILE
from holdfast.cli import main

CANARY = [{"id": 1, "v": "alive"}]
CALLS: list[Callable[[str, str, str], list[str]]] = [
    lambda url, x, _: ["schema", url, x],
    lambda url, x, _: ["inspect", url, x],
    lambda url, x, to: ["diagram", url, f"{to}.svg", "--around", x],
    lambda url, x, to: ["diagram", url, f"{to}.dot", "--table", x],
    lambda url, x, _: ["query", url, x],
    lambda url, x, _: ["query", url, f"SELECT 1 AS one; {x}"],
    lambda url, x, _: ["query", url, "SELECT :v AS v", "--param", f"v={x}", "--json"],
    lambda url, x, _: ["query", url, "UPDATE t SET v = :v", "--param", f"v={x}", "--write"],
    lambda url, x, _: ["search", url, x, "word"],
    lambda url, x, _: ["search", url, "t", x],
    lambda url, x, _: ["search", url, "t", "word", "--enable", x],
    lambda url, x, _: ["search", url, "t", "word", "--enable", "v", "--language", x],
    lambda url, x, _: ["explain", url, x],
    lambda url, x, _: ["explain", url, "SELECT * FROM t WHERE v = :v", "--param", f"v={x}"],
    lambda url, x, _: ["suggest", url, x],
    lambda url, x, to: ["export", url, x, f"{to}.csv"],
    lambda url, x, to: ["export", url, "t", f"{to}.csv", "--null", x],
    lambda url, x, to: ["import", url, x, to],
    lambda url, x, to: ["import", url, "t", to, "--if-exists", x],
    lambda url, x, to: ["import", url, "t", to, "--encoding", x],
    lambda url, x, to: ["copy", url, f"{to}.sqlite", "--tables", x],
    lambda url, x, to: ["copy", url, f"{to}.sqlite", "--exclude", x],
    lambda url, x, to: ["diff", url, f"{to}.sqlite", "--tables", x],
    lambda url, x, to: ["restore", url, f"{to}.sql", "--table", x],
    lambda url, x, _: ["agents", "new-table", x, "name:str", "--yes", "--url", url],
    lambda url, x, _: ["agents", "new-table", "notes", x, "--yes", "--url", url],
    lambda url, x, _: ["agents", "migrate", "upgrade", x, "--url", url],
    lambda url, x, _: ["agents", "migrate", "downgrade", x, "--url", url],
    lambda url, x, _: ["agents", "migrate", "sql", x, "--url", url],
    lambda url, x, _: ["memory", "add", x, "--source", x, "--meta", f"{x}={x}", "--user", x, "--db", url],
    lambda url, x, _: ["memory", "add", x, "--name", x, "--db", url],
    lambda url, x, _: ["memory", "list", "--where", x, "--user", x, "--db", url],
    lambda url, x, _: ["memory", "search", x, "--user", x, "--agent", x, "--db", url],
    lambda url, x, _: ["memory", "history", x, "--db", url],
    lambda url, x, _: ["memory", "erase", x, "--yes", "--db", url],
]


@pytest.fixture
def prepared(db: holdfast.Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The path of a CSV file; beside it are a backup and a copy of the database."""
    monkeypatch.chdir(tmp_path)
    db.create_table("canary", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"})
    db.insert("canary", CANARY[0])
    db.create_table("t", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"})
    db.insert("t", {"v": "a word"})
    path = tmp_path / "given.csv"
    path.write_text("v\nimported\n")
    db.backup_database(f"{path}.sql")
    with holdfast.connect(f"{path}.sqlite") as other:
        holdfast.copy_database(db, other)
    return str(path)


def test_every_place_of_the_command_line(
    db: holdfast.Database, url: str, engine_name: str, prepared: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A few texts for each place, so that all of them are tried somewhere and it does not take long."""
    step = 9 if engine_name == "sqlite" else 18
    for place, call in enumerate(CALLS):
        for text in (HOSTILE[place % len(HOSTILE) :] + HOSTILE)[: len(HOSTILE) : step]:
            words = call(url, text, prepared)
            if words[:3] == ["import", url, "canary"]:
                continue  # that is what it says
            with pytest.raises(SystemExit) as end:
                main.run(words)
            said = capsys.readouterr()
            assert end.value.code in (0, 1, 2), words
            assert "Traceback" not in said.err, words
            assert db.select("canary") == CANARY, words
