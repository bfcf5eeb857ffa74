"""The agent as a process: starting, draining, leaving, coming back."""

import re
import signal
import socket
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from evidence import process_tree
from guests import guest
from patience import LONG_S, until

from piecework import Client
from piecework.local import LocalAgent, LocalServer
from piecework.protocol.ids import Id
from piecework.protocol.messages import LambdaCreate, WorkerState
from piecework.protocol.states import JobState

pytestmark = pytest.mark.integration

STARTED = re.compile("agent started")
REST_MIB = 80


@pytest.fixture
def slow(client):
    """Return a function that submits a job that takes some seconds and logs ten times a second."""

    def submit(seconds):
        lambda_id = client.create_lambda(guest("count_slowly"), args=[str(seconds), "100"])
        job = client.submit(lambda_id)
        assert "tick 1 of" in next(client.follow_log(job))
        return job

    return submit


@pytest.fixture
def start(server, tmp_path):
    """Return a function that starts an agent of this test's own and waits until it works."""
    agents = []

    def run(*options, name="own", **more):
        agent = LocalAgent(server.url, tmp_path, name, "--slots", "1", *options, **more)
        agents.append(agent)
        agent.wait_for_line(STARTED)
        return agent

    yield run
    for agent in agents:
        agent.stop()


def worker_id(agent):
    return agent.wait_for_line(re.compile(r"agent started.*worker=(\d+)"))[1]


def test_idle_agent_ends_at_once_with_code_0(start):
    agent = start()
    time_s = time.monotonic()
    agent.signal(signal.SIGTERM)
    assert agent.wait() == 0
    assert time.monotonic() - time_s < 20, "a poll that nobody ends waits for 24 s"


def test_running_job_is_finished_before_the_agent_ends(start, slow, client):
    agent = start()
    job = slow(1)
    agent.signal(signal.SIGINT)
    assert agent.wait() == 0
    assert client.result(job, timeout_s=60) == b"10\n"
    assert client.job(job).attempt == 1


def test_job_that_outlasts_the_drain_is_handed_back_uncounted(start, slow, client):
    agent = start("--drain-timeout", "0.5")
    job = slow(3)
    agent.signal(signal.SIGTERM)
    assert agent.wait() == 0
    info = client.job(job)
    assert (info.state, info.attempt) == (JobState.ENQUEUED, 0)
    start(name="another")
    assert client.result(job, timeout_s=30) == b"30\n"
    assert [event.detail for event in client.trace(job) if event.state is JobState.ENQUEUED][-1] == "handed back"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_second_signal_ends_agent_and_guests_at_once(start, slow, client, number, code):
    agent = start()
    job = slow(60)
    family = process_tree(agent.pid)
    agent.signal(number)
    agent.wait_for_line(re.compile("draining"))
    agent.signal(number)
    assert agent.wait() == code
    assert not any(Path(f"/proc/{pid}").exists() for pid in family)
    client.cancel(job)


def test_drained_worker_ends_with_code_0_and_works_again_after_its_next_start(tmp_path):
    # An idle agent learns of the drain when its poll ends.
    with (
        LocalServer(tmp_path, environ={"PIECEWORK_POLL_MAX_S": "3"}) as server,
        Client(server.url) as client,
    ):
        agent = LocalAgent(server.url, tmp_path, "own")
        worker = worker_id(agent)
        client.drain_worker(worker)
        assert agent.wait() == 0
        with LocalAgent(server.url, tmp_path, "own") as again:
            assert worker_id(again) == worker
            lambda_id = client.create_lambda(guest("echo"))
            assert client.result(client.submit(lambda_id, b"back"), timeout_s=10) == b"back"


@pytest.mark.parametrize("signals", [1, 2])
def test_agent_that_was_told_to_end_is_stopped_at_once(start, slow, client, signals):
    agent = start("--drain-timeout", "0.1" if signals == 1 else "60")
    worker, job = worker_id(agent), slow(60)
    for _ in range(signals):
        agent.signal(signal.SIGTERM)
        agent.wait_for_line(re.compile("draining"))
    agent.wait()
    assert client.worker(worker).state is WorkerState.STOPPED
    start(name="another")
    assert "tick 1 of" in next(client.follow_log(job))
    client.cancel(job)


