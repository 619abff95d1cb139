"""Skills: what members can do. Those without an owner are managed, that is kept by ``initial_data``."""

from typing import TYPE_CHECKING, Optional
from uuid import UUID

from sqlalchemy import Index, UniqueConstraint, text
from sqlmodel import Field, Relationship, SQLModel

from holdfast.agents.models.base import Changes, Listed, Row, RowOut, Shape, kept
from holdfast.agents.models.columns import Json, JsonObject, Key, Label, Note
from holdfast.agents.models.members import MemberSkill

if TYPE_CHECKING:
    from holdfast.agents.models.members import Member
    from holdfast.agents.models.users import User


class SkillBase(SQLModel):
    name: Label
    description: Note = ""
    definition: JsonObject = Field(default_factory=dict, sa_type=Json)


class SkillCreate(SkillBase, Shape):
    pass


class SkillUpdate(Changes):
    name: Label = kept()
    description: Note = kept()
    definition: JsonObject = kept()


class Skill(SkillBase, Row, table=True):
    """A skill of a user's own, or a managed one, which all users see."""

    __tablename__ = "skills"
    __table_args__ = (
        UniqueConstraint("owner_id", "name"),
        Index(None, "owner_id", "id"),
        # NULLs are not equal in the constraint above.
        Index(
            "uq_skills_managed_name",
            "name",
            unique=True,
            sqlite_where=text("owner_id IS NULL"),
            postgresql_where=text("owner_id IS NULL"),
        ),
    )

    owner_id: UUID | None = Field(default=None, foreign_key="users.id", ondelete="CASCADE", sa_type=Key)

    owner: Optional["User"] = Relationship(back_populates="skills")
    members: list["Member"] = Relationship(
        back_populates="skills", link_model=MemberSkill, passive_deletes=True
    )


class SkillOut(SkillBase, RowOut):
    owner_id: UUID | None


class SkillsOut(Listed):
    data: list[SkillOut]
