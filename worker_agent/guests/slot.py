"""One guest process after the other, and the tasks that it was given: a state machine without input or output.

Whoever drives it tells what happened, and when; it tells what to do: frames to send, and orders to carry out.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import JobError
from piecework.worker_agent.guests.assignment import (
    CANCELLED,
    SHUT_DOWN,
    Assignment,
    Loss,
    ProcessEnd,
    explain_loss,
)
from piecework.worker_agent.guests.frames import (
    LOAD_S,
    Ask,
    Done,
    Frame,
    FromGuests,
    Halt,
    Loaded,
    Loading,
    Logged,
    Ready,
    Recall,
    Returned,
)

START_WITHIN_S = 30.0
"""A guest process that takes no tasks after this is given up."""
HALT_WITHIN_S = 1.0
"""So soon a cancelled guest has ended, or its process is killed."""
AHEAD_S = 0.005
"""A quick process has about so much work at hand, so that it does not wait for the next task."""
RESTART_S, RESTART_MAX_S = 0.2, 30.0
"""Pauses between starts that fail; each is twice the last."""

A = TypeVar("A", bound=Assignment)


class Rehearsal(NamedTuple, Generic[A]):
    """What a process must do well before it gets tasks."""

    assign: Callable[[], A]
    explain: Callable[[JobError], str]
    """Says why a process is of no use, from what went wrong."""


@dataclass(slots=True, frozen=True)
class Policy(Generic[A]):
    """How a pool treats processes and tasks. Times are in seconds; those here are for jobs."""

    grace_s: float = 2.0
    """Beyond a task's time limit or ``load_s``, until it answers."""
    load_s: float = LOAD_S
    """To load and compile a task's code."""
    quick_s: float = 0.05
    """A task is sent ahead of its turn only to a process whose tasks are quicker than this."""
    depth: int = 64
    """A process holds so many tasks at most; one of them runs."""
    starts: float = math.inf
    """So many processes start at a time; those that do not start count until they do."""
    broken_after: float = 3
    """After so many processes in a row that did not start, each further one costs a waiting task."""
    repeats: bool = True
    """Tasks are run again that a process may have ended, and not said so, before the one that it died in."""
    always_recalls: bool = False
    """What waits behind a slow task is asked back also when no process is free."""
    rehearsal: Rehearsal[A] | None = None


class Phase(Enum):
    """What there is of a slot's process."""

    NONE = "none"
    STARTING = "starting"
    READY = "ready"
    ENDING = "ending"


class Order(Enum):
    """What a slot's driver is to do."""

    START = "start"
    """Start a process; answered by ``started`` or ``failed``."""
    KILL = "kill"
    """Kill the process; answered by ``ended``, as the next."""
    BURY = "bury"
    """Wait for the process, which closed its link."""


@dataclass(slots=True)
class News(Generic[A]):
    """What happened in the slots and was not dealt with yet."""

    ended: list[tuple[A, Done | Loss]] = field(default_factory=list)
    returned: list[A] = field(default_factory=list)
    """Tasks that did not begin; another process shall have them."""
    failed_starts: list[tuple[str, int]] = field(default_factory=list)
    """Why a guest process did not start, and how many in a row did not."""
    orders: "list[tuple[Slot[A], Order]]" = field(default_factory=list)
    asked: "list[tuple[Slot[A], A, Ask]]" = field(default_factory=list)
    """What guests want of their namespaces, and the task of each."""
    compiled: bool = False
    """Code was loaded that was not loaded before."""


