"""GET /metrics: figures for Prometheus, one registry per app."""

import time
from collections.abc import Iterator, Sequence
from functools import cache

from flask import Flask, Response, current_app
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from piecework.server.api.job_figures import tell_totals
from piecework.server.api.queue.scale import tell_scale
from piecework.server.services import Services, system
from piecework.server.services.functions.calls import CallFigures
from piecework.server.web.bodies import current_request
from piecework.server.web.endpoint import endpoint
from piecework.server.web.holding import HeldResponse

STARTED = "piecework.started"
"""In an environment: when the app began with the request, by the performance counter."""
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)


@endpoint("GET", "/metrics", scope="view")
def metrics(_services: Services) -> Response:
    """Give figures for Prometheus."""
    registry: CollectorRegistry = current_app.extensions["piecework-metrics"]
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def register_metrics(app: Flask) -> None:
    """Count and time every request of the app from now on."""
    registry = CollectorRegistry()
    app.extensions["piecework-metrics"] = registry
    ProcessCollector(registry=registry)
    registry.register(_Figures(app))
    labels = ["method", "path"]
    requests = Counter("piecework_requests", "Requests answered.", [*labels, "status"], registry=registry)
    seconds = Histogram(
        "piecework_request_seconds",
        "Time to an answer, waiting included.",
        labels,
        buckets=BUCKETS_S,
        registry=registry,
    )

    @cache
    def lines_of(method: str, path: str, status: int) -> tuple[Counter, Histogram]:
        return requests.labels(method, path, status), seconds.labels(method, path)

    def note_answer(response: Response) -> Response:
        if isinstance(response, HeldResponse):
            return response
        # What no endpoint matched shares one line: callers must not be able to add lines without end.
        asked = current_request()
        rule = asked.url_rule
        method, path = (asked.method, rule.rule) if rule else ("other", "other")
        count, duration = lines_of(method, path, response.status_code)
        count.inc()
        duration.observe(time.perf_counter() - asked.environ[STARTED])
        return response

    app.after_request(note_answer)


class _Figures(Collector):
    """What is counted when someone asks, and not before."""

    def __init__(self, app: Flask) -> None:
        self._app = app

    def collect(self) -> Iterator[Metric]:
        services: Services = self._app.extensions["piecework"]
        states = system.count_jobs(services.database, services.depths)
        yield _gauge("piecework_jobs", "Jobs that are not final.", {str(k): v for k, v in states.items()})
        seen = system.count_workers(services.database, services.workers, services.clock())
        yield _gauge("piecework_workers", "Workers heard of lately.", {str(k): v for k, v in seen.items()})
        waiting = {"contract": len(services.waiters), "job": len(services.watch)}
        yield _gauge("piecework_waiting_requests", "Requests that wait for something.", waiting, label="for")
        writes, commits = services.database.write_counter.read()
        yield CounterMetricFamily("piecework_writes", "Requests that wrote to the database.", writes)
        yield CounterMetricFamily("piecework_commits", "Commits that they shared.", commits)
        refused = CounterMetricFamily(
            "piecework_requests_refused", "Requests that were refused, and calls of functions.", labels=["status"]
        )
        for status, count in services.audit.refusals.read_totals().items():
            refused.add_metric([str(status)], count)
        yield refused
        attempts = CounterMetricFamily(
            "piecework_webhook_attempts", "Deliveries that this server tried to make.", labels=["outcome"]
        )
        for outcome, count in services.sender.count_attempts().items():
            attempts.add_metric([outcome], count)
        yield attempts
        counts = services.memos.counts
        yield CounterMetricFamily(
            "piecework_memo_answers", "Jobs that this server answered with results of equal ones.", counts.answered
        )
        yield CounterMetricFamily(
            "piecework_memo_checks", "Of such jobs, those that were run all the same and compared.", counts.checked
        )
        stopped = services.memos.count_stops()
        yield GaugeMetricFamily("piecework_memo_stops", "Code that gave two results for one job.", stopped)
        receipts = CounterMetricFamily(
            "piecework_receipts", "Receipts that this server took, and refused.", labels=["outcome"]
        )
        for outcome, count in services.receipts.count().items():
            receipts.add_metric([outcome], count)
        yield receipts
        late = len(services.pace.list_stragglers())
        yield GaugeMetricFamily("piecework_stragglers", "Jobs that have run far longer than usual.", late)
        yield from tell_totals(services.totals.read())
        yield from tell_scale(services.scale.read_by_runtime(), services.clock())
        yield from _function_figures(services.calls.figures())


def _function_figures(figures: Sequence[CallFigures]) -> Iterator[Metric]:
    labels = ["function", "revision"]
    calls = CounterMetricFamily("piecework_function_calls", "Calls of functions answered.", labels=labels)
    errors = CounterMetricFamily("piecework_function_errors", "Those with status 500 and above.", labels=labels)
    jobs = CounterMetricFamily("piecework_function_jobs", "Those that ran as jobs.", labels=labels)
    seconds = CounterMetricFamily("piecework_function_seconds", "Time that they took together.", labels=labels)
    text = "Time that a share of the latest calls took at most."
    latency = GaugeMetricFamily("piecework_function_latency_seconds", text, labels=[*labels, "quantile"])
    for each in figures:
        names = [each.function, each.revision]
        counts = (each.calls, each.errors, each.jobs, each.seconds)
        for family, count in zip((calls, errors, jobs, seconds), counts, strict=True):
            family.add_metric(names, count)
        for share, found in each.quantiles.items():
            latency.add_metric([*names, str(share)], found)
    yield from (calls, errors, jobs, seconds, latency)


def _gauge(name: str, text: str, values: dict[str, int], label: str = "state") -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
