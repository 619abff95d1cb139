"""Threads: conversations of a team, with their messages."""

from typing import TYPE_CHECKING, Annotated, Literal, Optional
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, String
from sqlmodel import Field, Relationship, SQLModel

from holdfast.agents.models.base import Changes, Listed, Row, RowOut, Shape, kept
from holdfast.agents.models.columns import NO_NUL, Body, ExactText, Json, JsonObject, Key, Label
from holdfast.memory.records import uuid7

if TYPE_CHECKING:
    from holdfast.agents.models.checkpoints import Checkpoint
    from holdfast.agents.models.members import Member
    from holdfast.agents.models.teams import Team

ThreadId = Annotated[str, Field(min_length=1, max_length=200, schema_extra={"pattern": NO_NUL})]
"""A text, for LangGraph's ids of threads are texts."""
Role = Literal["system", "user", "assistant", "tool"]


def new_thread_id() -> str:
    return str(uuid7())


class ThreadBase(SQLModel):
    title: Label = "New thread"


class ThreadCreate(ThreadBase, Shape):
    id: ThreadId = Field(default_factory=new_thread_id)


class ThreadUpdate(Changes):
    title: Label = kept()


class Thread(ThreadBase, Row, table=True):
    """A conversation; its messages and checkpoints are deleted with it."""

    __tablename__ = "threads"
    __table_args__ = (Index(None, "team_id", "id"),)

    id: str = Field(  # type: ignore[assignment]
        default_factory=new_thread_id, primary_key=True, sa_type=ExactText
    )
    team_id: UUID = Field(foreign_key="teams.id", ondelete="CASCADE", sa_type=Key)

    team: "Team" = Relationship(back_populates="threads")
    messages: list["Message"] = Relationship(
        back_populates="thread", cascade_delete=True, passive_deletes=True
    )
    checkpoints: list["Checkpoint"] = Relationship(
        back_populates="thread", cascade_delete=True, passive_deletes=True
    )


class ThreadOut(ThreadBase, RowOut):
    id: str  # type: ignore[assignment]
    team_id: UUID


class ThreadsOut(Listed):
    data: list[ThreadOut]


class MessageBase(SQLModel):
    role: Role = Field(sa_type=String)
    content: Body
    details: JsonObject = Field(default_factory=dict, sa_type=Json)
    member_id: UUID | None = Field(default=None, foreign_key="members.id", ondelete="SET NULL", sa_type=Key)


class MessageCreate(MessageBase, Shape):
    pass


class MessageUpdate(Changes):
    role: Role = kept()
    content: Body = kept()
    details: JsonObject = kept()
    member_id: UUID | None = None


class Message(MessageBase, Row, table=True):
    """What was said in a thread, by a member of the team or by somebody else."""

    __tablename__ = "messages"
    __table_args__ = (
        CheckConstraint("role IN ('system', 'user', 'assistant', 'tool')", name="role"),
        Index(None, "thread_id", "id"),
        Index(None, "member_id"),
    )

    thread_id: str = Field(foreign_key="threads.id", ondelete="CASCADE", sa_type=ExactText)

    thread: "Thread" = Relationship(back_populates="messages")
    member: Optional["Member"] = Relationship()


class MessageOut(MessageBase, RowOut):
    thread_id: str


class MessagesOut(Listed):
    data: list[MessageOut]