class Slot(Generic[A]):
    """Keeps one guest process running, and holds it to the time limits of its tasks."""

    def __init__(self, policy: Policy[A], news: News[A]) -> None:
        self.phase = Phase.NONE
        self.is_ready = False
        """Its process takes tasks."""
        self.tasks: deque[A] = deque()
        """Its tasks; the first of them runs."""
        self.outbox: list[Frame] = []
        """To be sent to the process; whoever sends them takes them out."""
        self.is_blocked = False
        """The process did not take all that was sent: it gets nothing ahead. Set by its driver, if at all."""
        self.failed_starts = 0
        """How many starts in a row failed."""
        self._policy = policy
        self._news = news
        self._due_at = -math.inf
        """When to start the next process; while one starts: when to give it up."""
        self._usual_s = math.inf
        """How long its tasks took, wall time; the last counts an eighth."""
        self._failure: str | None = None
        """Of a process that ends before it was ready: why, when that is known."""
        self._overdue = self._retired = False
        """Why the process ends."""

    @property
    def is_idle(self) -> bool:
        """It would begin a task at once."""
        return self.is_ready and not self.tasks

    @property
    def load(self) -> int:
        """How many tasks it has; one of them runs."""
        return len(self.tasks)

    @property
    def starts(self) -> bool:
        """A process starts, or did not start the last time."""
        return self.phase is Phase.STARTING or self.failed_starts > 0 or self._failure is not None

    def is_quick(self, now: float) -> bool:
        """Tell whether a task sent ahead would soon have its turn."""
        quick_s = self._policy.quick_s
        begun_at = self.tasks[0].begun_at if self.tasks else None
        return self.is_ready and self._usual_s < quick_s and (begun_at is None or now < begun_at + quick_s)

    def find_depth(self, now: float) -> int:
        """Return how many tasks it should have, the running one included; 1 unless it is quick."""
        if self.is_blocked or not self.is_quick(now):
            return 1
        limit = self._policy.depth
        return max(2, min(limit, round(AHEAD_S / max(self._usual_s, AHEAD_S / limit))))

    def next_due_at(self, now: float) -> float:
        """Return when it is to be looked at, unless something else happens before."""
        if not self.tasks:
            return math.inf if self.is_ready else self._due_at
        due = self.tasks[0].deadline_at
        begun_at = self.tasks[0].begun_at if len(self.tasks) > 1 else None
        if begun_at is not None and begun_at + self._policy.quick_s > now:
            # From then on the tasks behind the first had better go elsewhere.
            due = min(due, begun_at + self._policy.quick_s)
        return due

    # What is done to it

    def give(self, tasks: Sequence[A], now: float) -> None:
        """Assign more tasks to the process, which must be ready."""
        self.tasks.extend(tasks)
        self.outbox.extend([task.frame for task in tasks])
        self._begin_first(now)

    def recall(self) -> bool:
        """Ask for the tasks that did not begin, if there are any: they come back as news, or begin."""
        ahead = [task for task in islice(self.tasks, 1, None) if not (task.recalled or task.kept or task.halted)]
        if not self.is_ready or not ahead:
            return False
        for task in ahead:
            task.recalled = True
        self.outbox.extend([Recall(task.key) for task in ahead])
        return True

    def halt(self, task: A, now: float) -> None:
        """Stop a task of this slot, wherever it stands. Safe to repeat."""
        if task.halted:
            return
        task.halted = True
        if self.is_ready:
            self.outbox.append(Halt(task.key))
            if task is self.tasks[0]:
                task.deadline_at = min(task.deadline_at, now + HALT_WITHIN_S)

    def wants_start(self, now: float) -> bool:
        """Tell whether there is no process, and it is time for one."""
        return self.phase is Phase.NONE and now >= self._due_at

    def start(self) -> None:
        """Have a process started; there must be none."""
        self.phase, self._due_at = Phase.STARTING, math.inf
        self._news.orders.append((self, Order.START))

    def tend(self, now: float) -> None:
        """Have the process ended if it is overdue."""
        if self.tasks:
            if now >= self.tasks[0].deadline_at and self.phase is not Phase.ENDING:
                self._overdue = True
                self._end(Order.KILL)
        elif self.phase is Phase.STARTING and now >= self._due_at:
            self._end(Order.KILL, f"it took no task within {START_WITHIN_S:g} s")

    def retire(self) -> None:
        """Have the process ended if it is there and no task of others is in it."""
        if self.is_idle or (self.phase is Phase.STARTING and (self.tasks or self._due_at < math.inf)):
            self.tasks.clear()  # at most a rehearsal
            self._retired = True
            self._end(Order.KILL)

    def shut_down(self) -> None:
        """Have the process ended, whatever it does. Its tasks fail as those of a worker that was shut down."""
        if self.is_ready or self.phase is Phase.ENDING:
            self._news.ended.extend([(task, SHUT_DOWN) for task in self.tasks])
        self.tasks.clear()
        self._retired = True
        if self.phase in {Phase.STARTING, Phase.READY}:
            self._end(Order.KILL)

    # What happens to it

    def started(self, now: float) -> None:
        """Take note that the process was started that was ordered."""
        self._due_at = now + START_WITHIN_S

    def failed(self, reason: str, now: float) -> None:
        """Take note that no process came of a start."""
        self._drop_process()
        self.failed_starts += 1
        self._due_at = now + min(RESTART_MAX_S, RESTART_S * 2 ** (self.failed_starts - 1))
        self._news.failed_starts.append((reason, self.failed_starts))

    def hear(self, frames: Iterable[FromGuests], now: float) -> None:
        """Take in what the process reports."""
        if self.phase is not Phase.ENDING:
            for frame in frames:
                self._hear(frame, now)

    def lost(self) -> None:
        """Take note that the process closed its link."""
        if self.phase is not Phase.ENDING:
            self._end(Order.BURY)

    def ended(self, end: ProcessEnd, now: float) -> None:
        """Take note that the process is gone, which was ordered, and how it ended."""
        tasks, failure, overdue, retired = list(self.tasks), self._failure, self._overdue, self._retired
        self._drop_process()
        if retired:
            return
        if failure is None:
            self._lose(tasks, end, overdue=overdue)
        elif tasks:  # the rehearsal
            loss = explain_loss(tasks[0], end, self._policy.load_s, overdue=overdue)
            self.failed(write_loss(loss), now)
        else:
            self.failed(failure or f"{end.how}: {end.words}", now)

    def _hear(self, frame: FromGuests, now: float) -> None:
        if isinstance(frame, Ready):
            self._rehearse(now)
        elif (task := self._find(frame.key)) is not None:
            self._hear_about(task, frame, now)

    def _hear_about(self, task: A, frame: FromGuests, now: float) -> None:
        match frame:
            case Done():
                if self.is_ready:
                    self._note_time(frame.result.usage.wall_s, task, now)
                    self._remove(task, now)
                    self._news.ended.append((task, frame))
                else:
                    self._end_rehearsal(task, frame)
            case Logged():
                task.hear_log(frame.log, frame.offset)
            case Loading():
                task.loading, task.deadline_at = True, now + self._policy.load_s + self._policy.grace_s
            case Loaded():
                task.loading, self._news.compiled = False, True
                task.begin(now, self._policy.grace_s)
            case Returned():
                self._remove(task, now)
                self._return(task)
            case Ask():
                self._news.asked.append((self, task, frame))
            case _:
                task.recalled, task.kept = False, True

    def _rehearse(self, now: float) -> None:
        rehearsal = self._policy.rehearsal
        if rehearsal is None:
            self._open()
        else:
            self.give([rehearsal.assign()], now)

    def _end_rehearsal(self, task: A, done: Done) -> None:
        task.hear_log(done.result.log, done.result.log_offset)
        self.tasks.clear()
        if done.result.error is None:
            self._open()
        else:
            assert self._policy.rehearsal is not None
            self._end(Order.KILL, self._policy.rehearsal.explain(done.result.error))

    def _open(self) -> None:
        self.phase, self.is_ready, self.failed_starts = Phase.READY, True, 0

    def _find(self, key: int) -> A | None:
        # Most reports are about the first, and many about the others would be slow to find.
        if self.tasks and self.tasks[0].key == key:
            return self.tasks[0]
        return next((task for task in self.tasks if task.key == key), None)

    def _note_time(self, wall_s: float | None, task: A, now: float) -> None:
        if wall_s is None:
            wall_s = now - (task.begun_at or now)
        known = self._usual_s if self._usual_s < math.inf else wall_s
        self._usual_s = known + (wall_s - known) / 8

    def _remove(self, task: A, now: float) -> None:
        if task is self.tasks[0]:
            self.tasks.popleft()
        else:
            self.tasks.remove(task)
        self._begin_first(now)

    def _begin_first(self, now: float) -> None:
        if self.tasks and self.tasks[0].begun_at is None:
            first = self.tasks[0]
            first.begin(now, self._policy.grace_s)
            if first.halted:
                first.deadline_at = min(first.deadline_at, now + HALT_WITHIN_S)

    def _lose(self, tasks: list[A], end: ProcessEnd, *, overdue: bool) -> None:
        """End the tasks that the process may have begun, and return the others.

        It may have ended some before the one that it worked on, and not said so.
        """
        keys = [task.key for task in tasks]
        repeats = self._policy.repeats
        last = keys.index(end.working_on) if end.working_on in keys else -1
        if repeats:
            last = max(0, last)
        for place, task in enumerate(tasks):
            if place == last or (place < last and not repeats):
                loss = explain_loss(task, end, self._policy.load_s, overdue=overdue)
                self._news.ended.append((task, loss))
            else:
                self._return(task)

    def _return(self, task: A) -> None:
        task.reset()
        if task.halted:
            self._news.ended.append((task, CANCELLED))
        else:
            self._news.returned.append(task)

    def _end(self, order: Order, failure: str = "") -> None:
        self._failure = None if self.is_ready else failure
        self.phase, self.is_ready = Phase.ENDING, False
        self._due_at = math.inf
        self.outbox.clear()
        self._news.orders.append((self, order))

    def _drop_process(self) -> None:
        self.phase, self.is_ready, self.is_blocked = Phase.NONE, False, False
        self.tasks.clear()
        self.outbox.clear()
        self._due_at, self._usual_s = -math.inf, math.inf
        self._failure, self._overdue, self._retired = None, False, False


def write_loss(loss: Loss) -> str:
    """Return the message of a loss, with the last words of a process that died."""
    return f"{loss.message} {loss.words[-300:]}".strip() if loss.kind is ErrorKind.TRAP else loss.message
