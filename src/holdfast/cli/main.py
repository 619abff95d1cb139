"""The program ``holdfast``: what all of its commands share."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast._version import __version__
from holdfast.cli.families import Families, width
from holdfast.cli.mistakes import UsageError, one_line
from holdfast.errors import ConfigurationError

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
    code = 0
    try:
        if _is_deaf():
            sys.exit(1)
        code = _run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except OSError as exc:
        # Python would complain once more while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # The reader of a pipe has seen enough; what a command could not write it has said itself.
        if not code and not isinstance(exc, BrokenPipeError):
            print(f"Error: {one_line(exc)}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        # Within a command Typer answers the signal; this one came just before or after it.
        print("Interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)


def _is_deaf() -> bool:
    """Whether this was started with its output closed; what else is closed is as if it were empty.

    The next file that is opened would be in that place: a database, into which others then print.
    """
    nowhere, is_deaf = Path(os.devnull), sys.stdout is None
    # In this order, for each takes the first place that is free.
    sys.stdin = sys.stdin or nowhere.open(encoding="utf-8")
    sys.stdout = sys.stdout or nowhere.open("w", encoding="utf-8")
    sys.stderr = sys.stderr or nowhere.open("w", encoding="utf-8")
    if is_deaf:
        print("Error: the output is closed; where nobody reads it, send it to /dev/null", file=sys.stderr)
    return is_deaf


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
        print(f"Error: {one_line(exc)}", file=sys.stderr)
        return 2 if isinstance(exc, (UsageError, ConfigurationError)) else 1
    if result == 130:
        print("Interrupted", file=sys.stderr)
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    run()
