"""From the scheme of a URL to its engine, imported when it is first used."""

from __future__ import annotations

from importlib import import_module

from holdfast.engines.base import Engine
from holdfast.errors import MissingDependency

_ENGINES = {
    "sqlite": ("holdfast.engines.sqlite.engine", "sqlite3", ""),
    "postgresql": ("holdfast.engines.postgres.engine", "psycopg", "postgres"),
    "postgresql+embedded": ("holdfast.engines.postgres.engine", "psycopg", "embedded"),
}


def engine_for(scheme: str) -> Engine:
    """The engine behind a scheme that the settings know.

    Raises:
        MissingDependency: if its driver is not installed.
    """
    module, driver, extra = _ENGINES[scheme]
    try:
        engine: Engine = import_module(module).ENGINE
    except ImportError as exc:
        if exc.name and exc.name.partition(".")[0] in (driver, "psycopg_binary", "psycopg_c"):
            raise MissingDependency(driver, extra) from exc
        raise
    return engine
