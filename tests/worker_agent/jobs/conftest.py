"""An agent between a server in memory and an executor worked by hand, under a clock of the test's own."""

import threading
from dataclasses import replace

import pytest
import structlog
from fake_control_server import FakeControlServer
from hand_clock import HandClock
from hand_executor import HandExecutor
from patience import LONG_S

from piecework.protocol.messages import WorkerRegister
from piecework.worker_agent.agent import Agent
from piecework.worker_agent.cache import BlobCache
from piecework.worker_agent.config.settings import Settings
from piecework.worker_agent.jobs.parts import Environment
from piecework.worker_agent.link.shared import Pace
from piecework.worker_agent.link.state import StateDirectory


@pytest.fixture
def clock():
    return HandClock(1000.0, per_s=1)


@pytest.fixture
def server(clock):
    return FakeControlServer(clock)


@pytest.fixture(autouse=True)
def log():
    with structlog.testing.capture_logs() as entries:
        yield entries


class KnownAgent(Agent):
    """An agent, and what a test asks of its surroundings."""

    left: list
    state: StateDirectory
    thread: threading.Thread


@pytest.fixture
def make_agent(tmp_path, server, clock):
    """Return a function that makes an agent; ``agent.left`` has the code with which it left at once."""
    made = []

    def make(*, incarnation="first", folder="state", idle_s=0.0, around=None, **settings):
        state = StateDirectory(tmp_path / folder).open()
        chosen = Settings(**{"server": "http://server.test", "slots": 2, "prefetch": 2, **settings})
        left = []
        around = replace(
            Environment(
                server=server,
                pulse_server=server,
                make_executor=HandExecutor,
                pace=Pace(idle_s=idle_s, bug_s=0.0),
                clock=clock,
                random=lambda: 0.0,
                leave=left.append,
            ),
            **(around or {}),
        )
        registration = WorkerRegister(runtime=["wasi"], name="node", slots=chosen.slots, incarnation=incarnation)
        cache = BlobCache(tmp_path / folder / "blobs", capacity_bytes=2**30)
        agent = KnownAgent(chosen, state, cache, registration, around)
        agent.left, agent.state = left, state
        made.append(agent)
        return agent

    yield make
    for agent in made:
        agent.state.close()


@pytest.fixture
def agent(make_agent):
    """An agent that has joined; its loops are stepped by the test, its pools run."""
    agent = make_agent()
    assert agent.join()
    agent.parts.start_crews()
    yield agent
    agent.shared.stop.set()
    agent.parts.fetchers.stop(5)
    agent.parts.uploaders.stop(5)


@pytest.fixture
def running(make_agent, server):
    """Return a function that runs a whole agent on threads of its own, in a server that holds polls."""
    threads = []

    def run(**options):
        server.holds_polls = True
        agent = make_agent(**{"idle_s": 0.05, "drain_timeout_s": 0.05, **options})
        agent.thread = threading.Thread(target=agent.run, daemon=True)
        agent.thread.start()
        threads.append(agent)
        return agent

    yield run
    server.away = False
    server.release_polls()
    for agent in threads:
        agent.ask_to_stop("the test ends")
        agent.thread.join(LONG_S)
        assert not agent.thread.is_alive()
