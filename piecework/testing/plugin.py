"""The pytest plugin. What a fixture needs is imported when a test asks for it: others start no later."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from piecework.client import Client
    from piecework.local import LocalAgent
    from piecework.testing.guests import GuestRun
    from piecework.testing.servers import MovableClock, ServerForTests


@pytest.fixture(scope="session")
def piecework_server(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[ServerForTests]":
    """A server on a free port of this machine, with its data in a folder of its own, for all tests of the run."""
    from piecework.testing.servers import ServerForTests  # noqa: PLC0415

    with ServerForTests(tmp_path_factory.mktemp("piecework")) as server:
        yield server


@pytest.fixture(scope="session")
def piecework_agent(
    piecework_server: "ServerForTests", tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[LocalAgent]":
    """An agent of that server that runs two jobs at once. It is registered when a test gets it."""
    from piecework.testing.servers import start_agent  # noqa: PLC0415

    with start_agent(piecework_server, tmp_path_factory.mktemp("piecework-agent")) as agent:
        yield agent


@pytest.fixture
def piecework_client(piecework_server: "ServerForTests") -> "Iterator[Client]":
    """A client of that server."""
    from piecework.client import Client  # noqa: PLC0415

    with Client(piecework_server.url, "") as client:
        yield client


@pytest.fixture(scope="session")
def piecework_clock(piecework_server: "ServerForTests") -> "MovableClock":
    """The clock of that server, which tests move forward."""
    return piecework_server.clock


@pytest.fixture(scope="session")
def run_guest() -> "Callable[..., GuestRun]":
    """``piecework.testing.run_guest``: runs a guest without a server."""
    from piecework.testing.guests import run_guest  # noqa: PLC0415

    return run_guest
