"""Progress bars for anything long: on a terminal and in a notebook, silent everywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int], None]


@contextmanager
def track(
    description: str, *, total: int | None = None, show: bool | None = None
) -> Iterator[Advance | None]:
    """Give a function that moves a bar on by so many rows, or ``None`` where no bar is shown.

    ``show=None`` means: if standard error is a terminal, or this is a notebook.
    """
    if not (sys.stderr.isatty() or "ipykernel" in sys.modules if show is None else show):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(description, total=total)
        yield lambda rows: bars.advance(task, rows)
        if total is None:
            bars.update(task, total=bars.tasks[0].completed)
