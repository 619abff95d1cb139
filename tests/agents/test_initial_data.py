"""First data: again and again, by several at once, and nothing of users' touched."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import SecretStr

import holdfast
from holdfast.agents import crud
from holdfast.agents.initial_data import MANAGED, seed
from holdfast.agents.models import SkillCreate
from holdfast.agents.settings import Settings
from holdfast.errors import ConfigurationError
from holdfast.settings import resolve

EMAIL, PASSWORD = "boss@example.org", "a first password"
SETTINGS = Settings(resolve("unused.db"), first_superuser=EMAIL, first_superuser_password=SecretStr(PASSWORD))


def names(db: holdfast.Database) -> list[str]:
    return sorted(skill.name for skill in crud.skills.list(db, owner_id=None).rows)


def test_the_first_time_all_is_made_and_the_second_time_nothing(app: holdfast.Database) -> None:
    first = seed(app, SETTINGS)
    assert first.superuser == "created"
    assert first.added == tuple(names(app)) == ("forget", "recall", "remember")
    assert "created" in str(first)
    user = crud.users.authenticate(app, EMAIL.upper(), PASSWORD)
    assert user is not None
    assert user.is_superuser
    before = app.select("skills"), app.select("users")
    second = seed(app, SETTINGS)
    assert (second.superuser, second.added, second.updated, second.removed) == ("kept", (), (), ())
    assert "as they were" in str(second)
    assert before == (app.select("skills"), app.select("users"))


def test_managed_skills_follow_the_list_and_users_keep_what_is_theirs(app: holdfast.Database) -> None:
    seed(app, SETTINGS)
    user = crud.users.by_email(app, EMAIL)
    crud.users.update(app, user.id, {"password": "their own password", "full_name": "The Boss"})
    own = crud.skills.create(app, {"name": "recall", "description": "mine"}, owner_id=user.id)
    team = crud.teams.create(app, {"name": "crew"}, owner_id=user.id)
    member = crud.members.create(app, {"name": "worker"}, team_id=team.id)
    for skill in [own, *crud.skills.list(app, owner_id=None).rows]:
        crud.members.add_skill(app, member.id, skill.id)
    theirs = crud.users.get(app, user.id).model_dump(), crud.skills.get(app, own.id).model_dump()
    wanted = [
        SkillCreate(name="recall", description="changed", definition=MANAGED[0].definition),
        SkillCreate(name="count"),
        *[skill for skill in MANAGED if skill.name == "remember"],
    ]
    done = seed(app, SETTINGS, wanted)
    assert (done.added, done.updated, done.removed) == (("count",), ("recall",), ("forget",))
    assert names(app) == ["count", "recall", "remember"]
    linked = crud.members.list_skills(app, member.id).rows
    assert sorted(skill.name for skill in linked) == ["recall", "recall", "remember"]
    assert theirs == (crud.users.get(app, user.id).model_dump(), crud.skills.get(app, own.id).model_dump())
    assert crud.users.authenticate(app, EMAIL, "their own password") is not None


def test_a_user_of_that_address_is_not_raised(app: holdfast.Database) -> None:
    crud.users.create(app, {"email": EMAIL, "password": "their own password"})
    assert seed(app, SETTINGS).superuser == "another"
    assert not crud.users.by_email(app, EMAIL).is_superuser


PROGRAM = """
import sys
import holdfast
from pydantic import SecretStr
from holdfast.agents.initial_data import seed
from holdfast.agents.settings import Settings
from holdfast.settings import resolve
url, email, password = sys.argv[1:]
settings = Settings(resolve(url), first_superuser=email, first_superuser_password=SecretStr(password))
with settings.open() as db:
    print("ready", flush=True)
    sys.stdin.readline()
    print(seed(db, settings).superuser)
"""


def test_two_at_once_end_with_one_superuser_and_one_set_of_skills(app: holdfast.Database, url: str) -> None:
    command = [sys.executable, "-c", PROGRAM, url, EMAIL, PASSWORD]
    both = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    assert [child.stdout.readline() for child in both if child.stdout] == ["ready\n"] * 2
    for child in both:
        assert child.stdin
        child.stdin.write("\n")
        child.stdin.flush()
    said = [child.communicate()[0].strip() for child in both]
    assert [child.returncode for child in both] == [0, 0]
    assert sorted(said) == ["created", "kept"]
    assert crud.users.count(app) == 1
    assert names(app) == ["forget", "recall", "remember"]


@pytest.mark.parametrize(
    ("email", "password"), [(None, PASSWORD), (EMAIL, None), ("no address", PASSWORD), (EMAIL, "brief")]
)
def test_what_cannot_be_used_is_said_before_anything_is_written(
    app: holdfast.Database, email: str | None, password: str | None
) -> None:
    settings = Settings(
        resolve("unused.db"),
        first_superuser=email,
        first_superuser_password=None if password is None else SecretStr(password),
    )
    with pytest.raises(ConfigurationError, match="FIRST_SUPERUSER") as caught:
        seed(app, settings)
    assert "brief" not in str(caught.value)
    assert app.count("users") == app.count("skills") == 0
