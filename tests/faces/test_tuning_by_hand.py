"""From ``holdfast doctor URL`` to a measured improvement, by following what is printed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import holdfast
from holdfast.cli import main

ROWS = 20_000
SLOW = "SELECT count(*) FROM orders WHERE customer = 17 AND state = 'open'"


@pytest.fixture
def shop(url: str) -> str:
    with holdfast.connect(url) as db:
        db.create_table("customers", {"id": "INTEGER PRIMARY KEY", "name": "TEXT"})
        db.create_table("orders", {"id": "INTEGER PRIMARY KEY", "customer": "INTEGER", "state": "TEXT"})
        db.create_table(
            "notes",
            {"id": "INTEGER PRIMARY KEY", "customer": "INTEGER"},
            foreign_keys={"customer": "customers(id)"},
        )
        db.insert_many("customers", [{"name": f"c{n}"} for n in range(2_000)])
        db.insert_many("notes", [{"customer": n % 2_000 + 1} for n in range(ROWS)])
        db.insert_many("orders", [{"customer": n % 2_000, "state": "open"} for n in range(ROWS)])
        db.analyze()
    return url


class Shell:
    """Runs lines as they are printed, and keeps what they print."""

    def __init__(self, capsys: pytest.CaptureFixture[str], url: str) -> None:
        self.capsys, self.url = capsys, url

    def run(self, line: str) -> str:
        program, *words = shlex.split(line)
        assert program == "holdfast"
        with pytest.raises(SystemExit) as ended:
            main.run([word.replace("$HOLDFAST_URL", self.url) for word in words])
        said = self.capsys.readouterr()
        # The servers of the tests do not flush, which is a danger that doctor tells by its exit code.
        assert ended.value.code in ((0, 1) if words[0] == "doctor" else (0,)), said.err
        return said.out


def printed(text: str, beginning: str) -> str:
    """The last line that is a command of that kind."""
    found = re.findall(rf"(?m)^ *({re.escape(beginning)}.*)$", text)
    assert found, text
    return str(found[-1])


def test_what_is_printed_leads_from_a_slow_database_to_a_faster_one(
    shop: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shell = Shell(capsys, shop)
    said = shell.run(f"holdfast doctor {shlex.quote(shop)}")
    assert "notes(customer)" in said
    shell.run(printed(said, "holdfast doctor ").replace("before.hfz", f"{tmp_path}/before.hfz"))
    said = shell.run(f"holdfast doctor {shlex.quote(shop)}")
    assert "notes(customer)" not in said
    line = printed(said, "holdfast explain ").replace("SELECT ...", SLOW)
    said = shell.run(line)
    assert "! reads every row of orders" in said
    line = printed(said, "holdfast suggest ")
    said = shell.run(line)
    assert "times as fast" in said
    assert "scan orders" in said
    shell.run(printed(said, "holdfast suggest "))
    said = shell.run(printed(said, "holdfast suggest ").replace("suggest", "explain").replace(" --apply", ""))
    assert "scan orders" not in said
    assert "!" not in said
    with holdfast.connect(shop) as db:
        assert db.suggest_indexes([SLOW]) == []
        assert db.count("orders") == ROWS


def test_a_password_is_not_printed(shop: str, engine_name: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = Shell(capsys, shop).run(f"holdfast explain {shlex.quote(shop)} {shlex.quote(SLOW)}")
    if engine_name == "debian":
        assert 'holdfast suggest "$HOLDFAST_URL"' in said
    else:
        assert shop in said
