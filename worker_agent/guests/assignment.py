"""A task on its way through the executor, and the results it can have."""

import math
from dataclasses import dataclass
from pathlib import Path

from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import JobError, Usage
from worker_agent.guests.frames import Assign, Logged
from worker_agent.runtimes.base import Bounds
from worker_agent.runtimes.streams import LogTail
from worker_agent.tasks import LeasedTask, LogUpdate, Result


@dataclass(slots=True, eq=False)
class Assignment:
    """One task, from ``submit`` until its result is reported or it is taken back."""

    key: int
    leased: LeasedTask
    spool: str
    """The file where its output goes when it is large."""
    begun_at: float | None = None
    """When it became the task that its guest process works on; None before."""
    deadline_at: float = math.inf
    """When its guest process is killed, unless it answers."""
    loading: bool = False
    recall: bool = False
    """It was asked back, and the answer has not come."""
    kept: bool = False
    """It was asked back too late."""
    halted: bool = False
    """Someone cancelled it."""
    _log: LogTail | None = None
    """What it logged so far, as far as it was passed on; None: nothing."""
    _log_read: int = 0

    @property
    def bounds(self) -> Bounds:
        return self.leased.task.bounds

    def is_for(self, job: int, lease: str) -> bool:
        return (self.leased.job, self.leased.lease) == (job, lease)

    def frame(self) -> Assign:
        """Return the frame that hands it to a guest process."""
        return Assign(self.key, self.leased.task, self.spool)

    def begin(self, now: float, grace_s: float) -> None:
        """Note that its guest process works on it from now on."""
        self.begun_at = now
        self.deadline_at = now + self.bounds.timeout_s + grace_s

    def reset(self) -> None:
        """Forget what a guest process did with it, so that another can begin it."""
        self.begun_at, self.deadline_at = None, math.inf
        self.loading = self.recall = self.kept = False

    def add_log(self, part: Logged) -> None:
        if self._log is None:
            self._log = LogTail(self.bounds.log_bytes)
        self._log.skip_to(part.offset)
        self._log.write(part.log)

    def read_log(self) -> LogUpdate | None:
        """Return what was logged since the last time; None when that is nothing."""
        if self._log is None:
            return None
        offset, part = self._log.read(self._log_read)
        self._log_read = offset + len(part)
        return LogUpdate(job=self.leased.job, lease=self.leased.lease, log=part, offset=offset) if part else None

    def fail(
        self, kind: ErrorKind, message: str, now: float, *, trace: str = "", cancelled: bool = False
    ) -> Result:
        """Return a result for a task whose guest process did not report one. Its output is gone."""
        Path(self.spool).unlink(missing_ok=True)
        offset, tail = (0, b"") if self._log is None else self._log.read()
        return Result(
            error=JobError(kind=kind, message=message, trace=trace)
            if trace
            else JobError(kind=kind, message=message),
            usage=Usage() if self.begun_at is None else Usage(wall_s=now - self.begun_at),
            log=tail,
            log_offset=offset,
            cancelled=cancelled,
        )

    def cancel(self, now: float) -> Result:
        """Return the result of a task that was stopped because someone asked for it."""
        return self.fail(ErrorKind.WORKER, "it was cancelled", now, cancelled=True)
