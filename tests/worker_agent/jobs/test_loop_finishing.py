"""From results to outcomes, with large outputs uploaded first."""

import threading

import pytest
from fake_control_server import not_a_server, unreachable
from hand_executor import result
from patience import PATIENCE_S, until

from piecework.client import Busy, Refused, TooLarge
from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import Content, JobError
from piecework.protocol.states import JobState

LARGE = b"y" * 40_000


@pytest.fixture
def executor(agent):
    return agent.parts.executor


@pytest.fixture
def job(agent, executor, server):
    """A job that runs."""
    job = server.add_job(b"in")
    agent.parts.contracting.step()
    assert executor.wait_for(1)
    return job


def outcome_of(agent, server, job):
    """Wait for the job's end and hand it in; return the accepted outcome."""
    assert agent.lease_table.wait_until_idle(5)
    agent.parts.contracting.step()
    return server.jobs[job].accepted[0]


def scratch_file(tmp_path, data):
    path = tmp_path / "output"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)), b"z" * 32768])
def test_small_output_travels_inside_the_outcome(agent, executor, server, job, data):
    executor.finish(job, data)
    outcome = outcome_of(agent, server, job)
    assert isinstance(outcome.output, Content)
    assert outcome.output.read() == data
    assert server.sent("upload") == []


@pytest.mark.parametrize("as_file", [True, False])
def test_large_output_is_uploaded_first(agent, executor, server, job, tmp_path, as_file):
    path = scratch_file(tmp_path, LARGE)
    executor.finish(job, path if as_file else LARGE)
    outcome = outcome_of(agent, server, job)
    assert server.blobs[int(outcome.output)] == LARGE
    agent.parts.uploaders.stop(5)
    assert path.exists() != as_file


def test_file_with_a_small_output_travels_inside_too(agent, executor, server, job, tmp_path):
    path = scratch_file(tmp_path, b"small")
    executor.finish(job, path)
    assert outcome_of(agent, server, job).output.read() == b"small"
    agent.parts.uploaders.stop(5)
    assert not path.exists()


def test_upload_is_repeated_while_the_server_is_away(agent, executor, server, job):
    for error in (unreachable(), not_a_server(), Busy(503, 8, "the disk is full")):
        server.fail_once("upload", error)
    executor.finish(job, LARGE)
    assert server.output(outcome_of(agent, server, job).job) == LARGE
    assert len(server.sent("upload")) == 4


def test_output_too_large_for_the_server_fails_the_job_with_kind_output(agent, executor, server, job):
    server.fail_once("upload", TooLarge(413, 6, "at most 1 MB"))
    executor.finish(job, LARGE)
    outcome = outcome_of(agent, server, job)
    assert (outcome.state, outcome.error.kind) == (JobState.FAILED, ErrorKind.OUTPUT)
    assert "at most 1 MB" in outcome.error.message


def test_refused_upload_fails_the_attempt(agent, executor, server, job):
    server.fail_once("upload", Refused(403, 5, "the token may not upload"))
    executor.finish(job, LARGE)
    assert outcome_of(agent, server, job).error.kind == ErrorKind.WORKER


def test_output_file_that_cannot_be_read_fails_the_attempt(agent, executor, server, job, tmp_path):
    executor.finish(job, tmp_path / "missing")
    outcome = outcome_of(agent, server, job)
    assert outcome.error.kind == ErrorKind.WORKER
    assert "cannot be read" in outcome.error.message


def test_guest_failure_is_data(agent, executor, server, job, log):
    executor.fail(job, ErrorKind.TRAP, "unreachable executed")
    outcome = outcome_of(agent, server, job)
    assert (outcome.state, outcome.error.kind) == (JobState.FAILED, ErrorKind.TRAP)
    assert outcome.error.message == "unreachable executed"
    assert outcome.output is None
    assert ("failed", "trap") in [(line["event"], line.get("kind")) for line in log]


def end_badly(executor, job, output):
    error = JobError(kind=ErrorKind.GUEST, message="exit code 20")
    executor._end(executor._find(job), result(output=output, error=error, exit_code=20))


