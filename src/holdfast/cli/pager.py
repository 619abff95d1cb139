"""Long output on a terminal goes through a pager, as that of git does."""

from __future__ import annotations

import io
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

import typer


@contextmanager
def paged() -> Iterator[None]:
    """Let the block print to a terminal through ``$PAGER`` if it is more than fits."""
    program = shlex.split(os.environ.get("PAGER") or "less")
    screen = sys.stdout
    if not (screen.isatty() and sys.stdin.isatty()) or program[0] == "cat" or not shutil.which(program[0]):
        yield
        return
    pages = Pages(screen, program, shutil.get_terminal_size())
    sys.stdout = pages
    try:
        yield
    finally:
        sys.stdout = screen
        pages.finish()


class Pages(io.TextIOBase):
    """The terminal for as long as what is written fits it, and then a pager."""

    def __init__(self, screen: TextIO, program: list[str], size: os.terminal_size) -> None:
        self._screen = screen
        self._program = program
        self._size = size
        self._held: list[str] = []
        self._lines = 0
        self._pager: subprocess.Popen[str] | None = None

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of the terminal."""
        return self._screen.encoding

    @property
    def buffer(self) -> io.BufferedWriter:
        """The terminal, for bytes."""
        return self._screen.buffer  # type: ignore[return-value]

    def isatty(self) -> bool:
        """It is one, in the end."""
        return True

    def fileno(self) -> int:
        """That of the terminal."""
        return self._screen.fileno()

    def write(self, text: str) -> int:
        """Hold the text back, or hand it to the pager.

        Raises:
            Exit: when the pager was left.
        """
        self._held.append(text)
        self._lines += sum(1 + len(line) // self._size.columns for line in text.split("\n")[1:])
        if self._lines >= self._size.lines:
            self._turn()
        return len(text)

    def _turn(self) -> None:
        if self._pager is None:
            # The pager ends by itself if all fits, lets colours through, and leaves the text on the screen.
            environment = {"LESS": "FRX", "LV": "-c", **os.environ}
            self._pager = subprocess.Popen(  # noqa: S603
                self._program, stdin=subprocess.PIPE, stdout=self._screen, text=True, env=environment
            )
        assert self._pager.stdin is not None
        held, self._held = self._held, []
        try:
            self._pager.stdin.write("".join(held))
        except BrokenPipeError:
            raise typer.Exit from None

    def finish(self) -> None:
        """Print what was held back, or wait until the pager is left."""
        if self._pager is None:
            self._screen.write("".join(self._held))
            self._screen.flush()
            return
        assert self._pager.stdin is not None
        # Ctrl-C belongs to the pager now.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with suppress(BrokenPipeError):
                self._pager.stdin.close()
            self._pager.wait()
        finally:
            signal.signal(signal.SIGINT, before)
