"""One trace of a job, from who submits it to its outcome, in a collector that real exporters send to."""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest
from collector import Collector
from guest_texts import build, read_guest
from guests import guest
from patience import LONG_S, until
from served import ServedFunction

from piecework import Client
from piecework.local import LocalAgent, LocalServer
from piecework.protocol.messages import DeploymentPut

pytestmark = pytest.mark.integration
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def server(collector, tmp_path_factory) -> Iterator[LocalServer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIECEWORK_OTEL_ENDPOINT", collector.url)
        with LocalServer(tmp_path_factory.mktemp("server")) as server:
            yield server


@pytest.fixture(scope="module")
def agent(collector, server, tmp_path_factory) -> Iterator[LocalAgent]:
    options = ("--slots", "1", "--functions", "2", "--otel-endpoint", collector.url)
    with LocalAgent(server.url, tmp_path_factory.mktemp("agent"), "traced", *options) as agent:
        yield agent


@pytest.fixture
def traced(server, monkeypatch) -> Iterator[Client]:
    """A client of a program that was started inside a span."""
    monkeypatch.setenv("TRACEPARENT", PARENT)
    with Client(server.url) as client:
        yield client


def test_one_trace_leads_from_the_submitter_to_the_outcome(collector, traced, agent):
    job = traced.submit(traced.create_lambda(guest("echo"), name="echoed"), "x")
    traced.result(job)
    seen = collector.wait_for("submit", "wait", "job", "guest", "outcome", where=lambda span: span.trace == TRACE)
    assert seen["submit"].parent == SPAN
    assert {seen[name].parent for name in ("wait", "job", "outcome")} == {seen["submit"].id}
    assert seen["guest"].parent == seen["job"].id
    assert {seen[name].service for name in ("submit", "wait", "outcome")} == {"piecework-server"}
    assert {seen[name].service for name in ("job", "guest")} == {"piecework-agent"}
    assert seen["job"].attributes["piecework.job"] == str(job)
    assert seen["job"].attributes["piecework.lambda"] == "echoed"
    assert seen["outcome"].attributes["piecework.state"] == "Finished"
    assert not any(each.failed for each in seen.values())
    assert seen["job"].began_ns <= seen["guest"].began_ns <= seen["guest"].ended_ns <= seen["job"].ended_ns


def test_a_job_that_fails_is_a_span_that_failed(collector, traced, agent):
    job = traced.submit(traced.create_lambda(guest("crash"), name="crash"), "x", max_attempts=1)
    traced.wait([job])
    seen = collector.wait_for(
        "job", "outcome", where=lambda span: span.attributes.get("piecework.job") == str(job)
    )
    assert seen["job"].failed
    assert seen["outcome"].failed


def test_a_program_that_uses_opentelemetry_itself_needs_to_pass_nothing_on(collector, server, agent):
    program = f"""
from opentelemetry.sdk.trace import TracerProvider
from piecework import Client
tracer = TracerProvider().get_tracer("mine")
with tracer.start_as_current_span("mine") as span, Client({server.url!r}) as client:
    job = client.submit("echoed", "x")
    client.result(job)
    print(format(span.get_span_context().trace_id, "032x"))
"""
    env = {name: value for name, value in os.environ.items() if name != "TRACEPARENT"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    trace = done.stdout.strip()
    collector.wait_for("submit", "job", "outcome", where=lambda span: span.trace == trace)


def test_a_call_of_a_function_is_part_of_its_callers_trace_also_as_a_job(collector, server, agent, client):
    lambda_id = client.create_lambda(guest("capsule_hello"), runtime="capsule")
    client.deploy("hello", "one", DeploymentPut(lambda_=lambda_id, replicas=0))
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    asked = urllib.request.Request(f"{server.url}/functions/hello", headers=headers)
    with urllib.request.urlopen(asked) as answer:
        assert answer.status == 200
        assert answer.headers["Piecework-Job"]
    seen = collector.wait_for("call", "wait", "job", "outcome", where=lambda span: span.trace == trace)
    assert seen["call"].parent == "00f067aa0ba902b7"
    assert seen["job"].parent == seen["call"].id
    assert seen["call"].attributes["piecework.function"] == "hello"


def test_a_call_leads_through_the_replica_to_its_guest(collector, server, agent, client):
    """The guest writes its variables: among them is the header that it got."""
    lambda_id = client.create_lambda(build(read_guest("wasi/tell_args")), runtime="wasi")
    client.deploy("told", "one", DeploymentPut(lambda_=lambda_id, replicas=1))
    until(lambda: is_served(client, "told"), LONG_S, look_s=0.1)
    trace = "5bf92f3577b34da6a3ce929d0e0e4737"
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    with urllib.request.urlopen(urllib.request.Request(f"{server.url}/functions/told", headers=headers)) as answer:
        variables = answer.read().decode().split("\0")
        assert "Piecework-Job" not in answer.headers
    seen = collector.wait_for("call", "replica", "guest", where=lambda span: span.trace == trace)
    assert [seen[name].parent for name in ("call", "replica", "guest")] == [
        "00f067aa0ba902b7", seen["call"].id, seen["replica"].id,
    ]  # fmt: skip
    assert f"HTTP_TRACEPARENT=00-{trace}-{seen['replica'].id}-01" in variables
    assert {seen[name].service for name in ("replica", "guest")} == {"piecework-replica"}
    assert seen["replica"].about["piecework.function"] == "told"
    assert seen["replica"].attributes["http.response.status_code"] == 200


def is_served(client: Client, function: str) -> bool:
    return any(each.state == "running" for each in client.function(function).revisions[0].replicas)


def test_a_served_function_that_fails_is_a_trace_of_its_own_that_failed(collector, tmp_path):
    (tmp_path / "trap.wasm").write_bytes(build(read_guest("wasi/trap")))
    with ServedFunction(tmp_path, tmp_path / "trap.wasm", "--otel-endpoint", collector.url) as function:
        assert function.ask().status == 500
        seen = collector.wait_for(
            "replica", "guest", where=lambda span: span.failed and span.service == "piecework-replica"
        )
    assert not seen["replica"].parent
    assert seen["guest"].parent == seen["replica"].id


def test_nothing_is_imported_while_it_is_off():
    program = (
        "import sys, piecework.client, piecework.server.serving;"
        "import piecework.worker_agent.assembly, piecework.worker_agent.serving.server;"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
