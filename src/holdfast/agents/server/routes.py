"""The routes of every group: list and create below what rows belong to, and get, change and delete by id."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Response

from holdfast.agents import crud, models
from holdfast.agents.crud import Group, Listing
from holdfast.agents.models.threads import ThreadId
from holdfast.agents.server.access import AnyCaller, Caller, Db, LoggedIn, Superuser, logged_in, seen
from holdfast.agents.server.problems import NotAllowed, responses

Rows = Group[Any, Any, Any]
Limit = Annotated[int, Query(ge=1, le=500)]
After = Annotated[str | None, Query(max_length=4000, description="`next` or `previous` of another page.")]
Count = Annotated[bool, Query(description="Also how many rows there are on all pages.")]
FAULTS = responses(400, 401, 403, 404, 409, 413, 422, 503)
ThreadKey = Annotated[ThreadId, Path()]


@dataclass(frozen=True)
class Resource:
    """A group as it is seen over HTTP."""

    group: Rows
    path: str
    out: type[Any]
    listed: type[Any]
    key: Any = UUID
    needs_login: bool = False

    @property
    def name(self) -> str:
        return self.path.replace("-", "_")

    def router(self) -> APIRouter:
        needed = [Depends(logged_in)] if self.needs_login else []
        return APIRouter(tags=[self.path], dependencies=needed, responses=FAULTS)


TEAMS = Resource(crud.teams, "teams", models.TeamOut, models.TeamsOut)
SKILLS = Resource(crud.skills, "skills", models.SkillOut, models.SkillsOut)
UPLOADS = Resource(crud.uploads, "uploads", models.UploadOut, models.UploadsOut, needs_login=True)
MEMBERS = Resource(crud.members, "members", models.MemberOut, models.MembersOut)
THREADS = Resource(crud.threads, "threads", models.ThreadOut, models.ThreadsOut, ThreadKey)
MESSAGES = Resource(crud.messages, "messages", models.MessageOut, models.MessagesOut)
API_KEYS = Resource(crud.api_keys, "api-keys", models.ApiKeyOut, models.ApiKeysOut, needs_login=True)
CHECKPOINTS = Resource(crud.checkpoints, "checkpoints", models.CheckpointOut, models.CheckpointsOut)


def routers() -> list[APIRouter]:
    """All of them."""
    return [
        _users(),
        *[_owned(one) for one in (TEAMS, SKILLS, UPLOADS)],
        *[_below(TEAMS, one) for one in (MEMBERS, THREADS)],
        _below(THREADS, MESSAGES),
        _checkpoints(),
        _api_keys(),
        _member_skills(),
    ]


def _page(listing: Listing[Any]) -> dict[str, Any]:
    found = {"next": listing.next, "previous": listing.previous, "count": listing.count}
    return {"data": listing.rows, **found}


def _typed(function: Callable[..., Any], **types: Any) -> Callable[..., Any]:
    """The function with the types that its resource has for these arguments."""
    function.__annotations__.update(types)
    return function


def _by_id(router: APIRouter, it: Resource) -> APIRouter:
    def get(id: Any, db: Db, asking: AnyCaller) -> Any:
        return seen(db, asking, it.group, id)

    def update(id: Any, changes: Any, db: Db, asking: AnyCaller) -> Any:
        with db.transaction():
            seen(db, asking, it.group, id, to_write=True)
            return it.group.update(db, id, changes)

    def delete(id: Any, db: Db, asking: AnyCaller) -> Response:
        with db.transaction():
            seen(db, asking, it.group, id, to_write=True)
            it.group.delete(db, id)
        return Response(status_code=204)

    path, noun = f"/{it.path}/{{id}}", it.name.removesuffix("s")
    router.get(path, response_model=it.out, name=f"get_{noun}")(_typed(get, id=it.key))
    router.patch(path, response_model=it.out, name=f"update_{noun}")(
        _typed(update, id=it.key, changes=it.group.changes)
    )
    router.delete(path, status_code=204, response_class=Response, name=f"delete_{noun}")(
        _typed(delete, id=it.key)
    )
    return router


def _owned(it: Resource) -> APIRouter:
    """Rows of a user: a superuser sees those of all."""
    router = it.router()

    def rows(
        db: Db, user: LoggedIn, limit: Limit = 100, after: After = None, count: Count = False
    ) -> dict[str, Any]:
        mine = {} if user.is_superuser else {"owner_id": user.id}
        return _page(it.group.list(db, limit=limit, after=after, count=count, **mine))

    def create(new: Any, db: Db, user: LoggedIn) -> Any:
        return it.group.create(db, new, owner_id=user.id)

    router.get(f"/{it.path}", response_model=it.listed, name=f"list_{it.name}")(rows)
    router.post(
        f"/{it.path}", response_model=it.out, status_code=201, name=f"create_{it.name.removesuffix('s')}"
    )(_typed(create, new=it.group.new))
    if it is SKILLS:
        router.get(f"/managed-{it.path}", response_model=it.listed, name="list_managed_skills")(_managed)
    return _by_id(router, it)


def _managed(db: Db, asking: AnyCaller, limit: Limit = 100, after: After = None) -> dict[str, Any]:
    return _page(crud.skills.list(db, limit=limit, after=after, owner_id=None))


def _below(parent: Resource, it: Resource) -> APIRouter:
    """Rows that belong to a row of another group."""
    router = it.router()
    column = f"{parent.name.removesuffix('s')}_id"

    def rows(
        id: Any, db: Db, asking: AnyCaller, limit: Limit = 100, after: After = None, count: Count = False
    ) -> dict[str, Any]:
        seen(db, asking, parent.group, id)
        return _page(it.group.list(db, limit=limit, after=after, count=count, **{column: id}))

    def create(id: Any, new: Any, db: Db, asking: AnyCaller) -> Any:
        with db.transaction():
            seen(db, asking, parent.group, id)
            return it.group.create(db, new, **{column: id})

    path = f"/{parent.path}/{{id}}/{it.path}"
    router.get(path, response_model=it.listed, name=f"list_{it.name}")(_typed(rows, id=parent.key))
    router.post(path, response_model=it.out, status_code=201, name=f"create_{it.name.removesuffix('s')}")(
        _typed(create, id=parent.key, new=it.group.new)
    )
    return _by_id(router, it)


def _checkpoints() -> APIRouter:
    """They are LangGraph's to write."""
    router = CHECKPOINTS.router()

    @router.get("/threads/{id}/checkpoints", response_model=models.CheckpointsOut)
    def list_checkpoints(
        id: ThreadKey, db: Db, asking: AnyCaller, limit: Limit = 100, after: After = None
    ) -> dict[str, Any]:
        seen(db, asking, crud.threads, id)
        return _page(crud.checkpoints.list(db, limit=limit, after=after, thread_id=id))

    return router


