"""The log lines about jobs: one for each, until they become too many to read."""

import threading
from collections import Counter
from collections.abc import Sequence

import structlog

from piecework.protocol.messages import LeasedJob, Outcome
from piecework.protocol.states import JobState

log = structlog.get_logger()

LINES_MAX = 20
"""Lines between two ticks, about a second; what is more is counted."""


class Tally:
    """Logs what becomes of jobs. Above LINES_MAX lines a second they are counted, and the sums are logged."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines = 0
        self._more: Counter[str] = Counter()

    def note_contract(self, jobs: Sequence[LeasedJob]) -> None:
        """Log which jobs came, or count them."""
        if self._may_log("contracted", len(jobs)):
            log.info("contracted", jobs=" ".join(str(int(job.job)) for job in jobs))

    def note_ends(self, outcomes: Sequence[Outcome]) -> None:
        """Log how jobs ended, or count them."""
        with self._lock:
            lines = max(0, LINES_MAX - self._lines)
            self._lines += len(outcomes)
            self._more.update([outcome.state.value.lower() for outcome in outcomes[lines:]])
        for outcome in outcomes[:lines]:
            _log_end(outcome)

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


def _log_end(outcome: Outcome) -> None:
    wall_s = outcome.usage.wall_s
    facts = {"job": outcome.job, "wall_s": wall_s if wall_s is None else round(wall_s, 4)}
    if outcome.state is JobState.FINISHED:
        log.info("finished", **facts)
    elif outcome.error:
        log.info("failed", **facts, kind=outcome.error.kind.value, reason=outcome.error.message)
    else:
        log.info("stopped", **facts, reported=outcome.state.value)
