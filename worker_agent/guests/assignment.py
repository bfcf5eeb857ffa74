"""A task on its way through the executor, and the results it can have."""

import math
from dataclasses import dataclass, field
from pathlib import Path

from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import Grants, JobError, Usage
from worker_agent.guests.frames import Assign, Done, Logged
from worker_agent.runtimes.base import Bounds
from worker_agent.runtimes.streams import LogTail
from worker_agent.tasks import LogUpdate, Result, Task

NO_GRANTS = Grants()


@dataclass(slots=True, eq=False)
class Assignment:
    """One task, from ``submit`` until its result is reported or it is taken back."""

    key: int
    task: Task
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
    bounds: Bounds = field(init=False)
    _log: LogTail | None = None
    """What it logged so far, as far as it was passed on; None: nothing."""
    _log_read: int = 0

    def __post_init__(self) -> None:
        self.bounds = Bounds.of(self.task.limits)

    def is_for(self, job: int, lease: str) -> bool:
        return (self.task.job, self.task.lease) == (job, lease)

    def frame(self) -> Assign:
        """Return the frame that hands it to a guest process."""
        task = self.task
        inline = isinstance(task.input, bytes)
        return Assign(
            key=self.key,
            runtime=task.runtime,
            codex=str(task.codex),
            checksum=task.codex_checksum,
            input=task.input if isinstance(task.input, bytes) else None,
            input_path="" if inline else str(task.input),
            spool=self.spool,
            bounds=self.bounds,
            args=task.args,
            env=task.env,
            seed=task.seed if task.deterministic else None,
            mode=task.mode,
            grants=None if task.grants == NO_GRANTS else task.grants,
        )

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
        return LogUpdate(job=self.task.job, lease=self.task.lease, log=part, offset=offset) if part else None

    def complete(self, done: Done) -> Result:
        """Return the result that its guest process reported."""
        return Result(
            output=Path(self.spool) if done.spooled else done.output,
            error=done.error,
            usage=done.usage,
            log=done.log,
            log_offset=done.log_offset,
            cancelled=done.halted,
            unfit=done.unfit,
        )

    def fail(
        self, kind: ErrorKind, message: str, now: float, *, trace: str = "", cancelled: bool = False
    ) -> Result:
        """Return a result for a task whose guest process did not report one. Its output is gone."""
        Path(self.spool).unlink(missing_ok=True)
        offset, tail = (0, b"") if self._log is None else self._log.read()
        return Result(
            output=b"",
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
