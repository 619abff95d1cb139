"""What a new application begins with: its first superuser, and the managed skills.

It may run at each start, and in several processes at once. What users made is never touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.agents import crud
from holdfast.agents.crud.group import checked
from holdfast.agents.models import SkillCreate, UserCreate
from holdfast.agents.settings import Settings
from holdfast.database import Database
from holdfast.errors import AlreadyExists, ConfigurationError, NotFoundError, ValueRefused

ATTEMPTS = 10


def _skill(name: str, description: str, **parameters: str) -> SkillCreate:
    definition: dict[str, Any] = {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in parameters.items()},
        "required": list(parameters)[:1],
    }
    return SkillCreate(name=name, description=description, definition=definition)


MANAGED = (
    _skill("recall", "Find memories by meaning and by words.", query="string", limit="integer"),
    _skill("remember", "Keep a passage for later.", text="string"),
    _skill("forget", "Remove a memory by its id.", id="string"),
)
"""The managed skills of the application itself, with the JSON Schema of what each is called with."""


@dataclass(frozen=True, slots=True)
class Seeded:
    """What was done: ``superuser`` is created, kept, or another: there, and no superuser."""

    email: str
    superuser: str
    added: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = {
            "created": f"the superuser {self.email} was created",
            "kept": f"the superuser {self.email} was there already",
            "another": f"the user {self.email} is no superuser, and was left so",
        }
        skills = {"added": self.added, "updated": self.updated, "removed": self.removed}
        changes = [f"{what} {', '.join(names)}" for what, names in skills.items() if names]
        return f"{said[self.superuser]}; managed skills: {'; '.join(changes) or 'as they were'}"


def seed(db: Database, settings: Settings, skills: Iterable[SkillCreate] = MANAGED) -> Seeded:
    """See to it that there are the superuser and these managed skills, and no others; in one transaction.

    A user of that address keeps password and rights. A managed skill that is not named any more is
    removed, from the members that had it too.

    Raises:
        ConfigurationError: if ``FIRST_SUPERUSER`` or its password is missing or cannot be used.
    """
    user = _first_user(settings)
    wanted = {skill.name: skill for skill in skills}
    for _ in range(ATTEMPTS):
        try:
            return db.run_transaction(lambda: _seed(db, user, wanted))
        except AlreadyExists as exc:
            # Another process has just written it: what there is now is another question.
            met = exc
    raise met


def _first_user(settings: Settings) -> UserCreate:
    given = {
        "email": settings.require("FIRST_SUPERUSER"),
        "password": settings.require("FIRST_SUPERUSER_PASSWORD"),
        "is_superuser": True,
    }
    try:
        return checked(UserCreate, given)
    except ValueRefused as exc:
        raise ConfigurationError(
            f"FIRST_SUPERUSER and FIRST_SUPERUSER_PASSWORD: {exc.message}", hint="change them in .env"
        ) from None


def _seed(db: Database, user: UserCreate, wanted: Mapping[str, SkillCreate]) -> Seeded:
    superuser = _superuser(db, user)
    there = {row["name"]: row for row in db.select("skills", where={"owner_id": None}, order_by="name")}
    added = [name for name in sorted(wanted) if name not in there]
    removed = [name for name in there if name not in wanted]
    changes = {name: _changes(row, wanted[name]) for name, row in there.items() if name in wanted}
    for name in added:
        crud.skills.create(db, wanted[name], owner_id=None)
    for name, given in changes.items():
        if given:
            crud.skills.update(db, there[name]["id"], given)
    for name in removed:
        db.delete("skills", {"id": there[name]["id"]})
    updated = tuple(name for name, given in changes.items() if given)
    return Seeded(user.email, superuser, tuple(added), updated, tuple(removed))


def _superuser(db: Database, user: UserCreate) -> str:
    try:
        return "kept" if crud.users.by_email(db, user.email).is_superuser else "another"
    except NotFoundError:
        crud.users.create(db, user)
        return "created"


def _changes(row: Mapping[str, Any], wanted: SkillCreate) -> dict[str, Any]:
    given = wanted.model_dump(exclude={"name"})
    return {name: value for name, value in given.items() if row[name] != value}
