"""API keys: what programs show to act for a team. Kept as a hash; the prefix tells one from another."""

from typing import TYPE_CHECKING
from uuid import UUID

from pydantic import AwareDatetime
from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field, Relationship, SQLModel

from holdfast.agents.models.base import Changes, Listed, Row, RowOut, Shape, kept
from holdfast.agents.models.columns import Key, Label, Moment

if TYPE_CHECKING:
    from holdfast.agents.models.teams import Team


class ApiKeyBase(SQLModel):
    label: Label
    expires_at: AwareDatetime | None = Field(default=None, sa_type=Moment)


class ApiKeyCreate(ApiKeyBase, Shape):
    pass


class ApiKeyUpdate(Changes):
    label: Label = kept()
    expires_at: AwareDatetime | None = None


class ApiKey(ApiKeyBase, Row, table=True):
    """A key of a team; the key itself is nowhere in the database."""

    __tablename__ = "api_keys"
    __table_args__ = (UniqueConstraint("key_hash"), Index(None, "team_id", "id"))

    team_id: UUID = Field(foreign_key="teams.id", ondelete="CASCADE", sa_type=Key)
    prefix: str
    key_hash: str = Field(repr=False)

    team: "Team" = Relationship(back_populates="api_keys")


class ApiKeyOut(ApiKeyBase, RowOut):
    team_id: UUID
    prefix: str


class ApiKeyMade(ApiKeyOut):
    """A new key with the one sight of it that there ever is."""

    key: str


class ApiKeysOut(Listed):
    data: list[ApiKeyOut]
