"""Agents, a queue and a clock of their own: what becomes of jobs when the real parts decide how many to hold.

Ledger, appetite, hoard watch and brakes are the agents' own. Guests, network and server are numbers: a job takes
as long as it says, an exchange ``EXCHANGE_S`` and a little more for each job that it brings.
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
from worker_agent.jobs.appetite import Appetite
from worker_agent.jobs.brakes import Brakes
from worker_agent.jobs.hoarding import LOOK_S, HoardWatch
from worker_agent.jobs.ledger import Ledger
from worker_agent.jobs.outbox import ref_of
from worker_agent.jobs.shared import JobsShared
from worker_agent.jobs.tally import Tally
from worker_agent.link.shared import Pace

EXCHANGE_S = 0.005
PER_JOB_S = 0.0001


class Fleet:
    """So many agents at one queue.

    ``durations`` says how long each job takes, ``held_s`` how long it belonged to an agent and did not run.
    """

    def __init__(self, agents, *, slots=1, prefetch=200):
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

    def request(self, agent, errand):
        self.exchanges += 1
        way_s = (EXCHANGE_S + PER_JOB_S * len(errand.outcomes)) / 2
        self.after(way_s, lambda: self.receive(agent, errand))

    def receive(self, agent, errand):
        agent.ledger.settle([ref_of(outcome) for outcome in errand.outcomes])
        self.enqueue([outcome.job for outcome in errand.outcomes if outcome.state is JobState.ENQUEUED])
        if errand.polls and not self.queue:
            self.parked.append((agent, errand))
        else:
            self.answer(agent, errand)

    def answer(self, agent, errand):
        jobs = [heapq.heappop(self.queue) for _ in range(min(errand.room, len(self.queue)))]
        for job in jobs:
            self.leased_at[job] = self.now
            self.leases[job] += 1
        way_s = (EXCHANGE_S + PER_JOB_S * len(jobs)) / 2
        self.after(way_s, lambda: agent.take([self.describe(job) for job in jobs], errand))

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
        self.ledger = Ledger()
        self.appetite = Appetite(slots, prefetch, lambda: fleet.now)
        self.ledger.on_close = self.appetite.let_go
        shared = JobsShared(
            server=None,
            pulse_server=None,
            ledger=self.ledger,
            link=None,
            new_backoff=None,
            clock=lambda: fleet.now,
            pace=Pace(idle_s=0.0),
            stop=threading.Event(),
        )
        self.watch = HoardWatch(shared, self, Brakes(self.ledger, self), self.appetite, Tally(), slots)
        self.running, self.line = {}, deque()
        self.errand = None
        self.ended, self.waits_since = False, 0.0
        self._looks = False

    # What the contract loop does

    def wake(self):
        """Ask the server if it is time to; else see when it will be."""
        if self.errand is not None:
            return
        wish, held = self.appetite.wish(), len(self.ledger.open_refs())
        if not self.ended:
            pause_s = wish.patience_s if held else 0.0
        elif self.ledger._is_urgent(wish):
            pause_s = 0.0
        elif held > wish.capacity - wish.refill:
            pause_s = wish.linger_s
        else:
            pause_s = 0.0 if self.ledger._asked_at < 0 else wish.gather_s
        if self.fleet.now < self.waits_since + pause_s - 1e-9:
            self.fleet.after(self.waits_since + pause_s - self.fleet.now, self.wake)
            return
        self.errand = self.ledger.next_errand(
            lambda: replace(wish, linger_s=0.0, gather_s=0.0, patience_s=0.0), 0.0
        )
        if self.errand is not None:
            self.ended = False
            self.fleet.request(self, self.errand)

    def take(self, jobs, errand):
        self.ledger.admit(map(ref_of, jobs))
        if jobs:
            self.appetite.take_up(jobs)
            if len(jobs) >= errand.room:
                self.ledger.note_plenty()
        self.waits_since = self.fleet.now
        if errand.polls:
            self.ledger.end_poll()
        self.errand = None
        for job in jobs:
            self.ledger.start(ref_of(job))
            self.submit(job)
        self.look()
        self.wake()

    def look(self):
        """Let the hoard watch look, again and again while jobs wait."""
        if not self._looks and len(self.ledger.open_refs()) > self.slots:
            self._looks = True
            self.fleet.after(LOOK_S, self.tick)

    def tick(self):
        self._looks = False
        self.watch.tick()
        self.look()
        self.note_outcome()

    def note_outcome(self):
        if not self.ended:
            self.ended, self.waits_since = self.ledger.refs() != self.ledger.open_refs(), self.fleet.now
        if self.errand is not None and self.errand.polls and (outcomes := self.ledger.take_during_poll(0.0)):
            self.fleet.request(self, replace(self.errand, outcomes=outcomes, room=0, polls=False))
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
        self.appetite.observe(ref_of(job), self.fleet.durations[job.job])
        self.fleet.note_end(job.job)
        assert self.ledger.end(Outcome(job=job.job, lease=job.lease, state=JobState.FINISHED))
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
