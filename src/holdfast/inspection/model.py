"""A schema as a diagram sees it: tables with their columns, and who refers to whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core.executor import Executor
from holdfast.inspection.reading import describe_view


@dataclass(frozen=True, slots=True)
class Attribute:
    """A column: its declared type, and whether it is part of the primary key or of a foreign key."""

    name: str
    type: str
    primary_key: bool = False
    foreign_key: bool = False

    @property
    def marks(self) -> list[str]:
        return ["PK"] * self.primary_key + ["FK"] * self.foreign_key


@dataclass(frozen=True, slots=True)
class Entity:
    """A table or a view; ``omitted`` columns are not shown, and the picture is drawn around a central one.

    One that has no column at all is referred to but not shown, or not there.
    """

    name: str
    attributes: tuple[Attribute, ...] = ()
    is_view: bool = False
    omitted: int = 0
    is_central: bool = False

    @property
    def is_light(self) -> bool:
        return self.is_view or not (self.attributes or self.omitted)


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key: ``columns`` of ``table`` refer to ``keys`` of ``target``."""

    table: str
    columns: tuple[str, ...]
    target: str
    keys: tuple[str, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Schema:
    """What a diagram shows. Every table and target of a reference is among the entities."""

    entities: tuple[Entity, ...]
    references: tuple[Reference, ...]


def read_schema(executor: Executor, tables: Sequence[str] | None = None) -> Schema:
    """Read the tables and views of a database, or only those named; views come last.

    Raises:
        TableNotFound: if one of ``tables`` is not there.
    """
    catalog = executor.engine.catalog
    views = catalog.views(executor.run)
    if tables is None:
        names = [*catalog.tables(executor.run), *views]
    else:
        names = list(dict.fromkeys([tables] if isinstance(tables, str) else tables))
    entities: list[Entity] = []
    references: list[Reference] = []
    for name in names:
        info = describe_view(executor, name) if name in views else executor.describe(name)
        if info is None:
            entities.append(Entity(name, is_view=True))
            continue
        keys = [] if info.is_view else catalog.foreign_keys(executor.run, name)
        referring = {column for key in keys for column in key["columns"]}
        attributes = tuple(
            Attribute(column.name, column.type, column.primary_key, column.name in referring)
            for column in info.columns
        )
        entities.append(Entity(name, attributes, info.is_view))
        nullable = {column.name for column in info.columns if column.nullable}
        references += [_reference(name, key, nullable) for key in keys]
    known = {entity.name for entity in entities}
    missing = dict.fromkeys(item.target for item in references if item.target not in known)
    return Schema((*entities, *map(Entity, missing)), tuple(references))


def _reference(table: str, key: dict[str, Any], nullable: set[str]) -> Reference:
    optional = not nullable.isdisjoint(key["columns"])
    return Reference(table, tuple(key["columns"]), key["references"], tuple(key["keys"]), optional)
