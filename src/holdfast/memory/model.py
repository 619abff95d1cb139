"""A store's table as a model of SQLAlchemy's ORM, for those who query it with that."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, String, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import registry
from sqlalchemy.types import TypeDecorator

from holdfast.engines.names import check_identifier
from holdfast.memory.records import microseconds, moment_of
from holdfast.memory.tables import COLUMNS


class Moment(TypeDecorator[datetime]):
    """A time, stored as microseconds since 1970."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else microseconds(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else moment_of(value)


@cache
def get_db_model(table_name: str) -> type[Any]:
    """The SQLAlchemy model of a memory's table, which ``memory.table_name`` names.

    It has the columns of all kinds of records; ``metadata`` is ``metadata_`` in the model. What is read
    through it is not limited to a user: filter by ``user_id``.

    >>> import holdfast.memory
    >>> with holdfast.memory.open("agent.db") as memory:
    ...     model = holdfast.memory.get_db_model(memory.table_name)
    >>> model.text.key
    'text'
    """
    columns: dict[str, Any] = {"n": Column("n", BigInteger, primary_key=True)}
    for name, definition in COLUMNS.items():
        columns[name] = Column(name, _type(name), nullable="NOT NULL" not in definition)
    # Declarative classes keep the name ``metadata`` for themselves.
    columns["metadata_"] = columns.pop("metadata")
    base = registry().generate_base()
    return type("Memory", (base,), {"__tablename__": check_identifier(table_name, "table name"), **columns})


def _type(name: str) -> Any:
    if name in ("metadata", "tool_calls"):
        return JSON().with_variant(JSONB(), "postgresql")
    if name in ("created_at", "written_at"):
        return Moment()
    return Text() if name == "text" else String()
