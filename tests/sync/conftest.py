"""Every test that asks for ``pair`` runs for each way of two engines; all databases are real ones."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
import servers
from sync.world import File, Schema, World

WAYS = ("sqlite-postgres", "sqlite-sqlite", "postgres-postgres")
_numbers = itertools.count()


_databases: list[str] = []


def _postgres(place: int) -> str:
    """The URL of one of a few databases, emptied."""
    try:
        server = servers.embedded_server()
    except LookupError as exc:
        pytest.skip(f"no PostgreSQL here: {exc}")
    while len(_databases) <= place:
        _databases.append(f"sync{next(_numbers)}")
        server.create_database(_databases[-1])
    server.execute("DROP SCHEMA public CASCADE", _databases[place])
    server.execute("CREATE SCHEMA public", _databases[place])
    return server.url(_databases[place])


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[str], holdfast.Database]]:
    """A function that opens another empty database of an engine each time."""
    open_ones: list[holdfast.Database] = []

    def make(engine: str) -> holdfast.Database:
        is_file = engine == "sqlite"
        place = tmp_path / f"s{next(_numbers)}.db" if is_file else _postgres(len(open_ones))
        open_ones.append(holdfast.connect(place))
        return open_ones[-1]

    yield make
    for database in open_ones:
        database.close()


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The engine of a replica, and that of the hub."""
    local, _, hub = request.param.partition("-")
    return local, hub


@pytest.fixture
def hub(way: tuple[str, str], opened: Callable[[str], holdfast.Database]) -> holdfast.Database:
    return opened(way[1])


@pytest.fixture
def local(way: tuple[str, str], opened: Callable[[str], holdfast.Database]) -> holdfast.Database:
    return opened(way[0])


@pytest.fixture
def other(way: tuple[str, str], opened: Callable[[str], holdfast.Database]) -> holdfast.Database:
    return opened(way[0])


@pytest.fixture(params=["sqlite", "postgres"])
def make(request: pytest.FixtureRequest) -> Iterator[Callable[[str], World]]:
    """A function that makes a new world on a hub of the engine; the databases before are removed."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-test-"))
    made: list[str] = []

    def new(policy: Any = "hub") -> World:
        shutil.rmtree(folder)
        folder.mkdir()
        if request.param == "sqlite":
            return World(folder, File(folder / "hub.db", audited=True), policy)
        server = _server(request)
        for name in made:
            server.drop_database(name)
        made[:] = [f"history{next(_numbers)}"]
        server.create_database(made[0])
        return World(folder, Schema(server, made[0]), policy)

    yield new
    for name in made:
        _server(request).drop_database(name)
    shutil.rmtree(folder)


def _server(request: pytest.FixtureRequest) -> servers.Server:
    try:
        return servers.embedded_server()
    except LookupError as exc:
        if "embedded" in request.config.getoption("--require-engine"):
            raise
        pytest.skip(f"no PostgreSQL here: {exc}")
