"""An executor whose tasks end when the test says so. It promises what the real one promises."""

import threading
from pathlib import Path

from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import JobError, Usage
from piecework.worker_agent.errors import ExecutorStoppedError
from piecework.worker_agent.tasks import File, LogUpdate, Result


class HandExecutor:
    """Fulfils ``worker_agent.jobs.executing.GuestExecutor``; the rest of its methods is for tests."""

    def __init__(self, on_done, slots=2):
        self.on_done = on_done
        self.slots = slots
        self.tasks = []
        """Submitted and not ended; the first ``slots`` of them run."""
        self.stubborn = False
        """Cancelled tasks go on until they are killed."""
        self.instant = False
        """Tasks end as soon as they are submitted, with their input as output."""
        self.logs = []
        self.stopped = False
        self._changed = threading.Condition(threading.RLock())

    def start(self):
        pass

    def submit(self, *tasks):
        with self._changed:
            if self.stopped:
                raise ExecutorStoppedError
            self.tasks.extend(tasks)
            self._changed.notify_all()
        if self.instant:
            for task in tasks:
                self.finish(task.job, task.task.input)

    def cancel(self, job, lease):
        with self._changed:
            found = self._find(job, lease)
        if found and not self.stubborn:
            self._end(found, result(cancelled=True))
        return found is not None

    def take_back(self):
        with self._changed:
            self.tasks, waiting = self.tasks[: self.slots], self.tasks[self.slots :]
            return waiting

    def read_logs(self):
        self.logs, logs = [], self.logs
        return logs

    def stop(self, timeout_s):
        with self._changed:
            self.stopped = True
            left = list(self.tasks)
        for task in left:
            self._end(task, result(error=JobError(kind=ErrorKind.WORKER, message="the worker was shut down")))

    @property
    def busy(self):
        return min(self.slots, len(self.tasks))

    @property
    def waiting(self):
        return len(self.tasks) - self.busy

    # What tests do

    def finish(self, job, output=b"", **fields):
        """Let a task end well."""
        self._end(self._find(job), result(output=output, **fields))

    def fail(self, job, kind=ErrorKind.TRAP, message="unreachable", **fields):
        self._end(self._find(job), result(error=JobError(kind=kind, message=message), **fields))

    def log(self, job, text):
        task = self._find(job)
        self.logs.append(LogUpdate(job=task.job, lease=task.lease, log=text, offset=0))

    def wait_for(self, count, timeout_s=60.0):
        """Wait until so many tasks are here."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.tasks) == count, timeout_s)

    @property
    def jobs(self):
        return [task.job for task in self.tasks]

    def _find(self, job, lease=None):
        found = [task for task in self.tasks if task.job == job and lease in (None, task.lease)]
        return found[-1] if found else None

    def _end(self, task, ended):
        with self._changed:
            self.tasks.remove(task)
            self._changed.notify_all()
        self.on_done([(task, ended)])


def result(output=b"", error=None, wall_s=0.5, log=b"", log_offset=0, usage=None, **fields):
    usage = usage or Usage(wall_s=wall_s)
    output = File(str(output)) if isinstance(output, Path) else output
    return Result(output=output, error=error, usage=usage, log=log, log_offset=log_offset, **fields)
