"""Limits by key, inside the caller's transaction: which jobs may start, which wait for room, and which are next.

A claim starts a job only while its keys have room, and counts it in their rows: that is what makes limits exact.
All else keeps claims from meeting jobs that may not start: new jobs beyond the room wait from the beginning, a
claim has those wait that it meets all the same, and whoever makes room enqueues the next. Of each lane as many are
enqueued as there is room, so that no lane without workers holds another one up.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from piecework.protocol.states import JobState
from piecework.server.errors import InvalidRequest
from piecework.server.services.queue.lifecycle.endings import Ended
from piecework.server.services.queue.limits.windows import Window
from piecework.server.services.queue.waiting.waiting import Changes
from piecework.server.store.engine.database import Connection
from piecework.server.store.job_keys import JobKeys
from piecework.server.store.queue.figures import events
from piecework.server.store.queue.leasing import keyed, limits
from piecework.server.store.queue.leasing.limits import Kind, Limit, LimitName
from piecework.server.store.records import Event, Job, NewJob

ANY = 1 << 40
"""The room under no limit."""
ADMITTED_MAX = 100
"""Jobs of a lane that are enqueued at once when there is room for more; the timekeeper goes on."""
LANES_MAX = 8
"""Lanes whose jobs are looked at when there is room; of more, some at a time in turn."""
MOVES_MAX = 8
"""How often another key's limit may be in the way before the timekeeper goes on."""
WOKEN_MAX = 20
"""Limits that are looked at in one transaction when their time comes."""
USED_MS = 3_600_000
"""It is noted at most this often that a limit is used."""


def names_of(keys: Job | JobKeys) -> list[LimitName]:
    """Return the limits of a job, or of keys."""
    names = []
    if keys.concurrency_key is not None:
        names.append(LimitName("concurrency", keys.concurrency_key))
    if keys.rate_key is not None:
        names.append(LimitName("rate", keys.rate_key))
    return names


