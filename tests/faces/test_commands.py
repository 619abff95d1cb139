"""The command line as a whole: what every command has, what starting one imports, terminals and pipes."""

from __future__ import annotations

import csv
import inspect
import io
import os
import re
import runpy
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import cli
import holdfast
from holdfast import memory
from holdfast.cli import families, main
from terminal import PATIENCE, PROGRAM, Terminal

COMMANDS = dict(cli.commands())


def named(words: tuple[str, ...]) -> str:
    return " ".join(words)


@pytest.fixture(autouse=True)
def _nothing_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HOLDFAST_URL", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = str(tmp_path / "lab.db")
    with holdfast.connect(path) as db:
        db.create_table("runs", {"id": "INTEGER PRIMARY KEY", "model": str, "acc": float})
        db.insert_many("runs", [{"model": f"m{n}", "acc": n / 1000} for n in range(500)])
    return path


def run(*words: str, env: dict[str, str] | None = None, given: str | None = None) -> Any:
    return subprocess.run(
        [*PROGRAM, *words],
        input=given,
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        timeout=PATIENCE,
    )


@pytest.mark.parametrize("command", ["query", "explain"])
def test_a_statement_is_read_from_a_pipe(file: str, command: str) -> None:
    sql = "SELECT id FROM runs WHERE model = :model"
    piped = run(command, file, "-", "--param", "model=m3", given=sql)
    assert (piped.returncode, piped.stderr) == (0, "")
    assert piped.stdout == run(command, file, sql, "--param", "model=m3").stdout


@pytest.mark.parametrize("words", COMMANDS, ids=named)
def test_every_command_and_option_says_what_it_does_and_shows_an_example(words: tuple[str, ...]) -> None:
    command = COMMANDS[words]
    assert re.match(r"[A-Z].*[.]", command.help), "no help"
    for param in command.params:
        assert param.help, f"{param.name} has no help"
    examples = [line.strip() for line in (command.epilog or "").splitlines() if line.startswith("  $ ")]
    assert examples
    for line in examples:
        given = shlex.split(line.partition("holdfast ")[2])
        assert tuple(given[: len(words)]) == words
        command.make_context(words[-1], given[len(words) :])


LISTS_NOTHING = {
    "rows changed, and how many": "insert update delete import delete-duplicates",
    "one sentence": "create-table drop-table rename-table add-column drop-column rename-column alter-column "
    "add-foreign-key create-index drop-index disable-search vacuum analyze optimize",
    "a file, and its name": "diagram export backup",
    "what was proven or put back": "verify restore",
    "when a backup is due, or lines for another program": "schedule",
    "a demonstration": "demo",
    "a report of several tables, whole in --json": "summary copy",
    "one thing with its parts, whole in --json": "explain health",
}
LISTS_NOTHING_IN_GROUPS = {
    "what was done": "agents migrate upgrade, agents migrate downgrade, agents migrate new, agents new, "
    "agents new-table, agents init, agents bootstrap, agents serve, sync resolve, sync stop, memory add",
    "sentences, or SQL": "agents migrate check, agents migrate sql",
    "a file, and its name": "memory export",
    "a report of several tables, whole in --json": "sync run, sync status, memory stats",
    "figures of one act, whole in --json": "memory recall, memory copy, memory reembed",
}


def test_every_listing_command_has_json_and_csv() -> None:
    """What prints rows has both; all others are named here, with what they print instead."""
    without = {name for names in LISTS_NOTHING.values() for name in names.split()}
    without |= {name for names in LISTS_NOTHING_IN_GROUPS.values() for name in names.split(", ")}
    options = {
        named(words): {one for param in c.params for one in param.opts} for words, c in COMMANDS.items()
    }
    both = {name for name, given in options.items() if {"--json", "--csv"} <= given}
    assert sorted(without - set(options)) == []
    assert sorted(both & without) == []
    assert sorted(set(options) - both - without) == []


