"""What the groups of models share: their metadata, and the shapes in which rows come in and go out."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import ConfigDict
from sqlalchemy import MetaData
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from holdfast.agents.models.columns import Key, Moment, now
from holdfast.memory.records import uuid7

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)
"""All tables of the application; every constraint has a name, so that a migration can change it."""


class Model(SQLModel, registry=registry(metadata=metadata)):
    """A table of the application; a class of yours that inherits from it may refer to ours."""


class Row(Model):
    """What every row of ours has; ids are made here, by any number of writers, and sort by their time."""

    id: UUID = Field(default_factory=uuid7, primary_key=True, sa_type=Key)
    created_at: datetime = Field(default_factory=now, sa_type=Moment)
    updated_at: datetime = Field(default_factory=now, sa_type=Moment)


class RowOut(SQLModel):
    """What every row shows."""

    id: UUID
    created_at: datetime
    updated_at: datetime


class Shape(SQLModel):
    """What comes in: a field that it does not have is refused."""

    # A value may be a password.
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)  # type: ignore[assignment]


class Changes(Shape):
    """What is to change of a row; a field that was not given keeps its value."""

    @property
    def given(self) -> dict[str, Any]:
        """The fields that were given, by name."""
        return self.model_dump(exclude_unset=True)


def kept(**options: Any) -> Any:
    """A field of :class:`Changes` that may be left out, and whose value has to be one of its type."""
    return Field(default_factory=lambda: None, **options)


class Listed(SQLModel):
    """A page of rows; ``next`` and ``previous`` go into ``after``, ``count`` is there if it was asked for."""

    next: str | None = None
    previous: str | None = None
    count: int | None = None