class Limiter:
    """What one transaction does about limits. ``close`` stores it."""

    def __init__(self, connection: Connection, now: int) -> None:
        self._connection = connection
        self._now = now
        self._limits: dict[LimitName, Limit] = {}
        self._windows: dict[LimitName, Window] = {}
        self._changed: set[LimitName] = set()
        self._trail: list[Event] = []
        self._parked: list[tuple[Job, Kind]] = []
        """Jobs whose rows do not say yet that they wait."""
        self._ready: dict[tuple[LimitName, int, int], int] = {}
        self._placed: Counter[tuple[LimitName, int]] = Counter()
        self.changes = Changes()
        """What it changed, for those who wait for it."""

    def lock(self, names: Iterable[LimitName], *, waits: bool = True) -> None:
        """Take limits into use. With ``waits`` False, those that others have locked are left out."""
        wanted = set(names) - self._limits.keys()
        if wanted:
            found = limits.lock_limits(self._connection, wanted, waits=waits)
            self._limits |= found
            for name, limit in found.items():
                if name.kind == "rate":
                    self._windows[name] = Window(limit.starts, limit.period_ms, self._now)

    def has(self, name: LimitName) -> bool:
        return name in self._limits

    def get(self, name: LimitName) -> Limit | None:
        return self._limits.get(name)

    def room(self, name: LimitName) -> int:
        """Return how many more jobs may start now; below zero when a limit was lowered."""
        limit = self._limits.get(name)
        if limit is None or limit.most is None:
            return ANY
        used = limit.running if name.kind == "concurrency" else self._windows[name].count
        return limit.most - used

    def find_full(self, job: Job) -> LimitName | None:
        """Return a limit that keeps a job from starting."""
        return next((name for name in names_of(job) if self.room(name) <= 0), None)

    def start(self, job: Job) -> None:
        """Count a job that starts."""
        for name in names_of(job):
            if limit := self._limits.get(name):
                self._changed.add(name)
                if name.kind == "concurrency":
                    limit.running += 1
                else:
                    self._windows[name].add(1, self._now)

    def release(self, left: Sequence[Job]) -> None:
        """Count jobs that are not leased or enqueued any more, as they were, and enqueue those that are next."""
        ended: Counter[LimitName] = Counter()
        lanes: dict[LimitName, int] = {}
        for job in left:
            for name in names_of(job):
                if job.state is JobState.RUNNING and name.kind == "concurrency":
                    ended[name] += 1
                    lanes[name] = job.lane_id
                elif job.state is JobState.ENQUEUED:
                    lanes[name] = job.lane_id
        self.lock(lanes)
        for name, count in ended.items():
            if limit := self._limits.get(name):
                limit.running = max(0, limit.running - count)
                self._changed.add(name)
        for name in sorted(lanes):
            self.admit(name, lanes[name])

    def park(self, job: Job, name: LimitName) -> None:
        """Have an enqueued job wait for room."""
        self._parked.append((job, name.kind))
        self._trail.append(Event(job.id, self._now, JobState.WAITING, attempt=job.attempt, detail=_describe(name)))
        self.changes.jobs[job.id] = JobState.WAITING
        self._wake_for(name)

    def place(self, enqueued: Iterable[Job]) -> None:
        """Have those wait for room that were just enqueued and are more than may start."""
        for job in enqueued:
            self.lock(names_of(job))
            for name in names_of(job):
                room = self.room(name)
                if room >= ANY:
                    continue
                if room <= 0 or self._count_ready(name, job.lane_id, job.priority, room + 1) > room:
                    self.park(job, name)
                    self._store_parked()  # before others are counted
                    break

    def place_new(self, new: Sequence[NewJob], lane_ids: Sequence[int]) -> list[NewJob]:
        """Return jobs about to be stored, those of them waiting for room that are more than may start.

        Sets the limits that they say. Raises InvalidRequest when these contradict each other, or one is missing.
        """
        placed = list(new)
        fresh = self._set_limits(new)
        order = sorted(range(len(new)), key=lambda place: -new[place].priority)
        for place in order:
            job = new[place]
            if job.state is not JobState.ENQUEUED:
                continue
            names = names_of(job.keys)
            full = next(
                (name for name in names if self._is_full(name, lane_ids[place], job.priority, fresh)), None
            )
            if full is not None:
                placed[place] = job._replace(state=JobState.WAITING, waits=keyed.WAITS[full.kind])
                self._wake_for(full)
                continue
            for name in names:
                self._placed[name, lane_ids[place]] += 1
        return placed

    def _is_full(self, name: LimitName, lane_id: int, priority: int, fresh: set[LimitName]) -> bool:
        room = self.room(name)
        ready = self._placed[name, lane_id]
        if ready >= room:
            return True
        if name in fresh or room >= ANY:
            return False
        asked = (name, lane_id, priority)
        if asked not in self._ready:
            self._ready[asked] = self._count_ready(name, lane_id, priority, room)
        return ready + self._ready[asked] >= room

    def _count_ready(self, name: LimitName, lane_id: int, priority: int, most: int) -> int:
        return keyed.count_ready(self._connection, name.kind, name.key, lane_id, priority, most)

    def _set_limits(self, new: Sequence[NewJob]) -> set[LimitName]:
        """Store what new jobs say of limits. Returns those that there were not before."""
        said = _gather(new)
        again = {name for job in new if job.retry_of is not None for name in names_of(job.keys)}
        self.lock(said)
        added, changed, raised = [], [], []
        for name, (most, period_ms) in sorted(said.items()):
            limit = self._limits.get(name)
            if limit is None:
                if most is None and name not in again:
                    raise InvalidRequest(
                        f"the {name.kind} key {name.key!r} has no limit yet: say {name.kind}_limit with the job"
                    )
                limit = Limit(name.kind, name.key, most, period_ms, used_at=self._now)
                added.append(limit)
                self._limits[name] = limit
                self._windows[name] = Window(None, limit.period_ms, self._now)
                continue
            is_other = most is not None and (limit.said, limit.said_period_ms) != (most, period_ms)
            if is_other or self._now - limit.used_at > USED_MS:
                limit.used_at = self._now
                changed.append(limit)
            if is_other:
                limit.said, limit.said_period_ms = most, period_ms
                raised.append(name)
                if name.kind == "rate":
                    self._windows[name] = Window(limit.starts, limit.period_ms, self._now)
        limits.add_limits(self._connection, added)
        limits.say_limits(self._connection, changed)
        for name in raised:
            self.admit(name)
        return {limit.name for limit in added}

    def admit(self, name: LimitName, after: int = 0) -> None:
        """Enqueue the jobs that are next, if there is room: highest priority first, then oldest, of each lane.

        Of many lanes those behind ``after`` come first.
        """
        limit, room = self._limits.get(name), self.room(name)
        if limit is None:
            return
        self._store_parked()
        goes_on = False
        if room > 0:
            for lane_id in self._find_lanes(name, after):
                goes_on |= self._admit_in_lane(name, lane_id, min(room, ADMITTED_MAX)) and room > ADMITTED_MAX
        before, limit.wake_at = limit.wake_at, self._now if goes_on else None
        if name.kind == "rate" and not goes_on and keyed.count_parked(self._connection, "rate", name.key, 1):
            limit.wake_at = self._wake_time(name)
        if limit.wake_at != before:
            self._changed.add(name)

    def _find_lanes(self, name: LimitName, after: int) -> list[int]:
        found = keyed.find_parked_lanes(self._connection, name.kind, name.key, after, LANES_MAX)
        if after and len(found) < LANES_MAX:
            found += keyed.find_parked_lanes(self._connection, name.kind, name.key, 0, LANES_MAX)
        return list(dict.fromkeys(found))[:LANES_MAX]

    def _admit_in_lane(self, name: LimitName, lane_id: int, most: int) -> bool:
        """Enqueue jobs of a lane until so many could start. Tells whether more may wait."""
        for _ in range(MOVES_MAX):
            parked = keyed.find_parked(self._connection, name.kind, name.key, lane_id, most)
            if not parked:
                return False
            ready = self._count_ready(name, lane_id, parked[0].priority, most)
            chosen = parked[: max(0, most - ready)]
            moved = self._admit_jobs(name, chosen)
            if not moved:
                return len(parked) == most
        self._limits[name].wake_at = self._now
        self._changed.add(name)
        return True

    def _admit_jobs(self, name: LimitName, chosen: Sequence[Job]) -> int:
        """Enqueue jobs; those that another key's limit keeps from starting wait for that. Returns how many do."""
        others = {other for job in chosen for other in names_of(job)} - {name}
        self.lock(others, waits=False)
        admitted = []
        moved = []
        for job in chosen:
            full = next((each for each in names_of(job) if each != name and self.room(each) <= 0), None)
            if full is None:
                admitted.append(job)
                event = Event(
                    job.id, self._now, JobState.ENQUEUED, attempt=job.attempt, detail="there is room for it"
                )
                self._trail.append(event)
                self.changes.note(job.id, job.lane_id, JobState.ENQUEUED)
            else:
                moved.append((job, full.kind))
                self._wake_for(full)
        keyed.admit_jobs(self._connection, admitted)
        keyed.park_jobs(self._connection, moved)
        return len(moved)

    def _wake_for(self, name: LimitName) -> None:
        """Have the timekeeper look for jobs that wait, once time makes room."""
        limit = self._limits.get(name)
        if limit is not None and name.kind == "rate" and limit.wake_at is None:
            limit.wake_at = self._wake_time(name)
            self._changed.add(name)

    def _wake_time(self, name: LimitName) -> int:
        # Without starts all that may start is enqueued. What starts from now on makes room in a period or later.
        return self._windows[name].changes_at or self._now + self._limits[name].period_ms

    def recount(self, name: LimitName) -> int:
        """Count the leased jobs of a concurrency key anew. Returns by how much the row was wrong."""
        limit = self._limits[name]
        running = (
            keyed.count_running(self._connection, name.kind, name.key, ANY) if name.kind == "concurrency" else 0
        )
        wrong, limit.running = limit.running - running, running
        if wrong:
            self._changed.add(name)
        return wrong

    def _store_parked(self) -> None:
        keyed.park_jobs(self._connection, self._parked)
        self._parked = []

    def close(self) -> None:
        """Store how the limits are used now, and what became of jobs."""
        self._store_parked()
        for name in self._changed:
            if name.kind == "rate":
                self._limits[name].starts = self._windows[name].text()
        limits.keep_limits(self._connection, [self._limits[name] for name in sorted(self._changed)])
        events.add_events(self._connection, self._trail)
        self._changed, self._trail = set(), []