@pytest.mark.parametrize(
    "words",
    [
        ("tables", "{file}"),
        ("schema", "{file}"),
        ("inspect", "{file}"),
        ("query", "{file}", "SELECT 1 AS one"),
        ("select", "{file}", "runs"),
        ("doctor", "{file}"),
        ("suggest", "{file}", "SELECT * FROM runs WHERE model = 'm1'"),
        ("agents", "migrate", "history"),
    ],
    ids=lambda words: words[0],
)
def test_csv_is_read_by_its_reader(words: tuple[str, ...], file: str) -> None:
    words = tuple(word.format(file=file) for word in words)
    done = run(*words, "--csv")
    assert (done.returncode, done.stderr) == (0, "")
    head, *lines = csv.reader(io.StringIO(done.stdout))
    assert lines or words[0] == "suggest"
    assert all(len(line) == len(head) for line in lines)
    both = run(*words, "--csv", "--json")
    assert (both.returncode, both.stdout) == (2, "")
    assert "exclude each other" in both.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("tables",),
        ("schema",),
        ("summary",),
        ("inspect",),
        ("diagram", "t.svg"),
        ("query", "SELECT * FROM t"),
        ("select", "t"),
        ("explain", "SELECT * FROM t WHERE a = 1"),
        ("explain", "DELETE FROM t"),
        ("suggest", "SELECT * FROM t WHERE a = 1"),
        ("doctor",),
        ("health",),
        ("delete-duplicates", "t", "--dry-run"),
        ("export", "t", "t.csv"),
        ("backup", "t.hfz"),
    ],
    ids=" ".join,
)
def test_what_only_looks_leaves_the_file_as_it_is(words: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "plain.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER)")
        raw.executemany("INSERT INTO t (a) VALUES (?)", [(n % 50,) for n in range(200)])
        raw.commit()
    before = path.read_bytes()
    with pytest.raises(SystemExit) as left:
        main.run([words[0], str(path), *words[1:]])
    assert left.value.code == 0
    assert path.read_bytes() == before
    assert not path.with_name("plain.db-wal").exists()


def test_names_do_not_steer_a_terminal(file: str, tmp_path: Path) -> None:
    table, column, index = "t\x1b[31mX", "c\x1b[2J", "i\x1b[1m"
    with holdfast.connect(file) as db:
        db.create_table(table, {"id": "INTEGER PRIMARY KEY", column: "TEXT", "p": int})
        db.insert_many(table, [{column: f"v{n}", "p": n} for n in range(12_000)])
        db.create_index(table, [column], name=index)
        db.create_index(table, [column, "p"], name="wide\x9b1m")
        for text in (
            db.explain(f'SELECT * FROM "{table}" WHERE p = 5'),
            db.doctor(),
            db.slow_queries(),
            db.suggest_indexes([f'SELECT * FROM "{table}" WHERE p = 5']),
        ):
            assert str(text).replace("\n", "").isprintable()
            assert "t\\x1b[31mX" in str(text)
    where = f'SELECT * FROM "{table}" WHERE p = 5'
    for words in (
        ("schema", file, table),
        ("explain", file, where, "--native"),
        ("doctor", file),
        ("suggest", file, where, "--apply", "--complete", "--drop"),
        ("query", file, f'SELEC "{table}"'),
        ("insert", file, "nothing", "{}"),
        ("insert", file, table, '{"p": 1}'),
        ("create-index", file, table, "p"),
        ("rename-table", file, table, f"{table}2"),
    ):
        done = run(*words)
        text = done.stdout + done.stderr
        assert text.replace("\n", "").isprintable(), (words[0], text)
        assert "\\x1b" in text, words[0]


def test_every_verb_has_a_command_or_a_reason() -> None:
    verbs = runpy.run_path(str(Path(holdfast.__file__).parents[2] / "docs" / "cli.py"))["VERBS"]
    public = {f"db.{name}" for name in vars(holdfast.Database) if not name.startswith("_")}
    public |= {f"memory.{name}" for name, found in vars(memory.SQLStore).items() if is_verb(name, found)}
    public |= {f"memory.{name}" for name in memory.__all__ if is_verb(name, getattr(memory, name))}
    public |= {f"holdfast.{name}" for name in holdfast.__all__ if is_verb(name, getattr(holdfast, name))}
    assert sorted(public - set(verbs)) == []
    assert sorted(set(verbs) - public - {"memory.get_db_model"}) == []
    for verb, carried in verbs.items():
        assert carried, verb
        if not isinstance(carried, str):
            assert [name for name in carried if tuple(name.split()) not in COMMANDS] == [], verb


def is_verb(name: str, found: Any) -> bool:
    return inspect.isfunction(found) and not name.startswith("_")


def test_the_families_name_the_commands_of_their_modules() -> None:
    for modules in families.FAMILIES.values():
        for module, names in modules.items():
            found = import_module(f"holdfast.cli.{module}").COMMANDS
            assert [function.__name__.replace("_", "-") for function in found] == names.split(), module


HEAVY = {
    *("alembic", "asyncio", "importlib.metadata", "numpy", "pandas", "polars", "psycopg", "pyarrow"),
    *("pydantic", "pydantic_settings", "rich", "sqlalchemy", "sqlglot"),
    *("holdfast.cli.agents", "holdfast.cli.backups"),
}


