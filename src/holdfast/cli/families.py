"""Which file has which commands: only the family that is called is imported."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from holdfast.cli.given import as_given
from holdfast.cli.pager import paged

FAMILIES = {
    "Look": {"catalog": "tables schema summary inspect diagram"},
    "Ask": {"query": "query", "shell": "shell", "search": "search"},
    "Rows": {"rows": "select insert update delete"},
    "Schema": {
        "shaping": "create-table drop-table rename-table add-column drop-column rename-column alter-column "
        "add-foreign-key create-index drop-index disable-search"
    },
    "Tune": {"insight": "explain suggest doctor"},
    "Files and other databases": {"transfer": "export import", "copying": "copy", "comparing": "diff"},
    "Upkeep": {"upkeep": "vacuum analyze optimize delete-duplicates slow-queries health"},
    "Backups": {"backups": "backup verify restore backups prune schedule"},
    "See it work": {"demo": "demo"},
}
"""The headings of the help, the modules below each, and the commands of each module."""
GROUPS = {"agents": ("agents",), "memory": ("memory", "remembered", "keeping"), "sync": ("sync",)}
"""Groups of commands, and the modules that have them; the first one has the group."""
PAGED = frozenset({"Look", "Ask", "select", "Tune", "diff", "memory"})
"""What reads and then prints, so that a pager may stand behind it."""
LIVE = frozenset({"shell"})
"""What talks while it runs."""
NARROWEST, WIDEST = 38, 100
_EXAMPLE = re.compile(r"(?m)^\$ (.*holdfast .*)$")


class Families(TyperGroup):
    """The commands by their names, each imported when it is asked for."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The options."""
        return as_given(super().get_params(ctx))

    def list_commands(self, ctx: Any) -> list[str]:
        """The names in the order of the help."""
        return [*_PLACES, *GROUPS]

    def get_command(self, ctx: Any, name: str) -> Any:
        """The command or the group of that name, or ``None``."""
        if self.commands.get(name) is None and (found := _made(name)) is not None:
            self.commands[name] = found
        return self.commands.get(name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands under their headings."""
        for heading, modules in FAMILIES.items():
            self._format(formatter, heading, " ".join(modules.values()).split())
        self._format(formatter, "Groups of commands", list(GROUPS))

    def _format(self, formatter: Any, heading: str, names: list[str]) -> None:
        with formatter.section(heading):
            formatter.write_dl([(name, _first_line(name)) for name in names])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that was called, with a pager behind it if it takes one."""
        # The nearest names are looked for among these.
        self.commands = dict.fromkeys(self.list_commands(ctx)) | self.commands  # type: ignore[operator]
        name, command, rest = super().resolve_command(ctx, args)
        if name and name not in LIVE and PAGED & {name, _PLACES.get(name, ("", ""))[0]}:
            ctx.with_resource(paged())
        return name, command, rest


def _first_line(name: str) -> str:
    """What a command does; it need not be made for that."""
    if name in GROUPS:
        text = import_module(f"holdfast.cli.{GROUPS[name][0]}").app.info.help
    else:
        text = _function(name).__doc__
    return " ".join(str(text or "").partition("\n\n")[0].split())


_PLACES = {
    name: (heading, module)
    for heading, modules in FAMILIES.items()
    for module, names in modules.items()
    for name in names.split()
}


def _function(name: str) -> Callable[..., Any]:
    commands: tuple[Callable[..., Any], ...] = import_module(f"holdfast.cli.{_PLACES[name][1]}").COMMANDS
    return next(function for function in commands if function.__name__.replace("_", "-") == name)


def _made(name: str) -> Any:
    if name in GROUPS:
        return _with_examples(_group(GROUPS[name]))
    if name not in _PLACES:
        return None
    app = typer.Typer(rich_markup_mode=None)
    app.callback()(lambda: None)
    app.command(cls=Command)(_function(name))
    return _with_examples(cast(TyperGroup, typer.main.get_command(app))).commands[name]


def _group(modules: tuple[str, ...]) -> TyperGroup:
    first, *_ = found = [import_module(f"holdfast.cli.{module}") for module in modules]
    app = typer.Typer(rich_markup_mode=None)
    app.add_typer(first.app)
    for module in found:
        for function in getattr(module, "COMMANDS", ()):
            first.app.command()(function)
    return cast(TyperGroup, cast(TyperGroup, typer.main.get_command(app)).commands[first.app.info.name])


def _with_examples(group: TyperGroup) -> TyperGroup:
    """Take the lines ``$ holdfast ...`` out of the docstrings, and put them at the end of the help."""
    for command in group.commands.values():
        if isinstance(command, TyperGroup):
            _with_examples(command)
        elif examples := _EXAMPLE.findall(command.help or ""):
            command.help = _EXAMPLE.sub("", command.help or "").rstrip()
            # What follows a backspace is not wrapped.
            command.epilog = "\b\nExample:\n" + "\n".join(f"  $ {line}" for line in examples)
    return group


class Command(TyperCommand):
    """A command whose first argument may be left out where ``HOLDFAST_URL`` names the database."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._places = [param for param in self.params if param.param_type_name == "argument"]
        self._takes_url = bool(self._places) and self._places[0].name == "url"
        if self._takes_url:
            self._places[0].required = False

    def get_params(self, ctx: Any) -> list[Any]:
        """The arguments and the options."""
        return as_given(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line."""
        if self._takes_url and not {"-h", "--help"} & set(args):
            given = self.make_parser(ctx).parse_args(list(args))[0]
            url = from_environment() if self._lacks_url(given) else None
            if url is not None:
                args = [url, *args]
            elif not given.get("url") and not ctx.resilient_parsing:
                ctx.fail("no database was named: give its URL, or set HOLDFAST_URL")
        return super().parse_args(ctx, args)

    def _lacks_url(self, given: dict[str, Any]) -> bool:
        """Whether what was given is too little to have the database in it."""
        count = sum(bool(given.get(str(place.name))) for place in self._places)
        needed = 1 + sum(place.required for place in self._places)
        return count < needed or (len(self._places) > needed and not _is_place(given["url"]))


def _is_place(text: str) -> bool:
    """Whether a text is a database's rather than a table's or a statement."""
    return "://" in text or text == ":memory:" or (" " not in text and "." in text) or Path(text).exists()


def width() -> int:
    """How wide the help is."""
    return max(NARROWEST, min(WIDEST, shutil.get_terminal_size().columns - 2))


def from_environment() -> str | None:
    """The database that ``HOLDFAST_URL`` names, there or in ``.env``."""
    if url := os.environ.get("HOLDFAST_URL", "").strip():
        return url
    if not Path(".env").is_file():
        return None
    from holdfast.settings import variables

    return variables(("HOLDFAST_URL",)).get("HOLDFAST_URL")
