"""From leased jobs to tasks: fetching, and what cannot be fetched."""

import threading
from pathlib import Path

import pytest
from fake_control_server import digest, not_a_server, unreachable
from lessons import teach
from patience import PATIENCE_S

from piecework.client import ApiError, Busy, Refused
from piecework.protocol.codes import ErrorKind
from piecework.protocol.ids import Id
from piecework.protocol.messages import Content, Grants, LeasedJob, LeasedLambda
from piecework.protocol.states import JobState
from piecework.worker_agent.jobs.work.inputs import Given, find_run_seed, write_task

LARGE = b"x" * 40_000


@pytest.fixture
def executor(agent):
    return agent.parts.executor


def step(agent):
    agent.parts.contracting.step()


def end_of(server, job):
    """Return the accepted outcome that a job without a run ended with."""
    (outcome,) = server.jobs[job].accepted
    return outcome


def run_to_end(agent, server, job):
    """Step until the server knows how the job ended."""
    step(agent)
    agent.lease_table.wait_until_idle(5)
    step(agent)
    return end_of(server, job)


def test_large_input_is_fetched_into_the_cache(agent, executor, server):
    server.add_job(LARGE)
    step(agent)
    assert executor.wait_for(1)
    (task,) = executor.tasks
    assert Path(task.task.input.path).read_bytes() == LARGE
    assert Path(task.task.codex).read_bytes() == b"code"
    assert task.task.checksum == digest(b"code")


def test_code_is_fetched_once_for_all_jobs_that_need_it(agent, executor, server):
    for _ in range(2):
        server.add_job(b"small")
    step(agent)
    assert executor.wait_for(2)
    for job in list(executor.jobs):
        executor.finish(job)
    server.add_job(b"later")
    step(agent)
    assert executor.wait_for(1)
    assert len(server.sent("download")) == 1


def test_jobs_are_run_in_the_order_of_the_contract(agent, executor, server):
    teach(agent.parts.prefetching, 0.001)
    jobs = [server.add_job(b"in") for _ in range(6)]
    step(agent)
    assert executor.wait_for(6)
    assert executor.jobs == jobs


def test_jobs_of_several_lambdas_get_each_their_code(agent, executor, server):
    for code in (b"one", b"two"):
        server.add_job(b"in", lambda_=server.add_lambda(code))
    step(agent)
    assert executor.wait_for(2)
    assert sorted(Path(task.task.codex).read_bytes() for task in executor.tasks) == [b"one", b"two"]


def test_job_that_is_lost_while_its_code_is_fetched_does_not_cost_the_others_theirs(agent, executor, server):
    jobs = [server.add_job(b"in") for _ in range(2)]
    real = server._read

    def read(id_):
        agent.lease_table.forget(agent.lease_table.open_refs()[0])
        server._read = real
        raise unreachable()

    server._read = read
    step(agent)
    assert executor.wait_for(1)
    assert executor.jobs == jobs[1:]


def test_job_without_input_reads_nothing(agent, executor, server):
    server.add_job()
    step(agent)
    assert executor.wait_for(1)
    assert executor.tasks[0].task.input == b""


def test_missing_input_ends_the_job_with_kind_input(agent, server):
    job = server.add_job(blob=Id(5))
    outcome = run_to_end(agent, server, job)
    assert (outcome.state, outcome.error.kind) == (JobState.FAILED, ErrorKind.INPUT)
    assert outcome.error.message == "the input 5 does not exist"


def test_missing_code_ends_the_job_with_kind_load(agent, server):
    lambda_ = server.add_lambda(codex=Id(5))
    outcome = run_to_end(agent, server, server.add_job(lambda_=lambda_))
    assert outcome.error.kind == ErrorKind.LOAD
    assert outcome.error.message == f"the codex 5 of lambda {lambda_} does not exist"


@pytest.mark.parametrize(("gone", "kind"), [("input", ErrorKind.INPUT), ("codex", ErrorKind.LOAD)])
def test_blob_that_is_deleted_before_it_is_fetched_ends_the_job(agent, server, gone, kind):
    job = server.add_job(LARGE)
    blob = server.jobs[job].input if gone == "input" else server.lambdas[server.jobs[job].lambda_]["codex"]
    real = server._read

    def read(id_):
        server.blobs.pop(blob, None)
        return real(id_)

    server._read = read
    assert run_to_end(agent, server, job).error.kind == kind


