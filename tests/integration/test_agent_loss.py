"""An agent that dies, or sleeps past its lease, in the middle of a job: the job is finished once, by another."""

import re
import signal
import time
import urllib.request
from pathlib import Path

import pytest
from evidence import process_tree
from guests import guest
from patience import until

from piecework import Client
from piecework.local import LocalAgent, LocalServer
from piecework.protocol.ids import Id
from piecework.protocol.messages import TraceEvent
from piecework.protocol.states import JobState

pytestmark = pytest.mark.integration

RESCUED_WITHIN_S = 30.0
WAITING = 'piecework_waiting_requests{for="contract"}'


def submit_slow_job(client: Client, seconds: int) -> Id:
    """Submit a job that logs while it runs."""
    lambda_id = client.create_lambda(guest("count_slowly"), args=[str(seconds), "100"])
    return client.submit(lambda_id)


def runs_of(trace: list[TraceEvent]) -> list[tuple[int, Id]]:
    """Return (attempt, worker) of each time that the job was started."""
    return [(each.attempt, each.worker) for each in trace if each.state is JobState.RUNNING and each.worker]


def test_another_agent_finishes_the_job_of_a_killed_one(tmp_path: Path):
    with LocalServer(tmp_path) as server, Client(server.url) as client:
        with LocalAgent(server.url, tmp_path, "first", "--slots", "1") as first:
            job = submit_slow_job(client, seconds=3)
            assert "tick 1 of 30" in next(client.follow_log(job))
            family = process_tree(first.pid)
            first.kill()
            killed_at = time.monotonic()
            with LocalAgent(server.url, tmp_path, "second", "--slots", "1"):
                assert client.result(job, timeout_s=RESCUED_WITHIN_S) == b"30\n"
                assert time.monotonic() - killed_at < RESCUED_WITHIN_S
        names = {worker.id: worker.name for worker in client.workers()}
        assert [(attempt, names[worker]) for attempt, worker in runs_of(client.trace(job))] == [
            (1, "first"),
            (2, "second"),
        ]
        assert len(family) > 1
        assert not any(Path(f"/proc/{pid}").exists() for pid in family), "its guests ended with it"


def count_polls(server: LocalServer) -> int:
    with urllib.request.urlopen(f"{server.url}/metrics") as answer:
        [line] = [line for line in answer.read().decode().splitlines() if line.startswith(WAITING)]
    return round(float(line.split()[-1]))


def test_polls_of_dead_agents_cost_a_job_nothing(tmp_path: Path):
    with (
        LocalServer(tmp_path) as server,
        Client(server.url) as client,
        LocalAgent(server.url, tmp_path, "one", "--slots", "1") as one,
        LocalAgent(server.url, tmp_path, "two", "--slots", "1") as two,
    ):
        until(lambda: count_polls(server) == 2)
        with LocalAgent(server.url, tmp_path, "living", "--slots", "1"):
            until(lambda: count_polls(server) == 3)
            one.kill()
            two.kill()
            job = client.submit(client.create_lambda(guest("echo")), b"X")
            assert client.result(job, timeout_s=RESCUED_WITHIN_S) == b"X"
        names = {worker.id: worker.name for worker in client.workers()}
        runs = [(attempt, names[worker]) for attempt, worker in runs_of(client.trace(job))]
        assert {attempt for attempt, _ in runs} == {1}
        assert runs[-1] == (1, "living")


def test_the_late_result_of_an_agent_that_slept_past_its_lease_is_refused(tmp_path: Path):
    with (
        LocalServer(tmp_path, environ={"PIECEWORK_LEASE_S": "3"}) as server,
        Client(server.url) as client,
        LocalAgent(server.url, tmp_path, "first", "--slots", "1") as first,
    ):
        job = submit_slow_job(client, seconds=2)
        assert "tick 1 of 20" in next(client.follow_log(job))
        # Only the agent sleeps: its guest runs on, and the result lies ready when it wakes up.
        first.signal(signal.SIGSTOP)
        with LocalAgent(server.url, tmp_path, "second", "--slots", "1"):
            assert client.result(job, timeout_s=RESCUED_WITHIN_S) == b"20\n"
            first.signal(signal.SIGCONT)
            first.wait_for_line(re.compile("refused"))
        trace = client.trace(job)
        assert [attempt for attempt, _ in runs_of(trace)] == [1, 2]
        refused = [event for event in trace if event.detail.startswith("refused:")]
        accepted = [event for event in trace if event.state is JobState.FINISHED and event not in refused]
        (_, first_worker), (_, second_worker) = runs_of(trace)
        assert [event.worker for event in refused] == [first_worker]
        assert [event.worker for event in accepted] == [second_worker]
