"""Columns that the ORM and ``db`` read alike: ids, times and JSON, spelt as Holdfast itself spells them."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, JsonValue, StringConstraints
from sqlalchemy import JSON, DateTime, String, Uuid
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.dialects.sqlite.base import ischema_names
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

from holdfast.errors import Error
from holdfast.types.json import json_text_native
from holdfast.types.temporal import parse_timestamp


class UuidText(UserDefinedType[UUID]):
    """A UUID on SQLite: lower-case text with hyphens, as ``db.insert`` writes it."""

    cache_ok = True

    def get_col_spec(self, **options: Any) -> str:
        return "UUID"

    def bind_processor(self, dialect: Dialect) -> Callable[[UUID | str | None], str | None]:
        return lambda value: None if value is None else str(value)

    def result_processor(self, dialect: Dialect, coltype: Any) -> Callable[[str | None], UUID | None]:
        return lambda value: None if value is None else UUID(value)


class MomentText(UserDefinedType[datetime]):
    """An aware time on SQLite: ISO text in UTC, as ``db.insert`` writes it."""

    cache_ok = True

    def get_col_spec(self, **options: Any) -> str:
        return "TIMESTAMPTZ"

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], str | None]:
        return lambda value: None if value is None else in_utc(value).isoformat(" ")

    def result_processor(self, dialect: Dialect, coltype: Any) -> Callable[[str | None], datetime | None]:
        def read(text: str | None) -> datetime | None:
            found = None if text is None else parse_timestamp(text)
            return found and (found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC))

        return read


# What SQLite's catalogue says of such columns is then read as what they are, by Alembic too.
ischema_names.setdefault("UUID", UuidText)
ischema_names.setdefault("TIMESTAMPTZ", MomentText)


class Key(TypeDecorator[UUID]):
    """A UUID, native where the database has them."""

    impl = Uuid
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor({"sqlite": UuidText()}.get(dialect.name, Uuid()))


class Moment(TypeDecorator[datetime]):
    """A time with its zone, which comes back in UTC."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        kinds: dict[str, TypeEngine[Any]] = {"sqlite": MomentText()}
        return dialect.type_descriptor(kinds.get(dialect.name, TIMESTAMP(timezone=True)))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else in_utc(value)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)


class Json(TypeDecorator[Any]):
    """A JSON value, ``jsonb`` on PostgreSQL."""

    impl = JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        kinds: dict[str, TypeEngine[Any]] = {"postgresql": JSONB(none_as_null=True)}
        return dialect.type_descriptor(kinds.get(dialect.name, JSON(none_as_null=True)))


class ExactText(TypeDecorator[str]):
    """A text that sorts by its bytes, as pages over it need."""

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor({"postgresql": String(collation="C")}.get(dialect.name, String()))


def in_utc(value: datetime) -> datetime:
    if value.utcoffset() is None:
        raise ValueError("a time without a zone does not say which moment it is")
    return value.astimezone(UTC)


def now() -> datetime:
    return datetime.now(UTC)


def _storable_json(value: Any) -> Any:
    try:
        json_text_native(value)
    except Error as exc:
        raise ValueError(exc.message) from None
    return value


NO_NUL = r"^[^\x00]*$"
Label = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=NO_NUL)]
"""A name: 1 to 200 characters."""
Note = Annotated[str, StringConstraints(max_length=4000, pattern=NO_NUL)]
"""A line or a paragraph."""
Body = Annotated[str, StringConstraints(max_length=1_000_000, pattern=NO_NUL)]
"""A text of any use."""
Day = date
"""A day; a field may then be called ``date``."""
JsonObject = Annotated[dict[str, JsonValue], AfterValidator(_storable_json)]
"""A JSON object that comes back as it went in, on both engines."""
