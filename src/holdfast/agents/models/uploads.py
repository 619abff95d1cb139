"""Uploads: files whose text went, or is to go, into a memory."""

from typing import TYPE_CHECKING, Annotated, Literal
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, String, UniqueConstraint
from sqlmodel import Field, Relationship, SQLModel

from holdfast.agents.models.base import Changes, Listed, Row, RowOut, Shape, kept
from holdfast.agents.models.columns import Key, Label, Note

if TYPE_CHECKING:
    from holdfast.agents.models.users import User

Status = Literal["pending", "ready", "failed"]
Size = Annotated[int, Field(ge=0, le=2**53)]
Sha256 = Annotated[str, Field(schema_extra={"pattern": "^[0-9a-f]{64}$"})]


class UploadBase(SQLModel):
    name: Label
    description: Note = ""
    media_type: Label = "text/plain"
    size: Size = Field(default=0, sa_type=BigInteger)
    sha256: Sha256 | None = None
    status: Status = Field(default="pending", sa_type=String)
    memory: Label | None = None
    """The name of the memory that holds its passages."""


class UploadCreate(UploadBase, Shape):
    pass


class UploadUpdate(Changes):
    name: Label = kept()
    description: Note = kept()
    media_type: Label = kept()
    size: Size = kept()
    sha256: Sha256 | None = None
    status: Status = kept()
    memory: Label | None = None


class Upload(UploadBase, Row, table=True):
    """A file of a user's; two of one name are told apart by their owners."""

    __tablename__ = "uploads"
    __table_args__ = (
        UniqueConstraint("owner_id", "name"),
        CheckConstraint("status IN ('pending', 'ready', 'failed')", name="status"),
        CheckConstraint("size >= 0", name="size"),
        Index(None, "owner_id", "id"),
    )

    owner_id: UUID = Field(foreign_key="users.id", ondelete="CASCADE", sa_type=Key)

    owner: "User" = Relationship(back_populates="uploads")


class UploadOut(UploadBase, RowOut):
    owner_id: UUID


class UploadsOut(Listed):
    data: list[UploadOut]
