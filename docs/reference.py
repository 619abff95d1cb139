"""Write reference.md from the signatures and docstrings of the public names: ``python docs/reference.py``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import holdfast
from holdfast import errors
from holdfast.engines.base import UNSET
from holdfast.memory import embed

PAGE = Path(__file__).with_name("reference.md")
GIVEN = (
    ("holdfast.core.query", "Result", "db.execute"),
    ("holdfast.core.paging", "Page", "db.paginate"),
    ("holdfast.io.arrays", "ArrayInfo", "db.verify_array"),
    ("holdfast.inspection", "Inspector", "holdfast.inspect"),
    ("holdfast.inspection.report", "Summary", "db.summary"),
    ("holdfast.inspection", "Profile", "inspector.profile"),
    ("holdfast.inspection", "TableProfile", "inspector.profile"),
    ("holdfast.inspection", "ColumnProfile", "inspector.profile"),
    ("holdfast.backup.verify", "Report", "db.verify_backup"),
    ("holdfast.backup.listing", "Backup", "db.list_backups"),
    ("holdfast.backup.retention", "Pruned", "db.prune_backups"),
    ("holdfast.transfer.report", "CopyReport", "holdfast.copy_database"),
    ("holdfast.transfer.report", "ColumnCopy", "copyreport.columns"),
    ("holdfast.transfer.report", "LeftBehind", "copyreport.left_behind"),
    ("holdfast.tuning.doctor", "Findings", "db.doctor"),
    ("holdfast.engines.checks", "Finding", "findings"),
    ("holdfast.transfer.differing", "Difference", "holdfast.diff"),
    ("holdfast.transfer.differing", "SchemaDifference", "difference.schema"),
    ("holdfast.transfer.differing", "TableDifference", "difference.tables"),
    ("holdfast.transfer.differing", "RowDifference", "tabledifference.rows"),
)
_REPORTS = ("Moved", "Imported", "Loaded", "Reembedded", "Recall")
AGENTS = {
    "settings": ("load",),
    "start": ("init",),
    "initial_data": ("seed",),
    "migrate": ("upgrade", "downgrade", "current", "history", "pending"),
    "drift": ("check",),
    "revise": ("new",),
    "offline": ("sql",),
    "bootstrap": ("bootstrap",),
    "newtable": ("new_table",),
    "scaffold": ("scaffold",),
    "server": ("create_app", "serve"),
}
"""The calls of `holdfast.agents`, by the module that they are in."""
AGENTS_GIVE = (
    ("settings", "Settings", "settings.load"),
    ("initial_data", "Seeded", "initial_data.seed"),
    ("project", "Project", "project.Project.at"),
    ("migrate", "Done", "migrate.upgrade"),
    ("revisions", "Revision", "migrate.history"),
    ("bootstrap", "Bootstrapped", "bootstrap.bootstrap"),
    ("newtable", "NewTable", "newtable.new_table"),
)
SYNC_GIVES = {
    "Report": "sync.run",
    "Status": "sync.status",
    "Quarantined": "status.quarantined",
    "Conflict": "sync.conflicts",
    "Plan": "sync.plan",
    "Clash": "sync.run",
}
_ROLE = re.compile(r":(?:meth|func|class|attr|mod):`~?([^`]+)`")


def page() -> str:
    """The whole page, which ``test_docs.py`` compares with the file."""
    return (
        "\n".join(
            [_INTRODUCTION, *_package(), *_classes(), *_memory(), *_faces(), *_sync(), *_agents(), *_errors()]
        ).rstrip()
        + "\n"
    )


_INTRODUCTION = """# Reference

