"""How long final jobs stay, and removing those whose time is over."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from piecework.protocol.retention import FOR_EVER_MS
from piecework.protocol.states import JobState
from piecework.server.services.core import Core
from piecework.server.services.queue.changing.removal import Removal
from piecework.server.settings import Kept
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.jobs import retention
from piecework.server.store.queue.jobs.retention import START, OverAt
from piecework.server.store.records import Job

FOUND = 500
"""Jobs that are looked for at once."""
COUNTED = 10_000
"""Due jobs are counted up to here."""
READ_AGAIN_MS = 60_000
"""A job that goes once it was read stays so long after that: an answer that got lost can be asked for again."""
UNREAD_MS = 24 * 3600 * 1000
"""A job that goes once it was read, and that nobody reads, stays so long."""
READ_MAX = 100_000
"""Read jobs that are remembered; others stay as if nobody had read them."""
AGAIN_MS = 3600 * 1000
"""So often all is looked through anew: for jobs that could not be removed when their time was over."""

KEPT: dict[JobState, Kept] = {
    JobState.FINISHED: "finished", JobState.FAILED: "failed", JobState.CANCELLED: "cancelled",
}  # fmt: skip

Find = Callable[[Connection, OverAt, int, int], list[OverAt]]


@dataclass
class _List:
    """Jobs in the order in which their time is over, and how far they were looked through."""

    find: Find
    stay_ms: int
    """They stay so long after the time by which they are in order."""
    position: OverAt = START


class Retention:
    """Knows how long jobs stay."""

    def __init__(self, core: Core, removal: Removal) -> None:
        self._database, self._clock = core.database, core.clock
        self._removal = removal
        self._defaults = {state: core.settings.keep_ms(what) for state, what in KEPT.items()}
        self._lists = [_List(retention.list_expired, 0), _List(retention.list_unread, UNREAD_MS)]
        for state, stay_ms in self._defaults.items():
            if stay_ms != FOR_EVER_MS:
                self._lists.append(_List(partial(retention.list_by_state, state=state), stay_ms or UNREAD_MS))
        self._lock = threading.Lock()
        self._read: dict[int, int] = {}
        """When those jobs were read first that go then, in that order."""
        self._left: list[int] = []
        self._began = self._clock()

    def note_read(self, jobs: Iterable[Job]) -> None:
        """Take down that somebody got to know how jobs ended."""
        read = [job.id for job in jobs if job.finished_at is not None and self._stay_ms(job) == 0]
        if read:
            now = self._clock()
            with self._lock:
                for id_ in read[: READ_MAX - len(self._read)]:
                    self._read.setdefault(id_, now)

    def find_end(self, job: Job) -> int | None:
        """Return when a final job goes at the latest; None when it is not final, or stays for ever."""
        stay_ms = self._stay_ms(job)
        if job.finished_at is None or stay_ms == FOR_EVER_MS:
            return None
        return job.finished_at + (stay_ms or UNREAD_MS)

    def count_due(self, connection: Connection) -> int:
        """Return how many jobs' time is over, COUNTED at most; those that go once they were read are left out."""
        now = self._clock()
        found = (each.find(connection, START, now - each.stay_ms, COUNTED) for each in self._lists)
        return min(COUNTED, sum(map(len, found)))

    def step(self) -> bool:
        """Remove some jobs whose time is over. Returns whether there may be more."""
        if not self._left:
            self._left = self._find_read() or self._find()
        if not self._left:
            return False
        gone = set(self._removal.remove_some(self._left).ids)
        self._left = [id_ for id_ in self._left if id_ not in gone] if gone else []
        return True

    def _stay_ms(self, job: Job) -> int:
        return self._defaults.get(job.state, FOR_EVER_MS) if job.retain_ms is None else job.retain_ms

    def _find_read(self) -> list[int]:
        until = self._clock() - READ_AGAIN_MS
        found: list[int] = []
        with self._lock:
            while self._read and len(found) < FOUND:
                id_, at = next(iter(self._read.items()))
                if at > until:
                    break
                del self._read[id_]
                found.append(id_)
        return found

    def _find(self) -> list[int]:
        now = self._clock()
        if not self._began <= now < self._began + AGAIN_MS:
            self._began = now
            for each in self._lists:
                each.position = START
        with self._database.read() as connection:
            for each in self._lists:
                found = each.find(connection, each.position, now - each.stay_ms, FOUND)
                if found:
                    each.position = found[-1]
                    return [position.id for position in found]
                each.position = max(each.position, OverAt(now - each.stay_ms))
        return []
