"""How many slots the queue could use: ``/scale``, and the same for Prometheus."""

from collections.abc import Iterator, Mapping
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from piecework.protocol.messages import ScaleReply
from piecework.server.services import Services
from piecework.server.services.queue.figures.scale import SlotNeed
from piecework.server.web.endpoint import Query, endpoint


class ScaleQuery(Query, kw_only=True, forbid_unknown_fields=True):
    """Which jobs are meant; all unless something is given."""

    lambda_: str | None = msgspec.field(default=None, name="lambda")
    """Only of this lambda, by its id or as ``name@id``, or of all lambdas of a name."""
    runtime: str | None = None
    """Only those that workers can run which offer this runtime."""
    tenant: str | None = None
    """Only of this tenant."""
    within_s: Annotated[float, Meta(gt=0, le=2_592_000)] | None = None
    """In how many seconds all are to be done that are there now."""


@endpoint("GET", "/scale", scope="view", query=ScaleQuery, reply=ScaleReply)
def scale(services: Services, query: ScaleQuery) -> ScaleReply:
    """Tell how many jobs are ready and running, how many slots there are, and how many could be of use."""
    need = services.scale.read(query.lambda_, query.runtime, query.tenant, query.within_s)
    now = services.clock()
    return ScaleReply(
        at=now / 1000,
        enqueued=need.enqueued,
        counted_at=UNSET if need.counted_at is None else need.counted_at / 1000,
        oldest_s=_age_s(need, now),
        running=need.running,
        slots=need.slots.total,
        free=need.slots.free,
        wanted=need.wanted,
        run_s=UNSET if need.run_s is None else round(need.run_s, 6),
    )


def _age_s(need: SlotNeed, now: int) -> float:
    return 0.0 if need.oldest_at is None else max(0, now - need.oldest_at) / 1000


def tell_scale(found: Mapping[str, SlotNeed], now: int) -> Iterator[Metric]:
    """Yield the same of each runtime."""
    families = {
        "enqueued": "Jobs that can be contracted now.",
        "oldest_seconds": "How long ago the oldest of them was submitted.",
        "running": "Jobs under a lease.",
        "slots": "Slots of workers that take such jobs.",
        "free_slots": "Slots of these that no lease is for.",
        "wanted_slots": "Slots that could be of use: one for each job.",
    }
    told = {
        name: GaugeMetricFamily(f"piecework_scale_{name}", text, labels=["runtime"])
        for name, text in families.items()
    }
    for runtime, need in found.items():
        values = (need.enqueued, _age_s(need, now), need.running, need.slots.total, need.slots.free, need.wanted)
        for family, value in zip(told.values(), values, strict=True):
            family.add_metric([runtime], value)
    yield from told.values()
