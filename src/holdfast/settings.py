"""What ``connect`` was given, and what the environment says, as one description of a database.

Nothing here connects. Fields that nobody named stay out, so that libpq finds them in ``PG*``, ``.pgpass`` or
the service file.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Literal

from holdfast.errors import ConfigurationError, did_you_mean
from holdfast.urls import (
    EXAMPLE,
    FIELDS,
    POSTGRES_OPTIONS,
    SCHEMES,
    SQLITE_OPTIONS,
    Options,
    Target,
    checked,
    known_options,
    read,
    read_option,
)

__all__ = ["Target", "resolve"]

POSTGRES_VARIABLES = {
    "POSTGRES_HOST": "host",
    "POSTGRES_SERVER": "host",
    "POSTGRES_PORT": "port",
    "POSTGRES_USER": "user",
    "POSTGRES_PASSWORD": "password",
    "POSTGRES_DB": "dbname",
}
LIBPQ_VARIABLES = {
    "PGHOST": "host",
    "PGPORT": "port",
    "PGUSER": "user",
    "PGPASSWORD": "password",
    "PGDATABASE": "dbname",
    "PGHOSTADDR": "hostaddr",
    "PGSERVICE": "service",
}
LIBPQ_PLACES = frozenset({"PGHOST", "PGHOSTADDR", "PGSERVICE"})


def resolve(
    url: str | os.PathLike[str] | None = None,
    *,
    engine: Literal["sqlite", "postgresql"] | None = None,
    sqlite_options: Options = SQLITE_OPTIONS,
    postgres_options: Options = POSTGRES_OPTIONS,
    **parts: Any,
) -> Target:
    """Describe the database that ``url`` (a path or a URL), ``parts`` and the environment name.

    ``parts`` are ``host``, ``port``, ``user``, ``password``, ``dbname`` and options; ``None`` and ``""`` mean
    that it was not given. They win over the URL. Without ``url``, what is missing comes from ``HOLDFAST_URL``
    or ``DATABASE_URL`` as a whole, else from ``POSTGRES_*``, each in the environment or in ``.env``; the rest
    is libpq's. ``engine`` refuses any other kind of database. The two sets of options are what may be named
    besides libpq's own; a mapping also says how to read each from text.

    >>> resolve("postgresql://me:p%40ss@host/db")
    Target('postgresql://me:***@host/db')

    Raises:
        ConfigurationError: if nothing was named, or something cannot be understood; never quotes a secret.
    """
    given = {name: value for name, value in parts.items() if value is not None and value != ""}
    allowed = {"sqlite": sqlite_options, "postgresql": postgres_options}
    if url is not None:
        target = read(url, allowed)
    else:
        target = _from_environment(engine, given.keys() & set(FIELDS), allowed)
    if engine and target.scheme.partition("+")[0] != engine:
        raise ConfigurationError(
            f"{target.masked_url} is not a {_title(engine)} database", hint="use connect()"
        )
    return _with_parts(target, given, allowed)


def _title(engine: str) -> str:
    return {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[engine]


def _with_parts(target: Target, given: Mapping[str, Any], allowed: Mapping[str, Options]) -> Target:
    kind = target.scheme.partition("+")[0]
    fields = {"sqlite": (), "postgresql": FIELDS, "postgresql+embedded": ("dbname",)}[target.scheme]
    named = {name: checked(name, given[name]) for name in fields if name in given}
    options = {name: value for name, value in given.items() if name not in named}
    known = {*fields, *known_options(kind, allowed)}
    for name in options:
        if name not in known:
            raise ConfigurationError(
                f"{_title(kind)} has no setting {name!r}", hint=did_you_mean(name, sorted(known), "settings")
            )
        options[name] = read_option(name, options[name], allowed[kind])
    return replace(target, **named, options={**target.options, **options})


def _from_environment(engine: str | None, given: Collection[str], allowed: Mapping[str, Options]) -> Target:
    """The database of the environment; ``given`` are the PostgreSQL fields that need not be looked for."""
    if set(FIELDS) <= set(given):
        return Target("postgresql")
    wanted = engine or ("postgresql" if given else None)
    values = variables(("HOLDFAST_URL", "DATABASE_URL", *POSTGRES_VARIABLES, *LIBPQ_VARIABLES))
    for name in ("HOLDFAST_URL", "DATABASE_URL"):
        if name in values and _suits(values[name], wanted, given):
            try:
                return read(values[name], allowed)
            except ConfigurationError as error:
                raise ConfigurationError(f"{name}: {error.message}", hint=error.hint) from None
    found = {field: values[name] for name, field in POSTGRES_VARIABLES.items() if name in values}
    if wanted == "sqlite" or not (found or wanted or values.keys() & {*LIBPQ_PLACES, "PGDATABASE"}):
        raise ConfigurationError("no database was named", hint=EXAMPLE)
    # libpq reads the real environment, but it does not know .env.
    options: dict[str, str] = {}
    for name, field in LIBPQ_VARIABLES.items():
        if name in values and not os.environ.get(name):
            (found if field in FIELDS else options).setdefault(field, values[name])
    if "password" in (*found, *given) and "host" not in (*found, *given) and not LIBPQ_PLACES & values.keys():
        # libpq would try a Unix socket, where the password is not what decides.
        found["host"] = "localhost"
    return Target(
        "postgresql", **{name: checked(name, value) for name, value in found.items()}, options=options
    )


def _suits(url: str, wanted: str | None, given: Collection[str]) -> bool:
    """Whether a URL of the environment is of the kind that was asked for."""
    if wanted is None:
        return True
    scheme, separator, _ = url.partition("://")
    kind = SCHEMES.get(scheme.lower()) if separator else "sqlite"
    return kind == wanted or (
        kind == "postgresql+embedded" and wanted == "postgresql" and set(given) <= {"dbname"}
    )


def variables(names: Collection[str]) -> dict[str, str]:
    """Those of the variables that the environment or ``.env`` has; empty ones are missing.

    Imported here, because pydantic-settings alone takes longer to import than all of Holdfast.
    """
    from pydantic import create_model
    from pydantic_settings import BaseSettings, SettingsConfigDict

    class Environment(BaseSettings):
        model_config = SettingsConfigDict(
            env_file=".env", env_file_encoding="utf-8-sig", env_ignore_empty=True, extra="ignore"
        )

    fields: dict[str, Any] = dict.fromkeys(names, (str, ""))
    try:
        values = create_model("Environment", __base__=Environment, **fields)().model_dump()
    except (ValueError, OSError):
        # The cause would quote what it could not read.
        raise ConfigurationError(
            "the file .env cannot be read", hint="it must be UTF-8 text, NAME=value"
        ) from None
    return {
        name: value if name.endswith("PASSWORD") else value.strip()
        for name, value in values.items()
        if value.strip()
    }
