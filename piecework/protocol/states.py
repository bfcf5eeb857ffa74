"""The states of a job, and how old and new clients spell them."""

from enum import StrEnum


class JobState(StrEnum):
    """Where a job stands. The values are the wire names, letter by letter."""

    PAUSED = "Paused"
    """Not queued; someone must resume it."""
    WAITING = "Waiting"
    """Due later, or backing off after a failed attempt."""
    ENQUEUED = "Enqueued"
    """Can be contracted now."""
    PRE_ASSIGNED = "PreAssigned"
    """Set aside for one worker."""
    RUNNING = "Running"
    """Leased to a worker."""
    FINISHED = "Finished"
    """Final: it has an accepted result."""
    FAILED = "Fail_Execution"
    """Final: every attempt failed."""
    CANCELLED = "Cancelled"
    """Final: someone, or its expiry time, ended it before it had a result."""

    @property
    def is_final(self) -> bool:
        return self in FINAL_STATES


NEXT_STATES: dict[JobState, frozenset[JobState]] = {
    JobState.PAUSED: frozenset({JobState.WAITING, JobState.ENQUEUED, JobState.CANCELLED}),
    JobState.WAITING: frozenset({JobState.PAUSED, JobState.ENQUEUED, JobState.CANCELLED}),
    JobState.ENQUEUED: frozenset({JobState.PAUSED, JobState.WAITING, JobState.RUNNING, JobState.CANCELLED}),
    JobState.PRE_ASSIGNED: frozenset({JobState.PAUSED, JobState.ENQUEUED, JobState.CANCELLED}),
    JobState.RUNNING: frozenset(
        {JobState.WAITING, JobState.ENQUEUED, JobState.FINISHED, JobState.FAILED, JobState.CANCELLED}
    ),
    JobState.FINISHED: frozenset(),
    JobState.FAILED: frozenset({JobState.PAUSED, JobState.WAITING, JobState.ENQUEUED}),
    JobState.CANCELLED: frozenset({JobState.PAUSED, JobState.WAITING, JobState.ENQUEUED}),
}
"""Where a job may go from each state; nothing else happens to any. New ones are paused, wait or are enqueued.
From a final state it goes only when somebody has it run again. Beside these, a job that nobody ran ends when it is
answered with the result of an equal one, and a finished one is run again when its result is in doubt.
"""
FINAL_STATES = frozenset({JobState.FINISHED, JobState.FAILED, JobState.CANCELLED})
UNSTARTED_STATES = frozenset(NEXT_STATES) - FINAL_STATES - {JobState.RUNNING}

_SYNONYMS = {
    "failed": JobState.FAILED,
    "fail": JobState.FAILED,
    "ready": JobState.ENQUEUED,
    "resumed": JobState.ENQUEUED,
    "canceled": JobState.CANCELLED,
} | {state.value.lower(): state for state in JobState}


def parse_state(text: str) -> JobState:
    """Read a state in any case and under any of its synonyms.

    Raises ValueError, naming the states there are, for an unknown one.
    """
    try:
        return _SYNONYMS[text.strip().lower()]
    except KeyError:
        known = ", ".join(state.value for state in JobState)
        raise ValueError(f"there is no job state {text[:40]!r}; the states are {known}") from None
