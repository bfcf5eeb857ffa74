"""The thread that wakes requests when the time of a job or a schedule comes, and does the regular chores.

Of jobs nothing depends on it alone: a contract moves overdue ones on inside its own transaction.
"""

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from piecework.protocol.ids import ID_MAX
from piecework.server.errors import DatabaseAway
from piecework.server.services.core import Core
from piecework.server.services.queue.leasing.overdue import move_overdue
from piecework.server.services.queue.lifecycle.endings import Endings
from piecework.server.services.queue.schedules.ticking import Ticking
from piecework.server.services.queue.waiting.waiting import WOKEN_MAX, Changes, Notifier
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.jobs import jobs
from piecework.server.store.queue.leasing import lanes, leases

log = structlog.get_logger("server")

TICK_S = 1.0
"""The longest sleep."""
SHARED_TICK_S = 0.25
HELD_S = 0.05
"""It looks again so much later when others work on all that is due."""
"""The longest sleep when other servers may change the database."""


Rest = Callable[[], float]
"""Does a step of what the ends of jobs left to do; tells in how many seconds to go on."""


@dataclass
class Chore:
    """Something to do now and then."""

    name: str
    every_s: float
    do: Callable[[], object]
    last_s: float | None = None
    """When it was done last, or first looked at."""


class Timekeeper:
    """Sleeps until the next lease ends, job is due or schedule ticks; announces what changed."""

    def __init__(
        self,
        core: Core,
        endings: Endings,
        notifier: Notifier,
        ticking: Ticking,
        chores: list[Chore],
        rests: Sequence[Rest],
    ) -> None:
        self._database, self._clock, self._settings = core.database, core.clock, core.settings
        self._now_s = core.sleeper.now_s
        self._endings = endings
        self._notifier = notifier
        self._ticking = ticking
        self._chores = chores
        self._rests = rests
        notifier.poke = self.poke
        self._poke = threading.Event()
        self._lock = threading.Lock()
        self._heard = Counter[int]()
        """What other servers announced since the last look."""
        self._heads: set[int] = set()
        """The first enqueued job of each priority and lane, as the last look found them."""
        self._looks_at = 0.0
        """When to look at what nobody announced, or of what the hint got lost."""
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name="timekeeper", daemon=True),
            threading.Thread(target=self._listen, name="listener", daemon=True),
        ]

    def start(self) -> None:
        """Begin to look at the clock, and to hear of what other servers do."""
        for thread in self._threads:
            thread.start()

    def poke(self) -> None:
        """Tell it that a time was set which may be nearer than the one it sleeps for."""
        self._poke.set()

    def hear(self, enqueued: Mapping[int, int] | None) -> None:
        """Take note of what another server announced: jobs to be had, by lane id; None: of any lane."""
        with self._lock:
            if enqueued is None:
                self._looks_at = 0.0
            else:
                self._heard.update(enqueued)
        self._poke.set()

    def stop(self) -> None:
        """End the threads. Safe to repeat, and before they were started."""
        self._stopping.set()
        self._poke.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=5)

    def _run(self) -> None:
        sleep_s = 0.0
        while not self._stopping.is_set():
            self._poke.wait(sleep_s)
            self._poke.clear()
            try:
                sleep_s = self.move_on()
                self.do_chores()
            except Exception as error:  # the one net of this thread: it must outlive whatever a turn met
                if not getattr(error, "is_logged", False):
                    log.exception("the timekeeper failed; it goes on")
                sleep_s = TICK_S

    def _listen(self) -> None:
        """Look around as soon as another server announces a change."""
        while not self._stopping.is_set():
            try:
                self._database.listen(self.hear, self._stopping)
            except DatabaseAway:
                self._stopping.wait(TICK_S)  # until it is back, the ticks must do
            else:
                return

    def move_on(self) -> float:
        """Do what is due now. Returns the seconds until something is due next, at most one tick."""
        if self._stopping.is_set():
            return 0.0
        tick_s = SHARED_TICK_S if self._database.is_shared else TICK_S
        with self._database.read() as connection:
            next_time = leases.find_next_time(connection)
        now, least_s = self._clock(), 0.0
        if next_time is not None and next_time <= now:
            move = partial(move_overdue, settings=self._settings, endings=self._endings, now=now)
            changes = self._database.write(move)
            least_s = 0.0 if changes.jobs else HELD_S
            self._notifier.notify(changes)
        next_tick = self._ticking.move_on(now)
        nearest = min((time for time in (next_time, next_tick) if time is not None), default=None)
        rest_s = min(rest() for rest in self._rests)
        if rest_s <= 0 or (nearest is not None and nearest <= now):
            return least_s
        if self._database.is_shared:
            self._look_around()
        return min(tick_s, rest_s) if nearest is None else min(tick_s, rest_s, (nearest - now) / 1000)

    def _look_around(self) -> None:
        """Wake those who wait for what another server did: as many contracts as there are jobs.

        At least each SHARED_TICK_S it looks for itself. In between it goes by what was announced: each contract
        that looks for a job is a transaction.
        """
        with self._lock:
            enqueued, self._heard = self._heard, Counter()
            looks = self._now_s() >= self._looks_at
            if looks:
                self._looks_at = self._now_s() + SHARED_TICK_S
        self._notifier.tell_listeners()
        watched = self._notifier.watch.watched()
        if not watched and not len(self._notifier.waiters):
            return
        with self._database.read() as connection:
            states = jobs.find_states(connection, watched)
            if looks and len(self._notifier.waiters):
                enqueued |= self._look_at_lanes(connection)
        self._notifier.wake(Changes(enqueued=enqueued, jobs=states))

    def _look_at_lanes(self, connection: Connection) -> Counter[int]:
        """Return how many contracts are to look at each lane, by its id.

        As many as there are jobs; but many where the first of them was there at the last look already: it may be
        that few can have it.
        """
        found, heads = Counter[int](), set[int]()
        for group in lanes.groups_with_jobs(connection):
            lane_id = group.lane.id
            heads.add(group.head)
            is_old = group.head in self._heads
            found[lane_id] += (
                WOKEN_MAX
                if is_old
                else jobs.count_enqueued(connection, group.priority, lane_id, ID_MAX, WOKEN_MAX)
            )
        self._heads = heads
        return found

    def do_chores(self) -> None:
        """Do the chores that are due."""
        for chore in self._chores:
            now_s = self._now_s()
            if chore.last_s is None:
                chore.last_s = now_s
            elif now_s - chore.last_s >= chore.every_s:
                chore.last_s = now_s
                chore.do()