def test_agent_with_other_runtimes_is_the_same_worker(start, client):
    first = start("--runtime", "wasi")
    worker = worker_id(first)
    first.stop()
    assert worker_id(start("--runtime", "javascript", "--runtime", "wasi", "--tag", "big")) == worker
    info = client.worker(worker)
    assert (info.runtime, info.tags, info.state) == (["javascript", "wasi"], ["big"], WorkerState.IDLE)


def test_cancelled_guest_is_stopped_within_seconds(start, slow, client):
    agent = start()
    job = slow(60)
    client.cancel(job)
    agent.wait_for_line(re.compile(r"stopped\b.*reported=Cancelled"), timeout_s=10)
    lambda_id = client.create_lambda(guest("echo"))
    assert client.result(client.submit(lambda_id, b"next"), timeout_s=10) == b"next"


def test_large_input_and_output_pass_through_files(start, client):
    start()
    data = bytes(range(256)) * 20_000
    lambda_id = client.create_lambda(guest("echo"))
    assert client.result(client.submit(lambda_id, data), timeout_s=30) == data


def test_missing_codex_ends_its_job_with_the_reason(start, client):
    start()
    lambda_id = client.create_lambda(LambdaCreate(codex=Id(12_345), runtime="wasi"))
    [info] = client.wait([client.submit(lambda_id)], timeout_s=20)
    assert (info.state, info.attempt) == (JobState.FAILED, 1)
    assert (info.error.kind, info.error.message) == (
        "load",
        f"the codex 12345 of lambda {lambda_id} does not exist",
    )


def test_server_killed_in_the_middle_of_a_job_gets_its_result_all_the_same(tmp_path):
    # On a busy machine a server may take longer for its start than leases usually last: then the job runs again.
    patient = {"PIECEWORK_LEASE_S": "300"}
    with LocalServer(tmp_path, environ=patient) as server, Client(server.url) as client:
        lambda_id = client.create_lambda(guest("count_slowly"), args=["3", "100"])
        with LocalAgent(server.url, tmp_path, "own", "--slots", "1") as agent:
            job = client.submit(lambda_id)
            assert "tick 1 of" in next(client.follow_log(job))
            server.kill()
            agent.wait_for_line(re.compile("server away"))
            with LocalServer(tmp_path, port=server.port, environ=patient):
                assert client.result(job, timeout_s=LONG_S) == b"30\n"
                agent.wait_for_line(re.compile("server back"))
                assert client.job(job).attempt == 1


def test_agent_started_before_its_server_works_when_it_comes(tmp_path):
    with LocalServer(tmp_path) as server:
        port = server.port
    with LocalAgent(f"http://127.0.0.1:{port}", tmp_path, "own") as agent:
        agent.wait_for_line(re.compile("server away"))
        assert agent.read_log().count("\n") == 1
        with LocalServer(tmp_path, port=port) as server, Client(server.url) as client:
            lambda_id = client.create_lambda(guest("echo"))
            assert client.result(client.submit(lambda_id, b"early"), timeout_s=30) == b"early"


def test_second_agent_in_the_same_state_directory_ends_with_one_line(start, server, tmp_path):
    start()
    second = LocalAgent(server.url, tmp_path, "own")
    assert second.wait() == 1
    assert "another agent" in second.read_log().splitlines()[-1]


def test_agent_at_rest_is_small(start):
    agent = start()
    threading.Event().wait(1.0)
    status = Path(f"/proc/{agent.pid}/status").read_text()
    resident_kib = int(re.search(r"VmRSS:\s+(\d+) kB", status)[1])
    assert resident_kib < REST_MIB * 1024


def test_an_agent_tells_figures_of_what_it_did(start, client):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    agent = start("--metrics-port", str(port))
    client.result(client.submit(client.create_lambda(guest("echo")), "x"))

    def read():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            return answer.read().decode()

    until(lambda: 'ended_total{runtime="wasi",outcome="finished"} 1.0' in read(), look_s=0.05)
    figures = read()
    assert "piecework_agent_slots 1.0" in figures
    assert "piecework_agent_connected 1.0" in figures
    assert re.search(r'piecework_agent_memory_bytes\{of="guests"\} [1-9]', figures)
    assert agent.stop() == 0
