"""Follow a page in the current folder: each block and each command in a process of its own, forked from here.

A model that was imported would stay as it was, and a newcomer types commands one by one.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from faces.test_docs import blocks, check_output, run_console


def apart(work: Callable[[], None]) -> str:
    """What ``work`` prints in a child of this process; the child's failure is ours."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 0
        out = io.StringIO()
        try:
            with contextlib.redirect_stdout(out):
                work()
        except BaseException:
            traceback.print_exc()
            code = 1
        with os.fdopen(writing, "w") as pipe:
            pipe.write(out.getvalue())
        sys.stderr.flush()
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        printed = pipe.read()
    _, status = os.waitpid(child, 0)
    if status:
        sys.exit(1)
    return printed


def follow(page: Path) -> None:
    printed = ""
    for block in blocks(page):
        place = f"{page.name}:{block.line + 1}"
        if block.language == "python":
            code = compile("\n" * block.line + block.text, str(page), "exec")
            printed = apart(lambda code=code: exec(code, {"__name__": "__main__"}))  # type: ignore[misc]
        elif block.language == "text" and block.follows and printed:
            check_output(printed, block.text, place)
        elif block.language == "console":
            commands = block.text.split("\n$ ")
            for number, command in enumerate(commands):
                text = command if number == 0 else f"$ {command}"
                apart(lambda text=text, place=place: run_console(text, place))  # type: ignore[misc]


if __name__ == "__main__":
    import holdfast.agents.models
    import holdfast.cli.main  # noqa: F401 - so that the children need not import it

    follow(Path(sys.argv[1]))
