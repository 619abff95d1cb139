"""Who asks, and what is theirs: a user's own rows, a team's for its API key, all for a superuser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, HTTPException, Request
from fastapi.security import APIKeyHeader, OAuth2PasswordBearer

from holdfast.agents import crud
from holdfast.agents.crud import Group
from holdfast.agents.models import Model, Skill, Team, User
from holdfast.agents.server import tokens
from holdfast.agents.server.problems import NotAllowed
from holdfast.database import Database
from holdfast.errors import NotFoundError

_FOR_KEYS = "an API key is for its team's members, threads and messages"
bearer = OAuth2PasswordBearer(tokenUrl="login", auto_error=False)
key_header = APIKeyHeader(name="X-API-Key", auto_error=False)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a user, or a program with the key of a team."""

    user: User | None
    team_id: UUID | None = None

    @property
    def is_superuser(self) -> bool:
        return self.user is not None and self.user.is_superuser

    def owns(self, owner_id: UUID | None) -> bool:
        return self.user is not None and self.user.id == owner_id


def database(request: Request) -> Database:
    """The application's database, opened with the first request."""
    db: Database = request.app.state.opened.get()
    return db


Db = Annotated[Database, Depends(database)]


def caller(
    request: Request,
    db: Db,
    token: Annotated[str | None, Depends(bearer)],
    key: Annotated[str | None, Depends(key_header)],
) -> Caller:
    """Who asks."""
    if token:
        user = tokens.user_of(request.app.state.settings, db, token)
        if user is not None:
            return Caller(user)
    elif key:
        found = crud.api_keys.authenticate(db, key)
        if found is not None:
            return Caller(None, found.team_id)
    raise HTTPException(401, "log in, or give a valid key", {"WWW-Authenticate": "Bearer"})


AnyCaller = Annotated[Caller, Depends(caller)]


def logged_in(asking: AnyCaller) -> User:
    """The user who asks; a key is not enough."""
    if asking.user is None:
        raise NotAllowed(_FOR_KEYS)
    return asking.user


def superuser(user: Annotated[User, Depends(logged_in)]) -> User:
    """The superuser who asks."""
    if not user.is_superuser:
        raise NotAllowed("only a superuser may do this")
    return user


LoggedIn = Annotated[User, Depends(logged_in)]
Superuser = Annotated[User, Depends(superuser)]


def seen(
    db: Database, asking: Caller, group: Group[Any, Any, Any], key: Any, *, to_write: bool = False
) -> Any:
    """The row of that key, if the caller may see it; to write, also whether they may change it.

    Raises:
        NotFoundError: if there is none, or it is another's: nobody learns which.
        NotAllowed: for a write to a managed skill, or with a key to its team itself.
    """
    row = group.get(db, key)
    if asking.is_superuser or _is_theirs(db, asking, row):
        if to_write and asking.user is None and isinstance(row, Team):
            raise NotAllowed(_FOR_KEYS)
        return row
    if isinstance(row, Skill) and row.owner_id is None:
        if to_write:
            raise NotAllowed("managed skills are changed by superusers")
        return row
    raise NotFoundError(f"there is no {group.noun} of that id")


def _is_theirs(db: Database, asking: Caller, row: Model) -> bool:
    if isinstance(row, User):
        return asking.owns(row.id)
    if isinstance(row, Team):
        return asking.owns(row.owner_id) or row.id == asking.team_id
    if (thread_id := getattr(row, "thread_id", None)) is not None:
        row = crud.threads.get(db, thread_id)
    if (team_id := getattr(row, "team_id", None)) is not None:
        return team_id == asking.team_id or _is_theirs(db, asking, crud.teams.get(db, team_id))
    return asking.owns(getattr(row, "owner_id", None))
