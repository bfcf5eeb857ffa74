"""Whatever goes wrong and in whatever order: each job ends once, and the agent ends with nothing in hand."""

import random

import pytest
from fake_control_server import unreachable
from tries import tries

from piecework.client import Busy
from piecework.protocol.states import JobState

STEPS = 250
JOBS = 40


class Storm:
    """An agent stepped at random, with faults at random, all from one seed."""

    def __init__(self, agent, server, clock, seed):
        self.agent, self.server, self.clock = agent, server, clock
        self.random = random.Random(seed)
        self.jobs = [server.add_job(b"%d" % number) for number in range(JOBS)]
        agent.parts.executor.on_done = self.remember(agent.parts.executor.on_done)
        self.started = set()

    def remember(self, on_done):
        def done(ended):
            self.started.update(task.job for task, _ in ended)
            on_done(ended)

        return done

    def act(self):
        act = self.random.choices(
            [self.exchange, self.report, self.end_some, self.pulse, self.pass_time, self.fault, self.cancel],
            [8, 4, 8, 3, 3, 3, 0.3],
        )[0]
        act()

    def exchange(self):
        self.agent.parts.contracting.step()

    def report(self):
        """Let some jobs end during a long poll, if one would be opened now."""
        plan = self.agent.lease_table.next_contract(self.agent.parts.prefetching.demand, 0.0)
        if plan is None:
            return
        self.agent.lease_table.put_back(plan.outcomes)
        if plan.polls:
            self.end_some()
            self.agent.parts.reporter.step()
            self.agent.lease_table.end_poll()

    def end_some(self):
        executor = self.agent.parts.executor
        for task in list(executor.tasks[:2]):
            if self.random.random() < 0.8:
                executor._end(task, executor_result(task.task.input, self.random))

    def pulse(self):
        self.agent.parts.pulse()

    def pass_time(self):
        self.clock.forward(self.random.choice([0.5, 2.0, 6.0, 20.0]))

    def fault(self):
        method = self.random.choice(["contract", "contract", "finish", "heartbeat", "download", "register"])
        fault = self.random.choice(["undone", "busy", "lost", "away", "back", "forget"])
        if fault == "undone":
            self.server.fail_once(method, unreachable())
        elif fault == "busy":
            self.server.fail_once(method, Busy(503, 9, "the database does not answer"))
        elif fault == "lost":
            self.server.lose_answer(method)
        elif fault == "forget":
            self.server.forget_workers()
            for job in self.server.jobs.values():
                job.lease_until = self.clock()
        else:
            self.server.away = fault == "away"

    def cancel(self):
        job = self.server.jobs[self.random.choice(self.jobs)]
        if job.state in {JobState.ENQUEUED, JobState.RUNNING}:
            job.state, job.lease = JobState.CANCELLED, None

    def calm(self):
        """Let the faults stop, and everything come to its end."""
        self.server.away = False
        self.server._faults.clear()
        for _ in range(400):
            self.exchange()
            self.agent.parts.executor.wait_for(1, 0.005)
            for task in list(self.agent.parts.executor.tasks[:2]):
                self.agent.parts.executor._end(task, executor_result(task.task.input, None))
            self.pulse()
            self.clock.forward(1.0)
            if self.is_over():
                return

    def is_over(self):
        ended = {JobState.FINISHED, JobState.CANCELLED}
        return set(self.server.states()) <= ended and not self.agent.lease_table.refs()


def executor_result(data, chance):
    from hand_executor import result

    return result(output=data, wall_s=chance.choice([0.001, 0.01, 3.0]) if chance else 0.01)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(tries(6)))
def test_every_job_ends_once_whatever_goes_wrong(agent, server, clock, seed):
    storm = Storm(agent, server, clock, seed)
    for _ in range(STEPS):
        storm.act()
    storm.calm()
    assert storm.is_over(), (server.states(), agent.lease_table.refs())
    for number, job in enumerate(storm.jobs):
        record = server.jobs[job]
        final = [outcome for outcome in record.accepted if outcome.state is not JobState.ENQUEUED]
        if record.state is JobState.FINISHED:
            assert len(final) == 1
            assert server.output(job) == b"%d" % number
    assert agent.parts.executor.tasks == []
    assert not agent.parts.fetcher._needs
