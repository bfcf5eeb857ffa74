"""Stopping a guest from another thread, wherever it is: in its own code or in a call to the host."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum


class StopReason(Enum):
    """Why a guest was told to stop."""

    TIMEOUT = "it ran too long"
    CANCELLED = "someone asked for it"


class StoppedError(Exception):
    """The guest was told to stop while it waited in a call to the host."""


class StopSignal:
    """Tells one call that it must end. One thread runs the guest, any other may stop it.

    Guest code is stopped by the ``interrupt`` of its engine; calls to the host stop at ``check`` and ``wait``.
    """

    def __init__(self) -> None:
        self.reason: StopReason | None = None
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._interrupt: Callable[[], object] | None = None

    def stop(self, reason: StopReason) -> None:
        """Stop the guest, or keep it from starting. Safe to repeat; the first reason holds."""
        with self._lock:
            if self.reason is None:
                self.reason = reason
                self._event.set()
                if self._interrupt is not None:
                    self._interrupt()

    @contextmanager
    def interrupting(self, interrupt: Callable[[], object]) -> Iterator[None]:
        """Have ``interrupt`` called on a stop within this block, and never after it.

        Raises StoppedError when the stop came before.
        """
        with self._lock:
            self.check()
            self._interrupt = interrupt
        try:
            yield
        finally:
            with self._lock:
                self._interrupt = None

    def check(self) -> None:
        """Raise StoppedError when the guest must stop."""
        if self.reason is not None:
            raise StoppedError

    def wait(self, seconds: float) -> None:
        """Wait that long, for a guest that sleeps. Raises StoppedError as soon as it must stop."""
        self._event.wait(seconds)
        self.check()
