"""Holdfast under another package's name, for scripts written against that package."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from holdfast.database import Database, open_database
from holdfast.errors import ConfigurationError

_SAME = ("connect", "inspect", "Database", "Table", "errors")


def SQLite3(path: str | os.PathLike[str], timeout: float = 30, **options: Any) -> Database:  # noqa: N802
    """Open a SQLite file; creating a table that is there already is harmless, as those packages have it."""
    return open_database(path, {"timeout": timeout, **options}, engine="sqlite", if_not_exists=True)


def PostgreSQL(  # noqa: N802
    dbname: str | None = None,
    user: str | None = None,
    password: str | None = None,
    host: str | None = None,
    port: int | str | None = None,
    **options: Any,
) -> Database:
    """Open a PostgreSQL database by its parts; creating a table that is there already is harmless."""
    parts = {"dbname": dbname, "user": user, "password": password, "host": host, "port": port}
    return open_database(None, {**parts, **options}, engine="postgresql", if_not_exists=True)


def delete_duplicates(
    db: Database, table: str, columns: Any = None, keep: str = "first", dry_run: bool = False
) -> int:
    """Remove duplicate rows: ``db.delete_duplicates``."""
    return db.delete_duplicates(table, columns, keep, dry_run)


def install(name: str, face: ModuleType) -> None:
    """Put a module called ``name`` that says what ``face`` says into ``sys.modules``.

    Its parents are made too where they are not installed.
    """
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts) or parts[0] == "holdfast":
        raise ConfigurationError(f"{name!r} cannot be the name of a module", hint="such as 'scitex.db'")
    module = ModuleType(name, face.__doc__)
    for attribute in _SAME:
        setattr(module, attribute, getattr(face, attribute))
    for function in (SQLite3, PostgreSQL, delete_duplicates):
        setattr(module, function.__name__, function)
    sys.modules[name] = module
    child = module
    for depth in range(len(parts) - 1, 0, -1):
        parent = _package(".".join(parts[:depth]))
        setattr(parent, parts[depth], child)
        child = parent


def _package(name: str) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    if find_spec(name) is not None:
        from importlib import import_module

        return import_module(name)
    package = ModuleType(name)
    package.__path__ = []
    sys.modules[name] = package
    return package
