"""Functions that the control server deploys: real server, agents, replicas and calls, and kills at bad moments."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from evidence import process_tree
from guests import guest
from patience import until

from piecework import Client
from piecework.client.functions.functions import find_revision
from piecework.http.exchange import Request
from piecework.local import LocalAgent, LocalServer
from piecework.protocol.messages import DeploymentPut, ReplicaInfo, ReplicaState

pytestmark = pytest.mark.integration

PER_HOST = 2
"""Replicas that one agent runs at most: three need both."""
START_S = 60.0
"""For what comes up on a busy machine."""
LOOK_S = 0.1
"""Between two looks at the server: it has other work."""
HOLA = "k33g/hola/0.0.1"


class Fleet:
    """A server and two agents that run functions."""

    def __init__(self, folder: Path, server: LocalServer, client: Client) -> None:
        self.folder, self.server, self.client = folder, server, client
        self.agents = {name: self.start(name) for name in ("here", "there")}
        client.push_module(HOLA, guest("capsule_hello"))

    def start(self, name: str) -> LocalAgent:
        options = ("--slots", "1", "--functions", str(PER_HOST))
        return LocalAgent(self.server.url, self.folder, name, *options)

    def running(self, function: str = "hola", revision: str = "blue") -> list[ReplicaInfo]:
        found = find_revision(self.client.function(function), revision)
        return [each for each in found.replicas if each.state is ReplicaState.RUNNING]

    def hosts(self) -> list[str]:
        """Return the names of the workers whose replicas run."""
        return [each.worker_name for each in self.running()]

    def deploy(self, replicas: int, revision: str = "blue", **env: str) -> None:
        self.client.deploy("hola", revision, DeploymentPut(module=HOLA, replicas=replicas, env=env))
        self.client.await_replicas("hola", revision, START_S)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with LocalServer(tmp_path) as server, Client(server.url) as client:
        fleet = Fleet(tmp_path, server, client)
        try:
            until(lambda: len(list(client.workers())) == 2, START_S)
            yield fleet
        finally:
            for agent in fleet.agents.values():
                agent.stop()


@contextmanager
def calls(fleet: Fleet, path: str = "hola") -> Iterator[Counter[int | str]]:
    """Call a function again and again in the background; gives the statuses, and reasons without one."""
    seen: Counter[int | str] = Counter()
    stop = threading.Event()

    def call() -> None:
        with Client(fleet.server.url) as client:
            while not stop.wait(0.01):
                try:
                    seen[client.invoke(path, Request("GET", "/")).status] += 1
                except Exception as error:  # noqa: BLE001  # what it is decides the test
                    seen[repr(error)] += 1

    caller = threading.Thread(target=call)
    caller.start()
    try:
        yield seen
    finally:
        stop.set()
        caller.join()


def test_replicas_of_a_killed_agent_run_on_the_other_and_no_call_fails(fleet: Fleet):
    fleet.deploy(PER_HOST + 1)
    victim = fleet.agents[Counter(fleet.hosts()).most_common(1)[0][0]]
    family = process_tree(victim.pid)
    with calls(fleet) as seen:
        until(lambda: seen[200] > 20)
        victim.kill()
        survivor = next(agent for agent in fleet.agents.values() if agent is not victim)
        until(lambda: fleet.hosts() == PER_HOST * [survivor.name.split()[-1]], START_S, LOOK_S)
        answered = seen[200]
        until(lambda: seen[200] > answered + 20, START_S)
    assert set(seen) == {200}
    assert not any(Path(f"/proc/{pid}").exists() for pid in family), "its replicas ended with it"


def test_replica_of_an_agent_that_stops_serves_until_another_runs(fleet: Fleet):
    fleet.deploy(1)
    [leaving] = fleet.hosts()
    [other] = fleet.agents.keys() - {leaving}
    with calls(fleet) as seen:
        until(lambda: seen[200] > 20)
        assert fleet.agents[leaving].stop() == 0
        assert fleet.hosts() == [other]
        answered = seen[200]
        until(lambda: seen[200] > answered + 20, START_S)
    assert set(seen) == {200}
    assert find_revision(fleet.client.function("hola"), "blue").traffic.jobs == 0


def test_without_replicas_a_call_is_a_job_and_with_one_again_it_is_not(fleet: Fleet):
    fleet.deploy(1, MESSAGE="Hola")
    assert not fleet.client.invoke("hola", Request()).find_header("Piecework-Job")
    fleet.client.scale("hola", "blue", 0)
    answer = fleet.client.invoke("hola", Request("POST", "/", body=b"hey"))
    assert (answer.status, bool(answer.find_header("Piecework-Job"))) == (200, True)
    assert answer.body == b'{"message":"hey people!"}'
    fleet.client.scale("hola", "blue", 1)
    found = fleet.client.await_replicas("hola", "blue", START_S)
    assert not fleet.client.invoke("hola", Request()).find_header("Piecework-Job")
    assert (found.traffic.calls, found.traffic.jobs) == (2, 1)


def test_calls_during_an_undeployment_are_answered_or_told_that_there_is_nothing(fleet: Fleet):
    fleet.deploy(2)
    pids = [each.pid for each in fleet.running()]
    with calls(fleet) as seen:
        until(lambda: seen[200] > 20)
        fleet.client.undeploy("hola")
        until(lambda: seen[404] > 20)
    assert set(seen) == {200, 404}
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_calls_move_from_one_revision_to_another_without_a_failure(fleet: Fleet):
    fleet.deploy(1, MESSAGE="blue")
    with calls(fleet) as seen:
        until(lambda: seen[200] > 20)
        fleet.deploy(1, "green", MESSAGE="green")
        fleet.client.split("hola", {"blue": 1, "green": 1})
        words = {fleet.client.invoke("hola", Request()).find_header("Message") for _ in range(8)}
        fleet.client.set_default("hola", "green")
        fleet.client.undeploy("hola", "blue")
        answered = seen[200]
        until(lambda: seen[200] > answered + 20)
    assert set(seen) == {200}
    assert len(words) == 2


def test_what_functions_log_is_read_at_the_server(fleet: Fleet):
    fleet.deploy(1)
    fleet.client.invoke("hola", Request("POST", "/", body=b"who reads this"))
    parts = fleet.client.follow_function_log("hola", "blue")
    assert "who reads this" in next(parts).text
