"""Agents of nodes that come and go with the work end when there is none."""

import pytest
from patience import LONG_S, until

from piecework.protocol.states import JobState
from piecework.worker_agent.config.settings import Settings, SettingsError


@pytest.fixture
def agent(make_agent):
    agent = make_agent(exit_when_idle_s=10.0)
    assert agent.join()
    agent.parts.start_crews()
    yield agent
    agent.shared.stop.set()
    agent.parts.fetchers.stop(5)
    agent.parts.uploaders.stop(5)


def look(agent, clock, seconds):
    """Let time pass, as the pulse sees it; return whether the agent was asked to end."""
    for _ in range(seconds):
        clock.forward(1)
        agent.parts.pulse()
    return agent._stop_asked.is_set()


def test_an_agent_without_a_job_for_so_long_is_asked_to_end_once(agent, clock, log):
    assert not look(agent, clock, 9)
    assert look(agent, clock, 3)
    look(agent, clock, 5)
    assert [line["reason"] for line in log if line["event"] == "draining"] == ["no job for 10 s"]


def test_an_agent_that_holds_a_job_is_not_idle(agent, server, clock):
    job = server.add_job(b"in")
    agent.parts.contracting.step()
    assert agent.parts.executor.wait_for(1)
    assert not look(agent, clock, 60)
    agent.parts.executor.finish(job, b"out")
    until(lambda: agent.parts.contracting.step() or server.states() == [JobState.FINISHED])
    assert not look(agent, clock, 9)
    assert look(agent, clock, 3)


def test_jobs_that_come_and_end_between_two_looks_count(agent, server, clock):
    agent.parts.executor.instant = True
    for _ in range(5):
        server.add_job(b"in")
        until(lambda: agent.parts.contracting.step() or set(server.states()) == {JobState.FINISHED})
        assert not look(agent, clock, 8)
    assert look(agent, clock, 4)


def test_a_machine_that_slept_was_not_idle_meanwhile(agent, clock):
    clock.forward(3600)
    agent.parts.pulse()
    assert not agent._stop_asked.is_set()


@pytest.mark.slow
def test_an_agent_that_was_not_told_so_stays(make_agent, clock):
    agent = make_agent()
    assert agent.join()
    assert not look(agent, clock, 600)


@pytest.mark.slow
def test_a_whole_agent_ends_in_good_order(running, server, clock):
    agent = running(exit_when_idle_s=60.0)
    assert server.wait_for(lambda: agent.shared.lease_table.polling)
    until(lambda: clock.forward(1) or agent._stop_asked.is_set())
    server.release_polls()
    agent.thread.join(LONG_S)
    assert not agent.thread.is_alive()
    assert agent.left == []


@pytest.mark.parametrize("settings", [{"functions": 1}, {"functions_port": 9999}])
def test_it_does_not_go_with_functions(settings):
    with pytest.raises(SettingsError, match="exit when idle"):
        Settings(exit_when_idle_s=1.0, **settings)
