"""A task in the hands of a pool of guest processes, and how it can be lost."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from piecework.protocol.codes import ErrorKind
from piecework.worker_agent.guests.frames import Assign
from piecework.worker_agent.runtimes.compiling.refusals import explain_end, explain_overdue


@dataclass(slots=True, eq=False)
class Assignment:
    """One task, from the moment when a pool gets it until it ends or is taken back."""

    key: int
    frame: Assign
    """What hands it to a guest process."""
    goes_ahead: bool = True
    """It may be sent to a process that has other tasks yet."""
    begun_at: float | None = None
    """When it became the task that its process works on; None before."""
    deadline_at: float = math.inf
    """When its process is killed, unless it answers."""
    loading: bool = False
    recalled: bool = False
    """It was asked back, and the answer has not come."""
    kept: bool = False
    """It was asked back too late."""
    halted: bool = False
    """Someone cancelled it."""

    def begin(self, now: float, grace_s: float) -> None:
        """Note that its guest process works on it from now on."""
        self.begun_at = now
        self.deadline_at = now + self.frame.task.bounds.timeout_s + grace_s

    def reset(self) -> None:
        """Forget what a guest process did with it, so that another can begin it."""
        self.begun_at, self.deadline_at = None, math.inf
        self.loading = self.recalled = self.kept = False

    def hear_log(self, part: bytes, offset: int) -> None:
        """Take in what it logged; ``offset`` bytes came before."""


class ProcessEnd(NamedTuple):
    """How a guest process ended."""

    how: str
    """As ``SIGSEGV``, or ``exit code 1``."""
    words: str
    """The last that it wrote to its standard error."""
    working_on: int
    """The key of the task that it began last; 0: it began none."""


class Loss(NamedTuple):
    """The end of a task of which no guest process reported an end."""

    kind: ErrorKind
    message: str
    words: str = ""
    """The last that the process wrote."""
    overdue: bool = False
    """It took too long."""
    cancelled: bool = False


CANCELLED = Loss(ErrorKind.WORKER, "it was cancelled", cancelled=True)
SHUT_DOWN = Loss(ErrorKind.WORKER, "the worker was shut down")


def explain_loss(task: Assignment, end: ProcessEnd, load_s: float, *, overdue: bool) -> Loss:
    """Say why a task ended with its process, which was killed because it was overdue, or died."""
    if task.halted:
        return CANCELLED
    if overdue and task.loading:
        return Loss(ErrorKind.LOAD, explain_overdue(load_s), overdue=True)
    if overdue:
        limit_s = task.frame.task.bounds.timeout_s
        message = f"it ran longer than its limit of {limit_s:g} s, and could only be killed"
        return Loss(ErrorKind.TIMEOUT, message, overdue=True)
    if task.loading and (reason := explain_end(end.how, end.words, load_s)):
        # It would be the same anywhere: nobody need try again.
        return Loss(ErrorKind.LOAD, reason, end.words)
    doing = "loading the module" if task.loading else "running the guest"
    return Loss(ErrorKind.TRAP, f"the process ended while {doing}: {end.how}", end.words)
