"""The models: what the database has of them, and that the ORM and ``db`` agree."""

from __future__ import annotations

import pytest
from sqlalchemy import inspect
from sqlmodel import Session, SQLModel

import holdfast
from holdfast.agents import models
from holdfast.agents.models import (
    ApiKey,
    Checkpoint,
    CheckpointBlob,
    CheckpointWrite,
    Member,
    Message,
    Skill,
    Team,
    Thread,
    Upload,
    User,
)
from holdfast.memory.records import uuid7


def a_user(email: str = "ada@example.org") -> User:
    """A user with a row of every group."""
    user = User(email=email, password_hash="h")
    team = Team(name="crew", owner=user)
    lead = Member(name="lead", team=team)
    member = Member(name="worker", team=team, manager=lead)
    member.skills.append(Skill(name="search", owner=user, definition={"a": [1, None]}))
    thread = Thread(team=team)
    thread.messages.append(Message(role="user", content="hello", member=member, details={"x": "ü"}))
    thread.checkpoints.append(Checkpoint(checkpoint_id="1", kind="msgpack", data=b"\0x"))
    team.api_keys.append(ApiKey(label="ci", prefix="hf_1", key_hash=email))
    user.uploads.append(Upload(name="notes.txt"))
    return user


def saved(db: holdfast.Database, user: User) -> User:
    with Session(db.engine, expire_on_commit=False) as session:
        session.add(user)
        session.flush()
        thread_id = user.teams[0].threads[0].id
        key = {"thread_id": thread_id, "checkpoint_ns": "", "kind": "k", "data": b"1"}
        session.add(CheckpointBlob(channel="c", version="1", **key))
        session.add(CheckpointWrite(checkpoint_id="1", task_id="t", idx=-1, channel="c", task_path="", **key))
        session.commit()
    return user


def counts(db: holdfast.Database) -> dict[str, int]:
    return {table: db.count(table) for table in models.metadata.tables}


def test_every_table_gets_a_row(app: holdfast.Database) -> None:
    saved(app, a_user())
    assert all(counts(app).values())


def test_the_orm_and_the_verbs_read_the_same(app: holdfast.Database) -> None:
    user = saved(app, a_user())
    row = app.get("users", user.id)
    assert row == user.model_dump()
    assert row["created_at"].tzinfo is not None
    assert app.select("skills", "definition") == [{"definition": {"a": [1, None]}}]
    key = app.insert("teams", {**app.select("teams")[0], "id": uuid7(), "name": "b"})
    with Session(app.engine) as session:
        team = session.get(Team, key)
        assert team is not None
        assert team.model_dump() == app.get("teams", key)


def test_a_raw_delete_removes_what_the_orm_removes(app: holdfast.Database) -> None:
    other = saved(app, a_user("other@example.org"))
    before = counts(app)
    first, second = saved(app, a_user("a@example.org")), saved(app, a_user("b@example.org"))
    with Session(app.engine) as session:
        session.delete(session.get(User, first.id))
        session.commit()
    app.execute("DELETE FROM users WHERE id = ?", [str(second.id)])
    assert counts(app) == before
    assert app.select("users", "id") == [{"id": other.id}]


@pytest.mark.parametrize("raw", [True, False])
def test_what_a_member_said_and_whom_it_led_stay(app: holdfast.Database, raw: bool) -> None:
    user = saved(app, a_user())
    lead, worker = user.teams[0].members
    for member in (lead, worker):
        if raw:
            app.delete("members", {"id": member.id})
        else:
            with Session(app.engine) as session:
                session.delete(session.get(Member, member.id))
                session.commit()
        assert {row["manager_id"] for row in app.select("members")} <= {None}
    assert app.select("messages", ["content", "member_id"]) == [{"content": "hello", "member_id": None}]
    assert app.count("skills") == 1
    assert app.count("member_skills") == 0


