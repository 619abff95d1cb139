"""Write cli.md from what the commands say of themselves: ``python docs/cli.py``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import cli

PAGE = Path(__file__).with_name("cli.md")
_INTRODUCTION = """# Every command

What `holdfast COMMAND --help` says of each, written by `make docs`; a test compares the two.
[Use the command line](how-to/command-line.md) tells how they go together, and what the exit codes are.
"""


def page() -> str:
    """The whole page, which ``test_docs.py`` compares with the file."""
    return "\n".join([_INTRODUCTION, *_commands()]).rstrip() + "\n"


def _commands() -> Iterator[str]:
    for words, command in cli.commands():
        name = " ".join(("holdfast", *words))
        context = command.make_context(name, [], resilient_parsing=True, terminal_width=96)
        text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
        yield f"## `{name}`\n\n```text\n{text}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
