"""What must be true of every history: the promises of docs/guarantees.md, one by one."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise

from agents import Executions
from network import Sent
from trust_judge import AGAIN, ANSWERED, TrustJudge
from workload import Asked

from piecework.client import Client, NotFound
from piecework.client.replies import HttpReply
from piecework.protocol import bodies
from piecework.protocol.codes import Code
from piecework.protocol.messages import (
    ContractReply,
    ContractRequest,
    FinishReply,
    FinishRequest,
    JobInfo,
    StatsFigures,
    TraceEvent,
)
from piecework.protocol.states import NEXT_STATES, UNSTARTED_STATES, JobState
from piecework.server.settings import Settings
from piecework.server.store.queue.figures.tallies import COUNTED

VANISHED_MAX = Settings.vanished_max
CLOCK_S = 0.002
"""What times are rounded to."""


class Judge:
    """Sees what servers answer, and says in the end what was wrong."""

    def __init__(self, executions: Executions, trust: TrustJudge | None = None) -> None:
        self.executions, self.trust = executions, trust
        self.accepted: defaultdict[int, dict[str, JobState]] = defaultdict(dict)
        """The outcomes that a server acknowledged, by job and lease."""
        self.jobs: dict[int, JobInfo] = {}
        """The jobs as they are in the end."""
        self.states: dict[int, JobState] = {}
        """Where they stand."""
        self.gone = 0
        """Jobs whose time was over."""
        self.leased: defaultdict[int, set[str]] = defaultdict(set)
        """The leases that a server gave, by job."""
        self.trails: dict[int, list[TraceEvent]] = {}
        """What happened to the jobs, in the end."""

    def see(self, sent: Sent, reply: HttpReply) -> None:
        """Note what an answer promises, whether or not it arrives."""
        if reply.headers.get("content-type") != bodies.MSGPACK:
            return  # to a worker of v0.5, which is promised less
        if sent.target.endswith("/contract"):
            request = bodies.decode(sent.body, ContractRequest, bodies.MSGPACK)
            if reply.ok:
                contract = bodies.decode(reply.content, ContractReply, bodies.MSGPACK)
                self._see_acks(request.outcomes, contract.acks or ())
                for job in contract.jobs or ():
                    self.leased[int(job.job)].add(job.lease)
        elif sent.target.endswith("/finish") and reply.status in {200, 409}:
            request = bodies.decode(sent.body, FinishRequest, bodies.MSGPACK)
            self._see_acks(request.outcomes, bodies.decode(reply.content, FinishReply, bodies.MSGPACK).acks)

    def _see_acks(self, outcomes: object, acks: object) -> None:
        states = {(int(each.job), each.lease): each.state for each in outcomes}  # type: ignore[attr-defined]
        for ack in acks:  # type: ignore[attr-defined]
            if ack.code == Code.OK:
                self.accepted[int(ack.job)][ack.lease] = states[int(ack.job), ack.lease]

    def find_faults(self, client: Client, asked: dict[int, Asked]) -> Iterator[str]:
        """Go through what is wrong with the jobs, now that all should have ended."""
        self._read_jobs(client, asked)
        self.states = {id_: info.state for id_, info in self.jobs.items()}
        for id_, info in self.jobs.items():
            job, trail = asked[id_], client.trace(id_)
            self.trails[id_] = [event for event in trail if not event.detail.startswith("refused")]
            output = client.read(info.output.id) if info.state is JobState.FINISHED else b""  # type: ignore[union-attr]
            faults = (
                *self._check_end(job, info),
                *self._check_result(job, info, output),
                *self._check_attempts(job, info, trail),
                *self._check_trail(info, trail),
            )
            for fault in faults:
                told = [f"{event.at:.3f} {event.state} {event.lease or ''} {event.detail}" for event in trail]
                yield "\n".join([f"job {id_}, {info.state}: {fault}", *told])

    def _read_jobs(self, client: Client, asked: dict[int, Asked]) -> None:
        for id_, job in asked.items():
            try:
                self.jobs[id_] = client.job(id_)
            except NotFound:
                if "retain_s" not in job.options:
                    raise
                self.gone += 1

    def _check_end(self, asked: Asked, info: JobInfo) -> Iterator[str]:
        """I1: every acknowledged job is in one final state, for a reason that somebody gave."""
        if not info.state.is_final:
            yield f"it has not ended; {info.advice}"
        failed = [id_ for id_ in asked.options.get("after", ()) if self.states[int(id_)] is not JobState.FINISHED]
        is_broken = bool(failed) and asked.options.get("on_failure", "cancel") == "cancel"
        if info.state is JobState.CANCELLED and not asked.may_be_cancelled and not is_broken:
            yield "nobody cancelled it"
        if is_broken and info.state is not JobState.CANCELLED:
            yield f"it was not cancelled, though it waited for {failed}"

    def _check_result(self, asked: Asked, info: JobInfo, output: bytes) -> Iterator[str]:
        """I2, I3, I8: one result is accepted at most, that of the last lease, and its bytes are the guest's."""
        if asked.rule and self.trust:
            yield from self.trust.find_faults_of(asked, info)
        if asked.rule and asked.rule.verify:  # what is acknowledged is a vote
            told = info.usage.digests.output if info.usage and info.usage.digests else ""
            if info.state is JobState.FINISHED and hashlib.sha256(output).hexdigest() != told:
                yield "its output is not what its digest says"
            return
        accepted = self.accepted[int(asked.id)]
        good = [lease for lease, state in accepted.items() if state is JobState.FINISHED]
        if len(good) > 1:
            yield f"results were accepted under {len(good)} leases"
        if good and info.state is not JobState.FINISHED:
            yield "its result was acknowledged, and is lost"
        if info.state is JobState.FINISHED and output != asked.script.output():
            yield "its output is not what the guest wrote"

    def _check_attempts(self, asked: Asked, info: JobInfo, trail: list[TraceEvent]) -> Iterator[str]:
        """I5, and: nothing is done twice unnoticed."""
        leases = {event.lease for event in trail if event.lease}
        starts = self.executions.starts.get(int(asked.id), [])
        if unknown := set(starts) - leases:
            yield f"it ran under leases that its trail does not tell of: {unknown}"
        if len(starts) != len(set(starts)):
            yield "it ran twice under one lease"
        again = asked.retries + sum(event.detail.startswith(AGAIN) for event in trail)
        if info.attempt > (asked.options["max_attempts"] + VANISHED_MAX) * (1 + again):
            yield f"it was tried {info.attempt} times"

    def find_doubled_ticks(
        self, ticks: Iterable[tuple[int, int]], jobs: Iterable[tuple[int, int]]
    ) -> Iterator[str]:
        """I7: a schedule's tick has one job, and each job of a schedule has a tick.

        ``ticks`` and ``jobs`` have (schedule, job), each as its own table says.
        """
        counted, submitted = Counter(ticks), Counter(jobs)
        if counted != submitted:
            yield f"ticks without their job: {counted - submitted}; jobs without a tick: {submitted - counted}"

    def find_wrong_news(self, asked: dict[int, Asked], told: Iterable[bytes]) -> Iterator[str]:
        """Each end of a job that names a webhook is told, as one delivery; no other is."""
        news: defaultdict[int, Counter[str]] = defaultdict(Counter)
        for body in told:
            data = json.loads(body)["data"]
            news[int(data["job"])][data["state"]] += 1
        for id_, trail in self.trails.items():
            states = [event.state for event in trail] if "on_end" in asked[id_].options else []
            ends = Counter(state.value for state in states if state.is_final)
            if ends != news[id_]:
                yield f"job {id_} ended as {dict(ends)}, and its webhook was told of {dict(news[id_])}"

    def find_miscounts(self, client: Client, jobs: Iterable[int], counted: StatsFigures) -> Iterator[str]:
        """Each end of a job is in the counters once, whoever died before or after it was stored."""
        ends = Counter(
            event.state
            for job in jobs
            for event in client.trace(job)
            if event.state.is_final and not event.detail.startswith("refused")
        )
        for state, word in COUNTED.items():
            if ends[state] != getattr(counted, word) and not self.gone:
                yield f"{ends[state]} jobs ended as {state}, and {getattr(counted, word)} were counted"

    def find_rushes(self, asked: dict[int, Asked], limit: int, period_s: float) -> Iterator[str]:
        """In no stretch as long as the period did more jobs of the key of rates start than its limit says."""
        starts = sorted(
            event.at
            for id_, trail in self.trails.items()
            if "rate_key" in asked[id_].options
            for event in trail
            if event.state is JobState.RUNNING
        )
        for first, last in zip(starts, starts[limit:], strict=False):
            if last - first < period_s - CLOCK_S:
                yield f"{limit + 1} jobs of a rate of {limit} started within {last - first:.3f} s"

    def _check_trail(self, info: JobInfo, trail: list[TraceEvent]) -> Iterator[str]:
        """I9: the trail leads from the submission to the state that the job is in, by steps that are allowed."""
        steps = [event for event in trail if not event.detail.startswith("refused")]
        if not steps or steps[-1].state != info.state:
            yield f"its trail ends with {[each.state for each in steps[-1:]]}"
        for before, step in pairwise(steps):
            is_answered = step.detail.startswith(ANSWERED) and before.state in UNSTARTED_STATES
            is_doubted = step.detail.startswith(AGAIN) and before.state is JobState.FINISHED
            # It waited for others and now waits for its time, or was paused with others and then by itself.
            waits_on = before.state is step.state and before.state in {JobState.WAITING, JobState.PAUSED}
            is_allowed = step.state in NEXT_STATES[before.state] or waits_on or is_answered or is_doubted
            if not is_allowed:
                yield f"its trail goes from {before.state} to {step.state}"
