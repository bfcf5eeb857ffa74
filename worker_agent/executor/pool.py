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

ADD_AHEAD = 2
"""A task that comes is handed out at once to a process that has fewer; else it waits for others to go along."""

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
        return sum(1 for slot in self.slots if slot.load)

    @property
    def waiting(self) -> int:
        """How many tasks do not run yet."""
        return len(self._queue) + sum(slot.load - 1 for slot in self.slots if slot.load)

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

    def add(self, task: Assignment, now: float) -> bool:
        """Queue a task. Returns whether it may begin at once: else nothing changed for the slots."""
        self._queue.append(task)
        ahead = min(ADD_AHEAD, self._depth)
        if all(slot.load >= ahead for slot in self.slots):
            return False
        self._hand_out(now, ahead)
        return True

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

    def work(self, now: float, heard: Iterable[Slot] | None = None) -> None:
        """Deal with all that happened, and hand out tasks. ``heard``: only these slots have something to say."""
        for slot in self.slots if heard is None else heard:
            slot.read(now)
        for slot in self.slots:
            slot.tend(now)
        self._queue.extendleft(reversed(self._news.returned))
        self._news.returned.clear()
        self._note_failed_starts(now)
        self._hand_out(now, self._depth)

    def refuse(self, now: float) -> None:
        """Fail the tasks that no slot has: the worker is shut down."""
        while self._queue:
            self._fail_next("the worker was shut down", now)

    def shut_down(self, now: float) -> None:
        """End all processes, and fail all tasks."""
        for slot in self.slots:
            slot.shut_down(now)
        self.refuse(now)

    def _hand_out(self, now: float, depth: int) -> None:
        """Share the queue among the slots, up to so many tasks for each; those with the fewest come first."""
        if self.holding:
            return
        ready = sorted((slot for slot in self.slots if slot.is_ready), key=lambda slot: slot.load)
        if self._queue and ready and ready[0].load < depth:
            fair = math.ceil((len(self._queue) + sum(slot.load for slot in ready)) / len(ready))
            for slot in ready:
                room = min(fair, slot.find_depth(now, depth)) - slot.load
                if self._queue and room > 0:
                    slot.give([self._queue.popleft() for _ in range(min(room, len(self._queue)))], now)
        if not self._queue and any(not slot.load for slot in ready):
            # A task that was sent ahead waits behind one that takes long, and this slot has nothing to do.
            for slot in ready:
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
