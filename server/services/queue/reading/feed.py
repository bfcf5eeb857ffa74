"""The feed of what happens to jobs: giving numbers, reading on from a number, waiting for more, forgetting."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import NamedTuple

from piecework.protocol.retention import FOR_EVER_MS
from piecework.protocol.states import JobState
from piecework.server.errors import FeedGone, InvalidParameter
from piecework.server.services.core import Core
from piecework.server.services.queue.waiting.pauses import Places, Waiter
from piecework.server.services.queue.waiting.waiting import Notifier, Register
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.figures import feed
from piecework.server.store.queue.figures.feed import FeedFilter, JobChange
from piecework.server.store.stock import lambdas

STEP = 200
"""Transactions whose changes get numbers in one step."""
READ_MAX = 20
"""Packs that one read looks through: of 1000 changes each at most."""
GATHER_S = 0.05
"""How long those who listen wait for more once there is something."""
FORGOTTEN = 100
"""Packs that one transaction forgets."""


class Listeners(Register):
    """Readers that wait for what the feed has next. Each keeps a thread."""

    def __init__(self, places: Places) -> None:
        super().__init__(places)
        self._waiters: set[Waiter] = set()

    @contextmanager
    def listen(self) -> Iterator[Waiter]:
        """Register a waiter, which may sleep again and again. Raises CapacityReached or Stopping.

        Read the feed after registering and before sleeping: what comes in between wakes the waiter.
        """
        waiter = Waiter(self.places.sleeper)
        with self.places.take(waiter, self._dismiss_one):
            with self._lock:
                self._enter()
                self._waiters.add(waiter)
            try:
                yield waiter
            finally:
                with self._lock:
                    self._count -= 1
                    self._waiters.discard(waiter)

    def wake(self) -> None:
        """Wake all."""
        with self._lock:
            for waiter in self._waiters:
                waiter.wake()

    def _dismiss_one(self, waiter: Waiter) -> None:
        with self._lock:
            waiter.dismiss()

    def close(self) -> None:
        """End everyone's wait, and take nobody any more."""
        with self._lock:
            self._closed = True
            for waiter in self._waiters:
                waiter.dismiss()


@dataclass(frozen=True, slots=True)
class Interest:
    """Which changes somebody wants to hear of; what is empty or None does not restrict."""

    job_ids: frozenset[int] = frozenset()
    group_ids: frozenset[int] = frozenset()
    states: frozenset[JobState] = frozenset()
    lambda_: int | str | None = None
    """The id of a lambda, or a name that several may have."""


class ChangePage(NamedTuple):
    """Some changes."""

    changes: Sequence[JobChange]
    upto: int
    """All changes up to this number were looked at."""
    is_behind: bool
    """There are changes beyond."""


class Feed:
    """What happened to jobs, in order."""

    def __init__(self, core: Core, notifier: Notifier) -> None:
        self._database, self._clock, self._settings = core.database, core.clock, core.settings
        self._sleeper, self._now_s = core.sleeper, core.sleeper.now_s
        self.listeners = Listeners(Places(core.settings.listeners_max, core.sleeper))
        notifier.tell_listeners = self.listeners.wake
        core.database.seal = feed.seal

    def number(self) -> bool:
        """Give numbers to all changes that are committed by now. Returns whether there were any."""
        found = False
        while True:
            with self._database.read() as connection:
                if not feed.has_unnumbered(connection):
                    return found
            step = partial(feed.number_changes, most=STEP, now=self._clock())
            if not self._database.write(step, durable=False):
                return found
            found = True

    def wait_page(self, after: int, which: Interest, limit: int, timeout_s: float) -> ChangePage:
        """Do what ``read`` does, once there is a change that is meant, or the time is over.

        Raises CapacityReached or Stopping, too.
        """
        if timeout_s <= 0:
            self.number()
            return self.read(after, which, limit)
        with self.listeners.listen() as waiter:
            return self.next_page(waiter, after, which, limit, min(timeout_s, self._settings.wait_max_s))

    def next_page(self, waiter: Waiter, after: int, which: Interest, limit: int, timeout_s: float) -> ChangePage:
        """Do what ``wait_page`` does, for a listener who is registered already."""
        until = self._now_s() + timeout_s
        while True:
            self.number()
            page = self.read(after, which, limit)
            if page.changes or page.is_behind or waiter.dismissed:
                return page
            if not waiter.sleep(until - self._now_s()):
                return page
            after = page.upto
            self._gather()

    def _gather(self) -> None:
        """Let a few more changes come, so that a busy server does not tell of each on its own."""
        never = Lock()
        never.acquire()
        self._sleeper.acquire(never, GATHER_S)

    def keep_up(self) -> None:
        """Give numbers to changes of which nobody told, and tell those who listen."""
        if self.number():
            self.listeners.wake()

    def bounds(self) -> tuple[int, int]:
        """Return the smallest number that is kept, and the largest that was given: they may follow each other."""
        with self._database.read() as connection:
            head = feed.find_head(connection)
            return min(feed.find_oldest(connection), head + 1), head

    def check(self, after: int) -> int:
        """Return a number that a reader wants to go on from. Raises FeedGone or InvalidParameter."""
        oldest, newest = self.bounds()
        if after > newest:
            raise InvalidParameter(
                f"the feed has got to {newest}, and nobody can have read up to {after}: was it another server's, "
                "or is the database an older copy? Go on from 0 or from now"
            )
        if after < oldest - 1:
            raise FeedGone(
                f"changes up to {oldest - 1} are not kept any more: the oldest that there is has number {oldest}; "
                f"read on with after={oldest - 1}"
            )
        return after

    def read(self, after: int, which: Interest, limit: int) -> ChangePage:
        """Return changes that follow a number and are meant; ``limit`` at most. It looks through so many only.

        Raises FeedGone when some that follow it are not kept any more.
        """
        with self._database.read() as connection:
            admitted = self._admit(connection, which)
            packs = feed.read_packs(connection, after, READ_MAX)
        if not packs or packs[0].last - packs[0].size > after:
            self.check(after)
        found: list[JobChange] = []
        for pack in packs:
            found += pack.changes(admitted, after)
            if len(found) > limit:
                return ChangePage(found[:limit], found[limit - 1].number, is_behind=True)
        upto = packs[-1].last if packs else after
        return ChangePage(found, upto, is_behind=len(packs) == READ_MAX)

    def _admit(self, connection: Connection, which: Interest) -> FeedFilter:
        ids: frozenset[int] | None = None
        if isinstance(which.lambda_, str):
            ids = frozenset(lambdas.find_ids_by_name(connection, which.lambda_))
        elif which.lambda_ is not None:
            ids = frozenset([which.lambda_])
        return FeedFilter(which.job_ids, ids, which.group_ids, which.states)

    def name_lambdas(self, changes: Sequence[JobChange]) -> dict[int, str | None]:
        """Return the names of the changes' lambdas, as far as they are there."""
        with self._database.read() as connection:
            return lambdas.find_names(connection, {each.lambda_id for each in changes})

    def forget(self) -> bool:
        """Forget some events that are too old, or too many. Returns whether there may be more of them."""
        with self._database.read() as connection:
            upto = feed.find_head(connection) - self._settings.events_max
        kept_ms = self._settings.keep_ms("events")
        before = 0 if kept_ms == FOR_EVER_MS else self._clock() - kept_ms
        step = partial(feed.forget_packs, upto=upto, before=before, most=FORGOTTEN)
        return self._database.write(step, durable=False) == FORGOTTEN
