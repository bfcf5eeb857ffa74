"""The contract loop: hand in what has ended, lease what there is room for, in one exchange."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from msgspec import UNSET

from piecework.client import ClientError
from piecework.protocol.matching import AGENT_TAGS
from piecework.protocol.messages import ContractReply, ContractRequest, Maybe
from piecework.worker_agent.jobs.job_logger import JobLogger
from piecework.worker_agent.jobs.leases.fitness import Fitness
from piecework.worker_agent.jobs.leases.lease_table import ContractPlan, Demand
from piecework.worker_agent.jobs.leases.outbox import ref_of
from piecework.worker_agent.jobs.leases.prefetching import Prefetching
from piecework.worker_agent.jobs.leases.sending import OutcomeSender
from piecework.worker_agent.jobs.loops.heartbeat import Heartbeat
from piecework.worker_agent.jobs.shared import JobsShared
from piecework.worker_agent.jobs.work.inputs import Intake, Jobs

TELL_TIME_S = 60.0
"""The server is told the time so often: it knows then whether this node's clock is wrong."""


@dataclass(frozen=True, slots=True)
class ContractTerms:
    """What every contract of this agent says."""

    incarnation: str
    poll_s: float = 20.0
    """How long the server may hold a contract while it has no job."""
    inline_max_bytes: int = 32 * 1024
    """Inputs up to this size come inside the reply."""


class Contracting:
    """Keeps the agent in work. A request waits at the server only if a slot is idle, as the lease table says."""

    def __init__(
        self,
        shared: JobsShared,
        sender: OutcomeSender,
        intake: Intake,
        heartbeat: Heartbeat,
        *,
        prefetching: Prefetching,
        job_logger: JobLogger,
        fitness: Fitness,
        terms: ContractTerms,
        on_drain: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``clock`` tells seconds since 1970."""
        self._shared = shared
        self._lease_table = shared.lease_table
        self._backoff = shared.new_backoff()
        self._sender = sender
        self._intake = intake
        self._heartbeat = heartbeat
        self._prefetching = prefetching
        self._job_logger = job_logger
        self._fitness = fitness
        self._terms = terms
        self._on_drain = on_drain
        self._clock = clock
        self._told_at = 0.0
        self.progress = 0
        """Rises with every step: an answer, a failure, or nothing to say."""

    def step(self) -> None:
        """Do one exchange, if there is something to say."""
        self.progress += 1
        plan = self._lease_table.next_contract(self._find_demand, self._shared.pace.idle_s)
        if plan is None:
            return
        try:
            self._exchange(plan)
        except ClientError as error:
            self._shared.stop.wait(self._backoff.next_s(error))
        else:
            self._backoff.reset()
        finally:
            if plan.polls:
                self._lease_table.end_poll()

    def _find_demand(self) -> Demand:
        return self._fitness.limit(self._prefetching.demand())

    def _exchange(self, plan: ContractPlan) -> None:
        reply = self._sender.contract(
            ContractRequest(
                max=plan.room,
                timeout=self._terms.poll_s if plan.polls else 0,
                inline_max_bytes=self._terms.inline_max_bytes,
                outcomes=plan.outcomes,
                incarnation=self._terms.incarnation,
                tags=list(AGENT_TAGS),
                clock=self._tell_time(),
            )
        )
        jobs = self._admit(reply, plan.room)
        try:
            self._sender.settle(plan.outcomes, reply.acks or [])
        finally:
            if jobs:
                self._intake.accept(jobs, reply.lambdas or [])
            if reply.drain:
                self._on_drain()

    def _tell_time(self) -> Maybe[float]:
        """Return the time when it was not told lately."""
        now = self._clock()
        if abs(now - self._told_at) < TELL_TIME_S:
            return UNSET
        self._told_at = now
        return now

    def _admit(self, reply: ContractReply, room: int) -> Jobs:
        """Enter the leases of a reply; return the jobs that are to be worked on."""
        jobs = reply.jobs or []
        if not jobs:
            return {}
        self._heartbeat.note_lease(min([job.lease_s for job in jobs]))
        leased = {ref_of(job): job for job in jobs}
        refs = self._lease_table.admit(leased)
        fresh = {ref: job for ref, job in leased.items() if ref in refs}
        self._prefetching.take_up(fresh.values())
        if len(jobs) >= room:
            self._lease_table.note_plenty()
        self._job_logger.note_contract(jobs, reply.lambdas or [])
        return fresh
