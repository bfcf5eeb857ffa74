"""Heartbeats, and what the agent does about what it learns from them."""

import pytest
from fake_control_server import unreachable
from hand_executor import result

from piecework.client import Invalid
from piecework.protocol.states import JobState
from piecework.worker_agent.jobs.loops.heartbeat import UNSENT_LOG_BYTES


@pytest.fixture
def executor(agent):
    return agent.parts.executor


def contract(agent, server, count=1):
    jobs = [server.add_job(b"in") for _ in range(count)]
    agent.parts.contracting.step()
    assert agent.parts.executor.wait_for(count)
    return jobs


def beat(agent, clock):
    """Let the time of the next heartbeat come."""
    clock.forward(5.1)
    agent.parts.pulse()


def test_no_heartbeat_while_nothing_is_held(agent, server, clock):
    beat(agent, clock)
    assert server.sent("heartbeat") == []


def test_all_leases_are_renewed_until_their_outcomes_are_acked(agent, executor, server, clock):
    jobs = contract(agent, server, 2)
    executor.finish(jobs[0])
    beat(agent, clock)
    (sent,) = server.sent("heartbeat")
    assert sorted(ref.job for ref in sent.leases) == jobs
    assert sent.incarnation == "first"
    agent.parts.contracting.step()
    beat(agent, clock)
    assert [ref.job for ref in server.sent("heartbeat")[-1].leases] == jobs[1:]


def test_leases_are_renewed_long_before_they_end(agent, server, clock):
    contract(agent, server)
    for _ in range(60):
        clock.forward(1)
        agent.parts.pulse()
    assert server.states() == [JobState.RUNNING]
    assert len(server.sent("heartbeat")) == pytest.approx(12, abs=1)


def test_short_leases_are_renewed_more_often(agent, server, clock):
    server.lease_s = 1.5
    contract(agent, server)
    assert agent.parts.heartbeat.tick_s <= 0.5
    for _ in range(10):
        clock.forward(0.5)
        agent.parts.pulse()
    assert server.states() == [JobState.RUNNING]


def test_the_pause_ends_when_a_heartbeat_is_due(make_agent, server, clock):
    agent = make_agent(idle_s=1.0)
    agent.join()
    server.add_job(b"in")
    agent.parts.contracting.step()
    beat(agent, clock)
    assert agent.parts.heartbeat.tick_s == 1.0
    agent.parts.heartbeat.note_lease(2.4)
    clock.forward(0.7)
    assert agent.parts.heartbeat.tick_s == pytest.approx(0.1)


def test_short_lease_does_not_wait_for_the_heartbeat_that_was_planned_before_it(agent, server, clock):
    contract(agent, server)
    beat(agent, clock)
    agent.parts.heartbeat.note_lease(4.5)
    clock.forward(1.6)
    agent.parts.pulse()
    assert len(server.sent("heartbeat")) == 2


def test_log_goes_with_the_next_tick(agent, executor, server, clock):
    (job,) = contract(agent, server)
    beat(agent, clock)
    executor.log(job, b"half way\n")
    clock.forward(0.5)
    agent.parts.pulse()
    assert server.jobs[job].log == b"half way\n"
    beat(agent, clock)
    assert server.jobs[job].log == b"half way\n", "it is sent once"


def test_log_of_a_failed_heartbeat_goes_with_the_next(agent, executor, server, clock):
    (job,) = contract(agent, server)
    executor.log(job, b"one ")
    server.away = True
    beat(agent, clock)
    executor.log(job, b"two")
    server.away = False
    beat(agent, clock)
    assert server.jobs[job].log == b"one two"


