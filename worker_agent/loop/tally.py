"""The log lines about ended jobs: one each, until they become too many to read."""

import threading

import structlog

from piecework.protocol.messages import Outcome
from piecework.protocol.states import JobState

log = structlog.get_logger()

LINES_MAX = 20
"""Ended jobs that are logged one by one between two ticks (about a second)."""


class Tally:
    """Logs how jobs end. Above LINES_MAX a second they are counted, and the sum is logged."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines = 0
        self._more: dict[JobState, int] = {}

    def note(self, outcome: Outcome) -> None:
        """Log that a job ended, or count it."""
        with self._lock:
            self._lines += 1
            if self._lines > LINES_MAX:
                self._more[outcome.state] = self._more.get(outcome.state, 0) + 1
                return
        _log_end(outcome)

    def tick(self) -> None:
        """Log what was only counted, and start anew; called about every second."""
        with self._lock:
            more, self._more, self._lines = self._more, {}, 0
        if more:
            log.info("more jobs ended", **{state.value.lower(): count for state, count in more.items()})


def _log_end(outcome: Outcome) -> None:
    wall_s = outcome.usage.wall_s
    facts = {"job": outcome.job, "wall_s": wall_s if wall_s is None else round(wall_s, 4)}
    if outcome.state is JobState.FINISHED:
        log.info("finished", **facts)
    elif outcome.error:
        log.info("failed", **facts, kind=outcome.error.kind.value, reason=outcome.error.message)
    else:
        log.info("stopped", **facts, reported=outcome.state.value)
