"""A real server, and a proxy before it that a test can cut."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

import pytest

import servers
from conftest import ENGINES
from faults.children import Workers
from faults.grounds import Ground
from faults.proxy import Proxy

_numbers = itertools.count()


@pytest.fixture(params=("embedded", "debian"))
def server(request: pytest.FixtureRequest) -> servers.Server:
    """A server that a test may stop and start; it runs again after the test."""
    try:
        found = servers.embedded_server() if request.param == "embedded" else servers.debian_server()
    except LookupError as exc:
        if request.param in request.config.getoption("--require-engine"):
            raise
        pytest.skip(f"no {request.param} here: {exc}")
    return found


@pytest.fixture
def dbname(server: servers.Server) -> Iterator[str]:
    """An empty database of the server."""
    name = f"fault{next(_numbers)}"
    server.create_database(name)
    yield name
    if not server.is_running:
        server.start()
    server.drop_database(name)


@pytest.fixture
def direct(server: servers.Server, dbname: str) -> str:
    """Its URL."""
    return server.url(dbname)


@pytest.fixture
def proxy(server: servers.Server) -> Iterator[Proxy]:
    made = Proxy(servers.HOST, server.port)
    yield made
    made.close()


@pytest.fixture
def through(server: servers.Server, direct: str, proxy: Proxy) -> Callable[..., str]:
    """The URL of the same database through the proxy."""
    return lambda: direct.replace(f":{server.port}/", f":{proxy.port}/")


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    if os.name != "posix":
        pytest.skip("processes are killed with signals")
    made = Workers()
    yield made
    made.close()


@pytest.fixture(scope="module", params=ENGINES)
def ground(
    request: pytest.FixtureRequest, workers: Workers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ground]:
    server = None
    if request.param != "sqlite":
        try:
            server = servers.embedded_server() if request.param == "embedded" else servers.debian_server()
        except LookupError as exc:
            if request.param in request.config.getoption("--require-engine"):
                raise
            pytest.skip(f"no {request.param} here: {exc}")
    made = Ground(tmp_path_factory.mktemp("ground"), server, workers)
    yield made
    made.close()
