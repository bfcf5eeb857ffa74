"""Agents, a queue and a clock of their own: what becomes of jobs when the real parts decide how many to hold.

Lease table, prefetching, hand-back watch and stopper are the agents' own. Guests, network and server are numbers:
a job takes as long as it says, an exchange ``EXCHANGE_S`` and a little more for each job that it brings.
"""

import heapq
import itertools
import threading
from collections import Counter, deque
from dataclasses import replace

from lessons import leased_job

from piecework.protocol.ids import Id
from piecework.protocol.messages import LeaseRef, Outcome
from piecework.protocol.states import JobState
from piecework.worker_agent.jobs.job_logger import JobLogger
from piecework.worker_agent.jobs.leases.lease_table import LeaseTable
from piecework.worker_agent.jobs.leases.outbox import ref_of
from piecework.worker_agent.jobs.leases.prefetching import Prefetching
from piecework.worker_agent.jobs.shared import JobsShared
from piecework.worker_agent.jobs.work.handing_back import LOOK_S, HandBackWatch
from piecework.worker_agent.jobs.work.stopping import JobStopper
from piecework.worker_agent.link.shared import Pace

EXCHANGE_S = 0.005
PER_JOB_S = 0.0001


class Fleet:
    """So many agents at one queue.

    ``durations`` says how long each job takes, ``held_s`` how long it belonged to an agent and did not run.
    """

    def __init__(self, agents, *, slots=1, prefetch=400):
        self.now = 0.0
        self._events = []
        self._numbers = itertools.count()
        self.queue = []
        self.lambdas, self.durations = {}, {}
        self.leased_at, self.held_s, self.ended_at = {}, {}, {}
        self.leases = Counter()
        self.parked = deque()
        self.exchanges = 0
        self.agents = [SimulatedAgent(self, slots, prefetch) for _ in range(agents)]
        for agent in self.agents:
            agent.wake()

    def submit(self, durations, lambda_=1):
        """Enqueue jobs; return their ids."""
        ids = [Id(len(self.durations) + 1 + n) for n in range(len(durations))]
        for id_, duration_s in zip(ids, durations, strict=True):
            self.durations[id_], self.lambdas[id_] = duration_s, Id(lambda_)
        self.enqueue(ids)
        return ids

    def enqueue(self, ids):
        for id_ in ids:
            heapq.heappush(self.queue, id_)
        for _ in range(min(len(self.queue), len(self.parked))):
            self.answer(*self.parked.popleft())

    def after(self, pause_s, act):
        heapq.heappush(self._events, (self.now + pause_s, next(self._numbers), act))

    def run(self, until_s=600.0):
        """Go on until all jobs have ended; return for how long that took."""
        began = self.now
        while len(self.ended_at) < len(self.durations):
            assert self._events, "nothing happens any more, and jobs are left"
            self.now, _, act = heapq.heappop(self._events)
            assert self.now < began + until_s
            act()
        return self.now - began

    def request(self, agent, plan):
        self.exchanges += 1
        way_s = (EXCHANGE_S + PER_JOB_S * len(plan.outcomes)) / 2
        self.after(way_s, lambda: self.receive(agent, plan))

    def receive(self, agent, plan):
        agent.lease_table.settle([ref_of(outcome) for outcome in plan.outcomes])
        self.enqueue([outcome.job for outcome in plan.outcomes if outcome.state is JobState.ENQUEUED])
        if plan.polls and not self.queue:
            self.parked.append((agent, plan))
        else:
            self.answer(agent, plan)

    def answer(self, agent, plan):
        jobs = [heapq.heappop(self.queue) for _ in range(min(plan.room, len(self.queue)))]
        for job in jobs:
            self.leased_at[job] = self.now
            self.leases[job] += 1
        way_s = (EXCHANGE_S + PER_JOB_S * len(jobs)) / 2
        self.after(way_s, lambda: agent.take([self.describe(job) for job in jobs], plan))

    def describe(self, job):
        return leased_job(job=job, lease=f"lease-{self.leases[job]}", lambda_=self.lambdas[job])

    def note_end(self, job):
        assert job not in self.ended_at
        self.ended_at[job] = self.now
        self.held_s[job] = self.now - self.leased_at[job] - self.durations[job]


