"""Totals of what happened to jobs since this server started, for counters that only ever rise.

They are read from the counters that all servers of a database share: so each server tells of all jobs.
"""

from collections import defaultdict
from collections.abc import Mapping
from threading import Lock
from typing import NamedTuple, TypeVar

from piecework.server.services.core import Core
from piecework.server.services.queue.reading.feed import Feed
from piecework.server.store.queue.figures import counters
from piecework.server.store.queue.figures.counters import ALL, DAY_S, Counted
from piecework.server.store.queue.figures.tallies import Tally
from piecework.server.store.stock import lambdas

K = TypeVar("K", int, str)
NAMES_MAX = 20
"""Lambdas that are told of one by one, by name: the busiest since the start. All others are OTHER together."""
KNOWN_MAX = 5000
"""Names of which is known how busy they were."""
OTHER = "other"
UNNAMED = "unnamed"
"""What lambdas without a name are called together."""


class Totals(NamedTuple):
    """What happened since the start."""

    by_name: Mapping[str, Tally]
    """By the name of the lambda: NAMES_MAX of them, and OTHER. None of their numbers ever falls."""
    kinds: Mapping[str, int]
    """How many jobs failed for good with which kind of error."""


class JobTotals:
    """Adds up what counters rise by, from one reading to the next."""

    def __init__(self, core: Core, feed: Feed) -> None:
        self._database, self._clock = core.database, core.clock
        self._feed = feed
        self._lock = Lock()
        self._since = self._today()
        self._seen: dict[tuple[int, int], Tally] = {}
        self._names: defaultdict[str, Tally] = defaultdict(_nothing)
        self._other = _nothing()
        self._kinds: dict[str, int] = {}
        for each in self._read():
            self._seen[each.start, each.lambda_id] = each.tally

    def read(self) -> Totals:
        """Return the totals up to now."""
        self._feed.number()
        with self._lock:
            today = self._today()
            risen = self._rise(self._read())
            self._since = max(self._since, today - DAY_S)
            self._seen = {key: tally for key, tally in self._seen.items() if key[0] >= self._since}
            for name, tally in risen.items():
                self._names[name].add(tally)
            busiest = sorted(self._names, key=lambda name: -sum(self._names[name].counts.values()))
            shown = set(busiest[:NAMES_MAX])
            for name, tally in risen.items():
                if name not in shown:
                    self._other.add(tally)
            for name in busiest[KNOWN_MAX:]:
                del self._names[name]
            told = {name: _copy(self._names[name]) for name in busiest[:NAMES_MAX]}
            if self._other.counts:
                told[OTHER] = _copy(self._other)
            return Totals(told, dict(self._kinds))

    def _rise(self, found: list[Counted]) -> dict[str, Tally]:
        """Return by how much was counted more than at the last reading, by name."""
        fresh: dict[int, Tally] = {}
        for each in found:
            more = _subtract(each.tally, self._seen.get((each.start, each.lambda_id)))
            self._seen[each.start, each.lambda_id] = each.tally
            if each.lambda_id == ALL:
                for kind, count in more.kinds.items():
                    self._kinds[kind] = self._kinds.get(kind, 0) + count
            elif more.counts:
                fresh.setdefault(each.lambda_id, _nothing()).add(more)
        with self._database.read() as connection:
            names = lambdas.find_names(connection, [id_ for id_ in fresh if id_ > 0])
        risen: defaultdict[str, Tally] = defaultdict(_nothing)
        for id_, tally in fresh.items():
            risen[(names.get(id_) or UNNAMED) if id_ > 0 else OTHER].add(tally)
        return risen

    def _read(self) -> list[Counted]:
        with self._database.read() as connection:
            return counters.read_counters(connection, DAY_S, self._since)

    def _today(self) -> int:
        return self._clock() // 1000 // DAY_S * DAY_S


def _nothing() -> Tally:
    return Tally(0, 0, {}, {}, {}, {})


def _copy(tally: Tally) -> Tally:
    copied = _nothing()
    copied.add(tally)
    return copied


def _subtract(tally: Tally, before: Tally | None) -> Tally:
    """Return what was counted since."""
    if before is None:
        return tally
    counts, waits = _differ(tally.counts, before.counts), _differ(tally.waits, before.waits)
    return Tally(0, 0, counts, waits, _differ(tally.runs, before.runs), _differ(tally.kinds, before.kinds))


def _differ(now: Mapping[K, int], before: Mapping[K, int]) -> dict[K, int]:
    return {key: count - before.get(key, 0) for key, count in now.items() if count != before.get(key)}
