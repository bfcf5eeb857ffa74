"""Requests that were refused, as the audit counts them: by who, what and where from, in few rows."""

from collections import Counter
from functools import partial
from threading import Lock

from piecework.server.services.core import Clock
from piecework.server.store.engine.database import Connection, Database
from piecework.server.store.stock import audit
from piecework.server.store.stock.audit import Act, Actor, Count

MINUTE_MAX = 60
"""Different refusals of a minute that are told apart; further ones are counted together, by status."""
HOUR_MAX = 600
"""The same of an hour: a flood that lasts for days leaves what else the audit has its room."""
MINUTE_MS, HOUR_MS = 60_000, 3_600_000


class Refusals:
    """Counts the refusals of one server. Safe to share between threads."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._lock, self._storing = Lock(), Lock()
        self._fresh = Counter[Count]()
        self._rows: dict[Count, int] = {}
        """Of what was stored already: each server adds to rows of its own alone."""
        self._told: set[Count] = set()
        self._hour, self._told_in_hour = 0, 0
        self._totals = Counter[int]()

    def note(self, actor: Actor, status: int, target: str, detail: str) -> None:
        """Count a request that was refused; it is stored within some seconds."""
        now = self._clock()
        count = Count(actor, f"refused ({status})", now // MINUTE_MS * MINUTE_MS, target, detail)
        with self._lock:
            self._totals[status] += 1
            self._begin(count.at)
            if count not in self._told:
                if len(self._told) >= MINUTE_MAX or self._told_in_hour >= HOUR_MAX:
                    count = Count(Actor("nobody"), count.act, count.at, "", "and others: too many to tell apart")
                else:
                    self._told.add(count)
                    self._told_in_hour += 1
            self._fresh[count] += 1

    def read_totals(self) -> dict[int, int]:
        """Return how many requests were refused since the start, by status."""
        with self._lock:
            return dict(self._totals)

    def store(self) -> None:
        """Store the refusals that were counted since the last time."""
        with self._storing:
            with self._lock:
                counted, self._fresh = self._fresh, Counter()
                self._rows = {each: row for each, row in self._rows.items() if each.at >= self._minute_before()}
            if counted:
                self._rows |= self._database.write(partial(_add, counted, dict(self._rows)), durable=False)

    def _minute_before(self) -> int:
        return (self._clock() // MINUTE_MS - 1) * MINUTE_MS

    def _begin(self, minute: int) -> None:
        if any(each.at != minute for each in self._told):
            self._told = set()
        if minute // HOUR_MS != self._hour:
            self._hour, self._told_in_hour = minute // HOUR_MS, 0


def _add(counted: Counter[Count], rows: dict[Count, int], connection: Connection) -> dict[Count, int]:
    """Add counts to their rows, and return the rows of those that had none."""
    made = {}
    for each, count in counted.items():
        if each not in rows or not audit.add_times(connection, rows[each], count):
            act = Act(each.actor, each.at, each.act, each.target, each.detail)
            made[each] = audit.store_act(connection, act, count)
    return made