@pytest.mark.parametrize(
    ("words", "few", "absent"),
    [
        (("--version",), 220, HEAVY | {"holdfast.core", "holdfast.cli.query"}),
        (("--help",), 270, HEAVY - {"holdfast.cli.agents", "holdfast.cli.backups"} | {"holdfast.core"}),
        (("tables", "--help"), 240, HEAVY | {"holdfast.core", "holdfast.cli.query"}),
        (("tables", "lab.db"), 310, HEAVY),
        (("query", "lab.db", "SELECT * FROM runs WHERE id < :n", "--param", "n=3"), 310, HEAVY),
        (("select", "lab.db", "runs", "--where", "id < 3"), 310, HEAVY),
        (("summary", "lab.db"), 330, HEAVY),
        (("schema", "lab.db"), 330, HEAVY),
    ],
    ids=["version", "help", "help of one", "tables", "query", "select", "summary", "schema"],
)
def test_starting_imports_what_the_command_needs(
    words: tuple[str, ...], few: int, absent: set[str], file: str
) -> None:
    code = (
        "import sys\nfrom holdfast.cli import main\n"
        f"try: main.run({words!r})\nexcept SystemExit as end: assert not end.code\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    modules = set(done.stderr.split())
    assert "holdfast.cli.main" in modules, done.stderr
    assert sorted(modules & absent) == []
    assert len(modules) < few


def test_the_url_may_be_left_out(file: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    env = {"HOLDFAST_URL": file}
    assert "runs" in run("tables", env=env).stdout
    assert run("query", "SELECT count(*) AS n FROM runs", "--csv", env=env).stdout == "n\n500\n"
    assert "model" in run("schema", "runs", env=env).stdout
    assert "model" in run("schema", file, "runs", env={"HOLDFAST_URL": "absent.db"}).stdout
    assert run("export", "SELECT 1 AS one", "-", env=env).stdout == "one\n1\n"
    Path(".env").write_text(f"HOLDFAST_URL={file}\n")
    assert "runs" in run("tables").stdout


def test_a_url_that_is_nowhere_is_said_to_be_missing(file: str) -> None:
    done = run("tables")
    assert (done.returncode, done.stdout) == (2, "")
    assert "HOLDFAST_URL" in done.stderr
    done = run("query", file)
    assert (done.returncode, done.stdout) == (2, "")
    assert "SQL" in done.stderr
    done = run("tables", env={"HOLDFAST_URL": "postgresql://me:secret@127.0.0.1:1/db"})
    assert done.returncode == 1
    assert "secret" not in done.stderr


def test_a_command_that_is_misspelt_is_told_the_nearest() -> None:
    done = run("tabels")
    assert done.returncode == 2
    assert "'tables'" in done.stderr


@pytest.fixture
def pager(tmp_path: Path) -> str:
    """A pager that says so."""
    program = tmp_path / "page"
    program.write_text("#!/bin/sh\necho PAGED\ncat\n")
    program.chmod(0o755)
    return str(program)


@pytest.fixture
def bash(tmp_path: Path) -> Callable[[str], list[str]]:
    """What bash offers behind a line, with our script for it, and the program by its name."""
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    program = tmp_path / "bin" / "holdfast"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.join(PROGRAM)} "$@"\n')
    program.chmod(0o755)
    script = run("--show-completion", "bash", env=COMPLETES)
    assert script.returncode == 0

    def offered(line: str) -> list[str]:
        words = line.split(" ")
        code = (
            f"{script.stdout}\n"
            f"COMP_WORDS=({' '.join(map(shlex.quote, words))}); COMP_CWORD={len(words) - 1}\n"
            "_holdfast_completion holdfast\nprintf '%s\\n' \"${COMPREPLY[@]}\""
        )
        env = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
        done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, env=env, timeout=PATIENCE)
        assert done.stderr == ""
        return done.stdout.split()

    return offered


# The shell is named, not looked for: the tests may run below another one.
COMPLETES = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}


def test_bash_completes_commands_options_and_tables(bash: Callable[[str], list[str]], file: str) -> None:
    assert bash("holdfast ta") == ["tables"]
    assert bash("holdfast memory rec") == ["recall"]
    assert "--param" in bash(f"holdfast query {file} --pa")
    assert bash(f"holdfast schema {file} ") == ["runs"]
    assert bash(f"holdfast select {file} r") == ["runs"]
    assert bash("holdfast select absent.db r") == []
    assert not Path("absent.db").exists()


