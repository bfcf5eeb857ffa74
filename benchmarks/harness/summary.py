"""From runs to figures: medians with their range, and ratios to the fastest of the others."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.rounds import Run

OURS = "piecework"
"""What the names of our own set-ups start with."""


@dataclass(frozen=True)
class Spread:
    """A figure over several rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Summarise at least one value."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Summary:
    """What one contestant came to; None where nothing was measured."""

    name: str
    rounds: int
    """Runs that worked."""
    error: str
    """Why the others did not; empty when all worked."""
    wrong: int
    """Answers that were missing or not the right one, of all jobs of all rounds."""
    noop: Spread | None
    """Jobs per second."""
    p50_ms: Spread | None
    p99_ms: Spread | None
    cpu: Spread | None
    """Jobs of 10 ms of computing per second."""
    idle: float | None
    """The share of the machine's cores that had nothing to do during the no-ops, 0 to 1; the median."""
    cpu_idle: float | None
    """The same during the jobs of 10 ms."""
    cpu_us: dict[str, float]
    """CPU time for one no-op, by who used it, µs."""


def summarise(runs: Sequence[Run]) -> list[Summary]:
    """Return a summary for each contestant, fastest no-ops first, those that never ran last."""
    names = list(dict.fromkeys(run["name"] for run in runs))
    summaries = [_summarise(name, [run for run in runs if run["name"] == name]) for name in names]
    return sorted(summaries, key=lambda each: -each.noop.median if each.noop else 0.0)


def _summarise(name: str, runs: Sequence[Run]) -> Summary:
    good = [run for run in runs if "error" not in run]
    errors = [run["error"] for run in runs if "error" in run]

    def spread(read: Callable[[Run], float], part: str = "noop") -> Spread | None:
        values = [read(run) for run in good if part in run]
        return Spread.of(values) if values else None

    def idle(part: str) -> float | None:
        values = [run[part]["idle"] for run in good if "idle" in run.get(part, {})]
        return statistics.median(values) if values else None

    parts = {part for run in good for part in run["noop"]["cpu_us_per_job"]}
    return Summary(
        name=name,
        rounds=len(good),
        error=errors[0] if errors else "",
        wrong=sum(run[part]["wrong"] for run in good for part in ("noop", "latency", "cpu") if part in run),
        noop=spread(lambda run: run["noop"]["jobs_per_s"]),
        p50_ms=spread(lambda run: run["latency"]["p50_ms"]),
        p99_ms=spread(lambda run: run["latency"]["p99_ms"]),
        cpu=spread(lambda run: run["cpu"]["jobs_per_s"], "cpu"),
        idle=idle("noop"),
        cpu_idle=idle("cpu"),
        cpu_us={
            part: statistics.median(run["noop"]["cpu_us_per_job"].get(part, 0.0) for run in good)
            for part in sorted(parts)
        },
    )


def fastest_other(summaries: Sequence[Summary]) -> Summary | None:
    """Return the contestant with the most no-ops per second that is not ours; None when none ran."""
    others = [each for each in summaries if each.noop and not each.name.startswith(OURS)]
    return others[0] if others else None


def ratio(summary: Summary, to: Summary | None) -> float | None:
    """Return how many times as many no-ops per second a contestant does as another."""
    if summary.noop is None or to is None or to.noop is None:
        return None
    return summary.noop.median / to.noop.median
