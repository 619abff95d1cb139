"""A process that forks a child for each round of a sync, so that Python starts once: ``python syncer.py``.

It reads ``{"local": ..., "hub": ..., ...}`` lines, and answers each with how its children ended. A child is
killed at a commit, or finds its disk full, or several run at once.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from typing import Any

import holdfast
from holdfast.core import transaction
from holdfast.engines import postgres, sqlite  # noqa: F401
from holdfast.errors import Error
from holdfast.sync import Sync


def kill_at(commit: int, moment: str) -> None:
    """End this process at its n-th commit, before it is sent or once it is answered."""
    right, count = transaction._commit, 0

    def wrong(executor: Any, session: Any) -> None:
        nonlocal count
        count += 1
        if count == commit and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        right(executor, session)
        if count == commit and moment == "after":
            os.kill(os.getpid(), signal.SIGKILL)

    transaction._commit = wrong


def child(task: dict[str, Any]) -> int:
    with holdfast.connect(task["local"]) as local, holdfast.connect(task["hub"]) as hub:
        sync = Sync(local, hub, tables=["runs"])
        for number in range(task.get("rounds", 1)):
            for statement in task.get("write", ()):
                local.execute(statement, [f"{task['local']} {number}"])
            if "limit" in task:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (task["limit"], resource.RLIM_INFINITY))
            if "commit" in task:
                kill_at(task["commit"], task["moment"])
            try:
                sync.run()
            except Error as exc:
                print(f"{type(exc).__name__}: {exc}", file=sys.stderr)
                return 3
    return 0


def main() -> None:
    for line in sys.stdin:
        children = []
        for task in json.loads(line):
            if (pid := os.fork()) == 0:
                status = 4
                try:
                    status = child(task)
                except BaseException as exc:
                    print(f"{type(exc).__name__}: {exc}", file=sys.stderr, flush=True)
                finally:
                    os._exit(status)
            children.append(pid)
        ended = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
        print(json.dumps(ended), flush=True)


if __name__ == "__main__":
    main()