def test_server_that_is_away_is_asked_for_the_blob_again(agent, executor, server):
    server.add_job(LARGE)
    for error in (unreachable(), not_a_server(), Busy(503, 9, "away")):
        server.fail_once("download", error)
    step(agent)
    assert executor.wait_for(1)


def damage(server, blob, times):
    """Let the server send other bytes for a blob, some times."""
    left, real = [times], server._read

    def read(id_):
        data = real(id_)
        if id_ == blob and left[0]:
            left[0] -= 1
            return data[:-1] + b"!"
        return data

    server._read = read


def test_blob_that_arrives_damaged_is_fetched_again(agent, executor, server):
    job = server.add_job(LARGE)
    damage(server, server.jobs[job].input, times=2)
    step(agent)
    assert executor.wait_for(1)
    assert Path(executor.tasks[0].task.input.path).read_bytes() == LARGE


def test_blob_that_always_arrives_damaged_fails_the_attempt(agent, server):
    job = server.add_job(LARGE)
    damage(server, server.jobs[job].input, times=9)
    outcome = run_to_end(agent, server, job)
    assert outcome.error.kind == ErrorKind.WORKER
    assert "arrived damaged" in outcome.error.message


def test_blob_that_the_server_refuses_fails_the_attempt(agent, server):
    job = server.add_job(LARGE)
    server.fail_once("download", Refused(403, 5, "the token may not read"))
    outcome = run_to_end(agent, server, job)
    assert outcome.error.kind == ErrorKind.WORKER
    assert "the token may not read" in outcome.error.message


def test_blob_at_which_the_server_fails_again_and_again_fails_the_attempt(agent, server):
    job = server.add_job(LARGE)
    for _ in range(3):
        server.fail_once("download", ApiError(500, 1, "internal error"))
    outcome = run_to_end(agent, server, job)
    assert outcome.error.kind == ErrorKind.WORKER
    assert "internal error" in outcome.error.message


def test_full_disk_fails_the_attempt(agent, server, monkeypatch):
    job = server.add_job(LARGE)

    def download(*_args, **_more):
        raise OSError(28, "No space left on device")

    server.download = download
    outcome = run_to_end(agent, server, job)
    assert outcome.error.kind == ErrorKind.WORKER
    assert "No space left on device" in outcome.error.message


def test_lambda_missing_in_the_reply_fails_the_attempt(agent, server):
    job = server.add_job()
    real = server._describe
    server._describe = lambda _: real(server.add_lambda())
    assert run_to_end(agent, server, job).error.kind == ErrorKind.WORKER


def test_unreadable_inline_input_ends_the_job(agent, server):
    job = server.add_job(b"given")
    real = server._lease

    def lease(*args):
        leased = real(*args)
        leased.input = Content(base64_="*")
        return leased

    server._lease = lease
    outcome = run_to_end(agent, server, job)
    assert outcome.error.kind == ErrorKind.INPUT


def test_bug_while_preparing_hands_the_job_back_and_the_others_run(agent, executor, server, log):
    broken, sound = server.add_job(b"a"), server.add_job(b"b")
    real, executor.submit = executor.submit, lambda *tasks: real(*tasks) if tasks[0].job == sound else 1 / 0
    step(agent)
    assert executor.wait_for(1)
    executor.finish(sound)
    assert agent.lease_table.wait_until_idle(5)
    step(agent)
    assert end_of(server, sound).state is JobState.FINISHED
    assert end_of(server, broken).state is JobState.ENQUEUED
    assert "bug" in [line["event"] for line in log]


def test_bug_with_everything_at_hand_hands_the_job_back_too(agent, executor, server):
    first = server.add_job(b"a")
    step(agent)
    assert executor.wait_for(1)
    second = server.add_job(b"b")
    real, executor.submit = executor.submit, lambda _: 1 / 0
    step(agent)
    executor.submit = real
    executor.finish(first)
    assert agent.lease_table.wait_until_idle(5)
    step(agent)
    assert server.jobs[second].accepted[0].state is JobState.ENQUEUED


