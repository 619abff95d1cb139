"""The real program, run as a process, on SQLite and on the embedded PostgreSQL."""

from __future__ import annotations

import io
import json
import os
import pty
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

import holdfast
from holdfast.cli import main

PROGRAM = [sys.executable, "-m", "holdfast.cli.main"]


def run(
    *arguments: str, given: str | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the program as a process of its own."""
    return subprocess.run(
        [*PROGRAM, *arguments], input=given, capture_output=True, text=True, cwd=cwd, timeout=120
    )


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run what the process runs, in this one: starting costs more than most commands do."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
        main.run(arguments)
    assert isinstance(left.value.code, int)
    return subprocess.CompletedProcess(arguments, left.value.code, out.getvalue(), err.getvalue())


def output(*arguments: str) -> str:
    done = call(*arguments)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def refusal(code: int, *arguments: str, cwd: Path | None = None, lines: int = 1) -> str:
    done = run(*arguments, cwd=cwd) if cwd else call(*arguments)
    assert (done.returncode, done.stdout) == (code, ""), done
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == lines
    return done.stderr


@pytest.fixture(params=["sqlite", "embedded"])
def engine_name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def filled(url: str) -> Iterator[str]:
    with holdfast.connect(url) as db:
        db.create_table("labs", {"id": "INTEGER PRIMARY KEY", "name": "TEXT NOT NULL"})
        db.create_table(
            "runs",
            {"id": "INTEGER PRIMARY KEY", "lab": "INTEGER", "note": "TEXT", "acc": "REAL", "more": "JSON"},
            foreign_keys={"lab": "labs(id)"},
        )
        db.create_index("runs", "acc")
        db.insert("labs", {"id": 1, "name": "Kyoto"})
        db.insert("runs", {"id": 1, "lab": 1, "note": "a,b", "acc": 0.5, "more": {"k": [1]}})
        db.insert("runs", {"id": 2, "lab": 1, "note": "", "acc": float("inf")})
        db.insert("runs", {"id": 3})
    return url


def test_tables_are_listed_with_their_counts(filled):
    assert json.loads(run("tables", filled, "--json").stdout)[1] == {"table": "runs", "rows": 3}
    assert output("tables", filled).split() == ["table", "rows", "-----", "----", "labs", "1", "runs", "3"]
    listed = json.loads(output("tables", filled, "--json"))
    assert listed == [{"table": "labs", "rows": 1}, {"table": "runs", "rows": 3}]


def test_the_schema_names_columns_keys_and_indexes(filled):
    shown = output("schema", filled)
    assert "lab " in shown
    assert "-> labs(id)" in shown
    assert "index idx_runs_acc (acc)" in shown
    one = json.loads(output("schema", filled, "labs", "--json"))
    assert [column["name"] for column in one["labs"]["columns"]] == ["id", "name"]


def test_the_schema_as_sql_makes_the_same_tables(filled, new_url):
    statements = output("schema", filled, "--sql").split(";\n")
    with holdfast.connect(new_url()) as db:
        for statement in filter(None, statements):
            db.execute(statement)
        assert db.list_tables() == ["labs", "runs"]


def test_the_summary_and_the_diagram_show_every_table(filled, tmp_path):
    shown = output("summary", filled)
    assert "labs" in shown
    assert "runs" in shown
    output("diagram", filled, str(tmp_path / "schema.svg"))
    assert "<svg" in (tmp_path / "schema.svg").read_text()


def test_inspect_says_what_the_columns_hold(filled, tmp_path):
    shown = output("inspect", filled)
    assert "runs: table, 3 rows" in shown
    assert "labs: table, 1 row" in shown
    assert "runs" not in output("inspect", filled, "labs").replace("-> runs", "")
    (found,) = json.loads(output("inspect", filled, "runs", "--json", "--rows", "2", "--seconds", "60"))
    assert (found["rows"], found["read"], found["is_sample"]) == (3, 2, True)
    refusal(1, "inspect", filled, "run")
    refusal(2, "inspect", filled, "--rows", "0")
    output("diagram", filled, str(tmp_path / "x.mmd"), "--around", "labs", "--depth", "0", "--columns", "all")
    assert "runs" not in (tmp_path / "x.mmd").read_text()
    output("diagram", filled, str(tmp_path / "x.mmd"), "--group", "prefix", "--table", "labs")
    refusal(1, "diagram", filled, str(tmp_path / "x.mmd"), "--around", "lab")
    refusal(2, "diagram", filled, str(tmp_path / "x.mmd"), "--columns", "most")


def test_inspecting_a_file_that_is_no_database_is_one_line(tmp_path):
    (tmp_path / "x.db").write_bytes(os.urandom(10_000))
    for command in (["inspect"], ["summary"], ["tables"], ["diagram"]):
        path = [str(tmp_path / "x.svg")] if command == ["diagram"] else []
        refusal(1, *command, str(tmp_path / "x.db"), *path)


def test_a_query_takes_parameters_and_prints_three_ways(filled):
    sql = "SELECT id, note, acc, more FROM runs WHERE id <= :top ORDER BY id"
    rows = json.loads(output("query", filled, sql, "--param", "top=2", "--json"))
    assert rows[0] == {"id": 1, "note": "a,b", "acc": 0.5, "more": {"k": [1]}}
    assert rows[1] == {"id": 2, "note": "", "acc": "inf", "more": None}
    assert output("query", filled, sql, "--param", "top=1").splitlines() == [
        "id  note  acc  more",
        "--  ----  ---  ----------",
        ' 1  a,b   0.5  {"k": [1]}',
    ]
    lines = output("query", filled, sql, "--param", "top=2", "--csv").splitlines()
    assert lines == ["id,note,acc,more", '1,"a,b",0.5,"{""k"":[1]}"', '2,"",inf,']


def test_a_parameter_is_text_where_it_is_not_json(filled):
    sql = "SELECT id FROM runs WHERE note = :note"
    assert json.loads(output("query", filled, sql, "--param", "note=a,b", "--json")) == [{"id": 1}]
    assert json.loads(output("query", filled, sql, "--param", 'note="a,b"', "--json")) == [{"id": 1}]
    assert json.loads(output("query", filled, sql, "--param", "note=x'; DROP TABLE runs;--", "--json")) == []


def test_a_query_changes_nothing_without_write(filled):
    assert "--write" in refusal(1, "query", filled, "DELETE FROM runs")
    assert output("query", filled, "DELETE FROM runs WHERE id = 3", "--write") == "1 rows changed\n"
    assert json.loads(output("tables", filled, "--json"))[1]["rows"] == 2


def test_rows_leave_and_come_back_as_csv(filled, tmp_path):
    path = str(tmp_path / "runs.csv")
    assert output("export", filled, "runs", path) == f"wrote 3 rows to {path}\n"
    assert output("export", filled, "runs", "-") == Path(path).read_text()
    assert output("export", filled, "SELECT id FROM runs WHERE id = 2", "-") == "id\n2\n"
    assert output("import", filled, "copies", path) == "loaded 3 rows into copies\n"
    assert run("import", filled, "more copies", "-", given=Path(path).read_text()).returncode == 0
    same = "SELECT id, note FROM {} ORDER BY id"
    texts = {output("query", filled, same.format(name)) for name in ("runs", "copies", '"more copies"')}
    assert len(texts) == 1


def test_a_bad_file_is_not_imported(filled, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("id,lab\n4,1\nfive,1\n")
    assert "line 3" in refusal(1, "import", filled, "runs", str(path))
    assert json.loads(output("tables", filled, "--json"))[1]["rows"] == 3
    refusal(1, "import", filled, "runs", str(tmp_path / "absent.csv"))


def test_a_failed_import_leaves_no_new_file(tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("id,lab\n4,1\n5\n")
    refusal(1, "import", str(tmp_path / "new.db"), "runs", str(path))
    assert [found.name for found in tmp_path.iterdir()] == ["bad.csv"]


def test_a_backup_is_proven_and_restored(filled, new_url, tmp_path):
    path = tmp_path / "runs.sql"
    output("backup", filled, str(path))
    assert output("verify", filled, str(path)).strip()
    other = new_url()
    output("restore", other, str(path))
    assert output("query", other, "SELECT * FROM runs") == output("query", filled, "SELECT * FROM runs")
    path.write_bytes(path.read_bytes()[:-40])
    refusal(1, "verify", filled, str(path))
    refusal(1, "restore", filled, str(path))
    assert json.loads(output("tables", filled, "--json"))[1]["rows"] == 3


def test_restoring_is_rehearsed_partial_or_into_a_new_database(filled, new_url, tmp_path, engine_name):
    path = tmp_path / "runs.sql"
    output("backup", filled, str(path))
    assert "replaces" in output("restore", filled, str(path), "--dry-run")
    assert "kept in" in output("restore", filled, str(path), "--table", "runs")
    assert "kept in" not in output("restore", filled, str(path), "--no-keep")
    place = str(tmp_path / "made.db") if engine_name == "sqlite" else new_url()
    output("restore", filled, str(path), "--into", place)
    assert output("query", place, "SELECT * FROM runs") == output("query", filled, "SELECT * FROM runs")
    refusal(1, "restore", filled, str(path), "--into", place)
    if engine_name == "sqlite":
        path.write_bytes(path.read_bytes()[:-40])
        refusal(1, "restore", str(tmp_path / "never.db"), str(path))
        assert not (tmp_path / "never.db").exists()


def test_backups_are_listed_pruned_and_made_when_due(filled, tmp_path):
    folder = tmp_path / "nightly"
    refusal(1, "schedule", filled, str(folder), "--check")
    assert "wrote and proved" in output("schedule", filled, str(folder), "--keep-last", "2")
    assert "is due" in output("schedule", filled, str(folder))
    assert "is due" in output("schedule", filled, str(folder), "--check")
    for name in ("a.sql", "b.sql"):
        output("backup", filled, str(folder / name))
    rows = json.loads(output("backups", str(folder), "--json"))
    assert [row["backup"] for row in rows][:2] == ["b.sql", "a.sql"]
    assert {row["state"] for row in rows} == {"ok"}
    head, *lines = output("backups", str(folder), "--csv").splitlines()
    assert head == "backup,made,database,tables,rows,bytes,state"
    assert [line.partition(",")[0] for line in lines] == [row["backup"] for row in rows]
    told = ("prune", str(folder), "--keep-last", "1", "--dry-run")
    assert [row["what"] for row in json.loads(output(*told, "--json"))][1:] == ["would be removed"] * 2
    assert output(*told, "--csv").splitlines()[0] == "backup,made,what"
    assert output("prune", str(folder), "--keep-last", "1", "--dry-run").count("would be removed") == 2
    assert output("prune", str(folder), "--keep-last", "1").count("removed") == 2
    assert [path.name for path in folder.glob("[!.]*")] == ["b.sql"]
    (folder / "b.sql").write_bytes((folder / "b.sql").read_bytes()[:-9])
    done = call("backups", str(folder))
    assert (done.returncode, "DAMAGED" in done.stdout) == (1, True)
    refusal(1, "prune", str(folder))
    refusal(1, "backup", filled, str(folder / "c.sql"), "--keep-last", "1")


def test_other_programs_are_told_when_to_call(filled, tmp_path, engine_name):
    if engine_name == "sqlite":
        text = output("schedule", filled, str(tmp_path / "b"), "--every", "02:30", "--cron", "--systemd")
        assert text.splitlines()[1].startswith("30 2 * * * ")
        assert "OnCalendar=*-*-* 02:30:00" in text
    told = refusal(2, "schedule", "postgresql://me:secret@host/db", str(tmp_path), "--cron")
    assert "secret" not in told


def test_mistakes_are_one_line_that_helps(filled):
    assert "runs" in refusal(1, "schema", filled, "rums")
    assert "syntax" in refusal(1, "query", filled, "SELECT 1 FORM runs", lines=3)  # a mark below the place
    assert ":top" in refusal(1, "query", filled, "SELECT :top")
    assert "--help" in refusal(2, "query", filled)
    assert "--help" in refusal(2, "query", filled, "SELECT 1", "--param", "top")
    assert "exclude" in refusal(2, "query", filled, "SELECT 1", "--csv", "--json")


@pytest.mark.parametrize(
    ("code", "arguments", "says"),
    [
        (2, ("nosuch",), "nosuch"),
        (2, ("tables",), "URL"),
        (2, ("tables", "mysql://me:secret@host/db"), "mysql"),
        (2, ("tables", "a.db", "postgresql://me:secret@host/db"), "postgresql"),
        (1, ("tables", "postgresql://me:secret@127.0.0.1:1/db"), "port 1"),
        (1, ("tables", "absent.db"), "absent.db"),
        (1, ("query", "absent.db", "CREATE TABLE t (a INTEGER)", "--write"), "absent.db"),
        (1, ("backup", "absent.db", "a.sql"), "absent.db"),
        (1, ("tables", "postgresql+embedded:///./absent"), "absent"),
        (1, ("tables", "text.txt"), "not a SQLite"),
        (1, ("tables", "."), "directory"),
    ],
)
def test_bad_input_creates_nothing_and_shows_no_secret(code, arguments, says, tmp_path):
    (tmp_path / "text.txt").write_text("not a database, but long enough to be looked at" * 50)
    message = refusal(code, *arguments, cwd=tmp_path)
    assert says in message
    assert "secret" not in message
    assert os.listdir(tmp_path) == ["text.txt"]


def test_debug_shows_where_it_came_from(tmp_path):
    done = run("--debug", "tables", str(tmp_path / "absent.db"))
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: ")


def test_version_and_help(tmp_path):
    assert run("--version").stdout == f"holdfast {holdfast.__version__}\n"
    assert "diagram" in output("--help")
    module = subprocess.run(
        [sys.executable, "-m", "holdfast", "--version"], capture_output=True, text=True, check=True
    )
    assert module.stdout == f"holdfast {holdfast.__version__}\n"
    bare = run()
    assert (bare.returncode, bare.stderr) == (2, "")


@pytest.mark.parametrize("moment", ["_run", "app"])
def test_ctrl_c_at_any_moment_is_one_word(moment):
    interrupted = (
        "import sys\nfrom holdfast.cli import main\n"
        f"def {moment}(*args, **kwargs): raise KeyboardInterrupt\n"
        f"main.{moment} = {moment}\nmain.run(['--version'])"
    )
    done = subprocess.run([sys.executable, "-c", interrupted], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted\n")


def test_a_reader_that_has_seen_enough_causes_no_traceback(tmp_path):
    path = tmp_path / "many.db"
    with holdfast.connect(path) as db:
        db.create_table("t", {"a": "INTEGER"})
        db.insert_many("t", ({"a": number} for number in range(50_000)))
    for arguments in (["query", str(path), "SELECT * FROM t"], ["export", str(path), "t", "-"]):
        program = subprocess.Popen([*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.readline()
        program.stdout.close()
        assert program.stderr.read() == b""
        program.stderr.close()
        program.wait(300)


def test_a_terminal_gets_a_drawn_table_and_no_control_characters(tmp_path):
    path = tmp_path / "odd.db"
    with holdfast.connect(path) as db:
        db.create_table("t", {"a": "TEXT"})
        db.insert("t", {"a": "\x1b[31m[bold]red"})
    shown = on_terminal("query", str(path), "SELECT a FROM t")
    assert "─" in shown
    assert "\\x1b[31m[bold]red" in shown


def on_terminal(*arguments: str) -> str:
    ours, theirs = pty.openpty()
    program = subprocess.Popen(
        [*PROGRAM, *arguments], stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"}
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # Linux says so when the other side is closed
            break
        if not chunk:
            break
        shown += chunk
    os.close(ours)
    assert program.wait(300) == 0
    return shown.decode()


def test_a_terminal_shows_the_words_of_a_search_in_colour(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    with holdfast.connect(path) as db:
        db.create_table("notes", {"id": "INTEGER PRIMARY KEY", "body": "TEXT"})
        db.insert("notes", {"body": "a ** b: New York [red]"})
        db.enable_search("notes", "body")
    shown = on_terminal("search", str(path), "notes", "york")
    assert "a ** b: New \x1b[1;33mYork\x1b[0m [red]" in shown


def test_the_program_starts_quickly():
    python = [sys.executable, "-c", ""]
    both = [(_processor_seconds([*PROGRAM, "--version"]), _processor_seconds(python)) for _ in range(7)]
    program, bare = map(min, zip(*both, strict=True))
    assert program < 20 * bare, "about seven times what Python itself takes"


def _processor_seconds(command: list[str]) -> float:
    """What a process costs; its duration also depends on what else the machine does."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_search_finds_rows_and_can_be_enabled_from_the_shell(url: str) -> None:
    with holdfast.connect(url) as db:
        db.create_table("notes", {"id": "INTEGER PRIMARY KEY", "body": "TEXT"})
        db.insert_many("notes", [{"body": "about gpt-4"}, {"body": "about New York"}])
    assert "; add --enable 'body'" in refusal(1, "search", url, "notes", "york")
    shown = output("search", url, "notes", "york", "--enable", "body")
    assert "about New **York**" in shown
    assert "gpt" not in shown
    (row,) = json.loads(output("search", url, "notes", "gpt-4 -york", "--json"))
    assert (row["id"], row["body"], row["snippet"]) == (1, "about gpt-4", "about **gpt**-**4**")
    assert json.loads(output("search", url, "notes", "about", "--limit", "1", "--json"))[0]["id"] in (1, 2)
    assert json.loads(output("search", url, "notes", "nothing", "--json")) == []
    assert output("search", url, "notes", "york", "--csv").startswith(
        "id,body,score,snippet\n2,about New York,"
    )
    assert output("search", url, "notes", "nothing", "--csv") == "id,body,score,snippet\n"
    (row,) = json.loads(output("search", url, "notes", "about", "--where", "id > 1", "--json"))
    assert row["id"] == 2
    nothing = call("search", url, "notes", "nothing")
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert nothing.stderr == "No row of notes holds all of these words.\n"
    refusal(1, "search", url, "notes", "york", "--where", "idd > 1")
    refusal(1, "search", url, "nots", "york")


def test_import_takes_what_other_programs_write(tmp_path):
    path = str(tmp_path / "t.db")
    given = "Straße;Zahl\nEins;1,5\n"
    done = subprocess.run(
        [*PROGRAM, "import", path, "t", "-", "--delimiter", ";", "--encoding", "latin-1", "--json"],
        input=given.encode("latin-1"),
        capture_output=True,
        timeout=120,
    )
    assert json.loads(done.stdout) == {"table": "t", "file": "-", "rows": 1, "dry_run": False}
    assert output("export", path, "t", "-", "--delimiter", "|", "--null", "NA") == "Straße|Zahl\nEins|1,5\n"
    assert json.loads(output("export", path, "t", str(tmp_path / "t.tsv"), "--json"))["rows"] == 1
    output("import", path, "u", str(tmp_path / "t.tsv"), "--delimiter", "\\t")
    assert output("export", path, "u", "-").endswith('Eins,"1,5"\n')


def test_import_says_byte_and_option_when_standard_input_is_another_encoding(tmp_path):
    done = subprocess.run(
        [*PROGRAM, "import", str(tmp_path / "t.db"), "t", "-"],
        input=b"a,b\n1,\xfc\n",
        capture_output=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"is not utf-8 text at byte 6; give --encoding" in done.stderr


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_standard_input_may_be_packed(tmp_path, packing, format):
    import gzip

    import zstandard

    plain = b"a\n1\n2\n" if format == "csv" else b'{"a":1}\n{"a":2}\n'
    packed = gzip.compress(plain) if packing == "gzip" else zstandard.compress(plain)
    command = [*PROGRAM, "import", str(tmp_path / "t.db"), "t", "-", "--format", format]
    done = subprocess.run(command, input=packed, capture_output=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, b"loaded 2 rows into t\n"), done.stderr
    done = subprocess.run(command, input=packed[:-4], capture_output=True, timeout=120)
    assert (done.returncode, done.stdout) == (1, b"")
    assert f"damaged, cut short, or not {packing}" in done.stderr.decode()


def test_a_dry_run_of_import_writes_nothing(tmp_path):
    path, file = tmp_path / "t.db", tmp_path / "t.csv"
    file.write_text("a,b\n1,x\n2,y\n")
    said = "2 rows would go into t; nothing was written\n"
    assert output("import", str(path), "t", str(file), "--dry-run") == said
    assert not path.exists()
    output("import", str(path), "t", str(file))
    assert output("import", str(path), "t", str(file), "--dry-run", "--if-exists", "replace") == said
    with holdfast.connect(path) as db:
        assert db.count("t") == 2
    file.write_text("a,b\n1\n")
    assert "line 2" in refusal(1, "import", str(path), "t", str(file), "--dry-run")
    assert "takes all back" in refusal(1, "import", str(path), "t", str(file), "--dry-run", "--resume")


def test_hints_name_the_options_of_the_command(tmp_path):
    path, file = str(tmp_path / "t.db"), tmp_path / "t.csv"
    file.write_text("a;b\n1;2\n")
    assert "; give --delimiter ';', or" in refusal(1, "import", path, "t", str(file))
    file.write_text("a,b\n1\n")
    assert "give --rejects to" in refusal(1, "import", path, "t", str(file))
    file.write_text("id,a\n1,x\n")
    output("import", path, "t", str(file))
    assert "; --if-exists append adds" in refusal(1, "import", path, "t", str(file), "--if-exists", "fail")
    assert "; add --enable 'a'" in refusal(1, "search", path, "t", "x")
