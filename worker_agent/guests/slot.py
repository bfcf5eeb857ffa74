"""One guest process after the other, and the tasks that it was given. The first of them runs."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from piecework.protocol.codes import ErrorKind
from worker_agent.guests.assignment import Assignment
from worker_agent.guests.frames import (
    Done,
    FromGuests,
    Halt,
    Kept,
    Loaded,
    Loading,
    Logged,
    Ready,
    Recall,
    Returned,
)
from worker_agent.guests.process import GuestProcess
from worker_agent.runtimes.compiling.refusals import explain_end, explain_overdue
from worker_agent.tasks import Result

START_WITHIN_S = 30.0
"""A guest process that takes no tasks after this is given up."""
HALT_WITHIN_S = 1.0
"""So soon a cancelled guest has ended, or its process is killed."""
QUICK_S = 0.05
"""A task is sent ahead of its turn only to a process whose tasks are quicker than this."""
AHEAD_S = 0.005
"""A quick process has about so much work at hand, so that it does not wait for the next task."""
MAX_RESTART_DELAY_S = 30.0


@dataclass(slots=True)
class Patience:
    """How long guest processes may take, seconds."""

    grace_s: float
    """Beyond a task's time limit or ``load_s``, until it answers."""
    load_s: float
    """To load and compile a task's code."""


@dataclass(slots=True)
class News:
    """What happened in the slots and was not dealt with yet."""

    finished: list[tuple[Assignment, Result]] = field(default_factory=list)
    returned: list[Assignment] = field(default_factory=list)
    """Tasks that did not begin, in their order; another process shall have them."""
    failed_starts: list[tuple[str, int]] = field(default_factory=list)
    """Why a guest process did not start, and how many in a row did not."""
    compiled: bool = False
    """Code was loaded that was not loaded before."""


