"""What of a schema a diagram shows: a part of it, only its keys, or its groups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, get_args

from holdfast.errors import ConfigurationError, did_you_mean
from holdfast.inspection.model import Attribute, Entity, Reference, Schema

Columns = Literal["keys", "all", "none"]
Grouping = Literal["prefix", "connected"]


def check(columns: str, group: str | None, depth: int) -> None:
    """Refuse options that mean nothing, before anything is read."""
    for name, value, known in (("columns", columns, Columns), ("group", group, Grouping)):
        words = get_args(known)
        if value not in words and not (name == "group" and value is None):
            raise ConfigurationError(
                f"unknown {name} {value!r}", hint=did_you_mean(str(value), words, "words")
            )
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 0:
        raise ConfigurationError(f"depth must be a whole number from 0 on, not {depth!r}")


def near(schema: Schema, tables: Iterable[str], depth: int) -> Schema:
    """The tables within ``depth`` references of those named, in either direction."""
    neighbours: dict[str, set[str]] = defaultdict(set)
    for item in schema.references:
        neighbours[item.table].add(item.target)
        neighbours[item.target].add(item.table)
    found = front = centres = frozenset(tables)
    for _ in range(depth):
        front = frozenset(other for name in front for other in neighbours[name]) - found
        found = found | front
    return Schema(
        tuple(
            replace(entity, is_central=entity.name in centres)
            for entity in schema.entities
            if entity.name in found
        ),
        tuple(item for item in schema.references if {item.table, item.target} <= found),
    )


def with_columns(schema: Schema, columns: Columns) -> Schema:
    """The schema with all columns of its tables, those of their keys, or none."""
    return replace(schema, entities=tuple(_with_columns(entity, columns) for entity in schema.entities))


def _with_columns(entity: Entity, columns: Columns) -> Entity:
    kept = {"all": entity.attributes, "keys": tuple(item for item in entity.attributes if item.marks)}
    shown = kept.get(columns, ())
    return replace(entity, attributes=shown, omitted=len(entity.attributes) - len(shown))


def grouped(schema: Schema, by: Grouping) -> Schema:
    """One box for each group of tables, which lists them, and the references from group to group."""
    groups = _by_prefix(schema.entities) if by == "prefix" else _by_reference(schema)
    place = {entity.name: group for group, members in groups.items() for entity in members}
    boxes = tuple(_box(group, members) for group, members in groups.items())
    references = dict.fromkeys(
        Reference(place[item.table], (item.table,), place[item.target], (item.target,))
        for item in schema.references
        if place[item.table] != place[item.target]
    )
    return Schema(boxes, tuple(references))


def _box(group: str, members: Sequence[Entity]) -> Entity:
    if len(members) == 1:
        return _with_columns(members[0], "none")
    return Entity(group, tuple(Attribute(entity.name, _counted(entity)) for entity in members))


def _counted(entity: Entity) -> str:
    columns = len(entity.attributes)
    return f"{columns} column{'' if columns == 1 else 's'}" if columns else ""


def _by_prefix(entities: Sequence[Entity]) -> Mapping[str, list[Entity]]:
    """By what stands before the first underscore, if another table begins so too."""
    found: dict[str, list[Entity]] = defaultdict(list)
    for entity in entities:
        found[entity.name.partition("_")[0] or entity.name].append(entity)
    return {members[0].name if len(members) == 1 else prefix: members for prefix, members in found.items()}


def _by_reference(schema: Schema) -> Mapping[str, list[Entity]]:
    """By who refers to whom, over any number of steps; a group is called after the table most referred to."""
    referred: dict[str, int] = defaultdict(int)
    for item in schema.references:
        referred[item.target] += 1
    groups: dict[str, list[Entity]] = {}
    left = {entity.name for entity in schema.entities}
    for entity in schema.entities:
        if entity.name in left:
            part = near(schema, [entity.name], len(schema.entities)).entities
            left -= {member.name for member in part}
            most = max(part, key=lambda member: referred[member.name]).name
            groups[most if len(part) == 1 else f"around {most}"] = list(part)
    return groups
