import asyncio
from concurrent.futures import ALL_COMPLETED, CancelledError, Executor, as_completed, wait

import pytest
from job_infos import info
from patience import LONG_S

from piecework.client import Client, JobCancelled, JobFailed, NotFound, ServerUnreachable
from piecework.protocol.ids import Id
from piecework.protocol.messages import Content, JobCreated, JobList
from piecework.protocol.states import JobState


@pytest.fixture
def shout(client, worker):
    return client.create_lambda(0, "test")


@pytest.fixture
def exotic(client):
    """A lambda that no worker can run."""
    return client.create_lambda(0, "exotic")


def test_a_lambda_is_an_executor(client, shout):
    assert isinstance(client.executor(shout), Executor)
    with client.executor(shout, tags=["near"]) as executor:
        futures = [executor.submit(word) for word in ("a", "b")]
        assert {future.result(LONG_S) for future in as_completed(futures, LONG_S)} == {b"A", b"B"}
        assert futures[0].job.info().tags == ["near"]
        assert list(executor.map(["x", "y", "z"])) == [b"X", b"Y", b"Z"]


def test_an_executor_runs_for_an_event_loop(client, shout):
    async def main():
        with client.executor(shout) as executor:
            return await asyncio.get_running_loop().run_in_executor(executor, "hello")

    assert asyncio.run(main()) == b"HELLO"


def test_what_a_job_failed_with_is_its_exception(client):
    failing = client.create_lambda(0, "test", args=["fail", "no luck"])
    with client.executor(failing, max_attempts=1) as executor:
        assert isinstance(executor.submit().exception(LONG_S), JobFailed)
        with pytest.raises(JobFailed, match="no luck"):
            list(executor.map([1, 2]))


def test_a_cancelled_future_cancels_its_job(client, exotic):
    with client.executor(exotic) as executor:
        future = executor.submit()
        assert future.cancel()
        assert future.cancel()
        assert future.job.status() is JobState.CANCELLED
        with pytest.raises(CancelledError):
            future.result(LONG_S)
        wait([future], LONG_S, ALL_COMPLETED)


def test_a_future_whose_job_has_ended_is_not_cancelled(client, shout):
    with client.executor(shout) as executor:
        future = executor.submit("a")
        assert future.job.wait().state is JobState.FINISHED
        assert not future.cancel()
        assert future.result(LONG_S) == b"A"


def test_a_job_that_somebody_else_cancels_is_a_failure(client, exotic):
    with client.executor(exotic) as executor:
        future = executor.submit()
        client.cancel(future.job)
        assert isinstance(future.exception(LONG_S), JobCancelled)


def test_mapping_cancels_what_has_not_ended_when_time_is_over(client, exotic):
    with client.executor(exotic) as executor:
        with pytest.raises(TimeoutError):
            list(executor.map([1, 2], timeout=0))
        assert [job.state for job in client.jobs(lambda_=exotic)] == [JobState.CANCELLED] * 2


def test_a_shutdown_takes_nothing_more_and_cancels_if_asked_to(client, shout, exotic):
    executor = client.executor(exotic)
    future = executor.submit()
    executor.shutdown(cancel_futures=True)
    assert future.cancelled()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.map([1])
    client.executor(shout).shutdown()


def test_a_submission_that_is_refused_is_raised_at_once(client):
    with client.executor("nobody-made-it") as executor, pytest.raises(NotFound):
        executor.submit()


def test_futures_fail_when_the_server_is_gone(script):
    script.answer(JobCreated(id=Id(1)))
    script.answer(hang_up=True)
    with Client(script.url, attempts=1) as client, client.executor(7) as executor:
        assert isinstance(executor.submit().exception(LONG_S), ServerUnreachable)


def test_the_same_job_twice_is_two_futures(script):
    script.answer(JobCreated(ids=[Id(1), Id(1)]))
    script.answer(JobList(jobs=[info(1, output=Content(text="once"))]))
    with Client(script.url) as client, client.executor(7) as executor:
        assert list(executor.map(["a", "a"])) == [b"once", b"once"]
