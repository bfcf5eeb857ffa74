"""Stopping a guest from another thread, wherever it is: in its own code or in a call to the host."""

import threading
from collections.abc import Callable
from enum import Enum

LOOK_S = 0.05
"""A guest that waits for somebody is stopped this late at most."""


class StopReason(Enum):
    """Why a guest was told to stop."""

    TIMEOUT = "it ran too long"
    CANCELLED = "someone asked for it"
    UNREAD = "nobody reads what it writes"


class StoppedError(Exception):
    """The guest was told to stop while it waited in a call to the host."""


class StopSignal:
    """Tells one call that it must end. One thread runs the guest, any other may stop it.

    Guest code is stopped by the ``interrupt`` of its engine; calls to the host stop at ``check`` and ``wait``.
    """

    def __init__(self) -> None:
        self.reason: StopReason | None = None
        self._event: threading.Event | None = None
        """There is none until a guest waits: few do."""
        self._lock = threading.Lock()
        self._interrupt: Callable[[], object] | None = None

    def stop(self, reason: StopReason) -> None:
        """Stop the guest, or keep it from starting. Safe to repeat; the first reason holds."""
        with self._lock:
            if self.reason is None:
                self.reason = reason
                if self._event is not None:
                    self._event.set()
                if self._interrupt is not None:
                    self._interrupt()

    def run(self, guest: Callable[[], None], interrupt: Callable[[], object]) -> None:
        """Run guest code; a stop meanwhile calls ``interrupt``, and none does that afterwards.

        Raises StoppedError when the stop came before, and what the guest raises.
        """
        with self._lock:
            self.check()
            self._interrupt = interrupt
        try:
            guest()
        finally:
            with self._lock:
                self._interrupt = None

    def check(self) -> None:
        """Raise StoppedError when the guest must stop."""
        if self.reason is not None:
            raise StoppedError

    def wait(self, seconds: float) -> None:
        """Wait that long, for a guest that sleeps. Raises StoppedError as soon as it must stop."""
        with self._lock:
            self.check()
            self._event = self._event or threading.Event()
        self._event.wait(seconds)
        self.check()
