"""A job as people read it."""

import pytest

from piecework.cli.screen.endings import ending
from piecework.cli.screen.job_rows import describe_attempts, describe_backoff, describe_job
from piecework.protocol.ids import Id
from piecework.protocol.messages import Backoff, Content, JobInfo, JobLambda
from piecework.protocol.states import JobState


def job_info(**fields) -> JobInfo:
    given = {
        "id": Id(7), "state": JobState.ENQUEUED, "input": Content(id=Id(0)), "tags": [], "priority": 0,
        "lambda_": JobLambda(id=Id(1), runtime="wasi", codex=Id(2)), "attempt": 2, "max_attempts": 3,
        "created_at": 0.0,
    } | fields  # fmt: skip
    return JobInfo(**given)


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ({"failed": 0, "lost": 0}, "0 of 3 failed"),
        ({"failed": 0, "lost": 1}, "0 of 3 failed, 1 lost with its worker"),
        ({"failed": 2, "lost": 3}, "2 of 3 failed, 3 lost with their workers"),
        ({}, "2 of 3"),
    ],
)
def test_attempts_that_failed_are_told_apart_from_those_that_were_lost(counts, text):
    assert describe_attempts(job_info(**counts)) == text


@pytest.mark.parametrize(
    ("backoff", "text"),
    [
        (Backoff(), "exponential, 1.0 s at first, 5 min at most"),
        (Backoff(kind="fixed", base_s=10), "fixed, 10 s"),
        (Backoff(kind="none"), "none"),
    ],
)
def test_a_backoff_is_a_sentence(backoff, text):
    assert describe_backoff(backoff) == text


def test_an_older_server_that_tells_less_leaves_rows_out():
    rows = {name: value for name, value in describe_job(job_info(), 60.0).items() if value}
    assert rows.keys() == {"id", "state", "lambda", "runtime", "attempts", "created"}


@pytest.mark.parametrize(
    ("now", "straggles", "text"),
    [
        (108.0, False, "20 s, about 12 s left"),
        (120.0, False, "20 s, about 0 ms left"),
        (160.0, False, "20 s, over its usual time by 40 s"),
        (460.0, True, "20 s, straggler: over its usual time by 6 min"),
    ],
)
def test_a_running_job_tells_when_it_may_end(now, straggles, text):
    info = job_info(state=JobState.RUNNING, started_at=100.0, expected_s=20.0, eta=120.0, straggler=straggles)
    assert describe_job(info, now)["usually takes"] == text
    assert ending(info, now)[-1] == text.removeprefix("20 s, ")
    assert ending(info)[-1] == ""
    info.state = JobState.FINISHED
    assert not describe_job(info, now)["usually takes"]