def test_job_cancelled_while_it_is_fetched_is_not_run(agent, executor, server):
    job = server.add_job(LARGE)
    fetching, go_on = threading.Event(), threading.Event()
    real = server.download

    def download(*args, **more):
        fetching.set()
        assert go_on.wait(PATIENCE_S)
        return real(*args, **more)

    server.download = download
    step(agent)
    assert fetching.wait(PATIENCE_S)
    server.cancel(job)
    agent.parts.pulse()
    go_on.set()
    agent.parts.fetchers.stop(5)
    assert executor.tasks == []
    assert agent.lease_table.open_refs() == []
    assert not agent.parts.fetcher._needs, "its blobs are let go"


@pytest.mark.parametrize("reason", ["lost", "cancelled"])
def test_job_that_is_stopped_just_when_it_is_submitted_does_not_run_on(agent, executor, server, reason):
    server.add_job(b"in")
    real = executor.submit

    def submit(task):
        (ref,) = agent.lease_table.open_refs()
        if reason == "lost":
            agent.parts.stopper.drop(ref)
        else:
            agent.parts.stopper.cancel(ref)
        real(task)

    executor.submit = submit
    step(agent)
    agent.parts.fetchers.stop(5)
    assert executor.tasks == []
    assert agent.lease_table.open_refs() == []


def test_job_lost_while_the_server_is_away_is_not_fetched_any_more(agent, server, executor):
    server.add_job(LARGE)
    fetching = threading.Event()
    release = threading.Event()

    def download(*_args, **_more):
        fetching.set()
        assert release.wait(PATIENCE_S)
        raise unreachable()

    server.download = download
    step(agent)
    assert fetching.wait(PATIENCE_S)
    agent.lease_table.forget(agent.lease_table.open_refs()[0])
    release.set()
    agent.parts.fetchers.stop(5)
    assert executor.tasks == []


def test_job_that_reaches_a_stopped_executor_is_handed_back(agent, server, executor):
    job = server.add_job()
    executor.stop(0)
    outcome = run_to_end(agent, server, job)
    assert outcome.state is JobState.ENQUEUED


def leased(**fields):
    return LeasedJob(
        **{
            "job": Id(1),
            "lease": "l",
            "lease_s": 15.0,
            "attempt": 1,
            "lambda_": Id(2),
            "input": Content(),
            **fields,
        }
    )


def described(**fields):
    return LeasedLambda(**{"id": Id(2), "runtime": "wasi", "codex": Id(3), "codex_checksum": "c", **fields})


def test_task_has_all_that_the_job_and_its_lambda_say(tmp_path):
    job = leased(args=["a"], env={"K": "V"}, attempt=2)
    lambda_ = described(runtime="wasi+x", grants=Grants(env=["HOME"]), mode="json")
    ref_job, lease, task, draft, replay = write_task(job, lambda_, tmp_path, Given(b"in"))
    assert (ref_job, lease, task.runtime) == (1, "l", "wasi+x")
    assert (task.args, task.env, task.grants, task.mode) == (("a",), {"K": "V"}, Grants(env=["HOME"]), "json")
    assert (task.codex, task.checksum, task.input) == (str(tmp_path), "c", b"in")
    assert (task.seed, draft, replay) == (None, None, None)


def test_seed_of_a_deterministic_run_depends_on_the_call_alone():
    seed = find_run_seed(leased(input_checksum="i", args=["a"]), described())
    assert seed == find_run_seed(leased(job=Id(9), attempt=3, input_checksum="i", args=["a"]), described(id=Id(8)))
    others = [
        find_run_seed(leased(input_checksum="j", args=["a"]), described()),
        find_run_seed(leased(input_checksum="i", args=["b"]), described()),
        find_run_seed(leased(input_checksum="i", args=["a"], env={"K": "V"}), described()),
        find_run_seed(leased(input_checksum="i", args=["a", "", "K", "V"]), described()),
        find_run_seed(leased(input_checksum="i", args=["a"]), described(codex_checksum="d")),
    ]
    assert seed not in others
    assert len(set(others)) == len(others)
