"""An error as one line on a terminal, with its hint as one types it there."""

from __future__ import annotations

import re

import typer

from holdfast.engines.names import legible
from holdfast.errors import Error

# Typer gives no other name to the class of all mistakes on a command line.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]


def one_line(exc: BaseException) -> str:
    """What went wrong, without a password; where in a statement stands below, in two more."""
    if isinstance(exc, Error):
        text = f"{exc.message}; {_in_the_shell(exc.hint)}" if exc.hint else exc.message
    elif isinstance(exc, UsageError):
        context = getattr(exc, "ctx", None)
        path = context.command_path if context else "holdfast"
        text = f"{exc.format_message().rstrip('.')}; see {path} --help"  # type: ignore[attr-defined]
    elif isinstance(exc, OSError) and exc.strerror is not None:
        # What has no name is the output of this command.
        text = f"{'writing' if exc.filename is None else exc.filename}: {exc.strerror}"
    else:
        text = f"{type(exc).__name__}: {exc}; holdfast --debug shows where it came from"
    place = getattr(exc, "place", None)
    below = "" if place is None else "".join(f"\n  {line}" for line in place.splitlines())
    return legible(re.sub(r"://[^\s/@]*:[^\s@]*@", "://***@", " ".join(text.split())) + below)


# The arguments of Python that hints name, and that are options here.
_ARGUMENT = re.compile(
    r"\b(rejects|format|delimiter|encoding|null|if_exists|extra_columns|resume|tables|exclude)=(?:'([^']*)')?"
)
_CALLS = {
    "Sync.conflicts()": "holdfast sync conflicts",
    "call Sync.enable()": "run holdfast sync LOCAL HUB",
    "Sync.rebase()": "holdfast sync LOCAL HUB --rebase",
    "Sync.disable()": "holdfast sync stop LOCAL HUB",
}
_ENABLE = re.compile(r"db\.enable_search\(.*?, \[(.*)\]\)")


def _in_the_shell(hint: str) -> str:
    """A hint as one types it here: ``delimiter=';'`` is ``--delimiter ';'``."""
    for call, command in _CALLS.items():
        hint = hint.replace(call, command)
    hint = _ENABLE.sub(lambda found: "add --enable " + found[1].replace(", ", " --enable "), hint)
    return _ARGUMENT.sub(lambda found: _option(found[1], found[2]), hint)


def _option(name: str, value: str | None) -> str:
    option = f"--{name.replace('_', '-')}"
    if value is None:
        return option
    return f"{option} {value}" if value.isalnum() else f"{option} '{value}'"
