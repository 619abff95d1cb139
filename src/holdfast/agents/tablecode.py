"""The Python text of a project's model: base, Create, Update, the table, Out and the page of them."""

from __future__ import annotations

import builtins
import keyword
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from holdfast.agents.fields import COLUMNS, FieldSpec

BASE = "holdfast.agents.models.base"
_TAKEN = {
    "Changes",
    "Listed",
    "Row",
    "RowOut",
    "Shape",
    "Field",
    "Key",
    "Moment",
    "Json",
    "Label",
    "Body",
    "Day",
} | {"Knowledge", "SQLModel", "BigInteger", "ExactText", "JsonObject", "AwareDatetime", "Model", "UUID"}
_PLURALS = (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("ches", "ch"), ("shes", "sh"), ("s", ""))


@dataclass(frozen=True)
class Code:
    """The text of a model's module, and the names in it."""

    text: str
    row: str
    handle: str | None = None


def class_name(table: str, taken: Collection[str] = ()) -> str:
    """A class's name for a row of a table: ``recipe_steps`` gives ``RecipeStep``.

    ``taken`` are the classes of other tables: SQLAlchemy finds what is related by that name alone.
    """
    single = table
    for end, instead in _PLURALS:
        if table.endswith(end) and not table.endswith("ss") and len(table) > len(end) + 1:
            single = table[: -len(end)] + instead
            break
    name = "".join(part.capitalize() for part in single.split("_"))
    while name in _TAKEN or name in taken or keyword.iskeyword(name) or hasattr(builtins, name):
        name += "Entry"
    return name


def written(
    table: str, fields: Sequence[FieldSpec], *, kind: str | None, taken: Collection[str] = ()
) -> Code:
    """The module of a table; ``kind`` is ``"knowledge"``, ``"memory"`` or ``None``."""
    row = class_name(table, taken)
    base = [_line(field) for field in fields]
    updates = [_update(field) for field in fields]
    own: list[str] = []
    if kind:
        base.insert(0, "text: Body")
        updates.insert(0, "text: Body = kept()")
    if kind == "memory":
        own = [_OWNER]
    parts = [
        f'"""The table ``{table}``: what creates a row, what changes one, and what goes out."""',
        _imports(fields, kind, is_kept=any("kept()" in line for line in updates)),
        _class(f"{row}Base(SQLModel)", base),
        _class(f"{row}Create({row}Base, Shape)", ()),
        _class(f"{row}Update(Changes)", updates),
        _class(
            f"{row}({row}Base, Row, table=True)", [f'__tablename__ = "{table}"', *([""] if own else []), *own]
        ),
        _class(f"{row}Out({row}Base, RowOut)", ["user_id: UUID"] if own else ()),
        _class(f"{_plural(row)}Out(Listed)", [f"data: list[{row}Out]"]),
    ]
    if kind:
        parts.append(f"{table} = Knowledge({row})\n{_HANDLE}")
    head, imports, *classes = parts
    return Code(f"{head}\n\n{imports}\n\n\n" + "\n\n\n".join(classes) + "\n", row, table if kind else None)


_OWNER = """user_id: UUID = Field(
        foreign_key="users.id", ondelete="CASCADE", index=True, sa_type=Key
    )"""
_HANDLE = (
    '"""Adds, changes and searches rows; give it an ``embed`` to search by meaning, not by words alone."""'
)


def _plural(row: str) -> str:
    return row[:-1] + "ies" if row.endswith("y") and row[-2:-1] not in "aeiou" else row + "s"


def _line(field: FieldSpec) -> str:
    annotation = field.kind.annotation + (" | None" if field.optional else "")
    options = {
        "default": "None" if field.optional else "",
        "unique": "True" if field.unique else "",
        "index": "True" if field.index else "",
        "foreign_key": f'"{field.refers_to}"' if field.refers_to else "",
        "ondelete": f'"{field.on_delete}"' if field.on_delete else "",
        "sa_type": field.kind.sa_type,
    }
    given = [f"{name}={value}" for name, value in options.items() if value]
    if given == ["default=None"]:
        return f"{field.name}: {annotation} = None"
    line = f"{field.name}: {annotation}" + (f" = Field({', '.join(given)})" if given else "")
    if len(line) + 4 > 88:
        inside = "".join(f"\n        {one}," for one in given)
        line = f"{field.name}: {annotation} = Field({inside}\n    )"
    return line


def _update(field: FieldSpec) -> str:
    if field.optional:
        return f"{field.name}: {field.kind.annotation} | None = None"
    return f"{field.name}: {field.kind.annotation} = kept()"


def _class(head: str, lines: Sequence[str]) -> str:
    body = "".join(f"\n    {line}".rstrip(" ") for line in lines) or "\n    pass"
    return f"class {head}:{body}"


def _imports(fields: Sequence[FieldSpec], kind: str | None, *, is_kept: bool) -> str:
    wanted: dict[str, set[str]] = {
        BASE: {"Changes", "Listed", "Row", "RowOut", "Shape", *(["kept"] if is_kept else [])},
        "sqlmodel": {"SQLModel"},
    }
    every = [place for field in fields for place in field.kind.imports]
    if any("Field(" in _line(field) for field in fields) or kind == "memory":
        every.append("sqlmodel:Field")
    if kind:
        every += [f"{COLUMNS}:Body", "holdfast.agents.knowledge:Knowledge"]
    if kind == "memory":
        every += ["uuid:UUID", f"{COLUMNS}:Key"]
    for place in every:
        module, _, name = place.partition(":")
        wanted.setdefault(module, set()).add(name)
    standard: list[str] = [module for module in ("datetime", "uuid") if module in wanted]
    groups = [standard, sorted(module for module in wanted if module not in standard)]
    return "\n\n".join(
        "\n".join(_import(module, wanted[module]) for module in group) for group in groups if group
    )


def _import(module: str, names: set[str]) -> str:
    # As isort and ruff sort them: CONSTANTS, then Classes, then functions.
    order = sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    line = f"from {module} import {', '.join(order)}"
    if len(line) <= 88:
        return line
    return f"from {module} import (" + "".join(f"\n    {name}," for name in order) + "\n)"
