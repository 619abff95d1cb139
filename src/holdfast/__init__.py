"""Holdfast: the same data layer on a SQLite file and on a PostgreSQL server.

>>> import holdfast
>>> db = holdfast.connect("runs.db")
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from holdfast._version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable

    from IPython.core.interactiveshell import InteractiveShell

    from holdfast.database import Database, Table
    from holdfast.errors import Error
    from holdfast.inspection import Inspector
    from holdfast.transfer.differing import Difference
    from holdfast.transfer.report import CopyReport

__all__ = [
    "Database",
    "Error",
    "PostgreSQL",
    "SQLite3",
    "Table",
    "__version__",
    "connect",
    "copy_database",
    "diff",
    "errors",
    "inspect",
    "install_as",
    "memory",
    "sync",
]

_LAZY = {
    "Database": ("holdfast.database", "Database"),
    "Table": ("holdfast.database", "Table"),
    "Error": ("holdfast.errors", "Error"),
    "errors": ("holdfast.errors", None),
    "memory": ("holdfast.memory", None),
    "sync": ("holdfast.sync", None),
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    try:
        module, attribute = _LAZY[name]
    except KeyError:
        raise AttributeError(f"module 'holdfast' has no attribute {name!r}") from None
    found = import_module(module)
    return getattr(found, attribute) if attribute else found


def __dir__() -> list[str]:
    return sorted(__all__)


def connect(url: str | os.PathLike[str] | None = None, **options: Any) -> Database:
    """Open a database by its path or URL; without one, what the environment or ``.env`` names.

    ``url`` is a path (``"runs.db"``), ``":memory:"``, ``sqlite:///runs.db``,
    ``postgresql://user:password@host/database`` or ``postgresql+embedded:///./folder`` (a real PostgreSQL
    from a wheel, its data in that folder). Options:

    - ``timeout``: seconds to wait for a lock (SQLite 30, PostgreSQL 5).
    - ``durability``: ``"full"`` (default: a commit that returned survives a power cut) or ``"normal"``.
    - ``read_only``: refuse every write.
    - ``page_size``: bytes of a page in a new SQLite file; 32768 if arrays are the first it gets.

    The environment is read in this order: ``HOLDFAST_URL``, ``DATABASE_URL``, ``POSTGRES_*``, then libpq's
    own ``PG*``. A SQLite file is created if it is not there, for its owner alone.

    Raises:
        ConfigurationError: if the URL or an option cannot be used.
        ConnectionFailed: if the database cannot be reached or opened.
        MissingDependency: if the driver is not installed; the hint is the pip line.
    """
    from holdfast.database import open_database

    return open_database(url, options)


def SQLite3(path: str | os.PathLike[str], timeout: float = 30, **options: Any) -> Database:  # noqa: N802
    """Open a SQLite file: :func:`connect` in the spelling of ``scitex.db``."""
    from holdfast.database import open_database

    return open_database(path, {"timeout": timeout, **options}, engine="sqlite")


def PostgreSQL(  # noqa: N802
    dbname: str | None = None,
    user: str | None = None,
    password: str | None = None,
    host: str | None = None,
    port: int | str | None = None,
    **options: Any,
) -> Database:
    """Open a PostgreSQL database by its parts; those left out come from the environment."""
    from holdfast.database import open_database

    parts = {"dbname": dbname, "user": user, "password": password, "host": host, "port": port}
    return open_database(None, {**parts, **options}, engine="postgresql")


def inspect(db: Database) -> Inspector:
    """Look into a database: keys, foreign keys, indexes, CREATE texts, and a diagram of it all."""
    from holdfast.database import executor_of
    from holdfast.inspection import Inspector

    return Inspector(executor_of(db))


def copy_database(
    source: Database,
    target: Database,
    tables: Iterable[str] | None = None,
    dry_run: bool = False,
    progress: bool | None = None,
    exclude: Iterable[str] = (),
) -> CopyReport:
    """Copy tables, by default all, into another database of either kind: all or none.

    Columns, keys, NOT NULL, defaults, unique constraints, CHECKs and plain indexes that mean the same on
    both engines, foreign keys, generated keys and searches go along. What does not is listed in the report,
    with its reason. The source is read in one snapshot, the target written in one transaction; before it
    commits, the rows are read back, and their number and content compared. ``dry_run`` only says what would
    happen. ``progress=None`` shows bars on a terminal. The tables in ``exclude`` are left out.

    >>> report = holdfast.copy_database(holdfast.connect("runs.db"), holdfast.connect("copy.db"))

    Raises:
        TableExists: if the target has a table of that name; nothing is written.
        NotSupported: if the target has no type for a column; nothing is written.
        ValueRefused: for a value the target cannot hold, such as NaN on SQLite, with ``row_number``.
        DatabaseError: if the copy does not hold what the source does; nothing is kept.
    """
    from holdfast.database import executor_of
    from holdfast.transfer import copy

    return copy.copy_database(
        executor_of(source),
        executor_of(target),
        tables,
        exclude=exclude,
        dry_run=dry_run,
        progress=progress,
    )


def diff(
    a: Database,
    b: Database,
    tables: Iterable[str] | None = None,
    *,
    exclude: Iterable[str] = (),
    limit: int | None = 100,
    rows: bool = False,
    progress: bool | None = None,
) -> Difference:
    """What two databases, of either kind, hold that is not the same: in their schemas, and row by row.

    Both are read in one snapshot each, and nobody is kept from writing. Rows are told apart by primary key;
    of a table without one, or with another one on the other side, they are compared as a whole, and equal
    rows counted. All that differ are counted; the first ``limit`` of each table are given with their keys
    and the columns that differ (``None``: all, which are held in memory), and with their values if ``rows``
    is true. Values compare as Python has them: 1 and 1.0, a moment in two zones and JSON in another order
    are equal. Columns whose types do not compare are named and left out. Inside a transaction it sees what
    that sees.

    >>> found = holdfast.diff(holdfast.connect("runs.db"), holdfast.connect("copy.db"))
    >>> found.is_equal
    True

    Raises:
        TableNotFound: if neither side has a table of ``tables`` or ``exclude``.
    """
    from holdfast.database import executor_of
    from holdfast.transfer.diff import diff as compare

    return compare(
        executor_of(a), executor_of(b), tables, exclude=exclude, limit=limit, rows=rows, progress=progress
    )


def install_as(name: str) -> None:
    """Make Holdfast importable as ``name``, so that scripts written for ``scitex.db`` or ``mngs.db`` run.

    >>> holdfast.install_as("scitex.db")
    >>> import scitex.db
    >>> db = scitex.db.SQLite3("my_data.db")
    """
    from holdfast.alias import install

    install(name, sys.modules[__name__])


def load_ipython_extension(shell: InteractiveShell) -> None:
    """``%load_ext holdfast``: ``%hf`` and ``%%hf`` run SQL in a notebook (extra ``notebook``)."""
    from holdfast.notebook import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """``%unload_ext holdfast``."""
    from holdfast.notebook import unload

    unload(shell)
