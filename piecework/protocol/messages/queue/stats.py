"""Figures of jobs over a time: how many did what, and how long they waited and ran."""

from typing import Literal

import msgspec
from msgspec import UNSET

from piecework.protocol.ids import Id
from piecework.protocol.messages.base import Maybe, Reply, Shown

StatsPeriod = Literal["hour", "day", "week", "month"]
"""Over which time figures are: 60 minutes, 24 hours, 7 days or 30 days, with what is not over of the last step."""


class StatsCounts(Shown, msgspec.Struct, kw_only=True):
    """How many jobs did what."""

    submitted: int = 0
    """Jobs that were stored."""
    started: int = 0
    """Leases that were given. A job that is tried again, or was handed back, starts again."""
    finished: int = 0
    """Jobs that ended with a result."""
    failed: int = 0
    """Jobs that failed for good."""
    cancelled: int = 0
    """Jobs that were cancelled, expired, or ended with another that they waited for."""
    retried: int = 0
    """Attempts that failed and are followed by another."""
    lost: int = 0
    """Leases that ran out: a worker vanished."""


class StatsPoint(StatsCounts, kw_only=True):
    """What jobs did in one step of time."""

    at: float
    """When it begins, seconds since 1970."""


class StatsTimes(Shown, msgspec.Struct, kw_only=True):
    """How long something took. Times are known to a quarter about: they are counted in classes."""

    count: int = 0
    """Of how many that is known."""
    p50_s: Maybe[float] = UNSET
    """Half of them took so long at most, seconds; absent when there are none."""
    p90_s: Maybe[float] = UNSET
    """Nine of ten."""
    p99_s: Maybe[float] = UNSET
    """99 of a hundred."""


class StatsFigures(StatsCounts, kw_only=True):
    """What jobs did in the whole time."""

    kinds: dict[str, int]
    """How many failed for good with which kind of error."""
    wait: StatsTimes
    """From when a job was submitted, or due, to its first start; without those that waited for other jobs."""
    run: StatsTimes
    """How long the last attempts took of jobs that finished, or failed."""


class LambdaStats(StatsFigures, kw_only=True):
    """What the jobs of one lambda did."""

    lambda_: Maybe[Id] = msgspec.field(default=UNSET, name="lambda")
    """The lambda; absent for all others together, which have no counters of their own."""
    lambda_name: Maybe[str] = UNSET
    """Its name; absent when it has none, or is gone."""


class StatsReply(Reply, kw_only=True):
    """The answer of ``GET /stats``. It is read from counters: no job is looked at."""

    period: StatsPeriod
    """As it was asked for."""
    at: float
    """Up to when all is counted, seconds since 1970."""
    step_s: int
    """How long each step of ``points`` is, seconds."""
    points: list[StatsPoint]
    """Each step of the time, oldest first, also those without anything."""
    total: StatsFigures
    """All steps together."""
    lambdas: list[LambdaStats]
    """By lambda: the busiest first, as many as were asked for. Jobs of lambdas beyond are in ``total`` alone."""
