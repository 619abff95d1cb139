"""Every test that asks for ``db`` or ``url`` runs on every engine, each time on an empty database."""

from __future__ import annotations

import itertools
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

import holdfast
import servers

# No test is about time: a busy machine is no failure.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
if settings.default.derandomize:  # as it is in CI
    # It would also try the constants of the modules that happen to be imported, which are those of the tests
    # that ran before: the same change would be tested by other examples each time.
    nothing = providers._local_constants
    providers._get_local_constants = lambda: nothing
# A shell that starts this in the background has it ignore Ctrl-C, and so would every program started here.
signal.signal(signal.SIGINT, signal.default_int_handler)
ENGINES = ("sqlite", "embedded", "debian")
_numbers = itertools.count()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-engine",
        action="append",
        default=[],
        choices=ENGINES,
        help="fail instead of skipping where this engine cannot be had",
    )


def _server(name: str, config: pytest.Config) -> servers.Server:
    try:
        return servers.embedded_server() if name == "embedded" else servers.debian_server()
    except LookupError as exc:
        if name in config.getoption("--require-engine"):
            raise
        pytest.skip(f"no {name} here: {exc}")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Not below pytest's own folder: another pytest closes that one to the user that a server runs as."""
    with tempfile.TemporaryDirectory(prefix="holdfast-test-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(params=ENGINES)
def engine_name(request: pytest.FixtureRequest) -> str:
    """The engine that this run of the test is on."""
    name: str = request.param
    return name


@pytest.fixture
def new_url(engine_name: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """A function that gives the URL of another empty database of the engine each time."""
    made: list[str] = []

    def make() -> str:
        if engine_name == "sqlite":
            return f"sqlite:///{tmp_path}/db{next(_numbers)}.sqlite"
        name = f"t{next(_numbers)}"
        server = _server(engine_name, request.config)
        server.create_database(name)
        made.append(name)
        return server.url(name)

    yield make
    for name in made:
        _server(engine_name, request.config).drop_database(name)


@pytest.fixture
def url(database_url: str) -> str:
    """The URL of an empty database."""
    return database_url


@pytest.fixture
def database_url(engine_name: str, new_url: Callable[[], str], request: pytest.FixtureRequest) -> str:
    """The same, where a folder of tests has another ``url``."""
    if engine_name == "sqlite":
        return new_url()
    server = _server(engine_name, request.config)
    name = _shared_database(server)
    server.execute("DROP SCHEMA public CASCADE", name)
    server.execute("CREATE SCHEMA public", name)
    return server.url(name)


_shared: dict[int, str] = {}


def _shared_database(server: servers.Server) -> str:
    if id(server) not in _shared:
        _shared[id(server)] = f"shared{next(_numbers)}"
        server.create_database(_shared[id(server)])
    return _shared[id(server)]


@pytest.fixture
def db(url: str) -> Iterator[holdfast.Database]:
    """An open, empty database."""
    with holdfast.connect(url) as database:
        yield database