def release_jobs(connection: Connection, left: Sequence[Job], changes: Changes, now: int) -> None:
    """Let the next jobs of their keys start, when jobs are not leased or enqueued any more; as they were."""
    if any(job.concurrency_key or job.rate_key for job in left):
        limiter = Limiter(connection, now)
        limiter.release(left)
        limiter.close()
        changes.add(limiter.changes)


def release_ended(connection: Connection, ended: Sequence[Ended], changes: Changes, now: int) -> Sequence[Ended]:
    """React to the ends of jobs as ``release_jobs`` does."""
    release_jobs(connection, [each.job for each in ended], changes, now)
    return ()


def place_jobs(connection: Connection, enqueued: Sequence[Job], changes: Changes, now: int) -> None:
    """Have those of jobs that were just enqueued wait which their keys' limits keep from starting."""
    limited = [job for job in enqueued if job.concurrency_key or job.rate_key]
    if limited:
        limiter = Limiter(connection, now)
        limiter.place([job._replace(state_name=JobState.ENQUEUED.value) for job in limited])
        limiter.close()
        changes.add(limiter.changes)


def wake_limits(connection: Connection, now: int, changes: Changes) -> None:
    """Enqueue jobs that waited until time made room under the limits of their keys."""
    if names := limits.find_waking(connection, now, WOKEN_MAX):
        limiter = Limiter(connection, now)
        limiter.lock(names, waits=False)
        for name in names:
            limiter.admit(name)
        limiter.close()
        changes.add(limiter.changes)


def _describe(name: LimitName) -> str:
    return f"the limit of the {name.kind} key {name.key} is reached"


def _gather(new: Iterable[NewJob]) -> dict[LimitName, tuple[int | None, int | None]]:
    """Return what jobs say of their limits: how many, and in which period. Raises InvalidRequest."""
    said: dict[LimitName, tuple[int | None, int | None]] = {}
    for job in new:
        keys = job.keys
        for name in names_of(keys):
            is_rate = name.kind == "rate"
            terms = (keys.rate_limit, keys.rate_period_ms) if is_rate else (keys.concurrency_limit, None)
            before = said.get(name)
            if before is None or before[0] is None:
                said[name] = terms
            elif terms[0] is not None and terms != before:
                raise InvalidRequest(
                    f"jobs of one submission say that the limit of the {name.kind} key {name.key!r} is"
                    f" {_tell(before)} and {_tell(terms)}"
                )
    return said


def _tell(terms: tuple[int | None, int | None]) -> str:
    most, period_ms = terms
    return f"{most}" if period_ms is None else f"{most} in {period_ms / 1000:g} s"
