"""Waits until a guest process has something to say. What it listens to is remembered from one wait to the next."""

import selectors
import socket
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

from piecework.worker_agent.guests.process import GuestProcess

S = TypeVar("S")
_Events = tuple[socket.socket, int]
"""A link, and the events on it that matter."""


class Links(Generic[S]):
    """The links to guest processes, by their slots. For one thread, but for ``wake``."""

    def __init__(self) -> None:
        self._events: dict[S, _Events] = {}
        self._selector = selectors.DefaultSelector()
        self._waker, self._waker_end = socket.socketpair()
        self._waker_end.setblocking(False)
        self._selector.register(self._waker, selectors.EVENT_READ, None)

    def follow(self, slots: Iterable[S], processes: Mapping[S, GuestProcess]) -> None:
        """Take note of these slots' processes as they are now."""
        changed = []
        for slot in slots:
            process = processes.get(slot)
            wanted = None if process is None else (process.link, process.awaited_events())
            if wanted != self._events.get(slot):
                changed.append((slot, wanted))
        # The file descriptor of a process that is gone may be that of another slot's process by now.
        for slot, _ in changed:
            self._forget(slot)
        for slot, wanted in changed:
            if wanted is not None:
                self._selector.register(*wanted, slot)
                self._events[slot] = wanted

    def wait(self, timeout_s: float) -> list[S]:
        """Return the slots whose processes have something to say, or take mail again.

        None when it was woken, or when the time is over: then all slots are worth a look.
        """
        slots = [key.data for key, _ in self._selector.select(max(0.0, timeout_s))]
        if None in slots:
            self._waker.recv(4096)
            return []
        return slots

    def wake(self) -> None:
        """End a wait. Any thread may call it, also after ``close``."""
        try:
            self._waker_end.send(b"!")
        except BlockingIOError:
            """It was woken already."""
        except OSError:
            """Nobody waits any more."""

    def close(self) -> None:
        """Listen no more. Safe to repeat."""
        self._selector.close()
        self._waker.close()
        self._waker_end.close()

    def _forget(self, slot: S) -> None:
        events = self._events.pop(slot, None)
        if events is not None:
            self._selector.unregister(events[0])
