"""What an agent keeps of the jobs that it had: after thousands as much as after the first."""

import threading
from itertools import cycle

import pytest
from fake_control_server import unreachable
from kept_objects import count_objects
from patience import PATIENCE_S, until

from piecework.worker_agent import cache
from piecework.worker_agent.jobs.leases import prefetching
from piecework.worker_agent.jobs.parts import FETCHERS, UPLOADERS

LARGE = b"x" * 33_000
ROUND = 7


@pytest.fixture
def _forgetful(monkeypatch):
    """Few blobs and lambdas are remembered, so that there are soon more."""
    monkeypatch.setattr(cache, "BLOBS_MAX", 20)
    monkeypatch.setattr(prefetching, "LAMBDAS_MAX", 10)


def do_round(agent, server, clock, number, ways):
    """Have jobs of new lambdas end in every way, beside heartbeats and requests that fail."""
    executor = agent.parts.executor
    for n in range(ROUND):
        given = LARGE + b"%d" % number if n % 2 else b"small"
        server.add_job(given, server.add_lambda(b"code %d %d" % (number, n)))
    while not all(state.is_final for state in server.states()):
        agent.parts.contracting.step()
        until(lambda: executor.tasks or not agent.lease_table.open_refs())
        for job in executor.jobs:
            executor.log(job, b"log")
            next(ways)(server, executor, job)
        clock.forward(6)
        agent.parts.pulse()
    come_to_rest(agent)


def come_to_rest(agent):
    """Wait until no thread holds anything of a job that has ended, and hand in all outcomes."""
    for pool, size in ((agent.parts.fetchers, FETCHERS), (agent.parts.uploaders, UPLOADERS)):
        idle = threading.Barrier(size + 1)
        for _ in range(size):
            pool.give(lambda idle=idle: idle.wait(PATIENCE_S))
        idle.wait(PATIENCE_S)
    agent.parts.contracting.step()


WAYS = (
    lambda _, executor, job: executor.finish(job, b"out"),
    lambda _, executor, job: executor.finish(job, LARGE),
    lambda _, executor, job: executor.fail(job),
    lambda server, executor, job: server.cancel(job),  # a heartbeat tells
    lambda server, executor, job: (server.lose_answer("contract"), executor.finish(job)),
    lambda server, executor, job: (server.fail_once("heartbeat", unreachable()), executor.finish(job)),
    lambda server, executor, job: (server.forget_workers(), executor.finish(job)),
)
"""How jobs end, and what befalls their agent then."""


@pytest.mark.slow
@pytest.mark.usefixtures("_forgetful")
def test_an_agent_keeps_no_more_after_many_jobs(agent, server, clock):
    ways, counts = cycle(WAYS), []
    for number in range(20):
        do_round(agent, server, clock, number, ways)
        counts.append(count_objects(agent))
    # The last contract had one job or two, and the cache has one blob more or less.
    assert max(counts[12:]) < max(counts[4:12]) + 2, "not even one object more in four rounds"
