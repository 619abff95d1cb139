"""holdfast memory: what a person types, on a file and on a server."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import holdfast
from holdfast import memory
from holdfast.cli import main
from holdfast.memory import Passage
from servers_of_embeddings import running

NOTES = """# Tea

Ada drinks green tea without sugar.

## Green

Steep it for two minutes at eighty degrees.

# Trains

The night train to Lyon leaves at eight.
"""


@pytest.fixture
def holdfast_(tmp_path, monkeypatch, capsys):
    """Run the program in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOLDFAST_MEMORY", "HOLDFAST_EMBEDDER"):
        monkeypatch.delenv(name, raising=False)

    def run(*words, code=0):
        with pytest.raises(SystemExit) as ended:
            main.run(["memory", *map(str, words)])
        shown = capsys.readouterr()
        assert ended.value.code == code, shown
        return shown.out if code == 0 else shown.err

    return run


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.md").write_text(NOTES)
    (folder / "b.txt").write_text("Owls hunt at night.\n\nNight trains have beds.")
    return folder


def test_files_are_imported_and_found(holdfast_, notes, url):
    shown = holdfast_("import", "notes/a.md", "notes/b.txt", "--db", url)
    assert [line.split() for line in shown.splitlines()[2:]] == [
        ["notes/a.md", "3", "0", "0", "0"],
        ["notes/b.txt", "1", "0", "0", "0"],
    ]
    shown = holdfast_("search", "the train to Lyon", "--db", url)
    assert "night **train** to **Lyon**" in shown.splitlines()[2]
    assert "a.md # Trains" in shown.splitlines()[2]
    assert "Owls hunt at night. Night **trains**" in shown.splitlines()[3]
    (hit,) = json.loads(holdfast_("search", "steep", "--db", url, "--json"))
    assert (hit["data_source"], hit["metadata"]["heading"]) == ("notes/a.md", "Tea > Green")
    assert holdfast_("search", "zebra", "--db", url, "--json").strip() == "[]"


def test_once_more_changes_nothing_and_a_change_only_itself(holdfast_, notes):
    holdfast_("import", "notes")
    before = [path.read_bytes() for path in notes.parent.glob("agent.db")]
    again = json.loads(holdfast_("import", "notes", "--json"))
    assert [(one["added"], one["changed"], one["removed"], one["unchanged"]) for one in again] == [
        (0, 0, 0, 3),
        (0, 0, 0, 1),
    ]
    assert [path.read_bytes() for path in notes.parent.glob("agent.db")] == before
    (gone,) = [one["id"] for one in json.loads(holdfast_("list", "--json")) if "eight." in one["text"]]
    (notes / "a.md").write_text(NOTES.replace("eight.", "nine.").replace("# Tea", "# Teas", 1))
    (one, _) = json.loads(holdfast_("import", "notes", "--json"))
    assert (one["added"], one["changed"], one["removed"]) == (2, 1, 2)
    with memory.open("agent.db") as store:
        assert store.size() == 4
        assert [change.operation for change in store.history(gone)] == ["insert", "delete"]


def test_with_an_embedder_it_finds_by_both(holdfast_, notes):
    holdfast_("import", "notes", "--embedder", "hashing")
    shown = holdfast_("search", "steeping", "--embedder", "hashing", "--why")
    assert "Steep" in shown.splitlines()[2]
    assert "vector: rank 1" in shown
    assert "Steep" in holdfast_("search", "steep")
    assert "hashing-512" in holdfast_("stats")
    assert "recall@3 1.0000" in holdfast_("recall", "-k", 3, "--queries", 4)
    shown = holdfast_("reembed", "hashing:128", "--drop-old")
    assert "'hashing-128' is in use; 4 old vectors removed" in shown
    assert "hashing-128" in holdfast_("search", "tea", "--embedder", "hashing", code=2)


def test_a_server_of_vectors_is_named_in_the_environment(holdfast_, monkeypatch, notes):
    with running() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
        monkeypatch.setenv("HOLDFAST_EMBEDDER", "openai:small")
        holdfast_("import", "notes")
        assert "Owls" in holdfast_("search", "owl")
        server.trouble = lambda handler, number: not handler.answer(401, {})
        shown = holdfast_("add", "another text", code=1)
    assert "check the key" in shown
    assert "sk-secret" not in shown


