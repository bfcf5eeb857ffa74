"""The guest process's second thread: it ends guests that run too long, and passes their log on while they run."""

import math
import threading
import time
from collections.abc import Callable

from piecework.worker_agent.guests.frames import Logged
from piecework.worker_agent.guests.work.desk import Desk, Turn
from piecework.worker_agent.runtimes.stopping import StopReason
from piecework.worker_agent.runtimes.streams import LogTail

TICK_S = 0.02
"""How late a guest may be stopped."""
LOG_EVERY_S = 0.25
LOG_PART_BYTES = 64 * 1024
"""At most so much of the log is passed on at a time: the newest."""
IDLE_TICKS = 50
"""After so many ticks without a task, the pulse rests until there is one."""


class _Watch:
    """One running guest, watched within a block."""

    __slots__ = ("_pulse", "deadline_at", "log", "log_at", "logged", "turn")

    def __init__(self, pulse: "Pulse", turn: Turn, log: LogTail, now: float) -> None:
        self._pulse = pulse
        self.turn = turn
        self.log = log
        self.deadline_at = now + turn.assign.task.bounds.timeout_s
        self.log_at = now + LOG_EVERY_S if turn.assign.attached is None else math.inf
        self.logged = 0
        """Bytes of the log that were passed on, or given up."""

    def __enter__(self) -> None:
        self._pulse.watched = self

    def __exit__(self, *_exception: object) -> None:
        self._pulse.watched = None


class Pulse:
    """Ticks while there are tasks. ``gone`` is called when the agent is."""

    def __init__(
        self, desk: Desk, gone: Callable[[], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._desk = desk
        self._gone = gone
        self._clock = clock
        self.watched: _Watch | None = None
        self._awake = threading.Event()

    def start(self) -> None:
        """Begin to tick, in a thread of its own, until the agent is gone."""
        threading.Thread(target=self._run, name="pulse", daemon=True).start()

    def wake(self) -> None:
        """Tick again, if resting: a task begins."""
        if not self._awake.is_set():
            self._awake.set()

    def watching(self, turn: Turn, log: LogTail) -> _Watch:
        """Hold the guest that runs in the block to its time, and pass on its log: ``with`` this."""
        return _Watch(self, turn, log, self._clock())

    def tick(self) -> bool:
        """Look once. Returns False when the agent is gone."""
        try:
            watch, now = self.watched, self._clock()
            if watch is not None and now >= watch.deadline_at:
                watch.turn.stop.stop(StopReason.TIMEOUT)
            if watch is not None and now >= watch.log_at:
                self._pass_log_on(watch, now)
            return self._desk.poll()
        except OSError:
            return False

    def _pass_log_on(self, watch: _Watch, now: float) -> None:
        watch.log_at = now + LOG_EVERY_S
        offset, part = watch.log.read(watch.logged, LOG_PART_BYTES)
        if part:
            watch.logged = offset + len(part)
            self._desk.send(Logged(watch.turn.assign.key, part, offset))

    def _run(self) -> None:
        idle_ticks = 0
        pause = threading.Event()
        while self.tick():
            idle_ticks = 0 if self._desk.busy else idle_ticks + 1
            if idle_ticks < IDLE_TICKS:
                pause.wait(TICK_S)
                continue
            self._awake.clear()
            if not self._desk.busy:
                self._awake.wait()
            idle_ticks = 0
        self._gone()
