"""A process that forks one child for each trial, so that Python starts once: ``python worker.py``.

It reads ``{"socket": ..., "operation": ..., "first": ..., "place": {...}}`` lines. Each child says its
number, waits for a word, runs the steps, and acknowledges each on the socket.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import holdfast
from faults import operations
from holdfast.backup import archive, portable, restore, retention, schedule, verify  # noqa: F401
from holdfast.engines import postgres, sqlite  # noqa: F401
from holdfast.errors import Error
from holdfast.io import arrays, csv, loading  # noqa: F401
from holdfast.transfer import copy  # noqa: F401


def child(task: dict[str, Any]) -> None:
    place = operations.Place(Path(task["place"][0]), *task["place"][1:])
    tempfile.tempdir = str(place.folder.parent / "tmp")
    with socket.socket(socket.AF_UNIX) as parent:
        parent.connect(task["socket"])
        parent.send(f"{os.getpid()}\n".encode())
        parent.recv(1)
        operation, word = task["operation"], "opening "
        try:
            with holdfast.connect(place.url) as db:
                for number in range(task["first"], task["last"]):
                    try:
                        operations.run_step(db, place, operation, number)
                    except Error as exc:
                        parent.send(f"refused {type(exc).__name__}: {exc}\n".encode())
                        # The connection is usable, and a second time it may well succeed.
                        db.query("SELECT 1 AS one")
                        word = "again "
                        operations.run_step(db, place, operation, number)
                    word = ""
                    parent.send(f"done {number}\n".encode())
        except Error as exc:
            parent.send(f"refused {word}{type(exc).__name__}: {exc}\n".encode())
        except BaseException as exc:
            parent.send(f"untyped {type(exc).__name__}: {exc!r}\n".encode())
        parent.send(b"end\n")


if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        if os.fork() == 0:
            try:
                # The waiting of subprocesses needs this.
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                child(json.loads(line))
            finally:
                os._exit(0)
