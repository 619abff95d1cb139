"""Teams: agents that work together for one user."""

from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field, Relationship, SQLModel

from holdfast.agents.models.base import Changes, Listed, Row, RowOut, Shape, kept
from holdfast.agents.models.columns import Key, Label, Note

if TYPE_CHECKING:
    from holdfast.agents.models.api_keys import ApiKey
    from holdfast.agents.models.members import Member
    from holdfast.agents.models.threads import Thread
    from holdfast.agents.models.users import User


class TeamBase(SQLModel):
    name: Label
    description: Note | None = None


class TeamCreate(TeamBase, Shape):
    pass


class TeamUpdate(Changes):
    name: Label = kept()
    description: Note | None = None


class Team(TeamBase, Row, table=True):
    """A team; its members, threads and API keys are deleted with it."""

    __tablename__ = "teams"
    __table_args__ = (UniqueConstraint("owner_id", "name"), Index(None, "owner_id", "id"))

    owner_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE", sa_type=Key)

    owner: "User" = Relationship(back_populates="teams")
    members: list["Member"] = Relationship(back_populates="team", cascade_delete=True, passive_deletes=True)
    threads: list["Thread"] = Relationship(back_populates="team", cascade_delete=True, passive_deletes=True)
    api_keys: list["ApiKey"] = Relationship(back_populates="team", cascade_delete=True, passive_deletes=True)


class TeamOut(TeamBase, RowOut):
    owner_id: UUID


class TeamsOut(Listed):
    data: list[TeamOut]
