"""The slots of an executor and the tasks that wait for them: who gets what, and when."""

import math
from collections import deque
from collections.abc import Iterable

import structlog

from piecework.protocol.codes import ErrorKind
from worker_agent.executor.assignment import Assignment
from worker_agent.executor.slot import News, Slot
from worker_agent.tasks import LogUpdate, Result, Task

BROKEN_AFTER = 3
"""After so many processes in a row that did not start, each further one costs a waiting task."""

_log = structlog.get_logger(__name__)


class Pool:
    """Hands tasks to slots in the order in which they came. Not thread-safe."""

    def __init__(self, slots: Iterable[Slot], news: News, *, depth: int) -> None:
        self.slots = tuple(slots)
        self.holding = False
        """Nothing is handed out."""
        self._queue: deque[Assignment] = deque()
        self._news = news
        self._depth = depth

    @property
    def busy(self) -> int:
        """How many tasks run."""
        return sum(1 for slot in self.slots if slot.tasks)

    @property
    def waiting(self) -> int:
        """How many tasks do not run yet."""
        return len(self._queue) + sum(len(slot.tasks[1:]) for slot in self.slots)

    @property
    def is_recalling(self) -> bool:
        """A guest process was asked for a task and did not answer yet."""
        return any(task.recall for slot in self.slots for task in slot.tasks)

    @property
    def has_mail(self) -> bool:
        """A guest process did not take all that was sent to it."""
        return any(slot.process is not None and slot.process.has_mail for slot in self.slots)

    def next_due_at(self, now: float) -> float:
        """Return when ``work`` has something to do, unless something else happens before."""
        if self._news.finished:
            return -math.inf
        return min((slot.next_due_at(now) for slot in self.slots), default=math.inf)

    def add(self, task: Assignment, now: float) -> None:
        """Queue a task; it may begin at once."""
        self._queue.append(task)
        self._hand_out(now)

    def cancel(self, job: int, lease: str, now: float) -> bool:
        """Stop a task wherever it stands. Returns False when it is not here."""
        for task in self._queue:
            if task.is_for(job, lease):
                self._queue.remove(task)
                self._news.finished.append((task, task.cancel(now)))
                return True
        for slot in self.slots:
            for task in slot.tasks:
                if task.is_for(job, lease):
                    slot.halt(task, now)
                    return True
        return False

    def recall(self) -> None:
        """Ask the slots for the tasks that did not begin; ``work`` queues those that come back."""
        for slot in self.slots:
            slot.recall()

    def take_queue(self) -> list[Task]:
        """Remove and return the tasks that no slot has."""
        taken = [assignment.task for assignment in self._queue]
        self._queue.clear()
        return taken

    def take_finished(self) -> list[tuple[Task, Result]]:
        """Remove and return the tasks that are done."""
        finished = [(assignment.task, result) for assignment, result in self._news.finished]
        self._news.finished.clear()
        return finished

    def take_compiled(self) -> bool:
        """Tell whether code was compiled or loaded since the last call."""
        compiled, self._news.compiled = self._news.compiled, False
        return compiled

    def read_logs(self) -> list[LogUpdate]:
        """Return what the running tasks logged since the last call."""
        running = [task for slot in self.slots for task in slot.tasks[:1]]
        return [update for task in running if (update := task.read_log()) is not None]

    def work(self, now: float) -> None:
        """Deal with all that happened, and hand out tasks."""
        for slot in self.slots:
            slot.read(now)
            slot.tend(now)
        self._queue.extendleft(reversed(self._news.returned))
        self._news.returned.clear()
        self._note_failed_starts(now)
        self._hand_out(now)

    def refuse(self, now: float) -> None:
        """Fail the tasks that no slot has: the worker is shut down."""
        while self._queue:
            self._fail_next("the worker was shut down", now)

    def shut_down(self, now: float) -> None:
        """End all processes, and fail all tasks."""
        for slot in self.slots:
            slot.shut_down(now)
        self.refuse(now)

    def _hand_out(self, now: float) -> None:
        if self.holding:
            return
        for slot in self.slots:
            if self._queue and slot.is_idle:
                slot.give(self._queue.popleft(), now)
        for slot in self.slots:
            while self._queue and len(slot.tasks) < self._depth and slot.is_quick(now):
                slot.give(self._queue.popleft(), now)
        if not self._queue and any(slot.is_idle for slot in self.slots):
            # A task that was sent ahead waits behind one that takes long, and this slot has nothing to do.
            for slot in self.slots:
                if not slot.is_quick(now):
                    slot.recall()

    def _note_failed_starts(self, now: float) -> None:
        for reason, in_a_row in self._news.failed_starts:
            _log.warning("guest process did not start", reason=reason, in_a_row=in_a_row)
            works = any(slot.is_ready for slot in self.slots)
            if in_a_row >= BROKEN_AFTER and self._queue and not works:
                self._fail_next(f"the worker cannot start a guest process: {reason}", now)
        self._news.failed_starts.clear()

    def _fail_next(self, message: str, now: float) -> None:
        task = self._queue.popleft()
        self._news.finished.append((task, task.fail(ErrorKind.WORKER, message, now)))
