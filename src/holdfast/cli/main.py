"""The program ``holdfast``: what all of its commands share."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from holdfast._version import __version__
from holdfast.cli.families import Families, width
from holdfast.errors import ConfigurationError, Error

app = typer.Typer(
    name="holdfast",
    cls=Families,
    help="The same data layer on a SQLite file and on a PostgreSQL server.",
    epilog="URL is a path (runs.db), sqlite:///runs.db, postgresql://user@host/database or "
    "postgresql+embedded:///./folder; left out, it is what HOLDFAST_URL says.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "terminal_width": width()},
)

# Typer gives no other name to the class of all mistakes on a command line.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]
_debug = False


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"holdfast {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    global _debug
    _debug = debug


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the program and leave with its exit code: 0, 1 if it failed, 2 if called wrongly, 130 at Ctrl-C."""
    try:
        code = _run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of the pipe has seen enough; Python would complain once more while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except KeyboardInterrupt:
        # Within a command Typer answers the signal; this one came just before or after it.
        print("Interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)


def _run(arguments: Sequence[str]) -> int:
    try:
        result: Any = app(list(arguments), prog_name="holdfast", standalone_mode=False)
    except BrokenPipeError:
        raise
    except Exception as exc:
        if type(exc).__name__ == "NoArgsIsHelpError":
            print(exc.format_message())  # type: ignore[attr-defined]
            return 2
        if _debug:
            import traceback

            traceback.print_exc()
        print(f"Error: {_one_line(exc)}", file=sys.stderr)
        return 2 if isinstance(exc, (_UsageError, ConfigurationError)) else 1
    if result == 130:
        print("Interrupted", file=sys.stderr)
    return result if isinstance(result, int) else 0


def _one_line(exc: Exception) -> str:
    if isinstance(exc, Error):
        text = f"{exc.message}; {_in_the_shell(exc.hint)}" if exc.hint else exc.message
    elif isinstance(exc, _UsageError):
        context = getattr(exc, "ctx", None)
        path = context.command_path if context else "holdfast"
        text = f"{exc.format_message().rstrip('.')}; see {path} --help"  # type: ignore[attr-defined]
    elif isinstance(exc, OSError) and exc.filename is not None:
        text = f"{exc.filename}: {exc.strerror}"
    else:
        text = f"{type(exc).__name__}: {exc}; holdfast --debug shows where it came from"
    return re.sub(r"://[^\s/@]*:[^\s@]*@", "://***@", " ".join(text.split()))


# The arguments of Python that hints name, and that are options here.
_ARGUMENT = re.compile(
    r"\b(rejects|format|delimiter|encoding|null|if_exists|extra_columns|resume|tables|exclude)=(?:'([^']*)')?"
)
_ENABLE = re.compile(r"db\.enable_search\(.*?, \[(.*)\]\)")


def _in_the_shell(hint: str) -> str:
    """A hint as one types it here: ``delimiter=';'`` is ``--delimiter ';'``."""
    hint = _ENABLE.sub(lambda found: "add --enable " + found[1].replace(", ", " --enable "), hint)
    return _ARGUMENT.sub(lambda found: _option(found[1], found[2]), hint)


def _option(name: str, value: str | None) -> str:
    option = f"--{name.replace('_', '-')}"
    if value is None:
        return option
    return f"{option} {value}" if value.isalnum() else f"{option} '{value}'"


if __name__ == "__main__":
    run()