class SimulatedAgent:
    """The contract loop and the executor of an agent, without threads."""

    def __init__(self, fleet, slots, prefetch):
        self.fleet = fleet
        self.slots = slots
        self.lease_table = LeaseTable()
        self.prefetching = Prefetching(slots, prefetch, lambda: fleet.now)
        self.lease_table.on_close = self.prefetching.let_go
        shared = JobsShared(
            server=None,
            pulse_server=None,
            lease_table=self.lease_table,
            link=None,
            new_backoff=None,
            clock=lambda: fleet.now,
            pace=Pace(idle_s=0.0),
            stop=threading.Event(),
        )
        self.watch = HandBackWatch(
            shared, self, JobStopper(self.lease_table, self), self.prefetching, JobLogger(), slots
        )
        self.running, self.line = {}, deque()
        self.plan = None
        self.ended, self.waits_since = False, 0.0
        self._looks = False

    # What the contract loop does

    def wake(self):
        """Ask the server if it is time to; else see when it will be."""
        if self.plan is not None:
            return
        demand, held = self.prefetching.demand(), len(self.lease_table.open_refs())
        if not self.ended:
            pause_s = demand.patience_s if held else 0.0
        elif self.lease_table._is_urgent(demand):
            pause_s = 0.0
        elif held > demand.capacity - demand.refill:
            pause_s = demand.linger_s
        else:
            pause_s = 0.0 if self.lease_table._asked_at < 0 else demand.gather_s
        if self.fleet.now < self.waits_since + pause_s - 1e-9:
            self.fleet.after(self.waits_since + pause_s - self.fleet.now, self.wake)
            return
        self.plan = self.lease_table.next_contract(
            lambda: replace(demand, linger_s=0.0, gather_s=0.0, patience_s=0.0), 0.0
        )
        if self.plan is not None:
            self.ended = False
            self.fleet.request(self, self.plan)

    def take(self, jobs, plan):
        self.lease_table.admit(map(ref_of, jobs))
        if jobs:
            self.prefetching.take_up(jobs)
            if len(jobs) >= plan.room:
                self.lease_table.note_plenty()
        self.waits_since = self.fleet.now
        if plan.polls:
            self.lease_table.end_poll()
        self.plan = None
        for job in jobs:
            self.lease_table.start(ref_of(job))
            self.submit(job)
        self.look()
        self.wake()

    def look(self):
        """Let the hand-back watch look, again and again while jobs wait."""
        if not self._looks and len(self.lease_table.open_refs()) > self.slots:
            self._looks = True
            self.fleet.after(LOOK_S, self.tick)

    def tick(self):
        self._looks = False
        self.watch.tick()
        self.look()
        self.note_outcome()

    def note_outcome(self):
        if not self.ended:
            self.ended, self.waits_since = self.lease_table.refs() != self.lease_table.open_refs(), self.fleet.now
        if self.plan is not None and self.plan.polls and (outcomes := self.lease_table.take_during_poll(0.0)):
            self.fleet.request(self, replace(self.plan, outcomes=outcomes, room=0, polls=False))
        self.wake()

    # What the executor does

    def submit(self, *jobs):
        self.line.extend(jobs)
        self.begin()

    def begin(self):
        while self.line and len(self.running) < self.slots:
            job = self.line.popleft()
            self.running[job.job] = job
            self.fleet.after(self.fleet.durations[job.job], lambda job=job: self.finish(job))

    def finish(self, job):
        del self.running[job.job]
        self.begin()
        self.prefetching.observe(ref_of(job), self.fleet.durations[job.job])
        self.fleet.note_end(job.job)
        assert self.lease_table.end(Outcome(job=job.job, lease=job.lease, state=JobState.FINISHED))
        self.note_outcome()

    def take_back(self):
        taken = list(self.line)
        self.line.clear()
        return taken

    def cancel(self, job, lease):
        raise AssertionError(LeaseRef(job=job, lease=lease))

    @property
    def busy(self):
        return len(self.running)

    @property
    def waiting(self):
        return len(self.line)
