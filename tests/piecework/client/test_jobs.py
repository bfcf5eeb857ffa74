from pathlib import Path

import pytest

from piecework.client import Client, Conflict, Invalid, JobCancelled, JobFailed, NotFound, StillRunning
from piecework.client.queue.jobs import jobs as jobs_module
from piecework.client.queue.jobs.inputs import INLINE_BYTES
from piecework.protocol import bodies
from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    Backoff,
    Content,
    JobCreated,
    JobSubmit,
    JobUpdate,
    LambdaCreate,
    Limits,
    WorkerRegister,
)
from piecework.protocol.states import JobState

ECHO = Path(__file__).parents[3] / "samples" / "echo.wasm"


@pytest.fixture
def lambda_id(client):
    return client.create_lambda(0, "test")


def test_the_servers_version_and_pulse_are_read(client):
    assert client.ping()
    assert client.version()


def test_a_lambda_is_created_from_bytes_a_file_an_upload_or_an_id(client, tmp_path):
    path = tmp_path / "code"
    path.write_bytes(b"code")
    uploaded = client.upload(b"code")
    for codex in (b"code", path, uploaded, uploaded.id, str(uploaded.id)):
        assert client.lambda_(client.create_lambda(codex, "test")).codex_checksum == uploaded.checksum


def test_a_lambda_keeps_what_it_was_created_with(client):
    created = client.create_lambda(
        0, "test", name="mine", args=["-v"], env={"A": "1"}, tags=["+gpu"], limits=Limits(timeout_s=5)
    )
    info = client.lambda_(created)
    assert (info.name, info.args, info.env, info.tags, info.limits) == (
        "mine",
        ["-v"],
        {"A": "1"},
        ["+gpu"],
        Limits(timeout_s=5),
    )
    same = client.create_lambda(LambdaCreate(codex=Id(0), runtime="test", name="mine-too"))
    assert [info.name for info in client.lambdas(limit=2)] == ["mine-too", "mine"]
    assert same in {info.id for info in client.lambdas()}


def test_a_lambda_that_is_there_is_reused_without_an_upload(client, tmp_path, monkeypatch):
    code = ECHO.read_bytes() + b"\0\2\1x"  # with a section that nobody reads
    (tmp_path / "echo.wasm").write_bytes(code)
    first = client.create_lambda(code, name="mine", reuse=True)
    monkeypatch.setattr(type(client), "upload", None)
    assert client.create_lambda(code, name="mine", reuse=True) == first
    assert client.create_lambda(tmp_path / "echo.wasm", name="mine", reuse=True) == first
    assert client.create_lambda(tmp_path / "echo.wasm", "wasi", name="mine", reuse=True) == first
    other = client.create_lambda(code, name="other", reuse=True)
    assert client.lambda_("other").codex == client.lambda_("mine").codex
    assert other != first


def test_code_that_cannot_run_is_refused(client):
    with pytest.raises(Invalid) as caught:
        client.create_lambda(b"this is not wasm", "wasi")
    assert caught.value.code == 702


@pytest.mark.parametrize(
    ("given", "output"),
    [
        (None, b""),
        (b"bytes", b"BYTES"),
        (bytearray(b"more"), b"MORE"),
        ("grüße", "grüße".encode().upper()),
        ({"a": [1, None]}, b'{"A":[1,NULL]}'),
        (17, b"17"),
        (Content(text="content"), b"CONTENT"),
        (b"x" * (INLINE_BYTES + 1), b"X" * (INLINE_BYTES + 1)),
    ],
)
def test_a_job_takes_its_input_in_many_forms(client, worker, lambda_id, given, output):
    assert client.result(client.submit(lambda_id, given), 10) == output


@pytest.mark.parametrize("size", [5, INLINE_BYTES + 5])
def test_a_job_takes_a_file_or_a_blob_as_input(client, worker, lambda_id, tmp_path, size):
    path = tmp_path / "input"
    path.write_bytes(b"a" * size)
    uploaded = client.upload(path)
    for given in (path, uploaded, uploaded.id):
        assert client.result(client.submit(lambda_id, given), 10) == b"A" * size