def test_log_kept_for_later_is_bounded_and_the_newest(agent, executor, server, clock):
    server.lease_s = 60.0
    (job,) = contract(agent, server)
    server.away = True
    for number in range(5):
        executor.log(job, bytes([number]) * (UNSENT_LOG_BYTES // 2))
        beat(agent, clock)
    server.away = False
    beat(agent, clock)
    assert set(server.jobs[job].log) == {3, 4}


def test_log_that_the_server_cannot_take_is_not_sent_again(agent, executor, server, clock):
    (job,) = contract(agent, server)
    executor.log(job, b"strange")
    server.fail_once("heartbeat", Invalid(422, 3, "a field is wrong"))
    beat(agent, clock)
    beat(agent, clock)
    assert server.jobs[job].log == b""
    assert server.sent("heartbeat")[-1].logs == []


def test_log_of_a_job_that_has_ended_is_dropped(agent, executor, server, clock):
    (job,) = contract(agent, server)
    executor.log(job, b"last words")
    executor.finish(job)
    agent.parts.contracting.step()
    beat(agent, clock)
    assert server.sent("heartbeat") == []


def test_cancelled_job_is_stopped_and_reported_as_cancelled(agent, executor, server, clock):
    (job,) = contract(agent, server)
    server.cancel(job)
    beat(agent, clock)
    assert executor.tasks == []
    agent.parts.contracting.step()
    (outcome,) = server.sent("contract")[-1].outcomes
    assert (outcome.job, outcome.state) == (job, JobState.CANCELLED)
    assert agent.lease_table.refs() == []


def test_job_that_ends_well_just_when_it_is_cancelled_reports_its_end(agent, executor, server, clock):
    (job,) = contract(agent, server)
    executor.stubborn = True
    server.cancel(job)
    beat(agent, clock)
    executor.finish(job, b"done")
    agent.parts.contracting.step()
    assert [outcome.state for outcome in server.sent("contract")[-1].outcomes] == [JobState.FINISHED]


def test_job_whose_end_is_on_its_way_is_not_stopped_again(agent, executor, server, clock, log):
    (job,) = contract(agent, server)
    server.cancel(job)
    beat(agent, clock)
    assert agent.lease_table.next_contract(agent.parts.prefetching.demand, 0.0).outcomes
    beat(agent, clock)
    assert [line["event"] for line in log].count("cancelled") == 1


def test_lost_job_is_stopped_and_its_outcome_dropped(agent, executor, server, clock, log):
    (job,) = contract(agent, server)
    clock.forward(16)
    agent.parts.pulse()
    assert executor.tasks == []
    assert agent.lease_table.refs() == []
    assert [(line["event"], line["job"]) for line in log if "lost" in line["event"]] == [
        ("lease lost, job stopped", job)
    ]
    assert server.refused == []


def test_lost_lease_does_not_stop_the_job_under_its_new_lease(agent, executor, server, clock):
    (job,) = contract(agent, server)
    executor.stubborn = True
    clock.forward(16)
    agent.parts.contracting.step()
    assert executor.wait_for(2)
    assert executor.jobs == [job, job]
    old, new = executor.tasks
    agent.parts.pulse()
    assert [ref.lease for ref in agent.lease_table.open_refs()] == [new.lease]
    executor._end(new, result(output=b"new"))
    executor._end(old, result(output=b"old"))
    agent.parts.contracting.step()
    assert server.output(job) == b"new"
    assert len(server.jobs[job].accepted) == 1


def test_finished_job_whose_lease_is_lost_waits_for_its_ack(agent, executor, server, clock):
    (job,) = contract(agent, server)
    executor.finish(job)
    clock.forward(16)
    agent.parts.pulse()
    assert [ref.job for ref in agent.lease_table.refs()] == [job]
    agent.parts.contracting.step()
    assert [outcome.job for outcome in server.refused] == [job]


def test_server_restart_in_the_middle_of_a_job_is_survived(agent, executor, server, clock, log):
    (job,) = contract(agent, server)
    server.away = True
    beat(agent, clock)
    agent.parts.contracting.step()
    server.away = False
    beat(agent, clock)
    assert executor.jobs == [job]
    executor.finish(job, b"done")
    agent.parts.contracting.step()
    assert server.output(job) == b"done"
    assert server.jobs[job].attempts == 1
    assert [line["event"] for line in log if line["event"].startswith("server")] == ["server away", "server back"]


def test_failed_heartbeat_is_repeated_well_before_the_lease_ends(agent, server, clock):
    contract(agent, server)
    server.fail_once("heartbeat", unreachable())
    beat(agent, clock)
    for _ in range(5):
        clock.forward(1)
        agent.parts.pulse()
    assert len(server.sent("heartbeat")) >= 2
    assert server.states() == [JobState.RUNNING]


def test_worker_forgotten_while_a_job_runs_registers_again_and_stops_it(agent, executor, server, clock):
    old = agent.membership.worker_id
    (job,) = contract(agent, server)
    server.forget_workers()
    server.jobs[job].lease = None
    beat(agent, clock)
    assert agent.membership.worker_id != old
    beat(agent, clock)
    assert executor.tasks == []


def test_registering_again_may_fail_too(agent, server, clock):
    old = agent.membership.worker_id
    contract(agent, server)
    server.forget_workers()
    server.fail_once("register", unreachable())
    beat(agent, clock)
    assert agent.membership.worker_id == old
    beat(agent, clock)
    assert agent.membership.worker_id != old


def test_drain_in_a_heartbeat_stops_the_agent(agent, server, clock):
    contract(agent, server)
    server.drain_all()
    beat(agent, clock)
    assert agent._stop_asked.is_set()


def test_one_broken_watch_does_not_stop_the_others(agent, server, clock, log):
    contract(agent, server)
    agent.parts.watches = {"broken": lambda: 1 / 0, **agent.parts.watches}
    beat(agent, clock)
    assert len(server.sent("heartbeat")) == 1
    assert [line["step"] for line in log if line["event"] == "step failed"] == ["broken"]


def test_dead_contract_loop_ends_the_process(agent, clock, log):
    for _ in range(400):
        clock.forward(1)
        agent.parts.pulse()
    assert agent.left[0] == 70
    assert agent.parts.executor.stopped
    assert "contract loop is dead, leaving" in [line["event"] for line in log]


def test_process_that_was_stopped_for_long_does_not_end_itself(agent, clock):
    agent.parts.pulse()
    clock.forward(3600)
    agent.parts.pulse()
    assert agent.left == []


def test_loop_that_goes_on_does_not_end_the_process(agent, clock):
    for _ in range(400):
        clock.forward(1)
        agent.parts.contracting.step()
        agent.parts.pulse()
    assert agent.left == []
