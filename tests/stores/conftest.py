"""Every test here runs on every backend of memories: those of the databases, and Lance."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
from conftest import ENGINES
from holdfast import memory
from holdfast.memory import LanceDBConnector, SQLStore, lance_leg
from holdfast.memory.lance_store import TRUTH

Open = Callable[..., SQLStore]
_numbers = itertools.count()


# The other files are about what works on a database, such as LangGraph's classes, and PostgreSQL's plans.
# What is Lance's own, its index too, is in test_lance.py.
ON_LANCE = {
    "test_memory",
    "test_filters",
    "test_search",
    "test_history",
    "test_embedding",
    "test_expiry",
    "test_models",
    "test_moving",
    "test_reembedding",
    "test_erasing",
    "test_memory_faults",
    "test_differential",
    "test_query_cache",
    "test_injection",
    "test_metadata_index",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "engine_name" in metafunc.fixturenames:
        more = ["lance"] if metafunc.module.__name__.rpartition(".")[2] in ON_LANCE else []
        metafunc.parametrize("engine_name", [*ENGINES, *more], indirect=True)


@pytest.fixture
def engine_name(request: pytest.FixtureRequest) -> str:
    """The backend that this run of the test is on."""
    name: str = request.param
    return name


@pytest.fixture(autouse=True)
def _often(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows of a test would never come to Lance otherwise."""
    if "engine_name" in request.fixturenames and request.getfixturevalue("engine_name") == "lance":
        monkeypatch.setattr(lance_leg, "WAITING", 7)
        monkeypatch.setattr(lance_leg, "GATHERED", 400)


@pytest.fixture
def url(engine_name: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """What opens an empty memory."""
    if engine_name == "lance":
        return f"lancedb:///{tmp_path}/memories{next(_numbers)}"
    return str(request.getfixturevalue("database_url"))


@pytest.fixture
def db(engine_name: str, url: str) -> Iterator[holdfast.Database]:
    """The database that memories lie in; of Lance that is the file of truth."""
    if engine_name == "lance":
        memory.open(url, name="to make the folder").close()
        url = f"{url.removeprefix('lancedb:///')}/{TRUTH}"
    with holdfast.connect(url) as database:
        yield database


@pytest.fixture
def opened(engine_name: str, db: holdfast.Database) -> Open:
    """``open`` on one database."""

    def open(**options: Any) -> SQLStore:
        if engine_name == "lance":
            return LanceDBConnector("passages", db, **{"name": "memory", **options})
        return memory.open(db, **options)

    return open


@pytest.fixture
def store(opened: Open) -> SQLStore:
    """An empty memory of the user Ada."""
    return opened(user_id="ada")
