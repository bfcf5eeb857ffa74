"""The thread that removes what is not needed any more, in steps, so that nobody waits for it."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

log = structlog.get_logger("server")

REST_S = 0.005
"""After a step, others get the database for so long at least, and for as long as the step took."""


@dataclass
class Sweep:
    """Something to remove now and then."""

    name: str
    every_s: float
    step: Callable[[], object]
    """Does a little, and returns True when there is more to do at once."""
    due_at: float = field(default_factory=time.monotonic)


class Sweeper:
    """Does sweeps when their time has come, one step at a time, each in turn."""

    def __init__(self, sweeps: list[Sweep], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._sweeps = sweeps
        self._monotonic = monotonic
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread after its step. Safe to repeat, and before it was started."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _run(self) -> None:
        rest_s = 0.0
        while not self._stopping.wait(rest_s):
            rest_s = self.turn()

    def turn(self) -> float:
        """Do a step of each sweep that is due. Returns the seconds until one is due again."""
        for sweep in self._sweeps:
            began = self._monotonic()
            if sweep.due_at > began or self._stopping.is_set():
                continue
            has_more = self._do(sweep)
            now = self._monotonic()
            sweep.due_at = now + (max(REST_S, now - began) if has_more else sweep.every_s)
        return max(0.0, min((sweep.due_at for sweep in self._sweeps), default=1.0) - self._monotonic())

    def _do(self, sweep: Sweep) -> bool:
        try:
            return sweep.step() is True
        except Exception as error:  # the one net of this thread: it must outlive whatever a step met
            if not getattr(error, "is_logged", False):
                log.exception("a sweep failed; it is tried again", sweep=sweep.name)
            return False
