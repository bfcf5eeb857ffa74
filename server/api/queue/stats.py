"""Figures of jobs over a time: ``/stats``."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta

from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    LambdaStats,
    StatsPeriod,
    StatsPoint,
    StatsReply,
)
from piecework.server.services import Services
from piecework.server.services.queue.figures.statistics import FiguresOverTime, LambdaFigures, write_figures
from piecework.server.web.endpoint import Query, endpoint


class StatsQuery(Query, kw_only=True, forbid_unknown_fields=True):
    """Which figures."""

    period: StatsPeriod = "hour"
    """``hour`` in steps of a minute, ``day`` of a quarter of an hour, ``week`` of an hour, ``month`` of a day."""
    lambda_: str | None = msgspec.field(default=None, name="lambda")
    """Only of this lambda, by its id or as ``name@id``, or of all lambdas of a name."""
    lambdas: Annotated[int, Meta(ge=0, le=200)] = 20
    """How many lambdas to tell of one by one, the busiest."""


@endpoint("GET", "/stats", scope="view", query=StatsQuery, reply=StatsReply)
def stats(services: Services, query: StatsQuery) -> StatsReply:
    """Tell how many jobs came, started and ended in the last hour, day, week or month, and how quickly."""
    return write_stats(query.period, services.statistics.read(query.period, query.lambda_, query.lambdas))


def write_stats(period: StatsPeriod, found: FiguresOverTime) -> StatsReply:
    """Return figures as a message."""
    return StatsReply(
        period=period,
        at=found.now_s,
        step_s=found.step_s,
        points=[StatsPoint(at=float(start), **tally.counts) for start, tally in found.points],
        total=write_figures(found.total),
        lambdas=list(map(_of_lambda, found.lambdas)),
    )


def _of_lambda(found: LambdaFigures) -> LambdaStats:
    return LambdaStats(
        **msgspec.structs.asdict(write_figures(found.tally)),
        lambda_=Id(found.id) if found.id > 0 else UNSET,
        lambda_name=found.name or UNSET,
    )
