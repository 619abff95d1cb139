"""What `new-table` is told: a name and fields, checked before anything is written."""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.errors import InvalidIdentifier, InvalidQuery, TableExists, TableNotFound, did_you_mean

if TYPE_CHECKING:
    from sqlalchemy import MetaData

_NAME = re.compile(r"[a-z][a-z0-9_]*")
LONGEST = 40
"""Indexes and keys are named after their tables, and PostgreSQL takes 63 bytes."""
COLUMNS = "holdfast.agents.models.columns"


@dataclass(frozen=True)
class Kind:
    """A type of field: its annotation, what it is in the table, and the imports that both need."""

    annotation: str
    sa_type: str = ""
    imports: tuple[str, ...] = ()


KINDS = {
    "str": Kind("Label", "", (f"{COLUMNS}:Label",)),
    "text": Kind("Body", "", (f"{COLUMNS}:Body",)),
    "int": Kind("int", "BigInteger", ("sqlalchemy:BigInteger",)),
    "float": Kind("float"),
    "bool": Kind("bool"),
    "datetime": Kind("AwareDatetime", "Moment", ("pydantic:AwareDatetime", f"{COLUMNS}:Moment")),
    "date": Kind("Day", "", (f"{COLUMNS}:Day",)),
    "json": Kind("JsonObject", "Json", (f"{COLUMNS}:Json", f"{COLUMNS}:JsonObject")),
    "uuid": Kind("UUID", "Key", ("uuid:UUID", f"{COLUMNS}:Key")),
    "bytes": Kind("bytes"),
}
_SPELT = frozenset({"int", "float", "bool", "str", "bytes", "kept"})
"""What the text of a model says of its fields, which a field of that name would hide."""
MODIFIERS = ("optional", "unique", "index")
DELETES = ("cascade", "restrict", "set_null")


@dataclass(frozen=True)
class FieldSpec:
    """One field: its kind, and of a reference the column it refers to and the rule when that goes."""

    name: str
    kind: Kind
    optional: bool = False
    unique: bool = False
    index: bool = False
    refers_to: str | None = None
    on_delete: str | None = None


def table_name(name: str, taken: Collection[str]) -> str:
    """``name``, if a table can have it.

    Raises:
        InvalidIdentifier: if it is malformed or reserved.
        TableExists: if there is such a table.
    """
    from sqlalchemy.dialects.postgresql.base import RESERVED_WORDS as POSTGRES
    from sqlalchemy.dialects.sqlite.base import SQLiteIdentifierPreparer

    if not _NAME.fullmatch(name) or len(name) > LONGEST:
        raise InvalidIdentifier(
            f"{name!r} cannot be the name of a table here",
            hint=f"small letters, digits and _, at most {LONGEST}, such as recipes",
        )
    reserved = {*POSTGRES, *SQLiteIdentifierPreparer.reserved_words, *keyword.kwlist, "base", "models"}
    if name in reserved or name.startswith(("hf_", "sqlite_", "pg_", "alembic_")):
        raise InvalidIdentifier(f"the name {name!r} is reserved", hint=f"for example my_{name}")
    if name in taken:
        raise TableExists(f"there is a table {name!r} already", hint="choose another name")
    return name


def read_fields(texts: Sequence[str], metadata: MetaData, more: Sequence[str] = ()) -> list[FieldSpec]:
    """The fields that ``name:type[:modifier]`` describe; ``more`` are names that the table has besides.

    Raises:
        InvalidQuery: naming the field at fault.
    """
    if not texts and not more:
        raise InvalidQuery("a table needs at least one field", hint="such as title:str minutes:int:optional")
    found: list[FieldSpec] = []
    for text in texts:
        field = _field(text, metadata)
        if field.name in {"id", "created_at", "updated_at", *more}:
            raise InvalidQuery(f"every such table has a field {field.name!r}", hint="leave it out")
        if field.name in {one.name for one in found}:
            raise InvalidQuery(f"the field {field.name!r} is there twice")
        found.append(field)
    return found


def _field(text: str, metadata: MetaData) -> FieldSpec:
    from holdfast.agents.models import Model

    name, _, rest = text.partition(":")
    if not rest:
        raise InvalidQuery(f"the field {name!r} has no type", hint=f"write {name or 'title'}:str")
    if not _NAME.fullmatch(name) or len(name) > LONGEST or keyword.iskeyword(name):
        raise InvalidQuery(
            f"{name!r} cannot be the name of a field", hint="small letters, digits and _, no word of Python"
        )
    if hasattr(Model, name) or name in _SPELT or name.startswith("model_"):
        raise InvalidQuery(f"the name {name!r} is one of the models' own", hint=f"for example {name}_")
    type_name, *modifiers = rest.split(":")
    known = MODIFIERS + (DELETES if "." in type_name else ())
    for modifier in modifiers:
        if modifier not in known:
            raise InvalidQuery(
                f"{modifier!r} says nothing of the field {name!r}",
                hint=did_you_mean(modifier, known, "words"),
            )
    flags = {flag: flag in modifiers for flag in MODIFIERS}
    if "." in type_name:
        return _reference(name, type_name, modifiers, flags, metadata)
    if type_name not in KINDS:
        raise InvalidQuery(
            f"the field {name!r} has the unknown type {type_name!r}",
            hint=did_you_mean(type_name, [*KINDS, "users.id"], "types"),
        )
    if type_name == "json" and (flags["unique"] or flags["index"]):
        raise InvalidQuery(f"the field {name!r} is JSON and cannot be unique or an index")
    return FieldSpec(name, KINDS[type_name], flags["optional"], flags["unique"], flags["index"])


def _reference(
    name: str, target: str, modifiers: Sequence[str], flags: dict[str, bool], metadata: MetaData
) -> FieldSpec:
    table, _, column = target.partition(".")
    if table not in metadata.tables:
        raise TableNotFound(
            f"the field {name!r} refers to the table {table!r}, which is in no model",
            hint=did_you_mean(table, sorted(metadata.tables), "tables"),
        )
    columns = metadata.tables[table].columns
    if column not in columns or not (
        columns[column].primary_key and len(metadata.tables[table].primary_key) == 1
    ):
        raise InvalidQuery(
            f"the field {name!r} refers to {target!r}, which is no primary key", hint=f"such as {table}.id"
        )
    rules = [modifier for modifier in modifiers if modifier in DELETES]
    on_delete = (
        (rules[0] if rules else "set_null" if flags["optional"] else "cascade").replace("_", " ").upper()
    )
    if len(rules) > 1 or (on_delete == "SET NULL" and not flags["optional"]):
        raise InvalidQuery(
            f"the field {name!r} has rules for deletion that contradict each other",
            hint="set_null is for optional ones",
        )
    sa_type = type(columns[column].type).__name__
    kinds = {"Key": KINDS["uuid"], "ExactText": Kind("str", "ExactText", (f"{COLUMNS}:ExactText",))}
    if sa_type not in kinds:
        raise InvalidQuery(f"the key {target!r} is of a type that a field cannot have here")
    # What refers is looked for whenever what it refers to goes: it has an index.
    is_unique = flags["unique"]
    return FieldSpec(name, kinds[sa_type], flags["optional"], is_unique, not is_unique, target, on_delete)
