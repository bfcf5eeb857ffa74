"""Jobs that would have to wait in the agent go back to the server, and do not come again at once."""

import pytest
from lessons import teach

from piecework.protocol.states import JobState
from piecework.worker_agent.jobs.leases.prefetching import STUCK_S


@pytest.fixture
def executor(agent):
    return agent.parts.executor


def look(agent):
    agent.parts.hand_back_watch.step()


def step(agent):
    agent.parts.contracting.step()


@pytest.fixture
def jobs(agent, server):
    """Six jobs of a lambda that was quick until now; two of them run."""
    lambda_ = server.add_lambda()
    teach(agent.parts.prefetching, 0.001, lambda_=int(lambda_))
    jobs = [server.add_job(b"in", lambda_=lambda_) for _ in range(6)]
    step(agent)
    assert agent.parts.executor.wait_for(6)
    look(agent)
    return jobs


def test_jobs_stuck_behind_long_ones_are_handed_back(agent, executor, server, clock, jobs, log):
    clock.forward(STUCK_S * 0.9)
    look(agent)
    assert executor.jobs == jobs
    clock.forward(STUCK_S * 0.2)
    look(agent)
    assert executor.jobs == jobs[:2]
    step(agent)
    assert server.states() == [JobState.RUNNING] * 2 + [JobState.ENQUEUED] * 4
    assert [server.jobs[job].attempts for job in jobs] == [1, 1, 0, 0, 0, 0]
    assert [line["jobs"] for line in log if line["event"] == "handed back jobs that had to wait"] == [4]


def test_agent_does_not_lease_again_what_it_handed_back_until_a_job_has_ended(
    agent, executor, server, clock, jobs
):
    clock.forward(STUCK_S)
    look(agent)
    step(agent)
    assert server.sent("contract")[-1].max == 0
    step(agent)
    assert executor.jobs == jobs[:2]
    executor.finish(jobs[0], wall_s=1.0)
    step(agent)
    assert server.sent("contract")[-1].max >= 1
    assert executor.wait_for(1 + server.sent("contract")[-1].max)
    assert executor.jobs[:2] == jobs[1:3], "those that were handed back come first"


def test_jobs_that_turn_out_to_be_longer_go_back_but_for_as_many_as_should_be_held(make_agent, server, log):
    agent = make_agent(slots=1, prefetch=200)
    assert agent.join()
    agent.parts.start_crews()
    executor = agent.parts.executor
    executor.slots = 1
    lambda_ = server.add_lambda()
    teach(agent.parts.prefetching, 0.0001)
    for _ in range(100):
        server.add_job(b"in", lambda_=lambda_)
    teach(agent.parts.prefetching, 0.0001)
    agent.lease_table._asked_at = -1
    step(agent)
    assert executor.wait_for(4), "a few only, after a pause"
    executor.finish(executor.jobs[0], wall_s=0.0001)
    step(agent)
    held = len(executor.jobs)
    assert held > 50
    for _ in range(30):
        executor.finish(executor.jobs[0], wall_s=0.03)
    order = executor.jobs
    look(agent)
    kept = len(executor.jobs)
    assert 1 < kept < 10
    assert executor.jobs == order[:kept]
    step(agent)
    assert server.states().count(JobState.ENQUEUED) == 100 - 31 - kept
    agent.shared.stop.set()
    agent.parts.fetchers.stop(5)
    agent.parts.uploaders.stop(5)


def test_jobs_that_wait_for_a_guest_process_to_start_are_kept(agent, executor, clock, jobs):
    executor.slots = 0
    for _ in range(3):
        clock.forward(STUCK_S)
        look(agent)
    assert executor.jobs == jobs


def test_jobs_that_move_on_are_kept(agent, executor, clock, jobs):
    for _ in range(4):
        clock.forward(STUCK_S * 0.9)
        executor.finish(executor.jobs[0], wall_s=0.001)
        look(agent)
    assert executor.jobs == jobs[4:]


def test_job_that_is_cancelled_while_it_is_given_to_the_executor_again_is_stopped(agent, executor, jobs):
    held = {ref.job: ref for ref in agent.lease_table.open_refs()}
    take_back = executor.take_back

    def take_back_slowly():
        taken = take_back()
        agent.parts.stopper.cancel(held[jobs[2]])
        agent.parts.stopper.drop(held[jobs[3]])
        return taken

    executor.take_back = take_back_slowly
    assert agent.parts.stopper.hand_back_waiting(keep=3) == 1
    assert executor.jobs == [jobs[0], jobs[1], jobs[4]]
    step(agent)


def test_executor_that_has_stopped_meanwhile_costs_no_job(agent, executor, server, jobs):
    take_back = executor.take_back

    def take_back_last():
        taken = take_back()
        executor.stop(0.0)
        return taken

    executor.take_back = take_back_last
    agent.parts.stopper.hand_back_waiting(keep=4)
    assert agent.lease_table.open_refs() == []
