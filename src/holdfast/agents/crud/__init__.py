"""Create, get, list, count, update and delete for each group of the agent application.

>>> from holdfast.agents import crud, models
>>> models.metadata.create_all(db.engine)
>>> ada = crud.users.create(db, {"email": "Ada@example.org", "password": "correct horse"})
>>> team = crud.teams.create(db, models.TeamCreate(name="crew"), owner_id=ada.id)
>>> crud.teams.update(db, team.id, {"description": "for tests"}).name
'crew'
>>> [one.name for one in crud.teams.list(db, owner_id=ada.id).rows]
['crew']
"""

from __future__ import annotations

from holdfast.agents.crud.api_keys import NewKey, api_keys
from holdfast.agents.crud.group import Group, Listing
from holdfast.agents.crud.members import members
from holdfast.agents.crud.skills import skills
from holdfast.agents.crud.threads import messages, threads
from holdfast.agents.crud.users import users
from holdfast.agents.models import (
    Checkpoint,
    CheckpointCreate,
    CheckpointUpdate,
    Team,
    TeamCreate,
    TeamUpdate,
    Upload,
    UploadCreate,
    UploadUpdate,
)

__all__ = [
    "Group",
    "Listing",
    "NewKey",
    "api_keys",
    "checkpoints",
    "members",
    "messages",
    "skills",
    "teams",
    "threads",
    "uploads",
    "users",
]

teams = Group(Team, TeamCreate, TeamUpdate)
checkpoints = Group(Checkpoint, CheckpointCreate, CheckpointUpdate, unlisted=("data",))
"""Those that :meth:`Group.list` gives are without their ``data``: it is ``None``."""
uploads = Group(Upload, UploadCreate, UploadUpdate)
