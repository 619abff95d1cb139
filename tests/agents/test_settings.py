"""The application's settings: where they come from, what is refused, and that no secret shows."""

from __future__ import annotations

import dataclasses
import os
import warnings
from pathlib import Path

import pytest

import holdfast
from holdfast.agents.settings import load
from holdfast.errors import ConfigurationError

GOOD = "a-secret-of-some-length"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and an environment that says nothing."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith(("PG", "POSTGRES_", "FIRST_", "HOLDFAST_")) or name in (
            "DATABASE_URL",
            "ENVIRONMENT",
            "SECRET_KEY",
            "ACCESS_TOKEN_MINUTES",
        ):
            monkeypatch.delenv(name)
    return tmp_path


def test_they_come_from_dotenv_and_the_environment_wins(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / ".env").write_text(
        "POSTGRES_SERVER=db.example\nPOSTGRES_PORT=5433\nPOSTGRES_USER=me\nPOSTGRES_PASSWORD=p@s:s/w#%\n"
        f"POSTGRES_DB=app\nENVIRONMENT=staging\nFIRST_SUPERUSER=a@b.org\nSECRET_KEY={GOOD}\n"
    )
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.setenv("HOLDFAST_POOL", "null")
    settings = load()
    assert settings.environment == "production"
    assert settings.require("FIRST_SUPERUSER") == "a@b.org"
    assert settings.require("SECRET_KEY") == GOOD
    url = settings.target.sqlalchemy_url()
    assert (url.drivername, url.host, url.port) == ("postgresql+psycopg", "db.example", 5433)
    assert url.password == "p@s:s/w#%"
    assert settings.target.options["pool"] == "null"


def test_a_url_is_enough_and_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_SERVER", "elsewhere")
    assert load("sqlite:///app.db").target.path is not None


def test_no_database_says_how_to_name_one() -> None:
    with pytest.raises(ConfigurationError, match="no database was named"):
        load()


@pytest.mark.parametrize("name", ["FIRST_SUPERUSER_PASSWORD", "SECRET_KEY", "POSTGRES_PASSWORD"])
def test_a_placeholder_warns_here_and_refuses_elsewhere(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("POSTGRES_SERVER", "localhost")
    monkeypatch.setenv(name, "changethis")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load()
    assert any("changethis" in str(one.message) for one in caught)
    for environment in ("staging", "production"):
        monkeypatch.setenv("ENVIRONMENT", environment)
        with pytest.raises(ConfigurationError, match="changethis"):
            load()


def test_empty_is_missing_and_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENVIRONMENT", "FIRST_SUPERUSER", "SECRET_KEY", "HOLDFAST_POOL", "ACCESS_TOKEN_MINUTES"):
        monkeypatch.setenv(name, "")
    settings = load("app.db")
    assert settings.environment == "local"
    for name in ("FIRST_SUPERUSER", "FIRST_SUPERUSER_PASSWORD", "SECRET_KEY"):
        with pytest.raises(ConfigurationError, match=name):
            settings.require(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENVIRONMENT", "prod"),
        ("ACCESS_TOKEN_MINUTES", "soon"),
        ("ACCESS_TOKEN_MINUTES", "0"),
        ("HOLDFAST_POOL", "huge"),
    ],
)
def test_what_cannot_be_understood_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        load("app.db")
    assert caught.value.hint


def test_a_short_key_is_refused_where_it_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "abc")
    monkeypatch.setenv("ENVIRONMENT", "production")
    with pytest.raises(ConfigurationError, match="SECRET_KEY"):
        load("app.db")


def test_no_secret_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", GOOD)
    monkeypatch.setenv("FIRST_SUPERUSER_PASSWORD", GOOD)
    settings = load(f"postgresql://me:{GOOD}@host/db")
    assert GOOD not in repr(settings) + str(settings) + repr(dataclasses.replace(settings))


def test_connections_are_pooled_unless_the_setting_says_no(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with load(url).open() as db:
        db.query("SELECT 1")
        assert db.health().pool["in_use"] == 1
    monkeypatch.setenv("HOLDFAST_POOL", "null")
    with load(url).open() as db:
        db.query("SELECT 1")
        assert isinstance(db, holdfast.Database)
        assert db.health().pool["in_use"] == 0
