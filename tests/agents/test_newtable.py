"""Tables of a project's own: what is refused, what is written, and what can be done with it then."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import holdfast
from agents.test_guide import clean_environment
from holdfast import errors
from holdfast.agents import newtable, offline
from holdfast.agents.fields import KINDS, read_fields, table_name
from holdfast.agents.models import metadata
from holdfast.agents.project import Project
from holdfast.agents.tablecode import class_name, written

EVERY = [f"a_{kind}:{kind}" for kind in KINDS] + [f"b_{kind}:{kind}:optional" for kind in KINDS]
EVERY += ["code:str:unique", "rank:int:index", "author_id:users.id:restrict", "thread_id:threads.id:optional"]


def holdfast_agents(folder: Path, *words: str, url: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "holdfast", "agents", *words],
        cwd=folder,
        env=clean_environment() | {"HOLDFAST_URL": url},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("", errors.InvalidIdentifier),
        ("Recipes", errors.InvalidIdentifier),
        ("1st", errors.InvalidIdentifier),
        ("a b", errors.InvalidIdentifier),
        ("a;drop", errors.InvalidIdentifier),
        ("../x", errors.InvalidIdentifier),
        ("reçus", errors.InvalidIdentifier),
        ("x" * 41, errors.InvalidIdentifier),
        ("select", errors.InvalidIdentifier),
        ("order", errors.InvalidIdentifier),
        ("class", errors.InvalidIdentifier),
        ("hf_mine", errors.InvalidIdentifier),
        ("sqlite_x", errors.InvalidIdentifier),
        ("pg_x", errors.InvalidIdentifier),
        ("alembic_version", errors.InvalidIdentifier),
        ("users", errors.TableExists),
    ],
)
def test_a_name_that_cannot_be_is_refused(name: str, kind: type[errors.Error]) -> None:
    with pytest.raises(kind) as caught:
        table_name(name, set(metadata.tables))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title", "no type"),
        ("title:", "no type"),
        (":str", "name of a field"),
        ("Title:str", "name of a field"),
        ("ti tle:str", "name of a field"),
        ("class:str", "name of a field"),
        ("title:string", "unknown type"),
        ("title:str:requird", "says nothing"),
        ("title:str:cascade", "says nothing"),
        ("data:json:index", "JSON"),
        ("id:int", "every such table"),
        ("text:str", "every such table"),
        ("metadata:str", "models' own"),
        ("model_name:str", "models' own"),
        ("copy:str", "models' own"),
        ("int:int", "models' own"),
        ("bytes:bytes:optional", "models' own"),
        ("kept:bool", "models' own"),
        ("who:user.id", "in no model"),
        ("who:users.email", "no primary key"),
        ("who:users.", "no primary key"),
        ("who:member_skills.skill_id", "no primary key"),
        ("who:users.id:set_null", "contradict"),
        ("who:users.id:optional:cascade:restrict", "contradict"),
    ],
)
def test_a_field_that_cannot_be_is_refused(text: str, said: str) -> None:
    with pytest.raises(errors.Error, match=said):
        read_fields([text], metadata, ["text"])


def test_a_field_twice_or_none_is_refused() -> None:
    with pytest.raises(errors.InvalidQuery, match="twice"):
        read_fields(["a:int", "a:str"], metadata)
    with pytest.raises(errors.InvalidQuery, match="at least one"):
        read_fields([], metadata)


def test_what_is_refused_writes_nothing(tmp_path: Path) -> None:
    project = Project.at(tmp_path)
    with holdfast.connect(tmp_path / "app.db") as db:
        db.create_table("mine", {"id": int})
        for name, fields, kind in (
            ("mine", ["a:int"], None),
            ("users", ["a:int"], None),
            ("fine", ["a:nope"], None),
            ("fine", ["a:int"], "wisdom"),
            ("fine", ["a:int"], None),  # the migrations have not run
        ):
            with pytest.raises(errors.Error):
                newtable.new_table(db, name, fields, project=project, kind=kind)
        assert db.list_tables() == ["mine"]
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("app.db")) == []


def test_a_class_has_the_name_of_one_row() -> None:
    names = {
        "recipes": "Recipe",
        "recipe_steps": "RecipeStep",
        "categories": "Category",
        "boxes": "Box",
        "glass": "Glass",
        "news": "New",
        "rows": "RowEntry",
        "fields": "FieldEntry",
        "nones": "NoneEntry",
        "warnings": "WarningEntry",
        "days": "DayEntry",
        "as_": "As",
    }
    assert {table: class_name(table) for table in names} == names
    assert class_name("teams", {"Team", "TeamEntry"}) == "TeamEntryEntry"


@pytest.mark.parametrize("kind", [None, "knowledge", "memory"])
def test_the_code_of_every_kind_of_field_is_tidy(kind: str | None, tmp_path: Path) -> None:
    code = written("things", read_fields(EVERY, metadata), kind=kind)
    path = tmp_path / "things.py"
    path.write_text(code.text)
    compile(code.text, "things.py", "exec")
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent))
    if ruff is None:
        pytest.skip("ruff is not installed")
    for command in (["check", "--select=E4,E7,E9,F,I,UP,B,W"], ["format", "--check", "--diff"]):
        done = subprocess.run(
            [ruff, *command, "--isolated", path.name], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


USE = """
import uuid
from datetime import UTC, date, datetime

