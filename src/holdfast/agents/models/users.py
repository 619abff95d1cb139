"""Users: who logs in, and who owns everything else."""

from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, EmailStr
from sqlalchemy import CheckConstraint, Index, UniqueConstraint
from sqlmodel import Field, Relationship, SQLModel

from holdfast.agents.models.base import Changes, Listed, Row, RowOut, Shape, kept
from holdfast.agents.models.columns import NO_NUL, Label

if TYPE_CHECKING:
    from holdfast.agents.models.skills import Skill
    from holdfast.agents.models.teams import Team
    from holdfast.agents.models.uploads import Upload

Email = Annotated[EmailStr, Field(max_length=254), AfterValidator(str.lower)]
"""An address without upper case: two that differ in nothing else are the same user's."""
Password = Annotated[str, Field(min_length=8, max_length=128, schema_extra={"pattern": NO_NUL})]


class UserBase(SQLModel):
    email: Email
    full_name: Label | None = None
    is_active: bool = True
    is_superuser: bool = False


class UserCreate(UserBase, Shape):
    password: Password


class UserUpdate(Changes):
    email: Email = kept()
    full_name: Label | None = None
    is_active: bool = kept()
    is_superuser: bool = kept()
    password: Password = kept()


class User(UserBase, Row, table=True):
    """A user; what a user owns is deleted with the user."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("email = lower(email)", name="email_lower"),
        UniqueConstraint("email"),
        Index(None, "is_superuser", "id"),
    )

    password_hash: str = Field(repr=False)

    teams: list["Team"] = Relationship(back_populates="owner", cascade_delete=True, passive_deletes=True)
    skills: list["Skill"] = Relationship(back_populates="owner", cascade_delete=True, passive_deletes=True)
    uploads: list["Upload"] = Relationship(back_populates="owner", cascade_delete=True, passive_deletes=True)


class UserOut(UserBase, RowOut):
    pass


class UsersOut(Listed):
    data: list[UserOut]
