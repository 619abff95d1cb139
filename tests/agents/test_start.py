"""`holdfast agents init`: what it says it did, and what it says when it cannot."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

import holdfast
import servers
from agents.test_newtable import holdfast_agents
from holdfast import errors
from holdfast.agents import migrate, start
from holdfast.agents.project import Project

FIRST = "FIRST_SUPERUSER=ada@example.org\nFIRST_SUPERUSER_PASSWORD=correct horse\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder, and an environment that says nothing of databases."""
    for name in ("ENVIRONMENT", "SECRET_KEY", "FIRST_SUPERUSER", "FIRST_SUPERUSER_PASSWORD", "HOLDFAST_URL"):
        monkeypatch.delenv(name, raising=False)
    place = tmp_path / "project"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def test_it_says_what_it_did_and_does_it_once(url: str, folder: Path) -> None:
    (folder / ".env").write_text(FIRST)
    told: list[str] = []
    start.init(url, project=Project.at(folder), tell=told.append)
    said = "\n".join(told)
    assert "connected to" in told[0]
    assert "ran 0001 (holdfast)" in said
    assert "the superuser ada@example.org was created" in said
    assert "correct horse" not in said
    with holdfast.connect(url) as db:
        before = db.get_stats()["rows"]

    again: list[str] = []
    done = start.init(url, project=Project.at(folder), tell=again.append)
    assert done.revisions == []
    assert "the schema is up to date" in again
    assert "was there already" in again[-1]
    with holdfast.connect(url) as db:
        assert db.get_stats()["rows"] == before


def test_without_pgvector_memories_are_left_out_with_one_warning(url: str, folder: Path) -> None:
    (folder / ".env").write_text(FIRST)
    told: list[str] = []
    start.init(url, project=Project.at(folder), tell=told.append)
    warned = [line for line in told if "pgvector" in line]
    with holdfast.connect(url) as db:
        there = "hf_memories" in db.list_tables()
        assert there == (not warned)
        assert len(warned) <= 1
        if warned:
            assert "holdfast agents init" in warned[0]
        assert db.count("users") == 1


def test_without_a_first_user_it_says_what_is_missing(folder: Path) -> None:
    told: list[str] = []
    start.init("app.db", project=Project.at(folder), tell=told.append)
    assert "FIRST_SUPERUSER" in told[-1]


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ("FIRST_SUPERUSER=ada@example.org\n", "FIRST_SUPERUSER_PASSWORD is missing"),
        ("FIRST_SUPERUSER_PASSWORD=correct horse\n", "FIRST_SUPERUSER is missing"),
        (f"{FIRST}ENVIRONMENT=production\nSECRET_KEY=changethis\n", "still 'changethis'"),
        (f"{FIRST}ENVIRONMENT=prod\n", "no ENVIRONMENT 'prod'"),
    ],
)
def test_half_of_an_env_stops_it_before_anything_is_made(folder: Path, env: str, said: str) -> None:
    (folder / ".env").write_text(env)
    with pytest.raises(errors.ConfigurationError, match=said):
        start.init("app.db", project=Project.at(folder))
    assert not (folder / "app.db").exists()


def test_a_placeholder_is_a_warning_here(folder: Path) -> None:
    (folder / ".env").write_text(f"{FIRST}SECRET_KEY=changethis\n")
    told: list[str] = []
    start.init("app.db", project=Project.at(folder), tell=told.append)
    assert told[0].startswith("warning: SECRET_KEY is still 'changethis'")


def test_an_absent_server_is_waited_for_and_named(folder: Path) -> None:
    port = servers.free_port()
    began = time.monotonic()
    with pytest.raises(errors.ConnectionFailed) as caught:
        start.init(f"postgresql://app@127.0.0.1:{port}/app", project=Project.at(folder), wait=1.0)
    assert time.monotonic() - began >= 1.0
    assert str(port) in str(caught.value)
    assert "waited 1 s" in str(caught.value)
    assert caught.value.hint


def test_a_server_that_comes_later_is_waited_for(folder: Path) -> None:
    with servers.server_at(user="app", dbname="app") as server:
        url = f"postgresql://app:secure_password@{servers.HOST}:{server.port}/app"
        server.stop()
        starting = threading.Timer(1.0, server.start)
        starting.start()
        told: list[str] = []
        start.init(url, project=Project.at(folder), wait=60, tell=told.append)
        starting.join()
        assert " after " in told[0]
        with holdfast.connect(url) as db:
            assert migrate.heads_of(db) == ("0001",)


def test_a_wrong_password_is_said_at_once(folder: Path) -> None:
    try:
        server = servers.debian_server()
    except LookupError as exc:
        pytest.skip(str(exc))
    wrong = f"postgresql://{server.user}:wrong@{servers.HOST}:{server.port}/postgres"
    began = time.monotonic()
    with pytest.raises(errors.ConnectionFailed) as caught:
        start.init(wrong, project=Project.at(folder), wait=30)
    assert time.monotonic() - began < 20
    assert "waited" not in str(caught.value)
    assert "wrong" not in str(caught.value)


def test_no_database_named_is_a_wrong_call(folder: Path) -> None:
    done = holdfast_agents(folder, "init", url="")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: no database was named")


def test_a_file_that_is_no_database_is_said(folder: Path) -> None:
    (folder / "app.db").write_bytes(b"no database at all, but long enough to be looked at" * 30)
    with pytest.raises(errors.Error):
        start.init("app.db", project=Project.at(folder))


def test_a_database_changed_by_hand_is_said_before_anything_is_seeded(url: str, folder: Path) -> None:
    (folder / ".env").write_text(FIRST)
    start.init(url, project=Project.at(folder))
    told: list[str] = []
    with holdfast.connect(url) as db:
        db.table("users").add_column("nickname", str)
        start.init(url, project=Project.at(folder), tell=told.append)
        assert "warning: the column users.nickname is not in the models" in told
        db.table("users").drop_column("full_name")
    with pytest.raises(errors.SchemaError, match=r"column users\.full_name is missing"):
        start.init(url, project=Project.at(folder))
