"""Hostile texts in every parameter of every call for the application's rows, found by introspection."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import holdfast
from agents.test_crud import CHANGES, PASSWORD, World, key, world
from engines.test_injection import HOSTILE
from holdfast.agents import crud
from holdfast.agents.crud import Group
from holdfast.errors import DatabaseError, Error

GROUPS: dict[str, Group[Any, Any, Any]] = {
    name: value for name, value in vars(crud).items() if isinstance(value, Group)
}
INNER = {"check", "values"}
"""What groups of their own ways change; nobody else calls it."""
FLAGS = {"count"}
"""Only whether it is true matters."""
CANARY = [{"id": 1, "v": "alive"}]


def calls(group: Group[Any, Any, Any]) -> dict[str, Callable[..., Any]]:
    """The public calls of a group."""
    found = inspect.getmembers(group, callable)
    fields = {"model", "new", "changes"}
    return {name: call for name, call in found if not name.startswith("_") and name not in INNER | fields}


def good(name: str, group: Group[Any, Any, Any], made: World) -> dict[str, Any]:
    """An argument that is taken, for each parameter there is."""
    singular = name.removesuffix("s")
    owners = {one.parent.name: one.column.table.name.removesuffix("s") for one in group.table.foreign_keys}
    new: dict[str, Any] = {
        "users": {"email": "bob@example.org", "password": PASSWORD},
        "messages": {"role": "user", "content": "hello"},
        "checkpoints": {"checkpoint_id": "2", "kind": "msgpack", "data": b""},
        "uploads": {"name": "other.txt", "size": 1},
        "api_keys": {"label": "other"},
    }.get(name, {"name": "other"} if "name" in group.new.model_fields else {})
    given = {column: getattr(made, owner).id for column, owner in owners.items() if hasattr(made, owner)}
    return {
        "new": new,
        "owner": {column: given[column] for column in given if column not in group.new.model_fields},
        "key": key(group, getattr(made, singular)),
        "changes": CHANGES[singular][1],
        "filters": {},
        "limit": 10,
        "after": None,
        "team_id": made.team.id,
        "member_id": made.member.id,
        "skill_id": made.skill.id,
        "ids": [made.skill.id],
        "email": made.user.email,
        "password": PASSWORD,
    }


def hostile(group: Group[Any, Any, Any], parameter: str, usual: Any, text: str) -> Iterator[Any]:
    """What stands in the place of a usual argument."""
    if parameter in ("owner", "filters"):
        yield {**usual, text: text}
        yield from ({**usual, column: text} for column in group._names)
    elif parameter in ("new", "changes"):
        shape = group.new if parameter == "new" else group.changes
        yield text
        yield from ({**usual, field: text} for field in (text, *shape.model_fields))
    elif isinstance(usual, tuple):
        yield from (tuple(text if each == part else each for each in usual) for part in usual)
        yield text
    elif parameter == "ids":
        yield [text]
    else:
        yield text


def tried(call: Callable[..., Any], usual: dict[str, Any], db: holdfast.Database, **changed: Any) -> Any:
    """Call with the usual arguments but for those that are changed."""
    given: dict[str, Any] = {}
    for name, parameter in inspect.signature(call).parameters.items():
        if name == "db" or name in FLAGS:
            continue
        value = changed.get(name, usual[name])
        given |= value if parameter.kind is parameter.VAR_KEYWORD else {name: value}
    return call(db, **given)


def state(db: holdfast.Database) -> list[Any]:
    tables = [group.table.name for group in GROUPS.values()]
    return [db.select("canary", order_by="id"), db.list_tables(), *map(db.count, tables)]


def check(db: holdfast.Database, group: Group[Any, Any, Any], result: Any, given: Any, text: str) -> None:
    """What was written is read as it was given; what was asked for with a hostile text is not there."""
    row = getattr(result, "row", result)
    if isinstance(row, group.model):
        read = group.get(db, key(group, row)).model_dump()
        assert read == row.model_dump()
        kept = [read[field] for field in given if field in read and given[field] == text]
        assert all(value in (text, text.encode()) for value in kept), (given, kept)
    else:
        assert not getattr(result, "rows", result), (given, text)


@pytest.mark.parametrize("name", GROUPS)
def test_a_hostile_text_is_kept_as_a_text_or_refused(app: holdfast.Database, name: str) -> None:
    group, made, count = GROUPS[name], world(app), 0
    app.create_table("canary", {"id": "INTEGER PRIMARY KEY", "v": "TEXT"})
    app.insert("canary", CANARY[0])
    before, usual = state(app), good(name, group, made)
    for text in HOSTILE:
        for verb, call in calls(group).items():
            for parameter in set(inspect.signature(call).parameters) - {"db"} - FLAGS:
                for value in hostile(group, parameter, usual[parameter], text):
                    app.begin_transaction()
                    try:
                        check(app, group, tried(call, usual, app, **{parameter: value}), value, text)
                    except Error as exc:
                        assert type(exc) not in (Error, DatabaseError), (verb, parameter)  # noqa: PT017
                    app.rollback()
                    count += 1
        assert state(app) == before, text
    print(f"{count} calls of {len(calls(group))} verbs of {name}")


def test_every_public_name_is_tried() -> None:
    """A call for rows that belongs to no group would not be found above."""
    assert all(isinstance(getattr(crud, name), (Group, type)) for name in crud.__all__)
