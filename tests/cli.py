"""The commands of the program, as tests walk them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from holdfast.cli import main


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each command that does something, with the words that call it."""
    group = typer.main.get_command(main.app)
    yield from _below(group, group.make_context("holdfast", [], resilient_parsing=True), ())


def _below(group: Any, context: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if hasattr(command, "list_commands"):
            yield from _below(command, context, (*words, name))
        else:
            yield (*words, name), command
