"""Whole agents on threads of their own: start, work, drain, leave."""

import threading

import pytest
from fake_control_server import not_a_server, unreachable
from lessons import teach
from patience import LONG_S, PATIENCE_S, until

from piecework.client import Refused
from piecework.protocol.states import JobState
from piecework.worker_agent.agent import ServerAwayError, ServerRefusedError
from piecework.worker_agent.errors import AgentError


def is_polling(agent):
    return lambda: agent.shared.lease_table.polling


def end(agent):
    agent.ask_to_stop("SIGTERM")
    agent.thread.join(LONG_S)
    assert not agent.thread.is_alive()


@pytest.mark.slow
def test_agent_works_until_it_is_stopped(running, server):
    agent = running()
    agent.parts.executor.instant = True
    jobs = [server.add_job(b"%d" % number) for number in range(50)]
    assert server.wait_for(lambda: set(server.states()) == {JobState.FINISHED})
    assert [server.output(job) for job in jobs] == [b"%d" % number for number in range(50)]
    server.release_polls()
    end(agent)
    assert agent.parts.executor.stopped


def test_outcome_reaches_the_server_while_a_poll_is_held(running, server):
    agent = running()
    job = server.add_job(b"in")
    assert agent.parts.executor.wait_for(1)
    assert server.wait_for(is_polling(agent))
    agent.parts.executor.finish(job, b"out")
    assert server.wait_for(lambda: server.states() == [JobState.FINISHED])
    assert agent.shared.lease_table.polling, "it is still the same poll"


def test_full_agent_polls_as_soon_as_there_is_room(running, server):
    agent = running()
    jobs = [server.add_job(b"in") for _ in range(3)]
    assert agent.parts.executor.wait_for(2)
    agent.parts.executor.finish(jobs[0])
    assert server.wait_for(lambda: server.states()[2] is JobState.RUNNING)


def test_drain_finishes_what_runs_and_hands_back_the_rest(running, server):
    lambda_ = server.add_lambda()
    agent = running(prefetch=4, drain_timeout_s=10)
    teach(agent.parts.prefetching, 0.001, lambda_=lambda_)
    executor = agent.parts.executor
    jobs = [server.add_job(b"in") for _ in range(4)]
    assert executor.wait_for(4)
    agent.ask_to_stop("SIGTERM")
    assert server.wait_for(lambda: server.states()[2:] == [JobState.ENQUEUED] * 2)
    assert [server.jobs[job].attempts for job in jobs] == [1, 1, 0, 0]
    for job in jobs[:2]:
        executor.finish(job, b"out")
    server.release_polls()
    end(agent)
    assert server.states() == [JobState.FINISHED] * 2 + [JobState.ENQUEUED] * 2
    assert [server.jobs[job].attempts for job in jobs] == [1, 1, 0, 0]


def test_jobs_that_run_past_the_drain_timeout_are_handed_back_uncounted(running, server, log):
    agent = running()
    job = server.add_job(b"in")
    assert agent.parts.executor.wait_for(1)
    server.release_polls()
    end(agent)
    assert server.states() == [JobState.ENQUEUED]
    assert server.jobs[job].attempts == 0
    assert "jobs still run, they are handed back" in [line["event"] for line in log]


@pytest.mark.slow
def test_guest_that_has_to_be_killed_is_handed_back_all_the_same(running, server):
    agent = running()
    agent.parts.executor.stubborn = True
    job = server.add_job(b"in")
    assert agent.parts.executor.wait_for(1)
    server.release_polls()
    end(agent)
    assert server.states() == [JobState.ENQUEUED]
    assert server.jobs[job].attempts == 0


@pytest.mark.slow
def test_every_step_of_the_end_survives_the_failure_of_the_one_before(running, server, log):
    agent = running()
    agent.parts.executor.take_back = lambda: 1 / 0
    agent.parts.executor.stop = lambda _timeout_s: 1 / 0
    agent.parts.executor.cancel = lambda _job, _lease: 1 / 0
    server.add_job(b"in")
    assert agent.parts.executor.wait_for(1)
    server.release_polls()
    end(agent)
    assert server.states() == [JobState.ENQUEUED]
    assert [line["step"] for line in log if line["event"] == "step failed"] == [
        "hand back waiting jobs",
        "stop running jobs",
        "stop the executor",
    ]


@pytest.mark.slow
def test_poll_that_was_on_its_way_when_it_was_ended_is_ended_again(running, server):
    agent = running()
    assert server.wait_for(is_polling(agent))
    handle, ends = server._contract, []

    def overlook_the_first(worker, message):
        if not message.max:
            ends.append(message)
            if len(ends) == 2:
                server.release_polls()
        return handle(worker, message)

    server._contract = overlook_the_first
    agent.ask_to_stop("SIGTERM")
    agent.thread.join(PATIENCE_S)
    assert not agent.thread.is_alive(), "it did not sit out its poll"


def test_job_given_by_the_last_poll_is_handed_back(running, server):
    agent = running()
    assert server.wait_for(is_polling(agent))
    agent.ask_to_stop("SIGTERM")
    assert server.wait_for(lambda: agent.shared.lease_table._closed)
    job = server.add_job(b"in")
    agent.thread.join(LONG_S)
    assert not agent.thread.is_alive()
    assert server.states() == [JobState.ENQUEUED]
    assert server.jobs[job].attempts == 0
    assert agent.parts.executor.tasks == []


def test_agent_tells_the_server_that_it_wants_nothing_more(running, server):
    agent = running()
    assert server.wait_for(is_polling(agent))
    server.requests.clear()
    agent.ask_to_stop("SIGTERM")
    assert server.wait_for(lambda: server.sent("contract"))
    assert server.sent("contract")[0].max == 0