def test_a_skill_that_goes_is_unlinked(app: holdfast.Database) -> None:
    user = saved(app, a_user())
    app.delete("skills", {"id": user.skills[0].id})
    assert app.count("member_skills") == 0
    assert app.count("members") == 2


@pytest.mark.parametrize(
    ("table", "change", "kind"),
    [
        ("users", {"email": "ADA@example.org"}, holdfast.errors.CheckViolation),
        ("members", {"temperature": 2.5}, holdfast.errors.CheckViolation),
        ("members", {"kind": "boss"}, holdfast.errors.CheckViolation),
        ("members", {"position": -1}, holdfast.errors.CheckViolation),
        ("messages", {"role": "God"}, holdfast.errors.CheckViolation),
        ("uploads", {"size": -1}, holdfast.errors.CheckViolation),
        ("uploads", {"status": "?"}, holdfast.errors.CheckViolation),
        ("members", {"name": "same"}, holdfast.errors.UniqueViolation),
        ("threads", {"team_id": uuid7()}, holdfast.errors.ForeignKeyViolation),
    ],
)
def test_the_database_itself_refuses(
    app: holdfast.Database, table: str, change: dict[str, object], kind: type[holdfast.Error]
) -> None:
    saved(app, a_user())
    with pytest.raises(kind):
        app.update(table, change, all_rows=True)


def test_managed_skills_have_one_name_each_and_own_ones_do_not_meet_them(app: holdfast.Database) -> None:
    user = saved(app, a_user())
    managed = {"definition": {}, "description": "", "name": "search", "owner_id": None}
    times = {name: app.get("users", user.id)[name] for name in ("created_at", "updated_at")}
    app.insert("skills", {"id": uuid7(), **managed, **times})
    with pytest.raises(holdfast.errors.UniqueViolation):
        app.insert("skills", {"id": uuid7(), **managed, **times})


def test_every_constraint_has_a_name(app: holdfast.Database) -> None:
    inspector = inspect(app.engine)
    for table in models.metadata.tables:
        assert inspector.get_pk_constraint(table)["name"]
        found = [
            *inspector.get_foreign_keys(table),
            *inspector.get_unique_constraints(table),
            *inspector.get_check_constraints(table),
        ]
        assert [one for one in found if not one["name"]] == []


def test_every_foreign_key_says_what_a_delete_does_and_has_an_index(app: holdfast.Database) -> None:
    inspector = inspect(app.engine)
    for table in models.metadata.tables:
        indexed = [index["column_names"] for index in inspector.get_indexes(table)]
        indexed += [one["column_names"] for one in inspector.get_unique_constraints(table)]
        indexed.append(inspector.get_pk_constraint(table)["constrained_columns"])
        for key in inspector.get_foreign_keys(table):
            assert key["options"]["ondelete"] in ("CASCADE", "SET NULL")
            columns = key["constrained_columns"]
            assert any(found[: len(columns)] == columns for found in indexed), (table, columns)


SECRETS = ("password", "hash", "secret")
OUT = [kind for name, kind in vars(models).items() if name.endswith(("Out", "Made"))]


@pytest.mark.parametrize("shape", OUT, ids=lambda shape: shape.__name__)
def test_nothing_that_goes_out_has_a_hash(shape: type[SQLModel]) -> None:
    schema = str(shape.model_json_schema()).lower()
    assert not [word for word in SECRETS if word in schema.replace("'sha256'", "")]


def test_there_are_eight_groups_of_six_shapes() -> None:
    assert len([name for name in vars(models) if name.endswith("sOut")]) == 9  # messages have their own
    for group in (User, Team, Member, Skill, Thread, Message, Checkpoint, Upload, ApiKey):
        for suffix in ("Create", "Update", "Out", "sOut"):
            assert hasattr(models, f"{group.__name__}{suffix}")


def test_a_hash_is_not_in_the_repr() -> None:
    assert "secret" not in repr(User(email="a@b.org", password_hash="secret"))
    assert "secret" not in repr(ApiKey(label="x", prefix="p", key_hash="secret"))
