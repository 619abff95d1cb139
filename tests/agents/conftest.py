"""The application's tables, on every engine."""

from __future__ import annotations

import pytest

import holdfast
from holdfast.agents.models import metadata


@pytest.fixture
def app(db: holdfast.Database) -> holdfast.Database:
    """A database with the tables of the application."""
    metadata.create_all(db.engine)
    return db