def test_options_of_a_job_reach_it(client, lambda_id):
    job = client.submit(
        lambda_id,
        b"x",
        priority=7,
        tags=["+gpu"],
        max_attempts=5,
        key="once",
        backoff=Backoff(kind="none"),
        delay_s=60,
    )
    info = client.job(job)
    assert (info.state, info.priority, info.tags, info.max_attempts, info.key) == (
        JobState.WAITING,
        7,
        ["+gpu"],
        5,
        "once",
    )


def test_the_same_key_gives_the_same_job_and_other_content_is_refused(client, lambda_id):
    job = client.submit(lambda_id, b"x", key="twice")
    assert client.submit(lambda_id, b"x", key="twice") == job
    with pytest.raises(Conflict) as caught:
        client.submit(lambda_id, b"y", key="twice")
    assert caught.value.code == 903


def test_jobs_without_a_key_are_different_jobs(client, lambda_id):
    assert client.submit(lambda_id, b"x") != client.submit(lambda_id, b"x")


def test_many_jobs_are_submitted_in_bodies_of_bounded_size(client, worker, lambda_id, monkeypatch):
    monkeypatch.setattr(jobs_module, "JOBS_PER_BODY", 10)
    ids = client.submit_many(lambda_id, (str(number) for number in range(25)))
    assert len(set(ids)) == 25
    results = dict(client.results(ids, 10))
    assert [results[job].read() for job in ids] == [str(number).encode() for number in range(25)]


def test_bodies_are_bounded_in_bytes_too(client, lambda_id, monkeypatch):
    monkeypatch.setattr(jobs_module, "BYTES_PER_BODY", 100)
    sizes = []
    post = client.core._post_jobs
    monkeypatch.setattr(client.core, "_post_jobs", lambda submit: sizes.append(len(submit.jobs)) or post(submit))
    client.submit_many(lambda_id, [b"x" * 40] * 5 + [b"y" * 200] + [client.upload(b"z")] * 2)
    assert sizes == [2, 2, 1, 1, 2]


def test_submitting_none_makes_no_request(client, lambda_id):
    assert client.submit_many(lambda_id, []) == []


def test_a_key_of_many_jobs_is_made_unique_by_position_and_repeats_safely(client, lambda_id):
    ids = client.submit_many(lambda_id, ["a", "b"], key="batch")
    assert [client.job(job).key for job in ids] == ["batch-0", "batch-1"]
    assert client.submit_many(lambda_id, ["a", "b"], key="batch") == ids


def test_a_submission_whose_answer_was_lost_is_repeated_with_its_key(script):
    script.answer(hang_up=True)
    script.answer(JobCreated(id=Id(9)))
    with Client(script.url) as client:
        assert client.submit(3, b"x") == 9
    first, second = (bodies.decode(seen.body, JobSubmit, bodies.MSGPACK) for seen in script.seen)
    assert first.key == second.key
    assert len(first.key) >= 20


def test_a_failed_job_raises_its_kind_and_message(client, worker, lambda_id):
    job = client.submit(lambda_id, args=["fail", "out of luck"], max_attempts=1)
    with pytest.raises(JobFailed, match=rf"job {job} failed \(guest\): out of luck") as caught:
        client.result(job, 10)
    assert (caught.value.job, caught.value.kind, caught.value.message) == (job, "guest", "out of luck")


def test_a_cancelled_job_has_no_result(client, lambda_id):
    job = client.submit(lambda_id, delay_s=60)
    assert "Cancelled" in client.cancel(job)
    with pytest.raises(JobCancelled, match="cancelled"):
        client.result(job, 10)
    assert "Cancelled" in client.cancel(job)


def test_a_failure_in_a_stream_does_not_end_it(client, worker, lambda_id):
    good, bad = client.submit(lambda_id, "ok"), client.submit(lambda_id, args=["fail", "no"], max_attempts=1)
    results = dict(client.results([good, bad], 10))
    assert results[good].ok
    assert results[good].read() == b"OK"
    assert not results[bad].ok
    with pytest.raises(JobFailed, match="no"):
        results[bad].read()