import holdfast
from holdfast.agents import drift
from holdfast.errors import AlreadyExists, ConfigurationError, NotFoundError
from holdfast.memory.embed import HashingEmbedder
from sqlmodel import Session, select

import models
from holdfast.agents.models import User
from models.notes import Note, NoteCreate, NoteOut, NotesOut, NoteUpdate, notes

notes.embed = HashingEmbedder(64)
with holdfast.connect() as db:
    ada, bob = (User(email=f"{name}@example.org", password_hash="h") for name in ("ada", "bob"))
    with Session(db.engine, expire_on_commit=False) as session:
        session.add_all([ada, bob])
        session.commit()
    moment = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    full = dict(text="lemon trees need sun", topic="garden", seen=moment, day=date(2026, 1, 2))
    full["tags"] = {"a": [1]}
    one = notes.add(db, NoteCreate(**full), user_id=ada.id)
    bread = {"text": "bread needs a night", "topic": "food"}
    two = notes.add(db, NoteCreate(**{**full, **bread}), user_id=ada.id)
    notes.add(db, NoteCreate(**full), user_id=bob.id)
    assert notes.get(db, one.id, user_id=ada.id).model_dump() == one.model_dump()
    assert one.seen == moment and one.tags == {"a": [1]} and one.user_id == ada.id
    NotesOut(data=[NoteOut.model_validate(one, from_attributes=True)])

    for given in ({}, {"user_id": None}):
        try:
            notes.search(db, "lemon", **given)
        except ConfigurationError:
            pass
        else:
            raise AssertionError("whose?")
    try:
        notes.get(db, one.id, user_id=bob.id)
    except NotFoundError:
        pass
    else:
        raise AssertionError("another's")
    try:
        notes.add(db, NoteCreate(**full), user_id=ada.id)
    except AlreadyExists:
        pass
    else:
        raise AssertionError("twice")
    assert db.count("notes") == 3, "what was refused left a row"

    found = notes.search(db, "lemon sun", user_id=ada.id)
    assert found[0].row.id == one.id and found[0].why and found[0].score > 0
    food = notes.search(db, "needs", filters={"topic": "food"}, user_id=ada.id)
    assert [hit.row.id for hit in food] == [two.id]

    changed = notes.update(db, one.id, NoteUpdate(text="olive trees need less"), user_id=ada.id)
    assert changed.topic == "garden"
    assert notes.search(db, "olive", mode="text", user_id=ada.id)[0].row.text == "olive trees need less"
    assert notes.search(db, "lemon", mode="text", user_id=ada.id) == []
    try:
        with db.transaction():
            notes.update(db, one.id, {"topic": "undone"}, user_id=ada.id)
            raise RuntimeError
    except RuntimeError:
        pass
    assert notes.get(db, one.id, user_id=ada.id).topic == "garden"

    db.delete("notes", {"id": two.id})
    assert [hit.row.id for hit in notes.search(db, "bread", mode="text", user_id=ada.id)] == []
    db.insert("notes", {**one.model_dump(), "id": uuid.uuid4(), "text": "figs"})
    assert notes.rebuild(db) == 3
    assert notes.search(db, "figs", mode="text", user_id=ada.id)[0].row.text == "figs"

    notes.remove(db, one.id, user_id=ada.id)
    assert notes.search(db, "olive", mode="text", user_id=ada.id) == []
    db.delete("users", {"id": ada.id})
    assert db.count("notes") == 1
    with Session(db.engine) as session:
        assert [row.user_id for row in session.exec(select(Note)).all()] == [bob.id]
    assert drift.check(db) == []
