"""Create, get, list, count, update and delete, in every group and on every engine."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError
from sqlmodel import Session, select

import holdfast
from holdfast import memory
from holdfast.agents import crud, models
from holdfast.agents.crud import passwords
from holdfast.agents.models import ApiKey, Checkpoint, Member, Message, Skill, Team, Thread, Upload, User
from holdfast.errors import AlreadyExists, IntegrityError, InvalidQuery, NotFoundError, ValueRefused
from holdfast.memory.records import uuid7

PASSWORD = "correct horse battery"


@dataclass
class World:
    """A user with a row of every group."""

    user: User
    team: Team
    member: Member
    skill: Skill
    thread: Thread
    message: Message
    checkpoint: Checkpoint
    upload: Upload
    api_key: ApiKey


def world(db: holdfast.Database, email: str = "ada@example.org") -> World:
    user = crud.users.create(db, {"email": email, "password": PASSWORD})
    team = crud.teams.create(db, {"name": "crew"}, owner_id=user.id)
    member = crud.members.create(db, {"name": "worker"}, team_id=team.id)
    skill = crud.skills.create(db, {"name": "search", "definition": {"a": [1, None]}}, owner_id=user.id)
    crud.members.add_skill(db, member.id, skill.id)
    thread = crud.threads.create(db, {}, team_id=team.id)
    message = {"role": "user", "content": "hello", "details": {"ü": 1.5}, "member_id": member.id}
    state = {"checkpoint_id": "1", "kind": "msgpack", "data": b"\0\xff", "details": {"step": 1}}
    return World(
        user,
        team,
        member,
        skill,
        thread,
        crud.messages.create(db, message, thread_id=thread.id),
        crud.checkpoints.create(db, state, thread_id=thread.id),
        crud.uploads.create(db, {"name": "notes.txt", "size": 2**40}, owner_id=user.id),
        crud.api_keys.issue(db, {"label": "ci"}, team_id=team.id).row,
    )


CHANGES: dict[str, tuple[Any, dict[str, Any]]] = {
    "api_key": (crud.api_keys, {"expires_at": datetime(2030, 1, 1, tzinfo=UTC)}),
    "upload": (crud.uploads, {"status": "ready"}),
    "checkpoint": (crud.checkpoints, {"details": {"step": 2}}),
    "message": (crud.messages, {"content": "bye"}),
    "thread": (crud.threads, {"title": "new"}),
    "skill": (crud.skills, {"definition": {"b": "c"}}),
    "member": (crud.members, {"temperature": 1.5}),
    "team": (crud.teams, {"description": "new"}),
    "user": (crud.users, {"full_name": "Ada L."}),
}


def key(group: Any, row: Any) -> Any:
    values = tuple(getattr(row, name) for name in group.key)
    return values if len(values) > 1 else values[0]


def test_what_was_written_is_read_changed_and_deleted(app: holdfast.Database) -> None:
    made = world(app)
    # What refers to others comes before them.
    for name, (group, change) in CHANGES.items():
        row = getattr(made, name)
        assert group.get(app, key(group, row)).model_dump() == row.model_dump()
        assert group.count(app) == 1
        changed = group.update(app, key(group, row), change)
        read = group.get(app, key(group, row))
        assert changed.model_dump() == read.model_dump()
        before, after = row.model_dump(), read.model_dump()
        differ = {field for field in after if after[field] != before[field]}
        assert differ == {*change} | ({"updated_at"} & set(after))
        with Session(app.engine) as session:
            assert session.exec(select(group.model)).one().model_dump() == after
        assert group.update(app, key(group, row), {}).model_dump() == after
        group.delete(app, key(group, row))
        for call in (
            group.get,
            group.delete,
            lambda db, key, it=(group, change): it[0].update(db, key, it[1]),
        ):
            with pytest.raises(NotFoundError, match=f"no {group.noun} of that id"):
                call(app, key(group, row))
        assert group.list(app).rows == []


def test_none_is_a_value_only_where_there_may_be_none(app: holdfast.Database) -> None:
    made = world(app)
    crud.users.update(app, made.user.id, {"full_name": "Ada"})
    assert crud.users.update(app, made.user.id, {"full_name": None}).full_name is None
    for change in ({"email": None}, {"is_active": None}, {"password": None}):
        with pytest.raises(ValueRefused, match=next(iter(change))):
            crud.users.update(app, made.user.id, change)


TAKEN: list[tuple[Any, tuple[str, ...]]] = [
    (lambda db, w: crud.users.create(db, {"email": "ADA@Example.org", "password": PASSWORD}), ("email",)),
    (lambda db, w: crud.teams.create(db, {"name": "crew"}, owner_id=w.user.id), ("name",)),
    (lambda db, w: crud.members.create(db, {"name": "worker"}, team_id=w.team.id), ("name",)),
    (lambda db, w: crud.skills.create(db, {"name": "search"}, owner_id=w.user.id), ("name",)),
    (lambda db, w: crud.threads.create(db, {"id": w.thread.id}, team_id=w.team.id), ("id",)),
    (lambda db, w: crud.uploads.create(db, {"name": "notes.txt"}, owner_id=w.user.id), ("name",)),
    (
        lambda db, w: [crud.skills.create(db, {"name": "managed"}, owner_id=None) for _ in range(2)],
        ("name",),
    ),
]


def test_what_is_there_already_is_named(app: holdfast.Database) -> None:
    made = world(app)
    with app.transaction():
        for change, fields in TAKEN:
            with pytest.raises(AlreadyExists) as caught:
                change(app, made)
            assert caught.value.fields == fields
            assert fields[0] in caught.value.message
            assert "crew" not in str(caught.value)
        # The transaction around it goes on.
        crud.teams.create(app, {"name": "another"}, owner_id=made.user.id)
    assert crud.teams.count(app) == 2


def test_an_update_to_what_is_there_already_is_named(app: holdfast.Database) -> None:
    world(app)
    other = world(app, "b@example.org")
    with pytest.raises(AlreadyExists) as caught:
        crud.users.update(app, other.user.id, {"email": "Ada@example.org"})
    assert caught.value.fields == ("email",)


ELSEWHERE: list[Any] = [
    lambda db, w, o: crud.teams.create(db, {"name": "x"}, owner_id=uuid7()),
    lambda db, w, o: crud.members.create(db, {"name": "x", "manager_id": uuid7()}, team_id=w.team.id),
    lambda db, w, o: crud.members.update(db, w.member.id, {"manager_id": o.member.id}),
    lambda db, w, o: crud.members.add_skill(db, w.member.id, o.skill.id),
    lambda db, w, o: crud.members.add_skill(db, w.member.id, uuid7()),
    lambda db, w, o: crud.messages.update(db, w.message.id, {"member_id": o.member.id}),
    lambda db, w, o: crud.messages.create(db, {"role": "user", "content": ""}, thread_id="none"),
    lambda db, w, o: crud.members.remove_skill(db, w.member.id, o.skill.id),
    lambda db, w, o: crud.api_keys.issue(db, {"label": "x"}, team_id=uuid7()),
]


def test_a_reference_to_nothing_or_to_others_is_not_found(app: holdfast.Database) -> None:
    made, other = world(app), world(app, "b@example.org")
    before = {table: app.count(table) for table in models.metadata.tables}
    for call in ELSEWHERE:
        with pytest.raises(NotFoundError, match=r"skill|team|member|user|thread"):
            call(app, made, other)
    assert before == {table: app.count(table) for table in models.metadata.tables}


WRONG: list[dict[str, Any]] = [
    {"email": "ada@example.org", "password": "brief"},
    {"email": "no address", "password": "secret-value-1"},
    {"email": "ada@example.org", "password": "secret-value-1", "admin": True},
    {"password": "secret-value-1"},
    {"email": "ada@example.org", "password": "secret\0value-1"},
    {"email": "ada@example.org", "password": "secret-value-1", "full_name": 7},
]


def test_what_is_not_of_its_shape_is_refused_without_its_values(app: holdfast.Database) -> None:
    for given in WRONG:
        with pytest.raises(ValueRefused) as caught:
            crud.users.create(app, given)
        with pytest.raises(ValidationError) as pydantic:
            models.UserCreate(**given)
        for text in (str(caught.value), str(pydantic.value)):
            assert "secret" not in text
            assert "brief" not in text
    assert crud.users.count(app) == 0


def test_pages_give_every_row_once(app: holdfast.Database) -> None:
    made, other = world(app), world(app, "b@example.org")
    names = [f"t{number}" for number in range(7)]
    for name in names:
        crud.teams.create(app, {"name": name}, owner_id=made.user.id)
    page = crud.teams.list(app, owner_id=made.user.id, limit=3, count=True)
    assert page.count == 8
    found = [team.name for team in page.rows]
    while page.next:
        page = crud.teams.list(app, owner_id=made.user.id, limit=3, after=page.next)
        found += [team.name for team in page.rows]
    assert found == ["crew", *names]
    assert crud.teams.count(app, owner_id=other.user.id) == 1
    with pytest.raises(InvalidQuery, match="token"):
        crud.teams.list(app, owner_id=other.user.id, limit=3, after=page.previous)
    with pytest.raises(InvalidQuery, match="no index"):
        crud.teams.list(app, description="x")
    with pytest.raises(InvalidQuery, match="owner_id"):
        crud.teams.list(app, owner=made.user.id)


def test_a_list_leaves_the_bytes_of_checkpoints_unread(
    app: holdfast.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = world(app)
    for number in range(2, 5):
        state = {"checkpoint_id": str(number), "kind": "msgpack", "data": b"x"}
        crud.checkpoints.create(app, state, thread_id=made.thread.id)
    found = statements(app, monkeypatch)
    first = crud.checkpoints.list(app, thread_id=made.thread.id, limit=2)
    rest = crud.checkpoints.list(app, thread_id=made.thread.id, limit=2, after=first.next)
    monkeypatch.undo()
    pages = [sql for sql, _ in found if "LIMIT" in sql]
    assert len(pages) == 2
    assert not [sql for sql in pages if '"data"' in sql or "*, " in sql]
    rows = [*first.rows, *rest.rows]
    assert [row.checkpoint_id for row in rows] == ["1", "2", "3", "4"]
    assert {row.data for row in rows} == {None}
    whole = crud.checkpoints.get(app, key(crud.checkpoints, rows[0]))
    assert whole.data == b"\0\xff"
    assert models.CheckpointOut.model_validate(rows[0], from_attributes=True) == (
        models.CheckpointOut.model_validate(whole, from_attributes=True)
    )


def test_the_last_superuser_stays(app: holdfast.Database) -> None:
    boss = crud.users.create(app, {"email": "boss@example.org", "password": PASSWORD, "is_superuser": True})
    ada = world(app).user
    before = app.select("users", order_by="id")
    for call in (
        lambda: crud.users.delete(app, boss.id),
        lambda: crud.users.update(app, boss.id, {"is_superuser": False}),
        lambda: crud.users.update(app, boss.id, {"is_active": False, "full_name": "Gone"}),
    ):
        with pytest.raises(IntegrityError, match="last active superuser") as caught:
            call()
        assert caught.value.hint
        assert app.select("users", order_by="id") == before
    # One that cannot log in is none.
    crud.users.update(app, ada.id, {"is_superuser": True, "is_active": False})
    with pytest.raises(IntegrityError, match="last active superuser"):
        crud.users.delete(app, boss.id)
    crud.users.update(app, ada.id, {"is_active": True})
    crud.users.update(app, boss.id, {"is_superuser": False, "full_name": "A user"})
    crud.users.update(app, boss.id, {"is_active": False})
    crud.users.delete(app, boss.id)
    with pytest.raises(IntegrityError, match="last active superuser"):
        crud.users.delete(app, ada.id)
    assert [user.id for user in crud.users.list(app, is_superuser=True).rows] == [ada.id]


def test_two_superusers_that_remove_each_other_leave_one(app: holdfast.Database) -> None:
    given = {"password": PASSWORD, "is_superuser": True}
    ids = [crud.users.create(app, {"email": f"{name}@example.org", **given}).id for name in ("a", "b")]
    waiting = threading.Barrier(2)

    def remove(id: UUID) -> bool:
        waiting.wait()
        try:
            app.run_transaction(lambda: crud.users.delete(app, id))
        except IntegrityError:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(remove, ids)) == [False, True]
    assert crud.users.count(app) == 1


def test_skills_of_a_member(app: holdfast.Database) -> None:
    made = world(app)
    managed = crud.skills.create(app, {"name": "calculate"}, owner_id=None)
    for _ in range(2):
        crud.members.add_skill(app, made.member.id, managed.id)
    first = crud.members.list_skills(app, made.member.id, limit=1)
    second = crud.members.list_skills(app, made.member.id, limit=1, after=first.next)
    assert [skill.name for skill in (*first.rows, *second.rows)] == ["search", "calculate"]
    assert second.next is None
    crud.members.remove_skill(app, made.member.id, managed.id)
    assert [skill.name for skill in crud.members.list_skills(app, made.member.id).rows] == ["search"]
    assert [skill.name for skill in crud.skills.list(app, owner_id=None).rows] == ["calculate"]


# Who logs in


def test_the_right_password_logs_in_whatever_the_case_of_the_address(app: holdfast.Database) -> None:
    user = world(app).user
    found = crud.users.authenticate(app, "ADA@example.ORG", PASSWORD)
    assert found is not None
    assert found.id == user.id
    assert PASSWORD not in app.get("users", user.id)["password_hash"]
    assert app.get("users", user.id)["password_hash"].startswith("$argon2id$")


def test_whoever_does_not_log_in_costs_one_verification_all_the_same(
    app: holdfast.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, gone = world(app), world(app, "gone@example.org")
    crud.users.update(app, gone.user.id, {"is_active": False})
    passwords.is_right("x", None)
    calls: list[str] = []
    verify = passwords.hasher.verify

    class Counting:
        def verify(self, stored: str, password: str) -> bool:
            calls.append(stored)
            return verify(stored, password)

        check_needs_rehash = staticmethod(passwords.hasher.check_needs_rehash)

    monkeypatch.setattr(passwords, "hasher", Counting())
    for email, password in [
        (made.user.email, "wrong"),
        ("nobody@example.org", PASSWORD),
        ("no address", PASSWORD),
        (gone.user.email, PASSWORD),
    ]:
        assert crud.users.authenticate(app, email, password) is None
    assert len(calls) == 4
    parameters = {stored.rpartition("$")[0].rpartition("$")[0] for stored in calls}
    assert len(parameters) == 1


def test_an_old_hash_is_made_anew(app: holdfast.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    user = world(app).user
    monkeypatch.setattr(
        passwords, "hasher", passwords.PasswordHasher(time_cost=2, memory_cost=16, parallelism=1)
    )
    passwords._nobody.cache_clear()
    assert crud.users.authenticate(app, user.email, PASSWORD) is not None
    stored = app.get("users", user.id)["password_hash"]
    assert stored != user.password_hash
    assert not passwords.is_outdated(stored)
    assert crud.users.authenticate(app, user.email, PASSWORD) is not None


def test_a_new_password_ends_the_old_one(app: holdfast.Database) -> None:
    user = world(app).user
    crud.users.update(app, user.id, models.UserUpdate(password="another password"))
    assert crud.users.authenticate(app, user.email, PASSWORD) is None
    assert crud.users.authenticate(app, user.email, "another password") is not None


def test_an_api_key_is_seen_once_and_ends(app: holdfast.Database) -> None:
    team = world(app).team
    made = crud.api_keys.issue(app, {"label": "robot"}, team_id=team.id)
    assert made.key.startswith(made.row.prefix)
    assert made.key not in repr(made)
    assert made.key not in str(app.select("api_keys"))
    found = crud.api_keys.authenticate(app, made.key)
    assert found is not None
    assert found.team_id == team.id
    assert crud.api_keys.authenticate(app, made.key + "x") is None
    past = datetime.now(UTC) - timedelta(seconds=1)
    crud.api_keys.update(app, made.row.id, {"expires_at": past})
    assert crud.api_keys.authenticate(app, made.key) is None
    crud.api_keys.update(app, made.row.id, {"expires_at": None})
    assert crud.api_keys.authenticate(app, made.key) is not None
    crud.api_keys.delete(app, made.row.id)
    assert crud.api_keys.authenticate(app, made.key) is None


# Together or not at all


def test_all_that_belongs_to_a_user_goes_with_the_user_and_nothing_else(app: holdfast.Database) -> None:
    made, other = world(app), world(app, "b@example.org")
    managed = crud.skills.create(app, {"name": "search"}, owner_id=None)
    crud.members.add_skill(app, other.member.id, managed.id)
    crud.users.delete(app, made.user.id)
    counts = {table: app.count(table) for table in models.metadata.tables}
    assert counts.pop("skills") == 2
    assert counts.pop("member_skills") == 2
    assert counts.pop("hf_checkpoint_blobs") == counts.pop("hf_checkpoint_writes") == 0
    assert set(counts.values()) == {1}


def test_a_session_takes_part_in_the_transaction(app: holdfast.Database) -> None:
    store = memory.open(app, user_id="ada")

    def work() -> None:
        made = world(app)
        store.insert(memory.Passage("Ada drinks tea"))
        with Session(app.engine) as session:
            assert session.get(Team, made.team.id) is not None
            session.add(Message(role="assistant", content="hi", thread_id=made.thread.id))
            session.commit()
        assert crud.messages.count(app, thread_id=made.thread.id) == 2
        raise KeyError

    with pytest.raises(KeyError), app.transaction():
        work()
    assert crud.users.count(app) == crud.messages.count(app) == store.size() == 0


STEPS = """
import os, signal, sys
import holdfast
from holdfast import memory
from holdfast.agents import crud
url, team, last = sys.argv[1], sys.argv[2], int(sys.argv[3])
db = holdfast.connect(url)
store = memory.open(db, user_id="ada")

