"""Slots and the tasks that wait for them: who gets what, and when. A state machine without input or output."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Generic, TypeVar

from piecework.protocol.codes import ErrorKind
from piecework.worker_agent.guests.assignment import CANCELLED, SHUT_DOWN, Assignment, Loss
from piecework.worker_agent.guests.frames import Ask, Done
from piecework.worker_agent.guests.slot import News, Order, Phase, Policy, Slot

TICK_S = 0.025
"""So often all slots are looked at, whoever has something to say."""
ADD_AHEAD = 2
"""Tasks that come are handed out at once to a process that has fewer; else they wait for others to go along."""

A = TypeVar("A", bound=Assignment)


class Pool(Generic[A]):
    """Hands tasks to slots in the order in which they came. Not thread-safe."""

    def __init__(self, policy: Policy[A], slots: int) -> None:
        self._policy = policy
        self._news: News[A] = News()
        self.slots = tuple(Slot(policy, self._news) for _ in range(slots))
        self.holding = False
        """Nothing is handed out."""
        self.draining = False
        """Processes without a task are ended, and none is started."""
        self.queue: deque[A] = deque()
        """Tasks that no slot has."""
        self._look_at = -math.inf
        """When to look at all slots again."""

    @property
    def busy(self) -> int:
        """How many tasks run."""
        return sum(1 for slot in self.slots if slot.tasks)

    @property
    def waiting(self) -> int:
        """How many tasks do not run yet."""
        return len(self.queue) + sum(len(slot.tasks) - 1 for slot in self.slots if slot.tasks)

    @property
    def is_recalling(self) -> bool:
        """A guest process was asked for a task and did not answer yet."""
        return any(task.recalled for slot in self.slots for task in slot.tasks)

    @property
    def is_busy(self) -> bool:
        """A task runs."""
        return any(slot.tasks for slot in self.slots)

    @property
    def has_idle(self) -> bool:
        """A slot would begin a task at once."""
        for slot in self.slots:  # noqa: SIM110  # half the time of any()
            if slot.is_ready and not slot.tasks:
                return True
        return False

    @property
    def is_gone(self) -> bool:
        """There is no process."""
        return all(slot.phase is Phase.NONE for slot in self.slots)

    @property
    def has_ended(self) -> bool:
        """Tasks ended, and ``take_ended`` was not called since."""
        return bool(self._news.ended)

    def next_due_at(self, now: float) -> float:
        """Return when ``work`` has something to do, unless something else happens before."""
        if self._news.ended:
            return -math.inf
        return min((slot.next_due_at(now) for slot in self.slots), default=math.inf)

    def add(self, tasks: Iterable[A], now: float) -> Sequence[Slot[A]]:
        """Queue tasks; some may begin at once. Returns the slots for which something changed."""
        self.queue.extend(tasks)
        if len(self.queue) == 1 and not self.holding:
            # As for one that comes alone, only sooner.
            for slot in self.slots:
                if slot.is_ready and not slot.tasks:
                    slot.give([self.queue.popleft()], now)
                    return [slot]
        return self._hand_out([slot for slot in self.slots if len(slot.tasks) < ADD_AHEAD], now)

    def cancel(self, is_wanted: Callable[[A], bool], now: float) -> bool:
        """Stop a task wherever it stands. Returns False when there is none that is wanted."""
        for task in self.queue:
            if is_wanted(task):
                self.queue.remove(task)
                self._news.ended.append((task, CANCELLED))
                return True
        for slot in self.slots:
            for task in slot.tasks:
                if is_wanted(task):
                    slot.halt(task, now)
                    return True
        return False

    def recall(self) -> None:
        """Ask the slots for the tasks that did not begin; ``work`` queues those that come back."""
        for slot in self.slots:
            slot.recall()

    def take_queue(self) -> list[A]:
        """Remove and return the tasks that no slot has."""
        taken = list(self.queue)
        self.queue.clear()
        return taken

    def take_ended(self) -> list[tuple[A, Done | Loss]]:
        """Remove and return the tasks that ended, and how."""
        ended, self._news.ended = self._news.ended, []
        return ended

    def take_orders(self) -> list[tuple[Slot[A], Order]]:
        """Remove and return what to do with processes; each is to be answered to its slot."""
        orders, self._news.orders = self._news.orders, []
        return orders

    def take_asked(self) -> list[tuple[Slot[A], A, Ask]]:
        """Remove and return what guests want of their namespaces."""
        if not self._news.asked:
            return []
        asked, self._news.asked = self._news.asked, []
        return asked

    def take_compiled(self) -> bool:
        """Tell whether code was compiled or loaded since the last call."""
        compiled, self._news.compiled = self._news.compiled, False
        return compiled

    def choose(self, now: float, heard: Sequence[Slot[A]]) -> Sequence[Slot[A]]:
        """Return the slots to look at when only those ``heard`` have something to say; none: nobody knows."""
        if heard and now < self._look_at:
            return heard
        self._look_at = now + TICK_S
        return self.slots

    def work(self, now: float, slots: Sequence[Slot[A]]) -> tuple[Sequence[Slot[A]], list[tuple[str, int]]]:
        """Deal with what happened in these slots, and hand out tasks.

        Returns the slots for which something may have changed, and why processes did not start, each with the
        number of those before it in a row.
        """
        for slot in slots:
            slot.tend(now)
            if not slot.is_ready and slot.wants_start(now) and self._may_start(slot):
                slot.start()
        if self._news.returned:
            slots = self.slots
            self._queue_again()
        failed_starts = self._deal_with_failed_starts() if self._news.failed_starts else []
        if self.queue:
            self._hand_out(slots, now)
        if self._share(now):
            slots = self.slots
        if self.draining:
            self._drain()
        return slots, failed_starts

    def refuse(self) -> None:
        """Fail the tasks that no slot has: the worker is shut down."""
        self._news.ended.extend([(task, SHUT_DOWN) for task in self.take_queue()])

    def shut_down(self) -> None:
        """End all processes, and fail all tasks."""
        self.draining = True
        for slot in self.slots:
            slot.shut_down()
        self.refuse()

    def _may_start(self, slot: Slot[A]) -> bool:
        if self.draining:
            return False
        limit = self._policy.starts
        return limit == math.inf or slot.starts or sum(each.starts for each in self.slots) < limit

    def _queue_again(self) -> None:
        """Let tasks that came back wait in the order in which they came first."""
        for task in self._news.returned:
            later = (place for place, other in enumerate(self.queue) if other.key > task.key)
            self.queue.insert(next(later, len(self.queue)), task)
        self._news.returned.clear()

    def _hand_out(self, slots: Sequence[Slot[A]], now: float) -> list[Slot[A]]:
        """Give these slots their fair share of the queue, as deep as they may be. Returns who got some."""
        given: list[Slot[A]] = []
        queue = self.queue
        if self.holding or not queue or not slots:
            return given
        ready = [slot for slot in self.slots if slot.is_ready]
        fair = math.ceil((len(queue) + sum([len(slot.tasks) for slot in ready])) / max(1, len(ready)))
        # Those with the fewest come first.
        for slot in sorted(slots, key=attrgetter("load")):
            room = min(fair, slot.find_depth(now)) - len(slot.tasks) if slot.is_ready else 0
            tasks: list[A] = []
            while queue and len(tasks) < room and (queue[0].goes_ahead or not (tasks or slot.tasks)):
                tasks.append(queue.popleft())
            if tasks:
                slot.give(tasks, now)
                given.append(slot)
        return given

    def _share(self, now: float) -> bool:
        """Ask back what waits behind tasks that take long, when other slots have nothing to do."""
        if not self._policy.always_recalls and (self.queue or self.holding or not self.has_idle):
            return False
        recalled = False
        for slot in self.slots:
            if len(slot.tasks) > 1 and not slot.is_quick(now):
                recalled = slot.recall() or recalled
        return recalled

    def _drain(self) -> None:
        if not self.queue:
            for slot in self.slots:
                slot.retire()
        elif self.is_gone:
            self.refuse()

    def _deal_with_failed_starts(self) -> list[tuple[str, int]]:
        failed_starts, self._news.failed_starts = self._news.failed_starts, []
        for reason, in_a_row in failed_starts:
            works = any(slot.is_ready for slot in self.slots)
            if in_a_row >= self._policy.broken_after and self.queue and not works:
                message = f"the worker cannot start a guest process: {reason}"
                self._news.ended.append((self.queue.popleft(), Loss(ErrorKind.WORKER, message)))
        return failed_starts