print("used")
"""


def test_a_memory_table_is_made_and_used(url: str, tmp_path: Path) -> None:
    assert holdfast_agents(tmp_path, "migrate", "upgrade", url=url).returncode == 0
    fields = ["topic:str:index", "seen:datetime", "day:date:optional", "tags:json", "by:users.id:optional"]
    made = holdfast_agents(tmp_path, "new-table", "notes", *fields, "--memory", "--yes", url=url)
    assert made.returncode == 0, made.stderr
    assert "verified notes" in made.stdout
    assert "op.create_table" in made.stdout
    done = subprocess.run(
        [sys.executable, "-c", USE],
        cwd=tmp_path,
        env=clean_environment() | {"HOLDFAST_URL": url},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "used\n"), done.stderr


RELATED = """
from datetime import date

import holdfast
import models
from holdfast.agents.models import Team, User
from sqlmodel import Session, select

with holdfast.connect() as db, Session(db.engine) as session:
    session.add(models.NoteEntry(date=date(2026, 1, 2), datetime=None))
    session.add(User(email="ada@example.org", password_hash="h", teams=[Team(name="crew")]))
    session.commit()
    print(session.exec(select(User)).one().teams[0].name, session.exec(select(models.NoteEntry)).one().date)
"""


def test_tables_and_fields_with_the_names_of_what_is_there(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/app.db"
    assert holdfast_agents(tmp_path, "migrate", "upgrade", url=url).returncode == 0
    for name, *fields in (
        ("team", "a:int"),
        ("note", "a:int"),
        ("notes", "date:date", "datetime:datetime:optional", "other:date:optional"),
    ):
        made = holdfast_agents(tmp_path, "new-table", name, *fields, "--yes", url=url)
        assert made.returncode == 0, made.stderr
    done = subprocess.run(
        [sys.executable, "-c", RELATED],
        cwd=tmp_path,
        env=clean_environment() | {"HOLDFAST_URL": url},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "crew 2026-01-02\n"), done.stderr


def test_no_leaves_nothing_and_another_table_joins_the_branch(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/app.db"
    assert holdfast_agents(tmp_path, "migrate", "upgrade", url=url).returncode == 0
    refused = holdfast_agents(tmp_path, "new-table", "steps", "n:int", url=url, stdin="n\n")
    assert refused.returncode == 1
    assert "nothing was changed" in refused.stdout
    assert not (tmp_path / "models").exists()
    assert not list(tmp_path.glob("migrations/*.py"))
    for name in ("steps", "cooks"):
        made = holdfast_agents(tmp_path, "new-table", name, "n:int", "--yes", url=url)
        assert made.returncode == 0, made.stderr
    third = holdfast_agents(tmp_path, "new-table", "uses", "cook:cooks.id", "step:steps.id", "-y", url=url)
    assert third.returncode == 0, third.stderr
    assert (tmp_path / "models" / "__init__.py").read_text().splitlines()[2:] == [
        "from .cooks import Cook as Cook",
        "from .steps import Step as Step",
        "from .uses import Use as Use",
    ]
    assert "the database is what" in holdfast_agents(tmp_path, "migrate", "check", url=url).stdout
    project = Project.at(tmp_path)
    undone = offline.sql("sqlite", "app:app@base", project=project)
    assert undone.index('DROP TABLE "uses"') < undone.index('DROP TABLE "cooks"')
