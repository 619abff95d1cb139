"""The models of the agent application, eight groups, one file each.

Each group has a base, what creates and what changes a row, the table, and what goes out: one row, and a page
of them. No shape that goes out has a password, a key or a hash of one.
"""

from holdfast.agents.models.api_keys import (
    ApiKey,
    ApiKeyCreate,
    ApiKeyMade,
    ApiKeyOut,
    ApiKeysOut,
    ApiKeyUpdate,
)
from holdfast.agents.models.base import Changes, Listed, Model, Shape, metadata
from holdfast.agents.models.checkpoints import (
    Checkpoint,
    CheckpointBlob,
    CheckpointCreate,
    CheckpointOut,
    CheckpointsOut,
    CheckpointUpdate,
    CheckpointWrite,
)
from holdfast.agents.models.members import (
    Member,
    MemberCreate,
    MemberOut,
    MemberSkill,
    MembersOut,
    MemberUpdate,
)
from holdfast.agents.models.skills import Skill, SkillCreate, SkillOut, SkillsOut, SkillUpdate
from holdfast.agents.models.teams import Team, TeamCreate, TeamOut, TeamsOut, TeamUpdate
from holdfast.agents.models.threads import (
    Message,
    MessageCreate,
    MessageOut,
    MessagesOut,
    MessageUpdate,
    Thread,
    ThreadCreate,
    ThreadOut,
    ThreadsOut,
    ThreadUpdate,
)
from holdfast.agents.models.uploads import Upload, UploadCreate, UploadOut, UploadsOut, UploadUpdate
from holdfast.agents.models.users import User, UserCreate, UserOut, UsersOut, UserUpdate

__all__ = [
    "ApiKey",
    "ApiKeyCreate",
    "ApiKeyMade",
    "ApiKeyOut",
    "ApiKeyUpdate",
    "ApiKeysOut",
    "Changes",
    "Checkpoint",
    "CheckpointBlob",
    "CheckpointCreate",
    "CheckpointOut",
    "CheckpointUpdate",
    "CheckpointWrite",
    "CheckpointsOut",
    "Listed",
    "Member",
    "MemberCreate",
    "MemberOut",
    "MemberSkill",
    "MemberUpdate",
    "MembersOut",
    "Message",
    "MessageCreate",
    "MessageOut",
    "MessageUpdate",
    "MessagesOut",
    "Model",
    "Shape",
    "Skill",
    "SkillCreate",
    "SkillOut",
    "SkillUpdate",
    "SkillsOut",
    "Team",
    "TeamCreate",
    "TeamOut",
    "TeamUpdate",
    "TeamsOut",
    "Thread",
    "ThreadCreate",
    "ThreadOut",
    "ThreadUpdate",
    "ThreadsOut",
    "Upload",
    "UploadCreate",
    "UploadOut",
    "UploadUpdate",
    "UploadsOut",
    "User",
    "UserCreate",
    "UserOut",
    "UserUpdate",
    "UsersOut",
    "metadata",
]
