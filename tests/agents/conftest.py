"""The application's tables, on every engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher

import holdfast
from holdfast.agents.crud import passwords
from holdfast.agents.models import metadata


@pytest.fixture
def app(db: holdfast.Database) -> holdfast.Database:
    """A database with the tables of the application."""
    metadata.create_all(db.engine)
    return db


@pytest.fixture(autouse=True)
def _quick_hashes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Argon2 at its least: what is tested is not how long it takes."""
    monkeypatch.setattr(passwords, "hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    passwords._nobody.cache_clear()
    yield
    passwords._nobody.cache_clear()