@pytest.mark.slow
def test_agent_ends_though_the_server_is_away(running, server, log, monkeypatch):
    monkeypatch.setattr("piecework.worker_agent.agent.DELIVER_S", 0.05)
    agent = running()
    job = server.add_job(b"in")
    assert agent.parts.executor.wait_for(1)
    server.away = True
    server.release_polls()
    agent.parts.executor.finish(job)
    end(agent)
    assert "the server was not told about some jobs" in [line["event"] for line in log]


@pytest.mark.slow
def test_agent_started_before_its_server_waits_for_it(running, server, log):
    server.away = True
    agent = running()
    assert server.wait_for(lambda: len(server.sent("register")) > 3)
    server.away = False
    server.add_job(b"in")
    assert agent.parts.executor.wait_for(1)
    assert [line["event"] for line in log][:3] == ["server away", "registered", "server back"]


def test_agent_that_waits_for_its_server_can_be_stopped(running, server):
    server.away = True
    agent = running()
    assert server.wait_for(lambda: server.sent("register"))
    end(agent)


def test_agent_told_not_to_wait_does_not(make_agent, server):
    server.away = True
    with pytest.raises(ServerAwayError, match="no answer from"):
        make_agent(wait=False).run()


@pytest.mark.parametrize("error", [unreachable(), not_a_server()])
def test_agent_told_not_to_wait_ends_for_any_trouble(make_agent, server, error):
    server.fail_once("register", error)
    with pytest.raises(ServerAwayError):
        make_agent(wait=False).join()


def test_agent_that_is_refused_does_not_wait(make_agent, server):
    server.fail_once("register", Refused(401, 4, "no valid token came with the request"))
    with pytest.raises(ServerRefusedError, match="HTTP 401, code 4: no valid token"):
        make_agent().join()


def test_agent_whose_executor_cannot_start_says_why(make_agent, server):
    agent = make_agent()

    def start():
        raise PermissionError(13, "Permission denied", "/scratch")

    agent.parts.executor.start = start
    with pytest.raises(AgentError, match=r"cannot start running guests: .*Permission denied"):
        agent.run()
    assert server.workers[agent.membership.worker_id].stopped


def test_leaving_at_once_ends_the_guests_and_reports_nothing(running, server):
    agent = running()
    server.add_job(b"in")
    assert agent.parts.executor.wait_for(1)
    server.requests.clear()
    agent.leave_now(143)
    assert agent.left == [143]
    assert agent.parts.executor.stopped
    assert server.sent("finish") == []
    assert server.workers[agent.membership.worker_id].stopped


@pytest.mark.slow
def test_stopping_ends_with_a_goodbye(running, server):
    agent = running()
    job = server.add_job(b"in")
    assert agent.parts.executor.wait_for(1)
    server.release_polls()
    end(agent)
    assert server.requests[-1][0] == "leave"
    assert server.workers[agent.membership.worker_id].stopped
    assert server.jobs[job].attempts == 0, "what it held was handed back before"


@pytest.mark.slow
def test_leaving_at_once_is_not_overtaken_by_the_drain(running, server, log):
    agent, left = running(), threading.Event()
    agent._leave = lambda _code: left.wait(LONG_S)
    threading.Thread(target=agent.leave_now, args=(143,), daemon=True).start()
    until(agent._ending.locked)
    server.release_polls()
    agent.ask_to_stop("SIGTERM")
    until(lambda: "agent stopped" in [line["event"] for line in log])
    assert agent.thread.is_alive(), "the process still ends with its own code"
    left.set()


def test_leaving_at_once_does_not_wait_for_a_silent_server(make_agent, server, monkeypatch):
    monkeypatch.setattr("piecework.worker_agent.agent.GOODBYE_S", 0.01)
    agent, never = make_agent(), threading.Event()
    assert agent.join()
    server.leave = lambda *_: never.wait(PATIENCE_S)
    agent.leave_now(143)
    assert agent.left == [143]
    never.set()


def test_leaving_at_once_does_not_wait_for_guests_that_cannot_be_ended(make_agent, monkeypatch):
    monkeypatch.setattr("piecework.worker_agent.agent.KILL_S", 0.01)
    agent, never = make_agent(), threading.Event()
    agent.parts.executor.stop = lambda _timeout_s: never.wait(PATIENCE_S)
    agent.leave_now(143)
    assert agent.left == [143]
    never.set()


@pytest.mark.slow
def test_second_agent_on_the_node_takes_over_the_jobs_of_one_that_was_killed(make_agent, running, server, clock):
    first = make_agent()
    assert first.join()
    job = server.add_job(b"in")
    first.parts.start_crews()
    first.parts.contracting.step()
    assert first.parts.executor.wait_for(1)
    first.state.close()
    second = running(incarnation="second")
    assert second.parts.executor.wait_for(1), "the new start of the process ended the lease of the old one"
    second.parts.executor.finish(job, b"second")
    assert server.wait_for(lambda: server.states() == [JobState.FINISHED])
    first.parts.executor.finish(job, b"first")
    server.release_polls()
    first.parts.contracting.step()
    assert server.output(job) == b"second"
    assert [outcome.job for outcome in server.refused] == [job]
    for pool in (first.parts.fetchers, first.parts.uploaders):
        pool.stop(5)


@pytest.mark.slow
def test_loop_goes_on_after_a_bug(running, server, log):
    agent = running()
    real, broken = agent.parts.contracting._exchange, iter([True])

    def exchange(plan):
        if next(broken, False):
            raise ZeroDivisionError
        real(plan)

    agent.parts.contracting._exchange = exchange
    server.release_polls()
    server.holds_polls = True
    server.add_job(b"in")
    assert agent.parts.executor.wait_for(1)
