import copy
import json
import pickle
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from job_infos import info

import piecework
from piecework.client import Client, Job, JobCancelled, JobFailed, StillRunning
from piecework.protocol import bodies
from piecework.protocol.ids import Id
from piecework.protocol.messages import Content, JobList, JobSpec
from piecework.protocol.states import JobState


@pytest.fixture
def shout(client, worker):
    return client.create_lambda(0, "test")


@pytest.fixture
def exotic(client):
    """A lambda that no worker can run."""
    return client.create_lambda(0, "exotic")


def test_a_job_is_its_id_wherever_one_is_taken(client, shout):
    job = client.submit(shout, "hello")
    plain = Id(int(job))
    assert (job, hash(job), f"{job}", str(job), json.dumps(job)) == (
        plain, hash(plain), str(plain), str(plain), str(plain)
    )  # fmt: skip
    assert {plain: "found"}[job] == "found"
    assert (client.result(job), client.result(str(job)), client.wait([job])[0].id) == (b"HELLO", b"HELLO", plain)
    assert (repr(job), type(job.id), job.client is client) == (f"Job({plain})", Id, True)


def test_a_job_is_sent_and_pickled_as_its_id(client, shout):
    job = client.handle(7)
    spec = JobSpec(lambda_=job, input=None)
    for media_type in (bodies.JSON, bodies.MSGPACK):
        assert bodies.decode(bodies.encode(spec, media_type), JobSpec, media_type).lambda_ == "7"
    copied = pickle.loads(pickle.dumps(job))
    assert (type(copied), copied) == (Id, Id(7))
    assert copy.deepcopy([job]) == [Id(7)]
    assert msgspec.structs.replace(spec, lambda_=job).lambda_ == 7


def test_a_job_tells_how_it_stands_and_what_came_of_it(client, shout):
    job = client.submit(shout, "hello")
    assert job.result() == b"HELLO"
    assert (job.status(), job.wait().state, job.info().id) == (JobState.FINISHED, JobState.FINISHED, job)
    logged = client.submit(client.create_lambda(0, "test", args=["log", "line"]))
    assert "".join(logged.follow_log()) == "line"
    assert [each.text for each in logged.logs().logs] == ["line"]


def test_a_job_can_be_cancelled_and_waits_no_longer_than_it_is_told_to(client, exotic):
    job = client.submit(exotic)
    assert job.status() is JobState.ENQUEUED
    with pytest.raises(StillRunning):
        job.result(timeout_s=0)
    job.cancel()
    with pytest.raises(JobCancelled):
        job.result()


def test_what_one_job_produces_is_the_input_of_another(client, shout):
    first = client.submit(shout, "hello")
    suffixed = client.create_lambda(0, "test", args=["repeat", "2"])
    assert client.submit(suffixed, first).result() == b"HELLOHELLO"


def test_jobs_come_as_they_end_with_their_results(client, shout, exotic):
    never = client.submit(exotic)
    jobs = client.submit_many(shout, ["a", "b", "c"])
    assert all(type(job) is Job for job in jobs)
    found = {}
    ending = piecework.as_completed([never, *jobs])
    for _ in jobs:
        job = next(ending)
        found[job] = job.result()
    assert [found[job] for job in jobs] == [b"A", b"B", b"C"]
    never.cancel()
    with pytest.raises(JobCancelled):
        next(ending).result()
    assert list(ending) == []


def test_a_job_that_came_as_ended_asks_for_nothing_more(script):
    script.answer(JobList(jobs=[info(1, output=Content(text="one")), info(2, output=Content(text="two"))]))
    with Client(script.url) as client:
        given = [client.handle(1), client.handle(2)]
        ended = list(piecework.as_completed(given))
        assert [job.result() for job in ended] == [b"one", b"two"]
        assert [job.wait().state for job in ended] == [JobState.FINISHED] * 2
        [query] = [parse_qs(urlsplit(seen.path).query) for seen in script.seen]
    assert query["ids"] == ["1,2"]
    assert [job._end for job in given] == [None, None]  # what was given holds no output


def test_outputs_are_gathered_in_the_order_given(client, shout):
    jobs = client.submit_many(shout, ["a", "b", "c"])
    assert piecework.gather([*reversed(jobs), jobs[0]]) == [b"C", b"B", b"A", b"A"]
    assert client.gather([int(job) for job in jobs]) == [b"A", b"B", b"C"]
    assert (piecework.gather([]), list(piecework.as_completed([]))) == ([], [])


def test_gathering_ends_with_the_first_failure(client, shout, exotic):
    failing = client.submit(client.create_lambda(0, "test", args=["fail", "no luck"]), max_attempts=1)
    with pytest.raises(JobFailed, match="no luck"):
        piecework.gather([client.submit(shout, "a"), client.submit(exotic), failing])
    with pytest.raises(StillRunning):
        piecework.gather([client.submit(exotic)], timeout_s=0)


def test_jobs_of_two_servers_are_not_waited_for_together(client):
    with Client("http://127.0.0.1:1") as other:
        jobs = [client.handle(1), other.handle(1)]
        with pytest.raises(ValueError, match="several servers"):
            piecework.gather(jobs)
        with pytest.raises(ValueError, match="several servers"):
            piecework.as_completed(jobs)
