"""Real servers and agents for the tests of this folder, as child processes."""

from collections.abc import Iterator

import pytest

from piecework import Client
from piecework.local import LocalAgent, LocalServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server that the tests of one file share."""
    with LocalServer(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: LocalServer) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client


@pytest.fixture(scope="module")
def agent(server: LocalServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAgent]:
    """An agent of that server that runs two jobs at once."""
    with LocalAgent(server.url, tmp_path_factory.mktemp("agent"), "shared", "--slots", "2") as agent:
        yield agent
