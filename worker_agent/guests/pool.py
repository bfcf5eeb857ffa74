"""The slots of an executor and the tasks that wait for them: who gets what, and when."""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from operator import attrgetter

import structlog

from piecework.protocol.codes import ErrorKind
from worker_agent.guests.assignment import Assignment
from worker_agent.guests.slot import News, Slot
from worker_agent.tasks import LeasedTask, LogUpdate, Result

BROKEN_AFTER = 3
"""After so many processes in a row that did not start, each further one costs a waiting task."""

TICK_S = 0.025
"""So often all slots are looked at, whoever has something to say."""
ADD_AHEAD = 2
"""Tasks that come are handed out at once to a process that has fewer; else they wait for others to go along."""

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
        self._look_at = -math.inf
        """When to look at all slots again."""

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
    def is_busy(self) -> bool:
        """A task runs."""
        return any(slot.load for slot in self.slots)

    @property
    def has_finished(self) -> bool:
        """Tasks are done, and ``take_finished`` was not called since."""
        return bool(self._news.finished)

    def next_due_at(self, now: float) -> float:
        """Return when ``work`` has something to do, unless something else happens before."""
        if self._news.finished:
            return -math.inf
        return min((slot.next_due_at(now) for slot in self.slots), default=math.inf)

    def add(self, tasks: Iterable[Assignment], now: float) -> Sequence[Slot]:
        """Queue tasks; some may begin at once. Returns the slots for which something changed."""
        self._queue.extend(tasks)
        return self._hand_out([slot for slot in self.slots if slot.load < ADD_AHEAD], now)

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

    def take_queue(self) -> list[LeasedTask]:
        """Remove and return the tasks that no slot has."""
        taken = [assignment.leased for assignment in self._queue]
        self._queue.clear()
        return taken

    def take_finished(self) -> list[tuple[LeasedTask, Result]]:
        """Remove and return the tasks that are done."""
        finished = [(assignment.leased, result) for assignment, result in self._news.finished]
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

    def work(self, now: float, heard: Sequence[Slot] = ()) -> Sequence[Slot]:
        """Deal with what happened, and hand out tasks. Returns the slots for which something may have changed.

        Only the processes of the slots ``heard`` have something to say; none: nobody knows.
        """
        due = not heard or now >= self._look_at
        slots = self.slots if due else heard
        if due:
            self._look_at = now + TICK_S
        for slot in slots:
            slot.read(now)
            slot.tend(now)
        if self._news.returned:
            slots = self.slots
            self._queue.extendleft(reversed(self._news.returned))
            self._news.returned.clear()
        self._note_failed_starts(now)
        self._hand_out(slots, now)
        self._share(now)
        return slots

    def refuse(self, now: float) -> None:
        """Fail the tasks that no slot has: the worker is shut down."""
        while self._queue:
            self._fail_next("the worker was shut down", now)

    def shut_down(self, now: float) -> None:
        """End all processes, and fail all tasks."""
        for slot in self.slots:
            slot.shut_down(now)
        self.refuse(now)

    def _hand_out(self, slots: Sequence[Slot], now: float) -> list[Slot]:
        """Give these slots their fair share of the queue, as deep as they may be. Returns who got some."""
        given: list[Slot] = []
        if self.holding or not self._queue or not slots:
            return given
        ready = [slot for slot in self.slots if slot.is_ready]
        fair = math.ceil((len(self._queue) + sum([slot.load for slot in ready])) / max(1, len(ready)))
        # Those with the fewest come first.
        for slot in sorted(slots, key=attrgetter("load")):
            room = min(fair, slot.find_depth(now, self._depth)) - slot.load if slot.is_ready else 0
            if self._queue and room > 0:
                slot.give([self._queue.popleft() for _ in range(min(room, len(self._queue)))], now)
                given.append(slot)
        return given

    def _share(self, now: float) -> None:
        """Ask back what waits behind tasks that take long, when other slots have nothing to do."""
        if not self._queue and not self.holding and any(slot.is_idle for slot in self.slots):
            for slot in self.slots:
                if slot.load > 1 and not slot.is_quick(now):
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
