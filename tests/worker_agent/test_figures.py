"""Figures of an agent: told on a port of its own, as Prometheus reads them."""

import http.client
import socket
from collections.abc import Iterator

import pytest
from patience import PATIENCE_S
from prometheus_client.parser import text_string_to_metric_families

from piecework.protocol.ids import Id
from piecework.protocol.messages import LeasedJob, LeasedLambda, Outcome
from piecework.protocol.states import JobState
from piecework.worker_agent.errors import AgentError
from piecework.worker_agent.figures import Figure, FiguresServer, measure_memory, plain, write_figures
from piecework.worker_agent.jobs.job_logger import JobLogger

FIGURES = [
    plain("one", "gauge", "One thing.", 2.5),
    Figure("many_total", "counter", "Many.", {(("runtime", 'a"b\\c\n'), ("outcome", "finished")): 3e9}),
]


@pytest.fixture
def server() -> Iterator[FiguresServer]:
    server = FiguresServer("127.0.0.1", 0, lambda: FIGURES)
    server.start()
    yield server
    server.stop()


def ask(server: FiguresServer, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
    connection.request("GET", path)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


@pytest.mark.slow
def test_figures_are_read_by_prometheus_as_they_are(server: FiguresServer):
    status, text = ask(server, "/metrics")
    assert status == 200
    one, many = text_string_to_metric_families(text)
    assert (one.type, one.samples[0].value) == ("gauge", 2.5)
    [sample] = many.samples
    assert (sample.name, sample.value) == ("many_total", 3e9)
    assert sample.labels == {"runtime": 'a"b\\c\n', "outcome": "finished"}
    assert text == write_figures(FIGURES)


def test_there_is_nothing_else(server: FiguresServer):
    assert ask(server, "/healthz") == (200, "alive\n")
    assert ask(server, "/")[0] == 404


def test_a_port_that_is_taken_is_told():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(AgentError, match="cannot listen on 127"):
        FiguresServer("127.0.0.1", taken.getsockname()[1], list)


def test_ends_are_counted_by_runtime():
    logger = JobLogger()
    job, lambda_ = Id(5), LeasedLambda(id=Id(7), runtime="wasi", codex=Id(0), name="upper")
    logger.note_contract(
        [LeasedJob(job=job, lambda_=Id(7), lease="x", lease_s=1, attempt=1, input=None)], [lambda_]
    )
    logger.note_ends([Outcome(job=job, lease="x", state=JobState.FINISHED)])
    logger.note_ends([Outcome(job=Id(6), lease="x", state=JobState.FINISHED)])
    assert logger.count_ends() == {("wasi", "finished"): 1, ("", "finished"): 1}


def test_memory_is_measured():
    own, _ = measure_memory()
    assert own > 1 << 20
