"""Figures of jobs over a time, read from counters."""

from collections.abc import Callable, Sequence
from functools import partial
from math import exp, log
from typing import NamedTuple

from piecework.protocol.matching import offers_runtime
from piecework.protocol.messages import StatsFigures, StatsPeriod, StatsTimes
from piecework.server.services.core import Core
from piecework.server.services.queue.reading.feed import Feed
from piecework.server.services.stock.lambdas import Lambdas
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.figures import counters
from piecework.server.store.queue.figures.counters import ALL, DAY_S, HOUR_S, MINUTE_S, QUARTER_S, Counted
from piecework.server.store.queue.figures.tallies import BOUNDS_MS, Tally, middle_s
from piecework.server.store.stock import lambdas

PERIODS: dict[StatsPeriod, tuple[int, int]] = {
    "hour": (MINUTE_S, 60), "day": (QUARTER_S, 96), "week": (HOUR_S, 168), "month": (DAY_S, 30),
}  # fmt: skip
"""The steps of each period: how long they are, and how many."""
SHARES = (0.5, 0.9, 0.99)


class LambdaFigures(NamedTuple):
    """What was counted of one lambda."""

    id: int
    """OTHERS: of those that have no counter of their own."""
    name: str | None
    tally: Tally


class FiguresOverTime(NamedTuple):
    """What was counted in a period."""

    now_s: float
    step_s: int
    points: list[tuple[int, Tally]]
    """Each step, by when it begins, seconds since 1970."""
    total: Tally
    lambdas: list[LambdaFigures]
    """The busiest first."""


class Statistics:
    """Figures of jobs."""

    def __init__(self, core: Core, lambda_service: Lambdas, feed: Feed) -> None:
        self._database, self._clock = core.database, core.clock
        self._lambdas = lambda_service
        self._feed = feed

    def read(self, period: StatsPeriod, lambda_: int | str | None = None, most: int = 20) -> FiguresOverTime:
        """Return what was counted up to now: of all lambdas, or of one, or of all of a name.

        Names ``most`` lambdas. Raises LambdaNotFound.
        """
        ids = None if lambda_ is None else self._lambdas.list_meant(lambda_)
        self._feed.number()
        step_s, steps = PERIODS[period]
        now_s = self._clock() / 1000
        begin = (int(now_s) // step_s - steps + 1) * step_s
        with self._database.read() as connection:
            found = counters.read_counters(connection, step_s, begin, ids)
            busiest = _sum_by_lambda(connection, found, most)
        points = {begin + number * step_s: empty_tally() for number in range(steps)}
        total = empty_tally()
        for each in found:
            if (each.lambda_id == ALL) is (ids is None) and each.start in points:
                points[each.start].add(each.tally)
                total.add(each.tally)
        return FiguresOverTime(now_s, step_s, list(points.items()), total, busiest)

    def read_by_tenant(self) -> dict[int, dict[str, int]]:
        """Return how many jobs ended how in the last hour, by their tenant's number."""
        self._feed.number()
        begin = (self._clock() // 60_000 - 59) * 60
        with self._database.read() as connection:
            found = counters.read_counters(connection, MINUTE_S, begin, [ALL])
        total = empty_tally()
        for each in found:
            total.add(each.tally)
        return total.tenants

    def read_run_s(self, runtime: str | None, ids: Sequence[int] | None) -> float | None:
        """Return about how long jobs ran on average that ended in this hour and the last; None: none did.

        ``runtime``: of lambdas that workers can run which offer it; ``ids``: of some lambdas. Else of all.
        """
        self._feed.number()
        begin = self._clock() // 1000 // HOUR_S * HOUR_S - HOUR_S
        wanted = [ALL] if runtime is None and ids is None else ids
        total = empty_tally()
        with self._database.read() as connection:
            found = counters.read_counters(connection, HOUR_S, begin, wanted)
            if runtime is not None:
                known = lambdas.find_lambdas(connection, {each.lambda_id for each in found})
                fit = {id_ for id_, each in known.items() if offers_runtime([runtime], each.runtime)}
                found = [each for each in found if each.lambda_id in fit]
        for each in found:
            total.add(each.tally)
        count = sum(total.runs.values())
        return sum(middle_s(bucket) * runs for bucket, runs in total.runs.items()) / count if count else None

    def forget(self) -> None:
        """Remove counters that are too old."""
        forget: Callable[[Connection], int] = partial(counters.forget_counters, now_s=self._clock() // 1000)
        self._database.write(forget, durable=False)


def _sum_by_lambda(connection: Connection, found: Sequence[Counted], most: int) -> list[LambdaFigures]:
    by_lambda: dict[int, Tally] = {}
    for each in found:
        if each.lambda_id != ALL:
            by_lambda.setdefault(each.lambda_id, empty_tally()).add(each.tally)
    busiest = sorted(by_lambda.items(), key=lambda item: (-sum(item[1].counts.values()), -item[0]))[:most]
    names = lambdas.find_names(connection, [id_ for id_, _ in busiest if id_ > 0])
    return [LambdaFigures(id_, names.get(id_), tally) for id_, tally in busiest]


def empty_tally() -> Tally:
    return Tally(0, 0)


def find_quantiles(buckets: dict[int, int]) -> list[float]:
    """Return the times that each of SHARES took at most, seconds; none when nothing was counted.

    Within a bucket times are taken as spread evenly on a logarithmic scale.
    """
    total, found = sum(buckets.values()), list[float]()
    if not total:
        return found
    below, places = 0, iter(sorted(buckets))
    place = next(places)
    for share in SHARES:
        while below + buckets[place] < share * total:
            below += buckets[place]
            place = next(places)
        upper = BOUNDS_MS[min(place, len(BOUNDS_MS) - 1)]
        lower = BOUNDS_MS[place - 1] if place else upper / 2
        inside = (share * total - below) / buckets[place]
        found.append(round(exp(log(lower) + inside * (log(upper) - log(lower))) / 1000, 6))
    return found


def write_figures(tally: Tally) -> StatsFigures:
    """Return what was counted as a message."""
    return StatsFigures(**tally.counts, kinds=tally.kinds, wait=_times(tally.waits), run=_times(tally.runs))


def _times(buckets: dict[int, int]) -> StatsTimes:
    found = StatsTimes(count=sum(buckets.values()))
    if quantiles := find_quantiles(buckets):
        found.p50_s, found.p90_s, found.p99_s = quantiles
    return found
