"""``holdfast shell`` through a pipe on every engine, and in a real terminal."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.engines.sqltext import POSTGRES, SQLITE, ended_statements
from terminal import PROGRAM, Terminal


def piped(url: str, text: str, *options: str) -> Any:
    return subprocess.run(
        [*PROGRAM, "shell", url, *options], input=text, capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def filled(url: str) -> str:
    with holdfast.connect(url) as db:
        db.create_table("runs", {"id": "INTEGER PRIMARY KEY", "model": str, "two words": float})
        db.insert_many("runs", [{"model": f"m{n}"} for n in range(1, 9)])
    return url


def test_a_pipe_is_read_by_the_statement(filled: str) -> None:
    done = piped(filled, "\\dt\nSELECT id -- ;\n FROM runs\n WHERE id < 3; SELECT 1 AS one\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split() for line in done.stdout.splitlines()[2:]] == [
        ["runs", "8"], ["id"], ["--"], ["1"], ["2"], ["one"], ["---"], ["1"]
    ]  # fmt: skip
    done = piped(filled, "SELECT id FROM runs WHERE id = 7;", "--json")
    assert json.loads(done.stdout) == [{"id": 7}]
    assert piped(filled, "SELECT id FROM runs WHERE id = 7", "--csv").stdout == "id\n7\n"
    assert "two words" in piped(filled, '.schema "runs"').stdout


def test_nothing_is_changed_without_write_or_without_commit(filled: str) -> None:
    done = piped(filled, "DELETE FROM runs;\nSELECT 'never';\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert "--write" in done.stderr
    done = piped(filled, "BEGIN;\nDELETE FROM runs;\n", "--write")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    done = piped(
        filled, "BEGIN; DELETE FROM runs WHERE id = 1; COMMIT; BEGIN; DELETE FROM runs; ROLLBACK;", "--write"
    )
    assert (done.returncode, done.stderr) == (0, "")
    with holdfast.connect(filled) as db:
        assert db.count("runs") == 7


def test_a_pipe_ends_at_the_first_error(filled: str) -> None:
    done = piped(filled, "SELEC 1;\nSELECT 'never';\n")
    assert (done.returncode, "never" in done.stdout) == (1, False)
    assert "Traceback" not in done.stderr
    assert "no command" in piped(filled, ".tabels\n").stderr


@pytest.mark.parametrize("lexicon", [SQLITE, POSTGRES])
def test_a_statement_ends_at_its_own_semicolon(lexicon: Any) -> None:
    text = "SELECT ';'; -- ;\nSELECT 2 /* ; */; SELECT \"a;"
    found, rest = ended_statements(text, lexicon)
    assert [one.splitlines()[-1] for one in found] == ["SELECT ';'", "SELECT 2 /* ; */"]
    assert rest.strip() == 'SELECT "a;'


def test_a_terminal_completes_shows_transactions_and_is_interrupted(filled: str, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with Terminal(
        "shell", filled, "--write", columns=160, env={"XDG_STATE_HOME": str(state), "PAGER": "cat"}
    ) as terminal:
        terminal.wait_for("help says more")
        terminal.wait_for(">")
        terminal.type("select model from ru\t")
        terminal.wait_for("runs")
        terminal.type("\r where id = 3;\r")
        assert "m3" in terminal.wait_for("1 row in")
        terminal.type("begin;\r")
        terminal.wait_for(r"\*>")
        terminal.type("create table newer (a_column text);\r")
        terminal.wait_for("done")
        terminal.wait_for(r"\*>")
        terminal.type("select a_c\t")
        terminal.wait_for("a_column")
        terminal.type(" from newer;\r")
        terminal.wait_for("0 rows in")
        terminal.wait_for(r"\*>")
        terminal.type("select nothing_of from runs;\r")
        terminal.wait_for("Error: no such column|Error: .*nothing_of")
        terminal.wait_for("!>")
        terminal.type("rollback;\r")
        terminal.wait_for("[a-z0-9]>")
        many = ", ".join(f"runs r{n}" for n in range(12))
        terminal.type(f"select count(*) from {many};\r")
        terminal.wait_for(r"r11;\s*\n")
        time.sleep(1)  # the line is echoed before the statement is sent
        terminal.wait_for("interrupted", pressing="\x03")
        terminal.type("alter role x password 'secret-word';\r")
        terminal.wait_for("Error: ")
        terminal.type("select 40 + 2 as sum;\r")
        terminal.wait_for("42")
        terminal.type("begin;\r")
        terminal.wait_for(r"\*>")
        terminal.type("\x04")
        assert "rolled back" in terminal.rest()
        assert terminal.code == 0
    history = state / "holdfast" / "history"
    written = history.read_text()
    assert "40 + 2" in written
    assert "secret-word" not in written
    assert stat.S_IMODE(os.stat(history).st_mode) == 0o600
