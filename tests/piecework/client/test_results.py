from urllib.parse import parse_qs, urlsplit

import pytest
from job_infos import info

from piecework.client import Client, JobCancelled, JobFailed, StillRunning
from piecework.client.queue.jobs.jobs import POLL_S
from piecework.client.queue.jobs.results import (
    BATCH_POLL_S,
    CROWD_POLL_S,
    FEW_JOBS,
    IDS_PER_REQUEST,
    SHORTEST_POLL_S,
    choose_poll,
    failure,
)
from piecework.http.deadlines import Deadline
from piecework.protocol.codes import ErrorKind
from piecework.protocol.ids import Id
from piecework.protocol.messages import Content, JobCreated, JobError, JobList
from piecework.protocol.states import JobState


@pytest.fixture
def client(script):
    with Client(script.url) as client:
        yield client


def queries(script):
    return [{name: value for name, [value] in parse_qs(urlsplit(seen.path).query).items()} for seen in script.seen]


@pytest.mark.parametrize(
    ("asked", "others", "news", "poll"),
    [
        (1, False, True, ("any", POLL_S)),
        (FEW_JOBS, False, False, ("any", POLL_S)),
        (FEW_JOBS + 1, False, True, ("all", BATCH_POLL_S)),
        (FEW_JOBS + 1, False, False, ("any", POLL_S)),
        (IDS_PER_REQUEST, True, True, ("all", BATCH_POLL_S)),
        (IDS_PER_REQUEST, True, False, ("any", CROWD_POLL_S)),
    ],
)
def test_few_jobs_are_waited_for_one_by_one_and_many_in_batches(asked, others, news, poll):
    assert choose_poll(asked, others=others, news=news) == poll


@pytest.mark.slow
def test_at_most_so_many_jobs_are_asked_for_at_once_and_the_rest_gets_its_turn(script, client):
    ids = list(range(1, IDS_PER_REQUEST + 6))
    script.answer(JobList(jobs=[info(job, JobState.RUNNING) for job in ids[:IDS_PER_REQUEST]]))
    script.answer(JobList(jobs=[info(job) for job in [*ids[IDS_PER_REQUEST:], *ids[: IDS_PER_REQUEST - 5]]]))
    script.answer(JobList(jobs=[info(job) for job in ids[IDS_PER_REQUEST - 5 : IDS_PER_REQUEST]]))
    ended = [job.id for job in client.ended(ids)]
    assert sorted(ended) == ids
    asked = [query["ids"].split(",") for query in queries(script)]
    assert [len(each) for each in asked] == [IDS_PER_REQUEST, IDS_PER_REQUEST, 5]
    assert asked[1][:6] == [str(job) for job in [*ids[IDS_PER_REQUEST:], 1]]


def test_only_results_ask_for_outputs(script, client):
    script.answer(JobList(jobs=[info(1)]))
    script.answer(JobList(jobs=[info(1, output=Content(text="out"))]))
    client.wait([1])
    assert client.result(1) == b"out"
    first, second = queries(script)
    assert "output" not in first
    assert second["output"] == "inline"


def test_a_quick_job_is_run_in_one_request(script, client):
    script.answer(JobCreated(id=Id(1), job=info(1, output=Content(text="out"))))
    assert client.run(7, b"in", wait_s=5, priority=3) == b"out"
    [query] = queries(script)
    assert (query["output"], float(query["wait"])) == ("inline", pytest.approx(5, abs=0.1))


def test_a_slow_job_is_waited_for_after_its_submission(script, client):
    script.answer(JobCreated(id=Id(1), job=info(1, JobState.RUNNING)))
    script.answer(JobList(jobs=[info(1, output=Content(text="late"))]))
    assert client.run(7) == b"late"


def test_a_job_that_fails_while_it_is_waited_for_is_an_error(script, client):
    error = JobError(kind=ErrorKind.TRAP, message="unreachable")
    script.answer(JobCreated(id=Id(1), job=info(1, JobState.FAILED, error=error)))
    with pytest.raises(JobFailed, match="unreachable"):
        client.run(7)


def test_a_poll_never_lasts_longer_than_the_time_that_is_left(script, client):
    script.answer(JobList(jobs=[info(1, JobState.RUNNING)]))
    script.answer(JobList(jobs=[info(1, JobState.RUNNING)]))
    now = iter([100.0] * 4 + [103.5] * 5 + [106.0] * 2)
    client.clock = lambda: next(now)
    with pytest.raises(StillRunning):
        client.wait([1], timeout_s=5)
    assert [float(query["timeout"]) for query in queries(script)] == [5.0, 1.5]


def test_a_server_that_answers_polls_at_once_is_not_flooded(script, client):
    script.answer(JobList(jobs=[info(1, JobState.RUNNING)]))
    script.answer(JobList(jobs=[info(1)]))
    began = client.clock()
    client.wait([1])
    assert client.clock() - began >= SHORTEST_POLL_S


def test_a_deadline_may_never_come():
    deadline = Deadline(None, lambda: 0.0)
    assert deadline.shorten(20) == 20
    assert not deadline.is_over()


def test_a_deadline_that_passed_leaves_no_time():
    now = [10.0]
    deadline = Deadline(5, lambda: now[0])
    assert deadline.shorten(20) == 5
    now[0] = 16.0
    assert deadline.shorten(20) == 0
    assert deadline.is_over()


def test_a_failure_tells_kind_and_message():
    error = failure(info(1, JobState.FAILED, error=JobError(kind=ErrorKind.TRAP, message="unreachable")))
    assert (type(error), error.kind, error.message) == (JobFailed, "trap", "unreachable")


def test_a_failure_without_a_reason_says_so():
    assert str(failure(info(7, JobState.FAILED))) == "job 7 failed (guest): the worker gave no reason"


def test_a_cancelled_job_is_its_own_kind_of_failure():
    assert isinstance(failure(info(1, JobState.CANCELLED)), JobCancelled)


def test_failure_tells_the_exit_code():
    error = JobError(kind=ErrorKind.GUEST, message="exit code 20")
    assert failure(info(7, JobState.FAILED, error=error, exit_code=20)).exit_code == 20
    assert failure(info(7, JobState.FAILED, error=error)).exit_code is None
