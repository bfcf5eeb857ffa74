"""How calls of functions went: counts and latencies of each revision, since this server started."""

import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from piecework.protocol.messages import Traffic

GROWTH = 1.04
"""Each bucket is this much wider than the one before: a quantile is off by 2 % at most."""
SHORTEST_S = 1e-5
WINDOW_S = 300.0
"""Quantiles are of the calls of the last one to two windows."""
_LOG_GROWTH = math.log(GROWTH)


class Histogram:
    """Durations, in buckets that grow: any number of them takes no more memory than a few hundred numbers."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.count = 0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self._buckets[math.ceil(math.log(max(seconds, SHORTEST_S) / SHORTEST_S) / _LOG_GROWTH)] += 1
        self.count += 1

    def merged(self, other: "Histogram") -> "Histogram":
        """Return the durations of both."""
        both = Histogram()
        both._buckets = self._buckets + other._buckets  # noqa: SLF001  # another of this kind
        both.count = self.count + other.count
        return both

    def quantile(self, share: float) -> float | None:
        """Return the seconds that this share of the durations did not exceed; None when there are none."""
        wanted, seen = share * self.count, 0
        for index in sorted(self._buckets):
            seen += self._buckets[index]
            if seen >= wanted:
                return float(SHORTEST_S * GROWTH ** (index - 0.5))
        return None


@dataclass
class _Counts:
    """The calls of one revision."""

    calls: int = 0
    errors: int = 0
    jobs: int = 0
    seconds: float = 0.0
    began: float = 0.0
    """When the present window began."""
    present: Histogram = field(default_factory=Histogram)
    past: Histogram = field(default_factory=Histogram)

    def turn(self, now: float) -> None:
        """Begin a new window when the present one is over."""
        if now - self.began >= WINDOW_S:
            self.past = self.present if now - self.began < 2 * WINDOW_S else Histogram()
            self.present, self.began = Histogram(), now

    def quantiles(self, *shares: float) -> Iterator[float | None]:
        both = self.present.merged(self.past)
        return (both.quantile(share) for share in shares)


@dataclass(frozen=True, slots=True)
class CallFigures:
    """The calls of one revision, for Prometheus."""

    function: str
    revision: str
    calls: int
    errors: int
    jobs: int
    seconds: float
    """How long all calls took together."""
    quantiles: dict[float, float]
    """Seconds by share, of the latest calls."""


class CallStatistics:
    """Counts the calls of each revision. Safe to share between threads."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str], _Counts] = {}

    def note(self, function: str, revision: str, status: int, seconds: float, *, as_job: bool = False) -> None:
        """Count one call that was answered."""
        now = self._monotonic()
        with self._lock:
            counts = self._counts.get((function, revision))
            if counts is None:
                counts = self._counts[function, revision] = _Counts(began=now)
            counts.turn(now)
            counts.calls += 1
            counts.errors += status >= 500
            counts.jobs += as_job
            counts.seconds += seconds
            counts.present.add(seconds)

    def read(self, function: str, revision: str) -> Traffic | None:
        """Return what passed for a revision; None when nothing did."""
        with self._lock:
            counts = self._counts.get((function, revision))
            if counts is None:
                return None
            counts.turn(self._monotonic())
            p50, p99 = counts.quantiles(0.5, 0.99)
            return Traffic(
                calls=counts.calls, errors=counts.errors, jobs=counts.jobs, p50_ms=_to_ms(p50), p99_ms=_to_ms(p99)
            )

    def figures(self) -> list[CallFigures]:
        """Return what passed for all revisions, by name."""
        with self._lock:
            return [_show(names, counts) for names, counts in sorted(self._counts.items())]

    def keep(self, revisions: set[tuple[str, str]]) -> None:
        """Forget all revisions but these."""
        with self._lock:
            for gone in self._counts.keys() - revisions:
                del self._counts[gone]


def _show(names: tuple[str, str], counts: _Counts) -> CallFigures:
    shares = (0.5, 0.99)
    found = dict(zip(shares, counts.quantiles(*shares), strict=True))
    quantiles = {share: seconds for share, seconds in found.items() if seconds is not None}
    return CallFigures(*names, counts.calls, counts.errors, counts.jobs, counts.seconds, quantiles)


def _to_ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
