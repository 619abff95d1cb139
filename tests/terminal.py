"""The program in a real terminal, by a pseudo-terminal of so many columns and lines."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import math
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

PROGRAM = [sys.executable, "-m", "holdfast"]
PATIENCE = 120
OUTSIDE = ("COLUMNS", "LINES", "PAGER", "LESS", "NO_COLOR", "HOLDFAST_URL")
ESCAPES = re.compile(r"\x1b(?:\[[\d;?]*[a-zA-Z]|[=>]|\][^\x07]*\x07)")


class Terminal:
    """What the program shows, and what is typed into it; in a ``with`` it ends there, whatever happens."""

    def __init__(
        self, *words: str, columns: int = 80, lines: int = 24, env: dict[str, str] | None = None
    ) -> None:
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        around = {name: value for name, value in os.environ.items() if name not in OUTSIDE}
        self.program = subprocess.Popen(
            [*PROGRAM, *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**around, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", **(env or {})},
            preexec_fn=lambda: _own(theirs),
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.code: int | None = None

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.program.kill()
        self.program.wait(PATIENCE)

    def type(self, text: str) -> None:
        """Press keys; ``\\r`` is Enter."""
        os.write(self.ours, text.encode())

    def wait_for(self, pattern: str, *, pressing: str = "") -> str:
        """What is shown up to a text, which is waited for; the next call looks behind it.

        Keys to press are pressed again and again: what is typed before a program is ready for it is lost.
        """
        deadline = time.monotonic() + PATIENCE
        pressed = -math.inf
        while (found := re.search(pattern, ESCAPES.sub("", self.shown))) is None:
            assert time.monotonic() < deadline, self.shown
            if pressing and time.monotonic() > pressed + 5:
                self.type(pressing)
                pressed = time.monotonic()
            chunk = self._read()
            assert chunk is not None, self.shown
            self.shown += chunk
        plain = ESCAPES.sub("", self.shown)
        self.shown = plain[found.end() :]
        return plain[: found.end()]

    def rest(self) -> str:
        """All that is shown until the program ends, as it was sent."""
        try:
            while (chunk := self._read()) is not None:
                self.shown += chunk
            self.code = self.program.wait(PATIENCE)
        finally:
            os.close(self.ours)
        return self.shown

    def _read(self) -> str | None:
        if not select.select([self.ours], [], [], 1)[0]:
            return ""
        with contextlib.suppress(OSError):  # Linux says so when the other side is closed
            if chunk := os.read(self.ours, 65536):
                return self._decoder.decode(chunk)
        return None


def _own(terminal: int) -> None:
    # So that Ctrl-C that is typed reaches the program.
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