def test_a_large_output_is_fetched_by_its_blob(client, worker, lambda_id):
    job = client.submit(lambda_id, b"ab", args=["repeat", str(700_000)])
    [(_, result)] = client.results([job], 10)
    assert not result.info.output.is_inline
    assert result.read() == b"ab" * 700_000
    assert result.without_output().output == Content(id=result.info.output.id)


def test_wait_gives_the_jobs_in_the_order_asked_for(client, worker, lambda_id):
    ids = client.submit_many(lambda_id, ["a", "b", "c"])
    wanted = [ids[2], ids[0], ids[1], ids[0]]
    found = client.wait([str(job) for job in wanted], 10)
    assert [info.id for info in found] == wanted
    assert {info.state for info in found} == {JobState.FINISHED}


@pytest.mark.slow
def test_waiting_ends_with_the_jobs_that_still_run(client, worker, lambda_id):
    quick, slow = client.submit(lambda_id, "a"), client.submit(lambda_id, "b", delay_s=60)
    client.wait([quick], 10)
    with pytest.raises(StillRunning, match="1 job has not ended") as caught:
        client.wait([quick, slow], 0.05)
    assert caught.value.unfinished == [slow]
    with pytest.raises(TimeoutError, match="2 jobs have not ended"):
        client.wait([slow, client.submit(lambda_id, delay_s=60)], 0)


def test_an_unknown_job_is_not_waited_for(client):
    with pytest.raises(NotFound) as caught:
        client.wait([17])
    assert caught.value.code == 901


def test_nothing_to_wait_for_is_over_at_once(client):
    assert client.wait([]) == []
    assert list(client.results([])) == []


def test_jobs_are_listed_newest_first_by_state_lambda_and_tag(client, lambda_id, monkeypatch):
    monkeypatch.setattr("piecework.client.calls.PAGE_ITEMS", 2)
    ids = client.submit_many(lambda_id, "abcde", tags=["here"])
    odd = client.submit(lambda_id, delay_s=60)
    assert [info.id for info in client.jobs(lambda_=lambda_id)] == [odd, *reversed(ids)]
    assert [info.id for info in client.jobs(lambda_=lambda_id, limit=3)] == [odd, *reversed(ids[3:])]
    assert [info.id for info in client.jobs(lambda_=lambda_id, state="waiting")] == [odd]
    assert [info.id for info in client.jobs(lambda_=lambda_id, tag="here")] == list(reversed(ids))


def test_a_job_can_be_paused_and_resumed(client, worker, lambda_id):
    job = client.submit(lambda_id, "x", status="paused")
    assert client.job(job).state is JobState.PAUSED
    assert client.update_job(job, JobUpdate(status="resumed"))
    assert client.result(job, 10) == b"X"


def test_a_job_that_no_worker_can_run_comes_with_advice(client, worker):
    job = client.submit(client.create_lambda(0, "exotic"))
    assert "exotic" in client.job(job).advice


def test_the_trace_tells_a_jobs_life(client, worker, lambda_id):
    job = client.submit(lambda_id, "x")
    client.wait([job], 10)
    assert [event.state for event in client.trace(job)] == [JobState.ENQUEUED, JobState.RUNNING, JobState.FINISHED]


def test_a_log_is_read_from_a_byte_on_and_followed_to_its_end(client, worker, lambda_id):
    job = client.submit(lambda_id, args=["log", "first\nsecond\n"])
    assert "".join(client.follow_log(job)) == "first\nsecond\n"
    part = client.log(job, 6)
    assert (part.text, part.next, part.state) == ("second\n", 13, JobState.FINISHED)


def test_workers_are_listed_shown_drained_and_retired(client, worker):
    assert worker.id in {info.id for info in client.workers()}
    assert client.worker(worker.id).name == "shouter"
    other = client.register(WorkerRegister(runtime=["test"])).id
    assert client.drain_worker(other)
    assert client.worker(other).state == "draining"
    assert client.retire_worker(other)
    assert other not in {info.id for info in client.workers()}