class Slot:
    """Keeps one guest process running, and holds it to the time limits of its tasks.

    Not thread-safe: its owner's lock is held around every call. ``tend`` may start a process, which must happen
    in a thread that outlives it.
    """

    def __init__(self, start: Callable[[], GuestProcess], news: News, patience: Patience) -> None:
        self.process: GuestProcess | None = None
        self._start = start
        self._news = news
        self._patience = patience
        self._tasks: deque[Assignment] = deque()
        self._ready = False
        self._start_at = -math.inf
        """When to start the next process; while one starts: when to give it up."""
        self._failed_starts = 0
        self._usual_wall_s = math.inf
        """How long its tasks took, wall time; the last counts an eighth."""

    @property
    def is_ready(self) -> bool:
        """Its process takes tasks."""
        return self._ready

    @property
    def is_idle(self) -> bool:
        """It would begin a task at once."""
        return self._ready and not self._tasks

    @property
    def load(self) -> int:
        """How many tasks it has; one of them runs."""
        return len(self._tasks)

    @property
    def has_mail(self) -> bool:
        """Its process did not take all that was sent to it."""
        return self.process is not None and self.process.has_mail

    @property
    def tasks(self) -> tuple[Assignment, ...]:
        """Its tasks; the first of them runs."""
        return tuple(self._tasks)

    def is_quick(self, now: float) -> bool:
        """Tell whether a task sent ahead would soon have its turn."""
        head = self._tasks[0] if self._tasks else None
        begun_at = None if head is None else head.begun_at
        return self._ready and self._usual_wall_s < QUICK_S and (begun_at is None or now < begun_at + QUICK_S)

    def find_depth(self, now: float, limit: int) -> int:
        """Return how many tasks it should have, the running one included; 1 unless it is quick."""
        if not self.is_quick(now):
            return 1
        return max(2, min(limit, round(AHEAD_S / max(self._usual_wall_s, AHEAD_S / limit))))

    def next_due_at(self, now: float) -> float:
        """Return when ``tend`` has something to do, unless something else happens before."""
        if not self._ready:
            return self._start_at
        due = self._tasks[0].deadline_at if self._tasks else math.inf
        begun_at = self._tasks[0].begun_at if len(self._tasks) > 1 else None
        if begun_at is not None and begun_at + QUICK_S > now:
            # From then on the tasks behind the first had better go elsewhere.
            due = min(due, begun_at + QUICK_S)
        return due

    def give(self, tasks: Sequence[Assignment], now: float) -> None:
        """Assign more tasks to the process, which must be ready."""
        assert self.process is not None
        for task in tasks:
            task.reset()
        self._tasks.extend(tasks)
        self.process.send(*[task.frame() for task in tasks])
        self._begin_first(now)

    def recall(self) -> None:
        """Ask for the tasks that did not begin. They come back as news, or begin."""
        ahead = [task for task in self.tasks[1:] if not (task.recall or task.kept or task.halted)]
        if self.process is not None and ahead:
            for task in ahead:
                task.recall = True
            self.process.send(*[Recall(task.key) for task in ahead])

    def halt(self, task: Assignment, now: float) -> None:
        """Stop a task of this slot, wherever it stands. Safe to repeat."""
        if self.process is not None and not task.halted:
            task.halted = True
            self.process.send(Halt(task.key))
            if task is self._tasks[0]:
                task.deadline_at = min(task.deadline_at, now + HALT_WITHIN_S)

    def tend(self, now: float) -> None:
        """Start a process if there is none, and end the one that is overdue."""
        if self.process is None:
            if now >= self._start_at:
                self._launch(now)
        elif not self._ready:
            if now >= self._start_at:
                self.process.kill()
                self._note_failed_start(f"it took no task within {START_WITHIN_S:g} s", now)
        elif self._tasks and now >= self._tasks[0].deadline_at:
            self.read(now)
            if self._tasks and now >= self._tasks[0].deadline_at:
                self._end_overdue(now)

    def read(self, now: float) -> None:
        """Take in what the process reports."""
        if self.process is None:
            return
        self.process.flush()
        frames, alive = self.process.receive()
        for frame in frames:
            self._hear(frame, now)
        if not alive:
            self._mourn(now)

    def shut_down(self, now: float) -> None:
        """End the process. Its tasks fail as those of a worker that was shut down."""
        if self.process is not None:
            self.process.kill()
        self._drop_process()
        for task in self._tasks:
            self._finish(task, task.fail(ErrorKind.WORKER, "the worker was shut down", now))
        self._tasks.clear()

    def _launch(self, now: float) -> None:
        try:
            self.process = self._start()
        except OSError as error:
            self._note_failed_start(str(error), now)
        else:
            self._start_at = now + START_WITHIN_S

    def _hear(self, frame: FromGuests, now: float) -> None:
        if isinstance(frame, Ready):
            self._ready, self._failed_starts = True, 0
            return
        task = self._find(frame.key)
        if task is None:
            return
        match frame:
            case Done():
                self._note_wall(frame.result.usage.wall_s, task, now)
                self._remove(task, now)
                self._finish(task, frame.result)
            case Logged():
                task.add_log(frame)
            case Loading():
                task.loading, task.deadline_at = True, now + self._patience.load_s + self._patience.grace_s
            case Loaded():
                task.loading, self._news.compiled = False, True
                task.begin(now, self._patience.grace_s)
            case Returned():
                self._remove(task, now)
                self._return([task], now)
            case Kept():
                task.recall, task.kept = False, True

    def _find(self, key: int) -> Assignment | None:
        # Most reports are about the first, and many about the others would be slow to find.
        if self._tasks and self._tasks[0].key == key:
            return self._tasks[0]
        return next((task for task in self._tasks if task.key == key), None)

    def _note_wall(self, wall_s: float | None, task: Assignment, now: float) -> None:
        if wall_s is None:
            wall_s = now - (task.begun_at or now)
        known = self._usual_wall_s if self._usual_wall_s < math.inf else wall_s
        self._usual_wall_s = known + (wall_s - known) / 8

    def _remove(self, task: Assignment, now: float) -> None:
        if task is self._tasks[0]:
            self._tasks.popleft()
        else:
            self._tasks.remove(task)
        self._begin_first(now)

    def _begin_first(self, now: float) -> None:
        if self._tasks and self._tasks[0].begun_at is None:
            first = self._tasks[0]
            first.begin(now, self._patience.grace_s)
            if first.halted:
                first.deadline_at = min(first.deadline_at, now + HALT_WITHIN_S)

    def _end_overdue(self, now: float) -> None:
        """Kill the process because its task is overdue."""
        assert self.process is not None
        self.process.kill()
        task = self._find_culprit()
        if task.halted:
            result = task.cancel(now)
        elif task.loading:
            result = task.fail(ErrorKind.LOAD, explain_overdue(self._patience.load_s), now)
        else:
            message = f"it ran longer than its limit of {task.bounds.timeout_s:g} s, and could only be killed"
            result = task.fail(ErrorKind.TIMEOUT, message, now)
        self._lose(task, result, now)

    def _mourn(self, now: float) -> None:
        """Deal with a process that ended by itself: only the task that it worked on can have done that."""
        assert self.process is not None
        end, words = self.process.bury(), self.process.read_last_words()
        if not self._ready:
            self._note_failed_start(f"{end}: {words}", now)
        elif not self._tasks:
            self._drop_process()
        else:
            task = self._find_culprit()
            self._lose(task, self._explain_end(task, end, words, now), now)

    def _explain_end(self, task: Assignment, end: str, words: str, now: float) -> Result:
        """Return the result of a task whose process ended, saying these last words."""
        if task.halted:
            return task.cancel(now)
        if task.loading and (reason := explain_end(end, words, self._patience.load_s)):
            # It would be the same anywhere: nobody need try again.
            return task.fail(ErrorKind.LOAD, reason, now, trace=words)
        doing = "loading the module" if task.loading else "running the guest"
        return task.fail(ErrorKind.TRAP, f"the process ended while {doing}: {end}", now, trace=words)

    def _find_culprit(self) -> Assignment:
        """Return the task that the process worked on. It may have ended others before, and not said so."""
        assert self.process is not None
        return self._find(self.process.working_on) or self._tasks[0]

    def _lose(self, task: Assignment, result: Result, now: float) -> None:
        """Finish the task that the process worked on, which is gone; the others have no results."""
        self._tasks.remove(task)
        self._finish(task, result)
        self._drop_process()
        others = list(self._tasks)
        self._tasks.clear()
        self._return(others, now)

    def _return(self, tasks: list[Assignment], now: float) -> None:
        for task in tasks:
            task.reset()
            if task.halted:
                self._finish(task, task.cancel(now))
            else:
                self._news.returned.append(task)

    def _finish(self, task: Assignment, result: Result) -> None:
        self._news.finished.append((task, result))

    def _drop_process(self) -> None:
        self.process, self._ready = None, False
        self._start_at = -math.inf
        self._usual_wall_s = math.inf

    def _note_failed_start(self, reason: str, now: float) -> None:
        self._drop_process()
        self._failed_starts += 1
        self._start_at = now + min(MAX_RESTART_DELAY_S, 0.1 * 2**self._failed_starts)
        self._news.failed_starts.append((reason, self._failed_starts))
