"""The log lines about jobs: one for each, until they become too many to read."""

import threading
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

import structlog

from piecework.protocol.ids import Id
from piecework.protocol.messages import LeasedJob, LeasedLambda, Outcome
from piecework.protocol.states import JobState
from piecework.worker_agent.jobs.job_traces import JobTraces

log = structlog.get_logger()

LINES_MAX = 20
"""Lines between two ticks, about a second; what is more is counted."""


KNOWN_MAX = 2000
"""Jobs of which is known what they are, until they end."""


WORDS = {
    JobState.FINISHED: "finished", JobState.FAILED: "failed", JobState.CANCELLED: "cancelled",
    JobState.ENQUEUED: "handed_back",
}  # fmt: skip
"""What outcomes report."""


class _Facts(NamedTuple):
    """What log lines tell of a job."""

    lambda_: str
    input_bytes: int
    runtime: str


class JobLogger:
    """Logs what becomes of jobs. Above LINES_MAX lines a second they are counted, and the sums are logged."""

    def __init__(self, traces: JobTraces | None = None) -> None:
        """``traces`` hears of jobs, too."""
        self._traces = traces
        self._lock = threading.Lock()
        self._lines = 0
        self._more: Counter[str] = Counter()
        self._known: dict[Id, _Facts] = {}
        self._ended: Counter[tuple[str, str]] = Counter()

    def note_contract(self, jobs: Sequence[LeasedJob], lambdas: Sequence[LeasedLambda]) -> None:
        """Log which jobs came, a line for each lambda, or count them."""
        if self._traces is not None:
            self._traces.begin(jobs, lambdas)
        names = {each.id: each.name or str(int(each.id)) for each in lambdas}
        runtimes = {each.id: each.runtime for each in lambdas}
        for id_ in dict.fromkeys(job.lambda_ for job in jobs):
            its, name = [job for job in jobs if job.lambda_ == id_], names.get(id_, str(int(id_)))
            with self._lock:
                self._known |= {job.job: _Facts(name, job.input_size, runtimes.get(id_, "")) for job in its}
                for old in list(islice(self._known, max(0, len(self._known) - KNOWN_MAX))):
                    del self._known[old]
            if self._may_log("contracted", len(its)):
                size_bytes = sum(job.input_size for job in its)
                log.info("contracted", jobs=[job.job for job in its], input_bytes=size_bytes, **{"lambda": name})

    def note_ends(self, outcomes: Sequence[Outcome]) -> None:
        """Log how jobs ended, or count them."""
        if self._traces is not None:
            self._traces.end(outcomes)
        with self._lock:
            lines = max(0, LINES_MAX - self._lines)
            self._lines += len(outcomes)
            self._more.update([outcome.state.lower() for outcome in outcomes[lines:]])
            known = [self._known.pop(outcome.job, None) for outcome in outcomes]
            runtimes = [facts.runtime if facts else "" for facts in known]
            self._ended.update(zip(runtimes, [WORDS[outcome.state] for outcome in outcomes], strict=True))
        for outcome, facts in zip(outcomes[:lines], known, strict=False):
            _log_end(outcome, facts)

    def count_ends(self) -> dict[tuple[str, str], int]:
        """Return how many leases ended since the start, by runtime and how: one of WORDS."""
        with self._lock:
            return dict(self._ended)

    def note_hand_back(self, jobs: int) -> None:
        """Log how many jobs were handed back because they had to wait, or count them."""
        if jobs and self._may_log("handed_back", jobs):
            log.info("handed back jobs that had to wait", jobs=jobs)

    def tick(self) -> None:
        """Log what was only counted, and start anew; called about every second."""
        with self._lock:
            more, self._more, self._lines = self._more, Counter(), 0
        if more:
            log.info("more jobs", **more)

    def _may_log(self, what: str, jobs: int) -> bool:
        with self._lock:
            self._lines += 1
            if self._lines > LINES_MAX:
                self._more[what] += jobs
            return self._lines <= LINES_MAX


def _log_end(outcome: Outcome, known: _Facts | None) -> None:
    facts: dict[str, Any] = {"job": outcome.job}
    if outcome.usage.wall_s is not None:  # nobody counts what a replay takes
        facts["wall_s"] = round(outcome.usage.wall_s, 4)
    if known is not None:
        facts |= {"lambda": known.lambda_, "input_bytes": known.input_bytes}
    if outcome.state is JobState.FINISHED:
        log.info("finished", **facts)
    elif outcome.error:
        log.info("failed", **facts, kind=outcome.error.kind.value, reason=outcome.error.message)
    else:
        log.info("stopped", **facts, reported=outcome.state.value)
