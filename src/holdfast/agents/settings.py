"""The application's settings, from the environment and ``.env``; an empty variable is a missing one."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from pydantic import SecretStr

from holdfast.database import Database, open_target
from holdfast.errors import ConfigurationError, did_you_mean
from holdfast.settings import Target, resolve, variables

Environment = Literal["local", "staging", "production"]
PLACEHOLDER = "changethis"
SECRETS = ("FIRST_SUPERUSER_PASSWORD", "SECRET_KEY")
VARIABLES = ("ENVIRONMENT", "FIRST_SUPERUSER", *SECRETS, "ACCESS_TOKEN_MINUTES", "HOLDFAST_POOL")
SHORTEST_KEY = 16


@dataclass(frozen=True)
class Settings:
    """What the application was told. Secrets show as stars, in the repr too.

    ``target`` is the database. What is ``None`` was not given; :meth:`require` says so.

    >>> from holdfast.agents.settings import load
    >>> load("app.db").environment
    'local'
    """

    target: Target
    environment: Environment = "local"
    first_superuser: str | None = None
    first_superuser_password: SecretStr | None = None
    secret_key: SecretStr | None = None
    access_token_minutes: int = 480

    def require(self, variable: str) -> str:
        """The value of a variable without which it does not go on.

        Raises:
            ConfigurationError: if it was not given.
        """
        value = getattr(self, variable.lower())
        if value is None:
            raise ConfigurationError(f"{variable} is missing", hint="set it in the environment or in .env")
        return cast("str", value.get_secret_value() if isinstance(value, SecretStr) else value)

    def open(self) -> Database:
        """Connect to the database."""
        return open_target(self.target)


def load(url: str | os.PathLike[str] | None = None, **options: Any) -> Settings:
    """Read the settings; ``url`` and ``options`` are those of ``connect``, and win over the environment.

    Without ``url`` the database is that of ``HOLDFAST_URL``, or of ``POSTGRES_SERVER``, ``PORT``, ``USER``,
    ``PASSWORD`` and ``DB``. ``HOLDFAST_POOL=null`` opens a connection for each call and closes it.

    Raises:
        ConfigurationError: if a value cannot be understood, or a secret is still ``changethis``; where
            ``ENVIRONMENT`` is ``local`` the latter is a warning.
    """
    found = variables(VARIABLES)
    environment = found.get("ENVIRONMENT", "local")
    if environment not in get_args(Environment):
        raise ConfigurationError(
            f"there is no ENVIRONMENT {environment!r}",
            hint=did_you_mean(environment, get_args(Environment), "environments"),
        )
    target = resolve(url, **{"pool": found.get("HOLDFAST_POOL"), **options})
    secrets = {name: SecretStr(found[name]) for name in SECRETS if name in found}
    _check_secrets(secrets, target, is_local=environment == "local")
    return Settings(
        target,
        cast("Environment", environment),
        found.get("FIRST_SUPERUSER"),
        secrets.get("FIRST_SUPERUSER_PASSWORD"),
        secrets.get("SECRET_KEY"),
        _minutes(found.get("ACCESS_TOKEN_MINUTES", "480")),
    )


def _check_secrets(secrets: dict[str, SecretStr], target: Target, *, is_local: bool) -> None:
    values = {name: secret.get_secret_value() for name, secret in secrets.items()}
    values["the password of the database"] = target.password or ""
    for name, value in values.items():
        if value == PLACEHOLDER:
            _complain(f"{name} is still {PLACEHOLDER!r}", is_local=is_local)
    if "SECRET_KEY" in values and len(values["SECRET_KEY"]) < SHORTEST_KEY:
        _complain(f"SECRET_KEY has less than {SHORTEST_KEY} characters", is_local=is_local)


def _complain(message: str, *, is_local: bool) -> None:
    hint = 'make one with: python -c "import secrets; print(secrets.token_urlsafe(32))"'
    if not is_local:
        raise ConfigurationError(message, hint=hint)
    warnings.warn(f"{message}; that is for this machine only; {hint}", stacklevel=4)


def _minutes(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 525_600:
        raise ConfigurationError("ACCESS_TOKEN_MINUTES is no number of minutes", hint="1 to 525600")
    return int(text)
