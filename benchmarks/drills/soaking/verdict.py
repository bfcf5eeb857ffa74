"""The verdict on a soak: what grew, what slowed down, what was lost, and what logs and programs say."""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from math import sqrt
from pathlib import Path
from statistics import fmean

from evidence import trouble_in

from soaking.faults import Fault
from soaking.ledger import Ledger
from soaking.sampling import Row

BLOCKS = 12
"""Samples that follow one another are alike: so many means of them are what the bound of a slope is taken from."""
FEWEST = 6
WARM = 0.1
"""A program that was started anew is looked at for growth after this share of the whole."""
HOUR_S = 3600.0
ROUND_S = 150.0
"""Until then nothing is removed: jobs stay for a minute, uploads too, and their outputs for another."""
TOLD_BY = {"disk full": re.compile("disk.* full|No space left", re.IGNORECASE)}
"""What logs tell as an error that a fault is the reason of, by its kind."""


@dataclass(frozen=True)
class Allowance:
    """How much a series may grow from the middle of a soak to its end."""

    per_hour: float
    once: float
    """On top: caches that are not full yet."""
    share: float = 0.0
    """On top: this share of its mean."""
    from_s: float = 0.0
    """Samples from before do not count."""
    quiet: bool = False
    """Only samples count in which no fault may show."""


ALLOWED = {
    "server_mb": Allowance(8, 14),
    "server_files": Allowance(2, 12),
    "server_threads": Allowance(2, 16),
    "agent-1_mb": Allowance(3, 6),
    "agent-1_files": Allowance(2, 12),
    "agent-1_threads": Allowance(2, 8),
    "agent-1_guests_mb": Allowance(4, 10),
    "agent-1_guests_files": Allowance(2, 12),
    "agent-1_guests_threads": Allowance(1, 8),
    "agent-1_replica_mb": Allowance(4, 10),
    "agent-1_replica_files": Allowance(2, 12),
    "agent-1_replica_threads": Allowance(1, 8),
    "database_mb": Allowance(1, 6, share=0.2, from_s=ROUND_S),
    "rows": Allowance(0, 200, share=0.3, from_s=ROUND_S, quiet=True),
    "blobs": Allowance(0, 60, share=0.3, from_s=ROUND_S, quiet=True),
    "queue": Allowance(0, 40, share=0.5, quiet=True),
    "job_p50_ms": Allowance(0, 25, share=0.5, quiet=True),
    "job_p99_ms": Allowance(0, 150, share=1.0, quiet=True),
    "call_p50_ms": Allowance(0, 25, share=0.5, quiet=True),
    "call_p99_ms": Allowance(0, 150, share=1.0, quiet=True),
}
"""MB, files, threads, rows, jobs and milliseconds, by series."""


@dataclass(frozen=True)
class Trend:
    """A straight line through the second half of a series."""

    series: str
    mean: float
    per_hour: float
    bound: float
    """The growth is within this of ``per_hour``, as 95 in 100 such lines are."""
    grown: float
    """By how much it grew from the middle to the end at least."""
    allowed: float

    @property
    def is_too_steep(self) -> bool:
        return self.grown > self.allowed


@dataclass
class Verdict:
    """What came of a soak."""

    trends: list[Trend]
    faults: list[str] = field(default_factory=list)
    """What is wrong, in words; none: the soak was passed."""


def judge(rows: Sequence[Row], ledger: Ledger, made: Sequence[Fault], said: Iterable[str]) -> Verdict:
    """Judge samples and accounts; ``said`` is what else is wrong: of logs, and of programs that ended."""
    last_s = rows[-1]["at_s"] if rows else 0.0
    warm_s = last_s * WARM
    since_s = max([last_s / 2, *(fault.ended_s + warm_s for fault in made if fault.restarts)])
    verdict = Verdict([trend for series in ALLOWED if (trend := find_trend(series, rows, since_s)) is not None])
    verdict.faults += ledger.find_faults()
    verdict.faults += said
    verdict.faults += [
        f"{trend.series} grows: by {trend.grown:,.1f} at least, and {trend.allowed:,.1f} are allowed"
        for trend in verdict.trends
        if trend.is_too_steep
    ]
    if not verdict.trends:
        verdict.faults.append(f"there are only {len(rows)} samples, of {len(made)} faults: too few for a verdict")
    return verdict


def find_trend(series: str, rows: Sequence[Row], since_s: float) -> Trend | None:
    """Fit a line to a series from a moment on; None when there are too few samples."""
    allowance = ALLOWED[series]
    points = [
        (row["at_s"] / HOUR_S, row[series])
        for row in rows
        if row["at_s"] >= max(since_s, allowance.from_s)
        and series in row
        and not (allowance.quiet and row.get("fault"))
    ]
    if len(points) < FEWEST:
        return None
    blocks = min(BLOCKS, len(points) // 2)
    means = [
        (fmean(x for x, _ in part), fmean(y for _, y in part))
        for number in range(blocks)
        if (part := points[number * len(points) // blocks : (number + 1) * len(points) // blocks])
    ]
    slope, bound = fit_line(means)
    hours, mean = points[-1][0] - points[0][0], fmean(y for _, y in points)
    allowed = allowance.per_hour * hours + allowance.once + allowance.share * mean
    return Trend(series, mean, slope, bound, (slope - bound) * hours, allowed)


def fit_line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the slope of the straight line that fits best, and twice its standard error."""
    x_mean, y_mean = fmean(x for x, _ in points), fmean(y for _, y in points)
    spread = sum((x - x_mean) ** 2 for x, _ in points)
    if not spread:
        return 0.0, 0.0
    slope = sum((x - x_mean) * (y - y_mean) for x, y in points) / spread
    left = sum((y - y_mean - slope * (x - x_mean)) ** 2 for x, y in points)
    return slope, 2 * sqrt(left / max(len(points) - 2, 1) / spread)


def find_trouble(logs: Iterable[Path], made: Sequence[Fault], began_at: datetime) -> list[str]:
    """Return what logs tell of bugs, but for what a fault of that moment has to say."""
    return [
        f"{log.name}: {line[:300]}"
        for log in logs
        for line in trouble_in(log)
        if not any(is_told_by(fault, line, began_at) for fault in made)
    ]


def is_told_by(fault: Fault, line: str, began_at: datetime) -> bool:
    """Tell whether a line of a log, with the time at its start, tells of a fault."""
    told = TOLD_BY.get(fault.kind)
    if told is None or not told.search(line):
        return False
    with suppress(ValueError):
        return fault.covers((datetime.fromisoformat(line.split(maxsplit=1)[0]) - began_at).total_seconds())
    return False