Every public name, its signature and its errors. This page is written from the docstrings by
`make docs`; a test compares the two. The how-to guides say the same by task.
"""


def _package() -> Iterator[str]:
    yield "## The package\n"
    for name in holdfast.__all__:
        found = getattr(holdfast, name)
        if inspect.isfunction(found):
            yield _entry(f"holdfast.{name}", found)
    yield "### `holdfast.__version__`\n\nThe version, a text.\n"
    yield "### `holdfast.errors`\n\nThe module of the [errors](#errors); `holdfast.Error` is their root.\n"


def _memory() -> Iterator[str]:
    yield "## memory\n\nThe module `holdfast.memory`: what agents remember.\n"
    for name in holdfast.memory.__all__:
        found = getattr(holdfast.memory, name)
        if inspect.isfunction(found):
            yield _entry(f"holdfast.memory.{name}", found)
    yield "### `holdfast.memory.get_db_model`\n\n" + _prose(holdfast.memory.get_db_model)
    for name in ("Passage", "Message", "Source", "Page", "Hit", "Hits", "Change", *_REPORTS):
        yield from _class(getattr(holdfast.memory, name), name.lower(), "holdfast.memory")
    for name in embed.__all__:
        found = getattr(embed, name)
        if inspect.isfunction(found):
            yield _entry(f"holdfast.memory.embed.{name}", found)
        else:
            entry = _entry(f"holdfast.memory.embed.{name}", found.__init__, _prose(found))
            yield entry.replace(") -> None\n", ")\n", 1)
    yield from _class(holdfast.memory.SQLStore, "memory", "holdfast.memory.open")


def _faces() -> Iterator[str]:
    langgraph = import_module("holdfast.memory.langgraph")
    yield "## LangGraph\n\nThe module `holdfast.memory.langgraph`.\n"
    yield from _made_class(langgraph.HoldfastSaver, "saver")
    yield from _made_class(langgraph.HoldfastStore, "store")
    yield "## LangChain\n\nThe module `holdfast.memory.langchain`.\n"
    yield from _made_class(import_module("holdfast.memory.langchain").HoldfastVectorStore, "vectorstore")


def _sync() -> Iterator[str]:
    sync = import_module("holdfast.sync")
    yield (
        "## sync\n\nThe module `holdfast.sync`: two-way sync between a database of one's own and a hub that "
        "many share. [The guide](sync.md) shows the whole way.\n"
    )
    yield from _made_class(sync.Sync, "sync")
    for name, giver in SYNC_GIVES.items():
        yield from _class(getattr(sync, name), name.lower(), giver)


def _agents() -> Iterator[str]:
    yield (
        "## agents\n\nThe module `holdfast.agents` (extra `agents`): the database of an application "
        "of agents, and what is done with it. `holdfast.agents.models` has the tables and the shapes in "
        "which rows come in and go out. `project` is the folder that you are in unless one is given.\n"
    )
    for module, names in AGENTS.items():
        found = import_module(f"holdfast.agents.{module}")
        for name in names:
            yield _entry(f"holdfast.agents.{module}.{name}", getattr(found, name))
    for module, name, giver in AGENTS_GIVE:
        found = getattr(import_module(f"holdfast.agents.{module}"), name)
        yield from _class(found, name.lower(), f"holdfast.agents.{giver}")
    yield from _crud()
    knowledge = import_module("holdfast.agents.knowledge")
    yield from _class(knowledge.Knowledge, "recipes", "new-table recipes --knowledge")
    yield from _class(knowledge.Found, "found", "recipes.search")


def _crud() -> Iterator[str]:
    crud = import_module("holdfast.agents.crud")
    groups = {name: found for name in crud.__all__ if isinstance(found := getattr(crud, name), crud.Group)}
    yield (
        "## CRUD\n\nThe module `holdfast.agents.crud`. Each of its groups has the calls that stand here for "
        f"`crud.teams`: {', '.join(f'`{name}`' for name in groups)}. Some have more.\n"
    )
    for name in ("create", "get", "list", "count", "update", "delete"):
        yield _entry(f"crud.teams.{name}", getattr(crud.Group, name))
    for group, found in groups.items():
        for name, call in vars(type(found)).items():
            is_own = type(found) is not crud.Group and inspect.isfunction(call)
            if is_own and call.__doc__ and not name.startswith("_"):
                yield _entry(f"crud.{group}.{name}", call)
    yield from _class(crud.Listing, "listing", "crud.teams.list")
    yield from _class(crud.NewKey, "newkey", "crud.api_keys.issue")


def _made_class(cls: type, variable: str) -> Iterator[str]:
    """A class that is called by its own name."""
    name = f"{cls.__module__.rpartition('.')[0]}.{cls.__name__}"
    yield _entry(name, cls)
    yield from list(_class(cls, variable, name))[1:]


def _classes() -> Iterator[str]:
    yield from _class(holdfast.Database, "db", "holdfast.connect")
    yield from _class(holdfast.Table, "table", "db.table")
    for module, name, giver in GIVEN:
        yield from _class(getattr(import_module(module), name), name.lower(), giver)


def _class(cls: type, variable: str, giver: str) -> Iterator[str]:
    yield f"## {cls.__name__}\n\nWhat `{giver}` gives.\n\n{_prose(cls)}{_fields(cls)}"
    for name, found in vars(cls).items():
        if name.startswith("_") or not (inspect.isfunction(found) or isinstance(found, property)):
            continue
        if isinstance(found, property):
            yield f"### `{variable}.{name}`\n\n{_prose(found)}"
        elif found.__name__ != name:
            yield f"### `{variable}.{name}`\n\nAnother name of `{variable}.{found.__name__}`.\n"
        else:
            yield _entry(f"{variable}.{name}", found)


def _fields(cls: type) -> str:
    if not is_dataclass(cls):
        return ""
    lines = [f"{field.name}: {_type(field.type)}" for field in fields(cls)]
    return "\n```text\n" + "\n".join(lines) + "\n```\n"


def _entry(name: str, function: Any, prose: str | None = None) -> str:
    text = _prose(function) if prose is None else prose
    return f"### `{name}`\n\n```text\n{signature(name, function)}\n```\n\n{text}"


def signature(name: str, function: Any) -> str:
    """The call as it is written, on one line or with a parameter a line."""
    shape = inspect.signature(function)
    parts: list[str] = []
    kinds = [parameter.kind for parameter in shape.parameters.values()]
    for index, parameter in enumerate(shape.parameters.values()):
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not {
            parameter.KEYWORD_ONLY,
            parameter.VAR_POSITIONAL,
        } & set(kinds[:index]):
            parts.append("*")
        parts.append(_parameter(parameter))
    answer = f" -> {_type(shape.return_annotation)}"
    line = f"{name}({', '.join(parts)}){answer}"
    if len(line) <= 96:
        return line
    return f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){answer}"


def _parameter(parameter: inspect.Parameter) -> str:
    star = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    text = f"{star}{parameter.name}: {_type(parameter.annotation)}"
    if parameter.default is parameter.empty:
        return text
    shown = "<unchanged>" if parameter.default is UNSET else repr(parameter.default)
    return f"{text} = {'...' if '<lambda>' in shown or len(shown) > 60 else shown}"


def _type(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def _prose(documented: Any) -> str:
    """A docstring as Markdown; examples are checked where they stand, in the source."""
    text = inspect.getdoc(documented) or ""
    text = _ROLE.sub(r"`\1`", text).replace("``", "`")
    text, _, raised = text.partition("\nRaises:\n")
    text = re.sub(r"(?m)(^>>> (?:.*\n?)+)", _example, text)
    return text.strip() + "\n" + _raised(raised)


def _example(found: re.Match[str]) -> str:
    block, _, rest = found[1].partition("\n\n")
    return f"```pycon\n{block.rstrip()}\n```\n" + (f"\n{rest}" if rest else "")


def _raised(text: str) -> str:
    if not text:
        return ""
    joined = re.sub(r"\n {8,}", " ", inspect.cleandoc(text).replace("\n    ", "\n        "))
    lines = [line.strip() for line in joined.splitlines() if line.strip()]
    named = [re.sub(r"^([A-Za-z]+):", r"`\1`:", line) for line in lines]
    return "\nRaises:\n\n" + "".join(f"- {line}\n" for line in named)


def _errors() -> Iterator[str]:
    yield "## Errors\n"
    tree = inspect.cleandoc(errors.__doc__ or "").partition("::\n\n")[2]
    drawing, _, rest = tree.partition("\n\n")
    yield f"```text\n{inspect.cleandoc('    ' + drawing.strip())}\n```\n"
    yield rest.replace("``", "`").strip() + "\n"
    for name, found in vars(errors).items():
        if isinstance(found, type) and issubclass(found, errors.Error):
            bases = ", ".join(f"`{base.__name__}`" for base in found.__bases__)
            yield f"### `{name}`\n\nA kind of {bases}. {_prose(found)}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
