"""Requests that have to wait: work that says when it does, and whoever drives it waits, or does something else."""

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import NamedTuple, TypeVar

from piecework.server.errors import CapacityReached
from piecework.server.services.callers import current_caller
from piecework.server.services.core import REAL_SLEEP, Sleeper

T = TypeVar("T")
WATCH_AFTER_S = 0.25
"""A request that waits for longer ends when its caller leaves. Most end sooner, and looking out costs time."""
SAFE_S = 5.0
"""A request that has not waited for so long keeps its place when all are taken."""


class Pause(NamedTuple):
    """A wait until a waiter is woken. The answer to it is whether it was, or the time passed first."""

    waiter: "Waiter"
    timeout_s: float

    @property
    def is_brief(self) -> bool:
        """Whether it is over after a moment, woken or not."""
        return self.timeout_s <= WATCH_AFTER_S


Resume = Callable[[bool], object]
"""Goes on after a pause; with whether it was woken."""
Work = Generator[Pause, bool, T]
"""Yields its waits, and returns what came of it."""


def wait_out(work: Work[T]) -> T:
    """Drive work to its end in this thread, asleep while it waits."""
    try:
        pause = next(work)
        while True:
            pause = work.send(pause.waiter.sleep(pause.timeout_s))
    except StopIteration as end:
        result: T = end.value
        return result


class Waiter:
    """One waiting request. Waking it before it sleeps is not lost."""

    __slots__ = ("_lock", "_resumes", "_sleeper", "caller", "dismissed", "places", "since")

    def __init__(self, sleeper: Sleeper) -> None:
        self._sleeper = sleeper
        self._lock = threading.Lock()
        self._lock.acquire()
        self._resumes: list[Resume] = []
        """What goes on with the request when it is woken: one at most, and whoever takes it out calls it."""
        self.caller = current_caller()
        """What tells when its caller leaves; None: it keeps its place."""
        self.places: Places | None = None
        """Where it has its place. None: nowhere yet, or its caller is looked out for already."""
        self.since = 0.0
        """When it took its place."""
        self.dismissed = False
        """Woken to be answered with what there is: nobody wants its answer, or others need its place."""

    def wait(self, timeout_s: float) -> Work[bool]:
        """Wait until woken. Returns False when ``timeout_s`` passed first."""
        return (yield Pause(self, timeout_s))

    def sleep(self, timeout_s: float) -> bool:
        """Have this thread wait until this is woken. Returns False when ``timeout_s`` passed first."""
        if self.sleep_briefly(timeout_s):
            return True
        if timeout_s <= WATCH_AFTER_S:
            return False
        self._watch_caller()
        return self._sleeper.acquire(self._lock, timeout_s - WATCH_AFTER_S)

    def sleep_briefly(self, timeout_s: float) -> bool:
        """Do what ``sleep`` does, for no longer than WATCH_AFTER_S."""
        return self._sleeper.acquire(self._lock, max(0.0, min(timeout_s, WATCH_AFTER_S)))

    def hold(self, resume: Resume) -> None:
        """Have ``resume`` called with True when this is woken, in the thread that wakes it, or right now."""
        self._watch_caller()
        self._resumes.append(resume)
        if not self._lock.locked():
            self._resume()

    def holds(self, resume: Resume) -> bool:
        """Tell whether ``resume`` was not called yet."""
        return resume in self._resumes

    def give_up(self, resume: Resume) -> None:
        """Have ``resume`` called with False, unless it was called already."""
        with suppress(ValueError):
            self._resumes.remove(resume)
            resume(False)

    def _resume(self) -> None:
        with suppress(IndexError):  # nothing is held, or somebody else was first
            self._resumes.pop()(True)

    def _watch_caller(self) -> None:
        """Have the place given up when the caller leaves. Safe to repeat."""
        places, self.places = self.places, None
        if self.caller is not None and places is not None:
            self.caller(partial(places.end, self))

    def wake(self) -> None:
        """End the wait. The caller holds the lock of the register that the waiter is in."""
        if self._lock.locked():
            self._lock.release()
        self._resume()

    def dismiss(self) -> None:
        """End the sleep, and the request with it. The caller holds the same lock."""
        self.dismissed = True
        self.wake()


class Places:
    """The places of requests that may wait at once, of all kinds together.

    A request that gives up its place is answered with what there is; a caller who is there asks again. So nothing
    is lost when who has waited longest makes room for another.
    """

    def __init__(self, limit: int, sleeper: Sleeper = REAL_SLEEP) -> None:
        self._limit = limit
        self.sleeper = sleeper
        self._lock = threading.Lock()
        self._taken: dict[Waiter, Callable[[Waiter], None]] = {}

    @contextmanager
    def take(self, waiter: Waiter, dismiss: Callable[[Waiter], None]) -> Iterator[None]:
        """Hold a place. ``dismiss`` is called when another needs it. Raises CapacityReached when there is none."""
        waiter.places = self
        with self._lock:
            waiter.since = self.sleeper.now_s()
            if len(self._taken) >= self._limit:
                self._make_room(waiter.since)
            self._taken[waiter] = dismiss
        try:
            yield
        finally:
            with self._lock:
                self._taken.pop(waiter, None)

    def end(self, waiter: Waiter) -> None:
        """End a request whose caller has gone. Nothing happens when it has its answer."""
        with self._lock:
            dismiss = self._taken.pop(waiter, None)
            if dismiss is not None:
                dismiss(waiter)

    def _make_room(self, now: float) -> None:
        eldest = next((waiter for waiter in self._taken if waiter.caller is not None), None)
        if eldest is None or now - eldest.since < SAFE_S:
            raise CapacityReached(
                f"{self._limit} requests wait already, which is the server's limit; try again later"
            )
        self._taken.pop(eldest)(eldest)
