"""Progress bars for anything long: on a terminal and in a notebook, silent everywhere else."""

from __future__ import annotations

import html
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

Advance = Callable[[int], None]
_PAUSE = 0.2


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
    if "ipykernel" in sys.modules:
        # Rich needs ipywidgets there, and warns of it each time.
        with _in_notebook(description, total) as advance:
            yield advance
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(description, total=total)
        yield lambda rows: bars.advance(task, rows)
        if total is None:
            bars.update(task, total=bars.tasks[0].completed)


@contextmanager
def _in_notebook(description: str, total: int | None) -> Iterator[Advance]:
    """A bar of the browser's own in the output of the cell."""
    from IPython.core import display_functions

    show: Callable[..., Any] = display_functions.display
    done, shown_at = 0, monotonic()

    def bar() -> dict[str, str]:
        known = "" if total is None else f" max='{total}' value='{done}'"
        counted = f"{done:,}" if total is None else f"{done:,} of {total:,}"
        return {
            "text/plain": f"{description} {counted}",
            "text/html": f"{html.escape(description)} <progress{known}></progress> {counted}",
        }

    handle = show(bar(), raw=True, display_id=True)

    def advance(rows: int) -> None:
        nonlocal done, shown_at
        done += rows
        if monotonic() - shown_at > _PAUSE:
            shown_at = monotonic()
            handle.update(bar(), raw=True)

    yield advance
    # One without an end would go on moving.
    total = done if total is None else total
    handle.update(bar(), raw=True)
