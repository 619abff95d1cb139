"""Opening the database that a command names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from holdfast.database import Database


def tables_of(ctx: typer.Context, incomplete: str) -> list[str]:
    """The tables that a name on the command line may become, for a shell; none if that cannot be had."""
    from holdfast import connect

    try:
        with connect(ctx.params["url"], read_only=True, timeout=1) as db:
            return [name for name in db.list_tables() if name.startswith(incomplete)]
    except Exception:
        return []


URL = Annotated[
    str,
    typer.Argument(
        metavar="URL",
        help="The database: a path or a URL; left out, what HOLDFAST_URL says.",
        show_default=False,
    ),
]


def to_read(url: str) -> Database:
    """Open for reading alone; what is not there is not created."""
    import holdfast

    _refuse_missing(url)
    return holdfast.connect(url, read_only=True)


def to_change(url: str) -> Database:
    """Open for writing what is there already."""
    _refuse_missing(url)
    return to_write(url)


def to_write(url: str) -> Database:
    """Open for writing; a SQLite file, or an embedded server's folder, is created if it is not there."""
    import holdfast

    return holdfast.connect(url)


def to_rehearse(url: str) -> Database:
    """Open for a write that is taken back; what is not there is not created."""
    import holdfast

    return holdfast.connect(":memory:") if is_new_file(url) else to_change(url)


@contextmanager
def rehearsing(url: str) -> Iterator[Database]:
    """The database in a transaction that is rolled back when the block ends."""
    with to_rehearse(url) as db:
        db.begin_transaction()
        try:
            yield db
        finally:
            db.rollback()


@contextmanager
def to_fill(url: str) -> Iterator[Database]:
    """As :func:`to_write`; a new file that nothing came into is gone again if the block fails."""
    from holdfast.settings import resolve

    path = resolve(url).path if is_new_file(url) else None
    is_empty = False
    try:
        with to_write(url) as db:
            try:
                yield db
            except BaseException:
                is_empty = not db.list_tables()
                raise
    finally:
        if path is not None and is_empty:
            path.unlink(missing_ok=True)


def is_new_file(url: str) -> bool:
    """Whether ``url`` is a SQLite file that is not there yet."""
    from holdfast.settings import resolve

    path = resolve(url).path
    return path is not None and not path.exists()


def _refuse_missing(url: str) -> None:
    from holdfast.errors import ConnectionFailed
    from holdfast.settings import resolve

    target = resolve(url)
    place = target.path or (target.directory / "PG_VERSION" if target.directory else None)
    if place is not None and not place.exists():
        raise ConnectionFailed(
            f"there is no database at {target.path or target.directory}",
            hint="check the path; nothing was created",
        )
