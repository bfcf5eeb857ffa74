"""A leased task in the hands of the executor, and the results that it can have."""

from dataclasses import dataclass
from pathlib import Path

from msgspec import UNSET

from piecework.protocol.messages import JobError, Usage
from piecework.worker_agent.guests.assignment import Assignment, Loss
from piecework.worker_agent.guests.frames import Done
from piecework.worker_agent.runtimes.streams import LogTail
from piecework.worker_agent.tasks import LeasedTask, LogUpdate, Result


@dataclass(slots=True, eq=False, kw_only=True)
class LeasedAssignment(Assignment):
    """One leased task, from ``submit`` until its result is reported or it is taken back."""

    leased: LeasedTask
    _log: LogTail | None = None
    """What it logged so far, as far as it was passed on; None: nothing."""
    _log_read: int = 0

    def hear_log(self, part: bytes, offset: int) -> None:
        if self._log is None:
            self._log = LogTail(self.leased.task.bounds.log_bytes)
        self._log.skip_to(offset)
        self._log.write(part)

    def read_log(self) -> LogUpdate | None:
        """Return what was logged since the last time; None when that is nothing."""
        if self._log is None:
            return None
        offset, part = self._log.read(self._log_read)
        self._log_read = offset + len(part)
        return LogUpdate(job=self.leased.job, lease=self.leased.lease, log=part, offset=offset) if part else None

    def find_result(self, end: Done | Loss, now: float) -> Result:
        """Return what came of it. A file with its output is removed when it was lost."""
        if isinstance(end, Done):
            return end.result
        for spool in (self.frame.spool, self.frame.journal_spool):
            Path(spool).unlink(missing_ok=True)
        offset, tail = (0, b"") if self._log is None else self._log.read()
        return Result(
            error=JobError(kind=end.kind, message=end.message, trace=end.words or UNSET),
            usage=Usage() if self.begun_at is None else Usage(wall_s=now - self.begun_at),
            log=tail,
            log_offset=offset,
            cancelled=end.cancelled,
        )
