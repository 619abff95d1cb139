"""Checkpoints: the states of a thread's graph, in the tables of ``holdfast.memory.langgraph.HoldfastSaver``.

LangGraph writes them: a checkpoint names the versions of its channels, large values of which are blobs, and
what tasks wrote after it are writes. Here they belong to a thread of the application, and go with it.
"""

import time
from typing import TYPE_CHECKING, Annotated

from sqlalchemy import BigInteger, Index
from sqlmodel import Field, Relationship, SQLModel

from holdfast.agents.models.base import Changes, Listed, Model, Shape, kept
from holdfast.agents.models.columns import NO_NUL, ExactText, Json, JsonObject

if TYPE_CHECKING:
    from holdfast.agents.models.threads import Thread

Part = Annotated[str, Field(max_length=1000, schema_extra={"pattern": NO_NUL})]
"""A part of LangGraph's names."""


def microseconds_now() -> int:
    return time.time_ns() // 1000


class OfThread(Model):
    thread_id: str = Field(primary_key=True, foreign_key="threads.id", ondelete="CASCADE", sa_type=ExactText)


class CheckpointBase(SQLModel):
    checkpoint_ns: Part = Field(default="", primary_key=True, sa_type=ExactText)
    checkpoint_id: Part = Field(primary_key=True, sa_type=ExactText)
    parent_id: Part | None = Field(default=None, sa_type=ExactText)
    run_id: Part | None = Field(default=None, sa_type=ExactText)
    kind: Part = Field(sa_type=ExactText)
    details: JsonObject = Field(default_factory=dict, sa_type=Json, sa_column_kwargs={"name": "metadata"})


class CheckpointCreate(CheckpointBase, Shape):
    data: bytes


class CheckpointUpdate(Changes):
    details: JsonObject = kept()


class Checkpoint(CheckpointBase, OfThread, table=True):
    """A state of a thread; ``details`` is its ``metadata``, ``written_at`` in microseconds since 1970."""

    __tablename__ = "hf_checkpoints"
    __table_args__ = (Index("idx_hf_checkpoints_run_id", "run_id"),)

    data: bytes = Field(repr=False)
    written_at: int = Field(default_factory=microseconds_now, sa_type=BigInteger)

    thread: "Thread" = Relationship(back_populates="checkpoints")


class CheckpointBlob(OfThread, table=True):
    """The value of a large channel, shared by all checkpoints that have this version of it."""

    __tablename__ = "hf_checkpoint_blobs"

    checkpoint_ns: str = Field(primary_key=True, sa_type=ExactText)
    channel: str = Field(primary_key=True, sa_type=ExactText)
    version: str = Field(primary_key=True, sa_type=ExactText)
    kind: str = Field(sa_type=ExactText)
    data: bytes = Field(repr=False)


class CheckpointWrite(OfThread, table=True):
    """What a task wrote before the next checkpoint was made; it may be there before its own checkpoint is."""

    __tablename__ = "hf_checkpoint_writes"

    checkpoint_ns: str = Field(primary_key=True, sa_type=ExactText)
    checkpoint_id: str = Field(primary_key=True, sa_type=ExactText)
    task_id: str = Field(primary_key=True, sa_type=ExactText)
    idx: int = Field(primary_key=True, sa_type=BigInteger)
    channel: str = Field(sa_type=ExactText)
    kind: str = Field(sa_type=ExactText)
    data: bytes = Field(repr=False)
    task_path: str = Field(sa_type=ExactText)


class CheckpointOut(CheckpointBase):
    thread_id: str
    written_at: int


class CheckpointsOut(Listed):
    data: list[CheckpointOut]
