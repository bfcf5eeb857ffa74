"""Jobs that are part of a trace: followed from lease to outcome, and their guests are told of it."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from collector import Collector

from piecework.protocol.ids import Id
from piecework.protocol.messages import Content, LeasedJob, LeasedLambda, Outcome, Usage, given
from piecework.protocol.states import JobState
from piecework.tracing import Tracer, open_tracer, read_traceparent
from piecework.worker_agent.jobs.job_traces import JobTraces
from piecework.worker_agent.jobs.work.inputs import Given, write_task

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture
def tracer(collector: Collector) -> Iterator[Tracer]:
    tracer = open_tracer("test", collector.url)
    assert tracer is not None
    yield tracer
    tracer.close()


def lease(**fields: object) -> LeasedJob:
    return LeasedJob(job=Id(5), lambda_=Id(7), lease="x", lease_s=1, attempt=1, input=Content(id=Id(0)), **fields)


def lambda_of(**fields: object) -> LeasedLambda:
    return LeasedLambda(id=Id(7), runtime="wasi", codex=Id(0), **fields)


def test_a_job_is_followed_and_its_guest_knows(collector: Collector, tracer: Tracer):
    traces, job = JobTraces(tracer), lease(traceparent=PARENT, env={"A": "1"})
    traces.begin([job], [lambda_of()])
    task = write_task(job, lambda_of(), Path("code"), Given(b"")).task
    traces.end([Outcome(job=Id(5), lease="x", state=JobState.FINISHED, usage=Usage(wall_s=0.5))])
    traces.close()
    seen = collector.wait_for("job", "guest")
    assert task.env == {"TRACEPARENT": f"00-{seen['job'].trace}-{seen['job'].id}-01", "A": "1"}
    assert seen["job"].parent == PARENT.split("-")[2]
    assert seen["guest"].ended_ns - seen["guest"].began_ns == pytest.approx(5e8, rel=0.01)


def test_one_that_must_do_the_same_each_time_is_told_nothing():
    job = lease(traceparent=PARENT)
    assert not write_task(job, lambda_of(deterministic=True), Path("code"), Given(b"")).task.env


@pytest.mark.parametrize(
    "wrong", ["", "x", f"01{PARENT[2:]}", f"00-{'0' * 32}-b7ad6b7169203331-01", PARENT + "-1"]
)
def test_what_is_no_trace_context_is_nobodys_error(tracer: Tracer, wrong: str):
    assert read_traceparent(wrong) is None
    job = lease(traceparent=wrong)
    JobTraces(tracer).begin([job], [])
    assert given(job.traceparent) == wrong


def test_a_collector_that_is_away_holds_nothing_up(monkeypatch: pytest.MonkeyPatch):
    for name, least in (("SEND_S", 0.05), ("FLUSH_MS", 1)):
        monkeypatch.setattr(f"piecework.otel.{name}", least)
    before = {*threading.enumerate()}
    tracer = open_tracer("test", "http://127.0.0.1:9")
    assert tracer is not None
    tracer.begin("job", PARENT).end()
    tracer.close()
    assert {*threading.enumerate()} == before


def test_there_is_no_tracer_without_a_place_to_send_to():
    assert open_tracer("test", "") is None