def _api_keys() -> APIRouter:
    """A key cannot make or see keys."""
    router = API_KEYS.router()

    @router.get("/teams/{id}/api-keys", response_model=models.ApiKeysOut)
    def list_api_keys(
        id: UUID, db: Db, user: LoggedIn, limit: Limit = 100, after: After = None
    ) -> dict[str, Any]:
        seen(db, Caller(user), crud.teams, id)
        return _page(crud.api_keys.list(db, limit=limit, after=after, team_id=id))

    @router.post("/teams/{id}/api-keys", response_model=models.ApiKeyMade, status_code=201)
    def create_api_key(id: UUID, new: models.ApiKeyCreate, db: Db, user: LoggedIn) -> Any:
        with db.transaction():
            seen(db, Caller(user), crud.teams, id)
            made = crud.api_keys.issue(db, new, team_id=id)
        return {**made.row.model_dump(), "key": made.key}

    return _by_id(router, API_KEYS)


def _member_skills() -> APIRouter:
    router = APIRouter(tags=["members"], responses=FAULTS)

    @router.get("/members/{id}/skills", response_model=models.SkillsOut)
    def list_member_skills(
        id: UUID, db: Db, asking: AnyCaller, limit: Limit = 100, after: After = None
    ) -> dict[str, Any]:
        seen(db, asking, crud.members, id)
        return _page(crud.members.list_skills(db, id, limit=limit, after=after))

    @router.put("/members/{id}/skills/{skill_id}", status_code=204)
    def add_member_skill(id: UUID, skill_id: UUID, db: Db, asking: AnyCaller) -> None:
        with db.transaction():
            seen(db, asking, crud.members, id)
            crud.members.add_skill(db, id, skill_id)

    @router.delete("/members/{id}/skills/{skill_id}", status_code=204)
    def remove_member_skill(id: UUID, skill_id: UUID, db: Db, asking: AnyCaller) -> None:
        with db.transaction():
            seen(db, asking, crud.members, id)
            crud.members.remove_skill(db, id, skill_id)

    return router


def _users() -> APIRouter:
    router = APIRouter(tags=["users"], responses=FAULTS)

    @router.get("/users", response_model=models.UsersOut)
    def list_users(
        db: Db, user: Superuser, limit: Limit = 100, after: After = None, count: Count = False
    ) -> dict[str, Any]:
        return _page(crud.users.list(db, limit=limit, after=after, count=count))

    @router.post("/users", response_model=models.UserOut, status_code=201)
    def create_user(new: models.UserCreate, db: Db, user: Superuser) -> Any:
        return crud.users.create(db, new)

    @router.get("/users/me", response_model=models.UserOut)
    def get_me(user: LoggedIn) -> Any:
        return user

    @router.get("/users/{id}", response_model=models.UserOut)
    def get_user(id: UUID, db: Db, user: LoggedIn) -> Any:
        return seen(db, Caller(user), crud.users, id)

    @router.patch("/users/{id}", response_model=models.UserOut)
    def update_user(id: UUID, changes: models.UserUpdate, db: Db, user: LoggedIn) -> Any:
        with db.transaction():
            seen(db, Caller(user), crud.users, id)
            if not user.is_superuser and changes.given.keys() & {"is_superuser", "is_active"}:
                raise NotAllowed("only a superuser may change is_superuser and is_active")
            return crud.users.update(db, id, changes)

    @router.delete("/users/{id}", status_code=204)
    def delete_user(id: UUID, db: Db, user: LoggedIn) -> None:
        with db.transaction():
            seen(db, Caller(user), crud.users, id)
            crud.users.delete(db, id)

    return router