def step(number):
    if number == last:
        os.kill(os.getpid(), signal.SIGKILL)

with db.transaction():
    thread = crud.threads.create(db, {"title": "new"}, team_id=team)
    step(0)
    state = {"checkpoint_id": "1", "kind": "k", "data": b"x"}
    crud.checkpoints.create(db, state, thread_id=thread.id)
    step(1)
    store.insert(memory.Passage("Ada drinks tea"))
    step(2)
    db.insert("notes", {"thread_id": thread.id})
    step(3)
step(4)
"""


@pytest.mark.parametrize("last", [1, 3, 4])
def test_a_thread_its_checkpoint_a_memory_and_a_row_are_kept_together(
    app: holdfast.Database, url: str, last: int
) -> None:
    team = world(app).team
    store = memory.open(app, user_id="ada")
    app.create_table("notes", {"thread_id": "TEXT NOT NULL"})
    done = subprocess.run([sys.executable, "-c", STEPS, url, str(team.id), str(last)], check=False)
    assert done.returncode == -9
    found = [crud.threads.count(app) - 1, crud.checkpoints.count(app) - 1, store.size(), app.count("notes")]
    assert found == [1 if last == 4 else 0] * 4


# What the database does for it


def statements(db: holdfast.Database, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """A list that gets every statement from now on."""
    found: list[tuple[str, Any]] = []
    for name in ("send", "fetch"):
        method = getattr(db._executor, name)

        def noted(native: str, params: Any = (), *rest: Any, _method: Any = method, **options: Any) -> Any:
            found.append((native, params))
            return _method(native, params, *rest, **options)

        monkeypatch.setattr(db._executor, name, noted)
    return found


def calls(db: holdfast.Database, made: World) -> None:
    """Every verb of every group."""
    crud.users.authenticate(db, made.user.email, PASSWORD)
    crud.api_keys.authenticate(db, "x")
    crud.members.list_skills(db, made.member.id)
    crud.members.add_skill(db, made.member.id, made.skill.id)
    crud.members.remove_skill(db, made.member.id, made.skill.id)
    for name, (group, change) in CHANGES.items():
        row = getattr(made, name)
        group.get(db, key(group, row))
        group.update(db, key(group, row), change)
        for filters in group._filters:
            given = {field: getattr(row, field) for field in filters}
            group.count(db, **given)
            if any(set(columns) == filters for columns in group._unique.values()):
                continue
            page = group.list(db, limit=1, **given)
            if page.next:
                group.list(db, limit=1, after=page.next, **given)
        group.delete(db, key(group, row))


def test_no_statement_is_without_an_index(
    app: holdfast.Database, monkeypatch: pytest.MonkeyPatch, engine_name: str
) -> None:
    made = world(app)
    for number in range(3):
        world(app, f"{number}@example.org")
    found = statements(app, monkeypatch)
    calls(app, made)
    monkeypatch.undo()
    read = [(sql, params) for sql, params in found if sql.split()[0] in ("SELECT", "UPDATE", "DELETE")]
    assert {table for table in models.metadata.tables if any(f'"{table}"' in sql for sql, _ in read)} >= {
        group.table.name for group, _ in CHANGES.values()
    }
    raw = app._executor.session().execute
    if engine_name == "sqlite":
        for sql, params in read:
            plan = [step[3] for step in raw(f"EXPLAIN QUERY PLAN {sql}", params).fetchall()]
            # The parts of a compound query are as long as the page, and then put together.
            if "COMPOUND QUERY" not in plan:
                bad = [one for one in plan if ("SCAN" in one and " WHERE " in sql) or "TEMP B-TREE" in one]
                assert bad == [], (sql, plan)
        return
    with app.transaction():
        for way in ("seqscan", "bitmapscan", "sort"):
            raw(f"SET LOCAL enable_{way} = off", ())
        for sql, params in read:
            if "pg_" in sql or "information_schema" in sql:
                continue
            plan = [step[0] for step in raw(f"EXPLAIN {sql}", params).fetchall()]
            text = "\n".join(plan)
            assert "Seq Scan" not in text or "WHERE" not in sql, (sql, text)
            assert "Sort" not in text or "Append" in text, (sql, text)
            assert "Filter:" not in text or "Index Cond" in text, (sql, text)


def test_ids_are_of_version_7_and_sort_by_time(app: holdfast.Database) -> None:
    made = world(app)
    ids = [made.user.id, made.team.id, made.member.id, made.skill.id]
    assert ids == sorted(ids)
    assert {one.version for one in ids} == {7}
    assert UUID(made.thread.id).version == 7
