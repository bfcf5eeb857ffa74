"""Waits until a guest process has something to say. What it watches is remembered from one wait to the next."""

import selectors
import socket
from collections.abc import Iterable

from worker_agent.guests.slot import Slot

_Line = tuple[socket.socket, int]
"""A link, and the events on it that matter."""


class Switchboard:
    """Listens to the guest processes of some slots, and to a bell. For one thread, but for ``ring``."""

    def __init__(self) -> None:
        self._lines: dict[Slot, _Line] = {}
        self._selector = selectors.DefaultSelector()
        self._bell, self._bell_rope = socket.socketpair()
        self._bell_rope.setblocking(False)
        self._selector.register(self._bell, selectors.EVENT_READ, None)

    def plug(self, slots: Iterable[Slot]) -> None:
        """Take note of these slots' processes as they are now."""
        changed = []
        for slot in slots:
            process = slot.process
            wanted = None if process is None else (process.link, process.awaited_events())
            if wanted != self._lines.get(slot):
                changed.append((slot, wanted))
        # The file descriptor of a process that is gone may be that of another slot's process by now.
        for slot, _ in changed:
            self._unplug(slot)
        for slot, wanted in changed:
            if wanted is not None:
                self._selector.register(*wanted, slot)
                self._lines[slot] = wanted

    def wait(self, timeout_s: float) -> list[Slot]:
        """Return the slots whose processes have something to say, or take mail again.

        None after the bell, or when the time is over: then all slots are worth a look.
        """
        slots = [key.data for key, _ in self._selector.select(max(0.0, timeout_s))]
        if None in slots:
            self._bell.recv(4096)
            return []
        return slots

    def ring(self) -> None:
        """End a wait. Any thread may call it, also after ``close``."""
        try:
            self._bell_rope.send(b"!")
        except BlockingIOError:
            """It rings already."""
        except OSError:
            """Nobody listens any more."""

    def close(self) -> None:
        """Stop listening. Safe to repeat."""
        self._selector.close()
        self._bell.close()
        self._bell_rope.close()

    def _unplug(self, slot: Slot) -> None:
        line = self._lines.pop(slot, None)
        if line is not None:
            self._selector.unregister(line[0])
