"""Every test here runs on every backend of memories."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import holdfast
from holdfast import memory
from holdfast.memory import SQLStore

Open = Callable[..., SQLStore]


@pytest.fixture
def opened(db: holdfast.Database) -> Open:
    """``open`` on one database."""

    def open(**options: Any) -> SQLStore:
        return memory.open(db, **options)

    return open


@pytest.fixture
def store(opened: Open) -> SQLStore:
    """An empty memory of the user Ada."""
    return opened(user_id="ada")
