"""From ``holdfast doctor URL`` to a measured improvement, by following what is printed."""

from __future__ import annotations

import io
import re
import shlex
from pathlib import Path

import pytest

import holdfast
import servers
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

    def __init__(
        self, capsys: pytest.CaptureFixture[str], url: str, monkeypatch: pytest.MonkeyPatch | None = None
    ) -> None:
        self.capsys, self.url, self.monkeypatch = capsys, url, monkeypatch

    def run(self, line: str, typed: str = "") -> str:
        if self.monkeypatch is not None:
            self.monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        program, *words = shlex.split(line)
        assert program == "holdfast"
        with pytest.raises(SystemExit) as ended:
            main.run([word.replace("$HOLDFAST_URL", self.url) for word in words])
        said = self.capsys.readouterr()
        # The servers of the tests do not flush, which is a danger that doctor tells by its exit code.
        assert ended.value.code in ((0, 1) if words[0] == "doctor" else (0,)), (line, typed, said.err)
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
    (mending,) = [line for line in said.splitlines() if line.endswith("--fix before.hfz")]
    shell.run(mending.replace("before.hfz", f"{tmp_path}/before.hfz"))
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


def findings(text: str) -> list[str]:
    """Each finding with what is below it."""
    found: list[str] = []
    for line in text.split("\n\n")[0].splitlines():
        if line.startswith("    ") and found:
            found[-1] += f"\n{line}"
        elif line.startswith(("error: ", "warning: ", "note: ")):
            found.append(line)
    return found


def of_the_machine(finding: str) -> bool:
    return any(
        word in finding for word in ("fsync", "full_page_writes", "checksums", "SQLite 3", "PostgreSQL 1")
    )


def test_following_what_is_printed_ends_it(
    url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if url.startswith("sqlite"):
        url = f"sqlite:///{tmp_path}/it's a shop.db"
    monkeypatch.setenv("HOLDFAST_URL", url)
    odd = 'lines"; of'
    with holdfast.connect(url) as db:
        db.create_table("customers", {"id": "INTEGER PRIMARY KEY", "mail": "TEXT"})
        db.create_table(odd, {"id": "INTEGER PRIMARY KEY", "the customer": int, "day": int})
        db.add_foreign_key(odd, "the customer", "customers")
        db.insert_many("customers", [{"mail": f"M{n}@Example.org"} for n in range(3_000)])
        db.insert_many(odd, [{"the customer": n % 3_000 + 1, "day": n % 365} for n in range(ROWS)])
        db.create_index(odd, "day", name="day")
        db.create_index(odd, ["day", "the customer"], name='day "and"')
        db.create_index(odd, ["day", "the customer"], name="again")
    shell = Shell(capsys, url, monkeypatch)
    said = shell.run(f"holdfast doctor {shlex.quote(url)} --backups backups")
    assert sum(not of_the_machine(finding) for finding in findings(said)) >= 4
    followed = 0
    while left := [finding for finding in findings(said) if not of_the_machine(finding)]:
        assert followed < 10, said
        # One after the other: what mends one may mend the next.
        lines = [line.strip() for line in left[0].splitlines()[1:]]
        for line in lines:
            if line.startswith("holdfast "):
                shell.run(line)
            elif line.endswith(";"):
                shell.run(printed(said, "holdfast shell "), line)
        followed += 1
        after = shell.run(f"holdfast doctor {shlex.quote(url)} --backups backups")
        assert left[0] not in findings(after), left[0]
        said = after
    assert followed >= 4
    assert "holdfast doctor" not in said
    assert "--fix" not in said
    slow = "SELECT count(*) FROM customers WHERE lower(mail) = 'm17@example.org'"
    steps = [printed(said, "holdfast explain ").replace("SELECT ...", slow)]
    plans = []
    for kind in ("holdfast suggest ", "holdfast suggest ", "holdfast explain "):
        plans.append(shell.run(steps[-1]))
        steps.append(printed(plans[-1], kind))
    plans.append(shell.run(steps[-1]))
    assert "--apply" in steps[2]
    assert "--analyze" in steps[3]
    assert "scan customers" in plans[0]
    assert "times as fast" in plans[1]
    assert "search customers by idx_customers_lower_mail" in plans[3]
    assert "! " not in plans[3]
    assert [
        one for one in findings(shell.run(f"holdfast doctor {shlex.quote(url)}")) if not of_the_machine(one)
    ] == []


def test_a_password_is_not_printed(shop: str, engine_name: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = Shell(capsys, shop).run(f"holdfast explain {shlex.quote(shop)} {shlex.quote(SLOW)}")
    if engine_name == "debian":
        assert 'holdfast suggest "$HOLDFAST_URL"' in said
    else:
        assert shop in said


def test_a_server_that_counts_statements_leads_there_without_naming_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = servers.debian_bin()
    if programs is None or not list((programs.parent / "lib").glob("pg_stat_statements*")):
        pytest.skip("no PostgreSQL with pg_stat_statements here")
    server = servers._new(programs, password="counts")
    try:
        server.execute("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'")
        server.restart()
        server.create_database("counted")
        monkeypatch.setenv("HOLDFAST_URL", server.url("counted"))
        with holdfast.connect(server.url("counted")) as db:
            db.execute("CREATE EXTENSION pg_stat_statements")
            db.create_table("orders", {"id": "INTEGER PRIMARY KEY", "customer": int, "state": str})
            db.insert_many("orders", [{"customer": n % 2_000, "state": "open"} for n in range(ROWS)])
            db.analyze()
            for n in range(20):
                db.query("SELECT count(*) FROM orders WHERE customer = ?", [n])
        shell = Shell(capsys, server.url("counted"), monkeypatch)
        said = shell.run("holdfast doctor")
        assert "which was run 20 times, reads every row of orders" in said
        said = shell.run(printed(said, "holdfast suggest"))
        assert "times as fast" in said
        # What the server does for itself, and what others ask of it, is not spoken of.
        assert "not looked at" not in said
        shell.run(printed(said, "holdfast suggest"))
        assert "reads every row" not in shell.run("holdfast doctor")
    finally:
        server.destroy()