def test_add_list_history(holdfast_, monkeypatch):
    monkeypatch.setenv("HOLDFAST_MEMORY", "mine.db")
    id = holdfast_(
        "add", "Ada drinks tea", "--source", "chat", "--meta", "n=3", "--meta", "topic=tea"
    ).strip()
    assert holdfast_("add", "Ada drinks tea").strip() == id
    holdfast_("add", "hello", "--role", "user")
    found = json.loads(holdfast_("list", "--json", "--where", '{"n": {"$gt": 2}}'))
    assert [(one["text"], one["metadata"]) for one in found] == [("Ada drinks tea", {"n": 3, "topic": "tea"})]
    assert holdfast_("list", "--csv").splitlines()[1].split(",")[2:4] == ["hello", "user"]
    assert "Ada drinks tea" in holdfast_("list", "--oldest", "--limit", 1)
    assert "insert" in holdfast_("history", id)
    assert json.loads(holdfast_("history", id, "--json"))[0]["operation"] == "insert"
    assert holdfast_("history", id, "--csv").startswith("at,what,text\n")
    assert json.loads(holdfast_("stats", "--json"))["memories"] == 2


def test_it_moves(holdfast_, url):
    holdfast_("add", "Ada drinks tea", "--embedder", "hashing")
    assert "1 memories" in holdfast_("copy", url, "--to-name", "there", "--to-user", "bob")
    with holdfast.connect(url) as db:
        assert memory.open(db, name="there", user_id="bob").get_all()[0].text == "Ada drinks tea"
    assert "already" in holdfast_("copy", url, "--to-name", "there", "--to-user", "bob", code=1)
    for path in ("one.jsonl.gz", "one.hfz"):
        holdfast_("export", path)
        assert "imported 1 memories" in holdfast_("import", path, "--db", f"{path}.db")


def test_a_user_is_erased_after_a_second_look(holdfast_, url):
    for user in ("ada", "eve"):
        holdfast_("add", "a very private text", "--user", user, "--embedder", "hashing", "--db", url)
        holdfast_("add", "more of it", "--user", user, "--name", "other", "--db", url)
    assert [line.split()[1] for line in holdfast_("erase", "ada", "--db", url).splitlines()[2:]] == ["1", "1"]
    assert json.loads(holdfast_("stats", "--user", "ada", "--db", url, "--json"))["memories"] == 1
    report = json.loads(holdfast_("erase", "ada", "--yes", "--db", url, "--json"))
    assert sum(report["removed"].values()) == 3
    assert not any(report["left"].values())
    assert json.loads(holdfast_("stats", "--user", "ada", "--db", url, "--json"))["memories"] == 0
    assert json.loads(holdfast_("stats", "--user", "eve", "--db", url, "--json"))["memories"] == 1
    assert "left" in holdfast_("erase", "eve", "--yes", "--db", url)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["search", "x"], 1, "there is no database"),
        (["search", "x", "--db", "nothere/x.db"], 1, "there is no database"),
        (["list", "--name", "other", "--db", "there.db"], 1, "--name is one of: memory"),
        (["search", "x", "--db", "there.db", "--where", "{"], 1, "no JSON"),
        (["search", "x", "--db", "there.db", "--where", '{"a": {"$near": 1}}'], 1, "$near"),
        (["search", "x", "--db", "there.db", "--mode", "magic"], 1, "magic"),
        (["search", "x", "--db", "there.db", "--mode", "vector"], 1, "vector"),
        (["search", "x", "--db", "there.db", "--embedder", "word2vec"], 2, "no embedder"),
        (["search", "x", "--db", "there.db", "--json", "--csv"], 2, "exclude"),
        (["history", "7", "--db", "there.db"], 1, "UUID"),
        (["add", "", "--db", "there.db"], 1, "empty"),
        (["add", "x", "--meta", "y", "--db", "there.db"], 2, "KEY=VALUE"),
        (["add", "x", "--role", "user", "--source", "y", "--db", "there.db"], 2, "no --source"),
        (["import", "nothere.md", "--db", "there.db"], 1, "nothere.md"),
        (["import", "there.db", "--db", "there.db"], 1, "no text"),
        (["import", "there.db", "--memgpt", "--db", "there.db"], 1, "MemGPT"),
        (["import", ".", "--db", "there.db"], 1, "no file that ends"),
        (["export", "x.csv", "--db", "there.db"], 2, "ending"),
        (["recall", "--db", "there.db"], 1, "no vectors"),
        (["forget"], 2, "forget"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(holdfast_, words, code, said):
    with memory.open("there.db") as store:
        store.insert(Passage("x"))
    shown = holdfast_(*words, code=code)
    assert said in shown
    assert shown.startswith("Error: ")
    assert len(shown.splitlines()) == 1


def test_nothing_is_made_by_looking(holdfast_, tmp_path):
    holdfast_("search", "x", code=1)
    holdfast_("stats", code=1)
    assert list(tmp_path.iterdir()) == []


def test_the_group_alone_shows_its_help():
    done = subprocess.run(
        [sys.executable, "-m", "holdfast", "memory"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "search" in done.stdout + done.stderr
