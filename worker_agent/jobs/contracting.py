"""The contract loop: hand in what has ended, lease what there is room for, in one exchange."""

from collections.abc import Callable
from dataclasses import dataclass

from piecework.client import ClientError
from piecework.protocol.messages import ContractReply, ContractRequest, LeasedJob
from worker_agent.jobs.appetite import Appetite
from worker_agent.jobs.courier import Courier
from worker_agent.jobs.fitness import Fitness
from worker_agent.jobs.heartbeat import Heartbeat
from worker_agent.jobs.inputs import Intake
from worker_agent.jobs.ledger import Errand, Wish
from worker_agent.jobs.outbox import ref_of
from worker_agent.jobs.shared import JobsShared
from worker_agent.jobs.tally import Tally


@dataclass(frozen=True, slots=True)
class Terms:
    """What every contract of this agent says."""

    incarnation: str
    poll_s: float = 20.0
    """How long the server may hold a contract while it has no job."""
    inline_max_bytes: int = 32 * 1024
    """Inputs up to this size come inside the reply."""


class Contracting:
    """Keeps the agent in work. A request waits at the server only if a slot is idle, as the ledger says."""

    def __init__(
        self,
        shared: JobsShared,
        courier: Courier,
        intake: Intake,
        heartbeat: Heartbeat,
        *,
        appetite: Appetite,
        tally: Tally,
        fitness: Fitness,
        terms: Terms,
        on_drain: Callable[[], None],
    ) -> None:
        self._shared = shared
        self._ledger = shared.ledger
        self._backoff = shared.new_backoff()
        self._courier = courier
        self._intake = intake
        self._heartbeat = heartbeat
        self._appetite = appetite
        self._tally = tally
        self._fitness = fitness
        self._terms = terms
        self._on_drain = on_drain
        self.progress = 0
        """Rises with every step: an answer, a failure, or nothing to say."""

    def step(self) -> None:
        """Do one exchange, if there is something to say."""
        self.progress += 1
        errand = self._ledger.next_errand(self._find_wish, self._shared.pace.idle_s)
        if errand is None:
            return
        try:
            self._exchange(errand)
        except ClientError as error:
            self._shared.stop.wait(self._backoff.next_s(error))
        else:
            self._backoff.reset()
        finally:
            if errand.polls:
                self._ledger.end_poll()

    def _find_wish(self) -> Wish:
        return self._fitness.limit(self._appetite.wish())

    def _exchange(self, errand: Errand) -> None:
        reply = self._courier.contract(
            ContractRequest(
                max=errand.room,
                timeout=self._terms.poll_s if errand.polls else 0,
                inline_max_bytes=self._terms.inline_max_bytes,
                outcomes=errand.outcomes,
                incarnation=self._terms.incarnation,
            )
        )
        jobs = self._admit(reply, errand.room)
        try:
            self._courier.settle(errand.outcomes, reply.acks or [])
        finally:
            if jobs:
                self._intake.accept(jobs, reply.lambdas or [])
            if reply.drain:
                self._on_drain()

    def _admit(self, reply: ContractReply, room: int) -> list[LeasedJob]:
        """Enter the leases of a reply; return the jobs that are to be worked on."""
        jobs = reply.jobs or []
        if not jobs:
            return []
        self._heartbeat.note_lease(min(job.lease_s for job in jobs))
        refs = self._ledger.admit(map(ref_of, jobs))
        fresh = [job for job in jobs if ref_of(job) in refs]
        self._appetite.take_up(fresh)
        if len(jobs) >= room:
            self._ledger.note_plenty()
        self._tally.note_contract(jobs, reply.lambdas or [])
        return fresh
