"""What can be done with the rows of every group: create, get, list, count, update, delete.

All of it goes through ``db``: each call is one transaction, or takes part in the one that is open in this
thread, together with the memory, LangGraph's checkpointer and the user's own sessions on ``db.engine``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar, cast

from pydantic import ValidationError
from sqlalchemy import Column, Index, PrimaryKeyConstraint, Table, UniqueConstraint
from sqlalchemy import inspect as mapping_of
from sqlmodel import SQLModel

from holdfast.agents.models import Changes, Model, Shape
from holdfast.agents.models.columns import now
from holdfast.database import Database
from holdfast.errors import (
    AlreadyExists,
    ForeignKeyViolation,
    InvalidQuery,
    NotFoundError,
    UniqueViolation,
    ValueRefused,
    did_you_mean,
)

T = TypeVar("T", bound=Model)
C = TypeVar("C", bound=Shape)
U = TypeVar("U", bound=Changes)
S = TypeVar("S", bound=SQLModel)
NOUNS = {"api_keys": "API key", "hf_checkpoints": "checkpoint"}


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A page of rows; ``next`` and ``previous`` go into ``after``; ``count`` is that of all pages."""

    rows: Sequence[T]
    next: str | None
    previous: str | None
    count: int | None = None


@dataclass(frozen=True)
class Group(Generic[T, C, U]):
    """The rows of one table, and the shapes in which they come in."""

    model: type[T]
    new: type[C]
    changes: type[U]
    unlisted: tuple[str, ...] = ()
    """Fields that may be large, which only ``get`` reads."""

    def create(self, db: Database, new: C | Mapping[str, Any], **owner: Any) -> T:
        """Write a row, which belongs to ``owner``: a column and its value, such as ``team_id=team.id``.

        Raises:
            AlreadyExists: if another row has the same; ``fields`` says what.
            InvalidQuery: if ``owner`` has what is no column, or a field that ``new`` has.
            NotFoundError: if it refers to a row that is not there.
            ValueRefused: if a field is missing, unknown or not as it must be.
        """
        self._check_columns(owner)
        row = self._row(checked(self.new, new), owner)
        with db.transaction():
            self.check(db, row)
            # Not model_dump(), which warns of a value that is not of its field's type, and shows it.
            stored = self._stored({name: getattr(row, name) for name in self._names})
            self._written(db, row, lambda: db.insert(self.table.name, stored))
        return row

    def get(self, db: Database, key: Any) -> T:
        """The row of that key.

        Raises:
            NotFoundError: if there is none.
        """
        try:
            return self._read(db.get(self.table.name, key))
        except NotFoundError:
            raise NotFoundError(f"there is no {self.noun} of that id") from None

    def list(
        self,
        db: Database,
        *,
        limit: int = 100,
        after: str | None = None,
        count: bool = False,
        **filters: Any,
    ) -> Listing[T]:
        """A page of the rows with these values, in the order in which they were made.

        Only what an index finds can be asked for, so that a late page costs what the first one does.
        Counting costs more the more rows there are.

        Raises:
            InvalidQuery: for a filter without an index, or a token that belongs elsewhere.
        """
        self._check_filters(filters)
        page = db.paginate(
            self.table.name,
            self.key,
            limit=limit,
            after=after,
            where=filters or None,
            columns=[column for field, column in self._names.items() if field not in self.unlisted],
        )
        return Listing(
            [self._read(row) for row in page.rows],
            page.next,
            page.previous,
            db.count(self.table.name, filters or None) if count else None,
        )

    def count(self, db: Database, **filters: Any) -> int:
        """How many rows have these values."""
        self._check_filters(filters)
        return db.count(self.table.name, filters or None)

    def update(self, db: Database, key: Any, changes: U | Mapping[str, Any]) -> T:
        """Change the fields that are given; the others keep their values.

        Raises:
            NotFoundError: if there is no such row, or it would refer to one that is not there.
            AlreadyExists: if another row has the same; ``fields`` says what.
            ValueRefused: if a field is unknown or not as it must be.
        """
        given = self.values(checked(self.changes, changes))
        with db.transaction():
            row = self.get(db, key)
            if given:
                given |= self._touched()
                for name, value in given.items():
                    setattr(row, name, value)
                self.check(db, row)
                stored = self._stored(given)
                where = dict(zip(self.key, self._key_of(row), strict=True))
                self._written(db, row, lambda: db.update(self.table.name, stored, where))
        return row

    def delete(self, db: Database, key: Any) -> None:
        """Delete the row, with all that belongs to it.

        Raises:
            NotFoundError: if there is none.
        """
        values = key if isinstance(key, tuple) else (key,)
        if len(values) != len(self.key):
            raise InvalidQuery(f"the key of a {self.noun} is {', '.join(self.key)}")
        if not db.delete(self.table.name, dict(zip(self.key, values, strict=True))):
            raise NotFoundError(f"there is no {self.noun} of that id")

    # What groups of their own ways change

    def values(self, shape: C | U) -> dict[str, Any]:
        """The columns of what came in."""
        return shape.given if isinstance(shape, Changes) else shape.model_dump()

    def check(self, db: Database, row: T) -> None:
        """Refuse what the database itself does not."""

    # The table

    @cached_property
    def table(self) -> Table:
        return cast("Table", mapping_of(self.model).local_table)

    @cached_property
    def key(self) -> tuple[str, ...]:
        """The columns of the primary key."""
        return tuple(column.name for column in self.table.primary_key.columns)

    @property
    def noun(self) -> str:
        return noun(self.table.name)

    @cached_property
    def _names(self) -> dict[str, str]:
        """Columns by the names of their fields."""
        columns = mapping_of(self.model).column_attrs
        return {one.key: one.columns[0].name for one in columns if isinstance(one.columns[0], Column)}

    @cached_property
    def _filters(self) -> frozenset[frozenset[str]]:
        """Sets of columns by which an index gives rows in the order of their keys, or one row at most."""
        orders = [tuple(column.name for column in index.columns) for index in self.table.indexes]
        found = {
            frozenset(order[: -len(self.key)]) for order in orders if order[-len(self.key) :] == self.key
        }
        found |= {frozenset(self._unique[name]) for name in self._unique if name not in self._partial}
        return frozenset(found | {frozenset(self.key[:length]) for length in range(len(self.key))})

    @cached_property
    def _unique(self) -> dict[str, tuple[str, ...]]:
        """The columns of each unique constraint, by its name."""
        constraints = [one for one in self.table.constraints if isinstance(one, UniqueConstraint)]
        indexes = [index for index in self.table.indexes if index.unique]
        found: tuple[Index | UniqueConstraint | PrimaryKeyConstraint, ...]
        found = (*indexes, *constraints, self.table.primary_key)
        return {str(one.name): tuple(column.name for column in one.columns) for one in found}

    @cached_property
    def _partial(self) -> frozenset[str]:
        """Indexes that have some of the rows."""
        return frozenset(
            str(index.name)
            for index in self.table.indexes
            if any(options.get("where") is not None for options in index.dialect_options.values())
        )

    def _check_columns(self, given: Mapping[str, Any]) -> None:
        for name in given:
            if name not in self._names:
                raise InvalidQuery(
                    f"a {self.noun} has no {name!r}", hint=did_you_mean(name, self._names, "fields")
                )

    def _check_filters(self, filters: Mapping[str, Any]) -> None:
        self._check_columns(filters)
        if frozenset(filters) not in self._filters:
            ways = sorted(" and ".join(sorted(columns)) for columns in self._filters if columns)
            raise InvalidQuery(
                f"no index finds a {self.noun} by {' and '.join(filters)}",
                hint=f"there is: {', '.join(ways)}",
            )

    def _row(self, new: C, owner: Mapping[str, Any]) -> T:
        values = self.values(new)
        if twice := sorted(values.keys() & owner.keys()):
            raise InvalidQuery(
                f"a {self.noun} has {' and '.join(twice)} twice", hint="give it among the fields only"
            )
        return self.model(**values, **owner)

    def _read(self, row: Mapping[str, Any]) -> T:
        return self.model(**{field: row[column] for field, column in self._names.items() if column in row})

    def _stored(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {self._names[field]: value for field, value in values.items()}

    def _key_of(self, row: T) -> tuple[Any, ...]:
        return tuple(getattr(row, name) for name in self.key)

    def _touched(self) -> dict[str, Any]:
        return {"updated_at": now()} if "updated_at" in self._names else {}

    # Errors

    def _written(self, db: Database, row: T, write: Any) -> None:
        try:
            with db.transaction():
                write()
        except UniqueViolation as exc:
            raise self._exists(exc) from exc
        except ForeignKeyViolation as exc:
            for column, table in self._missing(db, row):
                raise NotFoundError(f"there is no {noun(table)} of that {column}") from exc
            raise

    def _exists(self, exc: UniqueViolation) -> AlreadyExists:
        """The error that names the field, which the engines say each in its own way."""
        fields: tuple[str, ...] = ()
        for name, columns in self._unique.items():
            places = ", ".join(f"{self.table.name}.{column}" for column in columns)
            if exc.message.endswith((f"constraint {name}", f": {places}")):
                owners = {key.parent.name for key in self.table.foreign_keys}
                fields = tuple(column for column in columns if column not in owners) or columns
        what = " and ".join(fields) or "value"
        error = AlreadyExists(f"there is a {self.noun} of that {what} already", hint="give another one")
        error.fields = fields
        return error

    def _missing(self, db: Database, row: T) -> Iterator[tuple[str, str]]:
        for key in self.table.foreign_keys:
            value = getattr(row, key.parent.name)
            table = key.column.table.name
            if value is not None and not db.exists(table, {key.column.name: value}):
                yield key.parent.name, table


def noun(table: str) -> str:
    """What a row of a table is called.

    >>> noun("teams")
    'team'
    """
    return NOUNS.get(table, table.removesuffix("s"))


def checked(shape: type[S], given: S | Mapping[str, Any]) -> S:
    """What came in as its shape.

    Raises:
        ValueRefused: if it is not of that shape; the message names the field, and no value.
    """
    if isinstance(given, shape):
        return given
    try:
        return shape.model_validate(given)
    except ValidationError as exc:
        faults = [f"{'.'.join(map(str, one['loc'])) or 'it'}: {one['msg']}" for one in exc.errors()]
        raise ValueRefused("; ".join(faults)) from None
