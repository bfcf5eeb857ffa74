"""Figures of jobs for Prometheus: counters and histograms that only ever rise, by the name of the lambda."""

from collections.abc import Iterator, Mapping

from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric

from piecework.server.services.queue.figures.totals import Totals
from piecework.server.store.queue.figures.tallies import BOUNDS_MS, middle_s

SHOWN_MS = BOUNDS_MS[1:36:2]
"""The upper ends of the buckets that are shown, up to about three hours."""
_COUNTS = {
    "submitted": ("piecework_jobs_submitted", "Jobs that were stored."),
    "started": ("piecework_jobs_started", "Leases that were given."),
    "retried": ("piecework_attempts_failed", "Attempts that failed and are followed by another."),
    "lost": ("piecework_leases_lost", "Leases that ran out: workers vanished."),
}
_ENDS = ("finished", "failed", "cancelled")


def tell_totals(totals: Totals) -> Iterator[Metric]:
    """Yield the figures of all that happened to jobs since this server started."""
    for word, (name, text) in _COUNTS.items():
        family = CounterMetricFamily(name, text, labels=["lambda"])
        for lambda_, tally in totals.by_name.items():
            family.add_metric([lambda_], tally.counts.get(word, 0))
        yield family
    ended = CounterMetricFamily("piecework_jobs_ended", "Jobs that ended.", labels=["lambda", "state"])
    for lambda_, tally in totals.by_name.items():
        for state in _ENDS:
            ended.add_metric([lambda_, state], tally.counts.get(state, 0))
    yield ended
    kinds = CounterMetricFamily("piecework_jobs_failed", "Jobs that failed for good.", labels=["kind"])
    for kind, count in sorted(totals.kinds.items()):
        kinds.add_metric([kind], count)
    yield kinds
    text = "Time from when a job was submitted, or due, to its first start; the sum is an estimate."
    tallies = totals.by_name.items()
    yield _histogram("piecework_job_wait_seconds", text, {name: each.waits for name, each in tallies})
    text = "Time that the last attempts of jobs took that finished or failed; the sum is an estimate."
    yield _histogram("piecework_job_run_seconds", text, {name: each.runs for name, each in tallies})


def _histogram(name: str, text: str, found: Mapping[str, Mapping[int, int]]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, text, labels=["lambda"])
    for lambda_, buckets in found.items():
        counts = [
            (str(bound / 1000), sum(count for place, count in buckets.items() if place <= BOUNDS_MS.index(bound)))
            for bound in SHOWN_MS
        ]
        total = sum(count * middle_s(place) for place, count in buckets.items())
        family.add_metric([lambda_], [*counts, ("+Inf", sum(buckets.values()))], sum_value=total)
    return family
