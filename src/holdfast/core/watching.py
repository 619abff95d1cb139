"""Standing around the doors of an executor, to tell of what goes through them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.core.executor import Executor

Doors = dict[str, Callable[..., Any]]
DOORS = ("send", "fetch", "send_many", "stream")


def surround(executor: Executor, by: str, make: Callable[[Executor], Doors] | None) -> None:
    """Put doors that ``make`` gives around the executor's own, or with ``None`` take those of ``by`` away.

    They stand there only while somebody wants to know. Those of several stand one around the other.
    """
    around: dict[str, Callable[[Executor], Doors]] = vars(executor).setdefault("_around", {})
    around.pop(by, None)
    if make is not None:
        around[by] = make
    for door in DOORS:
        vars(executor).pop(door, None)
    for one in around.values():
        vars(executor).update(one(executor))