def test_long_output_on_a_terminal_goes_through_the_pager(file: str, pager: str) -> None:
    sql = "SELECT id FROM runs LIMIT {}"
    long = Terminal("query", file, sql.format(100), env={"PAGER": pager}).rest()
    assert long.count("PAGED") == 1
    assert len(re.findall(r"(?m)^ *\d+\s*$", long)) == 100
    assert "PAGED" not in Terminal("query", file, sql.format(5), env={"PAGER": pager}).rest()
    assert "PAGED" not in run("query", file, sql.format(100), env={"PAGER": pager}).stdout
    absent = Terminal("query", file, sql.format(100), env={"PAGER": "/absent/pager"}).rest()
    assert len(re.findall(r"(?m)^ *\d+\s*$", absent)) == 100


def test_a_pager_that_is_left_early_is_no_error(file: str, tmp_path: Path) -> None:
    program = tmp_path / "first"
    program.write_text("#!/bin/sh\nhead -n 3\n")
    program.chmod(0o755)
    terminal = Terminal(
        "query", file, "SELECT a.id FROM runs a, runs b LIMIT 60000", env={"PAGER": str(program)}
    )
    shown = terminal.rest()
    assert "Error" not in shown
    assert "Traceback" not in shown
    assert terminal.code == 0


def test_colours_are_for_terminals_that_want_them(file: str) -> None:
    assert "\x1b[1m" in Terminal("tables", file).rest()
    assert "\x1b[1m" in Terminal("tables", file, env={"NO_COLOR": ""}).rest()
    shown = Terminal("tables", file, env={"NO_COLOR": "1"}).rest()
    assert not re.search(r"\x1b\[[\d;]*3\dm", shown)
    assert "\x1b" not in run("tables", file, env={"TERM": "xterm"}).stdout
    assert "\x1b" not in run("--help", env={"TERM": "xterm"}).stdout


def test_a_narrow_terminal_gets_whole_lines(file: str, tmp_path: Path) -> None:
    shown = Terminal("query", file, "SELECT * FROM runs WHERE id = 7", columns=40).rest()
    assert max(len(line) for line in re.sub(r"\x1b\[[\d;]*m", "", shown).splitlines()) <= 40
    wide = str(tmp_path / "wide.db")
    with holdfast.connect(wide) as db:
        db.create_table("t", {f"a quite long name {n}": str for n in range(300)})
        db.insert("t", {f"a quite long name {n}": f"value {n} " * 3 for n in range(300)})
    for words in (["query", wide, "SELECT * FROM t"], ["tables", wide], ["schema", wide], ["summary", wide]):
        terminal = Terminal(*words, columns=40, env={"PAGER": "cat"})
        shown = re.sub(r"\x1b\[[\d;]*m", "", terminal.rest())
        assert terminal.code == 0, shown
        assert "Traceback" not in shown
        if words[0] == "query":
            assert max(map(len, shown.splitlines())) <= 40
            assert "value 299 value 299" in re.sub(r"\s+", " ", shown)


@pytest.mark.parametrize(
    "words",
    [
        ["tables", "{file}"],
        ["select", "{file}", "runs", "--csv"],
        ["select", "{file}", "runs", "--json"],
        ["summary", "{file}"],
        ["query", "{file}", "SELECT a.id FROM runs a, runs b"],
        ["--help"],
    ],
    ids=lambda words: words[0],
)
def test_a_closed_pipe_is_no_traceback(words: list[str], file: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*PROGRAM, *(word.format(file=file) for word in words)],
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=PATIENCE,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize(
    "words", [("tables", "{file}"), ("export", "{file}", "runs", "-"), ("--help",), ("shell",)]
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_or_closed_output_is_one_line(
    words: tuple[str, ...], file: str, unbuffered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without a buffer a disk is found full by what writes, else by what ends.
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    line = shlex.join([*PROGRAM, *(word.format(file=file) for word in words)])
    for redirected, says in ((">&-", "the output is closed"), ("> /dev/full", "No space left on device")):
        if says.startswith("No") and words == ("shell",):
            continue
        done = subprocess.run(
            ["sh", "-c", f"{line} {redirected}"], capture_output=True, text=True, timeout=PATIENCE
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("Error: ")
        assert done.stderr.count("\n") == 1
        assert says in done.stderr


def test_a_closed_input_is_empty_and_closed_errors_go_nowhere(file: str) -> None:
    def at(line: str) -> Any:
        whole = f"{shlex.join(PROGRAM)} {line}"
        return subprocess.run(["sh", "-c", whole], capture_output=True, text=True, timeout=PATIENCE)

    done = at(f"tables {shlex.quote(file)} <&-")
    assert (done.returncode, done.stderr) == (0, "")
    assert "runs" in done.stdout
    done = at("tables absent.db 2>&-")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
