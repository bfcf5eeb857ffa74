"""A few threads that do what they are given, one after the other."""

import queue
import threading
from collections.abc import Callable

import structlog

from piecework.worker_agent.threads import SYSTEM_THREADS, Threads

log = structlog.get_logger()

Work = Callable[[], None]


class ThreadPool:
    """Does what it is given, in order, on ``size`` threads. They never hold up the end of the process."""

    def __init__(self, name: str, size: int, threads: Threads = SYSTEM_THREADS) -> None:
        self._queue: queue.SimpleQueue[tuple[Work, Work] | None] = threads.new_queue()
        self._threads = [
            threads.new_thread(target=self._run, name=f"{name}-{number}", daemon=True) for number in range(size)
        ]

    def start(self) -> None:
        """Start the threads. What was given before is done then."""
        for thread in self._threads:
            thread.start()

    def give(self, work: Work, on_bug: Work = lambda: None) -> None:
        """Add some work (see ``do_guarded``)."""
        self._queue.put((work, on_bug))

    def stop(self, timeout_s: float) -> None:
        """Let the threads end after what they do now; wait for that, but not longer than ``timeout_s``."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(timeout_s / len(self._threads))

    def _run(self) -> None:
        while work := self._queue.get():
            do_guarded(*work)


def do_guarded(work: Work, on_bug: Work) -> None:
    """Do something; when it raises what it should not, log that and do ``on_bug``."""
    try:
        work()
    except Exception:
        log.exception("bug", thread=threading.current_thread().name)
        on_bug()