@pytest.mark.parametrize("data", [b"unsat", LARGE])
def test_output_of_a_failed_job_comes_along(agent, executor, server, job, tmp_path, data):
    path = scratch_file(tmp_path, data)
    end_badly(executor, job, path)
    outcome = outcome_of(agent, server, job)
    assert (outcome.state, outcome.exit_code) == (JobState.FAILED, 20)
    found = outcome.output.read() if data != LARGE else server.blobs[int(outcome.output)]
    assert found == data
    agent.parts.uploaders.stop(5)
    assert not path.exists()


@pytest.mark.parametrize("error", [TooLarge(413, 6, "at most 1 MB"), Refused(403, 5, "no")])
def test_job_fails_as_it_did_without_its_output(agent, executor, server, job, error):
    server.fail_once("upload", error)
    end_badly(executor, job, LARGE)
    outcome = outcome_of(agent, server, job)
    assert (outcome.output, outcome.error.message) == (None, "exit code 20")


def test_failed_output_that_cannot_be_read_is_left_out(agent, executor, server, job, tmp_path):
    end_badly(executor, job, tmp_path / "missing")
    outcome = outcome_of(agent, server, job)
    assert (outcome.output, outcome.error.message) == (None, "exit code 20")


def test_task_that_was_stopped_though_nobody_asked_is_handed_back(agent, executor, server, job):
    executor.cancel(job, executor.tasks[0].lease)
    outcome = outcome_of(agent, server, job)
    assert (outcome.state, outcome.usage.wall_s) == (JobState.ENQUEUED, None)


def test_node_that_cannot_run_guests_holds_one_job_at_a_time_until_one_has_run(agent, executor, server, job):
    executor.fail(job, ErrorKind.WORKER, "the worker cannot start a guest process")
    for _ in range(3):
        server.add_job(b"in")
    agent.parts.contracting.step()
    assert server.sent("contract")[-1].max == 1
    assert executor.wait_for(1)
    executor.finish(executor.jobs[0])
    agent.parts.contracting.step()
    assert server.sent("contract")[-1].max >= 2


def test_bug_with_a_result_hands_the_job_back(agent, executor, server, job, log):
    agent.parts.prefetching.observe = lambda _ref, _wall_s: 1 / 0
    executor.finish(job)
    assert outcome_of(agent, server, job).state is JobState.ENQUEUED
    assert "bug" in [line["event"] for line in log]


def test_bug_with_one_of_several_results_costs_no_other(agent, executor, server, job):
    other = server.add_job(b"in")
    agent.parts.contracting.step()
    assert executor.wait_for(2)
    bugs = [1]
    agent.parts.prefetching.observe = lambda *_: bugs and bugs.pop() / 0
    executor.on_done([(task, result()) for task in executor.tasks])
    assert agent.lease_table.wait_until_idle(5)
    agent.parts.contracting.step()
    assert {server.jobs[each].accepted[0].state for each in (job, other)} == {JobState.ENQUEUED, JobState.FINISHED}


def test_upload_of_a_lost_job_ends_and_its_file_is_removed(agent, executor, server, job, tmp_path):
    path = scratch_file(tmp_path, LARGE)
    uploading, go_on = threading.Event(), threading.Event()

    def upload(_source):
        uploading.set()
        assert go_on.wait(PATIENCE_S)
        raise unreachable()

    server.upload = upload
    executor.finish(job, path)
    assert uploading.wait(PATIENCE_S)
    agent.lease_table.forget(agent.lease_table.open_refs()[0])
    go_on.set()
    agent.parts.uploaders.stop(5)
    assert not path.exists()
    assert agent.lease_table.refs() == []


def test_job_lines_are_summed_up_when_there_are_many(agent, executor, server, log):
    executor.instant = True
    log.clear()
    for _ in range(40):
        server.add_job(b"in")
        agent.parts.contracting.step()
        assert agent.lease_table.wait_until_idle(5)
    agent.parts.contracting.step()
    assert len(log) <= 20

    def told(what):
        agent.parts.job_logger.tick()
        return sum(line.get(what, line["event"] == what) for line in log)

    until(lambda: told("finished") == 40)  # the last ends are noted when its leases are gone already
    assert told("contracted") == 40
    assert log[-1]["event"] == "more jobs"
    lines = len(log)
    agent.parts.job_logger.tick()
    assert len(log) == lines, "a quiet second says nothing"
