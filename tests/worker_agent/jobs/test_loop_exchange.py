"""The contract loop, the reporter and the sender, stepped by hand."""

import pytest
from fake_control_server import not_a_server, unreachable
from lessons import teach

from piecework.client import Busy, Invalid, NotFound, Refused, TooLarge
from piecework.protocol.codes import Code
from piecework.protocol.messages import ContractReply
from piecework.protocol.states import JobState


def step(agent):
    agent.parts.contracting.step()


def poll_open(agent):
    """Put the contract loop inside a long poll, as far as the lease table knows."""
    assert agent.lease_table.next_contract(agent.parts.prefetching.demand, 0.0).polls


def report(agent):
    agent.parts.reporter.step()


def events(log):
    return [line["event"] for line in log]


@pytest.fixture
def executor(agent):
    return agent.parts.executor


def test_agent_leases_what_it_has_room_for_and_runs_it(agent, executor, server):
    jobs = [server.add_job(b"one"), server.add_job(b"two"), server.add_job(b"three")]
    step(agent)
    assert executor.wait_for(2)
    assert executor.jobs == jobs[:2]
    assert [task.task.input for task in executor.tasks] == [b"one", b"two"]
    step(agent)
    assert [message.max for message in server.sent("contract")] == [2]


def test_contract_without_outcomes_waits_at_the_server(agent, server):
    step(agent)
    (sent,) = server.sent("contract")
    assert (sent.timeout, sent.inline_max_bytes, sent.incarnation) == (20.0, 32768, "first")


def test_outcome_rides_on_the_next_contract_which_waits_when_there_is_nothing_else_to_do(agent, executor, server):
    server.add_job()
    step(agent)
    assert executor.wait_for(1)
    executor.finish(executor.jobs[0], b"done", log=b"line\n", log_offset=3)
    second = server.add_job()
    step(agent)
    sent = server.sent("contract")[-1]
    assert (len(sent.outcomes), sent.timeout) == (1, 20.0)
    assert server.states() == [JobState.FINISHED, JobState.RUNNING]
    assert executor.wait_for(1)
    assert executor.jobs == [second]
    (outcome,) = next(iter(server.jobs.values())).accepted
    assert (outcome.log, outcome.log_offset, outcome.usage.wall_s) == (b"line\n", 3, 0.5)
    assert server.output(next(iter(server.jobs))) == b"done"


def test_outcome_is_handed_in_when_the_agent_is_full(agent, executor, server):
    jobs = [server.add_job() for _ in range(2)]
    step(agent)
    assert executor.wait_for(2)
    executor.finish(jobs[0])
    executor.finish(jobs[1])
    step(agent)
    assert server.states() == [JobState.FINISHED] * 2
    assert agent.lease_table.refs() == []


def test_outcome_does_not_wait_for_the_end_of_a_poll(agent, executor, server):
    job = server.add_job()
    step(agent)
    assert executor.wait_for(1)
    poll_open(agent)
    executor.finish(job)
    report(agent)
    assert server.states() == [JobState.FINISHED]
    assert len(server.sent("finish")) == 1


def test_reporter_leaves_outcomes_to_the_contract_loop_when_no_poll_is_open(agent, executor, server):
    job = server.add_job()
    step(agent)
    assert executor.wait_for(1)
    executor.finish(job)
    report(agent)
    assert server.sent("finish") == []
    assert server.states() == [JobState.RUNNING]


@pytest.mark.parametrize("way", ["contract", "finish"])
def test_outcome_whose_answer_was_lost_is_sent_again_and_accepted_once(agent, executor, server, way):
    job = server.add_job()
    step(agent)
    assert executor.wait_for(1)
    if way == "finish":
        poll_open(agent)
    executor.finish(job)
    server.lose_answer(way)
    for _ in range(2):
        report(agent)
        if way == "contract":
            step(agent)
    sent = server.sent(way)[-2:]
    assert [[o.job for o in message.outcomes] for message in sent] == [[job], [job]]
    assert len(server.jobs[job].accepted) == 1
    assert server.refused == []
    assert agent.lease_table.refs() == []


def test_jobs_of_a_lost_contract_answer_run_after_their_leases_are_over(agent, executor, server, clock):
    job = server.add_job()
    server.lose_answer("contract")
    step(agent)
    step(agent)
    assert executor.jobs == []
    clock.forward(16)
    step(agent)
    assert executor.wait_for(1)
    executor.finish(job)
    step(agent)
    assert server.states() == [JobState.FINISHED]
    assert server.jobs[job].attempts == 2


def test_outcome_of_a_lease_that_ran_out_is_refused_and_dropped(agent, executor, server, clock, log):
    job = server.add_job()
    step(agent)
    assert executor.wait_for(1)
    clock.forward(16)
    executor.finish(job, b"late")
    step(agent)
    assert server.jobs[job].accepted == []
    assert [outcome.job for outcome in server.refused] == [job]
    assert "outcome refused" in events(log)
    assert executor.wait_for(1), "the rescued job is leased anew"
    executor.finish(job, b"in time")
    step(agent)
    assert server.output(job) == b"in time"


def test_outcomes_are_kept_while_the_server_is_away(agent, executor, server, log):
    job = server.add_job()
    step(agent)
    assert executor.wait_for(1)
    server.away = True
    executor.finish(job)
    for _ in range(5):
        step(agent)
    assert len(agent.lease_table.refs()) == 1
    server.away = False
    step(agent)
    assert server.states() == [JobState.FINISHED]
    assert [event for event in events(log) if event.startswith("server")] == ["server away", "server back"]


