"""Follow a page in the current folder: each block and each command in a process of its own, forked from here.

A model that was imported would stay as it was, and a newcomer types commands one by one.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import servers
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


def run_shell(text: str) -> str:
    """What a script prints; port 8000 is a free one, and nothing that it started is left."""
    text = text.replace("8000", str(servers.free_port()))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", f"{text}\nwait || true"],
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as script:
        try:
            printed, _ = script.communicate(timeout=120)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(script.pid, signal.SIGKILL)
    assert script.returncode == 0, text
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
        elif block.language == "sh":
            printed = run_shell(block.text)
        elif block.language == "console":
            commands = block.text.split("\n$ ")
            for number, command in enumerate(commands):
                text = command if number == 0 else f"$ {command}"
                apart(lambda text=text, place=place: run_console(text, place))  # type: ignore[misc]


if __name__ == "__main__":
    # So that no child need import them.
    import holdfast.agents.bootstrap
    import holdfast.agents.newtable
    import holdfast.agents.offline
    import holdfast.agents.start
    import holdfast.cli.main
    import holdfast.memory  # noqa: F401

    follow(Path(sys.argv[1]))
