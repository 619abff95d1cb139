"""Members: the agents of a team, what each is told and which skills it has."""

from typing import TYPE_CHECKING, Annotated, Literal, Optional
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, String, UniqueConstraint
from sqlmodel import Field, Relationship, SQLModel

from holdfast.agents.models.base import Changes, Listed, Model, Row, RowOut, Shape, kept
from holdfast.agents.models.columns import Body, Key, Label

if TYPE_CHECKING:
    from holdfast.agents.models.skills import Skill
    from holdfast.agents.models.teams import Team

Kind = Literal["root", "leader", "worker", "chatbot"]
Temperature = Annotated[float, Field(ge=0, le=2)]
Position = Annotated[int, Field(ge=0, le=1_000_000)]


class MemberBase(SQLModel):
    name: Label
    kind: Kind = Field(default="worker", sa_type=String)
    instructions: Body = ""
    provider: Label = "openai"
    model: Label = "gpt-4o-mini"
    temperature: Temperature = 0.1
    position: Position = 0
    manager_id: UUID | None = Field(default=None, foreign_key="members.id", ondelete="SET NULL", sa_type=Key)


class MemberCreate(MemberBase, Shape):
    pass


class MemberUpdate(Changes):
    name: Label = kept()
    kind: Kind = kept()
    instructions: Body = kept()
    provider: Label = kept()
    model: Label = kept()
    temperature: Temperature = kept()
    position: Position = kept()
    manager_id: UUID | None = None


class MemberSkill(Model, table=True):
    """That a member has a skill."""

    __tablename__ = "member_skills"
    __table_args__ = (Index(None, "skill_id", "member_id"),)

    member_id: UUID = Field(primary_key=True, foreign_key="members.id", ondelete="CASCADE", sa_type=Key)
    skill_id: UUID = Field(primary_key=True, foreign_key="skills.id", ondelete="CASCADE", sa_type=Key)


class Member(MemberBase, Row, table=True):
    """An agent of a team; what it said stays when it goes, and so do those it led."""

    __tablename__ = "members"
    __table_args__ = (
        UniqueConstraint("team_id", "name"),
        CheckConstraint("kind IN ('root', 'leader', 'worker', 'chatbot')", name="kind"),
        CheckConstraint("temperature BETWEEN 0 AND 2", name="temperature"),
        CheckConstraint("position >= 0", name="position"),
        CheckConstraint("manager_id <> id", name="manager"),
        Index(None, "team_id", "id"),
        Index(None, "manager_id"),
    )

    team_id: UUID = Field(foreign_key="teams.id", ondelete="CASCADE", sa_type=Key)

    team: "Team" = Relationship(back_populates="members")
    manager: Optional["Member"] = Relationship(
        back_populates="reports", sa_relationship_kwargs={"remote_side": "Member.id"}
    )
    reports: list["Member"] = Relationship(back_populates="manager", passive_deletes=True)
    skills: list["Skill"] = Relationship(
        back_populates="members", link_model=MemberSkill, passive_deletes=True
    )


class MemberOut(MemberBase, RowOut):
    team_id: UUID


class MembersOut(Listed):
    data: list[MemberOut]