def test_agent_backs_off_for_as_long_as_a_busy_server_asks(agent, server):
    server.fail_once("contract", Busy(503, 9, "the database does not answer", retry_after_s=4.0))
    waits = []
    agent.parts.contracting._shared.stop.wait = waits.append
    step(agent)
    assert waits == [4.0]


@pytest.mark.parametrize("error", [not_a_server(), Refused(401, 4, "the token was revoked"), Busy(429, 7, "busy")])
def test_any_failed_contract_keeps_the_outcomes(agent, executor, server, error):
    job = server.add_job()
    step(agent)
    assert executor.wait_for(1)
    executor.finish(job)
    server.fail_once("contract", error)
    step(agent)
    step(agent)
    assert server.states() == [JobState.FINISHED]


@pytest.mark.parametrize("way", ["contract", "finish"])
@pytest.mark.parametrize("forget", [True, False])
def test_forgotten_worker_registers_again_and_goes_on(agent, executor, server, way, forget):
    old = agent.membership.worker_id
    job = server.add_job()
    step(agent)
    assert executor.wait_for(1)
    if way == "finish":
        poll_open(agent)
        server.fail_once("finish", NotFound(404, Code.WORKER_NOT_FOUND if forget else Code.WORKER_RETIRED, "who?"))
    executor.finish(job)
    if forget:
        server.forget_workers()
    else:
        server.workers[old].retired = True
    report(agent)
    agent.lease_table.end_poll()
    if way == "contract":
        step(agent)
    assert agent.membership.worker_id != old
    step(agent)
    assert agent.lease_table.refs() == [], "the outcome of the old worker was refused, and dropped"
    assert [outcome.job for outcome in server.refused] == [job]


def test_server_that_is_away_while_registering_again_is_asked_again(agent, server):
    old = agent.membership.worker_id
    server.forget_workers()
    server.fail_once("register", unreachable())
    step(agent)
    assert agent.membership.worker_id == old
    step(agent)
    assert agent.membership.worker_id in server.workers


@pytest.mark.parametrize("error", [Invalid(422, 3, "a field is wrong"), TooLarge(413, 6, "too large")])
@pytest.mark.parametrize("way", ["contract", "finish"])
def test_one_unreadable_outcome_costs_only_itself(agent, executor, server, log, way, error):
    jobs = [server.add_job() for _ in range(2)]
    step(agent)
    assert executor.wait_for(2)
    if way == "finish":
        agent.parts.prefetching._slots = 3
        poll_open(agent)
    for job in jobs:
        executor.finish(job)
    server.fail_once(way, error)
    server.fail_once("finish", error)
    if way == "finish":
        report(agent)
    else:
        step(agent)
    assert server.states() == [JobState.RUNNING, JobState.FINISHED]
    assert agent.lease_table.refs() == []
    assert "outcome given up" in events(log)


def test_outcomes_wait_again_when_the_server_goes_away_in_the_midst_of_sorting_them(agent, executor, server):
    jobs = [server.add_job() for _ in range(2)]
    step(agent)
    assert executor.wait_for(2)
    for job in jobs:
        executor.finish(job)
    server.fail_once("contract", Invalid(422, 3, "a field is wrong"))
    server.fail_once("finish", unreachable())
    step(agent)
    assert len(agent.lease_table.refs()) == 2
    step(agent)
    assert server.states() == [JobState.FINISHED] * 2


def test_outcome_that_the_server_says_nothing_about_is_sent_again(agent, executor, server, log):
    job = server.add_job()
    step(agent)
    assert executor.wait_for(1)
    executor.finish(job)
    real, server._contract = server._contract, lambda worker, _: ContractReply(id=worker, jobs=[], acks=[])
    step(agent)
    assert len(agent.lease_table.refs()) == 1
    server._contract = real
    step(agent)
    assert server.states() == [JobState.FINISHED]


def test_bug_in_a_request_loses_no_outcome(agent, executor, server):
    job = server.add_job()
    step(agent)
    assert executor.wait_for(1)
    executor.finish(job)
    server.fail_once("contract", ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        step(agent)
    step(agent)
    assert server.states() == [JobState.FINISHED]


def test_drain_in_a_reply_stops_the_agent(agent, server, log):
    server.drain_all()
    step(agent)
    assert agent._stop_asked.is_set()
    assert [line["reason"] for line in log if line["event"] == "draining"] == ["an operator asked for it"]


def test_step_counts_as_progress_whatever_comes_of_it(agent, server):
    contracting = agent.parts.contracting
    before = contracting.progress
    step(agent)
    server.away = True
    step(agent)
    agent.lease_table.close()
    step(agent)
    assert contracting.progress == before + 3


def test_jobs_that_turn_out_to_be_short_are_leased_ahead(agent, executor, server):
    for _ in range(20):
        server.add_job()
    step(agent)
    assert executor.wait_for(2)
    executor.finish(executor.jobs[0], wall_s=0.001)
    step(agent)
    assert server.sent("contract")[-1].max == 2 + 2 * 2 - 1
    assert executor.wait_for(6)


@pytest.mark.parametrize(("jobs", "asked"), [(4, [4, 6]), (3, [4])])
def test_server_is_asked_for_more_at_once_only_if_it_gave_all_it_was_asked_for(
    agent, executor, server, jobs, asked
):
    lambda_ = server.add_lambda()
    teach(agent.parts.prefetching, 0.001, lambda_=int(lambda_))
    for _ in range(jobs):
        server.add_job(lambda_=lambda_)
    agent.parts.prefetching._prefetch = 1
    step(agent)
    agent.parts.prefetching._prefetch = 4
    step(agent)
    assert [message.max for message in server.sent("contract")] == asked
