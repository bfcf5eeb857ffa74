"""A node that cannot prepare jobs takes none, says so, and looks whether it can again."""

import errno

import pytest
from fake_control_server import unreachable
from msgspec import UNSET

from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import JobError
from piecework.protocol.states import JobState
from piecework.worker_agent.errors import CacheError
from piecework.worker_agent.jobs.leases.fitness import FIRST_PAUSE_S, LONGEST_PAUSE_S, TELL_S

LARGE = b"x" * 40_000
FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def probe(agent):
    """What the node's disk says when it is looked at; a list with an error, or an empty one."""
    errors = []

    def look():
        if errors:
            raise errors[0]

    agent.parts.fitness._probe = look
    return errors


def step(agent):
    agent.parts.contracting.step()


def falter(agent, server, error=FULL):
    """Have the agent take a job that it cannot prepare; return the job."""
    server.fail_once("download", error)
    job = server.add_job(LARGE)
    step(agent)
    assert agent.lease_table.wait_until_idle(5)
    return job


def troubles(server):
    return [request.trouble for request in server.sent("contract") if request.trouble is not UNSET]


@pytest.mark.parametrize("error", [FULL, OSError(errno.EDQUOT, "Disk quota exceeded"), OSError(errno.EROFS, "no")])
def test_job_that_the_node_cannot_prepare_is_handed_back(agent, server, error):
    job = falter(agent, server, error)
    step(agent)
    [outcome] = server.jobs[job].accepted
    assert (outcome.state, outcome.error.kind) == (JobState.ENQUEUED, ErrorKind.WORKER)
    assert outcome.error.message.startswith("the worker could not prepare the job: ")
    assert server.jobs[job].attempts == 0


def test_node_in_trouble_asks_for_no_jobs(agent, server):
    falter(agent, server)
    for _ in range(3):
        step(agent)
    assert [request.max for request in server.sent("contract")[1:]] == [0, 0], "the word, and the outcome"
    assert len(server.sent("download")) == 1


def test_server_hears_of_the_trouble_before_the_job_comes_back(agent, server):
    falter(agent, server)
    step(agent)
    first, second = server.sent("contract")[-2:]
    assert "No space left on device" in first.trouble
    assert (first.outcomes, len(second.outcomes)) == ([], 1)


def test_server_hears_of_the_trouble_again_and_again(agent, server, clock, probe):
    falter(agent, server)
    probe.append(FULL)
    for _ in range(3):
        clock.forward(TELL_S)
        agent.parts.fitness.tick()
    assert len(troubles(server)) == 4


def test_server_that_is_away_does_not_keep_the_job(agent, server):
    real, asked = server.contract, []

    def contract(worker_id, message):
        asked.append(message)
        if message.trouble is not UNSET:
            raise unreachable()
        return real(worker_id, message)

    server.contract = contract
    job = falter(agent, server)
    step(agent)
    assert server.jobs[job].state is JobState.ENQUEUED


def test_node_that_is_well_again_takes_jobs(agent, server, clock, probe):
    falter(agent, server)
    probe.append(FULL)
    clock.forward(FIRST_PAUSE_S)
    agent.parts.fitness.tick()
    assert agent.parts.fitness.trouble
    probe.clear()
    clock.forward(LONGEST_PAUSE_S)
    agent.parts.fitness.tick()
    step(agent)
    assert agent.parts.executor.wait_for(1)
    assert server.sent("contract")[-1].trouble is UNSET


def test_trouble_and_its_end_are_logged_once(agent, server, clock, probe, log):
    falter(agent, server)
    probe.append(CacheError("full"))
    for _ in range(5):
        clock.forward(TELL_S)
        agent.parts.fitness.tick()
    probe.clear()
    clock.forward(LONGEST_PAUSE_S)
    agent.parts.fitness.tick()
    agent.parts.fitness.tick()
    told = [(entry["log_level"], entry["event"]) for entry in log if "prepare jobs" in entry["event"]]
    assert told == [("warning", "cannot prepare jobs, taking none"), ("info", "can prepare jobs again")]


def test_pauses_grow_while_trouble_comes_back(agent, server, clock, probe):
    pauses = []
    for _ in range(9):
        falter(agent, server)
        began = clock.now
        while agent.parts.fitness.trouble:
            clock.forward(1)
            agent.parts.fitness.tick()
        pauses.append(clock.now - began)
        server.jobs.clear()
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_pauses_are_short_again_after_a_good_while(agent, server, clock, probe):
    for pause_s in (1, 2):
        falter(agent, server)
        clock.forward(pause_s)
        agent.parts.fitness.tick()
        assert not agent.parts.fitness.trouble
        server.jobs.clear()
    clock.forward(LONGEST_PAUSE_S + 1)
    falter(agent, server)
    clock.forward(FIRST_PAUSE_S)
    agent.parts.fitness.tick()
    assert not agent.parts.fitness.trouble


def test_job_whose_output_cannot_be_kept_is_handed_back(agent, server):
    job = server.add_job(b"in")
    step(agent)
    executor = agent.parts.executor
    assert executor.wait_for(1)
    error = JobError(kind=ErrorKind.WORKER, message="the output could not be stored: No space left on device")
    executor.finish(job, error=error, unfit=True)
    assert agent.lease_table.wait_until_idle(5)
    step(agent)
    [outcome] = server.jobs[job].accepted
    assert (outcome.state, outcome.error) == (JobState.ENQUEUED, error)
    assert "could not be stored" in agent.parts.fitness.trouble


def test_held_blobs_that_nobody_needs_give_way_on_a_full_disk(agent, server):
    first = server.add_job(LARGE)
    step(agent)
    assert agent.parts.executor.wait_for(1)
    agent.parts.executor.finish(first)
    step(agent)
    server.fail_once("download", FULL)
    server.add_job(b"y" * 40_000)
    step(agent)
    assert agent.parts.executor.wait_for(1), "the first input has made room"
    assert not agent.parts.fitness.trouble
