"""A loop on a thread of its own: one step after the other, until it is told to stop."""

import threading
from collections.abc import Callable, Mapping

import structlog

from piecework.worker_agent.threads import SYSTEM_THREADS, Threads

log = structlog.get_logger()


class Loop:
    """Repeats ``step`` until ``stop`` is set. A step that fails by a bug is logged, and the loop goes on.

    ``pause_s``: how long to wait after each step. The thread never holds up the end of the process.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], None],
        stop: threading.Event,
        *,
        bug_pause_s: float,
        pause_s: Callable[[], float] | None = None,
        threads: Threads = SYSTEM_THREADS,
    ) -> None:
        self._name = name
        self._step = step
        self._stop = stop
        self._bug_pause_s = bug_pause_s
        self._pause_s = pause_s
        self._thread = threads.new_thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end of the step that is being done; False: it took longer than ``timeout_s``."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._step()
            except Exception:
                log.exception("bug", loop=self._name)
                self._stop.wait(self._bug_pause_s)
            if self._pause_s is not None:
                self._stop.wait(self._pause_s())


def do_all(steps: Mapping[str, Callable[[], object]]) -> None:
    """Do one step after the other; each survives the failure of the one before, which is logged."""
    for name, step in steps.items():
        try:
            step()
        except Exception:
            log.exception("step failed", step=name)
