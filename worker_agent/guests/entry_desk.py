"""Does what guests want of their namespaces, for the agent that has the connection."""

import threading
import time
from collections.abc import Callable

import structlog

from piecework.worker_agent.guests.frames import Ask, Told
from piecework.worker_agent.runtimes.services.entries import (
    ENTRY_PATIENCE_S,
    EntryAnswer,
    EntryFault,
    GuestEntries,
    find_refusal,
)
from piecework.worker_agent.tasks import Task

WAITING_MAX = 2
"""Requests for each guest process: the newest, and one of a guest that was stopped while it waited."""
_log = structlog.get_logger(__name__)


class EntryDesk:
    """Answers what guests ask, each in a thread of its own: few ask, and none waits for another's server."""

    def __init__(self, entries: GuestEntries, processes: int) -> None:
        self._entries = entries
        self._room = threading.BoundedSemaphore(WAITING_MAX * processes)

    def take(self, ask: Ask, task: Task, is_wanted: Callable[[], bool], tell: Callable[[Told], None]) -> None:
        """Have a request answered: ``tell`` is called, most often from another thread, and must not raise.

        That the lambda has the grant is looked at here: the process where its guest runs is not to be trusted.
        """
        refusal = find_refusal(ask.request, None if task.sealed else task.grants)
        if refusal is not None:
            tell(Told(ask.key, ask.number, refusal))
        elif not self._room.acquire(blocking=False):
            tell(Told(ask.key, ask.number, EntryAnswer.fail(EntryFault.AWAY, "too many requests wait already")))
        else:
            self._start(ask, is_wanted, tell)

    def _start(self, ask: Ask, is_wanted: Callable[[], bool], tell: Callable[[Told], None]) -> None:
        thread = threading.Thread(
            target=self._answer, args=(ask, is_wanted, tell), name=f"kv-{ask.key}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:  # the system gives no more threads
            self._room.release()
            tell(Told(ask.key, ask.number, EntryAnswer.fail(EntryFault.AWAY, str(error))))

    def _answer(self, ask: Ask, is_wanted: Callable[[], bool], tell: Callable[[Told], None]) -> None:
        try:
            answer = self._entries.perform(ask.request, time.monotonic() + ENTRY_PATIENCE_S, is_wanted)
        except Exception:  # noqa: BLE001  # the outermost net of this thread
            _log.exception("bug", thread=threading.current_thread().name)
            answer = EntryAnswer.fail(EntryFault.UNSURE, "the agent failed")
        finally:
            self._room.release()
        tell(Told(ask.key, ask.number, answer))
